//! `sideflame serve`: the HTTP server from its first line of log to its clean end.

use std::io::{ErrorKind, IsTerminal};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::block_on;
use crate::args::{LogFormat, default_listen};
use crate::capture::{Captures, Settings};
use crate::http;

/// Between two tries to start.
const RETRY: Duration = Duration::from_secs(10);

/// What the command was told.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; empty means both loopbacks.
    pub listen: Vec<SocketAddr>,
    /// File with the bearer token.
    pub token_file: Option<PathBuf>,
    /// For the capture service.
    pub settings: Settings,
    /// How long nobody may want anything before the server ends.
    pub exit_when_idle: Option<Duration>,
    /// Try again, instead of giving up, when the server cannot be started.
    pub retry_start: bool,
    /// Text or JSON.
    pub log_format: LogFormat,
    /// Least severe level that is logged.
    pub log_level: LevelFilter,
}

/// Runs the command until SIGTERM or SIGINT.
pub fn run(options: Options) -> ExitCode {
    start_log(options.log_format, options.log_level);
    abort_on_panic();
    match block_on(serve(options)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) | Err(error) => {
            tracing::error!(%error, "could not serve");
            ExitCode::FAILURE
        }
    }
}

/// A task that panicked would leave its capture running for ever; a server that is started anew sweeps.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn start_log(format: LogFormat, level: LevelFilter) {
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        // Escape sequences would stand in the log files of a pod.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        // Without the list of spans: there is one span, and it would stand in every line twice.
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}

async fn serve(options: Options) -> std::io::Result<()> {
    // SIGTERM before this line ends us the default way: nothing has been started yet.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (listeners, captures, token) = loop {
        match start(&options).await {
            Ok(started) => break started,
            Err(error) if options.retry_start => {
                tracing::error!(%error, "could not start; trying again in {} s", RETRY.as_secs());
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    _ = terminate.recv() => return Ok(()),
                    _ = interrupt.recv() => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        }
    };
    let Options {
        listen, exit_when_idle, ..
    } = options;
    for listener in &listeners {
        tracing::info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    // After the sockets are open: looking into every process takes longer than a client should wait for "ready".
    let sweeping = tokio::spawn({
        let captures = Arc::clone(&captures);
        async move { captures.sweep().await }
    });
    let down = Arc::clone(&captures);
    let activity = Arc::new(http::Activity::default());
    let used = Arc::clone(&activity);
    let stop = async move {
        let idle = async {
            match exit_when_idle {
                Some(time) => used.idle(time, &down).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = idle => tracing::info!("nobody wanted anything for --exit-when-idle: shutting down"),
            _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
            _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
        }
        sweeping.abort();
        down.shut_down().await;
    };
    let guard = http::GuardSettings {
        // Then the Host is the pod's address or a name of the cluster, which nobody can list; the token decides.
        allow_any_host: listen.iter().any(|address| !address.ip().is_loopback()),
        token,
    };
    http::serve(
        listeners,
        http::router(captures, guard, activity),
        http::Limits::default(),
        stop,
    )
    .await;
    Ok(())
}

/// Everything that may fail before the first request: the sockets, the capture service, the bearer token.
async fn start(options: &Options) -> std::io::Result<(Vec<TcpListener>, Arc<Captures>, Option<String>)> {
    let Options {
        listen,
        token_file,
        settings,
        ..
    } = options;
    let token = token_file.as_deref().map(read_token).transpose()?;
    let public = listen.iter().find(|address| !address.ip().is_loopback());
    if let (Some(public), None) = (public, &token) {
        return Err(invalid(format!(
            "refusing to listen on {public} without --token-file: everybody who reaches it could read profiles"
        )));
    }
    let listeners = bind(listen).await?;
    if !settings.async_profiler.exists() {
        tracing::warn!(path = %settings.async_profiler.display(),
            "there is no libasyncProfiler.so: JVMs cannot be profiled; see --async-profiler");
    }
    let captures = Captures::new(settings.clone()).map_err(|error| {
        let place = settings.store_directory.clone().unwrap_or_else(std::env::temp_dir);
        let text = format!("failed to make the store in {}: {error}", place.display());
        std::io::Error::new(error.kind(), text)
    })?;
    Ok((listeners, captures, token))
}

fn read_token(path: &Path) -> std::io::Result<String> {
    let token = std::fs::read_to_string(path)
        .map_err(|error| invalid(format!("failed to read the token file {}: {error}", path.display())))?;
    let token = token.trim().to_owned();
    if token.len() < 16 {
        let path = path.display();
        return Err(invalid(format!("the token in {path} has fewer than 16 characters")));
    }
    Ok(token)
}

fn invalid(text: String) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidInput, text)
}

/// Opens the sockets. Beside another one, the IPv6 loopback may be missing: many containers have none, and who names
/// both loopbacks means "loopback".
async fn bind(listen: &[SocketAddr]) -> std::io::Result<Vec<TcpListener>> {
    let default = default_listen();
    let addresses = if listen.is_empty() { &default } else { listen };
    let mut listeners = Vec::new();
    for address in addresses {
        match open(*address).await {
            Ok(listener) => listeners.push(listener),
            Err(error)
                if address.ip() == Ipv6Addr::LOCALHOST
                    && !listeners.is_empty()
                    && error.kind() != ErrorKind::AddrInUse =>
            {
                tracing::debug!(%error, "no IPv6 loopback");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

async fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| std::io::Error::new(error.kind(), format!("failed to listen on {address}: {error}")))
}
