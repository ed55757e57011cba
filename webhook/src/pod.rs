//! A borrowed view of a pod for reading: only the fields that decisions need, straight from the raw object.
//!
//! Must not know decisions. A full typed pod would cost more time than the rest of a request, and would fail on fields
//! of tomorrow. Fields of the wrong type read as absent, except where a patch has to go: those are checked once, here.

use serde_json::{Map, Value};

/// Containers of every kind in a pod that may get a sidecar. Kubernetes is made for 110 pods and some 60 containers on a node;
/// and `sideflame.io/status`, which has a verdict per container and event, must fit into the 256 KiB of a pod's annotations.
pub(crate) const MOST_CONTAINERS: usize = 256;

/// A pod whose places for patches have the right types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodView<'a> {
    /// `None` if the object has none, which only files do.
    pub metadata: Option<&'a Map<String, Value>>,
    /// `spec`
    pub spec: &'a Map<String, Value>,
    /// `spec.containers`: at least one, all objects.
    pub containers: &'a [Value],
    /// `spec.initContainers`
    pub init_containers: &'a [Value],
    /// `spec.volumes`
    pub volumes: &'a [Value],
    /// `spec.imagePullSecrets`
    pub image_pull_secrets: &'a [Value],
}

/// Why an object is not a pod we could work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotAPod {
    /// It is of this kind, whose name may be of any length.
    Kind(String),
    /// It is misshapen; the text says where.
    Shape(String),
    /// No container.
    NoContainers,
}

impl<'a> PodView<'a> {
    /// Checks the shape; nothing behind it does again.
    pub(crate) fn new(pod: &'a Value) -> Result<Self, NotAPod> {
        let root = pod.as_object().ok_or_else(|| shape("the object", "a map"))?;
        match root.get("kind").and_then(Value::as_str) {
            None | Some("Pod") => {}
            Some(kind) => {
                return Err(NotAPod::Kind(kind.to_owned()));
            }
        }
        let metadata = map(root, "metadata")?;
        if let Some(metadata) = metadata {
            map(metadata, "labels")?;
            map(metadata, "annotations")?;
        }
        let spec = map(root, "spec")?.ok_or(NotAPod::NoContainers)?;
        if spec
            .get("shareProcessNamespace")
            .is_some_and(|value| !value.is_null() && !value.is_boolean())
        {
            return Err(shape("shareProcessNamespace", "true or false"));
        }
        let containers = list(spec, "containers")?;
        if containers.is_empty() {
            return Err(NotAPod::NoContainers);
        }
        if containers.iter().any(|container| !container.is_object()) {
            return Err(shape("each of spec.containers", "a map"));
        }
        for container in containers.iter().filter_map(Value::as_object) {
            list(container, "volumeMounts")?;
        }
        Ok(Self {
            metadata,
            spec,
            containers,
            init_containers: list(spec, "initContainers")?,
            volumes: list(spec, "volumes")?,
            image_pull_secrets: list(spec, "imagePullSecrets")?,
        })
    }

    pub(crate) fn annotations(&self) -> Option<&'a Map<String, Value>> {
        self.metadata?.get("annotations")?.as_object()
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&'a Value> {
        self.annotations()?.get(key)
    }

    pub(crate) fn labels(&self) -> Option<&'a Map<String, Value>> {
        self.metadata?.get("labels")?.as_object()
    }

    /// The namespace that the object itself names.
    pub(crate) fn namespace(&self) -> Option<&'a str> {
        self.metadata?.get("namespace")?.as_str()
    }

    /// A boolean of the spec.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.spec.get(key)?.as_bool()
    }

    /// Containers of every kind, init and ephemeral ones included.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let ephemeral = self.spec.get("ephemeralContainers").and_then(Value::as_array);
        let ephemeral = ephemeral.map_or(&[][..], Vec::as_slice);
        self.containers.iter().chain(self.init_containers).chain(ephemeral)
    }
}

/// `name` of a container or volume.
pub(crate) fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Items of an optional list; a missing one is empty.
pub(crate) fn items<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

fn map<'a>(parent: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>, NotAPod> {
    match parent.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(shape(key, "a map")),
    }
}

fn list<'a>(parent: &'a Map<String, Value>, key: &str) -> Result<&'a [Value], NotAPod> {
    match parent.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(shape(key, "a list")),
    }
}

fn shape(what: &str, expected: &str) -> NotAPod {
    NotAPod::Shape(format!("{what} must be {expected}"))
}
