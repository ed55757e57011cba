//! Everything that talks to the API server, on a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::Backoff;
use kube::{Client, Config};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::command::ServeCommand;
use crate::authority::{Keeper, KubernetesCluster};
use crate::cluster::{ClusterFacts, Namespace, parse_version};
use crate::events::{self, Notice};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::tls::CurrentCertificate;
use crate::tls::supplied::{self, Supplied};
use crate::{namespaces, probe, sidecars, watch};

/// Between two looks at the version of the API server.
const VERSION_INTERVAL: Duration = Duration::from_secs(300);

/// Why the second thread could not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackgroundError {
    #[error(
        "there is no way to an API server: {0}; run in a pod with a service account, set KUBECONFIG, or supply certificates by --tls-cert-file"
    )]
    NoConfig(String),
    #[error("the client of the API server could not be made: {0}")]
    Client(#[from] kube::Error),
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// What the second thread needs.
#[derive(Debug)]
pub(super) struct Background {
    pub(super) command: ServeCommand,
    pub(super) facts: Arc<ClusterFacts>,
    pub(super) namespaces: Writer<Namespace>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) certificate: Arc<CurrentCertificate>,
    pub(super) supplied: Option<Supplied>,
    pub(super) notices: mpsc::Receiver<Notice>,
}

impl Background {
    /// Starts the thread; it ends with the process.
    pub(super) async fn start(self) -> Result<(), BackgroundError> {
        let config = match Config::infer().await {
            Ok(config) => Some(config),
            Err(error) if self.supplied.is_some() => {
                tracing::warn!(%error, "no API server: no Events, no namespace labels, no self-probe");
                self.readiness
                    .set_unknown(namespaces::LABELS, Some("there is no API server".to_owned()));
                None
            }
            Err(error) => return Err(BackgroundError::NoConfig(error.to_string())),
        };
        let (report, started) = oneshot::channel();
        std::thread::Builder::new().name("cluster".to_owned()).spawn(move || {
            // Runtime and client are made here: the client leaves a worker on the runtime that made it.
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(report.send(Err(error.into()))),
            };
            runtime.block_on(async {
                let client = config.map(Client::try_from).transpose();
                let client = match client {
                    Ok(client) => client,
                    Err(error) => return drop(report.send(Err(error.into()))),
                };
                let _ = report.send(Ok(()));
                self.run(client).await;
            });
        })?;
        started
            .await
            .unwrap_or_else(|_| Err(BackgroundError::Thread(std::io::Error::other("it ended at once"))))
    }

    async fn run(self, client: Option<Client>) {
        let Self {
            command,
            facts,
            namespaces,
            metrics,
            readiness,
            certificate,
            supplied,
            notices,
        } = self;
        let mut tasks = JoinSet::new();
        let own_authority = supplied.is_none();
        if let Some(supplied) = supplied {
            tasks.spawn(supplied.keep(supplied::INTERVAL));
        }
        if let Some(client) = client {
            if own_authority {
                let cluster = KubernetesCluster::new(
                    client.clone(),
                    &command.namespace,
                    command.authority_secret.clone(),
                    command.webhook_name.clone(),
                );
                let lives = command.lifetimes();
                let keeper = Keeper::new(
                    cluster,
                    command.names(),
                    lives,
                    certificate,
                    Arc::clone(&readiness),
                    Arc::clone(&metrics),
                );
                tasks.spawn(keeper.keep());
            }
            readiness.set_unknown(namespaces::LABELS, Some("not listed yet".to_owned()));
            tasks.spawn(namespaces::watch(
                client.clone(),
                namespaces,
                Arc::clone(&facts),
                Arc::clone(&readiness),
                Arc::clone(&metrics),
            ));
            let ranges = namespaces::limits::watch_ranges(client.clone(), Arc::clone(&facts), Arc::clone(&readiness));
            tasks.spawn(ranges);
            tasks.spawn(namespaces::limits::watch_quotas(
                client.clone(),
                Arc::clone(&facts),
                readiness,
            ));
            tasks.spawn(watch_version(client.clone(), Arc::clone(&facts)));
            let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "sideflame-webhook".to_owned());
            tasks.spawn(events::write(client.clone(), notices, Arc::clone(&metrics), instance));
            if command.watch_sidecars {
                tasks.spawn(sidecars::watch(
                    client.clone(),
                    command.inject.clone(),
                    Arc::clone(&metrics),
                ));
                tasks.spawn(sidecars::missing::watch(
                    client.clone(),
                    command.inject.exclude_namespaces.clone(),
                    Arc::clone(&facts),
                    Arc::clone(&metrics),
                ));
                tasks.spawn(sidecars::held::watch(client.clone(), facts, Arc::clone(&metrics)));
            }
            if !command.probe_interval.is_zero() {
                let image = command.inject.sidecar_image;
                tasks.spawn(probe::keep(
                    client,
                    command.namespace,
                    image,
                    command.probe_interval,
                    metrics,
                ));
            }
        }
        // None of them ends by itself. One that panicked is missed here, not in the answers: those go on, and a new
        // process would have to find its certificate first.
        while let Some(ended) = tasks.join_next().await {
            let error = ended.err().map(|error| error.to_string());
            tracing::error!(
                error,
                "a background task ended: please report this, and restart the pod"
            );
        }
    }
}

async fn watch_version(client: Client, facts: Arc<ClusterFacts>) {
    let mut failures = watch::backoff();
    loop {
        let version = timeout(Duration::from_secs(10), client.apiserver_version()).await;
        let version = version.ok().and_then(Result::ok);
        let version = version.and_then(|info| parse_version(&info.major, &info.minor));
        let pause = match version {
            Some((major, minor)) => {
                if facts.set_version((major, minor)) {
                    tracing::info!(major, minor, "version of the API server");
                }
                failures.reset();
                VERSION_INTERVAL
            }
            None => failures.next().unwrap_or(VERSION_INTERVAL),
        };
        sleep(pause).await;
    }
}
