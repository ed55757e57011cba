//! Which pods have another sidecar than they would get now.
//!
//! Must not know how that is found out. The one part of the page whose labels come from the cluster, so it is capped. All
//! sums are kept when something changes, as the page is written by the thread that answers reviews. Filled by `sidecars`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Rows on the page: pods to restart. With more, whole namespaces are restarted, for which the sums are enough.
pub(super) const MOST_ROWS: usize = 500;
/// Versions on the page. Every user who may create a pod may write such a label.
const MOST_VERSIONS: usize = 20;
/// Pods kept. With names of 60 characters, that many take 12 to 14 MiB, twice while a list replaces another.
pub(super) const MOST_PODS: usize = 100_000;
/// The version of rows beyond [`MOST_VERSIONS`]; no label can have this value.
const OTHERS: &str = "(others)";

/// What the watch knows. Not on the page where nothing is watched.
#[derive(Debug, Default)]
pub struct Sidecars {
    watched: AtomicBool,
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

    fn write(&self, page: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Injected pods that have not ended, by version of their sidecar; outdated: they would get another one now.";
        let labels = |version, outdated| [("version", version), ("outdated", outdated)];
        let versions = self.versions.iter().take(MOST_VERSIONS);
        let others: usize = self.versions.values().skip(MOST_VERSIONS).sum();
        let rows = [(labels(env!("CARGO_PKG_VERSION"), "false"), self.current.len())].into_iter();
        let rows = rows.chain(versions.map(|(version, count)| (labels(version, "true"), *count)));
        let rows = rows.chain((others > 0).then_some((labels(OTHERS, "true"), others)));
        gauges(page, "sidecars", help, rows)?;
        let help = "Pods to restart for a new sidecar, with the version they have.";
        let rows = self.outdated.iter().take(MOST_ROWS).map(|(pod, version)| {
            let (namespace, pod) = pod.split_once('/').unwrap_or(("", pod));
            ([("namespace", namespace), ("pod", pod), ("version", &**version)], 1)
        });
        gauges(page, "outdated_sidecar_info", help, rows)?;
        let help = "Rows that sideflame_webhook_outdated_sidecar_info does not have, as there would be too many.";
        let cut = self.outdated.len().saturating_sub(MOST_ROWS);
        gauges(page, "outdated_sidecars_cut", help, [([], cut)])?;
        let help = "1 if there were more injected pods than 100000: those beyond are not counted.";
        gauges(page, "sidecars_full", help, [([], usize::from(self.full))])
    }
}

/// One family with its samples.
pub(super) fn gauges<'a, const N: usize>(
    page: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([(&'static str, &'a str); N], usize)>,
) -> fmt::Result {
    let mut family = page.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        value.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Sidecars {
    /// From now on they are watched, and on the page.
    pub fn begin(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    /// Takes a complete list. Returns how many there are, and how many of them are outdated.
    pub fn replace(&self, all: SidecarsSeen) -> (usize, usize) {
        let numbers = (all.current.len() + all.outdated.len(), all.outdated.len());
        // The old one is freed after the lock.
        let _old = self.lock().replace(all);
        numbers
    }

    /// Those of `pods` that are there; `None` before the first complete list.
    pub(super) fn those_of<'a>(&self, pods: impl Iterator<Item = &'a str>) -> Option<Vec<&'a str>> {
        let seen = self.lock();
        let seen = seen.as_ref()?;
        Some(
            pods.filter(|pod| seen.current.contains(*pod) || seen.outdated.contains_key(*pod))
                .collect(),
        )
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

    fn lock(&self) -> MutexGuard<'_, Option<SidecarsSeen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Sidecars {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        if !self.watched.load(Ordering::Relaxed) {
            return Ok(());
        }
        let help = "Lists and watches of injected pods and their Events that failed.";
        let failures = page.encode_descriptor("sidecar_watch_failures", help, None, MetricType::Counter)?;
        self.failures.encode(failures)?;
        match self.lock().as_ref() {
            Some(seen) => seen.write(&mut page),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;
    use prometheus_client::registry::Registry;

    use super::*;

    /// For the page as a scraper sees it.
    #[derive(Debug)]
    struct Page(SidecarsSeen);

    impl Collector for Page {
        fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
            self.0.write(&mut page)
        }
    }

    fn page(seen: &mut SidecarsSeen) -> String {
        let page = std::sync::Arc::new(Page(std::mem::take(seen)));
        let mut registry = Registry::with_prefix("sideflame_webhook");
        registry.register_collector(Box::new(std::sync::Arc::clone(&page)));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        drop(registry);
        *seen = std::sync::Arc::into_inner(page).unwrap().0;
        text
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
        let text = page(&mut seen);
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
        assert!(!page(&mut seen).contains("0.0.1") && seen.versions.is_empty());
    }

    #[test]
    fn rows_and_versions_are_cut_and_the_sums_stay_true() {
        let mut seen = SidecarsSeen::default();
        for number in 0..MOST_ROWS + 7 {
            put(&mut seen, &format!("shop/{number:05}"), Some(&format!("0.0.{number}")));
        }
        let text = page(&mut seen);
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
            page(&mut seen).contains("_sidecars_full 0\n"),
            "a known pod takes its own place"
        );
        put(&mut seen, "shop/one-more", None);
        assert!(page(&mut seen).contains("_sidecars_full 1\n"));
        assert_eq!(seen.current.len() + seen.outdated.len(), MOST_PODS);
    }

    #[test]
    fn names_from_the_cluster_cannot_break_the_page() {
        let mut seen = SidecarsSeen::default();
        put(&mut seen, "shop/a", Some("1\\2\"3\n4"));
        let text = page(&mut seen);
        let line = "_outdated_sidecar_info{namespace=\"shop\",pod=\"a\",version=\"1\\\\2\\\"3\\n4\"} 1\n";
        assert!(text.contains(line), "{text}");
    }
}
