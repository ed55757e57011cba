//! The flags of `serve`, and what follows from them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::authority::Lifetimes;
use crate::choices::Quantity;
use crate::settings::InjectSettings;
use crate::tls::supplied::Files;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One object per line
    Json,
}

/// Flags of `serve`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ServeCommand {
    /// Where the API server sends reviews (TLS); [::] is IPv6 and IPv4, or IPv4 alone where there is no IPv6
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_LISTEN",
        value_name = "IP:PORT",
        default_value = "[::]:8443"
    )]
    pub(super) listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz are (plain HTTP)
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_METRICS_LISTEN",
        value_name = "IP:PORT",
        default_value = "[::]:9443"
    )]
    pub(super) metrics_listen: SocketAddr,
    /// Our own namespace: of the service, the authority Secret and the self-probe
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_NAMESPACE",
        value_name = "NAME",
        default_value = "sideflame"
    )]
    pub(super) namespace: String,
    /// Service by which the API server reaches us; its DNS names are in the certificate
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_SERVICE_NAME",
        value_name = "NAME",
        default_value = "sideflame-webhook"
    )]
    pub(super) service_name: String,
    /// MutatingWebhookConfiguration (and, if there is one, ValidatingWebhookConfiguration) whose caBundles we keep
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_WEBHOOK_NAME",
        value_name = "NAME",
        default_value = "sideflame"
    )]
    pub(super) webhook_name: String,
    /// Secret with our certificate authority; made if missing
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_AUTHORITY_SECRET",
        value_name = "NAME",
        default_value = "sideflame-webhook-authority"
    )]
    pub(super) authority_secret: String,
    /// How long an authority lives, e.g. 365d; at two thirds the next one is prepared
    #[arg(long, env = "SIDEFLAME_WEBHOOK_AUTHORITY_LIFETIME", value_name = "TIME", default_value = "365d", value_parser = parse_lifetime)]
    pub(super) authority_lifetime: Duration,
    /// How long a serving certificate lives, e.g. 7d; renewed at two thirds, and never longer than its authority
    #[arg(long, env = "SIDEFLAME_WEBHOOK_CERTIFICATE_LIFETIME", value_name = "TIME", default_value = "7d", value_parser = parse_lifetime)]
    pub(super) certificate_lifetime: Duration,
    /// Between two looks at Secret and caBundle, at most 10s
    #[arg(long, env = "SIDEFLAME_WEBHOOK_AUTHORITY_INTERVAL", value_name = "TIME", default_value = "5s", value_parser = parse_interval)]
    pub(super) authority_interval: Duration,
    /// Further name or address in the serving certificate, repeatable; for a configuration with url instead of service
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_TLS_SAN",
        value_name = "NAME|IP",
        value_delimiter = ','
    )]
    pub(super) tls_san: Vec<String>,
    /// Supplied certificate chain (PEM), e.g. of cert-manager; then no Secret and no caBundle is touched. Re-read when it changes
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_TLS_CERT_FILE",
        value_name = "FILE",
        requires = "tls_key_file"
    )]
    pub(super) tls_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_TLS_KEY_FILE",
        value_name = "FILE",
        requires = "tls_cert_file"
    )]
    pub(super) tls_key_file: Option<PathBuf>,
    /// Authorities (PEM) of client certificates; reviews are then taken only from API servers that present one. Read at the start
    #[arg(long, env = "SIDEFLAME_WEBHOOK_CLIENT_CA", value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,
    /// Most time for a review: timeoutSeconds of the webhook configuration
    #[arg(long, env = "SIDEFLAME_WEBHOOK_TIMEOUT", value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    pub(super) timeout: Duration,
    /// Memory for reviews that are on their way; beyond it, the one on its way longest is answered "busy" and its pod allowed as it is
    #[arg(long, env = "SIDEFLAME_WEBHOOK_BODY_MEMORY", value_name = "QUANTITY", default_value = "16Mi", value_parser = Quantity::memory)]
    pub(super) body_memory: Quantity,
    /// Connections at a time; more wait. One address may have half of them
    #[arg(long, env = "SIDEFLAME_WEBHOOK_MAX_CONNECTIONS", value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=8192))]
    pub(super) max_connections: u16,
    /// How long to answer after SIGTERM while not ready, so that endpoints can be updated
    #[arg(long, env = "SIDEFLAME_WEBHOOK_DRAIN", value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    pub(super) drain: Duration,
    /// How often to create a pod as a dry run and see whether it is injected, e.g. 1m; 0 is never
    #[arg(long, env = "SIDEFLAME_WEBHOOK_PROBE_INTERVAL", value_name = "TIME", default_value = "0", value_parser = parse_time)]
    pub(super) probe_interval: Duration,
    /// Watch pods and Events, for metrics of pods with an old sidecar, without one they ask for, or waiting for its image, of
    /// which no more are made then; takes the right to list and watch all pods and Events
    #[arg(long, env = "SIDEFLAME_WEBHOOK_WATCH_SIDECARS")]
    pub(super) watch_sidecars: bool,
    /// How log lines look
    #[arg(long, env = "SIDEFLAME_WEBHOOK_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace
    #[arg(
        long,
        env = "SIDEFLAME_WEBHOOK_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub(super) log_level: LevelFilter,
    #[command(flatten)]
    pub(super) inject: InjectSettings,
}

