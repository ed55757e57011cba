//! Every flag and `SIDEFLAME_*` variable, declared once; and `run`, which takes each command apart exhaustively, so
//! that a flag nobody uses does not compile.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::capture::{CaptureRequest, Settings};
use crate::cli;
use crate::format::{Format, RecordingKind};
use crate::runtime::GoPprofSettings;

mod values;

use values::{parse_directory, parse_duration, parse_header, parse_idle_time, parse_prefix, parse_size};

/// Profiles the JVM, .NET, Go and native processes it can see.
#[derive(Debug, Parser)]
#[command(name = "sideflame", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sideflame serve                                      answer http://localhost:7117
  curl -o flame.svg 'localhost:7117/profile?seconds=30'
  go tool pprof 'http://localhost:7117/debug/pprof/profile?seconds=30'
  sideflame ps                                         what runs here, and what can be had from it
  sideflame doctor shop                                why an event does not work, and what would unlock it
  sideflame record shop -d 30s                         cpu flame graph of the process called shop…
  sideflame record --pid 17 -e alloc -o pprof -f a.pb.gz
  sideflame render a.pb.gz -o svg -f a.svg";

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer GET /profile and the rest of the HTTP API
    Serve(Box<Serve>),
    /// List the processes with their runtimes and events
    Ps {
        #[command(flatten)]
        go: GoFlags,
        #[command(flatten)]
        node: NodeFlags,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Say for each event whether it works, and if not, why and what would unlock it
    Doctor {
        #[command(flatten)]
        process: ProcessFlags,
        #[command(flatten)]
        go: GoFlags,
        #[command(flatten)]
        node: NodeFlags,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Record one process and write the artifact into a file
    #[command(after_help = RECORD_HELP)]
    Record(Box<Record>),
    /// Turn a recording (collapsed or pprof) into another format
    Render {
        /// The recording; - reads stdin
        input: PathBuf,
        /// What the recording is; without it, its content decides
        #[arg(long, value_name = "FORMAT")]
        from: Option<RenderFrom>,
        #[command(flatten)]
        output: OutputFlags,
        /// Which sample type of a pprof file to draw, e.g. alloc_space
        #[arg(long, value_name = "TYPE")]
        sample_type: Option<String>,
    },
    #[command(hide = true)]
    Inspector,
    #[command(hide = true)]
    Recorder,
    #[command(hide = true)]
    Renderer { order: String },
    #[command(hide = true)]
    Sweeper,
}

const RECORD_HELP: &str = "\
Ctrl-C once stops early and keeps what there is; twice discards it.
Exit codes: 0 done, 1 capture failed, 2 usage, 3 impossible for this process (see doctor),
4 no such or several processes, 6 busy or store full, 124 a step took too long, 130 discarded.";

/// What a recording file can be.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RenderFrom {
    /// `a;b;c 12` lines
    Collapsed,
    /// profile.proto, gzipped or not
    Pprof,
}

impl From<RenderFrom> for RecordingKind {
    fn from(from: RenderFrom) -> Self {
        match from {
            RenderFrom::Collapsed => Self::Collapsed,
            RenderFrom::Pprof => Self::Pprof,
        }
    }
}

#[derive(Debug, ClapArgs)]
struct Serve {
    /// Address to listen on, repeatable [default: 127.0.0.1:7117 and [::1]:7117]
    #[arg(long, env = "SIDEFLAME_LISTEN", value_name = "IP:PORT", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// File with a bearer token that every request must carry; required to listen beyond loopback
    #[arg(long, env = "SIDEFLAME_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Captures at a time, over all processes
    #[arg(long, env = "SIDEFLAME_MAX_CAPTURES", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    max_captures: u16,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    profilers: ProfilerFlags,
    #[command(flatten)]
    go: GoFlags,
    #[command(flatten)]
    node: NodeFlags,
    /// End after this time without a request or a capture, e.g. 30m: nobody can stop an ephemeral container
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
    log_level: tracing::level_filters::LevelFilter,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One object per line
    Json,
}

