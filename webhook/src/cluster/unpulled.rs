//! Which image of a sidecar the nodes could not pull lately, by namespace: it depends on the Secrets there.
//!
//! Must not know how that is found out, or what time it is. Filled by `sidecars`; read with the other facts of a namespace.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A failure counts for so long. The kubelet repeats itself at least every five minutes while a pod is held.
const COUNTS: Duration = Duration::from_secs(15 * 60);
/// Each takes some 200 bytes.
const MOST_NAMESPACES: usize = 10_000;

/// The last failure in each namespace, unless the image was pulled there since.
#[derive(Debug, Default)]
pub struct UnpulledImages(Mutex<BTreeMap<Box<str>, Failure>>);

#[derive(Debug)]
struct Failure {
    image: Box<str>,
    at: SystemTime,
}

impl UnpulledImages {
    /// A pod of the namespace could not have the image.
    pub fn failed(&self, namespace: &str, image: &str, at: SystemTime) {
        self.with(|all| {
            let is_newer = all.get(namespace).is_none_or(|known| known.at <= at);
            if is_newer && (all.contains_key(namespace) || all.len() < MOST_NAMESPACES) {
                let image = image.into();
                all.insert(namespace.into(), Failure { image, at });
            }
        });
    }

    /// A pod of the namespace has the image.
    pub fn pulled(&self, namespace: &str, image: &str, at: SystemTime) {
        self.with(|all| {
            if all
                .get(namespace)
                .is_some_and(|known| &*known.image == image && known.at <= at)
            {
                all.remove(namespace);
            }
        });
    }

    /// The image that a new pod of the namespace would wait for.
    pub fn of(&self, namespace: &str, now: SystemTime) -> Option<String> {
        self.with(|all| {
            let known = all.get(namespace)?;
            // A node's clock may be ahead of ours.
            let apart = now.duration_since(known.at).unwrap_or_else(|ahead| ahead.duration());
            (apart < COUNTS).then(|| known.image.clone().into_string())
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut BTreeMap<Box<str>, Failure>) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_in_its_namespace_until_the_image_is_there_or_time_has_passed() {
        let images = UnpulledImages::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let of = |seconds| images.of("shop", at(seconds));
        images.failed("shop", "sideflame:2", at(0));
        assert_eq!(of(1).as_deref(), Some("sideflame:2"));
        assert_eq!(images.of("bank", at(1)), None);
        assert_eq!(of(899).as_deref(), Some("sideflame:2"));
        assert_eq!(of(900), None, "tried again");
        images.failed("shop", "sideflame:2", at(600));
        // What is told late, as by a list, changes nothing.
        images.pulled("shop", "sideflame:2", at(599));
        images.failed("shop", "sideflame:1", at(10));
        images.pulled("shop", "sideflame:1", at(700));
        assert_eq!(of(900).as_deref(), Some("sideflame:2"));
        images.pulled("shop", "sideflame:2", at(701));
        assert_eq!(of(702), None);
        images.failed("shop", "sideflame:2", at(1000));
        assert!(of(999).is_some(), "the node's clock is ahead");
    }
}
