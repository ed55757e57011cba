//! `sideflame-webhook inject`: the webhook's decision for manifests, without a cluster. For GitOps and debugging.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};
use json_patch::Patch;
use serde_json::Value;

use super::documents::{self, Document, DocumentError};
use super::object::{Decided, Decisions, decide};
use crate::inject::Decision;
use crate::limits::Limits;
use crate::settings::{Facts, InjectSettings};

/// More than any cluster would take, but a wrong pipe must not fill the memory.
const LARGEST_INPUT: u64 = 256 << 20;
const BLOCKED: u8 = 3;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// All objects; those that nothing was added to as they were written
    Yaml,
    /// All objects
    Json,
    /// The RFC 6902 operations of each document, a line each
    Patch,
}

const HELP: &str = "\
Reads Pods, the pod templates of Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs, and Lists of them; other
objects pass unchanged. What was decided is said on stderr.

Exit codes: 0 done, 1 the input cannot be read, 2 usage, 3 refused by sideflame.io/on-error: block (then nothing is printed).";

/// Flags of `inject`.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub struct InjectCommand {
    /// Manifest, YAML or JSON; - reads stdin
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    filename: PathBuf,
    /// What is printed
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Yaml)]
    output: OutputFormat,
    /// Namespace the objects will be in [default: metadata.namespace]
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    namespace: String,
    /// Label of that namespace, repeatable, e.g. pod-security.kubernetes.io/enforce=restricted
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    namespace_label: Vec<(String, String)>,
    /// LimitRanges and ResourceQuotas of that namespace, as kubectl get limitranges,resourcequotas -o yaml prints them
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Version of the API server the objects are for
    #[arg(long, value_name = "MAJOR.MINOR", default_value = "1.29", value_parser = parse_version)]
    server_version: (u32, u32),
    #[command(flatten)]
    settings: InjectSettings,
}

#[derive(Debug, thiserror::Error)]
enum InjectError {
    #[error("failed to read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} has more than {LARGEST_INPUT} bytes; split it")]
    TooLarge { path: String },
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("failed to apply the operations to document {number}: {source}; please report this")]
    Patch {
        number: usize,
        source: json_patch::PatchError,
    },
    #[error("failed to write: {0}")]
    Write(#[from] io::Error),
}

/// Reads manifests, prints them with the sidecar in their pods.
pub fn run(command: InjectCommand) -> ExitCode {
    match print(command) {
        Ok(code) => code,
        Err(InjectError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(command: InjectCommand) -> Result<ExitCode, InjectError> {
    let InjectCommand {
        filename,
        output,
        namespace,
        namespace_label,
        limits: limits_file,
        server_version,
        settings,
    } = command;
    let mut limits = Limits::default();
    if let Some(path) = limits_file {
        for document in documents::parse(&read(&path)?)? {
            limits.add_all(&document.value);
        }
    }
    let facts = Facts {
        namespace,
        namespace_labels: Some(namespace_label.into_iter().collect::<BTreeMap<_, _>>()),
        server_version: Some(server_version),
        limits,
    };
    let mut documents = documents::parse(&read(&filename)?)?;
    let decisions: Vec<Decisions> = documents
        .iter()
        .map(|document| decide(&document.value, &settings, &facts))
        .collect();
    report(&decisions)?;
    let blocked = |decided: &Decided| matches!(decided.decision, Decision::Block(_));
    if decisions.iter().any(|of| of.decided.iter().any(blocked)) {
        return Ok(ExitCode::from(BLOCKED));
    }
    let mut patches = Vec::new();
    for (index, (document, decisions)) in documents.iter_mut().zip(decisions).enumerate() {
        let patch = Patch(decisions.patch);
        if patch.0.is_empty() {
            continue;
        }
        json_patch::patch(&mut document.value, &patch).map_err(|source| InjectError::Patch {
            number: index + 1,
            source,
        })?;
        document.text = None;
        patches.push(patch);
    }
    io::stdout().write_all(render(output, documents, &patches)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn render(output: OutputFormat, documents: Vec<Document>, patches: &[Patch]) -> Result<String, DocumentError> {
    let values = documents.into_iter();
    Ok(match output {
        OutputFormat::Yaml => documents::yaml(values.map(|document| (document.text, document.value)))?,
        OutputFormat::Json => {
            let values = values
                .map(|document| document.value)
                .filter(|value| *value != Value::Null);
            values.map(|value| format!("{value:#}\n")).collect()
        }
        OutputFormat::Patch => patches.iter().map(|patch| format!("{patch}\n")).collect(),
    })
}

fn read(path: &Path) -> Result<String, InjectError> {
    let name = || {
        if path == Path::new("-") {
            "stdin".to_owned()
        } else {
            path.display().to_string()
        }
    };
    let failed = |source| InjectError::Read { path: name(), source };
    let mut text = String::new();
    let size = if path == Path::new("-") {
        io::stdin().lock().take(LARGEST_INPUT + 1).read_to_string(&mut text)
    } else {
        let file = File::open(path).map_err(failed)?;
        file.take(LARGEST_INPUT + 1).read_to_string(&mut text)
    };
    if size.map_err(failed)? as u64 > LARGEST_INPUT {
        return Err(InjectError::TooLarge { path: name() });
    }
    Ok(text)
}

/// A line per pod, and its warnings.
fn report(decisions: &[Decisions]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for decided in decisions.iter().flat_map(|of| &of.decided) {
        let name = &decided.name;
        let warnings = match &decided.decision {
            Decision::Inject(injection) => {
                writeln!(stderr, "{name}: injected")?;
                &injection.warnings
            }
            Decision::Skip(skip) => {
                writeln!(stderr, "{name}: skipped, {}: {}", skip.reason.key(), skip.detail)?;
                &skip.warnings
            }
            Decision::Block(skip) => {
                writeln!(stderr, "{name}: blocked, {}: {}", skip.reason.key(), skip.detail)?;
                &skip.warnings
            }
        };
        let detail = match &decided.decision {
            Decision::Inject(_) => None,
            Decision::Skip(skip) | Decision::Block(skip) => Some(&skip.detail),
        };
        // The detail was just said, and the workload's warning repeats those of its template.
        let own = warnings.iter().filter(|warning| Some(*warning) != detail);
        let repeated = |warning: &&String| {
            !decided
                .misplaced
                .as_ref()
                .is_some_and(|text| text.contains(warning.as_str()))
        };
        for warning in own.filter(repeated).chain(&decided.misplaced) {
            writeln!(stderr, "  warning: {warning}")?;
        }
    }
    Ok(())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label, KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Accepts `1.33`, `v1.33.2` and `1.33+`.
fn parse_version(text: &str) -> Result<(u32, u32), String> {
    let numbers = || {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.trim_end_matches('+').parse().ok()?;
        Some((major, minor))
    };
    numbers().ok_or_else(|| "a version, e.g. 1.33".to_owned())
}
