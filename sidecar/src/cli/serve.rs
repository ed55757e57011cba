//! `sideflame serve`: the HTTP server from its first line of log to its clean end.

use std::io::{ErrorKind, IsTerminal};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::block_on;
use super::flags::CaptureServiceFlags;
use super::values::parse_idle_time;
use crate::capture::{Captures, Settings};
use crate::child::Port;
use crate::http;
use crate::process::ProcessTable;

/// Between two tries to start.
const RETRY: Duration = Duration::from_secs(10);

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeCommand {
    /// Address to listen on, repeatable [default: 127.0.0.1:7117 and [::1]:7117]
    #[arg(long, env = "SIDEFLAME_LISTEN", value_name = "IP:PORT", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// File with a bearer token that every request must carry, read again when it changes; required to listen beyond loopback
    #[arg(long, env = "SIDEFLAME_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Port at which `GET /metrics` alone is there for other pods, on all addresses: a scraper cannot reach a pod's loopback
    #[arg(long, env = "SIDEFLAME_METRICS_PORT", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    metrics_port: Option<u16>,
    /// Captures at a time that take a profiler for themselves, over all processes
    #[arg(long, env = "SIDEFLAME_MAX_CAPTURES", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    max_captures: u16,
    /// Socket to make for .NET 5 and later, which connect to it by themselves if they run with
    /// DOTNET_DiagnosticPorts=PATH,connect,nosuspend: so processes of another pid namespace are profiled, too, and those whose
    /// diagnostic socket is out of reach
    #[arg(long, env = "SIDEFLAME_DOTNET_PORT", value_name = "PATH")]
    dotnet_port: Option<PathBuf>,
    #[command(flatten)]
    captures: CaptureServiceFlags,
    /// End after this time without a request or a capture, e.g. 30m: an ephemeral container cannot be stopped otherwise
    #[arg(long, env = "SIDEFLAME_EXIT_WHEN_IDLE", value_name = "TIME", value_parser = parse_idle_time)]
    exit_when_idle: Option<Duration>,
    /// Wait and try again, instead of exiting, when it cannot start, as when its port is taken: an exited sidecar would make
    /// its pod unready
    #[arg(long, env = "SIDEFLAME_RETRY_START")]
    retry_start: bool,
    /// How log lines look
    #[arg(long, env = "SIDEFLAME_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, env = "SIDEFLAME_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One object per line
    Json,
}

/// The port people forward.
pub const DEFAULT_PORT: u16 = 7117;

/// The default sockets, when no `--listen` is given.
pub fn default_listen() -> [SocketAddr; 2] {
    [
        SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, DEFAULT_PORT)),
    ]
}

/// What must be at hand before the first request.
#[derive(Debug)]
struct Start {
    listen: Vec<SocketAddr>,
    metrics_port: Option<u16>,
    token_file: Option<PathBuf>,
    dotnet_port: Option<PathBuf>,
    settings: Settings,
}

/// What is at hand then.
struct Started {
    listeners: Vec<TcpListener>,
    of_metrics: Option<TcpListener>,
    captures: Arc<Captures>,
    token: Option<http::Token>,
}

/// Runs the command until SIGTERM or SIGINT.
pub fn run(command: ServeCommand) -> ExitCode {
    let ServeCommand {
        listen,
        metrics_port,
        token_file,
        max_captures,
        dotnet_port,
        captures,
        exit_when_idle,
        retry_start,
        log_format,
        log_level,
    } = command;
    start_log(log_format, log_level);
    abort_on_panic();
    let mut settings = captures.settings(usize::from(max_captures));
    // A place of our own choice is not one where the next server would look.
    settings.keeps = settings.store_directory.is_some();
    let start = Start {
        listen,
        metrics_port,
        token_file,
        dotnet_port,
        settings,
    };
    match block_on(serve(start, exit_when_idle, retry_start)) {
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

async fn serve(options: Start, exit_when_idle: Option<Duration>, retry_start: bool) -> std::io::Result<()> {
    // SIGTERM before this line ends us the default way: nothing has been started yet.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let Started {
        listeners,
        of_metrics,
        captures,
        token,
    } = loop {
        match start(&options).await {
            Ok(started) => break started,
            Err(error) if retry_start => {
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
    for listener in &listeners {
        tracing::info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    if let Some(listener) = &of_metrics {
        tracing::info!(address = %listener.local_addr()?, "listening for scrapers of /metrics");
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
                Some(time) => used.idle(time, || down.counters().running() > 0).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = idle => tracing::info!("no request and no capture for --exit-when-idle: shutting down"),
            _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
            _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
        }
        sweeping.abort();
        down.shut_down().await;
    };
    let guard = http::GuardSettings {
        // Then the Host is the pod's address or a name of the cluster, which cannot be listed; the token decides.
        allow_any_host: options.listen.iter().any(|address| !address.ip().is_loopback()),
        token,
    };
    let (api, metrics) = http::routers(captures, guard);
    let listeners = listeners.into_iter().map(|listener| (listener, api.clone()));
    let listeners = listeners
        .chain(of_metrics.map(|listener| (listener, metrics)))
        .collect();
    http::serve(listeners, http::Limits::default(), activity, stop).await;
    Ok(())
}

/// Everything that may fail before the first request: the sockets, the capture service, the bearer token.
async fn start(options: &Start) -> std::io::Result<Started> {
    let Start {
        listen,
        metrics_port,
        token_file,
        dotnet_port,
        settings,
    } = options;
    let token = token_file.as_deref().map(http::Token::of_file).transpose()?;
    let public = listen.iter().find(|address| !address.ip().is_loopback());
    if let (Some(public), None) = (public, &token) {
        let text = format!(
            "refusing to listen on {public} without --token-file: everybody who reaches it could read profiles"
        );
        return Err(std::io::Error::new(ErrorKind::InvalidInput, text));
    }
    let listeners = bind(listen).await?;
    let of_metrics = match metrics_port {
        Some(port) => Some(open_to_all(*port).await?),
        None => None,
    };
    if let Err(reason) = settings.runtimes.jvm.library() {
        tracing::warn!(remedy = reason.remedy, "JVMs cannot be profiled: {}", reason.sentence);
    }
    let port = dotnet_port.as_deref();
    let port = port.map(|path| Port::open(path, ProcessTable::default())).transpose()?;
    let captures = Captures::with_port(settings.clone(), port).map_err(|error| {
        let place = settings.store_directory.clone().unwrap_or_else(std::env::temp_dir);
        let text = format!("failed to make the store in {}: {error}", place.display());
        std::io::Error::new(error.kind(), text)
    })?;
    Ok(Started {
        listeners,
        of_metrics,
        captures,
        token,
    })
}

/// Of both families where there are both: a socket of IPv6 takes IPv4 as well.
async fn open_to_all(port: u16) -> std::io::Result<TcpListener> {
    match open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        opened => opened,
    }
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
