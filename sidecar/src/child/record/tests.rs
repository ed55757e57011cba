//! Recorders that do as they should, and those that hang, babble, die, flood, ask for room for ever or ignore a cancel.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::child::script::{HANG, LISTEN, children, hurried, say, send, unhurried};
use crate::child::{Port, Timeouts};
use crate::event::Event;
use crate::format::RecordingKind;
use crate::process::{Process, ProcessId, ProcessTable};
use crate::profile::quality::Clock;
use crate::runtime::{Advertise, Asked, Options, RuntimeFacts, RuntimeSettings};

/// For a JVM, in which a killed recorder leaves something.
fn order() -> RecordOrder {
    RecordOrder {
        seconds: 0,
        ..RecordOrder::example(RecordingKind::Collapsed)
    }
}

fn quality() -> Quality {
    Quality {
        sampler: Some("script".to_owned()),
        clock: Some(Clock::None),
        pid: Some(17),
        process: Some("shop".to_owned()),
        ..Quality::default()
    }
}

#[derive(Debug)]
struct TestRoom {
    bytes: u64,
    most: u64,
}

impl Room for TestRoom {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn grow(&mut self, more: u64) -> bool {
        let before = self.bytes;
        self.bytes = (before + more).min(self.most);
        self.bytes > before
    }
}

/// A capture by a scripted recorder.
struct Scripted {
    folder: TempDir,
    children: Children,
    order: RecordOrder,
    room: TestRoom,
    commands: watch::Sender<Command>,
    phases: Vec<Phase>,
}

impl Scripted {
    /// `recorder` records and `sweeper` sweeps.
    fn new(recorder: &str, sweeper: &str, timeouts: Timeouts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let script =
            format!("case $0 in *sweeper) echo >{path}/swept; {sweeper};; *) echo >{path}/started; {recorder};; esac");
        Self {
            children: children(&script, timeouts),
            folder,
            order: order(),
            room: TestRoom { bytes: 0, most: 0 },
            commands: watch::Sender::default(),
            phases: Vec::new(),
        }
    }

    async fn run(&mut self) -> Result<Quality, RecordError> {
        let file = self.recording();
        let commands = self.commands.subscribe();
        let phases = &mut self.phases;
        self.children
            .record(&self.order, file, &mut self.room, commands, |phase| phases.push(phase))
            .await
    }

    fn recording(&self) -> File {
        let path = self.folder.path().join("recording");
        File::options().append(true).create(true).open(path).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }
}

