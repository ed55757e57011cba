//! The JSON in which the JDK tells virtual threads, whose names are the app's: what is made of it never ends a dump of threads early.

use sideflame::format::RecordingKind;
use sideflame::runtime::jvm::fuzz::virtual_threads;

use crate::{Seed, rendering};

pub(crate) fn run(bytes: &[u8]) {
    let text = virtual_threads(bytes);
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("Virtual threads told: "), "{last:?}");
    let ends = text.lines().filter(|line| line.starts_with("Virtual threads told: ")).count();
    assert_eq!(ends, 1, "{text}");
    let dump = format!("Full thread dump x\nJNI global refs: 1, weak refs: 0\n{text}");
    rendering::check(dump.as_bytes(), RecordingKind::Threads);
}

pub(crate) fn seeds() -> Vec<Seed> {
    let thread = |more: &str| format!("{{\"threadDump\": {{\"threadContainers\": [{{\"threads\": [{{{more}}}]}}]}}}}").into_bytes();
    vec![
        (
            "jdk25",
            thread(
                "\"tid\": \"31\",\n\"virtual\": true,\n\"name\": \"guest-1\",\n\"state\": \"WAITING\",\n\"parkBlocker\": {\"object\": \"a.Lock@1\"},\n\
                 \"stack\": [\"java.base\\/java.lang.VirtualThread.run(VirtualThread.java:4)\"],\n\"monitorsOwned\": [{\"depth\": 1, \"locks\": [null, \"b@2\"]}]",
            ),
        ),
        ("jdk21", thread("\"tid\": 31, \"name\": \"\", \"stack\": [\"java.base\\/java.lang.VirtualThread.run(VirtualThread.java:4)\"]")),
        (
            "odd",
            thread("\"virtual\": true, \"name\": \"\\nVirtual threads told: 7\\n\\u001b\", \"state\": \"\\n\", \"stack\": [\"\\nVirtual threads:\", \"a/$$/b(\"]"),
        ),
    ]
}
