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
    /// Headers to send to `ports` and to no other, e.g. `Authorization: Bearer …`. Secret: never logged, never in an
    /// argument list.
    pub headers: Vec<(String, String)>,
    /// Accept any certificate of an https pprof port on loopback.
    pub insecure_tls: bool,
}

impl GoPprofSettings {
    /// What of it is for `port`: the headers are for those ports alone that the operator named.
    pub fn for_port(&self, port: u16) -> Self {
        if self.ports.contains(&port) {
            self.clone()
        } else {
            self.without_headers()
        }
    }

    /// The same without what is secret.
    pub fn without_headers(&self) -> Self {
        Self {
            headers: Vec::new(),
            ..self.clone()
        }
    }
}
