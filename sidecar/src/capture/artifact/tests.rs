use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::Write;

use tokio::time::{Duration, Instant, sleep};

use super::*;
use crate::capture::examples::{finished, plan, registry};

/// Writes the name of the format.
async fn write(
    _: &Children,
    order: &RenderOrder,
    _recording: File,
    mut artifact: File,
) -> Result<Quality, RenderFailure> {
    artifact.write_all(order.format.name().as_bytes()).unwrap();
    Ok(order.quality.clone())
}

async fn never(_: &Children, _: &RenderOrder, _: File, _: File) -> Result<Quality, RenderFailure> {
    pending().await
}

fn content(mut artifact: Artifact) -> String {
    let mut content = String::new();
    artifact.file.read_to_string(&mut content).unwrap();
    assert_eq!(content.len() as u64, artifact.meta.length);
    content
}

fn kept_despite(error: CaptureError) -> (String, Vec<Format>, CaptureError) {
    match error {
        CaptureError::NotRendered { capture, others, cause } => (capture, others, *cause),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_recording_itself_is_handed_out_without_a_renderer_and_the_rest_is_rendered_once() {
    let (_store, registry) = registry(|_| {});
    let capture = finished(&registry, RecordingKind::Pprof, 3);
    let runs = Cell::new(0);
    let queue = RenderQueue::default();
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: async |children: &Children, order: &RenderOrder, recording: File, artifact: File| {
            runs.set(runs.get() + 1);
            tokio::task::yield_now().await;
            assert_eq!(recording.metadata().unwrap().len(), 3);
            write(children, order, recording, artifact).await
        },
    };
    assert_eq!(
        content(capture.artifact(Format::Pprof, &workshop).await.unwrap()),
        "x\0\0"
    );
    assert_eq!(runs.get(), 0);
    let (first, second) = tokio::join!(
        capture.artifact(Format::Svg, &workshop),
        capture.artifact(Format::Svg, &workshop)
    );
    assert_eq!(
        first.as_ref().unwrap().meta.sha256,
        second.as_ref().unwrap().meta.sha256
    );
    assert_eq!(
        (content(first.unwrap()), content(second.unwrap())),
        ("svg".to_owned(), "svg".to_owned())
    );
    assert_eq!((runs.get(), registry.reserved()), (1, 6));
}

#[tokio::test]
async fn renderers_of_all_captures_run_one_at_a_time() {
    let (_store, registry) = registry(|_| {});
    let captures = [(); 3].map(|()| finished(&registry, RecordingKind::Collapsed, 3));
    let running = Cell::new(0);
    let queue = RenderQueue::default();
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: async |children: &Children, order: &RenderOrder, recording: File, artifact: File| {
            running.set(running.get() + 1);
            assert_eq!(running.get(), 1);
            tokio::task::yield_now().await;
            running.set(running.get() - 1);
            write(children, order, recording, artifact).await
        },
    };
    let [first, second, third] = captures
        .each_ref()
        .map(|one| one.artifact(Format::Collapsed, &workshop));
    let (first, second, third) = tokio::join!(first, second, third);
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_the_renderers_of_others_is_told_so_and_what_is_made_is_not_waited_for() {
    let (_store, registry) = registry(|_| {});
    let [slow, other] = [(); 2].map(|()| finished(&registry, RecordingKind::Pprof, 3));
    let queue = RenderQueue::default();
    let quick = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: write,
    };
    let hangs = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: never,
    };
    slow.artifact(Format::Svg, &quick).await.unwrap();
    let started = Instant::now();
    let hanging = slow.artifact(Format::Speedscope, &hangs);
    let others = async {
        // Once that one has its turn.
        sleep(Duration::from_millis(1)).await;
        assert!(slow.artifact(Format::Svg, &quick).await.is_ok());
        assert!(other.artifact(Format::Pprof, &quick).await.is_ok());
        assert!(started.elapsed() < Duration::from_secs(1));
        // For the renderer, and for the capture.
        tokio::join!(
            other.artifact(Format::Svg, &quick),
            slow.artifact(Format::Collapsed, &quick)
        )
    };
    let (one, two) = tokio::select! {
        _ = hanging => panic!("it hangs"),
        answers = others => answers,
    };
    for late in [one, two] {
        let (_, _, cause) = kept_despite(late.unwrap_err());
        assert!(matches!(cause, CaptureError::Busy { .. }), "{cause:?}");
    }
    assert_eq!(started.elapsed().as_secs(), 60);
    // The one that hung is gone, and with it its turn.
    assert_eq!(content(other.artifact(Format::Svg, &quick).await.unwrap()), "svg");
}

