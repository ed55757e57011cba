//! A cluster in memory: compare-and-swap as an API server does it, and a turn for others in every call.

use std::sync::{Arc, Mutex};

use crate::authority::{Bundles, Cluster, ClusterError, Configuration, Content, Data, Entry, Kind, Stored};

/// What an API server holds.
#[derive(Default)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) secret: Option<Stored>,
    pub(super) bundles: Bundles,
    pub(super) down: bool,
    /// Questions and writes so far, answered or not.
    pub(super) asked: usize,
    /// Writes of the Secret so far.
    pub(super) writes: usize,
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Fake {
    /// With both configurations as a chart makes them: no caBundle.
    pub(super) fn installed() -> Self {
        let fake = Self::default();
        let entry = |name: &str| Entry {
            name: name.to_owned(),
            bundle: Vec::new(),
        };
        let configuration = |kind, names: &[&str]| Configuration {
            kind,
            resource_version: "0".to_owned(),
            entries: names.iter().map(|name| entry(name)).collect(),
        };
        fake.state(|state| {
            state.bundles = Bundles(vec![
                configuration(Kind::Mutating, &["pod.sideflame.io", "namespace.sideflame.io"]),
                configuration(Kind::Validating, &["workload.sideflame.io"]),
            ]);
        });
        fake
    }

    pub(super) fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn content(&self) -> Content {
        self.state(|state| Content::read(&state.secret.as_ref().unwrap().data).unwrap())
    }

    /// A change of the Secret by hand.
    pub(super) fn set_secret(&self, data: Option<Data>) {
        self.state(|state| {
            state.version += 1;
            let resource_version = state.version.to_string();
            state.secret = data.map(|data| Stored { data, resource_version });
        });
    }

    pub(super) fn set_bundle(&self, position: usize, bundle: Vec<u8>) {
        self.state(|state| {
            state.version += 1;
            let configuration = &mut state.bundles.0[0];
            configuration.resource_version = state.version.to_string();
            configuration.entries[position].bundle = bundle;
        });
    }

    async fn reach(&self) -> Result<(), ClusterError> {
        // Another replica's turn: every call is a place where races happen.
        tokio::task::yield_now().await;
        let down = self.state(|state| {
            state.asked += 1;
            state.down
        });
        match down {
            true => Err(ClusterError::Failed("connection refused".to_owned())),
            false => Ok(()),
        }
    }
}

impl Cluster for Fake {
    async fn read_secret(&self) -> Result<Option<Stored>, ClusterError> {
        self.reach().await?;
        Ok(self.state(|state| state.secret.clone()))
    }

    async fn write_secret(&self, data: Data, over: Option<&Stored>) -> Result<(), ClusterError> {
        self.reach().await?;
        self.state(|state| {
            let held = state.secret.as_ref().map(|stored| stored.resource_version.clone());
            if held != over.map(|stored| stored.resource_version.clone()) {
                return Err(ClusterError::Conflict);
            }
            state.version += 1;
            state.writes += 1;
            let resource_version = state.version.to_string();
            state.secret = Some(Stored { data, resource_version });
            Ok(())
        })
    }

    async fn read_bundles(&self) -> Result<Bundles, ClusterError> {
        self.reach().await?;
        Ok(self.state(|state| state.bundles.clone()))
    }

    async fn patch_bundle(&self, read: &Configuration, positions: &[usize], bundle: &[u8]) -> Result<(), ClusterError> {
        self.reach().await?;
        self.state(|state| {
            state.version += 1;
            let version = state.version.to_string();
            let held = state.bundles.0.iter_mut().find(|one| one.kind == read.kind).unwrap();
            if held.resource_version != read.resource_version {
                return Err(ClusterError::Conflict);
            }
            held.resource_version = version;
            for position in positions {
                held.entries[*position].bundle = bundle.to_vec();
            }
            Ok(())
        })
    }
}
