//! At most one Event a minute for an owner and reason: a rollout of a thousand pods is one sentence, not a thousand. And so many
//! a minute for a namespace, as owners can be made up.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Notice;

const PAUSE: Duration = Duration::from_secs(60);
/// Owners remembered. Beyond this, new ones within the minute are dropped.
const MOST_OWNERS: usize = 2048;

/// Of one namespace within the minute.
const MOST_OF_NAMESPACE: usize = 30;

/// When an Event was written on which owner, by its uid and reason.
#[derive(Debug, Default)]
pub(super) struct Pace {
    written: HashMap<(String, bool), Written>,
}

#[derive(Debug)]
struct Written {
    at: Instant,
    namespace: String,
}

/// What to do with a notice.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Write,
    /// The owner has the same Event from the minute before.
    Skip,
    /// The table is full, so that it cannot be said whether the owner has it; or its namespace has enough.
    Drop,
}

impl Pace {
    pub(super) fn admit(&mut self, notice: &Notice, now: Instant) -> Action {
        let key = (notice.owner.uid.clone(), notice.injected);
        let is_recent = |written: &Written| now.duration_since(written.at) < PAUSE;
        if self.written.get(&key).is_some_and(is_recent) {
            return Action::Skip;
        }
        let of_namespace = self
            .written
            .values()
            .filter(|written| written.namespace == notice.namespace);
        if of_namespace.filter(|written| is_recent(written)).count() >= MOST_OF_NAMESPACE {
            return Action::Drop;
        }
        if self.written.len() >= MOST_OWNERS {
            self.written.retain(|_, written| is_recent(written));
            if self.written.len() >= MOST_OWNERS {
                return Action::Drop;
            }
        }
        let written = Written {
            at: now,
            namespace: notice.namespace.clone(),
        };
        self.written.insert(key, written);
        Action::Write
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::SkipReason;
    use crate::outcome::Outcome;
    use serde_json::json;

    fn notice(uid: usize, injected: bool) -> Notice {
        notice_in(&format!("shop-{}", uid / MOST_OF_NAMESPACE), uid, injected)
    }

    fn notice_in(namespace: &str, uid: usize, injected: bool) -> Notice {
        let pod = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "X", "name": "a", "uid": uid.to_string(), "controller": true}]}});
        let outcome = if injected {
            Outcome::Injected
        } else {
            Outcome::Skipped(SkipReason::Windows)
        };
        Notice::about(&pod, namespace, outcome, 0).unwrap()
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

    #[test]
    fn a_namespace_gets_so_many_a_minute_and_another_its_own() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for uid in 0..MOST_OF_NAMESPACE {
            assert_eq!(pace.admit(&notice_in("a", uid, true), now), Action::Write);
        }
        assert_eq!(pace.admit(&notice_in("a", 1000, true), now), Action::Drop);
        assert_eq!(pace.admit(&notice_in("b", 1001, true), now), Action::Write);
        assert_eq!(pace.admit(&notice_in("a", 1000, true), now + PAUSE), Action::Write);
    }
}
