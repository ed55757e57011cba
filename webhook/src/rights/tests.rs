//! The planner against the table of least privilege, and the verdicts for what a spec leaves open.

use serde_json::{Value, json};

use super::*;
use PodSecurityLevel::{Baseline, Privileged, Restricted};

/// To profile the first container of `pod` by itself, as well as its namespace of level restricted lets it.
fn request<'a>(pod: &'a PodView<'a>) -> Request<'a> {
    Request {
        pod,
        chosen: &[0],
        dotnet: &[],
        rights: Rights::Auto,
        run_as: (None, None),
        assigned_user: None,
        events: &[Event::DEFAULT],
        adds_tmp: true,
        level: Restricted,
        states_seccomp: true,
    }
}

fn planned(spec: Value, level: PodSecurityLevel, rights: Rights, events: &[&str]) -> String {
    let pod = json!({ "spec": spec });
    let view = PodView::new(&pod).unwrap();
    let events: Vec<Event> = events.iter().map(|name| Event::named(name).unwrap()).collect();
    let request = Request {
        rights,
        events: &events,
        level,
        ..request(&view)
    };
    let plan = match plan(&request) {
        Ok(plan) => plan,
        Err(refused) => return format!("{} needs {}", refused.rights.name(), refused.needs.name()),
    };
    line(&plan)
}

/// A plan for the first container, as a line.
fn line(plan: &Plan<'_>) -> String {
    let id = |id: Option<u32>| id.map_or("-".to_owned(), |id| id.to_string());
    let kept = if plan.rights.drop_all { "none" } else { "default" };
    let added: String = plan.rights.added().map(|name| format!("+{name}")).collect();
    let verdicts: Vec<String> = plan.verdicts[0]
        .events
        .iter()
        .map(|(_, verdict)| verdict.text())
        .collect();
    let (mode, uid, gid) = (plan.rights.mode.name(), id(plan.rights.uid), id(plan.rights.gid));
    format!("{mode} {uid}:{gid} {kept}{added} | {}", verdicts.join(", "))
}

fn container(context: Value) -> Value {
    json!({ "containers": [{ "name": "app", "securityContext": context }] })
}

#[test]
fn a_runtime_that_connects_by_itself_needs_no_rights_to_look() {
    let root = json!({ "runAsUser": 0 });
    let user = json!({ "runAsUser": 1000, "readOnlyRootFilesystem": true });
    for (what, context, not_shared, expected) in [
        (
            "of the app's user",
            &user,
            false,
            "same-user 1000:- none | degraded: dotnet_only, works",
        ),
        (
            "not root's, for which there is no use",
            &root,
            true,
            "same-user 65532:65532 none | degraded: dotnet_only, impossible: namespace_not_shared",
        ),
        (
            "whoever it is",
            &json!({}),
            true,
            "same-user -:- none | degraded: dotnet_only, impossible: namespace_not_shared",
        ),
    ] {
        let mut spec = container(context.clone());
        if not_shared {
            spec["shareProcessNamespace"] = json!(false);
        }
        let pod = json!({ "spec": spec });
        let view = PodView::new(&pod).unwrap();
        let events = ["cpu", "block"].map(|name| Event::named(name).unwrap());
        let plan = plan(&Request {
            dotnet: &[0],
            events: &events,
            level: Privileged,
            ..request(&view)
        });
        let plan = plan.unwrap();
        assert_eq!(plan.tmp, [0; 0], "{what}");
        assert_eq!(line(&plan), expected, "{what}");
    }
}

