//! From a pod as it came to what should be done with it: a pure function.
//!
//! Must not know HTTP, certificates or a Kubernetes client. Called by `admission` and by the `inject` command. The work is
//! proportional to the number of containers, volumes and annotations; of environments only `variables` looks at names.

mod checks;
mod first_process;
mod form;
mod main_container;
pub(crate) mod misplaced;
mod nodes;
mod patch;
mod pod_security;
mod replaced_resources;
mod resources;
mod skip;
mod status;
pub(crate) mod templates;
pub(crate) mod variables;

use std::borrow::Cow;

use json_patch::Patch;
use serde_json::{Map, Value, json};

pub use misplaced::misplaced;
pub use skip::{Skip, SkipReason};
pub(crate) use status::image_of;

use crate::annotations::{self, Annotations, INJECT, Reading, STATUS, plain, shown};
use crate::choices::{Event, PodSecurityLevel, Rights};
use crate::container::{DOTNET_DIRECTORY, DOTNET_VOLUME, Sidecar, store_limit};
use crate::pod::{NotAPod, PodView, items, name};
use crate::rights::{self, Advice, Plan};
use crate::settings::{Facts, InjectSettings, SeccompProfile};
use patch::PatchBuilder;

/// Marks injected pods.
pub const INJECTED_LABEL: &str = "sideflame.io/injected";
/// Version of the injector, on injected pods.
pub const VERSION_LABEL: &str = "sideflame.io/version";
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Names of local volumes, separated by commas, that do not keep the cluster autoscaler from removing a node.
const EVICTABLE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// With the container's index: two containers must not share one `/tmp`.
const TMP_VOLUME_PREFIX: &str = "sideflame-tmp-";
/// Said beside what does not work.
const LEVEL_UNKNOWN: &str = "the labels of the namespace are unknown to the webhook (see its /readyz), so rights were planned for Pod \
                             Security level restricted; create the pod again for another plan";

/// What should be done with a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Add the sidecar.
    Inject(Injection),
    /// Leave the pod as it is.
    Skip(Skip),
    /// Refuse the pod: it asked for that with `on-error: block`.
    Block(Skip),
}

/// Minimal operations on the raw object.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// RFC 6902 operations, in order; never empty.
    pub patch: Patch,
    /// What the user should know at `kubectl apply`, a sentence each.
    pub warnings: Vec<String>,
}

/// Decides about `pod`, the raw object of an admission request or a file.
pub fn inject(pod: &Value, settings: &InjectSettings, facts: &Facts) -> Decision {
    let view = match PodView::new(pod) {
        Ok(view) => view,
        Err(problem) => return Decision::Skip(warned(not_a_pod(problem), Vec::new())),
    };
    let Reading {
        annotations,
        errors,
        warnings,
    } = annotations::read(view.annotations());
    let decided = match not_asked(&view, &annotations, errors, settings, facts) {
        Some(skip) => Err(skip),
        None => Subject {
            pod: &view,
            annotations: &annotations,
            settings,
            facts,
        }
        .decide(),
    };
    match decided {
        Ok(mut injection) => {
            injection.warnings.splice(0..0, warnings);
            injection.warnings.iter_mut().for_each(fit);
            Decision::Inject(injection)
        }
        Err(skip) => {
            let blocks = annotations.block_on_error && skip.reason.is_failure();
            // They were said when the sidecar came.
            let warnings = if skip.reason == SkipReason::AlreadyInjected {
                Vec::new()
            } else {
                warnings
            };
            let skip = warned(skip, warnings);
            if blocks {
                Decision::Block(skip)
            } else {
                Decision::Skip(skip)
            }
        }
    }
}

fn not_a_pod(problem: NotAPod) -> Skip {
    match problem {
        NotAPod::Kind(kind) => {
            let detail = format!("this is not a pod: it is of kind {}", shown(&kind));
            Skip::new(SkipReason::NotAPod, detail)
        }
        NotAPod::Shape(problem) => Skip::new(SkipReason::NotAPod, format!("this is not a pod: {problem}")),
        NotAPod::NoContainers => Skip::new(SkipReason::NoContainers, "the pod has no container to profile; add one"),
    }
}

