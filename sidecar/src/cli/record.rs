//! `sideflame record`: one capture by the same code as the server's, without the server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::flags::CaptureServiceFlags;
use super::output::{FileFlag, Output};
use super::parameters::CaptureFlags;
use super::progress::Progress;
use super::{block_on, exit};
use crate::capture::{Artifact, Capture, CaptureError, CaptureRequest, CaptureState, Captures};
use crate::child::Command;
use crate::runtime::Who;

const HELP: &str = "\
Without NAME and --pid the only JVM, .NET or Go process is recorded, else the only native one.
Ctrl-C once stops early and keeps what there is; twice discards it.
Exit codes: 0 done, 1 capture failed, 2 usage, 3 impossible for this process (see doctor),
4 no such or several processes, 6 busy or store full, 124 a step took too long, 130 discarded.";

/// Flags of `record`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct RecordCommand {
    #[command(flatten)]
    parameters: CaptureFlags,
    #[command(flatten)]
    file: FileFlag,
    /// Print nothing but the name of the file
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    captures: CaptureServiceFlags,
}

/// Runs the command. stdout gets the name of the file (or its bytes), stderr everything else.
pub fn run(command: RecordCommand) -> ExitCode {
    let RecordCommand {
        parameters,
        file: FileFlag { filename },
        quiet,
        captures,
    } = command;
    let settings = captures.settings(1);
    let request = match parameters.request(settings.max_seconds, filename.as_deref()) {
        Ok(request) => request,
        Err(error) => return exit::report(&error.into()),
    };
    let recorded = block_on(async {
        let captures = Captures::new(settings).map_err(|error| CaptureError::internal("make the store", &error))?;
        let outcome = capture(&captures, &request, filename, quiet).await;
        captures.shut_down().await;
        outcome
    });
    match recorded {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => exit::report(&error),
        Err(error) => exit::report(&CaptureError::internal("start the runtime", &error)),
    }
}

async fn capture(
    captures: &Arc<Captures>,
    request: &CaptureRequest,
    filename: Option<PathBuf>,
    quiet: bool,
) -> Result<(), CaptureError> {
    let capture = captures.start(request).await?;
    if !quiet {
        let Who { pid, name, runtime, .. } = &capture.target;
        // A server at a URL has no pid here.
        let pid = if *pid > 0 {
            format!("pid {pid}, ")
        } else {
            String::new()
        };
        eprintln!("{name} ({pid}{runtime}) · {}", capture.event);
    }
    follow(&capture, quiet).await?;
    let artifact = captures.artifact(&capture, None, None, &request.view).await?;
    summarise(&artifact, quiet);
    write(artifact, filename)
}

/// Shows progress until the capture ends; Ctrl-C once stops it, twice (or SIGTERM) discards it.
async fn follow(capture: &Capture, quiet: bool) -> Result<(), CaptureError> {
    let mut progress = Progress::new(capture.seconds, quiet);
    let signal_error = |error: std::io::Error| CaptureError::internal("listen to signals", &error);
    let kind = tokio::signal::unix::SignalKind::interrupt();
    let mut interrupts = tokio::signal::unix::signal(kind).map_err(signal_error)?;
    let kind = tokio::signal::unix::SignalKind::terminate();
    let mut terminations = tokio::signal::unix::signal(kind).map_err(signal_error)?;
    let mut state = capture.watch();
    let mut asked = false;
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            CaptureState::Running(phase) => progress.show(phase),
            CaptureState::Finished(_) => {
                progress.clear();
                return Ok(());
            }
            CaptureState::Failed(error) => {
                progress.clear();
                return Err(error);
            }
        }
        tokio::select! {
            _ = state.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = interrupts.recv() => {
                capture.tell(if asked { Command::Cancel } else { Command::Stop });
                asked = true;
            }
            _ = terminations.recv() => capture.tell(Command::Cancel),
        }
    }
}

fn summarise(artifact: &Artifact, quiet: bool) {
    let quality = &artifact.meta.quality;
    for sentence in quality.degraded.iter().filter(|_| !quiet) {
        eprintln!("note: {sentence}");
    }
    if let Some(samples) = quality.samples.filter(|_| !quiet) {
        let unresolved = quality
            .unresolved
            .map(|share| format!(", {:.1} % unresolved", share * 100.0));
        let lost = quality.lost.map(|lost| format!(", {lost} lost"));
        eprintln!(
            "{samples} samples{}{}",
            lost.unwrap_or_default(),
            unresolved.unwrap_or_default()
        );
    }
}

fn write(mut artifact: Artifact, filename: Option<PathBuf>) -> Result<(), CaptureError> {
    let failed = |error: std::io::Error| CaptureError::internal("write the artifact", &error);
    let mut output = Output::create(filename.as_deref(), &artifact.file_name).map_err(failed)?;
    let copied = std::io::copy(&mut artifact.file, &mut output.writer());
    if let Err(error) = copied {
        output.discard();
        return Err(failed(error));
    }
    if let Some(path) = output.publish().map_err(failed)? {
        println!("{}", path.display());
    }
    Ok(())
}