#[test]
fn auto_takes_the_least_rights_that_work() {
    let drop_all = json!({ "drop": ["ALL"] });
    for (what, context, level, expected) in [
        (
            "user and group stated",
            json!({ "runAsUser": 1000, "runAsGroup": 1000 }),
            Restricted,
            "same-user 1000:1000 none | works",
        ),
        (
            "the same where more is admitted",
            json!({ "runAsUser": 1000, "runAsGroup": 1000 }),
            Privileged,
            "same-user 1000:1000 none | works",
        ),
        (
            "group 0 stated",
            json!({ "runAsUser": 1000, "runAsGroup": 0 }),
            Restricted,
            "same-user 1000:0 none | works",
        ),
        (
            "user without group",
            json!({ "runAsUser": 1000 }),
            Restricted,
            "same-user 1000:- none | unknown: group_unknown",
        ),
        (
            "user without group, root admitted",
            json!({ "runAsUser": 1000 }),
            Baseline,
            "switch-user 0:0 none+SETGID+SETUID | works",
        ),
        (
            "nothing stated",
            json!({}),
            Restricted,
            "same-user -:- none | unknown: user_unknown",
        ),
        (
            "nothing stated, root admitted",
            json!({}),
            Baseline,
            "switch-user 0:0 default | works",
        ),
        (
            "not root, else unknown",
            json!({ "runAsNonRoot": true }),
            Baseline,
            "switch-user 0:0 none+SETGID+SETUID | works",
        ),
        (
            "unknown without capabilities",
            json!({ "capabilities": drop_all.clone() }),
            Baseline,
            "switch-user 0:0 none+SETGID+SETUID | works",
        ),
        (
            "root",
            json!({ "runAsUser": 0 }),
            Baseline,
            "switch-user 0:0 default | works",
        ),
        (
            "root without NET_RAW",
            json!({ "runAsUser": 0, "capabilities": { "drop": ["NET_RAW"] } }),
            Baseline,
            "switch-user 0:0 none+CHOWN+DAC_OVERRIDE+FOWNER+FSETID+KILL+SETGID+SETUID+SETPCAP+NET_BIND_SERVICE+SYS_CHROOT\
          +MKNOD+AUDIT_WRITE+SETFCAP | works",
        ),
        (
            "root without capabilities",
            json!({ "runAsUser": 0, "capabilities": drop_all.clone() }),
            Baseline,
            "same-user 0:- none | works",
        ),
        (
            "root where it is not admitted",
            json!({ "runAsUser": 0 }),
            Restricted,
            "same-user 65532:65532 none | impossible: other_user",
        ),
        (
            "file capabilities",
            json!({ "runAsUser": 101, "runAsGroup": 82, "capabilities": { "add": ["NET_BIND_SERVICE"] } }),
            Baseline,
            "switch-user 0:0 none+SETGID+SETUID+NET_BIND_SERVICE | degraded: file_capabilities",
        ),
        (
            "no file capabilities under no_new_privs",
            json!({ "runAsUser": 101, "runAsGroup": 82, "allowPrivilegeEscalation": false, "capabilities": { "add": ["NET_BIND_SERVICE"] } }),
            Baseline,
            "same-user 101:82 none | works",
        ),
        (
            "root with more",
            json!({ "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } }),
            Privileged,
            "switch-user 0:0 default+NET_ADMIN | works",
        ),
        (
            "more, whoever it is",
            json!({ "capabilities": { "add": ["SYS_PTRACE"] } }),
            Privileged,
            "switch-user 0:0 default+SYS_PTRACE | degraded: file_capabilities",
        ),
        (
            "root with one alone",
            json!({ "runAsUser": 0, "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN"] } }),
            Privileged,
            "switch-user 0:0 none+SETGID+SETUID+NET_ADMIN | works",
        ),
        (
            "a user with more, by files at most",
            json!({ "runAsUser": 1000, "runAsGroup": 1000, "capabilities": { "add": ["IPC_LOCK", "SYS_RESOURCE"] } }),
            Privileged,
            "switch-user 0:0 none+SETGID+SETUID+IPC_LOCK+SYS_RESOURCE | degraded: file_capabilities",
        ),
        (
            "a user with more that no file can give",
            json!({ "runAsUser": 1000, "runAsGroup": 1000, "allowPrivilegeEscalation": false,
                "capabilities": { "add": ["IPC_LOCK"] } }),
            Privileged,
            "same-user 1000:1000 none | works",
        ),
        (
            "root with more, not admitted",
            json!({ "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } }),
            Baseline,
            "same-user 0:- none | impossible: more_capabilities",
        ),
        (
            "privileged",
            json!({ "privileged": true }),
            Privileged,
            "perf 0:0 default+SYS_PTRACE+SYSLOG+PERFMON | works",
        ),
        (
            "privileged without root",
            json!({ "privileged": true, "runAsUser": 1, "runAsGroup": 1 }),
            Privileged,
            "same-user 1:1 none | works",
        ),
    ] {
        assert_eq!(
            planned(container(context), level, Rights::Auto, &["cpu"]),
            expected,
            "{what}"
        );
    }
}

#[test]
fn the_container_beats_the_pod_field_by_field() {
    let mut spec = container(json!({ "runAsUser": 2000 }));
    spec["securityContext"] = json!({ "runAsUser": 1000, "runAsGroup": 3000 });
    assert_eq!(
        planned(spec, Restricted, Rights::Auto, &["cpu"]),
        "same-user 2000:3000 none | works"
    );
}

#[test]
fn an_assigned_user_is_that_of_containers_which_state_none() {
    let pod = json!({ "spec": { "containers": [
        { "name": "app" },
        { "name": "proxy", "securityContext": { "runAsUser": 1337 } },
    ] } });
    let view = PodView::new(&pod).unwrap();
    let request = Request {
        assigned_user: Some(1_000_650_000),
        ..request(&view)
    };
    let plan = plan(&request).unwrap();
    assert_eq!(
        (plan.rights.mode, plan.rights.uid, plan.rights.gid),
        (Mode::SameUser, Some(1_000_650_000), Some(0))
    );
    let verdicts: Vec<String> = plan.verdicts.iter().map(|of| of.events[0].1.text()).collect();
    assert_eq!(verdicts, ["works", "impossible: other_user"]);
}

#[test]
fn explicit_rights_are_taken_or_refused() {
    let app = || container(json!({ "runAsUser": 1000, "runAsGroup": 1000 }));
    for (rights, level, expected) in [
        (Rights::SameUser, Restricted, "same-user 1000:1000 none | works"),
        (Rights::SwitchUser, Restricted, "switch-user needs baseline"),
        (
            Rights::SwitchUser,
            Baseline,
            "switch-user 0:0 none+SETGID+SETUID | works",
        ),
        (Rights::Perf, Baseline, "perf needs privileged"),
        (Rights::Unconfined, Baseline, "unconfined needs privileged"),
        (Rights::Unconfined, Privileged, "unconfined 1000:1000 none | works"),
        (
            Rights::Perf,
            Privileged,
            "perf 0:0 none+SETGID+SETUID+SYSLOG+PERFMON | works",
        ),
    ] {
        assert_eq!(
            planned(app(), level, rights, &["cpu"]),
            expected,
            "{rights:?} {level:?}"
        );
    }
    let root = container(json!({ "runAsUser": 0 }));
    assert_eq!(
        planned(root.clone(), Restricted, Rights::SameUser, &["cpu"]),
        "same-user needs baseline"
    );
    assert_eq!(
        planned(root, Baseline, Rights::SameUser, &["cpu"]),
        "same-user 0:- none | impossible: more_capabilities"
    );
}

#[test]
fn kernel_events_still_take_what_samples_the_kernel() {
    let app = container(json!({ "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } }));
    assert_eq!(
        planned(app, Privileged, Rights::Auto, &["cycles"]),
        "perf 0:0 default+NET_ADMIN+SYSLOG+PERFMON | degraded: native_only"
    );
    let app = container(json!({ "runAsUser": 0, "capabilities": { "add": ["PERFMON"] } }));
    assert_eq!(
        planned(app, Privileged, Rights::Auto, &["cycles"]),
        "switch-user 0:0 default+PERFMON | works"
    );
}

#[test]
fn events_decide_what_is_needed() {
    let app = || container(json!({ "runAsUser": 1000, "runAsGroup": 1000 }));
    let native_only = "degraded: native_only";
    for (spec, level, events, expected) in [
        (
            app(),
            Privileged,
            &["cycles"][..],
            format!("perf 0:0 none+SETGID+SETUID+SYSLOG+PERFMON | {native_only}"),
        ),
        (
            app(),
            Baseline,
            &["cpu", "cycles"],
            "same-user 1000:1000 none | works, impossible: perf_not_granted".to_owned(),
        ),
        (
            container(json!({})),
            Baseline,
            &["block"],
            "same-user -:- none | works".to_owned(),
        ),
    ] {
        assert_eq!(
            planned(spec, level, Rights::Auto, events),
            expected,
            "{events:?} {level:?}"
        );
    }
    let mut in_user_namespace = app();
    in_user_namespace["hostUsers"] = json!(false);
    assert_eq!(
        planned(in_user_namespace, Privileged, Rights::Auto, &["cycles"]),
        "same-user 1000:1000 none | impossible: user_namespace"
    );
}

#[test]
fn a_read_only_tmp_is_mended_or_said() {
    let read_only = json!({ "runAsUser": 1, "runAsGroup": 1, "readOnlyRootFilesystem": true });
    assert_eq!(
        planned(container(read_only.clone()), Restricted, Rights::Auto, &["cpu"]),
        "same-user 1:1 none | works"
    );
    let mut configured = container(read_only.clone());
    configured["volumes"] = json!([{ "name": "settings", "configMap": { "name": "shop" } }]);
    configured["containers"][0]["volumeMounts"] = json!([{ "name": "settings", "mountPath": "/tmp/" }]);
    assert_eq!(
        planned(configured, Restricted, Rights::Auto, &["cpu"]),
        "same-user 1:1 none | impossible: tmp_read_only",
        "a ConfigMap is read-only by itself"
    );
    let mut mounted = container(read_only);
    mounted["containers"][0]["volumeMounts"] = json!([{ "mountPath": "/tmp", "readOnly": true }]);
    assert_eq!(
        planned(mounted, Restricted, Rights::Auto, &["cpu", "block"]),
        "same-user 1:1 none | impossible: tmp_read_only, works"
    );
}

#[test]
fn other_containers_are_judged_but_do_not_raise_the_rights() {
    let pod = json!({ "spec": { "containers": [
        { "name": "app", "securityContext": { "runAsUser": 1000, "runAsGroup": 1000 } },
        { "name": "proxy", "securityContext": { "runAsUser": 1337, "runAsGroup": 1337 } },
        { "name": "logs", "securityContext": { "runAsUser": 1000, "runAsGroup": 2000 } },
    ] } });
    let view = PodView::new(&pod).unwrap();
    let mut request = Request {
        level: Privileged,
        ..request(&view)
    };
    let keys = |plan: &Plan<'_>| plan.advice.iter().map(|advice| advice.key).collect::<Vec<_>>();
    let alone = plan(&request).unwrap();
    assert_eq!(alone.rights.mode, Mode::SameUser);
    let verdicts: Vec<String> = alone.verdicts.iter().map(|of| of.events[0].1.text()).collect();
    assert_eq!(verdicts, ["works", "impossible: other_user", "impossible: other_group"]);
    assert_eq!(keys(&alone), ["others_unreachable"]);
    request.chosen = &[0, 1, 2];
    let all = plan(&request).unwrap();
    assert_eq!(all.rights.mode, Mode::SwitchUser);
    assert_eq!(keys(&all), [] as [&str; 0]);
}

#[test]
fn advice_never_names_what_the_namespace_does_not_admit() {
    let pod = json!({ "spec": { "containers": [{ "name": "app" }] } });
    let view = PodView::new(&pod).unwrap();
    let plan = plan(&request(&view)).unwrap();
    assert_eq!(plan.advice[0].key, "user_unknown");
    assert!(!plan.advice[0].text.contains("switch-user"), "{}", plan.advice[0].text);
}

#[test]
fn native_programs_are_judged_by_seccomp_and_capabilities_of_the_sidecar() {
    let user = json!({ "runAsUser": 1000, "runAsGroup": 1000 });
    for (what, context, rights, states_seccomp, expected) in [
        ("same user", &user, Rights::SameUser, true, "impossible: perf_seccomp"),
        (
            "whatever the node says",
            &user,
            Rights::SameUser,
            false,
            "unknown: perf_seccomp",
        ),
        (
            "becoming the user",
            &user,
            Rights::SwitchUser,
            true,
            "impossible: perf_seccomp",
        ),
        (
            "without a filter",
            &user,
            Rights::Unconfined,
            true,
            "degraded: no_kernel_frames",
        ),
        (
            "without a filter in spite of the settings",
            &user,
            Rights::Unconfined,
            false,
            "degraded: no_kernel_frames",
        ),
        ("PERFMON", &user, Rights::Perf, true, "works"),
        (
            "PERFMON for root",
            &json!({ "runAsUser": 0 }),
            Rights::Perf,
            true,
            "works",
        ),
        ("PERFMON for whoever it is", &json!({}), Rights::Perf, true, "works"),
        (
            "somebody without a filter",
            &json!({}),
            Rights::Unconfined,
            true,
            "unknown: user_unknown",
        ),
        (
            "root with capabilities, without a filter",
            &json!({ "runAsUser": 0 }),
            Rights::Unconfined,
            true,
            "impossible: more_capabilities",
        ),
        (
            "a read-only /tmp does not matter",
            &json!({ "runAsUser": 1, "runAsGroup": 1, "readOnlyRootFilesystem": true }),
            Rights::Unconfined,
            true,
            "degraded: no_kernel_frames",
        ),
    ] {
        let pod = json!({ "spec": container(context.clone()) });
        let view = PodView::new(&pod).unwrap();
        let plan = plan(&Request {
            rights,
            states_seccomp,
            adds_tmp: false,
            level: Privileged,
            ..request(&view)
        });
        assert_eq!(plan.unwrap().verdicts[0].native.text(), expected, "{what}");
    }
    let hand_written = |sidecar: Value| {
        let pod = json!({ "spec": { "containers": [
            { "name": "app", "securityContext": user },
            { "name": "sidecar", "securityContext": sidecar },
        ] } });
        native(&pod, "sidecar", "app").unwrap()
    };
    let unconfined = json!({ "type": "Unconfined" });
    assert_eq!(
        hand_written(json!({ "runAsUser": 0, "seccompProfile": unconfined })),
        "impossible: perf_credentials",
        "the events are opened by root, and the process does not let root look"
    );
    assert_eq!(
        hand_written(
            json!({ "runAsUser": 0, "seccompProfile": unconfined, "capabilities": { "add": ["SYS_PTRACE"] } })
        ),
        "degraded: no_kernel_frames"
    );
}

#[test]
fn what_happens_in_the_kernel_takes_perfmon() {
    let app = container(json!({ "runAsUser": 1000, "runAsGroup": 1000 }));
    assert_eq!(
        planned(app, Privileged, Rights::Unconfined, &["page-faults", "offcpu"]),
        "unconfined 1000:1000 none | degraded: no_kernel_frames, impossible: perf_not_granted"
    );
}
