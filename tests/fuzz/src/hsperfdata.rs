//! The file in which a JVM shares its performance data, and which the application can forge.

use sideflame::runtime::jvm::command_line::name_of_java_command;
use sideflame::runtime::jvm::fuzz::{counted, perf_data, perf_data_file};

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
    let values = counted(bytes);
    assert!(values.len() <= 512, "{}", values.len());
    for value in values {
        assert!(value.is_shared() && value.value.is_finite() && value.value >= 0.0);
        assert!(value.tags.matches(['=', ',']).count() <= 1 && !value.tags.contains(char::is_control));
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("one", perf_data_file(&[("java.property.java.version", "17.0.15")], &[])),
        (
            "numbers",
            perf_data_file(
                &[
                    ("sun.gc.collector.0.name", "G1 young collection pauses"),
                    ("sun.gc.generation.0.name", "young"),
                    ("sun.gc.generation.0.space.0.name", "eden"),
                    ("sun.gc.policy.name", "GarbageFirst"),
                ],
                &[
                    ("sun.os.hrt.frequency", 1_000_000_000),
                    ("sun.gc.collector.0.invocations", 7),
                    ("sun.gc.collector.0.time", 12_345_678),
                    ("sun.gc.generation.0.maxCapacity", 64 << 20),
                    ("sun.gc.generation.0.space.0.used", 1 << 20),
                    ("java.threads.live", 12),
                    ("java.cls.loadedClasses", 500),
                    ("java.cls.unloadedClasses", 1),
                    ("sun.rt.safepoints", 3),
                ],
            ),
        ),
        (
            "all",
            perf_data_file(&[
                ("java.property.java.vm.version", "17.0.15+6-Debian"),
                ("java.rt.vmArgs", "-Xmx1g"),
                ("sun.rt.javaCommand", "demo.shop.Split cpu"),
            ], &[]),
        ),
    ]
}