/// The sidecar was not asked for here, or what was asked cannot be understood.
fn not_asked(
    pod: &PodView<'_>,
    annotations: &Annotations<'_>,
    errors: Vec<String>,
    settings: &InjectSettings,
    facts: &Facts,
) -> Option<Skip> {
    let stated = pod.annotation(INJECT).is_some();
    let opted_in = facts.namespace_labels.as_ref().and_then(|labels| labels.get(INJECT));
    if annotations.inject == Some(false) {
        return Some(Skip::new(
            SkipReason::OptedOut,
            format!("the pod says {INJECT}: \"false\"; set it to \"true\""),
        ));
    }
    let namespace = if facts.namespace.is_empty() {
        pod.namespace()
    } else {
        Some(facts.namespace.as_str())
    };
    let known = facts.namespace_labels.is_some();
    if !stated && known && opted_in.map(String::as_str) != Some("enabled") {
        let detail =
            format!("the pod has no annotation {INJECT}: \"true\" and its namespace no label {INJECT}: enabled");
        return Some(Skip::new(SkipReason::NotAnnotated, detail));
    }
    if let Some(namespace) =
        namespace.filter(|namespace| settings.exclude_namespaces.iter().any(|name| name == namespace))
    {
        let detail = format!("namespace {namespace} is left alone; run the app in another one");
        return Some(Skip::new(SkipReason::ExcludedNamespace, detail));
    }
    if pod.annotation(MIRROR).is_some() {
        let detail =
            "this is the API server's copy of a static pod; pipe its file through sideflame-webhook inject instead";
        return Some(Skip::new(SkipReason::MirrorPod, detail));
    }
    if checks::is_injected(pod) {
        return Some(Skip::new(
            SkipReason::AlreadyInjected,
            "the sidecar is there already; nothing to do",
        ));
    }
    if !stated && !known {
        // The API server sends such a pod because of the label, if the webhook configuration is the chart's.
        let name = shown(namespace.unwrap_or("default"));
        let detail = format!(
            "the pod has no annotation {INJECT}: \"true\", and the labels of namespace {name} are unknown to the webhook (see its \
             /readyz); create the pod again, or annotate it"
        );
        return Some(Skip::new(SkipReason::NamespaceUnknown, detail));
    }
    if errors.is_empty() {
        return None;
    }
    let mut skip = Skip::new(SkipReason::InvalidAnnotation, errors.join("; "));
    // One sentence each, as a warning has room for one.
    skip.warnings = errors;
    Some(skip)
}

/// A pod that is to get the sidecar.
struct Subject<'a> {
    pod: &'a PodView<'a>,
    annotations: &'a Annotations<'a>,
    settings: &'a InjectSettings,
    facts: &'a Facts,
}

