use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::examples::{plan, quality, settings};
use super::render_queue::WaitUntil;
use super::*;
use crate::format::RecordingKind;
use crate::profile::Quality;

fn captures() -> (tempfile::TempDir, Arc<Captures>) {
    let store = tempfile::tempdir().unwrap();
    let captures = Captures::new(settings(store.path())).unwrap();
    (store, captures)
}

/// A running capture for a client that waits for `format` of a pprof recording. The test is its recorder.
fn start(captures: &Captures, format: Format) -> (Arc<Capture>, watch::Receiver<Command>) {
    let mut plan = plan(RecordingKind::Pprof);
    plan.format = format;
    captures.registry.register(&plan).unwrap()
}

fn end(captures: &Captures, capture: &Capture, recorded: Result<Quality, RecordError>) {
    capture.directory.create_recording().unwrap().set_len(3).unwrap();
    captures
        .registry
        .end(capture, captures.registry.room(3).unwrap(), recorded);
}

#[tokio::test]
async fn a_waiting_client_gets_the_artifact_and_the_capture_stays() {
    let (_store, captures) = captures();
    let (capture, _commands) = start(&captures, Format::Pprof);
    let recording = async { end(&captures, &capture, Ok(quality())) };
    let all = View::default();
    let (artifact, ()) = tokio::join!(captures.wait_for(&capture, &all), recording);
    assert_eq!(artifact.unwrap().meta.length, 3);
    assert_eq!(captures.being_read(), 0);
    let artifact = captures.artifact(&capture, None, None, &View::default()).await.unwrap();
    assert_eq!(captures.being_read(), 1);
    drop(artifact);
    assert!(capture.may_be_evicted());
    assert!(captures.get(capture.id.as_str()).is_ok());
    assert!(
        captures
            .artifact(&capture, Some(Format::Jfr), None, &View::default())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_client_whose_artifact_cannot_be_rendered_may_fetch_another_format() {
    let (_store, captures) = captures();
    let (capture, _commands) = start(&captures, Format::Svg);
    end(&captures, &capture, Ok(quality()));
    let _others = captures.render_queue.turn(WaitUntil::of_now()).await.unwrap();
    let error = captures.wait_for(&capture, &View::default()).await.unwrap_err();
    assert!(matches!(&error, CaptureError::NotRendered { capture: id, .. } if id == capture.id.as_str()));
    let kept = captures.get(capture.id.as_str()).unwrap();
    assert!(
        captures
            .artifact(&kept, Some(Format::Pprof), None, &View::default())
            .await
            .is_ok()
    );
    assert!(
        kept.may_be_evicted(),
        "somebody who only repeats the request would fill the store"
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_client_that_goes_away_cancels_its_capture() {
    let (_store, captures) = captures();
    let (capture, mut commands) = start(&captures, Format::Pprof);
    let all = View::default();
    let waiting = tokio::time::timeout(Duration::from_secs(1), captures.wait_for(&capture, &all));
    assert!(waiting.await.is_err());
    assert!(commands.wait_for(|command| *command == Command::Cancel).await.is_ok());
    assert!(captures.get(capture.id.as_str()).is_ok(), "its target is not clean");
    end(&captures, &capture, Err(RecordError::Cancelled));
    sleep(Duration::from_millis(1)).await;
    assert!(captures.get(capture.id.as_str()).is_err());
    assert_eq!(captures.store_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_capture_is_cancelled_and_gone_when_its_recorder_has_ended() {
    let (_store, captures) = captures();
    let (capture, mut commands) = start(&captures, Format::Pprof);
    let recording = async {
        assert!(commands.wait_for(|command| *command == Command::Cancel).await.is_ok());
        sleep(Duration::from_secs(5)).await;
        end(&captures, &capture, Err(RecordError::Cancelled));
    };
    let started = Instant::now();
    let (deleted, ()) = tokio::join!(captures.delete(capture.id.as_str()), recording);
    assert!(deleted.is_ok() && started.elapsed() >= Duration::from_secs(5));
    assert!(captures.delete(capture.id.as_str()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cancels_waits_no_longer_than_allowed_and_removes_the_store() {
    let (store, captures) = captures();
    let [(hangs, mut first), (ends, mut second)] = [Format::Pprof; 2].map(|format| start(&captures, format));
    let recorders = async {
        for commands in [&mut first, &mut second] {
            assert!(commands.wait_for(|command| *command == Command::Cancel).await.is_ok());
        }
        end(&captures, &ends, Err(RecordError::Cancelled));
    };
    let started = Instant::now();
    let all = View::default();
    let ((), (), answer) = tokio::join!(captures.shut_down(), recorders, captures.wait_for(&hangs, &all));
    assert!(matches!(answer, Err(CaptureError::ShuttingDown)));
    assert_eq!(started.elapsed().as_secs(), 25);
    assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_over_when_all_targets_are_clean() {
    let (_store, captures) = captures();
    let (capture, mut commands) = start(&captures, Format::Pprof);
    let recorder = async {
        assert!(commands.wait_for(|command| *command == Command::Cancel).await.is_ok());
        sleep(Duration::from_secs(3)).await;
        end(&captures, &capture, Err(RecordError::Cancelled));
    };
    let started = Instant::now();
    tokio::join!(captures.shut_down(), recorder);
    assert_eq!(started.elapsed().as_secs(), 3);
}