#[tokio::test]
async fn a_failed_renderer_leaves_the_recording_and_the_error_names_what_else_there_is() {
    let (_store, registry) = registry(|_| {});
    let capture = finished(&registry, RecordingKind::Pprof, 3);
    let queue = RenderQueue::default();
    let fails = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: async |_: &Children, _: &RenderOrder, _: File, mut artifact: File| {
            artifact.write_all(b"half").unwrap();
            Err(RenderFailure::Failed("a bug".to_owned()))
        },
    };
    let (id, others, cause) = kept_despite(capture.artifact(Format::Svg, &fails).await.unwrap_err());
    assert_eq!(
        (id.as_str(), others),
        (
            capture.id.as_str(),
            vec![
                Format::Collapsed,
                Format::Pprof,
                Format::Speedscope,
                Format::Top,
                Format::TopJson,
                Format::Flame
            ]
        )
    );
    assert!(matches!(cause, CaptureError::Render(_)));
    assert_eq!(registry.reserved(), 3, "the half artifact is gone");
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: write,
    };
    assert!(capture.artifact(Format::Pprof, &workshop).await.is_ok());
    assert_eq!(content(capture.artifact(Format::Svg, &workshop).await.unwrap()), "svg");
}

#[tokio::test]
async fn a_renderer_that_needs_more_room_evicts_what_was_fetched() {
    const MIB: u64 = 1 << 20;
    let (_store, registry) = registry(|settings| settings.store_bytes = 24 * MIB);
    let fetched = finished(&registry, RecordingKind::Pprof, 12 * MIB);
    fetched.mark_expendable();
    let capture = finished(&registry, RecordingKind::Pprof, MIB);
    let rooms = RefCell::new(Vec::new());
    let queue = RenderQueue::default();
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: async |children: &Children, order: &RenderOrder, recording: File, artifact: File| {
            rooms.borrow_mut().push(order.max_bytes / MIB);
            if order.max_bytes < 13 * MIB {
                return Err(RenderFailure::NoRoom(NoRoom::Store));
            }
            write(children, order, recording, artifact).await
        },
    };
    // Also of its own capture nothing may go meanwhile.
    capture.mark_expendable();
    assert!(capture.artifact(Format::Svg, &workshop).await.is_ok());
    assert_eq!(*rooms.borrow(), [4, 16]);
    assert!(registry.get(fetched.id.as_str()).is_none());
    assert_eq!(registry.reserved(), MIB + 3);
}

#[tokio::test]
async fn what_is_not_finished_deleted_or_failed_has_no_artifact() {
    let (_store, registry) = registry(|_| {});
    let queue = RenderQueue::default();
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: write,
    };
    let (running, _commands) = registry.register(&plan(RecordingKind::Pprof)).unwrap();
    let early = running.artifact(Format::Svg, &workshop).await;
    assert!(matches!(early, Err(CaptureError::NotFinished(_))));
    let deleted = finished(&registry, RecordingKind::Pprof, 3);
    registry.forget(&deleted.id);
    for format in [Format::Svg, Format::Pprof] {
        let late = deleted.artifact(format, &workshop).await;
        assert!(matches!(late, Err(CaptureError::NoSuchCapture(_))), "{format}");
    }
    assert_eq!(registry.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_is_deleted_while_it_is_rendered_leaves_nothing() {
    let (_store, registry) = registry(|_| {});
    let capture = finished(&registry, RecordingKind::Pprof, 3);
    let queue = RenderQueue::default();
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: async |children: &Children, order: &RenderOrder, recording: File, artifact: File| {
            registry.forget(&capture.id);
            assert!(
                registry.reserved() > 3,
                "a recording that is being rendered takes its place"
            );
            write(children, order, recording, artifact).await
        },
    };
    let rendered = capture.artifact(Format::Svg, &workshop).await;
    assert!(matches!(rendered, Err(CaptureError::NoSuchCapture(_))));
    assert_eq!(registry.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_while_its_artifact_is_rendered_leaves_nothing_half() {
    let (_store, registry) = registry(|_| {});
    let capture = finished(&registry, RecordingKind::Pprof, 3);
    let queue = RenderQueue::default();
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: never,
    };
    let waiting = tokio::time::timeout(Duration::from_secs(1), capture.artifact(Format::Svg, &workshop));
    assert!(waiting.await.is_err());
    assert_eq!((registry.reserved(), registry.being_read()), (3, 0));
    assert!(!capture.may_be_evicted(), "nobody had it");
    capture.mark_expendable();
    assert!(capture.may_be_evicted());
}

/// A finished capture of `cpu` and `alloc` in one JFR.
fn of_two_events(registry: &Registry) -> std::sync::Arc<Capture> {
    let mut plan = plan(RecordingKind::Jfr);
    plan.order.event = "cpu,alloc".parse().unwrap();
    let (capture, _commands) = registry.register(&plan).unwrap();
    let lease = registry.room(3).unwrap();
    capture.directory.create_recording().unwrap().write_all(b"jfr").unwrap();
    registry.end(&capture, lease, Ok(Quality::default()));
    capture
}

#[tokio::test]
async fn each_event_of_a_recording_is_an_artifact_of_its_own() {
    let (_store, registry) = registry(|_| {});
    let capture = of_two_events(&registry);
    let queue = RenderQueue::default();
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: async |_: &Children, order: &RenderOrder, _: File, mut artifact: File| {
            let line = format!("{} {:?}", order.event.clone().unwrap(), order.sample_type);
            artifact.write_all(line.as_bytes()).unwrap();
            Ok(order.quality.clone())
        },
    };
    for (event, format, expected) in [
        (Event::Cpu, Format::Collapsed, "cpu Some(\"samples\")"),
        (Event::Cpu, Format::Pprof, "cpu None"),
        (Event::Alloc, Format::Collapsed, "alloc None"),
    ] {
        let wanted = capture.wanted(Some(format), Some(&event), &View::default()).unwrap();
        let artifact = capture.artifact(wanted, &workshop).await.unwrap();
        assert_eq!(artifact.meta.event, Some(event.clone()));
        assert!(
            artifact.file_name.contains(&format!("_{event}_")),
            "{}",
            artifact.file_name
        );
        assert_eq!(content(artifact), expected);
    }
    let whole = capture.wanted(None, None, &View::default()).unwrap();
    assert_eq!(content(capture.artifact(whole, &workshop).await.unwrap()), "jfr");
}

