//! At most one Event a minute for an owner and reason: a rollout of a thousand pods is one sentence, not a thousand.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Notice;

const PAUSE: Duration = Duration::from_secs(60);
/// Owners remembered. Beyond this, new ones within the minute are dropped.
const MOST_OWNERS: usize = 2048;

/// When which owner was told what.
#[derive(Debug, Default)]
pub(super) struct Pace {
    told: HashMap<(String, bool), Instant>,
}

/// What to do with a notice.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Write,
    /// The owner knows.
    Repeated,
    /// Nobody can say whether the owner knows.
    TableFull,
}

impl Pace {
    pub(super) fn admit(&mut self, notice: &Notice, now: Instant) -> Verdict {
        let key = (notice.owner.uid.clone(), notice.injected);
        if self
            .told
            .get(&key)
            .is_some_and(|told| now.duration_since(*told) < PAUSE)
        {
            return Verdict::Repeated;
        }
        if self.told.len() >= MOST_OWNERS {
            self.told.retain(|_, told| now.duration_since(*told) < PAUSE);
            if self.told.len() >= MOST_OWNERS {
                return Verdict::TableFull;
            }
        }
        self.told.insert(key, now);
        Verdict::Write
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
    fn an_owner_hears_the_same_once_a_minute() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.admit(&notice(1, true), now), Verdict::Write);
        assert_eq!(pace.admit(&notice(1, true), now + PAUSE / 2), Verdict::Repeated);
        assert_eq!(pace.admit(&notice(1, false), now), Verdict::Write, "another reason");
        assert_eq!(pace.admit(&notice(2, true), now), Verdict::Write, "another owner");
        assert_eq!(
            pace.admit(&notice(1, true), now + PAUSE),
            Verdict::Write,
            "a minute later"
        );
    }

    #[test]
    fn the_table_is_bounded_and_empties_itself() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for uid in 0..MOST_OWNERS {
            assert_eq!(pace.admit(&notice(uid, true), now), Verdict::Write);
        }
        assert_eq!(pace.admit(&notice(MOST_OWNERS, true), now), Verdict::TableFull);
        assert_eq!(pace.admit(&notice(MOST_OWNERS, true), now + PAUSE), Verdict::Write);
        assert_eq!(pace.told.len(), 1);
    }
}
