use std::cell::RefCell;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::*;
use crate::capture::examples::{plan, registry};
use crate::capture::registry::Registry;
use crate::capture::slots::{Claim, Slots};
use crate::format::RecordingKind;
use crate::runtime::Exclusive;

const TARGET: ProcessId = ProcessId { pid: 1, start_time: 1 };

fn ask(event: Event, seconds: Option<u64>) -> Ask {
    Ask {
        target: TARGET,
        event,
        seconds,
        default_seconds: 5,
        names: Names::default(),
    }
}

fn claim(seconds: u64) -> Claim {
    Claim {
        target: TARGET,
        exclusive: Some(Exclusive("the profiler")),
        duration: Duration::from_secs(seconds),
    }
}

/// What began: events and seconds.
type Began = RefCell<Vec<(Vec<Event>, u64)>>;

/// Leads a group; a recording that begins needs no slot for longer.
async fn lead(
    sharing: &Sharing,
    group: &Arc<Group>,
    slots: &Slots,
    (registry, began): (&Registry, &Began),
) -> Option<Arc<Capture>> {
    let reserve = async |seconds| slots.reserve(claim(seconds)).await;
    let start = |_slot, events, seconds| {
        began.borrow_mut().push((events, seconds));
        registry.register(&plan(RecordingKind::Jfr)).map(|(capture, _)| capture)
    };
    sharing.lead(group, reserve, start).await
}

async fn late(sharing: &Sharing, millis: u64, ask: Ask) -> Result<Arc<Capture>, CaptureError> {
    sleep(Duration::from_millis(millis)).await;
    let (mut member, opened) = sharing.join(&ask);
    assert!(opened.is_none(), "{ask:?} has a group of its own");
    member.capture().await
}

