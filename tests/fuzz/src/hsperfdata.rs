//! The file in which a JVM shares its performance data, and which the application can forge.

use sideflame::runtime::jvm::command_line::name_of_java_command;
use sideflame::runtime::jvm::fuzz::perf_data;

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
    let forged = |entries: &[Vec<u8>]| {
        let mut bytes = vec![0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1];
        bytes.resize(24, 0);
        bytes.extend(32_i32.to_le_bytes());
        bytes.extend(i32::try_from(entries.len()).unwrap().to_le_bytes());
        bytes.extend(entries.concat());
        bytes
    };
    vec![
        ("one", forged(&[entry("java.property.java.version", "17.0.15")])),
        (
            "all",
            forged(&[
                entry("java.property.java.vm.version", "17.0.15+6-Debian"),
                entry("java.rt.vmArgs", "-Xmx1g"),
                entry("sun.rt.javaCommand", "demo.shop.Split cpu"),
            ]),
        ),
    ]
}

fn entry(name: &str, value: &str) -> Vec<u8> {
    let name_at = 20;
    let data_at = name_at + name.len() + 1;
    let length = data_at + value.len() + 1;
    let word = |number: usize| i32::try_from(number).unwrap().to_le_bytes();
    let mut bytes = [length, name_at, value.len() + 1].map(word).concat();
    bytes.extend([b'B', 0, 5, 1]);
    bytes.extend(word(data_at));
    for text in [name, value] {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}