impl Subject<'_> {
    fn decide(&self) -> Result<Injection, Skip> {
        let Self {
            pod,
            annotations,
            settings,
            ..
        } = *self;
        let port = annotations.port.unwrap_or(settings.sidecar_port);
        let image = self.image()?;
        // Containers that do not exist are said below, after what stands in the way of all.
        let dotnet = self.chosen().unwrap_or_default();
        let dotnet = variables::with_dotnet_port(pod, &dotnet, annotations);
        let on_node = pod.flag("hostNetwork") == Some(true);
        let metrics_port = annotations.metrics_port.filter(|_| !on_node);
        let blocker = checks::blocker(pod, (port, metrics_port), &dotnet).or_else(|| self.architecture());
        if let Some(skip) = blocker.or_else(|| self.unpulled(image)) {
            return Err(skip);
        }
        let chosen = self.chosen()?;
        let native = form::is_native(pod, annotations.sidecar, settings, self.facts)?;
        let mut plan = self.plan(&chosen, &dotnet)?;
        let resources = resources::resources(&resources::Question {
            pod,
            annotations,
            settings,
            limits: &self.facts.limits,
            native,
        })?;
        let level_matters = !plan.advice.is_empty();
        plan.advice.extend(self.app_armor(&chosen, &dotnet));
        plan.advice.extend(resources.advice);
        plan.advice.extend(first_process::advice(pod));
        plan.advice.extend(replaced_resources::advice(pod));
        plan.advice
            .extend(variables::advice(pod, &chosen, &variables::wanted(annotations)));
        let sidecar = Sidecar {
            image,
            pull_policy: settings.sidecar_image_pull_policy.name(),
            native,
            port,
            metrics_port,
            capture_size: &resources.capture_size,
            resources: resources.stated,
            rights: &plan.rights,
            token_secret: annotations.token_secret,
            dotnet_port: !dotnet.is_empty(),
            no_api_token: pod.flag("automountServiceAccountToken") == Some(false),
            app_armor: pod_security::inherits_app_armor(pod),
        };
        let patch = self.patch(&sidecar, (&chosen, &dotnet), &plan);
        let mut warnings: Vec<String> = plan.advice.into_iter().map(|advice| advice.text).collect();
        if self.facts.namespace_labels.is_none() && level_matters {
            // Others may work where the level is laxer.
            warnings.push(LEVEL_UNKNOWN.to_owned());
        }
        if on_node && annotations.metrics_port.is_some() {
            warnings.push(
                "hostNetwork: sideflame.io/metrics-port is left out, as the port would open on the node and be taken from its other pods"
                    .to_owned(),
            );
        }
        if on_node && annotations.token_secret.is_none() {
            warnings.push(format!(
                "hostNetwork: port {port} opens on the node's loopback, where every process of the node can ask for profiles; set \
                 sideflame.io/token-secret"
            ));
        }
        Ok(Injection { patch, warnings })
    }

    /// Where it is to be left out, it is stated all the same if the namespace demands it.
    fn states_seccomp(&self) -> bool {
        let known = self.facts.namespace_labels.is_some();
        let demanded = known && pod_security::enforced(self.facts, self.settings) == PodSecurityLevel::Restricted;
        demanded || self.settings.sidecar_seccomp_profile == SeccompProfile::RuntimeDefault
    }

    fn image(&self) -> Result<&str, Skip> {
        match self.annotations.image {
            None => Ok(&self.settings.sidecar_image),
            Some(image) if self.settings.allow_image_annotation => Ok(image),
            Some(_) => Err(Skip::new(
                SkipReason::InvalidAnnotation,
                "sideflame.io/image: the operator of sideflame does not allow it (--allow-image-annotation); remove the annotation",
            )),
        }
    }

    fn architecture(&self) -> Option<Skip> {
        // Who chooses the image knows what it has.
        let chosen = self.annotations.image.is_some();
        let ours = &self.settings.sidecar_architectures;
        if chosen {
            None
        } else {
            nodes::architecture(self.pod, ours)
        }
    }

    /// A native sidecar without its image keeps the app from starting, a plain one from being ready.
    fn unpulled(&self, image: &str) -> Option<Skip> {
        (self.facts.unpulled_image.as_deref() == Some(image)).then(|| {
            Skip::new(
                SkipReason::ImageUnpulled,
                format!(
                    "another pod of the namespace could not pull {image} within the last 15 minutes and waits for it, as this one would; \
                     its Events say why: create this one again then"
                ),
            )
        })
    }

    /// AppArmor lets a process look into those of its own profile only, unless profiles say otherwise. Who connects to us needs
    /// no look.
    fn app_armor(&self, chosen: &[usize], dotnet: &[usize]) -> Option<Advice> {
        let looked_into = chosen.iter().filter(|index| !dotnet.contains(index));
        let containers = looked_into.map(|index| &self.pod.containers[*index]);
        let confined = containers
            .into_iter()
            .find(|container| pod_security::has_app_armor(self.pod, container))?;
        Some(Advice {
            key: "app_armor",
            text: format!(
                "container {} has an AppArmor profile of its own, the sidecar the runtime's, so JVM and .NET may be out of reach; add \
                 \"ptrace (readby, tracedby),\" to that profile",
                shown(name(confined))
            ),
        })
    }

    /// Indices of the containers to profile.
    fn chosen(&self) -> Result<Vec<usize>, Skip> {
        let containers = self.pod.containers;
        if self.annotations.containers.is_empty() {
            return Ok(vec![main_container::main_container(self.pod)]);
        }
        let find = |wanted: &&str| {
            let index = containers.iter().position(|container| name(container) == *wanted);
            index.ok_or_else(|| {
                let names: Vec<&str> = containers.iter().map(name).take(8).collect();
                Skip::new(
                    SkipReason::NoSuchContainer,
                    format!(
                        "sideflame.io/container: there is no container {wanted}; there are {}",
                        names.join(", ")
                    ),
                )
            })
        };
        self.annotations.containers.iter().map(find).collect()
    }

    /// Rights for the containers `chosen`, of which those in `dotnet` are told our port.
    fn plan<'s>(&'s self, chosen: &'s [usize], dotnet: &'s [usize]) -> Result<Plan<'s>, Skip> {
        let events = if self.annotations.events.is_empty() {
            &[Event::DEFAULT][..]
        } else {
            &self.annotations.events
        };
        let asked = self.annotations.rights.unwrap_or(self.settings.sidecar_rights);
        let level = match asked {
            // What assigns users admits no root, whatever Pod Security says.
            Rights::Auto if self.facts.assigned_user.is_some() => PodSecurityLevel::Restricted,
            Rights::Auto => pod_security::heeded(self.pod, self.facts, self.settings),
            // Who asks for rights gets them, and the warning that they cost.
            _ => pod_security::enforced(self.facts, self.settings),
        };
        let request = rights::Request {
            pod: self.pod,
            chosen,
            dotnet,
            rights: asked,
            assigned_user: self.facts.assigned_user,
            run_as: (self.annotations.run_as_user, self.annotations.run_as_group),
            events,
            adds_tmp: !self.annotations.no_tmp,
            level,
            states_seccomp: self.states_seccomp(),
        };
        rights::plan(&request).map_err(|refused| {
            Skip::new(
                SkipReason::RightsImpossible,
                format!(
                    "sideflame.io/rights: {} needs Pod Security level {}, the namespace enforces {}{}; set it to auto, or ask for \
                     another level",
                    refused.rights.name(),
                    refused.needs.name(),
                    level.name(),
                    if self.facts.namespace_labels.is_some() { "" } else { " for all we know: its labels are unknown" },
                ),
            )
        })
    }

    fn patch(&self, sidecar: &Sidecar<'_>, (chosen, dotnet): (&[usize], &[usize]), plan: &Plan<'_>) -> Patch {
        let Self { pod, settings, .. } = *self;
        let main = chosen.first().map_or("", |index| name(&pod.containers[*index]));
        let mut patch = PatchBuilder::default();
        let mut labels = Map::new();
        labels.insert(INJECTED_LABEL.to_owned(), json!("true"));
        labels.insert(VERSION_LABEL.to_owned(), json!(env!("CARGO_PKG_VERSION")));
        let mut annotations = Map::new();
        annotations.insert(STATUS.to_owned(), json!(status::status(sidecar.image, main, plan)));
        if !sidecar.native && pod.annotation(DEFAULT_CONTAINER).is_none() {
            // What kubectl takes by itself, profiled or not; said, so that it need not print which of them it took.
            let first = pod.containers.first().map_or("", name);
            annotations.insert(DEFAULT_CONTAINER.to_owned(), json!(first));
        }
        let mut volumes = sidecar.volumes();
        volumes.extend(plan.tmp.iter().map(|index| tmp_volume(*index, sidecar)));
        annotations.extend(self.evictable(&volumes));
        if pod.metadata.is_none() {
            patch.add(&["metadata"], json!({ "labels": labels, "annotations": annotations }));
        } else {
            patch.add_entries(&["metadata", "labels"], pod.labels(), labels);
            patch.add_entries(&["metadata", "annotations"], pod.annotations(), annotations);
        }
        // Who states false gets a sidecar only where it can do without.
        if pod.flag("shareProcessNamespace").is_none() {
            patch.add(&["spec", "shareProcessNamespace"], json!(true));
        }
        let has_secret = |secret: &&String| {
            pod.image_pull_secrets
                .iter()
                .any(|present| name(present) == secret.as_str())
        };
        let secrets = settings
            .sidecar_image_pull_secrets
            .iter()
            .filter(|secret| !has_secret(secret));
        let secrets = secrets.map(|secret| json!({ "name": secret })).collect();
        patch.append(&["spec", "imagePullSecrets"], pod.image_pull_secrets, secrets);
        self.mount_tmp(&mut patch, &plan.tmp);
        self.mount_dotnet_port(&mut patch, dotnet);
        patch.append(&["spec", "volumes"], pod.volumes, volumes);
        variables::add(pod, chosen, &variables::wanted(self.annotations), &mut patch);
        if sidecar.native {
            // First: so it sees the init containers' processes, too, and goes last when the pod ends. It has no startup
            // probe, so the next init container starts as soon as it runs.
            patch.prepend(&["spec", "initContainers"], pod.init_containers, sidecar.container());
        } else {
            patch.append(&["spec", "containers"], pod.containers, vec![sidecar.container()]);
        }
        patch.finish()
    }

    /// Lets the cluster autoscaler evict the pod in spite of the emptyDirs among our `volumes`. What it may lose of the app's own
    /// is the app's to say, so a list that is there goes on with ours.
    fn evictable(&self, volumes: &[Value]) -> Option<(String, Value)> {
        let ours = volumes.iter().filter(|volume| volume.get("emptyDir").is_some());
        let ours = ours.map(name).collect::<Vec<_>>().join(",");
        let list = match self.pod.annotation(EVICTABLE) {
            None | Some(Value::Null) => ours,
            // The API server refuses what is no string.
            Some(stated) => match stated.as_str()? {
                blank if blank.trim().is_empty() => ours,
                stated => format!("{stated},{ours}"),
            },
        };
        Some((EVICTABLE.to_owned(), json!(list)))
    }

    /// Mounts the volume of our port into the containers with these indices. To connect to a socket its own mode is asked for, so the
    /// mount is read-only: no container can put a socket of its own in the place of ours, nor fill the volume.
    fn mount_dotnet_port(&self, patch: &mut PatchBuilder, indices: &[usize]) {
        for index in indices {
            let mounts = items(&self.pod.containers[*index], "volumeMounts");
            let mount = json!({ "name": DOTNET_VOLUME, "mountPath": DOTNET_DIRECTORY, "readOnly": true });
            let path = ["spec", "containers", &index.to_string(), "volumeMounts"];
            patch.append(&path, mounts, vec![mount]);
        }
    }

    /// Mounts an emptyDir at `/tmp` of the containers with these indices.
    fn mount_tmp(&self, patch: &mut PatchBuilder, indices: &[usize]) {
        for index in indices {
            let mounts = items(&self.pod.containers[*index], "volumeMounts");
            let mount = json!({ "name": format!("{TMP_VOLUME_PREFIX}{index}"), "mountPath": "/tmp" });
            patch.append(
                &["spec", "containers", &index.to_string(), "volumeMounts"],
                mounts,
                vec![mount],
            );
        }
    }
}

/// The emptyDir for `/tmp` of the container with this index.
fn tmp_volume(index: usize, sidecar: &Sidecar<'_>) -> Value {
    let size = store_limit(sidecar.capture_size);
    json!({ "name": format!("{TMP_VOLUME_PREFIX}{index}"), "emptyDir": { "sizeLimit": size } })
}

/// Completes the warnings of a skip.
fn warned(mut skip: Skip, mut others: Vec<String>) -> Skip {
    if skip.reason.is_failure() && skip.warnings.is_empty() {
        skip.warnings.push(skip.detail.clone());
    }
    skip.warnings.append(&mut others);
    skip.warnings.iter_mut().for_each(fit);
    skip
}

/// The API server cuts a warning after 256 characters; where a user's own long words make one longer, so do we.
fn fit(warning: &mut String) {
    const LONGEST: usize = 250;
    if let Cow::Owned(plain) = plain(warning) {
        *warning = plain;
    }
    if warning.chars().count() > LONGEST {
        let end = warning
            .char_indices()
            .nth(LONGEST - 1)
            .map_or(warning.len(), |(end, _)| end);
        warning.truncate(end);
        warning.push('…');
    }
}

#[cfg(test)]
mod tests;