#[tokio::test(start_paused = true)]
async fn who_asks_within_a_moment_for_the_same_time_shares_one_recording() {
    let (_store, registry) = registry(|_| {});
    let (sharing, slots, began) = (Sharing::default(), Slots::new(1), Began::default());
    let (mut first, group) = sharing.join(&ask(Event::Heap, None));
    let group = group.unwrap();
    let start = Instant::now();
    let (led, heap, cpu, alloc, again) = tokio::join!(
        lead(&sharing, &group, &slots, (&registry, &began)),
        first.capture(),
        late(&sharing, 10, ask(Event::Cpu, Some(4))),
        late(&sharing, 20, ask(Event::Alloc, Some(4))),
        late(&sharing, 49, ask(Event::Cpu, None)),
    );
    assert_eq!(start.elapsed(), WINDOW);
    let led = led.unwrap();
    for capture in [heap, cpu, alloc, again] {
        assert_eq!(capture.unwrap().id, led.id);
    }
    assert_eq!(began.take(), [(vec![Event::Cpu, Event::Alloc, Event::Heap], 4)]);
    assert!(sharing.join(&ask(Event::Cpu, Some(4))).1.is_some(), "it is closed");
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_requests_that_have_come_and_are_not_planned_yet() {
    let (_store, registry) = registry(|_| {});
    let (sharing, slots, began) = (Sharing::default(), Slots::new(1), Began::default());
    let (mut first, group) = sharing.join(&ask(Event::Cpu, Some(4)));
    let group = group.unwrap();
    let arriving = sharing.arrive();
    let start = Instant::now();
    let (led, cpu, alloc) = tokio::join!(
        lead(&sharing, &group, &slots, (&registry, &began)),
        first.capture(),
        async {
            let joined = late(&sharing, 400, ask(Event::Alloc, Some(4)));
            let mut joined = std::pin::pin!(joined);
            tokio::select! {
                _ = &mut joined => panic!("it began too early"),
                () = sleep(Duration::from_millis(401)) => drop(arriving),
            }
            joined.await
        },
    );
    assert_eq!(start.elapsed(), Duration::from_millis(401));
    let led = led.unwrap().id.clone();
    assert_eq!((&cpu.unwrap().id, &alloc.unwrap().id), (&led, &led));
    // But not for ever.
    let (mut second, group) = sharing.join(&ask(Event::Cpu, Some(4)));
    let _stuck = sharing.arrive();
    let group = group.unwrap();
    let (led, cpu) = tokio::join!(lead(&sharing, &group, &slots, (&registry, &began)), second.capture());
    assert_eq!(cpu.unwrap().id, led.unwrap().id);
}

#[tokio::test]
async fn who_asks_for_something_else_does_not_share() {
    let sharing = Sharing::default();
    let (_member, _group) = sharing.join(&ask(Event::Cpu, Some(4)));
    assert!(sharing.join(&ask(Event::Alloc, Some(4))).1.is_none());
    assert!(sharing.join(&ask(Event::Alloc, Some(10))).1.is_some());
    let mut other = ask(Event::Alloc, Some(4));
    other.target.pid = 2;
    assert!(sharing.join(&other).1.is_some());
    let mut raw = ask(Event::Alloc, Some(4));
    raw.names = Names::Raw;
    assert!(sharing.join(&raw).1.is_some());
}

#[tokio::test]
async fn who_does_not_say_for_how_long_does_not_wait_for_minutes() {
    let sharing = Sharing::default();
    let (_long, _group) = sharing.join(&ask(Event::Cpu, Some(300)));
    let (_any, opened) = sharing.join(&ask(Event::Heap, None));
    assert!(opened.is_some());
    assert!(sharing.join(&ask(Event::Alloc, Some(300))).1.is_none());
    assert!(sharing.join(&ask(Event::Lock, Some(60))).1.is_some());
}

#[tokio::test]
async fn a_group_has_a_bound() {
    let sharing = Sharing::default();
    let joined = || sharing.join(&ask(Event::Cpu, Some(4)));
    let members: Vec<_> = (0..=MOST_MEMBERS).map(|_| joined()).collect();
    let opened = members.iter().map(|(_, opened)| opened.is_some());
    let opened: Vec<_> = opened
        .enumerate()
        .filter(|(_, opened)| *opened)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(opened, [0, MOST_MEMBERS]);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_joined_for_as_long_as_it_waits_for_its_slot() {
    let (_store, registry) = registry(|_| {});
    let (sharing, slots, began) = (Sharing::default(), Slots::new(1), Began::default());
    let running = slots.reserve(claim(9)).await.unwrap();
    let (mut first, group) = sharing.join(&ask(Event::Cpu, None));
    let group = group.unwrap();
    let (led, cpu, lock, ()) = tokio::join!(
        lead(&sharing, &group, &slots, (&registry, &began)),
        first.capture(),
        late(&sharing, 8_000, ask(Event::Lock, Some(5))),
        async {
            sleep(Duration::from_secs(9)).await;
            drop(running);
        },
    );
    let led = led.unwrap().id.clone();
    assert_eq!((&cpu.unwrap().id, &lock.unwrap().id), (&led, &led));
    // Nobody had said for how long when it began to wait.
    assert_eq!(began.take(), [(vec![Event::Cpu, Event::Lock], 5)]);
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_leaves_the_recording_to_the_others() {
    let (_store, registry) = registry(|_| {});
    let (sharing, slots, began) = (Sharing::default(), Slots::new(1), Began::default());
    let (opener, group) = sharing.join(&ask(Event::Cpu, Some(4)));
    let group = group.unwrap();
    let (mut other, _) = sharing.join(&ask(Event::Alloc, Some(4)));
    drop(opener);
    let (led, capture) = tokio::join!(lead(&sharing, &group, &slots, (&registry, &began)), other.capture());
    assert_eq!(capture.unwrap().id, led.unwrap().id);
    assert!(group.abandoned().now_or_never().is_none());
    assert!(!group.is_answered());
    other.answered();
    assert!(group.abandoned().now_or_never().is_some());
    assert!(group.is_answered());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_all_have_left_records_nothing() {
    let (_store, registry) = registry(|_| {});
    let (sharing, slots, began) = (Sharing::default(), Slots::new(1), Began::default());
    let running = slots.reserve(claim(9)).await.unwrap();
    let (member, group) = sharing.join(&ask(Event::Cpu, Some(4)));
    let group = group.unwrap();
    let (led, ()) = tokio::join!(lead(&sharing, &group, &slots, (&registry, &began)), async {
        sleep(Duration::from_secs(1)).await;
        drop(member);
    });
    assert!(led.is_none() && began.take().is_empty());
    drop(running);
    assert!(
        slots.reserve(claim(4)).now_or_never().is_some(),
        "its place in the queue is free"
    );
    assert!(sharing.join(&ask(Event::Cpu, Some(4))).1.is_some());
}

#[tokio::test(start_paused = true)]
async fn all_of_a_group_are_told_when_to_come_again() {
    let (_store, registry) = registry(|_| {});
    let (sharing, slots, began) = (Sharing::default(), Slots::new(1), Began::default());
    let _running = slots.reserve(claim(300)).await.unwrap();
    let (mut first, group) = sharing.join(&ask(Event::Cpu, Some(4)));
    let group = group.unwrap();
    let (led, cpu, alloc) = tokio::join!(
        lead(&sharing, &group, &slots, (&registry, &began)),
        first.capture(),
        late(&sharing, 10, ask(Event::Alloc, Some(4))),
    );
    assert!(led.is_none() && began.take().is_empty());
    for refused in [cpu, alloc] {
        let Err(CaptureError::Busy { retry_after, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(retry_after, 301);
    }
}

#[test]
fn one_event_is_recorded_as_it_is_asked_for_and_several_as_a_jfr() {
    let first = CaptureRequest {
        format: Some(Format::Pprof),
        snapshot: true,
        ..CaptureRequest::default()
    };
    let alone = together(&first, &[Event::Heap], 5);
    assert_eq!(
        (alone.event, alone.format, alone.seconds, alone.snapshot),
        (Event::Heap, Some(Format::Pprof), 5, false)
    );
    let several = together(&first, &[Event::Cpu, Event::Heap], 4);
    assert_eq!(
        (several.event, several.format),
        (Event::Several("cpu,heap".to_owned()), Some(Format::Jfr))
    );
}
