//! The images as they would be pushed: what is in them, and what is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::path::PathBuf;

use e2e::image::Image;
use object::Endianness;
use object::elf::PT_INTERP;
use object::read::elf::{ElfFile64, ProgramHeader};
use serde_json::Value;

/// What the sidecar's image may weigh in a registry.
const LIMIT: u64 = 12 << 20;

fn image(name: &str) -> Image {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/images"));
    Image::read(&folder.join(format!("{name}-amd64.tar")))
}

/// The regular files; directories are not worth a word.
fn files(image: &Image) -> Vec<&str> {
    let files = image.files.iter().filter(|(_, entry)| !entry.content.is_empty());
    files.map(|(path, _)| path.as_str()).collect()
}

/// Asserts what both images have: nobody's user, one command, labels, and files that belong to root. Gives the bill of
/// materials.
fn assert_ours(name: &str, image: &Image) -> Value {
    let config = &image.configuration["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!([format!("/{name}")]));
    let labels = &config["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert!(!labels["org.opencontainers.image.revision"].as_str().unwrap().is_empty());
    assert!(image.files.values().all(|entry| entry.uid == 0));
    bill_of_materials(image)
}

fn bill_of_materials(image: &Image) -> Value {
    let bill = &image.files["usr/share/doc/sideflame/sbom.cdx.json"].content;
    assert!(
        !String::from_utf8_lossy(bill).contains("/target/"),
        "a path of the machine that built it"
    );
    let bill: Value = serde_json::from_slice(bill).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    bill
}

fn has_component(bill: &Value, name: &str) -> bool {
    bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .any(|component| component["name"] == name)
}

#[test]
fn the_sidecar_is_one_static_binary_and_async_profiler() {
    let image = image("sideflame");
    assert_eq!(
        files(&image),
        [
            "opt/sideflame/libasyncProfiler.so",
            "sideflame",
            "usr/share/doc/sideflame/LICENSE",
            "usr/share/doc/sideflame/NOTICE",
            "usr/share/doc/sideflame/sbom.cdx.json",
        ]
    );
    let bill = assert_ours("sideflame", &image);
    assert_eq!(image.configuration["config"]["Cmd"], serde_json::json!(["serve"]));
    // Any user that a pod gives it can keep captures, and none can replace what is in the image.
    assert_eq!(image.files["var/lib/sideflame"].mode, 0o1777);
    assert_eq!(image.files["opt/sideflame/libasyncProfiler.so"].mode, 0o644);
    assert!(has_component(&bill, "inferno") && has_component(&bill, "async-profiler"));
    assert!(!has_component(&bill, "ureq"), "a dependency of the tests");
    eprintln!("sideflame: {:.1} MB compressed", image.size as f64 / 1e6);
    assert!(image.size <= LIMIT, "{} bytes", image.size);
}

#[test]
fn the_webhook_is_one_static_binary() {
    let image = image("sideflame-webhook");
    assert_eq!(
        files(&image),
        [
            "sideflame-webhook",
            "usr/share/doc/sideflame/LICENSE",
            "usr/share/doc/sideflame/NOTICE",
            "usr/share/doc/sideflame/sbom.cdx.json",
        ]
    );
    let bill = assert_ours("sideflame-webhook", &image);
    assert!(has_component(&bill, "kube") && !has_component(&bill, "async-profiler"));
    eprintln!("sideflame-webhook: {:.1} MB compressed", image.size as f64 / 1e6);
}

#[test]
fn binaries_load_nothing_and_name_no_path_of_the_builder() {
    let home = std::env::var("HOME").unwrap();
    for name in ["sideflame", "sideflame-webhook"] {
        let mut image = image(name);
        let binary = image.files.remove(name).unwrap().content;
        let elf = ElfFile64::<Endianness>::parse(binary.as_slice()).unwrap();
        let headers = elf.elf_program_headers().iter();
        let mut types = headers.map(|header| header.p_type(elf.endian()));
        assert!(types.all(|kind| kind != PT_INTERP), "{name} is not static");
        let contains = |text: &str| binary.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(contains("panicked at"), "the search works");
        assert!(!contains(&format!("{home}/")), "{name} names {home}");
    }
}
