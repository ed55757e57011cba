//! Which module of a crate imports which, read from its sources without its unit tests.
//!
//! Called by `tests/arrows.rs` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules by name, each with those it imports.
pub type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The arrows between the modules at the root of the crate in `folder` of this repository.
///
/// # Panics
/// The sources cannot be read, or a path climbs to the crate's root by `super`, where it would not be seen.
pub fn between_modules(folder: &str) -> Arrows {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder)
        .join("src");
    let mut arrows = Arrows::new();
    for (path, depth) in files(&sources) {
        let module = module_of(&path, &sources);
        let code = code(&path);
        let climb = "super::".repeat(depth + 1);
        assert!(!code.contains(&climb), "{} climbs to the crate's root", path.display());
        let mut named = first_words(&code, "crate::");
        named.remove(&module);
        arrows.entry(module).or_default().extend(named);
    }
    arrows.remove("main");
    arrows
}

/// What the folders of `parent`, a module of the crate in `folder`, name of each other.
///
/// # Panics
/// The sources cannot be read.
pub fn between_siblings(folder: &str, parent: &str) -> Arrows {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder)
        .join("src");
    let parent_folder = sources.join(parent);
    let siblings: BTreeSet<String> = std::fs::read_dir(&parent_folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .map(|path| module_of(&path, &parent_folder))
        .collect();
    let mut arrows = Arrows::new();
    for (path, depth) in files(&parent_folder) {
        let module = module_of(&path, &parent_folder);
        if siblings.contains(&module) {
            let code = code(&path);
            let mut named = first_words(&code, &format!("crate::{parent}::"));
            named.extend(first_words(&code, &"super::".repeat(depth + 1)));
            named.retain(|name| siblings.contains(name) && *name != module);
            arrows.entry(module).or_default().extend(named);
        }
    }
    arrows
}

/// The module that `path` is, or is part of, below `root`.
fn module_of(path: &Path, root: &Path) -> String {
    let first = path.strip_prefix(root).expect("a file below it").components().next();
    let first = first.expect("not the root itself").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Rust files that are no tests, with how many folders they lie below `folder`.
fn files(folder: &Path) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("sources") {
            let path = entry.expect("an entry").path();
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path, depth));
            }
        }
    }
    found
}

/// The code of a file without comments and unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a source");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The words that follow `prefix` in `code`, of a group in braces the first of each part.
pub fn first_words(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            words.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (position, char) in group.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    words.insert(word(group[start..position].trim()));
                    start = position + 1;
                    if char == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    words.remove("");
    words
}

fn word(text: &str) -> String {
    let end = text.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    text[..end.unwrap_or(text.len())].to_owned()
}
