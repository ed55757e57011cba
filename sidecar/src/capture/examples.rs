//! What the tests of this folder have in common: settings, a plan and captures.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::plan::CapturePlan;
use super::registry::Registry;
use super::{Capture, Settings};
use crate::format::RecordingKind;
use crate::profile::Names;
pub(super) use crate::profile::stamp::tests::quality;
use crate::runtime::{RecordOrder, RuntimeSettings};

/// A store of 1 MiB and four captures, kept for an hour.
pub(super) fn settings(store: &Path) -> Settings {
    Settings {
        runtimes: RuntimeSettings::default(),
        container_logs: None,
        max_seconds: 600,
        max_running: 2,
        store_directory: Some(store.to_owned()),
        store_bytes: 1 << 20,
        store_captures: 4,
        keeps: false,
        expiry: Duration::from_secs(3600),
    }
}

/// A registry with these settings, and its store.
pub(super) fn registry(change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Arc<Registry>) {
    let store = tempfile::tempdir().unwrap();
    let mut settings = settings(store.path());
    change(&mut settings);
    let registry = Registry::open(&settings).unwrap();
    (store, registry)
}

/// A plan whose recording is of `kind`.
pub(super) fn plan(kind: RecordingKind) -> CapturePlan {
    CapturePlan {
        order: RecordOrder::example(kind),
        format: kind.formats()[0],
        names: Names::default(),
        keep: None,
        verdicts: Arc::from([]),
    }
}

/// A finished capture whose recording, of `kind`, has `bytes` bytes.
pub(super) fn finished(registry: &Registry, kind: RecordingKind, bytes: u64) -> Arc<Capture> {
    let (capture, _commands) = registry.register(&plan(kind)).unwrap();
    let lease = registry.room(bytes).unwrap();
    let mut recording = capture.directory.create_recording().unwrap();
    recording.write_all(&b"x"[..usize::from(bytes > 0)]).unwrap();
    recording.set_len(bytes).unwrap();
    registry.end(&capture, lease, Ok(quality()));
    capture
}
