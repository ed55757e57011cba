//! Over generated pods, LimitRanges and ResourceQuotas: a pod that the API server takes without the sidecar, it takes with it.
//! Its rules are written down here once more, from its documentation; the control plane's tests hold a few against itself.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sideflame_webhook::choices::Quantity;
use sideflame_webhook::inject::{Decision, SkipReason, inject};
use sideflame_webhook::limits::Limits;
use sideflame_webhook::settings::{Facts, InjectSettings};

fn settings() -> InjectSettings {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        settings: InjectSettings,
    }
    <Flags as clap::Parser>::parse_from(["sideflame-webhook"]).settings
}

const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Resources with some of these amounts each.
fn amounts(cpu: &'static [&'static str], bytes: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let some = |amounts: &'static [&'static str]| prop::option::weighted(0.6, prop::sample::select(amounts));
    (some(cpu), some(bytes), some(bytes)).prop_map(|amounts| {
        let named = RESOURCES.iter().zip([amounts.0, amounts.1, amounts.2]);
        named
            .filter_map(|(name, amount)| Some(((*name).to_owned(), Value::from(amount?))))
            .collect()
    })
}

fn containers(native: bool) -> impl Strategy<Value = Value> {
    let small = amounts(&["10m", "100m", "1"], &["10Mi", "64Mi", "100000000"]);
    let large = amounts(&["1", "1500m", "2"], &["256Mi", "1Gi"]);
    let restarts = prop::bool::weighted(if native { 0.4 } else { 0.0 });
    let container = (small, large, any::<bool>(), restarts).prop_map(|(requests, limits, same, restarts)| {
        let requests = if same { limits.clone() } else { requests };
        let mut container = json!({"name": "app", "resources": {"requests": requests, "limits": limits}});
        if restarts {
            container["restartPolicy"] = json!("Always");
        }
        container
    });
    vec(container, if native { 0..3 } else { 1..3 }).prop_map(Value::from)
}

fn pod() -> impl Strategy<Value = Value> {
    let budget = || {
        amounts(&["1", "3"], &["300Mi", "2Gi"]).prop_map(|mut budget| {
            budget.as_object_mut().map(|budget| budget.remove("ephemeral-storage"));
            budget
        })
    };
    let budget = prop::option::weighted(0.2, (budget(), budget(), any::<bool>()));
    let form = prop::sample::select(&["native", "container"][..]);
    (containers(false), containers(true), budget, form).prop_map(|(containers, init, budget, form)| {
        let annotations = json!({"sideflame.io/inject": "true", "sideflame.io/sidecar": form});
        let mut pod = json!({"metadata": {"annotations": annotations},
            "spec": {"containers": containers, "initContainers": init}});
        if let Some((requests, limits, both)) = budget {
            pod["spec"]["resources"] = if both {
                json!({"requests": requests, "limits": limits})
            } else {
                json!({"limits": limits})
            };
        }
        pod
    })
}

fn range() -> impl Strategy<Value = Value> {
    let item = |kind: &'static str| {
        let min = amounts(&["5m", "100m"], &["8Mi", "64Mi", "99999999"]);
        let max = amounts(&["300m", "1100m", "2", "5"], &["200Mi", "1Gi", "1500000001", "4Gi"]);
        let ratio = amounts(&["1", "3", "7", "200"], &["1", "2", "3", "50"]);
        let default = amounts(&["200m", "1"], &["128Mi", "512Mi"]);
        (min, max, ratio, default).prop_map(move |(min, max, ratio, default)| {
            let mut item = json!({"type": kind, "min": min, "max": max, "maxLimitRequestRatio": ratio});
            if kind == "Container" {
                item["default"] = default;
            }
            item
        })
    };
    let some = |item| prop::option::weighted(0.6, item);
    (some(item("Container").boxed()), some(item("Pod").boxed())).prop_map(|(container, pod)| {
        let items: Vec<Value> = container.into_iter().chain(pod).collect();
        json!({"kind": "LimitRange", "metadata": {"name": "range"}, "spec": {"limits": items}})
    })
}

fn quota() -> impl Strategy<Value = Value> {
    const KEYS: [&str; 7] = [
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "memory",
        "requests.ephemeral-storage",
        "pods",
    ];
    let amount = |key: &str| match key {
        "pods" => vec!["0", "1"],
        key if key.ends_with("cpu") => vec!["1", "2500m", "4", "100"],
        _ => vec!["500Mi", "1300Mi", "3Gi", "1000Gi"],
    };
    let hard = KEYS.map(|key| {
        (
            Just(key),
            prop::option::weighted(0.3, prop::sample::select(amount(key))),
        )
    });
    let scopes = prop::sample::select(vec![json!([]), json!(["BestEffort"]), json!(["NotBestEffort"])]);
    (Vec::from(hard), scopes).prop_map(|(hard, scopes)| {
        let named = hard
            .into_iter()
            .filter_map(|(key, amount)| Some((key.to_owned(), Value::from(amount?))));
        let hard: serde_json::Map<_, _> = named.collect();
        let used: serde_json::Map<_, _> = hard.keys().map(|key| (key.clone(), Value::from("0"))).collect();
        json!({"kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard, "scopes": scopes},
            "status": {"used": used}})
    })
}

