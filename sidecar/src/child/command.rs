//! What a running capture can be told.

use tokio::sync::watch;

/// Ordered: a capture that was cancelled can no longer be stopped, and nothing makes it continue.
///
/// Travels by a [`watch`] channel, which holds the newest value and has no capacity to run out of: a cancel cannot be lost
/// behind other commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// Go on to the end.
    #[default]
    Continue,
    /// End early, keep what there is.
    Stop,
    /// End now, keep nothing.
    Cancel,
}

impl Command {
    /// Raises what `channel` says to this command; a lower one changes nothing.
    pub fn raise(self, channel: &watch::Sender<Self>) {
        channel.send_if_modified(|now| {
            let higher = self > *now;
            *now = self.max(*now);
            higher
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_is_never_lost_and_never_taken_back() {
        let (channel, heard) = watch::channel(Command::default());
        for _ in 0..100 {
            Command::Stop.raise(&channel);
        }
        assert_eq!(*heard.borrow(), Command::Stop);
        Command::Cancel.raise(&channel);
        for command in [Command::Stop, Command::Continue] {
            command.raise(&channel);
        }
        assert_eq!(*heard.borrow(), Command::Cancel);
    }
}