fn detail(outcome: Result<Quality, RecordError>) -> String {
    match outcome {
        Err(RecordError::Internal { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_recorder_that_does_as_told_is_believed() {
    let script = [
        say(&Report::Phase(Phase::Attaching)),
        say(&Report::Phase(Phase::Sampling)),
        say(&Report::Done(Box::new(quality()))),
        LISTEN.to_owned(),
    ];
    let mut capture = Scripted::new(&script.join(";"), "", unhurried());
    assert_eq!(capture.run().await, Ok(quality()));
    assert_eq!(capture.phases, [Phase::Attaching, Phase::Sampling]);
    assert!(!capture.has("swept"), "it cleaned up by itself");
}

#[tokio::test]
async fn whose_recording_it_is_says_the_order_and_not_the_recorder() {
    let forged = Quality {
        pid: Some(1),
        process: Some("payments".to_owned()),
        pod: Some("prod/payments".to_owned()),
        container: Some("payments".to_owned()),
        ..quality()
    };
    for claim in [
        forged,
        Quality {
            pid: None,
            process: None,
            ..quality()
        },
    ] {
        let script = say(&Report::Done(Box::new(claim)));
        assert_eq!(Scripted::new(&script, "", unhurried()).run().await, Ok(quality()));
    }
}

#[tokio::test]
async fn a_recorder_that_hangs_and_does_not_even_read_is_timed_out_killed_and_swept_after() {
    let mut capture = Scripted::new(
        HANG,
        "",
        Timeouts {
            sweep: unhurried().sweep,
            ..hurried()
        },
    );
    // More than a socket holds.
    capture.order.target.name = "x".repeat(4 << 20);
    let error = capture.run().await.unwrap_err();
    assert!(matches!(error, RecordError::Timeout { .. }), "{error:?}");
    assert!(capture.has("swept"));
}

#[tokio::test]
async fn a_capture_that_took_too_long_is_a_timeout_also_if_its_recorder_calls_it_cancelled() {
    let script = format!("{LISTEN}; {}; exit 1", say(&Report::Failed(RecordError::Cancelled)));
    let timeouts = Timeouts {
        grace: hurried().grace,
        ..unhurried()
    };
    let error = Scripted::new(&script, "", timeouts).run().await.unwrap_err();
    assert!(matches!(error, RecordError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_cancel_gets_through_behind_any_number_of_stops() {
    let script = format!("{LISTEN}; {}; exit 1", say(&Report::Failed(RecordError::Cancelled)));
    let mut capture = Scripted::new(&script, "", unhurried());
    let commands = capture.commands.clone();
    let orders = async {
        for _ in 0..100 {
            Command::Stop.raise(&commands);
            tokio::task::yield_now().await;
        }
        Command::Cancel.raise(&commands);
        Command::Stop.raise(&commands);
    };
    let (outcome, ()) = tokio::join!(capture.run(), orders);
    assert_eq!(outcome, Err(RecordError::Cancelled));
    assert!(!capture.has("swept"));
}

#[tokio::test]
async fn a_stop_is_said_and_what_there_is_kept() {
    let stop = frame_length(&Word::Stop);
    let order = frame_length(&ChildOrder::Record(Box::new(order())));
    // One byte says how many files there are.
    let script = format!(
        "head -c {} <&0 >/dev/null; {}",
        1 + order + stop,
        say(&Report::Done(Box::new(quality())))
    );
    let mut capture = Scripted::new(&script, "", unhurried());
    Command::Stop.raise(&capture.commands);
    assert_eq!(capture.run().await, Ok(quality()));
}

#[tokio::test]
async fn a_capture_cancelled_before_it_began_starts_nothing() {
    let mut capture = Scripted::new("", "", unhurried());
    Command::Cancel.raise(&capture.commands);
    assert_eq!(capture.run().await, Err(RecordError::Cancelled));
    assert!(!capture.has("started"));
}

#[tokio::test]
async fn nothing_a_recorder_says_moves_the_end_of_its_clean_up() {
    // It ignores the cancel and goes on talking; the sweeper after it hangs.
    let script = format!("while :; do {}; sleep 0.02; done", say(&Report::Phase(Phase::Stopping)));
    let timeouts = hurried();
    let allowed = timeouts.clean_up + timeouts.sweep;
    let mut capture = Scripted::new(
        &script,
        HANG,
        Timeouts {
            grace: unhurried().grace,
            ..timeouts
        },
    );
    let commands = capture.commands.clone();
    let started = capture.folder.path().join("started");
    let begun = async {
        while !started.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Command::Cancel.raise(&commands);
        Instant::now()
    };
    let (outcome, begun) = tokio::join!(capture.run(), begun);
    assert_eq!(outcome, Err(RecordError::Cancelled));
    assert!(capture.has("swept"));
    // A busy machine needs some time to reap two processes; without an end it would be endless.
    assert!(
        begun.elapsed() < allowed + Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_recorder_that_floods_is_not_listened_to() {
    let mut padded = serde_json::to_vec(&Report::Phase(Phase::Sampling)).unwrap();
    padded.resize(4096, b' ');
    let frame = [&4096_u32.to_be_bytes()[..], &padded].concat();
    for (script, complaint) in [
        ("exec yes >&2".to_owned(), "on stderr"),
        (
            format!("while :; do {}; done 2>/dev/null", send(&frame)),
            "too many messages",
        ),
        (send(&10_000_000_u32.to_be_bytes()), "a message of more than"),
        (say(&"PING"), "not a message"),
    ] {
        let mut capture = Scripted::new(
            &script,
            "",
            Timeouts {
                clean_up: hurried().clean_up,
                ..unhurried()
            },
        );
        let detail = detail(capture.run().await);
        assert!(detail.contains(complaint), "{detail}");
        assert!(detail.len() < 2 * 4096, "{} bytes are kept", detail.len());
        assert!(capture.has("swept"));
    }
}

#[tokio::test]
async fn a_recorder_that_dies_says_why_and_is_swept_after() {
    let dies = |script: &'static str| async move {
        let mut capture = Scripted::new(script, "", unhurried());
        let outcome = capture.run().await;
        assert!(capture.has("swept"), "{script}");
        outcome
    };
    assert_eq!(dies("kill -KILL $$").await, Err(RecordError::Killed));
    let refused = "ulimit -c 0; echo memory allocation of 5 bytes failed >&2; kill -ABRT $$";
    assert_eq!(dies(refused).await, Err(RecordError::OutOfMemory));
    let detail = detail(dies("echo it is a pity >&2; exit 3").await);
    assert!(detail.contains("it is a pity (exit status: 3)"), "{detail}");
}

#[tokio::test]
async fn room_is_for_those_who_fill_what_they_have() {
    let asks = format!("while :; do {}; done 2>/dev/null", say(&Report::NeedsRoom));
    let timeouts = Timeouts {
        clean_up: hurried().clean_up,
        ..unhurried()
    };
    let mut idle = Scripted::new(&asks, "", timeouts.clone());
    idle.room = TestRoom {
        bytes: 10,
        most: u64::MAX,
    };
    let refused = detail(idle.run().await);
    assert!(refused.contains("room that it does not use"), "{refused}");
    assert_eq!(idle.room.bytes, 10);

    let mut full = Scripted::new(&asks, "", timeouts.clone());
    full.recording().write_all(b"0123456789").unwrap();
    full.room = TestRoom {
        bytes: 10,
        most: u64::MAX,
    };
    assert!(full.run().await.is_err());
    assert_eq!(full.room.bytes, 10 + STEP, "it got room once, and did not fill it");

    let mut stubborn = Scripted::new(&asks, "", timeouts);
    stubborn.recording().write_all(b"0123456789").unwrap();
    stubborn.room = TestRoom { bytes: 10, most: 10 };
    let refused = detail(stubborn.run().await);
    assert!(refused.contains("room that it does not use"), "{refused}");
}

/// For a .NET process that is reached by its calls at the port.
fn called(caller: Caller) -> RecordOrder {
    let target = Target {
        process: Process::outside(ProcessId::outside(7, 1), 1000, 1000),
        name: "Shop".to_owned(),
        facts: RuntimeFacts::Dotnet {
            version: None,
            rid: None,
            socket: None,
            port: Some(caller),
        },
    };
    let asked = Asked {
        target: &target,
        event: &Event::Wall,
        seconds: 0,
        kind: RecordingKind::Nettrace,
        options: &Options::default(),
    };
    let plan = crate::runtime::plan(&asked, &RuntimeSettings::default()).unwrap();
    RecordOrder {
        event: Event::Wall,
        plan,
        target,
        ..order()
    }
}

#[tokio::test]
async fn a_recorder_gets_a_line_to_its_runtime_and_is_not_started_for_one_that_is_gone() {
    // Two descriptors come with the order: as many as the first byte says.
    let counts = format!(
        "test $(dd bs=1 count=1 <&0 2>/dev/null | od -An -tu1) = 2 && {}; {LISTEN}",
        say(&Report::Done(Box::new(quality())))
    );
    let mut recording = Scripted::new(&counts, "", unhurried());
    let port = Port::open(&recording.folder.path().join("port.sock"), ProcessTable::default()).unwrap();
    let mut runtime = UnixStream::connect(port.path()).unwrap();
    runtime.write_all(&Advertise::example(1, 7)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let caller = loop {
        if let Some(known) = port.known().first() {
            break known.caller;
        }
        assert!(Instant::now() < deadline, "the runtime is not taken in");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    recording.children = recording.children.clone().with_port(Some(port));
    recording.order = called(caller);
    assert!(recording.run().await.is_ok());

    let mut gone = Scripted::new(&counts, "", unhurried());
    gone.children = recording.children.clone();
    gone.order = called(Caller::example(2));
    assert_eq!(gone.run().await, Err(RecordError::TargetExited));
    assert!(!gone.has("started"));
}

fn frame_length(message: &impl serde::Serialize) -> usize {
    crate::child::channel::frame(message).unwrap().len()
}
