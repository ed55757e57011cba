//! A process with a recognised runtime, and what a profiler needs to know of it.
//!
//! Pure values that cross from the inspector child to the server as JSON. Knows nothing of how they were found
//! (`detect`) or of what can be done with them (`doctor`).

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::dotnet::caller::Caller;
use crate::process::{Process, ProcessId};

/// The closed set of runtimes; a fifth is a compile error until it is wired everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// HotSpot or OpenJ9.
    Jvm,
    /// CoreCLR.
    Dotnet,
    /// The Go runtime.
    Go,
    /// Anything else: machine code.
    Native,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jvm => "jvm",
            Self::Dotnet => "dotnet",
            Self::Go => "go",
            Self::Native => "native",
        })
    }
}

impl Runtime {
    /// As people write it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Jvm => "JVM",
            Self::Dotnet => ".NET",
            Self::Go => "Go",
            Self::Native => "native",
        }
    }

    /// Those of several; `None` of none.
    pub fn labels(runtimes: &[Self]) -> Option<String> {
        let labels: Vec<_> = runtimes.iter().map(|runtime| runtime.label()).collect();
        (!labels.is_empty()).then(|| labels.join(", "))
    }
}

/// Which virtual machine runs the bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JavaVm {
    /// `libjvm.so`.
    HotSpot,
    /// `libj9vm*.so`.
    OpenJ9,
}

/// What identifies each runtime, and the facts its recorder starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "runtime")]
pub enum RuntimeFacts {
    /// A Java virtual machine.
    Jvm {
        /// Which one.
        vm: JavaVm,
        /// E.g. `17.0.15`, if it can be told without attaching.
        version: Option<String>,
    },
    /// CoreCLR.
    Dotnet {
        /// E.g. `8.0.30`, if it can be told.
        version: Option<String>,
        /// Runtime identifier, e.g. `linux-x64`, if the runtime was asked and knows it.
        #[serde(default)]
        rid: Option<String>,
        /// The diagnostic socket as a path in the target's own mount namespace.
        socket: Option<PathBuf>,
        /// Who it is at our own port, where that is the way to it. Filled in by the server.
        #[serde(default)]
        port: Option<Caller>,
    },
    /// A Go program.
    Go {
        /// E.g. `go1.26.8`.
        version: Option<String>,
        /// Main module or main package path.
        module: Option<String>,
        /// Where `/debug/pprof/` answered.
        pprof: Option<PprofEndpoint>,
        /// Why it answered nowhere; `None` when there is an endpoint, and where it was not asked.
        #[serde(rename = "pprofAbsence")]
        pprof_absence: Option<PprofAbsence>,
    },
    /// Machine code of some other kind.
    Native,
}

impl RuntimeFacts {
    /// The facts without the way by our port, which only the server knows.
    #[must_use]
    pub fn without_port(mut self) -> Self {
        if let Self::Dotnet { port, .. } = &mut self {
            *port = None;
        }
        self
    }
}

/// A `net/http/pprof` index that answered a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PprofEndpoint {
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port to dial, e.g. `127.0.0.1:6060` or `[::1]:6060`, or a Unix socket, e.g. `unix:/run/shop.sock`.
    pub authority: String,
    /// Path of the index with its closing slash, e.g. `/debug/pprof/`.
    pub path: String,
    /// The profiles that the index names; empty if it was not read.
    #[serde(default)]
    pub profiles: Vec<String>,
}

impl fmt::Display for PprofEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.authority.starts_with("unix:") { ":" } else { "" };
        write!(f, "{}://{}{colon}{}", self.scheme, self.authority, self.path)
    }
}

/// Why a Go program has no [`PprofEndpoint`]; the doctor has the words for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "absence")]
pub enum PprofAbsence {
    /// The process was stopped and could not answer.
    Stopped,
    /// Its loopback device is not ours.
    OtherNetworkNamespace {
        /// Which one, as the link in `/proc/PID/ns/net` names it.
        namespace: String,
    },
    /// We may not see where it listens.
    SocketsUnreadable {
        /// The operating system's words.
        detail: String,
    },
    /// It listens on no TCP port and no Unix socket.
    NoListeningPort,
    /// It listens, but no port answered like pprof.
    NotOnPorts {
        /// Ports that were asked.
        ports: Vec<u16>,
        /// Ports that were not, for want of time or because there are too many.
        untried: Vec<u16>,
        /// Its Unix sockets, of which the first were asked, too.
        #[serde(default)]
        sockets: Vec<String>,
        /// The paths that were asked for.
        path: String,
    },
    /// A port wants to know who asks.
    Unauthorized {
        /// Where.
        address: String,
        /// 401 or 403.
        status: u16,
    },
    /// A port speaks TLS and we were not told to trust it.
    UnverifiedTls {
        /// Where.
        address: String,
    },
    /// A port wants a certificate of ours.
    MutualTls {
        /// Where.
        address: String,
    },
    /// A port sends us elsewhere.
    Redirected {
        /// Where.
        address: String,
        /// 301, 302, …
        status: u16,
        /// Whereto.
        location: String,
    },
    /// Our own fault, e.g. a header that cannot be sent.
    ProbeFailed {
        /// What went wrong.
        detail: String,
    },
}

/// A process that can (perhaps) be profiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The row of `/proc`.
    pub process: Process,
    /// A name people recognise: main class or jar, entry assembly, module path, executable.
    pub name: String,
    /// Runtime and its facts.
    pub facts: RuntimeFacts,
}

impl Target {
    /// Identity of the process.
    pub fn id(&self) -> ProcessId {
        self.process.id
    }

    /// Runtime without its facts.
    pub fn runtime(&self) -> Runtime {
        match self.facts {
            RuntimeFacts::Jvm { .. } => Runtime::Jvm,
            RuntimeFacts::Dotnet { .. } => Runtime::Dotnet,
            RuntimeFacts::Go { .. } => Runtime::Go,
            RuntimeFacts::Native => Runtime::Native,
        }
    }

    /// `namespace/name` of its pod, if known.
    pub fn pod(&self) -> Option<String> {
        self.process.container.pod.as_ref().map(ToString::to_string)
    }

    /// Name of its container, if known.
    pub fn container(&self) -> Option<String> {
        self.process.container.name.clone()
    }

    /// How its runtime is reached, where there is more than one way.
    pub fn reached_by(&self) -> Option<String> {
        match &self.facts {
            RuntimeFacts::Dotnet { port: Some(_), .. } => Some("sideflame's own port".to_owned()),
            RuntimeFacts::Dotnet { socket, .. } => Some(socket.as_ref()?.display().to_string()),
            _ => None,
        }
    }

    /// Runtime identifier of a .NET process, if known.
    pub fn rid(&self) -> Option<&str> {
        match &self.facts {
            RuntimeFacts::Dotnet { rid, .. } => rid.as_deref(),
            _ => None,
        }
    }

    /// Version of the runtime, if known.
    pub fn version(&self) -> Option<&str> {
        match &self.facts {
            RuntimeFacts::Jvm { version, .. }
            | RuntimeFacts::Dotnet { version, .. }
            | RuntimeFacts::Go { version, .. } => version.as_deref(),
            RuntimeFacts::Native => None,
        }
    }

    /// The runtime and its version, as far as that is known: `dotnet 8.0.30`, `go 1.26.8`.
    pub fn runtime_and_version(&self) -> String {
        let runtime = self.runtime().to_string();
        match self.version() {
            // Go's own versions begin with its name.
            Some(version) => format!("{runtime} {}", version.strip_prefix(&runtime).unwrap_or(version)),
            None => runtime,
        }
    }
}