fn nano(value: &Value) -> Option<u128> {
    Quantity::of(value).map(|quantity| quantity.nano())
}

/// The pod as the API server has it before it judges: what is not said is filled in.
fn filled(mut pod: Value, ranges: &[Value]) -> Value {
    let lists = ["containers", "initContainers"];
    for list in lists {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let resources = &mut container["resources"];
            for resource in RESOURCES {
                if resources["requests"][resource].is_null() && !resources["limits"][resource].is_null() {
                    resources["requests"][resource] = resources["limits"][resource].clone();
                }
            }
            for item in ranges.iter().filter(|item| item["type"] == "Container") {
                for resource in RESOURCES {
                    let default = [&item["default"], &item["max"]].map(|map| map[resource].clone());
                    let limit = default.into_iter().find(|amount| !amount.is_null());
                    let request = limit.clone().or_else(|| Some(item["min"][resource].clone()));
                    for (field, amount) in [("limits", limit), ("requests", request)] {
                        let amount = amount.filter(|amount| !amount.is_null());
                        if let Some(amount) = amount.filter(|_| resources[field][resource].is_null()) {
                            resources[field][resource] = amount;
                        }
                    }
                }
            }
        }
    }
    pod
}

/// Sum over a pod; `None` if no container has it.
fn sum(pod: &Value, field: &str, resource: &str) -> Option<u128> {
    let of = |container: &Value| nano(&container["resources"][field][resource]);
    let containers = pod["spec"]["containers"].as_array()?;
    let mut all: Vec<u128> = containers.iter().filter_map(of).collect();
    let (mut sidecars, mut peak, mut any) = (0, 0, !all.is_empty());
    for container in pod["spec"]["initContainers"].as_array().into_iter().flatten() {
        let own = of(container);
        any |= own.is_some();
        let own = own.unwrap_or_default();
        peak = peak.max(sidecars + own);
        if container["restartPolicy"] == "Always" {
            sidecars += own;
            all.push(own);
        }
    }
    any.then(|| all.iter().sum::<u128>().max(peak))
}

fn has_budget(pod: &Value) -> bool {
    let stated = |field: &str| {
        ["cpu", "memory"]
            .iter()
            .any(|name| !pod["spec"]["resources"][field][name].is_null())
    };
    stated("requests") || stated("limits")
}

/// What the API server says against `bounds` for these amounts.
fn violates(bounds: &Value, resource: &str, request: Option<u128>, limit: Option<u128>) -> bool {
    let bound = |name: &str| nano(&bounds[name][resource]);
    let min = bound("min").is_some_and(|min| request.is_none_or(|it| it < min) || limit.is_some_and(|it| it < min));
    let max = bound("max").is_some_and(|max| limit.is_none_or(|it| it > max) || request.is_some_and(|it| it > max));
    let ratio = bound("maxLimitRequestRatio").is_some_and(|ratio| match (request, limit) {
        (Some(request @ 1..), Some(limit @ 1..)) => limit * 1_000_000_000 > ratio * request,
        _ => true,
    });
    min || max || ratio
}

