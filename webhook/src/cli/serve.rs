//! `sideflame-webhook serve`: from its first line of log to its clean end.
//!
//! Two threads. The first one serves: reviews one after the other, which is what keeps the slowest answers near the
//! typical ones, and `/healthz`. The second one talks to the API server, and may wait for it.

mod background;
mod command;
mod listen;
mod shutdown;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use rustls::crypto::ring;
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::admission::{self, Admission, Rules};
use crate::cluster::ClusterFacts;
use crate::events::EventQueue;
use crate::health;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::tls::supplied::{FilesError, Supplied};
use crate::tls::{self, CurrentCertificate, Limits, Listener, Protocol};
use background::{Background, BackgroundError};
pub use command::{LogFormat, ServeCommand};
use shutdown::Shutdown;

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("failed to listen on {address}: {source}; see --listen and --metrics-listen")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("{0}; see --tls-cert-file and --tls-key-file")]
    Files(#[from] FilesError),
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] tls::ServerConfigError),
    #[error("failed to read {path}: {source}; see --client-ca")]
    ClientAuthority {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Background(#[from] BackgroundError),
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the command until SIGTERM or SIGINT.
pub fn run(command: ServeCommand) -> ExitCode {
    start_log(command.log_format, command.log_level);
    // One provider for us and for the client of the API server. It fails only if there is one already.
    let _ = ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve(command)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "could not serve");
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat, level: LevelFilter) {
    let lines = tracing_subscriber::fmt::layer()
        // Escape sequences would stand in the log files of a pod.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(lines).with(filter(level)).init();
}

/// What is logged. The client of the API server logs each of its failures, and hands it to us: we log changes of state.
fn filter(level: LevelFilter) -> Targets {
    let clients = if level > LevelFilter::INFO {
        level
    } else {
        LevelFilter::OFF
    };
    let ours = Targets::new().with_default(level);
    ours.with_target("kube_client", clients)
        .with_target("kube_runtime", clients)
}

async fn serve(command: ServeCommand) -> Result<(), ServeError> {
    let mut shutdown = Shutdown::prepare()?;
    let metrics = Arc::new(Metrics::default());
    let readiness = Arc::new(Readiness::new("there is no serving certificate yet"));
    let certificate = Arc::new(CurrentCertificate::default());
    let (facts, namespaces) = ClusterFacts::new();
    let facts = Arc::new(facts);
    let (events, notices) = EventQueue::new(Arc::clone(&metrics));
    let reviews = bind(command.listen)?;
    let health = bind(command.metrics_listen)?;
    let supplied = match command.supplied_files() {
        None => None,
        Some(files) => {
            let supplied = Supplied::load(files, Arc::clone(&certificate), Arc::clone(&metrics))?;
            readiness.set(Ok(()));
            Some(supplied)
        }
    };
    let admission = Arc::new(Admission::new(
        Rules::default(),
        command.inject.clone(),
        Arc::clone(&facts),
        Arc::clone(&metrics),
        events,
        admission::Limits {
            body_memory: usize::try_from(command.body_memory.units()).unwrap_or(usize::MAX),
            timeout: command.timeout,
        },
    ));
    let settings = admission.settings_hash();
    tracing::info!(address = %reviews.local_addr()?, health = %health.local_addr()?, settings,
        version = env!("CARGO_PKG_VERSION"), "listening");
    let limits = Limits {
        connections: usize::from(command.max_connections),
        per_peer: usize::from(command.max_connections).div_ceil(2),
        ..Limits::default()
    };
    let clients = match &command.client_ca {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|source| ServeError::ClientAuthority {
            path: path.clone(),
            source,
        })?),
    };
    let reviews = Listener {
        socket: reviews,
        protocol: Protocol::Tls(tls::server_config(Arc::clone(&certificate), clients.as_deref())?),
        router: admission::router(admission),
    };
    let health = Listener {
        socket: health,
        protocol: Protocol::Plain,
        router: health::router(Arc::clone(&metrics), Arc::clone(&readiness)),
    };
    let drain = command.drain;
    Background {
        command,
        facts,
        namespaces,
        metrics: Arc::clone(&metrics),
        readiness: Arc::clone(&readiness),
        certificate,
        supplied,
        notices,
    }
    .start()
    .await?;
    // The health listener ends last: until then, /readyz says that we are going.
    let serving = tls::serve(
        reviews,
        limits,
        Arc::clone(&metrics),
        shutdown.drained(&readiness, drain),
    );
    tokio::select! {
        () = serving => {}
        () = tls::serve(health, HEALTH_LIMITS, Arc::default(), std::future::pending()) => {}
    }
    tracing::info!("ended");
    Ok(())
}

/// A scraper and two probes of a kubelet need a few connections.
const HEALTH_LIMITS: Limits = Limits {
    connections: 32,
    per_peer: 8,
    handshake: std::time::Duration::from_secs(5),
    idle: std::time::Duration::from_secs(120),
    write: std::time::Duration::from_secs(10),
    grace: std::time::Duration::ZERO,
};

fn bind(address: std::net::SocketAddr) -> Result<TcpListener, ServeError> {
    listen::listen(address).map_err(|source| ServeError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_client_that_repeats_itself_is_logged_only_for_debugging() {
        for (level, expected) in [
            (LevelFilter::INFO, false),
            (LevelFilter::WARN, false),
            (LevelFilter::DEBUG, true),
        ] {
            let filter = filter(level);
            assert_eq!(
                filter.would_enable("kube_runtime::watcher", &Level::WARN),
                expected,
                "{level}"
            );
            assert_eq!(
                filter.would_enable("kube_client::client::builder", &Level::ERROR),
                expected,
                "{level}"
            );
            assert!(filter.would_enable("sideflame_webhook::watch", &Level::WARN), "{level}");
        }
    }
}
