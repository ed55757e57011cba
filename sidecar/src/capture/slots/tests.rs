use futures_util::FutureExt;

use super::*;

const PROFILER: Exclusive = Exclusive("the profiler");
const TRACER: Exclusive = Exclusive("the tracer");

fn claim(pid: i32, exclusive: Option<Exclusive>, seconds: u64) -> Claim {
    Claim {
        target: ProcessId { pid, start_time: 1 },
        exclusive,
        duration: Duration::from_secs(seconds),
    }
}

/// The seconds after which to try again, of one that is refused at once.
async fn refused(slots: &Slots, claim: Claim) -> u64 {
    let answer = tokio::time::timeout(Duration::ZERO, slots.reserve(claim)).await;
    match answer.expect("an answer at once") {
        Err(CaptureError::Busy { retry_after, .. }) => retry_after,
        other => panic!("{other:?}"),
    }
}

/// The slot, of one that need not wait.
async fn at_once(slots: &Slots, claim: Claim) -> Slot {
    let answer = tokio::time::timeout(Duration::ZERO, slots.reserve(claim)).await;
    answer.expect("an answer at once").unwrap()
}

#[tokio::test(start_paused = true)]
async fn only_one_takes_the_same_part_of_a_process() {
    let slots = Slots::new(4);
    let _cpu = at_once(&slots, claim(1, Some(PROFILER), 300)).await;
    assert_eq!(refused(&slots, claim(1, Some(PROFILER), 1)).await, 301);
    let _trace = at_once(&slots, claim(1, Some(TRACER), 300)).await;
    let _other = at_once(&slots, claim(2, Some(PROFILER), 300)).await;
    let reused = ProcessId { pid: 1, start_time: 2 };
    let _reused = at_once(
        &slots,
        Claim {
            target: reused,
            ..claim(1, Some(PROFILER), 300)
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_takes_nothing_runs_beside_everything() {
    let slots = Slots::new(1);
    let _cpu = at_once(&slots, claim(1, Some(PROFILER), 300)).await;
    let mut beside = Vec::new();
    for _ in 0..SIDE_BY_SIDE {
        beside.push(at_once(&slots, claim(1, None, 60)).await);
    }
    assert_eq!(refused(&slots, claim(1, None, 60)).await, 61);
    beside.pop();
    at_once(&slots, claim(2, None, 60)).await;
}

#[tokio::test(start_paused = true)]
async fn who_must_not_wait_long_waits_in_order_of_arrival() {
    let slots = Slots::new(2);
    let first = slots.reserve(claim(1, Some(PROFILER), 4)).await.unwrap();
    let ended = Mutex::new(Vec::new());
    let one = async |name: &'static str| {
        let slot = slots.reserve(claim(1, Some(PROFILER), 4)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        ended.lock().unwrap().push(name);
        drop(slot);
    };
    let start = Instant::now();
    let end_first = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(first);
    };
    tokio::join!(end_first, one("second"), one("third"), one("fourth"));
    assert_eq!(*ended.lock().unwrap(), ["second", "third", "fourth"]);
    assert_eq!(start.elapsed().as_secs(), 16);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_told_for_how_long() {
    let slots = Slots::new(2);
    let _running = slots.reserve(claim(1, Some(PROFILER), 20)).await.unwrap();
    let mut second = std::pin::pin!(slots.reserve(claim(1, Some(PROFILER), 30)));
    assert!(second.as_mut().now_or_never().is_none());
    // 20 and 30 s, and what comes on top of each.
    assert_eq!(refused(&slots, claim(1, Some(PROFILER), 1)).await, 52);
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_a_process_is_short() {
    let slots = Slots::new(2);
    let _running = slots.reserve(claim(1, Some(PROFILER), 1)).await.unwrap();
    let mut waiting: Vec<_> = (0..QUEUE)
        .map(|_| Box::pin(slots.reserve(claim(1, Some(PROFILER), 1))))
        .collect();
    for one in &mut waiting {
        assert!(one.as_mut().now_or_never().is_none());
    }
    assert_eq!(refused(&slots, claim(1, Some(PROFILER), 1)).await, 2 + 2 * QUEUE as u64);
    // A client that went away leaves its place to another one, and another process has places of its own.
    waiting.pop();
    let mut last = std::pin::pin!(slots.reserve(claim(1, Some(PROFILER), 1)));
    assert!(last.as_mut().now_or_never().is_none());
    at_once(&slots, claim(2, Some(PROFILER), 1)).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_others_that_do_not_end_is_refused_at_last() {
    let slots = Slots::new(2);
    let _late = slots.reserve(claim(1, Some(PROFILER), 1)).await.unwrap();
    let start = Instant::now();
    let error = slots.reserve(claim(1, Some(PROFILER), 1)).await.unwrap_err();
    assert!(matches!(error, CaptureError::Busy { retry_after: 1, .. }), "{error}");
    assert_eq!(start.elapsed(), LONGEST_WAIT);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_process_holds_up_no_other() {
    let slots = Slots::new(2);
    let busy = at_once(&slots, claim(1, Some(PROFILER), 30)).await;
    let mut second = std::pin::pin!(slots.reserve(claim(1, Some(PROFILER), 30)));
    assert!(second.as_mut().now_or_never().is_none());
    let other = at_once(&slots, claim(2, Some(PROFILER), 30)).await;
    let mut third = std::pin::pin!(slots.reserve(claim(3, Some(PROFILER), 30)));
    assert!(third.as_mut().now_or_never().is_none());
    drop(other);
    assert!(third.as_mut().now_or_never().is_some());
    drop(busy);
    assert!(second.as_mut().now_or_never().is_some());
}