/// The first rule that the pod breaks.
fn refusal(pod: &Value, ranges: &[Value], quotas: &[Value]) -> Option<String> {
    let pod = filled(pod.clone(), ranges);
    let spec = &pod["spec"];
    let of = |container: &Value, field: &str, resource: &str| nano(&container["resources"][field][resource]);
    let all = ["containers", "initContainers"].map(|list| spec[list].as_array().cloned().unwrap_or_default());
    let mut budget = spec["resources"].clone();
    // What the API server filled in before the webhook saw the pod stays; see `before`.
    fill_requests(&mut budget, &pod);
    for resource in RESOURCES {
        for container in all.iter().flatten() {
            let (request, limit) = (of(container, "requests", resource), of(container, "limits", resource));
            if limit.is_some_and(|limit| request.is_some_and(|request| request > limit)) {
                return Some(format!("{resource}: request above limit"));
            }
            let most = nano(&budget["limits"][resource]);
            if most.is_some_and(|most| limit.is_some_and(|limit| limit > most)) {
                return Some(format!("{resource}: limit above the pod's"));
            }
            let each = ranges.iter().filter(|item| item["type"] == "Container");
            if each.into_iter().any(|item| violates(item, resource, request, limit)) {
                return Some(format!("{resource}: LimitRange for containers: {container}"));
            }
        }
        let requests = sum(&pod, "requests", resource);
        let most = nano(&budget["requests"][resource]);
        if most.is_some_and(|most| requests.is_some_and(|requests| requests > most)) {
            return Some(format!("{resource}: requests above the pod's"));
        }
        let [request, limit] =
            ["requests", "limits"].map(|field| nano(&budget[field][resource]).or_else(|| sum(&pod, field, resource)));
        let together = ranges.iter().filter(|item| item["type"] == "Pod");
        if together
            .into_iter()
            .any(|item| violates(item, resource, request, limit))
        {
            return Some(format!("{resource}: LimitRange for pods"));
        }
    }
    let asks = |container: &Value| {
        ["cpu", "memory"].iter().any(|resource| {
            let fields = ["requests", "limits"];
            fields
                .iter()
                .any(|field| of(container, field, resource).is_some_and(|amount| amount > 0))
        })
    };
    let best_effort = !has_budget(&pod) && !all.iter().flatten().any(asks);
    for quota in quotas {
        let scopes = quota["spec"]["scopes"].as_array().cloned().unwrap_or_default();
        let holds = |scope: &Value| (scope == "BestEffort") == best_effort;
        if !scopes.iter().all(holds) {
            continue;
        }
        for (key, hard) in quota["spec"]["hard"].as_object().into_iter().flatten() {
            let (field, resource) = key.split_once('.').unwrap_or(("requests", key));
            let used = match key.as_str() {
                "pods" => Some(1_000_000_000),
                _ => nano(&budget[field][resource]).or_else(|| sum(&pod, field, resource)),
            };
            if used > nano(hard) {
                return Some(format!("quota of {key}"));
            }
            let demanded = ["cpu", "memory"].contains(&resource) && !has_budget(&pod);
            if demanded
                && all
                    .iter()
                    .flatten()
                    .any(|container| of(container, field, resource).is_none())
            {
                return Some(format!("quota demands {key}"));
            }
        }
    }
    None
}

/// A budget with limits gets requests: what the containers request, or the limit.
fn fill_requests(budget: &mut Value, pod: &Value) {
    if budget["limits"].as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    for resource in ["cpu", "memory"] {
        if budget["requests"][resource].is_null() {
            let requested = sum(pod, "requests", resource).filter(|sum| *sum > 0);
            let requested = requested.map(|sum| json!(Quantity::from_nano(sum).to_string()));
            let amount = requested.unwrap_or_else(|| budget["limits"][resource].clone());
            if !amount.is_null() {
                budget["requests"][resource] = amount;
            }
        }
    }
}

/// The pod as the webhook gets it.
fn before(mut pod: Value, ranges: &[Value]) -> Value {
    if pod["spec"]["resources"].is_object() {
        // It does so before LimitRanges are looked at.
        let stated = filled(pod.clone(), &[]);
        fill_requests(&mut pod["spec"]["resources"], &stated);
    } else {
        pod["spec"].as_object_mut().map(|spec| spec.remove("resources"));
    }
    filled(pod, ranges)
}

#[test]
fn a_pod_that_is_taken_without_the_sidecar_is_taken_with_it() {
    const CASES: u32 = 10_000;
    let settings = settings();
    let (valid, fitted) = (std::cell::Cell::new(0_u32), std::cell::Cell::new(0_u32));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let checked = runner.run(
        &(pod(), vec(range(), 0..3), vec(quota(), 0..2)),
        |(pod, ranges, quotas)| {
            let mut limits = Limits::default();
            ranges.iter().chain(&quotas).for_each(|object| limits.add_all(object));
            let items = ranges
                .iter()
                .flat_map(|range| range["spec"]["limits"].as_array().cloned().unwrap_or_default());
            let items: Vec<Value> = items.collect();
            let pod = before(pod, &items);
            if refusal(&pod, &items, &quotas).is_some() {
                return Ok(());
            }
            valid.set(valid.get() + 1);
            let facts = Facts {
                namespace_labels: Some([].into()),
                server_version: Some((1, 34)),
                limits,
                ..Facts::default()
            };
            let injection = match inject(&pod, &settings, &facts) {
                Decision::Inject(injection) => injection,
                Decision::Skip(skip) => {
                    let reasons = [
                        SkipReason::LimitRange,
                        SkipReason::ResourceQuota,
                        SkipReason::ExclusiveCpus,
                    ];
                    prop_assert!(reasons.contains(&skip.reason), "{:?}", skip);
                    return Ok(());
                }
                Decision::Block(skip) => return Err(TestCaseError::fail(format!("{skip:?}"))),
            };
            fitted.set(fitted.get() + 1);
            let mut after = pod.clone();
            json_patch::patch(&mut after, &injection.patch).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let refusal = refusal(&after, &items, &quotas);
            prop_assert!(refusal.is_none(), "{:?}: {:#}\n{:#?}", refusal, after["spec"], items);
            Ok(())
        },
    );
    checked.unwrap_or_else(|error| panic!("{error}"));
    let (valid, fitted) = (valid.get(), fitted.get());
    assert!(
        valid > CASES / 20 && fitted > valid / 2,
        "{valid} valid, {fitted} fitted"
    );
}
