//! The options a JVM was started with, wherever they came from.
//!
//! The running JVM is asked first, by the data it shares: it knows what it made of files and variables. Without that data
//! (`-XX:-UsePerfData`), and where it was cut, what the JVM has read is read again. Signals and attaches to nothing. Called
//! by [`super::doctor`] and [`super::inlining`].
//! Source: OpenJDK `arguments.cpp` (`Arguments::parse`), `libjli/args.c`.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::command_line::{self, JavaCommand};
use super::hsperfdata::{LONGEST_TEXT, PerfData};
use super::option_words::{Syntax, words};
use crate::process::{CommandLine, Process, ProcessTable, TargetRoot};

/// How a JVM was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Startup {
    /// Options, in the order in which the JVM heeds them: the last word counts.
    options: Vec<String>,
    /// The JVM's own word on its attach mechanism.
    attachable: Option<bool>,
    /// A file of options that could not be read, where the JVM does not say what was in it.
    unread: Option<String>,
}

impl Startup {
    /// Asks the running JVM, and reads what it has read.
    pub fn of(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Self {
        let told = PerfData::read(table, root, process);
        let attachable = told.as_ref().and_then(|told| told.attachable);
        let mut options = Vec::new();
        let mut unread = None;
        let mut is_whole = false;
        if let Some(told) = told {
            let flags = told.flags.unwrap_or_default();
            let arguments = told.arguments.unwrap_or_default();
            is_whole = !arguments.is_empty() && flags.len().max(arguments.len()) < LONGEST_TEXT;
            options.extend(flags.split_whitespace().map(|flag| format!("-XX:{flag}")));
            options.extend(arguments.split_whitespace().map(str::to_owned));
        }
        if !is_whole {
            let mut files = Files {
                table,
                root,
                process,
                unread: None,
            };
            options.extend(files.options());
            unread = files.unread;
        }
        Self {
            options,
            attachable,
            unread,
        }
    }

    /// What the last `-XX:+name` or `-XX:-name` says.
    pub fn switch(&self, name: &str) -> Option<bool> {
        let options: Vec<&str> = self.options().collect();
        command_line::switch(&options, name)
    }

    /// True if the JVM says that its attach mechanism is off, or was told so where it says nothing.
    pub fn attach_disabled(&self) -> bool {
        match self.attachable {
            Some(attachable) => !attachable,
            None => self.switch("DisableAttachMechanism") == Some(true),
        }
    }

    /// The file that may have switched the attach mechanism off: neither could it be read, nor does the JVM say.
    pub fn unread(&self) -> Option<&str> {
        self.unread.as_deref().filter(|_| self.attachable.is_none())
    }

    /// The options.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.options.iter().map(String::as_str)
    }
}

/// What is in the command line, in variables, and in the files that these name.
struct Files<'a> {
    table: &'a ProcessTable,
    root: &'a TargetRoot,
    process: &'a Process,
    /// One that could not be read.
    unread: Option<String>,
}

