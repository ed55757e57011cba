//! Which module of the webhook may import which, against what the sources do. ARCHITECTURE.md says why.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module after all that it may import: no circle can be written down here. Unit tests may import more.
const ARROWS: [(&str, &[&str]); 24] = [
    ("choices", &[]),
    ("endpoint", &[]),
    ("pod", &[]),
    ("readiness", &[]),
    ("watch", &[]),
    ("annotations", &["choices"]),
    ("rights", &["choices", "pod"]),
    ("container", &["choices", "rights"]),
    ("settings", &["choices", "container"]),
    ("cluster", &["settings"]),
    (
        "inject",
        &["annotations", "choices", "container", "pod", "rights", "settings"],
    ),
    ("outcome", &["inject"]),
    ("metrics", &["endpoint", "outcome"]),
    ("events", &["metrics"]),
    ("health", &["metrics", "readiness"]),
    ("tls", &["metrics"]),
    ("authority", &["metrics", "readiness", "tls", "watch"]),
    (
        "namespaces",
        &["annotations", "choices", "cluster", "metrics", "readiness", "watch"],
    ),
    ("sidecars", &["inject", "metrics", "settings", "watch"]),
    ("probe", &["annotations", "inject", "metrics"]),
    (
        "admission",
        &[
            "cluster", "endpoint", "events", "inject", "metrics", "outcome", "settings",
        ],
    ),
    (
        "cli",
        &[
            "admission",
            "annotations",
            "authority",
            "cluster",
            "events",
            "health",
            "inject",
            "metrics",
            "namespaces",
            "probe",
            "readiness",
            "settings",
            "sidecars",
            "tls",
            "watch",
        ],
    ),
    ("args", &["cli"]),
    ("lib", &[]),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Files of a module that are no tests, with how deep they lie below the crate's root.
fn files(folder: &Path, depth: usize, into: &mut Vec<(PathBuf, usize)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" {
            continue;
        }
        if path.is_dir() {
            files(&path, depth + 1, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push((path, depth));
        }
    }
}

/// The code of a file without comments and unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Modules at the crate's root that `code` names: `crate::a::…` and `crate::{a::…, b}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => _ = named.insert(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = 0;
                for (position, char) in group.char_indices() {
                    match char {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            named.insert(word(group[start..position].trim()));
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            named.insert(word(group[start..position].trim()));
                            start = position + 1;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named.remove("");
    named
}

fn word(text: &str) -> String {
    let end = text.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    text[..end.unwrap_or(text.len())].to_owned()
}

/// What each module imports.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = Vec::new();
    files(&sources(), 0, &mut all);
    let mut imports = BTreeMap::<_, BTreeSet<_>>::new();
    for (path, depth) in all {
        let relative = path.strip_prefix(sources()).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        if module == "main" {
            continue;
        }
        let code = code(&path);
        // Such a path would be an arrow that is not seen here.
        let climb = "super::".repeat(depth + 1);
        assert!(
            !code.contains(&climb),
            "{} climbs to the crate's root",
            relative.display()
        );
        let mut named = named(&code);
        named.remove(&module);
        imports.entry(module).or_default().extend(named);
    }
    imports
}

#[test]
fn modules_import_what_they_may_and_the_table_has_no_more() {
    let allowed: BTreeMap<_, BTreeSet<_>> = ARROWS
        .iter()
        .map(|(module, targets)| {
            (
                (*module).to_owned(),
                targets.iter().map(|target| (*target).to_owned()).collect(),
            )
        })
        .collect();
    assert_eq!(imports(), allowed);
}

#[test]
fn there_is_no_circle() {
    let mut known = BTreeSet::new();
    for (module, targets) in ARROWS {
        for target in targets {
            assert!(
                known.contains(target),
                "{module} imports {target}, which stands below it in the table"
            );
        }
        known.insert(module);
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = "use crate::a::{b, c};\nuse crate::{d, e::{f, g}, h};\nlet x = crate::i::j();\nuse super::k;";
    assert_eq!(named(code).into_iter().collect::<Vec<_>>(), ["a", "d", "e", "h", "i"]);
}
