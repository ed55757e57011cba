//! How authorities follow each other, and what that means for Secret, caBundle and leaf: from values alone, without a
//! clock, a client or chance.
//!
//! Called by `keeper`, round after round. Every rule is tested here or, with several replicas, in `tests`.

use super::Lifetimes;
use super::bundle::Bundles;
use super::ca::{AuthorityError, Ca, Leaf};
use super::content::{Content, Previous};

/// The Secret as it was read.
#[derive(Debug)]
pub(super) enum Secret {
    /// There is none.
    Absent,
    /// It is ours to repair; with the reason.
    Unusable(String),
    /// Good.
    Held(Content),
}

/// What a replica remembers between rounds.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The last good content.
    pub(super) content: Option<Content>,
    /// The certificate we serve.
    pub(super) leaf: Option<Leaf>,
    /// Since when every caBundle has had the next authority, seen by us.
    pub(super) announced: Option<i64>,
    /// Since when there has been no usable Secret, seen by us.
    pub(super) missing: Option<i64>,
}

/// How the Secret must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A first authority, or one in place of what cannot be used.
    Found,
    /// What we remember, where it was lost: nothing else needs to change then.
    Restore,
    /// The authority after this one.
    AddNext,
    /// The next one issues from now on.
    Promote,
    /// The next one can never be used.
    DropNext,
    /// No leaf of the previous one can be left.
    DropPrevious,
}

impl Change {
    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::Found => "made a new authority",
            Self::Restore => "restored the authority that was lost",
            Self::AddNext => "added the next authority: leaves will come from it when every caBundle has it",
            Self::Promote => "the next authority issues from now on",
            Self::DropNext => "removed a next authority that cannot be used",
            Self::DropPrevious => "removed the previous authority: no certificate of it is left",
        }
    }
}

/// How the Secret must change now, if at all.
pub(super) fn change(
    secret: &Secret,
    memory: &Memory,
    bundles: &Bundles,
    lives: &Lifetimes,
    now: i64,
) -> Option<Change> {
    let remembered = memory.content.as_ref().filter(|content| content.current.is_valid(now));
    let content = match secret {
        Secret::Held(content) => content,
        Secret::Absent | Secret::Unusable(_) if remembered.is_some() => return Some(Change::Restore),
        Secret::Absent | Secret::Unusable(_) => {
            // A replica that remembers the authority restores it within an interval; then nothing else must change.
            let waited = memory
                .missing
                .is_some_and(|since| now.abs_diff(since) > lives.interval.unsigned_abs());
            return (waited || !bundles.is_claimed()).then_some(Change::Found);
        }
    };
    let next_valid = content.next.as_ref().is_some_and(|next| next.is_valid(now));
    if !content.current.is_valid(now) {
        return Some(if next_valid { Change::Promote } else { Change::Found });
    }
    if content.previous.as_ref().is_some_and(|previous| now >= previous.until) {
        return Some(Change::DropPrevious);
    }
    if content.next.is_some() {
        let settled = memory
            .announced
            .is_some_and(|since| now.saturating_sub(since) >= 2 * lives.interval);
        return match next_valid {
            false => Some(Change::DropNext),
            true => settled.then_some(Change::Promote),
        };
    }
    (content.previous.is_none() && now >= content.current.renewal()).then_some(Change::AddNext)
}

/// The content after `change`; `None` if there is nothing it could be made to.
pub(super) fn apply(
    change: Change,
    held: Option<&Content>,
    memory: &Memory,
    lives: &Lifetimes,
    now: i64,
) -> Result<Option<Content>, AuthorityError> {
    let generate = || Ca::generate(now, lives.authority);
    let held = held.cloned();
    Ok(match change {
        Change::Found => Some(Content::of(generate()?)),
        Change::Restore => memory.content.clone(),
        Change::AddNext => match held {
            Some(content) => Some(Content {
                next: Some(generate()?),
                ..content
            }),
            None => None,
        },
        Change::Promote => held.and_then(|content| {
            let previous = Previous {
                // One more round: a replica may issue from the old one until it reads of this.
                until: now
                    .saturating_add(lives.leaf)
                    .saturating_add(2 * lives.interval)
                    .min(content.current.not_after),
                certificate: content.current.certificate,
            };
            Some(Content {
                current: content.next?,
                next: None,
                previous: Some(previous),
            })
        }),
        Change::DropNext => held.map(|content| Content { next: None, ..content }),
        Change::DropPrevious => held.map(|content| Content {
            previous: None,
            ..content
        }),
    })
}

/// Whether a new leaf is due from the current authority.
pub(super) fn needs_leaf(content: &Content, leaf: Option<&Leaf>, bundles: &Bundles, now: i64) -> bool {
    let Some(leaf) = leaf else {
        return true;
    };
    let certificate = &leaf.certificate;
    if now < certificate.not_before || now >= certificate.not_after {
        return true;
    }
    if leaf.issuer != content.current.certificate {
        // Not before the API server trusts the new one, unless it no longer trusts the old one anyway.
        return bundles.trust(&content.current.certificate).is_ok() || bundles.trust(&leaf.issuer).is_err();
    }
    // A leaf that ends with its authority cannot be made any longer.
    let longer = certificate.not_after < content.current.not_after;
    longer && now >= Lifetimes::renewal(leaf.issued, certificate.not_after)
}

/// Whether the API server would accept our leaf at `now`.
pub(super) fn readiness(leaf: Option<&Leaf>, bundles: &Bundles, now: i64) -> Result<(), String> {
    let leaf = leaf.ok_or("there is no serving certificate yet")?;
    if now >= leaf.certificate.not_after {
        return Err("the serving certificate has ended".to_owned());
    }
    bundles.trust(&leaf.issuer)
}