impl ServeCommand {
    /// The supplied files, if certificates are supplied.
    pub(super) fn supplied_files(&self) -> Option<Files> {
        Some(Files {
            certificate: self.tls_cert_file.clone()?,
            key: self.tls_key_file.clone()?,
        })
    }

    /// By which names the API server may call us.
    pub(super) fn names(&self) -> Vec<String> {
        let Self {
            service_name,
            namespace,
            ..
        } = self;
        let service = [
            format!("{service_name}.{namespace}.svc"),
            format!("{service_name}.{namespace}.svc.cluster.local"),
        ];
        service.into_iter().chain(self.tls_san.iter().cloned()).collect()
    }

    /// For the authority.
    pub(super) fn lifetimes(&self) -> Lifetimes {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Lifetimes {
            authority: seconds(self.authority_lifetime),
            leaf: seconds(self.certificate_lifetime.min(self.authority_lifetime)),
            interval: seconds(self.authority_interval),
        }
    }
}

/// Accepts `30`, `30s`, `2m`, `1h 30m`.
fn parse_time(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().map(Duration::from_secs);
        return seconds.map_err(|_| "too many seconds".to_owned());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; e.g. 30, 30s or 2m"))
}

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    let bounds = Duration::from_secs(10)..=Duration::from_secs(100 * 366 * 86400);
    bounds
        .contains(&time)
        .then_some(time)
        .ok_or_else(|| "must be between 10s and 100 years".to_owned())
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(10);
    bounds
        .contains(&time)
        .then_some(time)
        .ok_or_else(|| "must be between 1s and 10s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeCommand,
    }

    fn parse(flags: &[&str]) -> Result<ServeCommand, clap::Error> {
        let line = ["serve"].iter().chain(flags);
        Line::try_parse_from(line).map(|line| line.serve)
    }

    #[test]
    fn the_flags_of_the_chart_are_understood() {
        let command = parse(&[
            "--listen=0.0.0.0:10250",
            "--metrics-listen=0.0.0.0:9443",
            "--namespace=ops",
            "--service-name=flame",
            "--webhook-name=flame",
            "--authority-secret=flame-ca",
            "--sidecar-image=example.org/sideflame:1",
            "--probe-interval=1m",
        ])
        .unwrap();
        assert_eq!(command.names(), ["flame.ops.svc", "flame.ops.svc.cluster.local"]);
        assert_eq!(command.probe_interval, Duration::from_secs(60));
        assert!(command.supplied_files().is_none());
        let lives = command.lifetimes();
        assert_eq!(
            (lives.authority, lives.leaf, lives.interval),
            (365 * 86400, 7 * 86400, 5)
        );
    }

    #[test]
    fn a_supplied_certificate_needs_its_key() {
        assert!(parse(&["--tls-cert-file=a"]).is_err());
        assert!(
            parse(&["--tls-cert-file=a", "--tls-key-file=b"])
                .unwrap()
                .supplied_files()
                .is_some()
        );
    }

    #[test]
    fn further_names_come_after_those_of_the_service() {
        let command = parse(&["--tls-san=127.0.0.1,localhost"]).unwrap();
        assert_eq!(command.names()[2..], ["127.0.0.1", "localhost"]);
    }

    #[test]
    fn times_out_of_range_are_refused() {
        for flag in [
            "--authority-interval=11s",
            "--authority-lifetime=1s",
            "--timeout=soon",
            "--body-memory=1Mi",
        ] {
            assert!(parse(&[flag]).is_err(), "{flag}");
        }
    }
}
