//! Which module may import which, against what the sources do. ARCHITECTURE.md says why.

use std::collections::BTreeSet;

use e2e::imports::{Arrows, between_modules, between_siblings, first_words};

/// Each module after all that it may import: no circle can be written down here. Unit tests may import more.
type Table = [(&'static str, &'static [&'static str])];

const SIDECAR: &Table = &[
    ("event", &[]),
    ("format", &[]),
    ("parameter", &[]),
    ("descriptors", &[]),
    ("redact", &[]),
    ("varint", &[]),
    ("process", &[]),
    ("confine", &["process"]),
    ("profile", &["format", "varint"]),
    (
        "runtime",
        &[
            "descriptors",
            "event",
            "format",
            "parameter",
            "process",
            "profile",
            "varint",
        ],
    ),
    (
        "child",
        &[
            "confine",
            "descriptors",
            "event",
            "format",
            "process",
            "profile",
            "runtime",
        ],
    ),
    (
        "capture",
        &[
            "child",
            "event",
            "format",
            "parameter",
            "process",
            "profile",
            "redact",
            "runtime",
        ],
    ),
    (
        "listing",
        &["capture", "child", "event", "process", "redact", "runtime"],
    ),
    (
        "http",
        &[
            "capture",
            "child",
            "event",
            "format",
            "listing",
            "parameter",
            "profile",
            "runtime",
        ],
    ),
    (
        "cli",
        &[
            "capture",
            "child",
            "format",
            "http",
            "listing",
            "parameter",
            "process",
            "profile",
            "runtime",
        ],
    ),
    ("args", &["cli"]),
    ("lib", &[]),
];

const WEBHOOK: &Table = &[
    ("choices", &[]),
    ("dns", &[]),
    ("endpoint", &[]),
    ("pod", &[]),
    ("readiness", &[]),
    ("watch", &[]),
    ("limits", &["choices"]),
    ("annotations", &["choices", "dns", "pod"]),
    ("rights", &["choices", "pod"]),
    ("container", &["choices", "rights"]),
    ("settings", &["choices", "container", "limits"]),
    ("cluster", &["limits", "settings"]),
    (
        "inject",
        &[
            "annotations",
            "choices",
            "container",
            "limits",
            "pod",
            "rights",
            "settings",
        ],
    ),
    ("outcome", &["inject"]),
    ("metrics", &["endpoint", "outcome"]),
    ("events", &["dns", "metrics", "outcome"]),
    ("health", &["metrics", "readiness"]),
    ("tls", &["metrics"]),
    ("authority", &["metrics", "readiness", "tls", "watch"]),
    (
        "namespaces",
        &[
            "annotations",
            "choices",
            "cluster",
            "limits",
            "metrics",
            "readiness",
            "watch",
        ],
    ),
    (
        "sidecars",
        &[
            "annotations",
            "cluster",
            "container",
            "inject",
            "metrics",
            "settings",
            "watch",
        ],
    ),
    ("probe", &["annotations", "inject", "metrics"]),
    (
        "admission",
        &[
            "cluster", "dns", "endpoint", "events", "inject", "metrics", "outcome", "settings",
        ],
    ),
    (
        "cli",
        &[
            "admission",
            "annotations",
            "authority",
            "choices",
            "cluster",
            "events",
            "health",
            "inject",
            "limits",
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

fn allowed(table: &Table) -> Arrows {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let arrows = table
        .iter()
        .map(|(module, targets)| ((*module).to_owned(), owned(targets)));
    arrows.collect()
}

#[test]
fn modules_import_what_they_may_and_the_tables_have_no_more() {
    for (folder, table) in [("sidecar", SIDECAR), ("webhook", WEBHOOK)] {
        assert_eq!(between_modules(folder), allowed(table), "{folder}");
    }
}

#[test]
fn there_is_no_circle() {
    for table in [SIDECAR, WEBHOOK] {
        let mut known = BTreeSet::new();
        for (module, targets) in table {
            let below = targets.iter().find(|target| !known.contains(*target));
            assert_eq!(below, None, "{module} imports what stands below it in the table");
            known.insert(module);
        }
    }
}

#[test]
fn no_runtime_knows_another() {
    let arrows = between_siblings("sidecar", "runtime");
    let runtimes: Vec<&str> = arrows.keys().map(String::as_str).collect();
    assert_eq!(runtimes, ["dotnet", "go", "jvm", "native"]);
    for (runtime, others) in &arrows {
        assert_eq!(others, &BTreeSet::new(), "{runtime}");
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = "use crate::a::{b, c};\nuse crate::{d, e::{f, g}, h};\nlet x = crate::i::j();\nuse super::k;";
    assert_eq!(
        first_words(code, "crate::").into_iter().collect::<Vec<_>>(),
        ["a", "d", "e", "h", "i"]
    );
    assert_eq!(first_words(code, "super::").into_iter().collect::<Vec<_>>(), ["k"]);
}
