//! Flags that several commands have, and what they mean to the capture service.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{parse_directory, parse_duration, parse_header, parse_insecure_tls, parse_prefix, parse_size};
use crate::capture::Settings;
use crate::runtime::{
    AllowedUrl, ApiServer, GoPprofSettings, JvmSettings, RuntimeSettings, Scope, Scoped, ServerSettings,
};

/// How processes are looked into.
#[derive(Debug, Args)]
pub struct InspectionFlags {
    /// libasyncProfiler.so to load into JVMs [default: beside this executable, else /opt/sideflame]
    #[arg(long, env = "SIDEFLAME_ASYNC_PROFILER", value_name = "FILE")]
    async_profiler: Option<PathBuf>,
    /// Port where a Go program serves net/http/pprof, repeatable; its listening ports are tried anyway
    #[arg(long, env = "SIDEFLAME_GO_PPROF_PORT", value_name = "PORT", value_delimiter = ',')]
    go_pprof_port: Vec<u16>,
    /// Path in front of /debug/pprof/, repeatable; of one program behind its port, its name or both, e.g. 6061=/admin or
    /// cart:6061=/admin. Without a path it is tried anyway
    #[arg(long, env = "SIDEFLAME_GO_PPROF_PATH_PREFIX", value_name = "[SCOPE=]PATH", value_delimiter = ',', value_parser = parse_prefix)]
    go_pprof_path_prefix: Vec<Scoped<String>>,
    /// Header for the ports of --go-pprof-port and no others, repeatable, e.g. "Authorization: Bearer …"; for one of them alone
    /// with its port before it, e.g. "6061=Authorization: Bearer …". Use the variable to keep it secret, one per line
    #[arg(long, env = "SIDEFLAME_GO_PPROF_HEADER", value_name = "[SCOPE=]NAME: VALUE", value_delimiter = '\n', hide_env_values = true, value_parser = parse_header, requires = "go_pprof_port")]
    go_pprof_header: Vec<Scoped<(String, String)>>,
    /// Accept any certificate of an https pprof port, or of some alone, e.g. --go-pprof-insecure-tls=6061,cart
    #[arg(long, env = "SIDEFLAME_GO_PPROF_INSECURE_TLS", value_name = "SCOPE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_delimiter = ',', value_parser = parse_insecure_tls)]
    go_pprof_insecure_tls: Vec<Option<Scope>>,
    /// Where the kubelet names the node's containers, for a sideflame that sees all processes of a node
    /// [default: /host/var/log/containers or /var/log/containers, here or as pid 1 sees it]
    #[arg(long, env = "SIDEFLAME_CONTAINER_LOGS", value_name = "DIR", value_parser = parse_directory)]
    container_logs: Option<PathBuf>,
}

impl InspectionFlags {
    /// What the runtimes are told, and the directory that names the node's containers.
    pub fn settings(self) -> (RuntimeSettings, Option<PathBuf>) {
        let Self {
            async_profiler,
            go_pprof_port,
            go_pprof_path_prefix,
            go_pprof_header,
            go_pprof_insecure_tls,
            container_logs,
        } = self;
        let runtimes = RuntimeSettings {
            servers: ServerSettings::default(),
            jvm: JvmSettings::new(async_profiler),
            go: GoPprofSettings {
                ports: go_pprof_port,
                path_prefixes: go_pprof_path_prefix,
                headers: go_pprof_header,
                insecure_tls: go_pprof_insecure_tls.into_iter().flatten().collect(),
            },
        };
        (runtimes, container_logs)
    }
}

/// No comment: there it would be a link.
const ALLOW_URL: &str = "Servers that may be profiled at their URL beside loopback and the pod's own addresses, repeatable: scheme, port, and a name, \
                         an address or a network, e.g. https://10.0.0.0/8:6443 or http://shop.default.svc:6060. Addresses of metadata services, \
                         link-local and multicast ones are never asked";

/// Which servers are profiled at their URLs, and how.
#[derive(Debug, Args)]
pub struct ServerFlags {
    #[arg(long, env = "SIDEFLAME_ALLOW_URL", value_name = "SCHEME://HOST:PORT", value_delimiter = ',', value_parser = AllowedUrl::parse, help = ALLOW_URL)]
    allow_url: Vec<AllowedUrl>,
    /// Certificates of authorities for https servers, in PEM, repeatable; believed beside the system's, the cluster's, and the
    /// ca.crt of a Secret with a token
    #[arg(long, env = "SIDEFLAME_URL_CA", value_name = "FILE", value_delimiter = ',')]
    url_ca: Vec<PathBuf>,
    /// Where Secrets with bearer tokens for servers are mounted, as NAMESPACE/NAME/token or NAME/token: for those that
    /// sideflame's service account may not read
    #[arg(long, env = "SIDEFLAME_URL_SECRETS", value_name = "DIR", value_parser = parse_directory)]
    url_secrets: Option<PathBuf>,
    /// Folder of sideflame's own service account
    #[arg(
        long,
        env = "SIDEFLAME_SERVICE_ACCOUNT",
        value_name = "DIR",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount"
    )]
    service_account: PathBuf,
}

impl ServerFlags {
    fn settings(self) -> ServerSettings {
        let variable = |name: &str| std::env::var(name).ok();
        let port = variable("KUBERNETES_SERVICE_PORT_HTTPS").or_else(|| variable("KUBERNETES_SERVICE_PORT"));
        let port = port.and_then(|port| port.parse().ok());
        let api = variable("KUBERNETES_SERVICE_HOST").zip(port);
        ServerSettings {
            allowed: self.allow_url,
            authorities: self.url_ca,
            secrets: self.url_secrets,
            account: Some(self.service_account),
            api: api.map(|(host, port)| ApiServer { host, port }),
        }
    }
}

/// How captures are made and kept.
#[derive(Debug, Args)]
pub struct CaptureServiceFlags {
    #[command(flatten)]
    inspection: InspectionFlags,
    #[command(flatten)]
    servers: ServerFlags,
    /// Longest capture, seconds
    #[arg(long, env = "SIDEFLAME_MAX_SECONDS", value_name = "N", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86400))]
    max_seconds: u64,
    /// Where recordings and artifacts are kept [default: a folder of our own below the temporary directory]
    #[arg(long, env = "SIDEFLAME_STORE_DIR", value_name = "DIR")]
    store_dir: Option<PathBuf>,
    /// Size of the store, e.g. 256MiB
    #[arg(long, env = "SIDEFLAME_STORE_SIZE", value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    store_size: u64,
    /// Captures the store keeps
    #[arg(long, env = "SIDEFLAME_STORE_CAPTURES", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    store_captures: u16,
    /// How long a capture is kept, e.g. 1h
    #[arg(long, env = "SIDEFLAME_STORE_EXPIRY", value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    store_expiry: Duration,
}

impl CaptureServiceFlags {
    /// Settings of the capture service, for `max_running` captures at a time.
    pub fn settings(self, max_running: usize) -> Settings {
        let Self {
            inspection,
            servers,
            max_seconds,
            store_dir,
            store_size,
            store_captures,
            store_expiry,
        } = self;
        let (mut runtimes, container_logs) = inspection.settings();
        runtimes.servers = servers.settings();
        Settings {
            runtimes,
            container_logs,
            max_seconds,
            max_running,
            store_directory: store_dir,
            keeps: false,
            store_bytes: store_size,
            store_captures: usize::from(store_captures),
            expiry: store_expiry,
        }
    }
}
