//! Which pods have another sidecar than they would get now.
//!
//! Must not know how that is found out. The one part of the page whose labels come from the cluster, so it is capped. All
//! sums are kept when something changes, as the page is written by the thread that answers reviews. Filled by `sidecars`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Counter;
use super::page::Page;

/// Rows on the page: pods to restart. Who has more restarts whole namespaces, for which the sums are enough.
const MOST_ROWS: usize = 500;
/// Versions on the page. Anyone who may create a pod may write such a label.
const MOST_VERSIONS: usize = 20;
/// Pods kept. With names of 60 characters, that many take 12 to 14 MiB, twice while a list replaces another.
const MOST_PODS: usize = 100_000;
/// The version of rows beyond [`MOST_VERSIONS`]; no label can have this value.
const OTHERS: &str = "(others)";

/// What the watch knows.
#[derive(Debug, Default)]
pub struct Sidecars {
    /// `None` before the first complete list.
    seen: Mutex<Option<SidecarsSeen>>,
    /// Lists and watches that failed.
    pub failures: Counter,
}

/// Pods by `namespace/name`.
#[derive(Debug, Default)]
pub struct SidecarsSeen {
    current: BTreeSet<Box<str>>,
    /// With the version they have. Sorted, so that all replicas cut the same rows.
    outdated: BTreeMap<Box<str>, Box<str>>,
    /// How many of `outdated` have a version.
    versions: BTreeMap<Box<str>, usize>,
    /// A pod was not kept.
    full: bool,
}

impl SidecarsSeen {
    /// Takes a pod; `outdated` is its version unless that is what it would get now.
    pub fn put(&mut self, pod: Box<str>, outdated: Option<Box<str>>) {
        self.remove(&pod);
        if self.current.len() + self.outdated.len() >= MOST_PODS {
            self.full = true;
            return;
        }
        match outdated {
            None => drop(self.current.insert(pod)),
            Some(version) => {
                *self.versions.entry(version.clone()).or_default() += 1;
                self.outdated.insert(pod, version);
            }
        }
    }

    /// Forgets a pod.
    pub fn remove(&mut self, pod: &str) {
        self.current.remove(pod);
        let Some(version) = self.outdated.remove(pod) else {
            return;
        };
        if let Some(count) = self.versions.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                self.versions.remove(&version);
            }
        }
    }

    fn write(&self, page: &mut Page) {
        let help =
            "Injected pods that have not ended, by version of their sidecar; outdated: they would get another one now.";
        page.family("sideflame_webhook_sidecars", "gauge", help);
        let labels = |version, outdated| [("version", version), ("outdated", outdated)];
        page.labelled(&labels(env!("CARGO_PKG_VERSION"), "false"), self.current.len());
        for (version, count) in self.versions.iter().take(MOST_VERSIONS) {
            page.labelled(&labels(version, "true"), count);
        }
        let others: usize = self.versions.values().skip(MOST_VERSIONS).sum();
        if others > 0 {
            page.labelled(&labels(OTHERS, "true"), others);
        }
        let help = "Pods to restart for a new sidecar, with the version they have.";
        page.family("sideflame_webhook_outdated_sidecar_info", "gauge", help);
        for (pod, version) in self.outdated.iter().take(MOST_ROWS) {
            let (namespace, pod) = pod.split_once('/').unwrap_or(("", pod));
            page.labelled(&[("namespace", namespace), ("pod", pod), ("version", version)], 1);
        }
        let help = "Rows that sideflame_webhook_outdated_sidecar_info does not have, as there would be too many.";
        let name = "sideflame_webhook_outdated_sidecars_cut";
        page.single(name, "gauge", help, self.outdated.len().saturating_sub(MOST_ROWS));
        let help = "1 if there were more injected pods than 100000: those beyond are not counted.";
        page.single("sideflame_webhook_sidecars_full", "gauge", help, u8::from(self.full));
    }
}

