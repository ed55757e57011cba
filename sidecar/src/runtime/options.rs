//! Parameters that not all processes take: those of one runtime are declared and read by its folder, those of several here.

use super::{Runtime, dotnet, go, jvm, native};
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
    /// To the kernel, about machine code.
    pub native: native::parameters::NativeOptions,
    /// Seconds between two values of a counter.
    pub refresh: Option<u32>,
    given: Vec<(&'static [Runtime], &'static str)>,
}

const JVM: &[Runtime] = &[Runtime::Jvm];
const DOTNET: &[Runtime] = &[Runtime::Dotnet];
const GO: &[Runtime] = &[Runtime::Go];
const NATIVE: &[Runtime] = &[Runtime::Native];

/// What several take, and which.
static SHARED: [(&[Runtime], Row<Options>); 4] = [
    (
        &[Runtime::Jvm, Runtime::Dotnet, Runtime::Go, Runtime::Native],
        Row::new(
            Parameter::new(
                "refresh",
                "SECONDS",
                Takes::Number {
                    what: "seconds",
                    least: 1,
                    most: 3600,
                },
                "Time between two values of a counter, if not a second",
            ),
            |options, takes, value| {
                options.refresh = Some(u32::try_from(takes.number(value)?).map_err(|_| Refusal::default())?);
                Ok(())
            },
        ),
    ),
    (
        &[Runtime::Jvm, Runtime::Dotnet, Runtime::Native],
        Row::new(
            Parameter {
                default: Some("false"),
                ..Parameter::new("threads", "", Takes::Flag, "Split stacks by thread")
            },
            |options, takes, value| {
                let split = takes.flag(value)?;
                options.jvm.threads = split;
                options.dotnet.threads = split;
                options.native.threads = split;
                Ok(())
            },
        ),
    ),
    (
        &[Runtime::Jvm, Runtime::Native],
        Row::new(
            Parameter {
                short: Some('F'),
                excludes: &["interval"],
                ..Parameter::new(
                    "frequency",
                    "HZ",
                    Takes::Number {
                        what: "samples per second",
                        least: 1,
                        most: 1000,
                    },
                    "Sampling rate",
                )
            },
            |options, takes, value| {
                let hertz = u32::try_from(takes.number(value)?).ok();
                options.jvm.frequency = hertz;
                options.native.frequency = hertz;
                Ok(())
            },
        ),
    ),
    (
        &[Runtime::Jvm, Runtime::Native],
        Row::new(
            Parameter {
                default: Some("false"),
                ..Parameter::new("alluser", "", Takes::Flag, "Leave out what happens in the kernel")
            },
            |options, takes, value| {
                options.native.user_only = takes.flag(value)?;
                if options.native.user_only {
                    options.jvm.sampling.push(jvm::parameters::USER_ONLY);
                }
                Ok(())
            },
        ),
    ),
];

impl Options {
    /// Every parameter with the runtimes that take it.
    pub fn parameters() -> impl Iterator<Item = (&'static [Runtime], &'static Parameter)> {
        let shared = SHARED.iter().map(|(runtimes, row)| (*runtimes, &row.parameter));
        let jvm = jvm::parameters::ROWS.iter().map(|row| (JVM, &row.parameter));
        let dotnet = dotnet::parameters::ROWS.iter().map(|row| (DOTNET, &row.parameter));
        let go = go::parameters::ROWS.iter().map(|row| (GO, &row.parameter));
        let native = native::parameters::ROWS.iter().map(|row| (NATIVE, &row.parameter));
        shared.chain(jvm).chain(dotnet).chain(go).chain(native)
    }

    /// Takes the value of the parameter called `name`.
    ///
    /// # Errors
    /// It is none that the parameter takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let shared = SHARED.iter().find(|(_, row)| row.parameter.name == name);
        let (runtimes, parameter) = if let Some((runtimes, row)) = shared {
            row.set(self, value)?;
            (*runtimes, &row.parameter)
        } else if let Some(row) = parameter::row(&jvm::parameters::ROWS, name) {
            row.set(&mut self.jvm, value)?;
            (JVM, &row.parameter)
        } else if let Some(row) = parameter::row(&dotnet::parameters::ROWS, name) {
            row.set(&mut self.dotnet, value)?;
            (DOTNET, &row.parameter)
        } else if let Some(row) = parameter::row(&go::parameters::ROWS, name) {
            row.set(&mut self.go, value)?;
            (GO, &row.parameter)
        } else if let Some(row) = parameter::row(&native::parameters::ROWS, name) {
            row.set(&mut self.native, value)?;
            (NATIVE, &row.parameter)
        } else {
            return Err(Refusal::because("there is no such parameter"));
        };
        // `threads=false` asks a process that has no threads to split for nothing, as any other default does.
        let asks = match parameter.takes {
            Takes::Flag => parameter.takes.flag(value)?,
            _ => parameter.default != Some(value),
        };
        if asks {
            self.given.push((runtimes, parameter.name));
        }
        Ok(())
    }

    /// Remembers that `name`, which is in no table, was given and is only of `runtime`.
    pub fn given_for(&mut self, runtime: Runtime, name: &'static str) {
        let only = match runtime {
            Runtime::Jvm => JVM,
            Runtime::Dotnet => DOTNET,
            Runtime::Go => GO,
            Runtime::Native => NATIVE,
        };
        self.given.push((only, name));
    }

    /// Seconds between two values of a counter.
    pub fn refresh(&self) -> u32 {
        self.refresh.unwrap_or(super::counters::REFRESH)
    }

    /// A parameter that was given beside `known`.
    pub fn given_beside(&self, known: &str) -> Option<&'static str> {
        self.given.iter().map(|(_, name)| *name).find(|name| *name != known)
    }

    /// A parameter that was given and that `runtime` does not take, with a runtime that does.
    pub fn foreign_to(&self, runtime: Runtime) -> Option<(&'static str, Runtime)> {
        let foreign = self.given.iter().find(|(of, _)| !of.contains(&runtime));
        foreign.and_then(|(of, name)| Some((*name, *of.first()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_of_several_runtimes_reaches_all_of_them() {
        let mut options = Options::default();
        for (name, value) in [("frequency", "49"), ("threads", ""), ("alluser", "true")] {
            options.set(name, value).unwrap();
        }
        assert_eq!((options.jvm.frequency, options.native.frequency), (Some(49), Some(49)));
        assert!(options.jvm.threads && options.dotnet.threads && options.native.threads);
        assert!(options.native.user_only && options.jvm.sampling == [jvm::parameters::USER_ONLY]);
        assert_eq!(options.foreign_to(Runtime::Native), None);
        assert_eq!(options.foreign_to(Runtime::Go), Some(("frequency", Runtime::Jvm)));
    }

    #[test]
    fn a_frequency_is_within_bounds() {
        let set = |value: &str| Options::default().set("frequency", value);
        for bad in ["0", "1001", "99Hz"] {
            assert!(set(bad).is_err(), "{bad}");
        }
        assert!(set("1").is_ok() && set("1000").is_ok());
    }
}
