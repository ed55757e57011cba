//! Recording, the server's side: starts a recorder, hears its reports, steers it, and cleans up after it. The child's side is
//! [`recorder`].

mod metered_file;
pub(super) mod recorder;
pub(super) mod report;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::AsFd;

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::conversation::Conversation;
use super::deadline::{Deadline, Stage};
use super::ending::{ChildError, Ending};
use super::order::ChildOrder;
use super::port::ServedLine;
use super::{Children, Command, Room};
use crate::profile::Quality;
use crate::runtime::{Caller, Phase, RecordError, RecordOrder, Target, Who};
use report::{Report, Word};

/// Room a recorder gets at a time: a question each 4 MiB costs nothing, and no capture holds more than that unused.
const STEP: u64 = 4 << 20;

/// Questions for more room after the store had none. One would do; a runtime may try again while it ends.
const MOST_REFUSALS: u32 = 16;

/// Bytes of reports beyond the questions for room, of which there is one each [`STEP`].
const REPORTS: usize = 256 << 10;

impl Children {
    /// Runs one recorder to its end; `room` grows with its recording.
    ///
    /// # Errors
    /// What the recorder reported; [`RecordError::Timeout`] if it was not done in time; how it died if it did without a
    /// word.
    pub async fn record(
        &self,
        order: &RecordOrder,
        output: File,
        room: &mut impl Room,
        mut commands: watch::Receiver<Command>,
        entered: impl FnMut(Phase),
    ) -> Result<Quality, RecordError> {
        if *commands.borrow() == Command::Cancel {
            return Err(RecordError::Cancelled);
        }
        let most = REPORTS + usize::try_from(order.room.max_bytes / STEP * 32).unwrap_or(REPORTS);
        let asked = ChildOrder::Record(Box::new(order.clone()));
        // Served until the recorder is gone.
        let line = match order.plan.caller() {
            Some(caller) => Some(self.line(caller)?),
            None => None,
        };
        let files: Vec<_> = [output.as_fd()]
            .into_iter()
            .chain(line.as_ref().map(AsFd::as_fd))
            .collect();
        let child = Conversation::start(&self.executable, &asked, &files, most)?;
        let mut recording = Recording {
            children: self,
            child,
            deadline: Deadline::new(order.seconds, &self.timeouts),
            output,
            room,
            entered,
            refusals: 0,
            given_up: None,
        };
        let outcome = recording.follow(order, &mut commands).await;
        let Recording {
            child,
            mut deadline,
            given_up,
            ..
        } = recording;
        deadline.clean_up(&self.timeouts);
        let ending = child.end(deadline.until(), self.timeouts.reap).await;
        if !ending.by_itself() || outcome.is_none() {
            self.sweep(&order.target).await;
        }
        conclude(outcome, given_up, &ending)
    }

    /// A line to a runtime, which is gone if there is none.
    fn line(&self, caller: &Caller) -> Result<ServedLine, RecordError> {
        let line = self.port().map(|port| port.line(caller)).transpose();
        let line = line.map_err(|error| RecordError::io("make a line to the runtime", &error))?;
        line.flatten().ok_or(RecordError::TargetExited)
    }
}

/// A recorder at work.
struct Recording<'a, R, F> {
    children: &'a Children,
    child: Conversation,
    deadline: Deadline,
    output: File,
    room: &'a mut R,
    entered: F,
    refusals: u32,
    /// Why we hung up.
    given_up: Option<RecordError>,
}

impl<R: Room, F: FnMut(Phase)> Recording<'_, R, F> {
    /// Until the recorder's last word, its end, or the end of its time.
    async fn follow(
        &mut self,
        order: &RecordOrder,
        commands: &mut watch::Receiver<Command>,
    ) -> Option<Result<Quality, RecordError>> {
        let mut told = Command::Continue;
        loop {
            tokio::select! {
                report = self.child.next() => match report {
                    Ok(None) => return None,
                    Ok(Some(Report::Phase(phase))) => (self.entered)(phase),
                    Ok(Some(Report::NeedsRoom)) => self.give_room(),
                    Ok(Some(Report::Done(quality))) => return Some(Ok(whose(*quality, &order.target))),
                    Ok(Some(Report::Failed(error))) => return Some(Err(error)),
                    Err(error) => {
                        self.give_up(error.into());
                        return None;
                    }
                },
                Some(command) = raised(commands, told) => {
                    told = command;
                    match command {
                        Command::Continue => {}
                        Command::Stop => {
                            self.child.say(&Word::Stop);
                            self.deadline.stop(&self.children.timeouts);
                        }
                        Command::Cancel => self.give_up(RecordError::Cancelled),
                    }
                }
                () = sleep_until(self.deadline.until()) => {
                    if self.deadline.stage() == Stage::CleanUp {
                        return None;
                    }
                    tracing::warn!("the recorder is far over its time; cancelling it");
                    let seconds = order.seconds + self.children.timeouts.grace.as_secs();
                    self.give_up(RecordError::Timeout { step: "the capture".to_owned(), seconds });
                }
            }
        }
    }

    /// More room for a recording that fills what it has. A recorder that was taken over gets none for nothing.
    fn give_room(&mut self) {
        let length = self.output.metadata().map_or(u64::MAX, |file| file.len());
        if length < self.room.bytes() || self.refusals == MOST_REFUSALS {
            let error = ChildError::Protocol {
                role: "recorder",
                detail: "it asks for room that it does not use".to_owned(),
            };
            return self.give_up(error.into());
        }
        if !self.room.grow(STEP) {
            self.refusals += 1;
        }
        self.child.say(&Word::Room(self.room.bytes()));
    }

    /// Lets the recorder clean up. The first reason stays.
    fn give_up(&mut self, why: RecordError) {
        self.child.hang_up();
        self.deadline.clean_up(&self.children.timeouts);
        self.given_up.get_or_insert(why);
    }
}

/// The next command higher than `told`; `None` if there will be none.
async fn raised(commands: &mut watch::Receiver<Command>, told: Command) -> Option<Command> {
    Some(*commands.wait_for(|command| *command > told).await.ok()?)
}

/// The stamp with the name of who was recorded: a recorder that was taken over must not pass its target off as another.
fn whose(quality: Quality, target: &Target) -> Quality {
    let Who {
        pid,
        name,
        pod,
        container,
        ..
    } = target.into();
    Quality {
        // A server that was named by its URL has none that we know.
        pid: (pid > 0).then_some(pid),
        process: Some(name),
        pod,
        container,
        ..quality
    }
}

/// What is to be said of the capture.
fn conclude(
    outcome: Option<Result<Quality, RecordError>>,
    given_up: Option<RecordError>,
    ending: &Ending,
) -> Result<Quality, RecordError> {
    match (outcome, given_up) {
        // It cannot know why we hung up.
        (Some(Err(RecordError::Cancelled)) | None, Some(why)) => Err(why),
        (Some(outcome), _) => outcome,
        (None, None) => Err(ending.error("recorder").into()),
    }
}

impl From<ChildError> for RecordError {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::OutOfMemory { .. } => Self::OutOfMemory,
            ChildError::Killed { .. } => Self::Killed,
            error => Self::Internal {
                step: "record".to_owned(),
                detail: error.to_string(),
            },
        }
    }
}
