//! An image as a registry would have it: an OCI archive, read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

/// An image of one layer.
#[derive(Debug)]
pub struct Image {
    /// The whole configuration: `architecture`, `config`, …
    pub configuration: Value,
    /// Compressed size of configuration and layer, as a registry counts it, bytes.
    pub size: u64,
    /// What the layer holds, by path, directories without the last slash.
    pub files: BTreeMap<String, Entry>,
}

/// One entry of the layer.
#[derive(Debug)]
pub struct Entry {
    /// Permissions with the sticky bit, as in `chmod`.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Content of a regular file, otherwise nothing.
    pub content: Vec<u8>,
}

impl Image {
    /// Reads an OCI archive.
    ///
    /// # Panics
    /// It is none, or has more than one image or layer.
    pub fn read(archive: &Path) -> Self {
        let file = File::open(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
        let blobs: BTreeMap<String, Vec<u8>> = entries(file)
            .into_iter()
            .map(|(path, entry)| (path, entry.content))
            .collect();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().expect("a digest");
            &blobs[&format!("blobs/{}", digest.replace(':', "/"))]
        };
        let index: Value = parse(&blobs["index.json"]);
        let manifest: Value = parse(blob(&index["manifests"][0]));
        assert!(manifest["layers"][1].is_null(), "one layer: {manifest}");
        let layer = &manifest["layers"][0];
        let size = |descriptor: &Value| descriptor["size"].as_u64().expect("a size");
        Self {
            configuration: parse(blob(&manifest["config"])),
            size: size(&manifest["config"]) + size(layer),
            files: entries(GzDecoder::new(blob(layer).as_slice())),
        }
    }
}

fn parse(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("JSON")
}

fn entries(archive: impl Read) -> BTreeMap<String, Entry> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("a tar archive").map(|entry| {
        let mut entry = entry.expect("a whole archive");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        let mode = entry.header().mode().expect("a mode") & 0o7777;
        let uid = entry.header().uid().expect("a user");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a whole file");
        (path, Entry { mode, uid, content })
    });
    entries.collect()
}
