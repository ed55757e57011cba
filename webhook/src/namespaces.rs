//! Watches the metadata of namespaces, and keeps of it a name and the few labels and annotations that decide something.
//!
//! Must not know reviews. A watch that fails is begun again, and the last state stays in use meanwhile; until a first list
//! is complete, readiness says that the labels are unknown. Started by `cli::serve`; fills `cluster`. `limits` does the same
//! for LimitRanges and ResourceQuotas.

pub mod limits;

use std::sync::Arc;

use kube::api::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};

use crate::annotations::PREFIX;
use crate::choices::PodSecurityLevel;
use crate::cluster::{ClusterFacts, Namespace, UID_RANGE};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::watch::{self, Sentences};

/// What is unknown without them.
pub const LABELS: &str = "labels of namespaces";
/// A namespace may have 256 KiB of labels; what we keep of one is bounded by this.
const MOST_LABELS: usize = 16;
const LONGEST_LABEL: usize = 256;

/// Keeps `facts` up to date for ever, through `namespaces`, their writing half.
pub async fn watch(
    client: Client,
    namespaces: Writer<Namespace>,
    facts: Arc<ClusterFacts>,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
) {
    let config = watcher::Config::default().page_size(200);
    // Of this type, only metadata is asked for and sent.
    let events = watcher::watcher(Api::<Namespace>::all(client), config);
    let events = events.modify(reduce).reflect(namespaces);
    let sentences = Sentences {
        failing: "namespaces cannot be watched: their labels may be old or unknown; let the service account list and watch namespaces",
        again: "namespaces are watched again",
    };
    let mut listed = false;
    watch::follow(events, sentences, |event| match event {
        Ok(Event::Init | Event::InitApply(_)) => {}
        Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => {
            if !std::mem::replace(&mut listed, true) {
                readiness.set_unknown(LABELS, None);
            }
            metrics.namespaces.set(i64::try_from(facts.known()).unwrap_or(i64::MAX));
        }
        Err(error) => {
            metrics.namespace_failures.inc();
            if !listed {
                readiness.set_unknown(LABELS, Some(error.to_string()));
            }
        }
    })
    .await;
}

fn is_level(key: &str) -> bool {
    key == PodSecurityLevel::ENFORCE || PodSecurityLevel::TOLD.contains(&key)
}

