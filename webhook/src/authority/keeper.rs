//! Does what `rotation` says, round after round.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::runtime::utils::Backoff;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Lifetimes;
use super::bundle::{Bundles, Configuration, bundle_of};
use super::ca::AuthorityError;
use super::content::{Content, Data};
use super::rotation::{self, Change, Memory, Secret};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::tls::CurrentCertificate;
use crate::watch;

/// For a whole round.
const ROUND: Duration = Duration::from_secs(10);
/// Lost races within a round before the next interval is waited for.
const RACES: usize = 4;

/// A Secret's data, with what a compare-and-swap needs.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The data; keys that are not ours included.
    pub data: Data,
    /// What the cluster compares.
    pub resource_version: String,
}

/// Why the cluster did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Another change came first: read again.
    #[error("another change came first")]
    Conflict,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What the keeper needs of a cluster; a trait, so that tests can race replicas without an API server.
pub trait Cluster: Send + Sync {
    /// The Secret, if there is one.
    fn read_secret(&self) -> impl Future<Output = Result<Option<Stored>, ClusterError>> + Send;
    /// Writes data: over what was read, or where there was nothing.
    fn write_secret(&self, data: Data, over: Option<&Stored>) -> impl Future<Output = Result<(), ClusterError>> + Send;
    /// The configurations with our name; missing ones are left out.
    fn read_bundles(&self) -> impl Future<Output = Result<Bundles, ClusterError>> + Send;
    /// Sets the caBundle of the entries at `positions` of what was read.
    fn patch_bundle(
        &self,
        configuration: &Configuration,
        positions: &[usize],
        bundle: &[u8],
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the API server did not answer within {ROUND:?}")]
    Timeout,
}

/// One replica's share in the authority.
#[derive(Debug)]
pub struct Keeper<C> {
    cluster: C,
    /// Names of the leaf.
    names: Vec<String>,
    lives: Lifetimes,
    certificate: Arc<CurrentCertificate>,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    memory: Memory,
    failing: Option<String>,
}

impl<C: Cluster> Keeper<C> {
    /// A replica that knows nothing yet.
    pub fn new(
        cluster: C,
        names: Vec<String>,
        lives: Lifetimes,
        certificate: Arc<CurrentCertificate>,
        readiness: Arc<Readiness>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            cluster,
            names,
            lives,
            certificate,
            readiness,
            metrics,
            memory: Memory::default(),
            failing: None,
        }
    }

    /// Looks after everything for ever. The wall clock is read in every round, and no sleep is longer than the
    /// interval: certificates end by the wall clock, which may jump, or go on while we were stopped.
    pub async fn keep(mut self) {
        let interval = Duration::from_secs(self.lives.interval.unsigned_abs().max(1));
        // Shorter until we can be reached: a start should not wait for an interval.
        let mut pause = Duration::from_millis(200);
        let mut failures = watch::backoff();
        loop {
            if self.look_after(now()).await {
                failures.reset();
                let settled = self.readiness.reason().is_none();
                pause = if settled { interval } else { (pause * 2).min(interval) };
                sleep(pause).await;
            } else {
                self.sit_out(failures.next().unwrap_or(interval), interval).await;
            }
        }
    }

