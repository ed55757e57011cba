//! At most one Event a minute for an owner and reason: a rollout of a thousand pods is one sentence, not a thousand.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Notice;

const PAUSE: Duration = Duration::from_secs(60);
/// Owners remembered. Beyond this, new ones within the minute are dropped.
const MOST_OWNERS: usize = 2048;

/// When an Event was written on which owner, by its uid and reason.
#[derive(Debug, Default)]
pub(super) struct Pace {
    written: HashMap<(String, bool), Instant>,
}

/// What to do with a notice.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Write,
    /// The owner has the same Event from the minute before.
    Skip,
    /// The table is full: it cannot be said whether the owner has it.
    Drop,
}

impl Pace {
    pub(super) fn admit(&mut self, notice: &Notice, now: Instant) -> Action {
        let key = (notice.owner.uid.clone(), notice.injected);
        if self.written.get(&key).is_some_and(|at| now.duration_since(*at) < PAUSE) {
            return Action::Skip;
        }
        if self.written.len() >= MOST_OWNERS {
            self.written.retain(|_, at| now.duration_since(*at) < PAUSE);
            if self.written.len() >= MOST_OWNERS {
                return Action::Drop;
            }
        }
        self.written.insert(key, now);
        Action::Write
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn notice(uid: usize, injected: bool) -> Notice {
        let pod = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "X", "name": "a", "uid": uid.to_string(), "controller": true}]}});
        Notice::about(&pod, "shop", injected, "x", [].iter()).unwrap()
    }

    #[test]
    fn an_owner_gets_the_same_event_once_a_minute() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.admit(&notice(1, true), now), Action::Write);
        assert_eq!(pace.admit(&notice(1, true), now + PAUSE / 2), Action::Skip);
        assert_eq!(pace.admit(&notice(1, false), now), Action::Write, "another reason");
        assert_eq!(pace.admit(&notice(2, true), now), Action::Write, "another owner");
        assert_eq!(
            pace.admit(&notice(1, true), now + PAUSE),
            Action::Write,
            "a minute later"
        );
    }

    #[test]
    fn the_table_is_bounded_and_empties_itself() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for uid in 0..MOST_OWNERS {
            assert_eq!(pace.admit(&notice(uid, true), now), Action::Write);
        }
        assert_eq!(pace.admit(&notice(MOST_OWNERS, true), now), Action::Drop);
        assert_eq!(pace.admit(&notice(MOST_OWNERS, true), now + PAUSE), Action::Write);
        assert_eq!(pace.written.len(), 1);
    }
}