#[derive(Debug, ClapArgs)]
struct StoreFlags {
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

#[derive(Debug, ClapArgs)]
struct ProfilerFlags {
    /// libasyncProfiler.so to load into JVMs [default: beside this executable, else /opt/sideflame]
    #[arg(long, env = "SIDEFLAME_ASYNC_PROFILER", value_name = "FILE")]
    async_profiler: Option<PathBuf>,
    /// Longest capture, seconds
    #[arg(long, env = "SIDEFLAME_MAX_SECONDS", value_name = "N", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86400))]
    max_seconds: u64,
}

#[derive(Debug, ClapArgs)]
struct GoFlags {
    /// Port where a Go program serves net/http/pprof, repeatable; its listening ports are tried anyway
    #[arg(long, env = "SIDEFLAME_GO_PPROF_PORT", value_name = "PORT", value_delimiter = ',')]
    go_pprof_port: Vec<u16>,
    /// Path in front of /debug/pprof/
    #[arg(long, env = "SIDEFLAME_GO_PPROF_PATH_PREFIX", value_name = "PATH", default_value = "", value_parser = parse_prefix)]
    go_pprof_path_prefix: String,
    /// Header for the pprof port, repeatable, e.g. "Authorization: Bearer …"; use the variable to keep it secret
    #[arg(long, env = "SIDEFLAME_GO_PPROF_HEADER", value_name = "NAME: VALUE", hide_env_values = true, value_parser = parse_header)]
    go_pprof_header: Vec<(String, String)>,
    /// Accept any certificate of an https pprof port
    #[arg(long, env = "SIDEFLAME_GO_PPROF_INSECURE_TLS")]
    go_pprof_insecure_tls: bool,
}

impl GoFlags {
    fn settings(self) -> GoPprofSettings {
        let Self {
            go_pprof_port,
            go_pprof_path_prefix,
            go_pprof_header,
            go_pprof_insecure_tls,
        } = self;
        GoPprofSettings {
            ports: go_pprof_port,
            path_prefix: go_pprof_path_prefix,
            headers: go_pprof_header,
            insecure_tls: go_pprof_insecure_tls,
        }
    }
}

#[derive(Debug, ClapArgs)]
struct NodeFlags {
    /// Where the kubelet names the node's containers, for a sideflame that sees all processes of a node
    /// [default: /host/var/log/containers or /var/log/containers, here or as pid 1 sees it]
    #[arg(long, env = "SIDEFLAME_CONTAINER_LOGS", value_name = "DIR", value_parser = parse_directory)]
    container_logs: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
struct ProcessFlags {
    /// Name of the process or the beginning of it [default: the only JVM, .NET or Go process]
    #[arg(value_name = "NAME")]
    process: Option<String>,
    /// The process by its pid
    #[arg(short, long, conflicts_with = "process")]
    pid: Option<String>,
    /// Only processes of this pod: NAME or NAMESPACE/NAME, or the beginning of it
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Only processes of this container: its name in the pod, or the beginning of it
    #[arg(long, value_name = "CONTAINER")]
    container: Option<String>,
}

impl ProcessFlags {
    fn pairs(self) -> Vec<(String, String)> {
        let Self {
            process,
            pid,
            pod,
            container,
        } = self;
        let given = [("name", process), ("pid", pid), ("pod", pod), ("container", container)];
        given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

#[derive(Debug, ClapArgs)]
struct OutputFlags {
    /// svg, collapsed, pprof, speedscope, jfr, nettrace or trace [default: by the ending of FILE, else svg]
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    /// File to write; - writes to stdout [default: a new file named after the process, event and time]
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
struct Record {
    #[command(flatten)]
    process: ProcessFlags,
    /// How long, e.g. 30, 30s or 2m
    #[arg(short, long, env = "SIDEFLAME_DURATION", value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// cpu, wall, alloc, heap, lock, block, goroutine, threadcreate, trace, or an async-profiler event name
    #[arg(short, long, env = "SIDEFLAME_EVENT", default_value = "cpu")]
    event: String,
    #[command(flatten)]
    output: OutputFlags,
    /// Samples per second (JVM)
    #[arg(short = 'F', long, value_name = "HZ")]
    frequency: Option<String>,
    /// Sampling interval in async-profiler's notation, e.g. 10ms or 512k (JVM)
    #[arg(long)]
    interval: Option<String>,
    /// Split by thread (JVM)
    #[arg(long)]
    threads: bool,
    /// Only stacks with a frame that matches, repeatable (JVM)
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// No stacks with a frame that matches, repeatable (JVM)
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// dotnet-trace profile, e.g. gc-verbose (.NET)
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// dotnet-trace provider Name:keywords:level:args, repeatable (.NET)
    #[arg(long, value_name = "PROVIDER")]
    providers: Vec<String>,
    /// Print nothing but the name of the file
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    profilers: ProfilerFlags,
    #[command(flatten)]
    go: GoFlags,
    #[command(flatten)]
    node: NodeFlags,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Ps { go, node, json } => cli::ps::run(go.settings(), node.container_logs, json),
            Command::Doctor {
                process,
                go,
                node,
                json,
            } => match CaptureRequest::parse(&process.pairs(), u64::MAX) {
                Ok(request) => cli::doctor::run(&request.selector, go.settings(), node.container_logs, json),
                Err(error) => cli::exit::report(&error.into()),
            },
            Command::Record(record) => record.run(),
            Command::Render {
                input,
                from,
                output,
                sample_type,
            } => {
                let OutputFlags { output, filename } = output;
                cli::render::run(&input, from.map(Into::into), output, filename, sample_type)
            }
            Command::Inspector => cli::exit::child(cli::inspector::run()),
            Command::Recorder => cli::exit::child(cli::recorder::run()),
            Command::Renderer { order } => cli::exit::child(cli::renderer::run(&order)),
            Command::Sweeper => cli::exit::child(cli::sweeper::run()),
        }
    }
}

impl Serve {
    fn run(self) -> ExitCode {
        let Self {
            listen,
            token_file,
            max_captures,
            store,
            profilers,
            go,
            node,
            exit_when_idle,
            retry_start,
            log_format,
            log_level,
        } = self;
        let settings = settings(store, profilers, go, node, usize::from(max_captures));
        cli::serve::run(cli::serve::Options {
            listen,
            token_file,
            settings,
            exit_when_idle,
            retry_start,
            log_format,
            log_level,
        })
    }
}

impl Record {
    fn run(self) -> ExitCode {
        let Self {
            process,
            duration,
            event,
            output,
            frequency,
            interval,
            threads,
            include,
            exclude,
            profile,
            providers,
            quiet,
            store,
            profilers,
            go,
            node,
        } = self;
        let OutputFlags { output, filename } = output;
        let mut pairs = process.pairs();
        let mut push = |name: &str, value: String| pairs.push((name.to_owned(), value));
        push("seconds", duration.as_secs().to_string());
        push("event", event);
        push("threads", threads.to_string());
        let once = [("frequency", frequency), ("interval", interval), ("profile", profile)];
        once.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .for_each(|(name, value)| push(name, value));
        for (name, values) in [("include", include), ("exclude", exclude), ("providers", providers)] {
            values.into_iter().for_each(|value| push(name, value));
        }
        let settings = settings(store, profilers, go, node, 1);
        match CaptureRequest::parse(&pairs, settings.max_seconds) {
            Ok(mut request) => {
                request.format = output.or_else(|| cli::output::format_of(filename.as_deref()?));
                cli::record::run(settings, request, filename, quiet)
            }
            Err(error) => cli::exit::report(&error.into()),
        }
    }
}

fn settings(store: StoreFlags, profilers: ProfilerFlags, go: GoFlags, node: NodeFlags, max_running: usize) -> Settings {
    let NodeFlags { container_logs } = node;
    let StoreFlags {
        store_dir,
        store_size,
        store_captures,
        store_expiry,
    } = store;
    let ProfilerFlags {
        async_profiler,
        max_seconds,
    } = profilers;
    Settings {
        async_profiler: async_profiler.unwrap_or_else(default_async_profiler),
        go_pprof: go.settings(),
        container_logs,
        max_seconds,
        max_running,
        store_directory: store_dir,
        store_bytes: store_size,
        store_captures: usize::from(store_captures),
        expiry: store_expiry,
    }
}

/// Beside the executable as `make` and a tarball put it, else where the image has it.
fn default_async_profiler() -> PathBuf {
    const NAME: &str = "libasyncProfiler.so";
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(NAME)));
    beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("/opt/sideflame").join(NAME))
}

/// The port people forward.
pub const DEFAULT_PORT: u16 = 7117;

/// The default sockets, when no `--listen` is given.
pub fn default_listen() -> [SocketAddr; 2] {
    [
        SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
        SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, DEFAULT_PORT)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declaration_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_of_serve_has_a_variable() {
        let serve = Args::command().find_subcommand("serve").unwrap().clone();
        for argument in serve
            .get_arguments()
            .filter(|argument| argument.get_long().is_some_and(|long| long != "help"))
        {
            assert!(argument.get_env().is_some(), "{}", argument.get_id());
        }
    }
}
