//! The declared parameters as flags of a command. Knows none of them.

use clap::builder::ValueParser;
use clap::error::Error;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::output;
use crate::capture::CaptureRequest;
use crate::capture::request::RequestError;
use crate::capture::selector::Selector;
use crate::capture::views;
use crate::parameter::{Parameter, Takes};
use crate::profile::View;
use crate::runtime::Runtime;

/// Flags for every parameter of a capture.
#[derive(Debug)]
pub struct CaptureFlags(Vec<(String, String)>);

impl CaptureFlags {
    /// The capture they ask for; an artifact without a format has that of `file`, if its name tells one.
    ///
    /// # Errors
    /// Parameters that exclude each other, or more seconds than `max_seconds`.
    pub fn request(self, max_seconds: u64, file: Option<&std::path::Path>) -> Result<CaptureRequest, RequestError> {
        let request = CaptureRequest::parse(&self.0, max_seconds)?;
        Ok(CaptureRequest {
            format: request.format.or_else(|| output::format_of(file?)),
            selector: request.selector.with_name_or_pid(),
            ..request
        })
    }
}

/// Flags that choose processes.
#[derive(Debug)]
pub struct SelectorFlags(Vec<(String, String)>);

impl SelectorFlags {
    /// Which processes they choose.
    ///
    /// # Errors
    /// Parameters that exclude each other.
    pub fn selector(self) -> Result<Selector, RequestError> {
        Ok(Selector::parse(&self.0)?.with_name_or_pid())
    }
}

/// Flags that choose what of a recording is shown.
#[derive(Debug)]
pub struct ViewFlags(Vec<(String, String)>);

impl ViewFlags {
    /// What they choose.
    ///
    /// # Errors
    /// Parameters that exclude each other.
    pub fn view(self) -> Result<View, RequestError> {
        views::parse(&self.0)
    }
}

impl Args for ViewFlags {
    fn augment_args(command: Command) -> Command {
        command.args(views::parameters().map(|parameter| argument(&[], parameter)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ViewFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(
            views::parameters()
                .flat_map(|parameter| given(matches, parameter))
                .collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for CaptureFlags {
    fn augment_args(command: Command) -> Command {
        command.args(CaptureRequest::parameters().map(|(of, parameter)| argument(of, parameter)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Args for SelectorFlags {
    fn augment_args(command: Command) -> Command {
        command.args(Selector::parameters().map(|parameter| argument(&[], parameter)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for CaptureFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let parameters = CaptureRequest::parameters().map(|(_, parameter)| parameter);
        Ok(Self(
            parameters.flat_map(|parameter| given(matches, parameter)).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FromArgMatches for SelectorFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(
            Selector::parameters()
                .flat_map(|parameter| given(matches, parameter))
                .collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(of: &[Runtime], parameter: &'static Parameter) -> Arg {
    let repeatable = if parameter.repeatable { ", repeatable" } else { "" };
    let of = Runtime::labels(of).map_or_else(String::new, |labels| format!(" ({labels})"));
    let argument = Arg::new(parameter.name).help(format!("{}{repeatable}{of}", parameter.describe()));
    let argument = match parameter.takes {
        Takes::Flag => argument.action(ArgAction::SetTrue),
        _ => argument
            .action(if parameter.repeatable {
                ArgAction::Append
            } else {
                ArgAction::Set
            })
            .value_name(parameter.placeholder)
            .value_parser(ValueParser::new(|text: &str| check(parameter, text)))
            .default_value(parameter.default),
    };
    let argument = match parameter.positional {
        true => argument,
        false => argument.long(parameter.flag).short(parameter.short),
    };
    let argument = match parameter.flag == parameter.name {
        true => argument,
        false => argument.visible_alias(parameter.name),
    };
    argument.env(parameter.variable)
}

/// The value as it is, if the parameter takes it.
fn check(parameter: &Parameter, text: &str) -> Result<String, String> {
    match CaptureRequest::default().set(parameter.name, text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) if parameter.name == "format" && output::is_file_name(text) => Err(output::not_a_format(text)),
        Err(refusal) => Err(refusal.because.unwrap_or_else(|| parameter.takes.expected())),
    }
}

/// What was said, not what is meant by saying nothing.
fn given(matches: &ArgMatches, parameter: &'static Parameter) -> Vec<(String, String)> {
    let name = parameter.name;
    let said = matches
        .value_source(name)
        .is_some_and(|source| source != ValueSource::DefaultValue);
    if !said {
        return Vec::new();
    }
    let pair = |value: &str| (name.to_owned(), value.to_owned());
    match parameter.takes {
        Takes::Flag => vec![pair("true")],
        _ => {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            values.map(|value| pair(value)).collect()
        }
    }
}
