use super::*;
use crate::process::container::PodName;
use crate::process::{Container, Process};
use crate::runtime::{JavaVm, RuntimeFacts};

/// `place` is `namespace/pod container`, or empty.
fn inspection(pid: i32, name: &str, facts: RuntimeFacts, place: &str) -> Inspection {
    let (pod, container) = place.split_once(' ').unzip();
    let pod = pod
        .and_then(|pod: &str| pod.split_once('/'))
        .map(|(namespace, name)| PodName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    let process = Process {
        command: name.chars().take(15).collect(),
        command_line: [format!("/{name}")].into_iter().collect(),
        container: Container {
            name: container.map(str::to_owned),
            pod,
            ..Container::default()
        },
        ..Process::example(pid)
    };
    Inspection {
        target: Target {
            process,
            name: name.to_owned(),
            facts,
        },
        verdicts: [].into(),
    }
}

fn jvm(pid: i32, name: &str, place: &str) -> Inspection {
    let (vm, version) = (JavaVm::HotSpot, None);
    inspection(pid, name, RuntimeFacts::Jvm { vm, version }, place)
}

fn native(pid: i32, name: &str, place: &str) -> Inspection {
    inspection(pid, name, RuntimeFacts::Native, place)
}

fn node() -> Vec<Inspection> {
    vec![
        native(1, "systemd", ""),
        jvm(10, "Shop", "prod/shop-1 app"),
        native(11, "nginx", "prod/shop-1 proxy"),
        native(12, "pause", "prod/shop-1 pause"),
        jvm(20, "Shop", "test/shop-1 app"),
        jvm(30, "Shop", "prod/shop-12 app"),
        native(31, "sideflame", "prod/shop-12 sideflame"),
    ]
}

fn pid_of(query: &[(&str, &str)]) -> Result<i32, CaptureError> {
    let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let request = super::super::CaptureRequest::parse(&pairs, 60).unwrap();
    let node = node();
    resolve(&request.selector, &node).map(|index| node[index].target.id().pid)
}

/// The candidates' pids.
fn among(query: &[(&str, &str)]) -> Vec<i32> {
    match pid_of(query).unwrap_err() {
        CaptureError::Ambiguous { matches, candidates } => {
            assert_eq!(matches, candidates.len());
            candidates.iter().map(|candidate| candidate.pid).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_pod_stands_for_its_only_managed_process() {
    assert_eq!(pid_of(&[("pod", "prod/shop-1")]).unwrap(), 10);
    assert_eq!(pid_of(&[("pod", "shop-12")]).unwrap(), 30);
    assert_eq!(pid_of(&[("pod", "test/sh")]).unwrap(), 20);
}

#[test]
fn an_exact_name_wins_over_longer_ones_and_a_beginning_must_be_unique() {
    assert_eq!(among(&[("pod", "shop-1")]), [10, 20]);
    assert_eq!(among(&[("pod", "prod/shop")]), [10, 30]);
    assert_eq!(among(&[("name", "Shop")]), [10, 20, 30]);
    assert_eq!(among(&[]), [10, 20, 30]);
}

#[test]
fn selectors_narrow_each_other() {
    assert_eq!(pid_of(&[("pod", "prod/shop-1"), ("container", "proxy")]).unwrap(), 11);
    assert_eq!(pid_of(&[("name", "Shop"), ("pod", "test/shop-1")]).unwrap(), 20);
    assert_eq!(pid_of(&[("pid", "11"), ("pod", "shop-1")]).unwrap(), 11);
    assert!(matches!(
        pid_of(&[("pid", "11"), ("pod", "shop-12")]),
        Err(CaptureError::NoSuchProcess { .. })
    ));
}

#[test]
fn infrastructure_is_chosen_by_name_only() {
    assert_eq!(pid_of(&[("container", "pro")]).unwrap(), 11);
    for container in ["sideflame", "pause"] {
        assert!(pid_of(&[("container", container)]).is_err());
        assert!(pid_of(&[("container", container), ("name", container)]).is_ok());
    }
}

#[test]
fn candidates_say_where_they_are_and_fill_a_screen_at_most() {
    let daemon = |pid| jvm(pid, "daemon", "");
    let in_pod = |pid| jvm(pid, "Shop", "prod/shop-1 app");
    let many: Vec<_> = (1..290).map(daemon).chain((290..300).map(in_pod)).collect();
    match default_target(&many).unwrap_err() {
        CaptureError::Ambiguous { matches, candidates } => {
            assert_eq!((matches, candidates.len()), (299, SHOWN));
            assert_eq!(
                (candidates[0].pid, candidates[0].place().as_str()),
                (290, " in prod/shop-1 app")
            );
            assert_eq!((candidates[10].pid, candidates[10].place().as_str()), (1, ""));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_row_of_a_list_selects_its_own_process() {
    let node = node();
    let rows = crate::listing::processes_json(&node);
    let rows: Vec<_> = rows.map(|row| serde_json::to_value(row).unwrap()).collect();
    assert_eq!(rows.len(), node.len());
    for row in &rows {
        let text = |key: &str| match &row[key] {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        for keys in [["pid", "pod", "container"], ["name", "pod", "container"]] {
            let known = keys.map(|key| (key, text(key)));
            let pairs: Vec<_> = known
                .iter()
                .filter_map(|(key, text)| Some((*key, text.as_deref()?)))
                .collect();
            assert_eq!(pid_of(&pairs).ok().map(i64::from), row["pid"].as_i64(), "{pairs:?}");
        }
    }
    assert_eq!(rows[1]["startTime"], 1);
    assert_eq!(
        (&rows[1]["pod"], &rows[1]["container"]),
        (&"prod/shop-1".into(), &"app".into())
    );
}

/// The pid that an argument without a flag chooses.
fn pid_of_argument(argument: &str) -> Result<i32, CaptureError> {
    let pairs = [("name".to_owned(), argument.to_owned())];
    let selector = Selector::parse(&pairs).unwrap().with_name_or_pid();
    let mut node = node();
    node.push(native(40, "4711", "prod/numbers-1 app"));
    resolve(&selector, &node).map(|index| node[index].target.id().pid)
}

#[test]
fn on_a_command_line_a_number_is_a_pid_and_a_name_only_without_such_a_pid() {
    assert_eq!(pid_of_argument("11").unwrap(), 11);
    assert_eq!(pid_of_argument("4711").unwrap(), 40);
    assert_eq!(pid_of_argument("nginx").unwrap(), 11);
    assert!(matches!(
        pid_of_argument("12345"),
        Err(CaptureError::NoSuchProcess { .. })
    ));
}

#[test]
fn a_filter_keeps_what_fits_and_may_keep_nothing() {
    let filtered = |query: &[(&str, &str)]| {
        let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let node = node();
        let kept = filter(&Selector::parse(&pairs).unwrap(), &node);
        kept.into_iter()
            .map(|index| node[index].target.id().pid)
            .collect::<Vec<_>>()
    };
    assert_eq!(filtered(&[]), [1, 10, 11, 12, 20, 30, 31]);
    assert_eq!(filtered(&[("pod", "prod/shop-1")]), [10, 11, 12]);
    assert_eq!(filtered(&[("name", "Shop"), ("pod", "prod/sh")]), [10, 30]);
    assert_eq!(filtered(&[("pid", "11")]), [11]);
    assert!(filtered(&[("pid", "4711")]).is_empty());
}

#[test]
fn the_first_process_stands_for_the_node_unless_it_is_that_of_a_pod() {
    let found = super::node(&node()).unwrap();
    assert_eq!((found.id().pid, &*found.name), (1, "node"));
    for pod in [
        vec![native(1, "pause", "prod/shop-1 pause")],
        vec![native(7, "shop", "")],
    ] {
        match super::node(&pod) {
            Err(CaptureError::Impossible(reason)) => {
                assert_eq!(reason.key, "not_on_node");
                assert!(reason.remedy.contains("hostPID") && reason.remedy.contains("kubectl debug node"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_go_program_is_found_by_its_executable_unless_another_has_that_name() {
    let mut server = native(30, "k8s.io/kubernetes/cmd/kube-apiserver", "");
    server.target.process.executable = Some("/usr/local/bin/kube-apiserver".into());
    let of = |name: &str, inspections: &[Inspection]| {
        let selector = Selector {
            name: Some(name.to_owned()),
            ..Selector::default()
        };
        filter(&selector, inspections)
    };
    let mut all = vec![native(29, "nginx", ""), server];
    assert_eq!(of("kube-apiserver", &all), [1]);
    assert_eq!(of("kube-", &all), [1]);
    assert_eq!(of("k8s.io/kubernetes", &all), [1]);
    all.push(native(31, "kube-apiserver-proxy", ""));
    assert_eq!(of("kube-apiserver", &all), [2]);
}
