use tokio::time::sleep;

use super::*;
use crate::capture::CaptureState;
use std::path::Path;

use crate::capture::examples::{finished, plan, quality, registry, settings};
use crate::format::RecordingKind;

const MINUTE: Duration = Duration::from_secs(60);
const KIND: RecordingKind = RecordingKind::Pprof;

fn start(registry: &Registry) -> Arc<Capture> {
    registry.register(&plan(KIND)).unwrap().0
}

fn fail(registry: &Registry, capture: &Capture, error: RecordError) {
    let lease = registry.room(10).unwrap();
    capture.directory.create_recording().unwrap().set_len(10).unwrap();
    registry.end(capture, lease, Err(error));
}

fn kept(registry: &Registry, capture: &Capture) -> bool {
    registry.get(capture.id.as_str()).is_some()
}

fn folders(store: &tempfile::TempDir) -> usize {
    let server = std::fs::read_dir(store.path()).unwrap().next().unwrap().unwrap();
    // Beside them is the lock.
    std::fs::read_dir(server.path()).unwrap().count() - 1
}

#[tokio::test]
async fn what_several_wait_for_is_kept_until_the_last_has_had_it() {
    let (_store, registry) = registry(|settings| settings.store_captures = 1);
    let shared = finished(&registry, KIND, 10);
    shared.hold();
    shared.mark_expendable();
    assert!(registry.register(&plan(KIND)).is_err() && kept(&registry, &shared));
    shared.release();
    assert!(registry.register(&plan(KIND)).is_ok() && !kept(&registry, &shared));
}

