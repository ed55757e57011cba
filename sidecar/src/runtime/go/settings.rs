//! What the operator told us about pprof ports; from flags, handed to inspector and recorder.

use serde::{Deserialize, Serialize};

/// What the operator told us about where to look; from flags, handed to inspector and recorder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoPprofSettings {
    /// Ports to try first, whether or not the process is seen listening on them.
    pub ports: Vec<u16>,
    /// Path in front of `/debug/pprof/`, e.g. `/admin`.
    pub path_prefix: String,
    /// Headers to send, e.g. `Authorization: Bearer …`. Secret: never logged, never in an argument list.
    pub headers: Vec<(String, String)>,
    /// Accept any certificate of an https pprof port on loopback.
    pub insecure_tls: bool,
}
