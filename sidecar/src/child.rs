//! Our own executable, started again as a child: one protocol for all roles.
//!
//! Whatever looks into a process, records it or parses what came from it does so in a child with the target's identity or with
//! none, because what is read there is hostile. What a child says is evidence, never authority: the server decides by its
//! own snapshot of `/proc` who a child becomes, and bounds what it hears, how long it waits, and the memory.
//!
//! A child finds a `channel` as its standard input, and there one [`ChildOrder`] with the files it is to read and write.
//! Messages of its role follow; stderr is for last words. The server's end is a `conversation`.
//!
//! To add a role: a variant of [`ChildOrder`] with its name, a file beside this one with the server's side (`impl
//! Children`) and the child's (`run`), and its arm in [`run`] below.
//!
//! Must not know HTTP, the store beyond [`Room`], nor what a runtime does. Called by `capture/` and, in the child, by
//! `cli/child`.

mod channel;
mod command;
mod compare;
mod conversation;
mod deadline;
mod ending;
mod executable;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod inspect;
mod introduce;
mod order;
mod port;
mod record;
mod render;
mod room;
#[cfg(test)]
mod script;
mod sweep;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use crate::confine;
use channel::Channel;

pub use command::Command;
pub use compare::{CompareOrder, Source};
pub use deadline::Timeouts;
pub use ending::ChildError;
pub use executable::Executable;
pub use inspect::{InspectError, Inspection, Inspector, Metered, Scrape};
pub use order::ChildOrder;
pub use port::Port;
pub use render::{RenderFailure, RenderOrder};
pub use room::Room;

/// Starts children: what they run, how long they may, and where runtimes connect that they are to talk to.
#[derive(Debug, Clone, Default)]
pub struct Children {
    executable: Executable,
    timeouts: Timeouts,
    port: Option<Arc<Port>>,
}

impl Children {
    /// Children that run `executable`.
    pub fn new(executable: Executable, timeouts: Timeouts) -> Self {
        Self {
            executable,
            timeouts,
            port: None,
        }
    }

    /// The same, which talk to the runtimes that connect to `port`, too.
    #[must_use]
    pub fn with_port(self, port: Option<Port>) -> Self {
        Self {
            port: port.map(Arc::new),
            ..self
        }
    }

    /// Where runtimes connect.
    pub fn port(&self) -> Option<&Port> {
        self.port.as_deref()
    }
}

/// What a child does, from its order to its exit code.
///
/// # Errors
/// It could not begin; stderr then tells the server.
pub fn run() -> Result<ExitCode, Box<dyn Error>> {
    confine::limit()?;
    let mut channel = Channel::of_stdin()?;
    match channel.receive()?.ok_or("there is no order")? {
        ChildOrder::Inspect(order) => inspect::look::run(order, channel),
        ChildOrder::Meter(order) => inspect::meter::run(order, channel),
        ChildOrder::Introduce => introduce::run(channel),
        ChildOrder::Record(order) => record::recorder::run(&order, channel),
        ChildOrder::Render(order) => render::renderer::run(*order, channel),
        ChildOrder::Compare(order) => compare::comparer::run(*order, channel),
        ChildOrder::Sweep(target) => sweep::run(&target),
    }
}
