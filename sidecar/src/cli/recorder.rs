//! `sideflame recorder` (hidden): the child that records one capture.
//!
//! stdin: a [`RecordOrder`] as one line of JSON, then orders ([`Control`]); stdout: the recording; stderr: reports
//! ([`crate::runtime::report`]). Exit code 0 exactly when the last report is `done`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::ExitCode;

use crate::confine;
use crate::process::ProcessTable;
use crate::runtime::{self, Control, MeteredFile, RecordOrder, Report, Reporter};

/// Runs the command.
///
/// # Errors
/// The order is unreadable or the identity could not be taken on; stderr then tells the server.
pub fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut orders = BufReader::new(File::from(std::io::stdin().as_fd().try_clone_to_owned()?));
    let mut line = String::new();
    orders.read_line(&mut line)?;
    let order: RecordOrder = serde_json::from_str(&line)?;
    // Opened as ourselves: the target's user may have no right to read our copy.
    let own_file = order.plan.own_file().and_then(|path| File::open(path).ok());
    confine::limit(Some(order.max_bytes()))?;
    let table = ProcessTable::default();
    if order.plan.needs_network() {
        confine::enter_network(&table, order.target.id())?;
    }
    confine::become_target(order.target.process.credentials)?;

    let (control, grants) = Control::listen(orders, table, order.target.id())?;
    let mut reporter = Reporter::new(Box::new(std::io::stderr()));
    let mut output = MeteredFile::new(
        File::from(std::io::stdout().as_fd().try_clone_to_owned()?),
        order.granted_bytes(),
        grants,
        Reporter::new(Box::new(std::io::stderr())),
    );
    match runtime::record(&order, own_file, &mut output, &control, &mut reporter) {
        Ok(quality) => {
            reporter.send(&Report::Done(Box::new(quality)));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            reporter.send(&Report::Failed(error));
            Ok(ExitCode::FAILURE)
        }
    }
}
