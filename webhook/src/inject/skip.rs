//! Why a pod is left alone: the closed list of reasons.

use crate::annotations::plain;

/// The closed list of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// It was not asked for.
    NotAnnotated,
    /// The pod says nothing, and whether its namespace does is unknown.
    NamespaceUnknown,
    /// The annotation says "false".
    OptedOut,
    /// The sidecar is there.
    AlreadyInjected,
    /// A namespace that is never touched.
    ExcludedNamespace,
    /// The API server's copy of a static pod; changing it changes nothing.
    MirrorPod,
    /// Not a pod, or misshapen.
    NotAPod,
    /// A pod without containers.
    NoContainers,
    /// A pod with more containers than a node could run.
    TooManyContainers,
    /// An annotation has a value that is not allowed.
    InvalidAnnotation,
    /// The annotation `container` names one that is not there.
    NoSuchContainer,
    /// Our sidecar is for Linux.
    Windows,
    /// Our image has no such architecture.
    Architecture,
    /// The pod sees the node's processes.
    HostPid,
    /// The pod forbids what the sidecar needs.
    ShareProcessNamespaceFalse,
    /// The app listens on our port.
    PortTaken,
    /// A container or volume has a name of ours.
    NameTaken,
    /// A plain sidecar would keep the pod from completing.
    WouldNotComplete,
    /// The API server does not know native sidecars.
    NativeSidecarUnsupported,
    /// The namespace's Pod Security level does not admit the rights asked for.
    RightsImpossible,
    /// A LimitRange of the namespace leaves no room.
    LimitRange,
    /// A ResourceQuota of the namespace leaves no room.
    ResourceQuota,
    /// The containers have all CPUs of the pod for themselves.
    ExclusiveCpus,
    /// The sidecar of another pod of the namespace waits for its image.
    ImageUnpulled,
}

impl SkipReason {
    /// Every reason, for metrics and documentation.
    pub const ALL: [Self; 24] = [
        Self::NotAnnotated,
        Self::NamespaceUnknown,
        Self::OptedOut,
        Self::AlreadyInjected,
        Self::ExcludedNamespace,
        Self::MirrorPod,
        Self::NotAPod,
        Self::NoContainers,
        Self::TooManyContainers,
        Self::InvalidAnnotation,
        Self::NoSuchContainer,
        Self::Windows,
        Self::Architecture,
        Self::HostPid,
        Self::ShareProcessNamespaceFalse,
        Self::PortTaken,
        Self::NameTaken,
        Self::WouldNotComplete,
        Self::NativeSidecarUnsupported,
        Self::RightsImpossible,
        Self::LimitRange,
        Self::ResourceQuota,
        Self::ExclusiveCpus,
        Self::ImageUnpulled,
    ];

    /// The stable snake_case key.
    pub const fn key(self) -> &'static str {
        match self {
            Self::NotAnnotated => "not_annotated",
            Self::NamespaceUnknown => "namespace_unknown",
            Self::OptedOut => "opted_out",
            Self::AlreadyInjected => "already_injected",
            Self::ExcludedNamespace => "excluded_namespace",
            Self::MirrorPod => "mirror_pod",
            Self::NotAPod => "not_a_pod",
            Self::NoContainers => "no_containers",
            Self::TooManyContainers => "too_many_containers",
            Self::InvalidAnnotation => "invalid_annotation",
            Self::NoSuchContainer => "no_such_container",
            Self::Windows => "windows",
            Self::Architecture => "architecture",
            Self::HostPid => "host_pid",
            Self::ShareProcessNamespaceFalse => "share_process_namespace_false",
            Self::PortTaken => "port_taken",
            Self::NameTaken => "name_taken",
            Self::WouldNotComplete => "would_not_complete",
            Self::NativeSidecarUnsupported => "native_sidecar_unsupported",
            Self::RightsImpossible => "rights_impossible",
            Self::LimitRange => "limit_range",
            Self::ResourceQuota => "resource_quota",
            Self::ExclusiveCpus => "exclusive_cpus",
            Self::ImageUnpulled => "image_unpulled",
        }
    }

    /// One sentence without a word of the pod, for those who must not be told what its author wrote.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotAnnotated => "it was not asked for",
            Self::NamespaceUnknown => "the labels of the namespace cannot be read yet; /readyz of the webhook says why",
            Self::OptedOut => "sideflame.io/inject is false",
            Self::AlreadyInjected => "it is there",
            Self::ExcludedNamespace => "the namespace is left alone",
            Self::MirrorPod => "the pod is the copy of a static one",
            Self::NotAPod => "the object is no pod",
            Self::NoContainers => "the pod has no containers",
            Self::TooManyContainers => "the pod has more containers than a node could run",
            Self::InvalidAnnotation => "an annotation has a value that is not allowed",
            Self::NoSuchContainer => "sideflame.io/container names a container that the pod does not have",
            Self::Windows => "the sidecar is for Linux",
            Self::Architecture => "the image of the sidecar has no architecture that the pod could run on",
            Self::HostPid => "the pod sees all processes of the node and needs no sidecar of its own",
            Self::ShareProcessNamespaceFalse => "shareProcessNamespace: false hides the processes of the app",
            Self::PortTaken => "a container has the port of the sidecar; choose another one by sideflame.io/port",
            Self::NameTaken => "a container or volume has a name of the sidecar's",
            Self::WouldNotComplete => {
                "a plain sidecar would keep this pod from completing; use sideflame.io/sidecar: native"
            }
            Self::NativeSidecarUnsupported => "native sidecars need Kubernetes 1.29",
            Self::RightsImpossible => "the Pod Security level of the namespace does not admit sideflame.io/rights",
            Self::LimitRange => "a LimitRange of the namespace leaves no room for it",
            Self::ResourceQuota => "a ResourceQuota of the namespace leaves no room for it",
            Self::ExclusiveCpus => "the containers of the pod have all its CPUs for themselves",
            Self::ImageUnpulled => {
                "its image could not be pulled for another pod of the namespace within the last 15 minutes"
            }
        }
    }

    /// Whether the sidecar was asked for and is not added: worth a warning and, with `on-error: block`, a refusal.
    pub const fn is_failure(self) -> bool {
        !matches!(
            self,
            Self::NotAnnotated | Self::OptedOut | Self::AlreadyInjected | Self::ExcludedNamespace | Self::MirrorPod
        )
    }
}

/// Why a pod is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// Stable key.
    pub reason: SkipReason,
    /// One sentence for the user: what is the matter and what to change.
    pub detail: String,
    /// Sentences for `kubectl apply`, the detail included. Empty for reasons that need no attention.
    pub warnings: Vec<String>,
}

impl Skip {
    pub(super) fn new(reason: SkipReason, detail: impl Into<String>) -> Self {
        // It may repeat names of the pod, and the sentence goes to people.
        let detail = plain(&detail.into()).into_owned();
        Self {
            reason,
            detail,
            warnings: Vec::new(),
        }
    }
}
