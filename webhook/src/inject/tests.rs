//! What golden pods do not show: keys, order of reasons, lengths.

use serde_json::json;

use super::*;

/// The settings of flags without any argument.
fn settings() -> InjectSettings {
    InjectSettings::unchanged()
}

fn facts() -> Facts {
    Facts {
        namespace: "shop".to_owned(),
        namespace_labels: Some([].into()),
        server_version: Some((1, 33)),
        ..Facts::default()
    }
}

fn skipped(pod: &Value) -> Skip {
    match inject(pod, &settings(), &facts()) {
        Decision::Skip(skip) => skip,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_are_snake_case_and_unique() {
    let keys: std::collections::BTreeSet<&str> = SkipReason::ALL.iter().map(|reason| reason.key()).collect();
    assert_eq!(keys.len(), SkipReason::ALL.len());
    assert!(
        keys.iter()
            .all(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    );
}

#[test]
fn a_failure_warns_and_an_expected_skip_is_silent() {
    let pod = |annotations: Value, spec: Value| json!({ "metadata": { "annotations": annotations }, "spec": spec });
    let app = json!({ "hostPID": true, "containers": [{ "name": "app" }] });
    let failure = skipped(&pod(json!({ "sideflame.io/inject": "true" }), app.clone()));
    assert_eq!(
        (failure.reason, failure.warnings),
        (SkipReason::HostPid, vec![failure.detail])
    );
    let expected = skipped(&pod(json!({ "sideflame.io/inject": "false" }), app));
    assert_eq!((expected.reason, expected.warnings), (SkipReason::OptedOut, vec![]));
}

#[test]
fn only_wanted_pods_are_refused() {
    let pod = |inject: &str| {
        json!({
            "metadata": { "annotations": { "sideflame.io/inject": inject, "sideflame.io/on-error": "block" } },
            "spec": { "hostPID": true, "containers": [{ "name": "app" }] },
        })
    };
    assert!(matches!(
        inject(&pod("true"), &settings(), &facts()),
        Decision::Block(_)
    ));
    assert!(matches!(
        inject(&pod("maybe"), &settings(), &facts()),
        Decision::Block(_)
    ));
    assert!(matches!(
        inject(&pod("false"), &settings(), &facts()),
        Decision::Skip(_)
    ));
    let mut facts = facts();
    facts.namespace = "kube-system".to_owned();
    assert!(matches!(inject(&pod("true"), &settings(), &facts), Decision::Skip(_)));
}

#[test]
fn an_unknown_server_gets_no_native_sidecar_unless_told() {
    let pod = |form: &str| {
        json!({
            "metadata": { "annotations": { "sideflame.io/inject": "true", "sideflame.io/sidecar": form } },
            "spec": { "containers": [{ "name": "app" }] },
        })
    };
    let unknown = Facts {
        server_version: None,
        ..facts()
    };
    for (form, place) in [("auto", "/spec/containers/-"), ("native", "/spec/initContainers")] {
        let Decision::Inject(injection) = inject(&pod(form), &settings(), &unknown) else {
            panic!("{form}")
        };
        assert_eq!(injection.patch.0.last().unwrap().path().as_str(), place);
    }
}

#[test]
fn a_seccomp_profile_that_is_left_out_is_stated_where_the_namespace_demands_it() {
    let mut settings = settings();
    settings.sidecar_seccomp_profile = SeccompProfile::Unset;
    let pod = json!({
        "metadata": { "annotations": { "sideflame.io/inject": "true" } },
        "spec": { "containers": [{ "name": "app" }] },
    });
    for (enforced, expected) in [("privileged", false), ("baseline", false), ("restricted", true)] {
        let labels = [(PodSecurityLevel::ENFORCE.to_owned(), enforced.to_owned())];
        let facts = Facts {
            namespace_labels: Some(labels.into()),
            ..facts()
        };
        let Decision::Inject(injection) = inject(&pod, &settings, &facts) else {
            panic!("{enforced}")
        };
        let stated = injection.patch.to_string().contains("seccompProfile");
        assert_eq!(stated, expected, "{enforced}");
    }
}

#[test]
fn long_names_do_not_make_long_warnings() {
    let name = "é".repeat(500);
    let pod = json!({
        "metadata": { "annotations": { "sideflame.io/inject": "true", (format!("sideflame.io/{name}")): "x" } },
        "spec": { "containers": [{ "name": name, "ports": [{ "containerPort": 7117 }] }] },
    });
    let skip = skipped(&pod);
    assert_eq!(skip.reason, SkipReason::PortTaken);
    assert!(
        skip.warnings.iter().all(|warning| warning.chars().count() <= 250),
        "{:?}",
        skip.warnings
    );
}

#[test]
fn a_port_for_scrapers_is_one_that_nothing_else_has() {
    let pod = |annotations: Value, spec: &Value| {
        let mut pod = json!({ "metadata": { "annotations": annotations }, "spec": spec });
        pod["metadata"]["annotations"]["sideflame.io/inject"] = json!("true");
        pod
    };
    let mut app = json!({ "containers": [{ "name": "app", "ports": [{ "containerPort": 9000 }] }] });
    for (metrics, port) in [("7117", "7117"), ("9000", "7117"), ("7000", "7000")] {
        let ports = json!({ "sideflame.io/metrics-port": metrics, "sideflame.io/port": port });
        let skip = skipped(&pod(ports, &app));
        assert_eq!(skip.reason, SkipReason::PortTaken, "{metrics} {port}");
        assert!(
            skip.warnings[0].contains("sideflame.io/metrics-port"),
            "{:?}",
            skip.warnings
        );
    }
    app["hostNetwork"] = json!(true);
    let pod = pod(json!({ "sideflame.io/metrics-port": "7118" }), &app);
    let Decision::Inject(injection) = inject(&pod, &settings(), &facts()) else {
        panic!("skipped")
    };
    assert!(!injection.patch.to_string().contains("7118"), "{:?}", injection.patch);
    assert!(
        injection
            .warnings
            .iter()
            .any(|warning| warning.contains("metrics-port"))
    );
}

#[test]
fn kubectl_reaches_the_container_it_would_have_reached_anyway() {
    let annotations = json!({
        "sideflame.io/inject": "true",
        "sideflame.io/sidecar": "container",
        "sideflame.io/container": "second",
    });
    let containers = json!([{ "name": "first" }, { "name": "second" }]);
    let mut pod = json!({ "metadata": { "annotations": annotations }, "spec": { "containers": containers } });
    let Decision::Inject(injection) = inject(&pod, &settings(), &facts()) else {
        panic!("not injected");
    };
    json_patch::patch(&mut pod, &injection.patch).unwrap();
    assert_eq!(pod["metadata"]["annotations"][DEFAULT_CONTAINER], "first");
}

#[test]
fn no_name_of_a_pod_brings_control_characters_into_what_is_said() {
    let pod = json!({
        "metadata": { "annotations": { "sideflame.io/inject": "true", "sideflame.io/container": "proxy" } },
        "spec": { "containers": [{ "name": "a\u{7}" }] },
    });
    let skip = skipped(&pod);
    assert_eq!(skip.reason, SkipReason::NoSuchContainer);
    let said = [&skip.detail].into_iter().chain(&skip.warnings);
    assert!(said.clone().all(|text| !text.contains(char::is_control)), "{skip:?}");
}
