//! Golden pods: `tests/golden/inject/<case>.yaml` and what becomes of it, `<case>.injected.yaml` or `<case>.skip`.
//!
//! The first line of a case may be `# flags: …`, those of `sideflame-webhook inject`. `UPDATE_GOLDEN=1 cargo test --test
//! golden` rewrites what is expected; then read the difference: it is the product. Further documents of a case are LimitRanges
//! and ResourceQuotas of its namespace.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};
use sideflame_webhook::cluster::assigned_user;
use sideflame_webhook::inject::{Decision, SkipReason, inject};
use sideflame_webhook::limits::Limits;
use sideflame_webhook::settings::{Facts, InjectSettings};

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[arg(long, default_value = "shop")]
    namespace: String,
    #[arg(long)]
    namespace_label: Vec<String>,
    #[arg(long)]
    namespace_annotation: Vec<String>,
    /// The namespace watch has not seen the namespace.
    #[arg(long)]
    namespace_unknown: bool,
    #[arg(long, default_value = "1.33")]
    server_version: String,
    /// A node could not pull it for another pod of the namespace.
    #[arg(long)]
    unpulled_image: Option<String>,
    #[command(flatten)]
    settings: InjectSettings,
}

struct Case {
    name: String,
    pod: Value,
    settings: InjectSettings,
    facts: Facts,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/inject")
}

fn cases() -> Vec<Case> {
    let mut names: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".yaml")?.to_owned()))
        .filter(|name| !name.ends_with(".injected"))
        .collect();
    names.sort();
    names.into_iter().map(|name| case(&name)).collect()
}

fn pairs(flags: &[String]) -> BTreeMap<String, String> {
    let pairs = flags.iter().map(|pair| pair.split_once('=').expect(pair));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn case(name: &str) -> Case {
    let text = std::fs::read_to_string(directory().join(format!("{name}.yaml"))).unwrap();
    let flags = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# flags: "))
        .unwrap_or_default();
    let Flags {
        namespace,
        namespace_label,
        namespace_annotation,
        namespace_unknown,
        server_version,
        unpulled_image,
        settings,
    } = Flags::parse_from(flags.split_whitespace());
    let labels = pairs(&namespace_label);
    let version = server_version
        .split_once('.')
        .map(|(major, minor)| (major.parse().unwrap(), minor.parse().unwrap()));
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut limits = Limits::default();
    documents.drain(1..).for_each(|document| limits.add_all(&document));
    Case {
        name: name.to_owned(),
        pod: documents.remove(0),
        settings,
        facts: Facts {
            namespace,
            namespace_labels: (!namespace_unknown).then_some(labels),
            assigned_user: assigned_user(&pairs(&namespace_annotation)),
            server_version: version,
            limits,
            unpulled_image,
        },
    }
}

fn applied(pod: &Value, decision: &Decision) -> Value {
    let Decision::Inject(injection) = decision else {
        panic!("{decision:?}")
    };
    assert!(!injection.patch.0.is_empty());
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &injection.patch).unwrap();
    pod
}

/// The ending of the golden file and its text.
fn outcome(case: &Case) -> (&'static str, String) {
    let decision = inject(&case.pod, &case.settings, &case.facts);
    let (kind, skip) = match &decision {
        Decision::Inject(injection) => {
            let mut text: String = injection
                .warnings
                .iter()
                .map(|warning| format!("# warning: {warning}\n"))
                .collect();
            let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
            text.push_str(&serde_saphyr::to_string_with_options(&applied(&case.pod, &decision), options).unwrap());
            return ("injected.yaml", text);
        }
        Decision::Skip(skip) => ("skip", skip),
        Decision::Block(skip) => ("block", skip),
    };
    let mut text = format!("{kind}: {}\n{}\n", skip.reason.key(), skip.detail);
    for warning in &skip.warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    ("skip", text)
}

#[test]
fn every_golden_pod_becomes_what_is_written() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    let mut expected_files = BTreeSet::new();
    for case in cases() {
        let (ending, text) = outcome(&case);
        let file = format!("{}.{ending}", case.name);
        let path = directory().join(&file);
        if update {
            std::fs::write(&path, &text).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            different.push(format!("--- {file} should be ---\n{text}"));
        }
        expected_files.insert(file);
    }
    assert!(expected_files.len() >= 60, "only {} cases", expected_files.len());
    let stale = std::fs::read_dir(directory())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let stale = stale.filter(|name| name.ends_with(".skip") || name.ends_with(".injected.yaml"));
    for name in stale.filter(|name| !expected_files.contains(name)) {
        if update {
            std::fs::remove_file(directory().join(name)).unwrap();
        } else {
            different.push(format!("--- {name} belongs to no case ---\n"));
        }
    }
    assert!(different.is_empty(), "{}", different.concat());
}

