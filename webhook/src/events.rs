//! Events on the owner of a pod: what `kubectl describe replicaset` shows about an injection.
//!
//! Must not know reviews. Nothing here is on the critical path: a full queue drops. Filled by `admission`; the writer
//! is started by `cli::serve`.

mod notice;
mod pace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::metrics::Metrics;
pub use notice::Notice;
use pace::Pace;

/// Notices that may wait. A burst of a rollout is mostly one owner, which is one Event.
const QUEUE: usize = 256;
/// For one write.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where notices are left.
#[derive(Debug, Clone)]
pub struct EventQueue {
    /// Closed when nothing writes Events.
    sender: mpsc::Sender<Notice>,
    metrics: Arc<Metrics>,
}

impl EventQueue {
    /// A queue and its end for [`write()`].
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender, metrics }, receiver)
    }

    /// Leaves a notice; never waits.
    pub fn send(&self, notice: Notice) {
        match self.sender.try_send(notice) {
            // Without an API server there are no Events.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.metrics.events_dropped.inc();
            }
        }
    }
}

/// Writes what comes, at most one Event a minute for an owner and reason.
pub async fn write(client: Client, mut notices: mpsc::Receiver<Notice>, metrics: Arc<Metrics>, instance: String) {
    let mut pace = Pace::default();
    while let Some(notice) = notices.recv().await {
        match pace.admit(&notice, Instant::now()) {
            pace::Action::Write => {}
            pace::Action::Skip => continue,
            pace::Action::Drop => {
                metrics.events_dropped.inc();
                continue;
            }
        }
        let api = Api::<Event>::namespaced(client.clone(), &notice.namespace);
        let event = event_of(&notice, &instance);
        let params = PostParams::default();
        let written = timeout(TIMEOUT, api.create(&params, &event)).await;
        match written {
            Ok(Ok(_)) => {
                metrics.events_written.inc();
            }
            Ok(Err(error)) => {
                metrics.events_dropped.inc();
                tracing::warn!(%error, namespace = notice.namespace, "an Event was not written");
            }
            Err(_) => {
                metrics.events_dropped.inc();
            }
        }
    }
}

fn event_of(notice: &Notice, instance: &str) -> Event {
    let owner = &notice.owner;
    Event {
        metadata: ObjectMeta {
            // The API server appends the rest; names may have 253 characters.
            generate_name: Some(format!("{}-", owner.name.chars().take(200).collect::<String>())),
            namespace: Some(notice.namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Inject".to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(notice.note.clone()),
        reason: Some(notice.reason().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(owner.api_version.clone()),
            kind: Some(owner.kind.clone()),
            name: Some(owner.name.clone()),
            uid: Some(owner.uid.clone()),
            namespace: Some(notice.namespace.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("sideflame.io/webhook".to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(if notice.injected { "Normal" } else { "Warning" }.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::SkipReason;
    use crate::outcome::Outcome;
    use serde_json::json;

    fn notice() -> Notice {
        let pod = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-1", "uid": "u", "controller": true}]}});
        Notice::about(&pod, "shop", Outcome::Skipped(SkipReason::Windows), 1).unwrap()
    }

    #[test]
    fn an_event_has_what_the_api_server_requires() {
        let event = event_of(&notice(), "sideflame-webhook-0");
        assert_eq!(event.reason.as_deref(), Some("SideflameNotInjected"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.metadata.generate_name.as_deref(), Some("shop-1-"));
        assert!(event.action.is_some() && event.event_time.is_some() && event.reporting_instance.is_some());
        let regarding = event.regarding.unwrap();
        assert_eq!(
            (regarding.kind.as_deref(), regarding.uid.as_deref()),
            (Some("ReplicaSet"), Some("u"))
        );
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let metrics = Arc::new(Metrics::default());
        let (queue, _receiver) = EventQueue::new(Arc::clone(&metrics));
        for _ in 0..QUEUE + 3 {
            queue.send(notice());
        }
        assert_eq!(metrics.events_dropped.get(), 3);
    }

    #[tokio::test]
    async fn without_a_writer_nothing_is_kept_nor_counted() {
        let metrics = Arc::new(Metrics::default());
        let (queue, receiver) = EventQueue::new(Arc::clone(&metrics));
        drop(receiver);
        queue.send(notice());
        assert_eq!(metrics.events_dropped.get(), 0);
    }
}
