//! Inspection of runtimes that connect to our port: rows for those that `/proc` does not show, and the way to those in which nothing
//! else is within reach.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::{Inspection, Inspector, SPOILED};
use crate::child::Port;
use crate::child::ending::ChildError;
use crate::child::port::Known;
use crate::process::Process;
use crate::runtime::{self, Availability, Introduction, Reason, Runtime, Verdict};

/// How long the words of a runtime are good for that had not found its main: soon it has a better name.
const NEW: Duration = Duration::from_secs(2);

/// For all that are to be asked: an app can call as many runtimes that do not answer, and they shall not keep the list from coming.
const ALL: Duration = Duration::from_secs(10);

impl Inspector {
    /// Adds to `inspections`, by pid, the `wanted` processes that only the port shows, and replaces what is said of those that only
    /// the port reaches.
    pub(super) async fn add_callers(&self, inspections: &mut Vec<Inspection>, wanted: impl Fn(i32) -> bool) {
        let Some(port) = self.children.port() else { return };
        let known = port.known();
        for inspection in inspections.iter_mut() {
            let is_known = |known: &Known| known.id == inspection.target.id();
            if inspection.target.runtime() == Runtime::Dotnet && !known.iter().any(is_known) {
                advise(&mut inspection.verdicts, port);
            }
        }
        let seen = |known: &Known| inspections.iter().find(|inspection| inspection.target.id() == known.id);
        let asked = known
            .into_iter()
            .filter(|known| wanted(known.id.pid))
            .filter_map(|known| {
                let row = match seen(&known) {
                    Some(seen) if !runtime::needs_port(&seen.verdicts) => return None,
                    Some(seen) => seen.target.process.clone(),
                    None if known.id.is_outside() => Process::outside(known.id, known.caller.uid, known.caller.gid),
                    // It came after the look at the others, or went.
                    None => return None,
                };
                Some((known, row))
            });
        let deadline = Instant::now() + ALL;
        let asked = asked.map(|(known, row)| async move {
            let said = timeout_at(deadline, self.introduction(port, &known)).await;
            let said = said.unwrap_or_else(|_| Err("others that did not answer took all the time".to_owned()));
            let (target, verdicts) = runtime::by_port(row, &known.caller, said);
            Inspection {
                target,
                verdicts: verdicts.into(),
            }
        });
        let mut reached = join_all(asked.collect::<Vec<_>>()).await;
        // Of two in one process, which became another program, the newest counts.
        reached.reverse();
        inspections.retain(|one| !reached.iter().any(|other| other.target.id() == one.target.id()));
        inspections.extend(reached);
        inspections.sort_by_key(|inspection| inspection.target.id());
        inspections.dedup_by_key(|inspection| inspection.target.id());
    }

    /// What the runtime says of itself; it is asked once, or again after a while if that was too early or without an answer.
    async fn introduction(&self, port: &Port, known: &Known) -> Result<Introduction, String> {
        if let Some((asked, said)) = &known.said {
            let good_for = match said {
                Ok(said) => said.is_early.then_some(NEW),
                Err(_) => Some(SPOILED),
            };
            if good_for.is_none_or(|time| asked.elapsed() < time) {
                return said.clone();
            }
        }
        // An error would mean that the semaphore was closed, which nothing does.
        let _permit = self.permits.acquire().await;
        let asked = async {
            let failed = |detail: String| ChildError::Failed {
                role: "introducer",
                detail,
            };
            let line = port.line(&known.caller).map_err(|error| failed(error.to_string()))?;
            let line = line.ok_or_else(|| failed("it is gone".to_owned()))?;
            self.children.introduce(&line).await
        };
        let said = asked.await.map_err(|error| {
            tracing::warn!(%error, pid = known.id.pid, "a runtime does not introduce itself");
            error.to_string()
        });
        port.remember(&known.caller, (Instant::now(), said.clone()));
        said
    }
}

/// Says in each reason for which nothing works that the port would do.
fn advise(verdicts: &mut Arc<[Verdict]>, port: &Port) {
    if !runtime::needs_port(verdicts) {
        return;
    }
    let more = format!(
        "; or restart it with DOTNET_DiagnosticPorts={},connect,nosuspend, by which .NET 5 and later connect to sideflame: it is not connected",
        port.path().display()
    );
    let impossible = |verdict: &&mut Verdict| verdict.availability == Availability::Impossible;
    for verdict in Arc::make_mut(verdicts).iter_mut().filter(impossible) {
        verdict
            .reason
            .iter_mut()
            .for_each(|Reason { remedy, .. }| remedy.push_str(&more));
    }
}