#[test]
fn a_second_injection_does_nothing() {
    let mut injected = 0;
    for case in cases() {
        let decision = inject(&case.pod, &case.settings, &case.facts);
        if !matches!(decision, Decision::Inject(_)) {
            continue;
        }
        injected += 1;
        match inject(&applied(&case.pod, &decision), &case.settings, &case.facts) {
            Decision::Skip(skip) => {
                assert_eq!(skip.reason, SkipReason::AlreadyInjected, "{}", case.name);
                assert_eq!(skip.warnings, [] as [&str; 0], "{}", case.name);
            }
            other => panic!("{}: {other:?}", case.name),
        }
    }
    assert!(injected >= 30, "{injected}");
}

#[test]
fn every_reason_occurs_in_a_golden_pod() {
    let seen: BTreeSet<SkipReason> = cases()
        .iter()
        .filter_map(|case| match inject(&case.pod, &case.settings, &case.facts) {
            Decision::Inject(_) => None,
            Decision::Skip(skip) | Decision::Block(skip) => Some(skip.reason),
        })
        .collect();
    let missing: Vec<&str> = SkipReason::ALL
        .iter()
        .filter(|reason| !seen.contains(reason))
        .map(|reason| reason.key())
        .collect();
    assert_eq!(missing, [] as [&str; 0]);
}

#[test]
fn no_golden_warning_is_longer_than_the_api_server_shows() {
    for case in cases() {
        let warnings = match inject(&case.pod, &case.settings, &case.facts) {
            Decision::Inject(injection) => injection.warnings,
            Decision::Skip(skip) | Decision::Block(skip) => skip.warnings,
        };
        for warning in warnings {
            assert!(
                warning.len() <= 256 && !warning.ends_with('…'),
                "{}: {} bytes: {warning}",
                case.name,
                warning.len()
            );
        }
    }
}

/// istio#34799: 15 s for such a pod.
#[test]
fn fifteen_hundred_variables_change_nothing_in_the_patch() {
    let case = case("plain-pod");
    let small = inject(&case.pod, &case.settings, &case.facts);
    let mut large = case.pod.clone();
    large["spec"]["containers"][0]["env"] = (0..1500)
        .map(|index| json!({ "name": format!("VARIABLE_{index}"), "value": "x".repeat(100) }))
        .collect();
    assert_eq!(inject(&large, &case.settings, &case.facts), small);
    let started = std::time::Instant::now();
    for _ in 0..100 {
        std::hint::black_box(inject(&large, &case.settings, &case.facts));
    }
    // Unoptimised and on a busy machine it takes 0.1 ms; code that walks or copies the environment takes many times more.
    let each = started.elapsed() / 100;
    assert!(each.as_millis() < 5, "{each:?}");
}

/// The Pod Security Standards, as their documentation lists them; knows nothing of the planner.
fn admitted(sidecar: &Value, level: &str) -> bool {
    const BASELINE: [&str; 13] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let context = &sidecar["securityContext"];
    let names = |field: &str| {
        let names = context["capabilities"][field].as_array().into_iter().flatten();
        names.map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let baseline = names("add").iter().all(|name| BASELINE.contains(&name.as_str())) && context["privileged"].is_null();
    let restricted = context["runAsNonRoot"] == true
        && context["runAsUser"] != 0
        && context["allowPrivilegeEscalation"] == false
        && context["seccompProfile"]["type"] == "RuntimeDefault"
        && names("drop") == ["ALL"]
        && names("add").is_empty();
    match level {
        "privileged" => true,
        "baseline" => baseline,
        _ => baseline && restricted,
    }
}

#[test]
fn every_golden_sidecar_fits_the_level_of_its_namespace() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        let decision = inject(&case.pod, &case.settings, &case.facts);
        if !matches!(decision, Decision::Inject(_)) {
            continue;
        }
        let pod = applied(&case.pod, &decision);
        let lists =
            ["initContainers", "containers"].map(|list| pod["spec"][list].as_array().cloned().unwrap_or_default());
        let sidecar = lists
            .iter()
            .flatten()
            .find(|container| container["name"] == "sideflame")
            .unwrap();
        let labels = case.facts.namespace_labels.as_ref();
        let enforced = labels.map(|labels| {
            labels
                .get("pod-security.kubernetes.io/enforce")
                .map_or("privileged", String::as_str)
        });
        let level = enforced.unwrap_or("restricted");
        seen.insert(level.to_owned());
        assert!(admitted(sidecar, level), "{} in {level}: {sidecar:#}", case.name);
        // The API server refuses a non-root user that must be root, and the other way round.
        let context = &sidecar["securityContext"];
        assert_eq!(
            context["runAsNonRoot"] == true,
            context["runAsUser"] != 0,
            "{}",
            case.name
        );
        assert_eq!(context["readOnlyRootFilesystem"], true, "{}", case.name);
        let ours = pod["spec"]["volumes"].as_array().unwrap().iter();
        let ours = ours.filter(|volume| volume["name"].as_str().unwrap_or_default().starts_with("sideflame-"));
        for volume in ours {
            let bounded = volume["emptyDir"]["sizeLimit"].is_string();
            assert!(bounded || volume["secret"].is_object(), "{}: {volume}", case.name);
        }
    }
    assert!(seen.len() >= 4, "{seen:?}");
}