/// Drops everything but the name and what decides something.
fn reduce(namespace: &mut Namespace) {
    let labels = std::mem::take(namespace.labels_mut()).into_iter();
    let labels = labels
        .filter(|(key, _)| key.starts_with(PREFIX) || is_level(key))
        .filter(|(key, value)| key.len() + value.len() <= LONGEST_LABEL)
        .take(MOST_LABELS);
    let annotations = namespace.annotations_mut().remove_entry(UID_RANGE);
    let annotations = annotations.filter(|(_, range)| range.len() <= LONGEST_LABEL);
    namespace.metadata = ObjectMeta {
        name: namespace.metadata.name.take(),
        labels: Some(labels.collect()),
        annotations: Some(annotations.into_iter().collect()),
        ..ObjectMeta::default()
    };
    namespace.types = None;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn namespace(name: &str, labels: &[(&str, &str)]) -> Namespace {
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name, "labels": labels},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_decides_something_is_kept() {
        let labels = [
            ("team", "x"),
            ("sideflame.io/inject", "enabled"),
            ("pod-security.kubernetes.io/enforce", "baseline"),
            ("pod-security.kubernetes.io/enforce-version", "latest"),
            ("pod-security.kubernetes.io/warn", "restricted"),
        ];
        let mut namespace = namespace("shop", &labels);
        namespace
            .annotations_mut()
            .insert("note".to_owned(), "x".repeat(1 << 10));
        namespace
            .annotations_mut()
            .insert(UID_RANGE.to_owned(), "1000650000/10000".to_owned());
        reduce(&mut namespace);
        assert_eq!(namespace.labels().len(), 3);
        assert_eq!(namespace.labels()["sideflame.io/inject"], "enabled");
        assert_eq!(namespace.annotations().keys().collect::<Vec<_>>(), [UID_RANGE]);
    }

    #[test]
    fn a_new_list_replaces_the_old_one_only_when_it_is_complete() {
        let (facts, mut writer) = ClusterFacts::new();
        let known = |name: &str| facts.of(name).namespace_labels.is_some();
        writer.apply_watcher_event(&Event::Apply(namespace("old", &[])));
        assert_eq!(facts.known(), 1);
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitApply(namespace("new", &[])));
        assert!(known("old") && !known("new"));
        writer.apply_watcher_event(&Event::InitDone);
        assert!(!known("old") && known("new"));
        writer.apply_watcher_event(&Event::Delete(namespace("new", &[])));
        assert_eq!(facts.known(), 0);
    }

    /// An API server that refuses the first `refusals` lists, then has one namespace. Returns when it was asked.
    async fn asked(refusals: usize, time: Duration) -> (Vec<Instant>, Arc<Readiness>, Arc<Metrics>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let service = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            let mut log = log.lock().unwrap();
            log.push(Instant::now());
            let (status, body) = if log.len() <= refusals {
                (
                    403,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                    "reason": "Forbidden", "message": "namespaces is forbidden"}),
                )
            } else {
                (
                    200,
                    json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7"},
                    "items": [{"metadata": {"name": "shop", "labels": {"sideflame.io/inject": "enabled"}}}]}),
                )
            };
            let watch = request.uri().query().unwrap_or_default().contains("watch=true");
            async move {
                if watch {
                    std::future::pending::<()>().await;
                }
                let answer = axum::http::Response::builder().status(status);
                Ok::<_, Infallible>(answer.body(axum::body::Body::from(body.to_string())).unwrap())
            }
        });
        let client = Client::new(service, "ops");
        let (facts, writer) = ClusterFacts::new();
        let (facts, metrics) = (Arc::new(facts), Arc::new(Metrics::default()));
        let readiness = Arc::new(Readiness::new("not yet"));
        let watching = watch(client, writer, facts, Arc::clone(&readiness), Arc::clone(&metrics));
        assert!(timeout(time, watching).await.is_err(), "it never ends");
        let asked = asked.lock().unwrap().clone();
        (asked, readiness, metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_refused_is_asked_for_less_and_less_often() {
        let log = Log::default();
        let _guard = log.take();
        let (asked, readiness, metrics) = asked(usize::MAX, Duration::from_secs(3600)).await;
        let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            pauses[0] >= Duration::from_secs(1) && pauses[0] < Duration::from_secs(3),
            "{pauses:?}"
        );
        let last = pauses[pauses.len() - 1];
        assert!(
            last >= Duration::from_secs(60) && last < Duration::from_secs(123),
            "{pauses:?}"
        );
        assert!(asked.len() < 70, "{} requests in an hour", asked.len());
        let lines = log.lines_with("namespaces cannot be watched");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("forbidden"), "{lines:?}");
        assert!(readiness.unknown().contains("labels of namespaces") && readiness.unknown().contains("forbidden"));
        assert_eq!(metrics.namespace_failures.get(), asked.len() as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_comes_is_used_and_told_once() {
        let log = Log::default();
        let _guard = log.take();
        let (_, readiness, metrics) = asked(5, Duration::from_secs(600)).await;
        assert_eq!(metrics.namespaces.get(), 1);
        assert_eq!(readiness.unknown(), "");
        assert_eq!(log.lines_with("namespaces are watched again").len(), 1);
    }

    /// What is logged on this thread.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn take(&self) -> tracing::subscriber::DefaultGuard {
            let log = self.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || log.clone());
            tracing::subscriber::set_default(subscriber.finish())
        }

        fn lines_with(&self, text: &str) -> Vec<String> {
            let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            log.lines()
                .filter(|line| line.contains(text))
                .map(str::to_owned)
                .collect()
        }
    }

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