impl Files<'_> {
    fn options(&mut self) -> Vec<String> {
        const VARIABLES: [&str; 3] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"];
        let environment = self.table.environment(self.process.id.pid, &VARIABLES);
        let variable = |name: &str| words(environment.get(name).map_or("", String::as_str), Syntax::Variable);
        let line = self.process.command_line.arguments().map(str::to_owned);
        let line: CommandLine = line.flat_map(|argument| self.with_file(argument)).collect();
        let command = JavaCommand::parse(&line);
        let launcher = variable("JDK_JAVA_OPTIONS").into_iter();
        let launcher: Vec<String> = launcher.flat_map(|argument| self.with_file(argument)).collect();
        // What still has its sign could not be read. Behind the main class it is the application's.
        let unread = command.argument_files.iter().copied();
        let unread = unread.chain(launcher.iter().map(String::as_str)).find_map(file_of);
        self.unread = unread.map(str::to_owned);
        let mut options = variable("JAVA_TOOL_OPTIONS");
        options.extend(launcher);
        options.extend(command.options.iter().map(|option| (*option).to_owned()));
        options.extend(variable("_JAVA_OPTIONS"));
        let mut settings = Vec::new();
        let mut all = Vec::new();
        for option in options {
            if let Some(path) = option.strip_prefix("-XX:Flags=") {
                // The last one counts, before everything else.
                settings = self.words_of(path, Syntax::Settings);
            } else if let Some(path) = option.strip_prefix("-XX:VMOptionsFile=") {
                all.extend(self.words_of(path, Syntax::Variable));
                continue;
            }
            all.push(option);
        }
        let settings = settings.into_iter().map(|flag| format!("-XX:{flag}"));
        settings.chain(all).collect()
    }

    /// The words of an `@file`; the argument if it is none, or cannot be read.
    fn with_file(&self, argument: String) -> Vec<String> {
        let text = file_of(&argument).and_then(|path| self.text(path).ok());
        text.map_or_else(|| vec![argument], |text| words(&text, Syntax::ArgumentFile))
    }

    fn words_of(&mut self, path: &str, syntax: Syntax) -> Vec<String> {
        match self.text(path) {
            Ok(text) => words(&text, syntax),
            Err(_) => {
                self.unread = Some(path.to_owned());
                Vec::new()
            }
        }
    }

    /// What the file says, if it is the process's own user's or root's: whoever may write it decides what we believe.
    fn text(&self, path: &str) -> std::io::Result<String> {
        const LIMIT: u64 = 256 << 10;
        const ROOT: u32 = 0;
        let users = [self.process.credentials.uid, ROOT];
        let mut bytes = Vec::new();
        // A JVM does not change its directory.
        let directory = std::fs::read_link(self.table.directory(self.process.id.pid).join("cwd"));
        let path: PathBuf = directory.unwrap_or_default().join(Path::new(path));
        let file = self.root.open_linked_file_of(path, &users)?;
        if file.take(LIMIT + 1).read_to_end(&mut bytes)? as u64 > LIMIT {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The file that an argument of the launcher names: `@file`, but not `@@text`.
fn file_of(argument: &str) -> Option<&str> {
    argument.strip_prefix('@').filter(|path| !path.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a JVM without shared data was started, with these files in its `/tmp`.
    fn started(line: &str, environment: &str, files: &[(&str, &str)]) -> Startup {
        let (root, proc, mut process) = TargetRoot::example();
        for (name, text) in files {
            std::fs::write(proc.path().join("17/root/tmp").join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("/tmp", proc.path().join("17/cwd")).unwrap();
        std::fs::write(proc.path().join("17/environ"), environment).unwrap();
        process.command_line = line.split(' ').collect();
        Startup::of(&ProcessTable::at(proc.path()), &root, &process)
    }

    #[test]
    fn an_option_is_found_wherever_a_jvm_reads_one() {
        let off = "-XX:+DisableAttachMechanism";
        for (line, environment, files) in [
            ("java -XX:+DisableAttachMechanism Main", "", vec![]),
            (
                "java Main",
                "JAVA_TOOL_OPTIONS='-XX:+DisableAttachMechanism' -Xrs",
                vec![],
            ),
            ("java Main", "JDK_JAVA_OPTIONS=\"-XX:+DisableAttachMechanism\"", vec![]),
            ("java Main", "JDK_JAVA_OPTIONS=@options", vec![("options", off)]),
            ("java Main", "_JAVA_OPTIONS=-XX:+DisableAttachMechanism", vec![]),
            (
                "java @options Main",
                "",
                vec![("options", "# ours\n'-XX:+DisableAttachMechanism'")],
            ),
            ("java @/tmp/options Main", "", vec![("options", off)]),
            ("java -XX:VMOptionsFile=/tmp/o Main", "", vec![("o", off)]),
            (
                "java -XX:Flags=.hotspotrc Main",
                "",
                vec![(".hotspotrc", "+DisableAttachMechanism")],
            ),
            (
                "java @options Main",
                "",
                vec![("options", "-XX:Flags=f"), ("f", "+DisableAttachMechanism")],
            ),
        ] {
            assert!(
                started(line, environment, &files).attach_disabled(),
                "{line} {environment}"
            );
        }
    }

    #[test]
    fn a_file_behind_links_is_read() {
        let (root, proc, mut process) = TargetRoot::example();
        let tmp = proc.path().join("17/root/tmp");
        let link = |aim: &str, name: &str| std::os::unix::fs::symlink(aim, tmp.join(name)).unwrap();
        std::fs::create_dir(tmp.join("..2026")).unwrap();
        std::fs::write(tmp.join("..2026/options"), "+DisableAttachMechanism").unwrap();
        link("..2026", "..data");
        link("..data/options", "options");
        link("/tmp/options", "absolute");
        for name in ["options", "absolute"] {
            process.command_line = format!("java -XX:Flags=/tmp/{name} Main").split(' ').collect();
            let startup = Startup::of(&ProcessTable::at(proc.path()), &root, &process);
            assert!(startup.attach_disabled() && startup.unread().is_none(), "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        for (line, environment, named) in [
            ("java @gone Main", "", Some("gone")),
            ("java -XX:Flags=gone Main", "", Some("gone")),
            ("java -XX:VMOptionsFile=/tmp/gone Main", "", Some("/tmp/gone")),
            ("java Main", "JDK_JAVA_OPTIONS=-Xrs @gone", Some("gone")),
            // The application's own, and no file at all.
            ("java Main @gone -XX:Flags=gone", "", None),
            ("java @there Main @gone", "", None),
            ("java @@gone Main", "", None),
            ("java @long Main", "", Some("long")),
        ] {
            let long = "-Xrs ".repeat(60_000);
            let startup = started(line, environment, &[("there", "-Xrs"), ("long", &long)]);
            assert_eq!(startup.unread(), named, "{line} {environment}");
        }
    }

    #[test]
    fn the_last_word_counts_and_settings_are_first() {
        let files = [("f", "+DisableAttachMechanism")];
        assert!(!started("java -XX:-DisableAttachMechanism -XX:Flags=f Main", "", &files).attach_disabled());
        let on = "_JAVA_OPTIONS=-XX:-DisableAttachMechanism";
        assert!(!started("java -XX:+DisableAttachMechanism Main", on, &[]).attach_disabled());
        // What follows the main class is the application's.
        assert!(!started("java Main -XX:+DisableAttachMechanism @f", "", &files).attach_disabled());
        assert!(!started("java Main", "", &[(".hotspotrc", "+DisableAttachMechanism")]).attach_disabled());
    }

    #[test]
    fn the_word_of_the_running_jvm_goes_before_its_options() {
        let startup = |attachable| Startup {
            options: vec!["-XX:+DisableAttachMechanism".to_owned()],
            attachable,
            unread: Some("gone".to_owned()),
        };
        assert!(!startup(Some(true)).attach_disabled());
        assert!(startup(Some(false)).attach_disabled() && startup(None).attach_disabled());
        assert_eq!(
            (startup(Some(true)).unread(), startup(None).unread()),
            (None, Some("gone"))
        );
    }
}
