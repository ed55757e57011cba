//! A parameter as a value: how it is called, what it takes, what it means.
//!
//! From one declaration come the parser of query strings and JSON bodies, the flags of the command line, the OpenAPI
//! document and the rows of README.md. Must not know any parameter: `capture/` declares those of every capture, each
//! runtime's folder its own.

use std::time::Duration;

/// A parameter of a request and a flag of a command.
#[derive(Debug)]
pub struct Parameter {
    /// In a query string or a JSON body.
    pub name: &'static str,
    /// On the command line, without dashes. It names the parameter in a query string, too, as `name` does here.
    pub flag: &'static str,
    /// One letter on the command line.
    pub short: Option<char>,
    /// Variable that gives the flag its value.
    pub variable: Option<&'static str>,
    /// What stands for the value in the help of the command line.
    pub placeholder: &'static str,
    /// On the command line the argument without a flag.
    pub positional: bool,
    /// What it takes.
    pub takes: Takes,
    /// Can be given more than once.
    pub repeatable: bool,
    /// What leaving it out means, where a value says that.
    pub default: Option<&'static str>,
    /// Parameters it cannot be given together with.
    pub excludes: &'static [&'static str],
    /// What it means, one sentence without its full stop.
    pub help: &'static str,
}

impl Parameter {
    /// A parameter with one word that can be given once; a row changes what else is so.
    pub const fn new(name: &'static str, placeholder: &'static str, takes: Takes, help: &'static str) -> Self {
        Self {
            name,
            flag: name,
            short: None,
            variable: None,
            placeholder,
            positional: false,
            takes,
            repeatable: false,
            default: None,
            excludes: &[],
            help,
        }
    }

    /// What it means and takes, one sentence without its full stop.
    pub fn describe(&self) -> String {
        match self.takes {
            Takes::Flag => self.help.to_owned(),
            _ => format!("{}: {}", self.help, self.takes.expected()),
        }
    }

    /// True if `word` names it.
    pub fn is_called(&self, word: &str) -> bool {
        word == self.name || word == self.flag
    }
}

/// What a parameter takes.
#[derive(Debug)]
pub enum Takes {
    /// A whole number within bounds.
    Number {
        /// What it counts.
        what: &'static str,
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// Whole seconds, at least one; with a unit also minutes and hours.
    Seconds,
    /// True or false; without a value true.
    Flag,
    /// A name.
    Name {
        /// Those there are.
        names: fn() -> Vec<String>,
        /// What else is understood, in words.
        or: Option<&'static str>,
    },
    /// Names, separated by commas.
    Names(fn() -> Vec<String>),
    /// Text, described in words.
    Text(&'static str),
}

/// A value that a parameter does not take; with the reason where there is more to say than what it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with this value.
    pub because: Option<String>,
    /// The value is not repeated: there may be a password in it.
    pub concealed: bool,
}

impl Refusal {
    /// With a reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self {
            because: Some(reason.into()),
            concealed: false,
        }
    }

    /// With a reason, and without the value.
    pub fn concealed(reason: impl Into<String>) -> Self {
        Self {
            because: Some(reason.into()),
            concealed: true,
        }
    }
}

impl Takes {
    /// In words, for people.
    pub fn expected(&self) -> String {
        match self {
            Self::Number { what, least, most } => format!("{what}, {least} to {most}"),
            Self::Seconds => "whole seconds, or with a unit: 30s, 2m".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Name { names, or } => {
                let or = or.map_or_else(String::new, |or| format!(", or {or}"));
                format!("one of {}{or}", names().join(", "))
            }
            Self::Names(names) => format!("one or more of {}, separated by commas", names().join(", ")),
            Self::Text(expected) => (*expected).to_owned(),
        }
    }

    /// Values as they may be given, where they can be listed: for machines.
    pub fn allowed(&self) -> Vec<String> {
        match self {
            Self::Flag => vec!["true".to_owned(), "false".to_owned()],
            Self::Name { names, .. } | Self::Names(names) => names(),
            Self::Number { .. } | Self::Seconds | Self::Text(_) => Vec::new(),
        }
    }

    /// The value as a number within the bounds; as seconds where those are taken.
    ///
    /// # Errors
    /// Any other value.
    pub fn number(&self, value: &str) -> Result<u64, Refusal> {
        let (number, bounds) = match self {
            Self::Number { least, most, .. } => (digits(value), *least..=*most),
            Self::Seconds => (seconds(value), 1..=u64::MAX),
            _ => return Err(Refusal::default()),
        };
        number
            .filter(|number| bounds.contains(number))
            .ok_or_else(Refusal::default)
    }

    /// The value as true or false.
    ///
    /// # Errors
    /// Any other value.
    pub fn flag(&self, value: &str) -> Result<bool, Refusal> {
        match value {
            "" | "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(Refusal::default()),
        }
    }
}

/// A parameter, and where its value goes.
#[derive(Debug)]
pub struct Row<T: 'static> {
    /// Its declaration.
    pub parameter: Parameter,
    set: fn(&mut T, &Takes, &str) -> Result<(), Refusal>,
}

impl<T> Row<T> {
    /// A row of a table.
    pub const fn new(parameter: Parameter, set: fn(&mut T, &Takes, &str) -> Result<(), Refusal>) -> Self {
        Self { parameter, set }
    }

    /// Puts a value into place.
    ///
    /// # Errors
    /// It is none that the parameter takes.
    pub fn set(&self, into: &mut T, value: &str) -> Result<(), Refusal> {
        (self.set)(into, &self.parameter.takes, value)
    }
}

/// The row of the parameter called `name`.
pub fn row<'a, T>(table: &'a [Row<T>], name: &str) -> Option<&'a Row<T>> {
    table.iter().find(|row| row.parameter.name == name)
}

/// Plain decimal digits only: `+5`, ` 5` and `5e3` are not what people mean.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// `30`, `30s`, `2m`, `1h 30m`.
fn seconds(text: &str) -> Option<u64> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let whole = |time: Duration| (time.subsec_nanos() == 0).then_some(time.as_secs());
    digits(text).or_else(|| humantime::parse_duration(text).ok().and_then(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_a_unit_or_none() {
        for (text, expected) in [
            ("30", Some(30)),
            ("30s", Some(30)),
            ("2m", Some(120)),
            ("1h 30m", Some(5400)),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for bad in ["", " 5", "+5", "-5", "1e3", "500ms", "1500ms", "soon", "٣", "0.5"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert!(Takes::Seconds.number("0").is_err());
    }

    #[test]
    fn a_parameter_has_one_value_and_two_words() {
        let parameter = Parameter {
            flag: "duration",
            ..Parameter::new("seconds", "TIME", Takes::Seconds, "")
        };
        assert!(parameter.is_called("seconds") && parameter.is_called("duration") && !parameter.is_called("d"));
    }
}
