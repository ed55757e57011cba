//! Every command, and `run`, which takes each apart exhaustively. Flags are declared with their command; every flag of
//! `serve` has a `SIDEFLAME_WEBHOOK_*` variable.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli;
use crate::cli::annotations::AnnotationsCommand;
use crate::cli::inject::InjectCommand;

/// Adds the Sideflame sidecar to annotated pods.
#[derive(Debug, Parser)]
#[command(name = "sideflame-webhook", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer admission reviews of an API server
    #[command(after_help = SERVE_HELP)]
    Serve(Box<cli::serve::ServeCommand>),
    /// Print manifests with the sidecar in their pods, as the webhook would add it
    Inject(Box<InjectCommand>),
    /// Print the table of annotations
    Annotations(AnnotationsCommand),
}

const SERVE_HELP: &str = "\
Paths: POST /inject (pods), /warn (workloads, warnings only), /probe (our own dry-run pods); admission.k8s.io/v1.
A pod is never refused because of an error here, unless it says sideflame.io/on-error: block.

Certificates: by default we make an authority of our own in a Secret, and keep the caBundle of every webhook in the
configurations called --webhook-name; all replicas do, without a leader. With --tls-cert-file and --tls-key-file we use
what we are given, follow its changes, and need no API server to answer.

Outside a cluster (KUBECONFIG is used), with a configuration whose clientConfig has url: https://127.0.0.1:8443/inject:
  sideflame-webhook serve --listen 127.0.0.1:8443 --metrics-listen 127.0.0.1:9443 --tls-san 127.0.0.1";

impl Args {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Serve(command) => cli::serve::run(*command),
            Command::Inject(command) => cli::inject::run(*command),
            Command::Annotations(command) => cli::annotations::run(command),
        }
    }
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
    fn every_flag_of_serve_has_a_variable_of_its_name() {
        let serve = Args::command().find_subcommand("serve").unwrap().clone();
        for argument in serve.get_arguments().filter(|argument| argument.get_id() != "help") {
            let long = argument.get_long().unwrap().to_uppercase().replace('-', "_");
            let variable = argument.get_env().unwrap_or_default().to_string_lossy().into_owned();
            assert_eq!(variable, format!("SIDEFLAME_WEBHOOK_{long}"));
        }
    }
}