#[tokio::test]
async fn captures_of_every_kind_leave_nothing_when_they_are_forgotten() {
    const MOST: usize = 8;
    let (store, registry) = registry(|settings| settings.store_captures = MOST);
    let mut seen: Vec<Weak<Capture>> = Vec::new();
    for round in 0..602 {
        let capture = match round % 4 {
            0 => {
                let capture = finished(&registry, KIND, 10);
                capture.mark_expendable();
                capture
            }
            1 => {
                let capture = start(&registry);
                fail(&registry, &capture, RecordError::TargetExited);
                capture
            }
            2 => {
                let capture = start(&registry);
                fail(&registry, &capture, RecordError::Cancelled);
                registry.forget(&capture.id);
                capture
            }
            _ => {
                let capture = finished(&registry, KIND, 10);
                registry.forget(&capture.id);
                capture
            }
        };
        seen.push(Arc::downgrade(&capture));
    }
    let alive = || seen.iter().filter(|capture| capture.strong_count() > 0).count();
    let expiring = || registry.lock().expiring.len();
    assert_eq!(
        (alive(), registry.list().len(), expiring(), folders(&store)),
        (MOST, MOST, MOST, MOST / 2)
    );
    registry.list().iter().for_each(|capture| registry.forget(&capture.id));
    assert_eq!(
        (alive(), expiring(), folders(&store), registry.reserved()),
        (0, 0, 0, 0)
    );
    assert_eq!(registry.counters().read(), (602, 301, 301));
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_forgotten_when_it_expires() {
    let (store, registry) = registry(|_| {});
    let running = start(&registry);
    let first = Arc::downgrade(&finished(&registry, KIND, 10));
    sleep(30 * MINUTE).await;
    let capture = start(&registry);
    fail(&registry, &capture, RecordError::TargetExited);
    let failed = Arc::downgrade(&capture);
    drop(capture);
    sleep(29 * MINUTE).await;
    assert!(first.strong_count() == 1 && registry.reserved() == 10);
    sleep(2 * MINUTE).await;
    assert!(
        first.strong_count() == 0 && registry.reserved() == 0,
        "the first is 61 minutes old"
    );
    assert_eq!((failed.strong_count(), folders(&store)), (1, 1));
    sleep(30 * MINUTE).await;
    assert_eq!(failed.strong_count(), 0);
    sleep(600 * MINUTE).await;
    assert!(kept(&registry, &running), "it was not over");
    registry.end(&running, registry.lease(0), Err(RecordError::Cancelled));
    sleep(61 * MINUTE).await;
    assert!(!kept(&registry, &running));
}

#[tokio::test]
async fn after_a_shutdown_nothing_is_registered_and_the_store_stays_away() {
    let (store, registry) = registry(|_| {});
    let running = start(&registry);
    assert_eq!(registry.close().len(), 1);
    registry.closed().await;
    let refused = registry.register(&plan(KIND)).unwrap_err();
    assert!(matches!(refused, CaptureError::ShuttingDown), "{refused}");
    assert_eq!(folders(&store), 1);
    registry.end(&running, registry.lease(0), Err(RecordError::Cancelled));
    registry.leave_store();
    assert!(registry.register(&plan(KIND)).is_err());
    assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_lease_that_grows_evicts_what_was_fetched_oldest_first() {
    let (_store, registry) = registry(|settings| {
        settings.store_bytes = 100;
        settings.store_captures = 10;
    });
    let fetched = [(); 3].map(|()| finished(&registry, KIND, 20));
    assert!(fetched.iter().all(|capture| capture.mark_expendable()));
    let awaited = finished(&registry, KIND, 20);
    let failed = start(&registry);
    fail(&registry, &failed, RecordError::TargetExited);
    let all =
        |registry: &Registry| [&fetched[0], &fetched[1], &fetched[2], &awaited, &failed].map(|one| kept(registry, one));

    let mut lease = registry.lease(20);
    assert_eq!(all(&registry), [true; 5], "there was room");
    assert!(lease.grow(10));
    assert_eq!((lease.bytes(), all(&registry)), (30, [false, true, true, true, true]));
    let reader = fetched[1].directory.open(None).unwrap();
    assert!(lease.grow(30));
    // One is being read, one nobody had yet, and one holds no bytes.
    assert_eq!((lease.bytes(), all(&registry)), (60, [false, true, false, true, true]));
    assert!(!lease.grow(1));
    drop(reader);
    assert!(lease.grow(10));
    assert_eq!((lease.bytes(), all(&registry)), (70, [false, false, false, true, true]));
    assert!(matches!(registry.room(50), Err(CaptureError::StoreFull { .. })));
}

#[tokio::test]
async fn the_number_of_captures_is_bounded_whatever_became_of_them() {
    let (_store, registry) = registry(|_| {});
    for _ in 0..10 {
        fail(&registry, &start(&registry), RecordError::TargetExited);
    }
    assert_eq!(registry.list().len(), 4);
    let running = [(); 2].map(|()| start(&registry));
    let awaited = [(); 2].map(|()| finished(&registry, KIND, 10));
    let full = registry.register(&plan(KIND)).unwrap_err();
    assert!(
        matches!(&full, CaptureError::StoreFull { detail } if detail.starts_with("4 captures")),
        "{full}"
    );
    assert!(running.iter().chain(&awaited).all(|capture| kept(&registry, capture)));
    awaited[1].mark_expendable();
    start(&registry);
    assert!(!kept(&registry, &awaited[1]));
}

#[tokio::test(start_paused = true)]
async fn an_artifact_that_is_being_read_stays_readable_and_takes_its_place_when_its_capture_is_gone() {
    let (_store, registry) = registry(|_| {});
    let capture = finished(&registry, KIND, 10);
    let mut reader = capture.directory.open(None).unwrap();
    sleep(61 * MINUTE).await;
    assert!(!kept(&registry, &capture));
    assert_eq!((registry.being_read(), registry.reserved()), (1, 10));
    let mut read = Vec::new();
    io::Read::read_to_end(&mut reader.file, &mut read).unwrap();
    assert_eq!(read.len(), 10);
    drop(reader);
    assert_eq!((registry.being_read(), registry.reserved()), (0, 0));
}

#[tokio::test]
async fn a_recording_that_cannot_be_kept_is_a_failed_capture_without_files() {
    let (store, registry) = registry(|_| {});
    let capture = start(&registry);
    registry.end(&capture, registry.room(10).unwrap(), Ok(quality()));
    assert!(
        matches!(capture.state(), CaptureState::Failed(_)),
        "it has no recording"
    );
    assert_eq!((folders(&store), registry.reserved()), (0, 0));
}

#[tokio::test]
async fn an_expiry_of_centuries_is_possible() {
    let (_store, registry) = registry(|settings| settings.expiry = Duration::from_secs(u64::MAX / 1000));
    let capture = finished(&registry, KIND, 10);
    assert!(kept(&registry, &capture));
}

/// A registry whose captures outlive it, in `store`.
fn keeping(store: &Path, change: impl FnOnce(&mut Settings)) -> Arc<Registry> {
    let mut settings = settings(store);
    settings.keeps = true;
    change(&mut settings);
    Registry::open(&settings).unwrap()
}

/// Ends the server, as SIGKILL does: nothing is said, and the lock is free.
async fn kill(registry: Arc<Registry>) {
    let gone = Arc::downgrade(&registry);
    drop(registry);
    // Its task lets go of it at its next turn.
    while gone.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_next_server_has_what_was_finished_and_says_of_the_rest_that_it_was_interrupted() {
    let store = tempfile::tempdir().unwrap();
    let before = keeping(store.path(), |_| {});
    let whole = finished(&before, KIND, 10);
    whole.mark_expendable();
    whole.recording_digest().await.unwrap();
    let said = RemarksChange {
        name: Some("before".to_owned()),
        ..RemarksChange::default()
    };
    before.remark(&whole, &said).unwrap();
    let half = start(&before);
    half.directory.create_recording().unwrap().set_len(10).unwrap();
    let failed = start(&before);
    fail(&before, &failed, RecordError::TargetExited);
    let artifact = whole.directory.create_partial("svg").unwrap();
    artifact.publish(before.lease(10)).unwrap();
    let (told, ids) = (Metadata::of(&whole), [&whole, &half, &failed].map(|one| one.id.clone()));
    drop((whole, half, failed));
    kill(before).await;

    let after = keeping(store.path(), |_| {});
    assert_eq!(after.list().len(), 3);
    let [whole, half, failed] = ids.map(|id| after.get(id.as_str()).unwrap());
    assert_eq!(Metadata::of(&whole), told);
    let files = |capture: &Capture| capture.directory.files();
    assert_eq!(
        files(&whole),
        ["metadata.json", "recording"],
        "what is made of it is made again"
    );
    let error = |capture: &Capture| match capture.state() {
        CaptureState::Failed(CaptureError::Record(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(&half), RecordError::Interrupted);
    assert_eq!(error(&failed), RecordError::TargetExited);
    assert_eq!(
        (files(&half), files(&failed)),
        (vec!["metadata.json".to_owned()], vec!["metadata.json".to_owned()])
    );
    let leased: u64 = [&whole, &half, &failed]
        .map(|one| one.directory.removable_bytes().unwrap())
        .iter()
        .sum();
    assert_eq!(after.reserved(), leased);
    after.list().iter().for_each(|capture| after.forget(&capture.id));
    assert_eq!(after.reserved(), 0);
    after.leave_store();
    assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_does_not_fit_or_has_expired_or_is_damaged_is_not_adopted() {
    let store = tempfile::tempdir().unwrap();
    let before = keeping(store.path(), |_| {});
    let old = finished(&before, KIND, 10);
    old.expire_at(Some(SystemTime::now() - MINUTE));
    before.describe(&old);
    let damaged = finished(&before, KIND, 10);
    before.describe(&damaged);
    std::fs::write(damaged.directory.file("metadata.json"), "{").unwrap();
    let planted = finished(&before, KIND, 10);
    std::fs::remove_file(planted.directory.file("metadata.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", planted.directory.file("metadata.json")).unwrap();
    let whole = finished(&before, KIND, 10).id.clone();
    drop((old, damaged, planted));
    kill(before).await;

    let after = keeping(store.path(), |_| {});
    assert_eq!(
        after.list().iter().map(|one| one.id.clone()).collect::<Vec<_>>(),
        vec![whole]
    );
    let newer = finished(&after, KIND, 20).id.clone();
    kill(after).await;
    let small = keeping(store.path(), |settings| settings.store_captures = 1);
    assert_eq!(
        small.list().iter().map(|one| one.id.clone()).collect::<Vec<_>>(),
        [newer]
    );
    kill(small).await;
    let tiny = keeping(store.path(), |settings| settings.store_bytes = 19);
    assert_eq!((tiny.list().len(), tiny.reserved()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_pinned_is_neither_evicted_nor_forgotten_and_half_of_the_store_may_be() {
    let (_store, registry) = registry(|settings| settings.store_bytes = 100);
    let pin = |capture: &Capture, pinned| {
        let change = RemarksChange {
            pinned: Some(pinned),
            ..RemarksChange::default()
        };
        registry.remark(capture, &change)
    };
    let running = start(&registry);
    assert!(matches!(pin(&running, true), Err(CaptureError::NotFinished(_))));
    registry.forget(&running.id);
    let [first, second] = [(); 2].map(|()| finished(&registry, KIND, 20));
    let large = finished(&registry, KIND, 40);
    pin(&first, true).unwrap();
    pin(&first, true).unwrap();
    assert!(
        matches!(pin(&large, true), Err(CaptureError::TooMuchPinned { .. })),
        "too many bytes"
    );
    pin(&second, true).unwrap();
    let small = finished(&registry, KIND, 1);
    assert!(
        matches!(pin(&small, true), Err(CaptureError::TooMuchPinned { .. })),
        "two of four"
    );
    for capture in [&first, &second, &large, &small] {
        capture.mark_expendable();
    }
    let svg = first.directory.create_partial("svg").unwrap();
    svg.file.set_len(5).unwrap();
    svg.publish(registry.lease(5)).unwrap();
    assert_eq!(registry.lease(100).bytes(), 60, "all but what is pinned");
    assert!(kept(&registry, &first) && kept(&registry, &second));
    assert!(!kept(&registry, &large) && !kept(&registry, &small));
    sleep(600 * MINUTE).await;
    assert!(kept(&registry, &first) && first.expires_at().is_none());
    pin(&first, false).unwrap();
    sleep(59 * MINUTE).await;
    assert!(kept(&registry, &first));
    sleep(2 * MINUTE).await;
    assert!(!kept(&registry, &first) && kept(&registry, &second));
}