#[tokio::test]
async fn of_several_events_one_must_be_chosen_and_it_must_be_there() {
    let (_store, registry) = registry(|_| {});
    let refused = |capture: &Capture, format, event: Option<&Event>| {
        let wanted = capture.wanted(Some(format), event, &View::default());
        matches!(wanted, Err(CaptureError::Request(_)))
    };
    let two = of_two_events(&registry);
    assert!(refused(&two, Format::Svg, None) && refused(&two, Format::Svg, Some(&Event::Lock)));
    assert!(refused(&two, Format::Jfr, Some(&Event::Cpu)), "it has both");
    let one = finished(&registry, RecordingKind::Jfr, 3);
    assert!(refused(&one, Format::Svg, Some(&Event::Alloc)));
    let wanted = one
        .wanted(Some(Format::Svg), Some(&Event::Cpu), &View::default())
        .unwrap();
    assert_eq!(wanted, Format::Svg.into(), "the only one need not be said, and may be");
}

#[tokio::test]
async fn parts_are_rendered_once_and_the_oldest_of_many_makes_room() {
    let (_store, registry) = registry(|_| {});
    let capture = finished(&registry, RecordingKind::Pprof, 3);
    let (queue, runs) = (RenderQueue::default(), Cell::new(0));
    let workshop = Workshop {
        registry: &registry,
        queue: &queue,
        children: &Children::default(),
        render: async |_: &Children, order: &RenderOrder, _: File, mut artifact: File| {
            runs.set(runs.get() + 1);
            artifact.write_all(order.view.words().as_bytes()).unwrap();
            Ok(order.quality.clone())
        },
    };
    let part = async |number: u32| {
        let view = View::of_focus(format!("f{number}").parse().unwrap());
        // Also of the native format: a part of it is not the recording as it is.
        let wanted = capture.wanted(Some(Format::Pprof), None, &view).unwrap();
        capture.artifact(wanted, &workshop).await.unwrap()
    };
    let first = part(0).await;
    assert_eq!((part(0).await.meta.sha256, runs.get()), (first.meta.sha256.clone(), 1));
    let one = registry.reserved();
    for number in 0..300 {
        assert_eq!(content(part(number).await), format!("focus=f{number}"));
    }
    // The recording, eight parts, and the one that is still being read.
    assert!(registry.reserved() < one + 9 * 10, "{} and {one}", registry.reserved());
    assert_eq!(content(first), "focus=f0");
    assert_eq!(runs.get(), 300);
    assert_eq!((content(part(299).await), runs.get()), ("focus=f299".to_owned(), 300));
    assert_eq!((content(part(0).await), runs.get()), ("focus=f0".to_owned(), 301));
}

#[tokio::test]
async fn a_part_of_what_is_copied_is_refused() {
    let (_store, registry) = registry(|_| {});
    let capture = finished(&registry, RecordingKind::Jfr, 3);
    let view = View::of_focus("a".parse().unwrap());
    let refused = capture.wanted(Some(Format::Jfr), None, &view).unwrap_err();
    assert!(matches!(refused, CaptureError::Indivisible { .. }), "{refused}");
    assert!(capture.wanted(Some(Format::Svg), None, &view).is_ok());
}
