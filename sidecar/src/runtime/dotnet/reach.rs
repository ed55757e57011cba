//! A runtime within reach of a recorder: its process and files as far as they are seen, and a client of it.
//!
//! Called by every recorder of a .NET process, first.

use super::client::DiagnosticsClient;
use super::line::Line;
use super::startup;
use super::way::Way;
use crate::process::{Process, TargetRoot};
use crate::runtime::{Control, RecordError, RecordOrder, no_access, stopped};

/// What is known of the target now.
#[derive(Debug)]
pub(super) struct Reach<'a> {
    /// Its row of `/proc`; none of one that only the port shows.
    pub(super) process: Option<Process>,
    /// Its files, where the way leads through them.
    pub(super) root: Option<TargetRoot>,
    way: &'a Way,
    line: Option<&'a Line>,
}

impl<'a> Reach<'a> {
    /// The target of `order`, if its runtime can answer.
    ///
    /// # Errors
    /// It has ended, is stopped or paused, or its files are out of reach.
    pub(super) fn of(
        order: &RecordOrder,
        way: &'a Way,
        line: Option<&'a Line>,
        control: &Control,
    ) -> Result<Self, RecordError> {
        let id = order.target.id();
        // What has its pid where we are would be another process.
        let process = match id.is_outside() {
            true => None,
            false => Some(control.table().find(id).ok_or(RecordError::TargetExited)?),
        };
        if process.as_ref().is_some_and(Process::is_stopped) {
            return Err(RecordError::Impossible(stopped()));
        }
        if let Some(paused) = process
            .as_ref()
            .and_then(|process| startup::paused(control.table(), process))
        {
            return Err(RecordError::Impossible(paused));
        }
        let root = match way {
            Way::Socket(_) => Some(open(order, control)?),
            Way::Port(_) => None,
        };
        Ok(Self {
            process,
            root,
            way,
            line,
        })
    }

    /// A client of its runtime.
    ///
    /// # Errors
    /// The server sent no line.
    pub(super) fn client(&self) -> Result<DiagnosticsClient<'_>, RecordError> {
        match (self.way, &self.root, self.line) {
            (Way::Socket(socket), Some(root), _) => Ok(DiagnosticsClient::new(root, socket)),
            (_, _, Some(line)) => Ok(DiagnosticsClient::by_line(line)),
            _ => Err(RecordError::Internal {
                step: "reach the runtime".to_owned(),
                detail: "no line came with the order".to_owned(),
            }),
        }
    }
}

fn open(order: &RecordOrder, control: &Control) -> Result<TargetRoot, RecordError> {
    TargetRoot::open(control.table(), order.target.id()).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ESRCH | nix::libc::ENOENT) => RecordError::TargetExited,
        _ => RecordError::Impossible(no_access(&order.target)),
    })
}
