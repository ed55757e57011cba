//! The commands there are. Each declares its flags and `SIDEFLAME_*` variables itself, below [`crate::cli`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli;
use crate::cli::diff::DiffCommand;
use crate::cli::doctor::DoctorCommand;
use crate::cli::ps::PsCommand;
use crate::cli::record::RecordCommand;
use crate::cli::render::RenderCommand;
use crate::cli::serve::ServeCommand;

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
  sideflame render a.pb.gz -o svg -f a.svg
  sideflame diff before.pb.gz after.pb.gz              who gained, who lost, and what is noise";

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer GET /profile and the rest of the HTTP API
    Serve(Box<ServeCommand>),
    /// List the processes with their runtimes and events
    Ps(PsCommand),
    /// Say for each event whether it works, and if not, why and what would unlock it
    Doctor(DoctorCommand),
    /// Record one process and write the artifact into a file
    Record(Box<RecordCommand>),
    /// Turn a recording (collapsed, pprof, JFR or nettrace) into another format
    Render(RenderCommand),
    /// Say what one recording has more and less than another
    Diff(Box<DiffCommand>),
    #[command(hide = true)]
    Child,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Serve(command) => cli::serve::run(*command),
            Command::Ps(command) => cli::ps::run(command),
            Command::Doctor(command) => cli::doctor::run(command),
            Command::Record(command) => cli::record::run(*command),
            Command::Render(command) => cli::render::run(command),
            Command::Diff(command) => cli::diff::run(*command),
            Command::Child => cli::child::run(),
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
    fn every_flag_of_serve_has_a_variable() {
        let serve = Args::command().find_subcommand("serve").unwrap().clone();
        for argument in serve
            .get_arguments()
            .filter(|argument| argument.get_long().is_some_and(|long| long != "help"))
        {
            assert!(argument.get_env().is_some(), "{}", argument.get_id());
        }
    }

    fn refusal(line: &str) -> String {
        let refused = Args::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{line}");
        refused.to_string()
    }

    #[test]
    fn the_words_of_the_api_are_flags_too() {
        for line in [
            "sideflame record shop --duration 30s --output svg",
            "sideflame record shop --seconds 30 --format svg",
            "sideflame record shop -d 2m -o svg -F 99 --threads --include a --include b",
            "sideflame record --pid 17 -e alloc --interval 512k -q",
            "sideflame render a.pb.gz --format svg -f a.svg",
            "sideflame render a.txt --input collapsed",
            "sideflame ps shop --pod prod/shop",
        ] {
            Args::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn a_header_for_pprof_needs_the_port_it_is_for() {
        let header = "sideflame serve --go-pprof-header Authorization:s3cret";
        let refused = refusal(header);
        assert!(
            refused.contains("--go-pprof-port") && !refused.contains("s3cret"),
            "{refused}"
        );
        Args::try_parse_from(format!("{header} --go-pprof-port 6060").split(' ')).unwrap();
    }

    #[test]
    fn a_file_where_a_format_belongs_gets_a_tip() {
        for line in ["sideflame record shop -o x.svg", "sideflame render a.pb.gz -o x.svg"] {
            assert!(refusal(line).contains("-f x.svg"), "{line}");
        }
        assert!(refusal("sideflame record shop -o gif").contains("one of svg, collapsed"));
        assert!(refusal("sideflame record shop -F 2000").contains("1 to 1000"));
    }
}
