//! What the `java` launcher makes of its arguments: options of the JVM, then what to run, then the application's own.
//!
//! Pure. Called by `detect` for the name and by the doctor for the options. Source: OpenJDK `libjli/java.c`.

use crate::process::CommandLine;

/// A command line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaCommand<'a> {
    /// Options of the launcher and the JVM, without the main class and what follows it.
    pub options: Vec<&'a str>,
    /// What runs.
    main: Main<'a>,
    /// The `@file`s among the options; they may hold more options, or the main class.
    pub argument_files: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Main<'a> {
    Class(&'a str),
    Jar(&'a str),
    Module(&'a str),
    Unknown,
}

/// Options whose value is the next argument (`IsWhiteSpaceOption`, `java.c`).
const WITH_VALUE: [&str; 16] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--enable-native-access",
    "--limit-modules",
    "--add-exports",
    "--add-opens",
    "--add-reads",
    "--patch-module",
    "--describe-module",
    "-d",
    "--source",
];

impl<'a> JavaCommand<'a> {
    /// Takes `arguments` apart; the first is the launcher itself.
    pub fn parse(arguments: &'a CommandLine) -> Self {
        let mut command = Self {
            options: Vec::new(),
            main: Main::Unknown,
            argument_files: Vec::new(),
        };
        let mut rest = arguments.arguments().skip(1);
        while let Some(argument) = rest.next() {
            match argument {
                "-jar" => {
                    command.main = rest.next().map_or(Main::Unknown, Main::Jar);
                    break;
                }
                "-m" | "--module" => {
                    command.main = rest.next().map_or(Main::Unknown, Main::Module);
                    break;
                }
                _ if argument.starts_with("--module=") => {
                    command.main = Main::Module(&argument["--module=".len()..]);
                    break;
                }
                _ if argument.starts_with('@') => command.argument_files.push(argument),
                _ if WITH_VALUE.contains(&argument) => {
                    command.options.push(argument);
                    command.options.extend(rest.next());
                }
                _ if argument.starts_with('-') => command.options.push(argument),
                _ => {
                    command.main = Main::Class(argument);
                    break;
                }
            }
        }
        command
    }

    /// Main class with dots, file name of the jar or of the source file; `None` if the arguments do not tell.
    pub fn name(&self) -> Option<String> {
        match self.main {
            Main::Class(class) => name_of_class(class),
            Main::Jar(jar) => file_name(jar),
            Main::Module(module) => name_of_class(module.rsplit('/').next()?),
            Main::Unknown => None,
        }
    }
}

fn name_of_class(class: &str) -> Option<String> {
    match class {
        "" => None,
        // `java Hello.java` compiles and runs a file.
        source if source.ends_with(".java") => file_name(source),
        class => Some(class.replace('/', ".")),
    }
}

fn file_name(path: &str) -> Option<String> {
    path.rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// The name in `sun.rt.javaCommand`: main class, `module/class` or jar, followed by the application's arguments.
pub fn name_of_java_command(command: &str) -> Option<String> {
    let first = command.split_whitespace().next()?;
    if first.ends_with(".jar") {
        return file_name(first);
    }
    name_of_class(first.rsplit('/').next()?)
}

/// What the last `-XX:+name` or `-XX:-name` of the options says.
pub fn switch(options: &[&str], name: &str) -> Option<bool> {
    options
        .iter()
        .rev()
        .find_map(|option| match option.strip_prefix("-XX:")?.split_at_checked(1)? {
            ("+", flag) if flag == name => Some(true),
            ("-", flag) if flag == name => Some(false),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> CommandLine {
        line.split(' ').collect()
    }

    fn name(line: &str) -> Option<String> {
        JavaCommand::parse(&arguments(line)).name()
    }

    #[test]
    fn the_name_is_what_runs_not_an_option_or_its_value() {
        let cases = [
            ("java -Xmx1g -cp /app:/lib/* demo.shop.Split cpu", "demo.shop.Split"),
            ("java -classpath /app demo/shop/Split", "demo.shop.Split"),
            ("/opt/java/bin/java -jar /srv/shop.jar --port 80", "shop.jar"),
            ("java -p mods -m shop/demo.shop.Split x", "demo.shop.Split"),
            (
                "java --module-path=mods --module=shop/demo.shop.Split",
                "demo.shop.Split",
            ),
            ("java -p mods -m shop", "shop"),
            (
                "java --add-opens java.base/java.lang=ALL-UNNAMED Main -jar other.jar",
                "Main",
            ),
            ("java --source 21 src/Hello.java -cp x", "Hello.java"),
            ("java -XX:+UseZGC -Dname=x -agentlib:jdwp=y Main", "Main"),
        ];
        for (line, expected) in cases {
            assert_eq!(name(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn an_unfinished_command_line_has_no_name() {
        for line in [
            "java",
            "java -version",
            "java -jar",
            "java -cp",
            "java -m",
            "java @options",
            "java -jar /",
        ] {
            assert_eq!(name(line), None, "{line}");
        }
    }

    #[test]
    fn options_end_where_the_application_begins() {
        let arguments = arguments("java -Xrs -jar a.jar -XX:+DisableAttachMechanism");
        let command = JavaCommand::parse(&arguments);
        assert_eq!(command.options, ["-Xrs"]);
        assert_eq!(switch(&command.options, "DisableAttachMechanism"), None);
    }

    #[test]
    fn the_last_switch_counts() {
        let options = [
            "-XX:+DisableAttachMechanism",
            "-XX:",
            "-XX:-DisableAttachMechanism",
            "-XX:+UseZGC",
        ];
        assert_eq!(switch(&options, "DisableAttachMechanism"), Some(false));
        assert_eq!(switch(&options[..1], "DisableAttachMechanism"), Some(true));
        assert_eq!(switch(&options, "DisableAttach"), None);
    }

    #[test]
    fn an_argument_file_is_noted() {
        let arguments = arguments("java @/app/options Main");
        let command = JavaCommand::parse(&arguments);
        assert_eq!(command.argument_files, ["@/app/options"]);
        assert_eq!(command.name().as_deref(), Some("Main"));
    }

    #[test]
    fn the_jvms_own_word_names_class_module_or_jar() {
        assert_eq!(
            name_of_java_command("demo.shop.Split cpu 4").as_deref(),
            Some("demo.shop.Split")
        );
        assert_eq!(
            name_of_java_command("shop/demo.shop.Split x").as_deref(),
            Some("demo.shop.Split")
        );
        assert_eq!(
            name_of_java_command("/srv/shop.jar --port 80").as_deref(),
            Some("shop.jar")
        );
        assert_eq!(name_of_java_command(""), None);
    }
}
