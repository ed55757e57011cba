//! What the operator decided about injection; the same for `serve` and `inject`.
//!
//! Must not know pods. Every field is a flag and a variable; annotations change some of them per pod.

use std::collections::BTreeMap;

use clap::{Args as ClapArgs, ValueEnum};

use crate::choices::{PodSecurityLevel, Quantity, Rights, SidecarForm};
use crate::limits::Limits;

/// Defaults of the injected container, which annotations may change.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Sidecar")]
pub struct InjectSettings {
    /// Image of the sidecar, best by digest
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_IMAGE", value_name = "IMAGE", default_value = concat!("sideflame:", env!("CARGO_PKG_VERSION")))]
    pub sidecar_image: String,
    /// When nodes pull the image
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_IMAGE_PULL_POLICY", value_enum, value_name = "POLICY", default_value_t = PullPolicy::IfNotPresent)]
    pub sidecar_image_pull_policy: PullPolicy,
    /// Secrets of the pod's namespace to pull the image with, added to the pod's own
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_SIDECAR_IMAGE_PULL_SECRETS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub sidecar_image_pull_secrets: Vec<String>,
    /// Architectures that the image has; pods for nodes of others are left alone
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_SIDECAR_ARCHITECTURES",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "amd64,arm64"
    )]
    pub sidecar_architectures: Vec<String>,
    /// Let pods choose the image by sideflame.io/image; off, as policies may trust the injected container by its name
    #[arg(long, env = "SIDEFLAME_WEBHOOK_ALLOW_IMAGE_ANNOTATION")]
    pub allow_image_annotation: bool,
    /// Port of the sidecar on the pod's loopback
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_PORT", value_name = "PORT", default_value_t = crate::container::DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1024..))]
    pub sidecar_port: u16,
    /// Native sidecar, plain container, or native from Kubernetes 1.29
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_FORM", value_enum, value_name = "FORM", default_value_t = SidecarForm::Auto)]
    pub sidecar_form: SidecarForm,
    /// Rights of the sidecar
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_RIGHTS", value_enum, value_name = "RIGHTS", default_value_t = Rights::Auto)]
    pub sidecar_rights: Rights,
    /// CPU request of the sidecar
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_CPU_REQUEST", value_name = "QUANTITY", default_value = "10m", value_parser = Quantity::positive)]
    pub sidecar_cpu_request: Quantity,
    /// CPU limit of the sidecar
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_CPU_LIMIT", value_name = "QUANTITY", default_value = "500m", value_parser = Quantity::positive)]
    pub sidecar_cpu_limit: Quantity,
    /// Memory request of the sidecar
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_MEMORY_REQUEST", value_name = "QUANTITY", default_value = "32Mi", value_parser = Quantity::memory)]
    pub sidecar_memory_request: Quantity,
    /// Memory limit of the sidecar
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_MEMORY_LIMIT", value_name = "QUANTITY", default_value = "256Mi", value_parser = Quantity::memory)]
    pub sidecar_memory_limit: Quantity,
    /// seccompProfile of the sidecar; unset leaves it out, for OpenShift's SCC restricted (v1), which refuses a pod that states one
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_SECCOMP_PROFILE", value_enum, value_name = "PROFILE", default_value_t = SeccompProfile::RuntimeDefault)]
    pub sidecar_seccomp_profile: SeccompProfile,
    /// Disk space for captures
    #[arg(long, env = "SIDEFLAME_WEBHOOK_SIDECAR_CAPTURE_SIZE", value_name = "QUANTITY", default_value = "256Mi", value_parser = Quantity::capture_size)]
    pub sidecar_capture_size: Quantity,
    /// Namespaces that are left alone whatever their pods say
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_EXCLUDE_NAMESPACES",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "kube-system"
    )]
    pub exclude_namespaces: Vec<String>,
    /// Pod Security level of namespaces without the label pod-security.kubernetes.io/enforce, as in the API server's
    /// AdmissionConfiguration
    #[arg(long, env = "SIDEFLAME_WEBHOOK_DEFAULT_POD_SECURITY_LEVEL", value_enum, value_name = "LEVEL", default_value_t = PodSecurityLevel::Privileged)]
    pub default_pod_security_level: PodSecurityLevel,
}

/// `imagePullPolicy` of the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PullPolicy {
    /// Ask the registry at every start
    #[value(name = "Always")]
    Always,
    /// Pull what the node does not have
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// The node must have it
    #[value(name = "Never")]
    Never,
}

/// `seccompProfile` of the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeccompProfile {
    /// The container runtime's own
    #[value(name = "RuntimeDefault")]
    RuntimeDefault,
    /// Left out: the pod's, or the node's default
    #[value(name = "unset")]
    Unset,
}

impl PullPolicy {
    /// As the API spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// What is known about the cluster at the time of a decision. Nothing here is fetched on the critical path.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Namespace of the request (a pod from a template may not carry it itself).
    pub namespace: String,
    /// Labels of the namespace; `None` when the watch has not seen it (yet).
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// User of containers that state none, where the platform assigns one to a namespace, as OpenShift does.
    pub assigned_user: Option<u32>,
    /// Major and minor version of the API server; `None` when unknown.
    pub server_version: Option<(u32, u32)>,
    /// LimitRanges and ResourceQuotas of the namespace, as far as they are known.
    pub limits: Limits,
    /// An image of a sidecar that could not be pulled for another pod of the namespace lately.
    pub unpulled_image: Option<String>,
}

#[cfg(test)]
impl InjectSettings {
    /// The defaults of the flags.
    pub(crate) fn unchanged() -> Self {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            settings: InjectSettings,
        }
        <Flags as clap::Parser>::parse_from(["sideflame-webhook"]).settings
    }
}
