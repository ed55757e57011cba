//! The file in which a JVM shares its performance data, and which the application can forge.

use sideflame::runtime::jvm::command_line::name_of_java_command;
use sideflame::runtime::jvm::fuzz::{perf_data, perf_data_file};

use crate::Seed;

pub(crate) fn run(bytes: &[u8]) {
    let Some(data) = perf_data(bytes) else { return };
    for text in [&data.command, &data.arguments].into_iter().flatten() {
        assert!(text.len() <= bytes.len() && !text.contains('\0'));
    }
    if let Some(version) = &data.version {
        assert!(version.len() <= 64 && version.is_ascii());
    }
    let _ = data.command.as_deref().and_then(name_of_java_command);
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("one", perf_data_file(&[("java.property.java.version", "17.0.15")])),
        (
            "all",
            perf_data_file(&[
                ("java.property.java.vm.version", "17.0.15+6-Debian"),
                ("java.rt.vmArgs", "-Xmx1g"),
                ("sun.rt.javaCommand", "demo.shop.Split cpu"),
            ]),
        ),
    ]
}
