//! Parameters that not all processes take: those of one runtime are declared and read by its folder, those of several here.

use super::{Runtime, dotnet, go, jvm};
use crate::parameter::{self, Parameter, Refusal, Row, Takes};

/// What a request says to each runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// To a JVM.
    pub jvm: jvm::parameters::JvmOptions,
    /// To a .NET process.
    pub dotnet: dotnet::parameters::DotnetOptions,
    /// To a Go program.
    pub go: go::parameters::GoOptions,
    given: Vec<(&'static [Runtime], &'static str)>,
}

const JVM: &[Runtime] = &[Runtime::Jvm];
const DOTNET: &[Runtime] = &[Runtime::Dotnet];
const GO: &[Runtime] = &[Runtime::Go];
const JVM_AND_DOTNET: &[Runtime] = &[Runtime::Jvm, Runtime::Dotnet];

/// What JVMs and .NET processes take.
static SHARED: [Row<Options>; 1] = [Row::new(
    Parameter {
        default: Some("false"),
        ..Parameter::new("threads", "", Takes::Flag, "Split stacks by thread")
    },
    |options, takes, value| {
        let split = takes.flag(value)?;
        options.jvm.threads = split;
        options.dotnet.threads = split;
        Ok(())
    },
)];

impl Options {
    /// Every parameter with the runtimes that take it.
    pub fn parameters() -> impl Iterator<Item = (&'static [Runtime], &'static Parameter)> {
        let shared = SHARED.iter().map(|row| (JVM_AND_DOTNET, &row.parameter));
        let jvm = jvm::parameters::ROWS.iter().map(|row| (JVM, &row.parameter));
        let dotnet = dotnet::parameters::ROWS.iter().map(|row| (DOTNET, &row.parameter));
        let go = go::parameters::ROWS.iter().map(|row| (GO, &row.parameter));
        shared.chain(jvm).chain(dotnet).chain(go)
    }

    /// Takes the value of the parameter called `name`.
    ///
    /// # Errors
    /// It is none that the parameter takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let (runtimes, parameter) = if let Some(row) = parameter::row(&SHARED, name) {
            row.set(self, value)?;
            (JVM_AND_DOTNET, &row.parameter)
        } else if let Some(row) = parameter::row(&jvm::parameters::ROWS, name) {
            row.set(&mut self.jvm, value)?;
            (JVM, &row.parameter)
        } else if let Some(row) = parameter::row(&dotnet::parameters::ROWS, name) {
            row.set(&mut self.dotnet, value)?;
            (DOTNET, &row.parameter)
        } else if let Some(row) = parameter::row(&go::parameters::ROWS, name) {
            row.set(&mut self.go, value)?;
            (GO, &row.parameter)
        } else {
            return Err(Refusal::because("there is no such parameter"));
        };
        // `threads=false` asks a process that has no threads to split for nothing.
        let asks = !matches!(parameter.takes, Takes::Flag) || parameter.takes.flag(value)?;
        if asks {
            self.given.push((runtimes, parameter.name));
        }
        Ok(())
    }

    /// A parameter that was given and that `runtime` does not take, with a runtime that does.
    pub fn foreign_to(&self, runtime: Runtime) -> Option<(&'static str, Runtime)> {
        let foreign = self.given.iter().find(|(of, _)| !of.contains(&runtime));
        foreign.and_then(|(of, name)| Some((*name, *of.first()?)))
    }
}
