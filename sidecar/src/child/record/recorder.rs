//! Recording, the child's side: becomes the target's twin, and has its runtime record into the attached file.
//!
//! Exit code 0 exactly when the last report is `done`. Must not know what a runtime does. Called by [`crate::child::run`].

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{SigSet, Signal};

use super::metered_file::MeteredFile;
use super::report::{Report, Word};
use crate::child::channel::Channel;
use crate::confine;
use crate::process::{ProcessId, ProcessTable};
use crate::runtime::{self, Control, Interruption, Line, Opened, RecordOrder, Reporter};

/// Records as ordered.
///
/// # Errors
/// The identity could not be taken on, or the channel is broken; stderr then tells the server.
pub(in crate::child) fn run(order: &RecordOrder, mut channel: Channel) -> Result<ExitCode, Box<dyn Error>> {
    let recording = channel.file()?;
    let table = ProcessTable::default();
    let opened = Opened::open(order, &table);
    let line = order.plan.caller().map(|_| channel.file()).transpose()?;
    let line = line.map(|line| Line::new(line.into())).transpose()?;
    confine::limit_files(order.room.max_bytes)?;
    if order.plan.needs_network() {
        confine::enter_network(&table, order.target.id())?;
    }
    if order.plan.is_of_a_server() {
        // What it reads comes from another machine.
        confine::drop_rights()?;
    } else {
        confine::become_target(order.target.process.credentials)?;
    }

    let (control, grants) = listen(channel.try_clone()?, table, order.target.id())?;
    let mut phases = channel.try_clone()?;
    // A server that is gone cannot be told: its end of the channel is closed, which ends us.
    let mut reporter = Reporter::new(move |phase| _ = phases.send(&Report::Phase(phase)));
    let mut questions = channel.try_clone()?;
    let ask = move || _ = questions.send(&Report::NeedsRoom);
    let mut output = MeteredFile::new(recording, order.room.granted_bytes, grants, ask);
    match runtime::record(order, opened, line.as_ref(), &mut output, &control, &mut reporter) {
        Ok(quality) => {
            channel.send(&Report::Done(Box::new(quality)))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            channel.send(&Report::Failed(error))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Listens to the server and to signals, of which SIGTERM, SIGINT and SIGHUP mean cancel; the receiver gets the room that is
/// granted. A dead server hangs up, so a recorder never outlives one for long.
///
/// Call before any other thread exists: it blocks the signals for all of them.
fn listen(mut words: Channel, table: ProcessTable, target: ProcessId) -> io::Result<(Control, Receiver<u64>)> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let (control, sender) = Control::channel(table, target);
    let (grant, grants) = channel();
    let by_signal = sender.clone();
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            if by_signal.send(Interruption::Cancel).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok(Some(word)) = words.receive() {
            match word {
                Word::Room(bytes) => _ = grant.send(bytes),
                Word::Stop => _ = sender.send(Interruption::Stop),
            }
        }
        let _ = sender.send(Interruption::Cancel);
    });
    Ok((control, grants))
}
