//! `sideflame-webhook inject`: the webhook's decision for manifests, without a cluster. For GitOps and debugging.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};
use json_patch::Patch;
use serde_json::Value;

use super::documents::{self, Document};
use super::object::{Decided, Decisions, Rules};
use crate::cluster::assigned_user;
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
Reads what kubectl reads. Pods are looked for in Pods, PodTemplates, Deployments, StatefulSets, DaemonSets, ReplicaSets,
ReplicationControllers, Jobs and CronJobs, in Lists of any depth and typed lists (PodList, ...), in DeploymentConfigs of OpenShift,
Rollouts of Argo, Services of Knative, JobSets, LeaderWorkerSets, RayClusters, RayJobs and RayServices, CloneSets of OpenKruise, Jobs of
Volcano, and in other kinds at --template-path. Other objects pass unchanged; one that is annotated all the same is named.
Tekton's pods are made from steps: the webhook injects them, a manifest cannot.

What was decided is said on stderr. A document that cannot be read is named there and printed as it is.

Exit codes: 0 done, 1 something could not be read, 2 usage, 3 refused by sideflame.io/on-error: block (then nothing is printed).";

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
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    namespace_label: Vec<(String, String)>,
    /// LimitRanges and ResourceQuotas of that namespace, as kubectl get limitranges,resourcequotas -o yaml prints them
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Annotation of that namespace, repeatable; openshift.io/sa.scc.uid-range counts
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    namespace_annotation: Vec<(String, String)>,
    /// Pod template in objects of a kind that is not known, repeatable, e.g. spec.groups[*].template
    #[arg(long, value_name = "PATH")]
    template_path: Vec<String>,
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
    #[error("{path}: {place}: {error}")]
    Limits { path: String, place: String, error: String },
    #[error("failed to write {0}; please report this")]
    Render(String),
    #[error("failed to apply the operations to {place}: {source}; please report this")]
    Patch {
        place: String,
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
        namespace_annotation,
        template_path,
        limits: limits_file,
        server_version,
        settings,
    } = command;
    let rules = Rules {
        settings,
        facts: Facts {
            namespace,
            namespace_labels: Some(namespace_label.into_iter().collect::<BTreeMap<_, _>>()),
            assigned_user: assigned_user(&namespace_annotation.into_iter().collect()),
            server_version: Some(server_version),
            limits: limits_file.map_or_else(|| Ok(Limits::default()), |path| limits(&path))?,
            unpulled_image: None,
        },
        template_paths: template_path,
    };
    let mut documents = documents::parse(&read(&filename)?);
    let decide = |document: &Document| {
        document
            .content
            .as_ref()
            .map(|object| rules.decide(object))
            .unwrap_or_default()
    };
    let decisions: Vec<Decisions> = documents.iter().map(decide).collect();
    report(&documents, &decisions)?;
    let blocked = |decided: &Decided| matches!(decided.decision, Decision::Block(_));
    if decisions.iter().any(|of| of.decided.iter().any(blocked)) {
        return Ok(ExitCode::from(BLOCKED));
    }
    let mut patches = Vec::new();
    for (document, decisions) in documents.iter_mut().zip(decisions) {
        let patch = Patch(decisions.patch);
        let place = document.place();
        if let (Ok(object), false) = (&mut document.content, patch.0.is_empty()) {
            json_patch::patch(object, &patch).map_err(|source| InjectError::Patch { place, source })?;
            document.changed = true;
            patches.push(patch);
        }
    }
    io::stdout().write_all(render(output, &documents, &patches)?.as_bytes())?;
    if documents.iter().any(|document| document.content.is_err()) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The LimitRanges and ResourceQuotas of a file. One that cannot be read might be the one that refuses the pod.
fn limits(path: &Path) -> Result<Limits, InjectError> {
    let mut limits = Limits::default();
    for document in documents::parse(&read(path)?) {
        let place = document.place();
        let object = document.content.map_err(|error| InjectError::Limits {
            path: path.display().to_string(),
            place,
            error,
        })?;
        limits.add_all(&object);
    }
    Ok(limits)
}

fn render(output: OutputFormat, documents: &[Document], patches: &[Patch]) -> Result<String, InjectError> {
    Ok(match output {
        OutputFormat::Yaml => documents::yaml(documents).map_err(InjectError::Render)?,
        OutputFormat::Json => {
            let values = documents.iter().filter_map(|document| document.content.as_ref().ok());
            let values = values.filter(|value| **value != Value::Null);
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

/// A line per pod, and its warnings, in the order of the input.
fn report(documents: &[Document], decisions: &[Decisions]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for (document, decisions) in documents.iter().zip(decisions) {
        if let Err(problem) = &document.content {
            writeln!(stderr, "error: {} is printed as it is: {problem}", document.place())?;
        }
        for warning in &document.warnings {
            writeln!(stderr, "warning: {warning}")?;
        }
        for decided in &decisions.decided {
            tell(&mut stderr, decided)?;
        }
        for sentence in &decisions.unknown {
            writeln!(stderr, "{sentence}")?;
        }
    }
    Ok(())
}

fn tell(stderr: &mut impl Write, decided: &Decided) -> io::Result<()> {
    let name = &decided.name;
    let (detail, warnings) = match &decided.decision {
        Decision::Inject(injection) => {
            writeln!(stderr, "{name}: injected")?;
            (None, &injection.warnings)
        }
        Decision::Skip(skip) => {
            writeln!(stderr, "{name}: skipped, {}: {}", skip.reason.key(), skip.detail)?;
            (Some(&skip.detail), &skip.warnings)
        }
        Decision::Block(skip) => {
            writeln!(stderr, "{name}: blocked, {}: {}", skip.reason.key(), skip.detail)?;
            (Some(&skip.detail), &skip.warnings)
        }
    };
    // The detail was just said, and the workload's note repeats the warnings of its template.
    let own = warnings.iter().filter(|warning| Some(*warning) != detail);
    let repeated = |warning: &&String| decided.notes.iter().any(|note| note.contains(warning.as_str()));
    for warning in own.filter(|warning| !repeated(warning)).chain(&decided.notes) {
        writeln!(stderr, "  warning: {warning}")?;
    }
    Ok(())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE")?;
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
