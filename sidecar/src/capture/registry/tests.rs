use tokio::time::sleep;

use super::*;
use crate::capture::CaptureState;
use crate::capture::examples::{finished, plan, quality, registry};
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
    registry.remove_store();
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
    fetched.iter().for_each(|capture| capture.mark_expendable());
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
