//! Parameters that only the processes of one runtime take: declared and read by its folder, told apart here.

use super::{Runtime, dotnet, go, jvm};
use crate::parameter::{self, Parameter, Refusal, Takes};

/// What a request says to each runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// To a JVM.
    pub jvm: jvm::parameters::JvmOptions,
    /// To a .NET process.
    pub dotnet: dotnet::parameters::DotnetOptions,
    /// To a Go program.
    pub go: go::parameters::GoOptions,
    given: Vec<(Runtime, &'static str)>,
}

impl Options {
    /// Every parameter with the runtime that takes it.
    pub fn parameters() -> impl Iterator<Item = (Runtime, &'static Parameter)> {
        let jvm = jvm::parameters::ROWS.iter().map(|row| (Runtime::Jvm, &row.parameter));
        let dotnet = dotnet::parameters::ROWS.iter();
        let go = go::parameters::ROWS.iter().map(|row| (Runtime::Go, &row.parameter));
        jvm.chain(dotnet.map(|row| (Runtime::Dotnet, &row.parameter))).chain(go)
    }

    /// Takes the value of the parameter called `name`.
    ///
    /// # Errors
    /// It is none that the parameter takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let (runtime, parameter) = if let Some(row) = parameter::row(&jvm::parameters::ROWS, name) {
            row.set(&mut self.jvm, value)?;
            (Runtime::Jvm, &row.parameter)
        } else if let Some(row) = parameter::row(&dotnet::parameters::ROWS, name) {
            row.set(&mut self.dotnet, value)?;
            (Runtime::Dotnet, &row.parameter)
        } else if let Some(row) = parameter::row(&go::parameters::ROWS, name) {
            row.set(&mut self.go, value)?;
            (Runtime::Go, &row.parameter)
        } else {
            return Err(Refusal::because("there is no such parameter"));
        };
        // `threads=false` asks a process that has no threads to split for nothing.
        let asks = !matches!(parameter.takes, Takes::Flag) || parameter.takes.flag(value)?;
        if asks {
            self.given.push((runtime, parameter.name));
        }
        Ok(())
    }

    /// A parameter that was given and that `runtime` does not take, with the runtime that does.
    pub fn foreign_to(&self, runtime: Runtime) -> Option<(&'static str, Runtime)> {
        let foreign = self.given.iter().find(|(of, _)| *of != runtime);
        foreign.map(|(of, name)| (*name, *of))
    }
}
