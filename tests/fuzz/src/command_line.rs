//! Arguments of a process: what the launcher of a JVM makes of them, and what is shown of them.

use sideflame::process::CommandLine;
use sideflame::redact;
use sideflame::runtime::jvm::command_line::{JavaCommand, name_of_java_command, switch};

use crate::{Seed, parts};

/// The text of `cmdline`, and a JVM's own word on its command.
pub(crate) fn run(bytes: &[u8]) {
    let [text, command] = parts::split(bytes);
    let line = CommandLine::read(text, false);
    assert!(line.size() <= 3 * text.len() + 1);
    assert!(line.arguments().all(|argument| !argument.is_empty()));
    assert_eq!(line.first(), line.arguments().next());
    let java = JavaCommand::parse(&line);
    assert!(java.options.len() <= line.arguments().count());
    let _ = (java.name(), switch(&java.options, "UsePerfData"));
    let _ = name_of_java_command(&String::from_utf8_lossy(command));
    let shown: Vec<String> = redact::arguments(line.arguments()).map(Into::into).collect();
    assert_eq!(shown.len(), line.arguments().count());
    for (shown, argument) in shown.iter().zip(line.arguments()) {
        if argument.starts_with("--password=") {
            assert_eq!(*shown, format!("--password={}", redact::HIDDEN));
        }
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |arguments: &[&str], command: &str| parts::join(&[arguments.join("\0").as_bytes(), command.as_bytes()]);
    vec![
        (
            "class",
            seed(
                &["java", "-cp", "a.jar:b.jar", "-Xmx1g", "-XX:-UsePerfData", "demo.shop.Split", "cpu"],
                "demo.shop.Split cpu",
            ),
        ),
        ("jar", seed(&["java", "-jar", "/app/shop.jar", "--token=x"], "/app/shop.jar")),
        (
            "module",
            seed(&["java", "@options", "--add-opens", "a/b=c", "-m", "shop/demo.Main"], "shop/demo.Main"),
        ),
        (
            "secrets",
            seed(&["db", "--password", "x", "-Ddb.token=x", "pg://user:pass@host/db?x"], ""),
        ),
        ("launcher", seed(&["java", "-d", "--source", "11", "Shop.java"], "jdk.compiler/com.sun.tools.javac.launcher.Main Shop.java")),
    ]
}