    /// Waits for `pause` and asks the cluster nothing; the leaf is renewed from memory meanwhile.
    async fn sit_out(&mut self, pause: Duration, interval: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + interval)).await;
            self.keep_serving(now());
        }
    }

    /// One round, with its failures logged once. True if it went well.
    pub(super) async fn look_after(&mut self, now: i64) -> bool {
        let outcome = timeout(ROUND, self.round(now)).await;
        match outcome.unwrap_or(Err(RoundError::Timeout)) {
            Ok(()) => {
                self.failing = None;
                true
            }
            Err(error) => {
                self.metrics.authority_failures.inc();
                let error = error.to_string();
                if self.failing.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "the authority could not be looked after; what is in memory stays in use"
                    );
                    self.failing = Some(error);
                }
                self.keep_serving(now);
                false
            }
        }
    }

    /// One round: Secret, caBundle, leaf, readiness, in this order.
    async fn round(&mut self, now: i64) -> Result<(), RoundError> {
        for _ in 0..RACES {
            // In this order: a patch of ours holds for the configuration read here, so it can never undo what another
            // replica wrote because of a Secret newer than the one read next.
            let mut bundles = self.cluster.read_bundles().await?;
            let secret = self.cluster.read_secret().await?;
            let content = match self.settle_secret(secret.as_ref(), &bundles, now).await {
                Ok(Some(content)) => content,
                // A replica that remembers the authority is given time to restore it.
                Ok(None) => return Ok(()),
                Err(RoundError::Cluster(ClusterError::Conflict)) => continue,
                Err(error) => return Err(error),
            };
            match self.settle_bundles(&content, &bundles).await {
                Ok(false) => {}
                Ok(true) => bundles = self.cluster.read_bundles().await?,
                Err(ClusterError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            }
            self.memory.announced = match &content.next {
                Some(next) if bundles.trust(&next.certificate).is_ok() => self.memory.announced.or(Some(now)),
                _ => None,
            };
            // A clock that was set back must not make us wait for the old time to come again.
            self.memory.announced = self.memory.announced.map(|since| since.min(now));
            self.settle_leaf(&content, &bundles, now)?;
            self.tell(rotation::readiness(self.memory.leaf.as_ref(), &bundles, now));
            return Ok(());
        }
        Err(ClusterError::Conflict.into())
    }

    /// The content everybody agrees on, after a change of ours if one was due.
    async fn settle_secret(
        &mut self,
        stored: Option<&Stored>,
        bundles: &Bundles,
        now: i64,
    ) -> Result<Option<Content>, RoundError> {
        let secret = match stored.map(|stored| Content::read(&stored.data)) {
            None => Secret::Absent,
            Some(Ok(content)) => Secret::Held(content),
            Some(Err(error)) => Secret::Unusable(error.to_string()),
        };
        self.memory.missing = match &secret {
            Secret::Held(_) => None,
            Secret::Absent | Secret::Unusable(_) => self.memory.missing.or(Some(now)),
        };
        let Some(change) = rotation::change(&secret, &self.memory, bundles, &self.lives, now) else {
            let Secret::Held(content) = secret else {
                return Ok(None);
            };
            self.remember(&content);
            return Ok(Some(content));
        };
        let held = match &secret {
            Secret::Held(content) => Some(content),
            Secret::Absent | Secret::Unusable(_) => None,
        };
        let Some(content) = rotation::apply(change, held, &self.memory, &self.lives, now)? else {
            return Ok(None);
        };
        let mut data = stored.map(|stored| stored.data.clone()).unwrap_or_default();
        content.write(&mut data);
        self.cluster.write_secret(data, stored).await?;
        self.metrics.authority_changes.inc();
        log_change(change, &secret);
        self.remember(&content);
        Ok(Some(content))
    }

    fn remember(&mut self, content: &Content) {
        self.memory.missing = None;
        self.metrics.authority_not_after.set(content.current.not_after);
        if self.memory.content.as_ref() != Some(content) {
            self.memory.content = Some(content.clone());
        }
    }

    /// True if something had to be patched.
    async fn settle_bundles(&self, content: &Content, bundles: &Bundles) -> Result<bool, ClusterError> {
        let wanted = content.bundle();
        let mut patched = false;
        for configuration in &bundles.0 {
            let drifted = configuration.drifted(&wanted);
            if drifted.is_empty() {
                continue;
            }
            self.cluster
                .patch_bundle(configuration, &drifted, &bundle_of(&wanted))
                .await?;
            self.metrics.bundle_patches.inc();
            let kind = configuration.kind;
            tracing::info!(
                ?kind,
                entries = drifted.len(),
                authorities = wanted.len(),
                "wrote the caBundle"
            );
            patched = true;
        }
        Ok(patched)
    }

    fn settle_leaf(&mut self, content: &Content, bundles: &Bundles, now: i64) -> Result<(), AuthorityError> {
        if !rotation::needs_leaf(content, self.memory.leaf.as_ref(), bundles, now) {
            return Ok(());
        }
        let leaf = content.current.issue(&self.names, now, self.lives.leaf)?;
        self.certificate.set(&leaf.certificate);
        self.metrics.certificate_not_after.set(leaf.certificate.not_after);
        let seconds = leaf.certificate.not_after.saturating_sub(now);
        tracing::info!(seconds, names = self.names.join(","), "issued a serving certificate");
        self.memory.leaf = Some(leaf);
        Ok(())
    }

    /// Without an API server: renews the leaf from memory. Readiness stays as it is: without an API server it is not acted on.
    fn keep_serving(&mut self, now: i64) {
        let Some(content) = self
            .memory
            .content
            .clone()
            .filter(|content| content.current.is_valid(now))
        else {
            return;
        };
        // Which authorities the API server trusts is unknown now, so only an authority that issued before may issue again.
        let issuer = self.memory.leaf.as_ref().map(|leaf| &leaf.issuer);
        if issuer != Some(&content.current.certificate) {
            return;
        }
        if let Err(error) = self.settle_leaf(&content, &Bundles::default(), now) {
            tracing::warn!(%error, "the serving certificate could not be renewed");
        }
    }

    fn tell(&self, state: Result<(), String>) {
        if self.readiness.set(state) {
            match self.readiness.reason() {
                None => tracing::info!("ready: the API server trusts our certificate"),
                Some(reason) => tracing::warn!(reason, "not ready"),
            }
        }
    }
}

#[cfg(test)]
impl<C> Keeper<C> {
    pub(super) fn reason(&self) -> Option<String> {
        self.readiness.reason()
    }

    pub(super) fn leaf(&self) -> Option<&super::ca::Leaf> {
        self.memory.leaf.as_ref()
    }
}

fn log_change(change: Change, secret: &Secret) {
    if let Secret::Unusable(reason) = secret {
        tracing::warn!(reason, "the authority Secret could not be used");
    }
    tracing::info!("{}", change.sentence());
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
