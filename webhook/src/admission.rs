//! Admission reviews over HTTP: a request in, an answer in time, whatever happens.
//!
//! Must not know certificates, nor how a pod is patched: that is `inject`, which it is handed as plain functions. Its
//! rule is that a pod is never lost because of us: everything that carries a `uid` is answered `allowed: true`, with a
//! warning where the injection failed, unless the pod asked for `on-error: block`. Only what is no review at all is
//! refused with a status. Called by `cli::serve`, which serves [`router`] behind TLS.

mod answer;
mod body_memory;
mod deadlines;
mod decision;
mod handler;
mod lean;
mod request_body;
mod review;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use serde_json::Value;

use crate::cluster::ClusterFacts;
use crate::endpoint::Endpoint;
use crate::events::EventQueue;
use crate::inject::{self, Decision};
use crate::metrics::Metrics;
use crate::settings::{Facts, InjectSettings};
use body_memory::BodyMemory;

/// A body may be this long. etcd takes objects of 1.5 MiB, and an update carries two.
pub const BODY_BYTES: usize = 3 << 20;

/// What decides about objects. Plain functions, so that a test can decide otherwise.
#[derive(Clone, Copy)]
pub struct Rules {
    /// About a pod.
    pub inject: fn(&Value, &InjectSettings, &Facts) -> Decision,
    /// About a workload, by its kind: what is wrong with its annotations.
    pub misplaced: fn(&str, &Value) -> Option<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            inject: inject::inject,
            misplaced: inject::misplaced,
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Rules")
    }
}

/// What callers may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory of all bodies that are on their way. A body that loses its part to a newer one is answered "busy".
    pub body_memory: usize,
    /// Most time for a review, and what one has whose address has no `timeout`.
    pub timeout: Duration,
}

/// What the handlers share.
#[derive(Debug)]
pub struct Admission {
    rules: Rules,
    settings: InjectSettings,
    settings_hash: String,
    facts: Arc<ClusterFacts>,
    metrics: Arc<Metrics>,
    events: EventQueue,
    memory: BodyMemory,
    limits: Limits,
}

impl Admission {
    /// Puts the parts together.
    pub fn new(
        rules: Rules,
        settings: InjectSettings,
        facts: Arc<ClusterFacts>,
        metrics: Arc<Metrics>,
        events: EventQueue,
        limits: Limits,
    ) -> Self {
        Self {
            rules,
            settings_hash: hash_of(&settings),
            settings,
            facts,
            metrics,
            events,
            memory: BodyMemory::new(limits.body_memory),
            limits,
        }
    }

    /// Tells in audit annotations and the log which settings decided.
    pub fn settings_hash(&self) -> &str {
        &self.settings_hash
    }
}

/// The routes of the TLS listener.
pub fn router(admission: Arc<Admission>) -> Router {
    Router::new()
        .route(Endpoint::Pod.path(), post(handler::inject))
        .route(Endpoint::Probe.path(), post(handler::probe))
        .route(Endpoint::Workload.path(), post(handler::warn))
        .with_state(admission)
}

/// Short, and equal on all replicas with equal settings.
fn hash_of(settings: &InjectSettings) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{settings:?}").as_bytes());
    let bytes = digest.as_ref().iter().take(6);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