impl Sidecars {
    /// Takes a complete list. Returns how many there are, and how many of them are outdated.
    pub fn replace(&self, all: SidecarsSeen) -> (usize, usize) {
        let numbers = (all.current.len() + all.outdated.len(), all.outdated.len());
        // The old one is freed after the lock.
        let _old = self.lock().replace(all);
        numbers
    }

    /// Changes the complete list; there must have been one.
    pub fn update(&self, change: impl FnOnce(&mut SidecarsSeen)) {
        if let Some(seen) = self.lock().as_mut() {
            change(seen);
        }
    }

    /// How many are current, and how many outdated.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> Option<(usize, usize)> {
        let seen = self.lock();
        seen.as_ref().map(|seen| (seen.current.len(), seen.outdated.len()))
    }

    pub(super) fn write(&self, page: &mut Page) {
        let help = "Lists and watches of injected pods that failed.";
        let name = "sideflame_webhook_sidecar_watch_failures_total";
        page.single(name, "counter", help, self.failures.get());
        if let Some(seen) = self.lock().as_ref() {
            seen.write(page);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<SidecarsSeen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seen: &SidecarsSeen) -> String {
        let mut page = Page::default();
        seen.write(&mut page);
        page.text
    }

    fn put(seen: &mut SidecarsSeen, pod: &str, outdated: Option<&str>) {
        seen.put(pod.into(), outdated.map(Into::into));
    }

    #[test]
    fn a_pod_is_counted_once_whatever_becomes_of_it() {
        let mut seen = SidecarsSeen::default();
        for outdated in [Some("0.0.1"), Some("0.0.2"), None, Some("0.0.1"), Some("0.0.1")] {
            put(&mut seen, "shop/a", outdated);
        }
        put(&mut seen, "shop/b", None);
        let text = page(&seen);
        let ours = env!("CARGO_PKG_VERSION");
        for line in [
            &format!("_sidecars{{version=\"{ours}\",outdated=\"false\"}} 1\n"),
            "_sidecars{version=\"0.0.1\",outdated=\"true\"} 1\n",
            "_outdated_sidecar_info{namespace=\"shop\",pod=\"a\",version=\"0.0.1\"} 1\n",
            "_outdated_sidecars_cut 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("0.0.2"), "{text}");
        seen.remove("shop/a");
        seen.remove("shop/a");
        assert!(!page(&seen).contains("0.0.1") && seen.versions.is_empty());
    }

    #[test]
    fn rows_and_versions_are_cut_and_the_sums_stay_true() {
        let mut seen = SidecarsSeen::default();
        for number in 0..MOST_ROWS + 7 {
            put(&mut seen, &format!("shop/{number:05}"), Some(&format!("0.0.{number}")));
        }
        let text = page(&seen);
        assert_eq!(text.matches("_info{").count(), MOST_ROWS);
        assert!(text.contains("pod=\"00000\"") && !text.contains("pod=\"00506\""));
        assert!(text.contains("_outdated_sidecars_cut 7\n"));
        assert_eq!(text.matches("outdated=\"true\"").count(), MOST_VERSIONS + 1);
        let others = MOST_ROWS + 7 - MOST_VERSIONS;
        let line = format!("_sidecars{{version=\"(others)\",outdated=\"true\"}} {others}\n");
        assert!(text.contains(&line), "{text:.2000}");
    }

    #[test]
    fn beyond_the_cap_pods_are_not_kept_and_the_page_says_so() {
        let mut seen = SidecarsSeen::default();
        (0..MOST_PODS).for_each(|number| put(&mut seen, &format!("shop/{number}"), None));
        put(&mut seen, "shop/7", Some("0.0.1"));
        assert!(
            page(&seen).contains("_sidecars_full 0\n"),
            "a known pod takes its own place"
        );
        put(&mut seen, "shop/one-more", None);
        assert!(page(&seen).contains("_sidecars_full 1\n"));
        assert_eq!(seen.current.len() + seen.outdated.len(), MOST_PODS);
    }
}
