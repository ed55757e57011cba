//! The paths of the TLS listener.
//!
//! Must not know what is answered there. Read by `admission`, which serves them, and by `metrics`, which counts by them.

/// A path, and what is asked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Pods.
    Pod,
    /// Workloads, which are only looked at.
    Workload,
    /// As a pod, but not counted and without Events: it is our own.
    Probe,
}

impl Endpoint {
    /// Every endpoint, in the order of the declaration.
    pub const ALL: [Self; 3] = [Self::Pod, Self::Workload, Self::Probe];

    /// Where it is.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Pod => "/inject",
            Self::Workload => "/warn",
            Self::Probe => "/probe",
        }
    }
}
