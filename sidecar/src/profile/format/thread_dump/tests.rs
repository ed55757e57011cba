//! Threads of any runtime, from the text of their dump to JSON.

use serde_json::{Value, json};

use super::read::ThreadDump;
use super::write;
use crate::profile::format::collapsed::read::CollapsedValues;
use crate::profile::format::goroutines::read::Goroutines;
use crate::profile::format::{ReadOptions, Reader};
use crate::profile::slicing::Slicing;
use crate::profile::{Names, Profile, Quality, ValueType};

const DUMP: &str = "2026-11-26 12:00:00
Full thread dump OpenJDK 64-Bit Server VM (21.0.9+10 mixed mode, sharing):

Threads class SMR info:
_java_thread_list=0x00007f0, length=3, elements={
0x00007f01, 0x00007f02
}

\"main\" #1 [4711] prio=5 os_prio=0 cpu=50.12ms elapsed=12.30s tid=0x00007f01 nid=4711 waiting on condition  [0x00007f7a]
   java.lang.Thread.State: TIMED_WAITING (sleeping)
\tat java.lang.Thread.sleep0(java.base@21.0.9/Native Method)
\tat demo.Main$$Lambda/0x00007f1ed8000a08.run(Unknown Source)
\tat demo.Main.main(Main.java:12)
\t- locked <0x0000000700000010> (a demo.Main)

\"a \"quoted\" name\" #23 daemon prio=5 os_prio=0 cpu=1.00ms elapsed=2.00s tid=0x00007f02 nid=0x1268 waiting for monitor entry  [0x00007f7b]
   java.lang.Thread.State: BLOCKED (on object monitor)
\tat demo.Main.second(Main.java:33)
\t- waiting to lock <0x0000000700000010> (a demo.Main)
\t- locked <0x0000000700000020> (a java.lang.Object)

   Locked ownable synchronizers:
\t- <0x0000000700000030> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)

\"GC Thread#0\" os_prio=0 cpu=3.00ms elapsed=12.40s tid=0x00007f03 nid=4713 runnable  

\"VM Periodic Task Thread\" os_prio=0 cpu=3.00ms elapsed=12.40s tid=0x00007f04 nid=4714 waiting on condition  

JNI global refs: 12, weak refs: 0


Found one Java-level deadlock:
=============================
\"main\":
  waiting to lock monitor 0x00007f (object 0x0000000700000020, a java.lang.Object),
  which is held by \"a \"quoted\" name\"

\"a \"quoted\" name\":
  waiting to lock monitor 0x00007f (object 0x0000000700000010, a demo.Main),
  which is held by \"main\"

Java stack information for the threads listed above:
===================================================
\"main\":
\tat demo.Main.main(Main.java:12)

Found 1 deadlock.

";

const GOROUTINES: &str = "goroutine 1 [chan receive, 5 minutes, locked to thread]:
main.(*shop).sell(0xc000012345, {0x1, 0x2})
\t/src/shop/main.go:20 +0x45
main.inlined(...)
\t/src/shop/main.go:9
created by main.main in goroutine 7
\t/src/shop/main.go:30 +0x20

goroutine 18 gp=0xc000 m=nil [GC worker (idle)]:
runtime.gopark(0x0)
\t/go/src/runtime/proc.go:435 +0xce fp=0xc000 sp=0xc001 pc=0x47
";

fn read(reader: &dyn Reader, text: &str) -> Result<Profile, String> {
    let options = ReadOptions {
        collapsed: CollapsedValues {
            value: ValueType::new("samples", "count"),
            interval: None,
        },
        names: Names::Normalised,
        stamp: Quality::default(),
        event: None,
        slicing: Slicing::default(),
    };
    reader
        .read(&mut text.as_bytes(), &options)
        .map_err(|error| error.to_string())
}

fn written(profile: &Profile) -> Value {
    let mut json = Vec::new();
    write::write(profile, &Quality::default(), &mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn threads_of_a_jvm_have_their_stacks_states_locks_and_deadlocks() {
    let json = written(&read(&ThreadDump, DUMP).unwrap());
    assert_eq!(json["deadlocks"], json!([["main", "a \"quoted\" name"]]));
    assert_eq!(
        json["threads"],
        json!([
            {
                "name": "main", "state": "TIMED_WAITING (sleeping)", "id": 1, "tid": 4711,
                "holds": ["<0x0000000700000010> (a demo.Main)"],
                "frames": [
                    { "function": "java.lang.Thread.sleep0" },
                    { "function": "demo.Main$$Lambda.run" },
                    { "function": "demo.Main.main", "file": "Main.java", "line": 12 },
                ],
            },
            {
                "name": "a \"quoted\" name", "state": "BLOCKED (on object monitor)", "id": 23, "tid": 4712,
                "waitsFor": "<0x0000000700000010> (a demo.Main)",
                "holds": [
                    "<0x0000000700000020> (a java.lang.Object)",
                    "<0x0000000700000030> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)",
                ],
                "frames": [{ "function": "demo.Main.second", "file": "Main.java", "line": 33 }],
            },
        ])
    );
}

#[test]
fn goroutines_have_their_stacks_and_states() {
    let json = written(&read(&Goroutines, GOROUTINES).unwrap());
    assert_eq!(
        json["threads"],
        json!([
            {
                "state": "chan receive", "id": 1, "waitedMinutes": 5,
                "frames": [
                    { "function": "main.(*shop).sell", "file": "/src/shop/main.go", "line": 20 },
                    { "function": "main.inlined", "file": "/src/shop/main.go", "line": 9 },
                ],
            },
            {
                "state": "GC worker (idle)", "id": 18,
                "frames": [{ "function": "runtime.gopark", "file": "/go/src/runtime/proc.go", "line": 435 }],
            },
        ])
    );
}

#[test]
fn a_dump_that_lacks_its_end_is_cut() {
    let end = DUMP.find("JNI global ref").unwrap();
    for cut in (1..end).chain([DUMP.find("which is held").unwrap()]) {
        assert!(read(&ThreadDump, &DUMP[..cut]).is_err(), "{cut} bytes");
    }
    let whole = &DUMP[..DUMP.find("\n\nFound").unwrap()];
    assert_eq!(read(&ThreadDump, whole).unwrap().sample_count(), 2);
    assert!(read(&Goroutines, "main.main()\n\t/src/main.go:9\n").is_err());
}

#[test]
fn of_several_dumps_the_last_counts() {
    let twice = format!("{DUMP}\n{}", &DUMP[..DUMP.find("\n\nFound").unwrap()]);
    let profile = read(&ThreadDump, &twice).unwrap();
    assert_eq!(profile.sample_count(), 2);
    assert_eq!(written(&profile)["deadlocks"], json!([]));
}

#[test]
fn names_reach_no_terminal_as_they_are() {
    let text = "goroutine 1 [run\u{1b}[2Jning]:\nmain.\u{202e}f()\n\t/src/a.go:1 +0x1\n";
    let json = written(&read(&Goroutines, text).unwrap());
    let shown = json.to_string();
    assert!(!shown.contains('\u{202e}') && !shown.contains("\\u001b"), "{shown}");
}

#[test]
fn goroutines_that_do_the_same_are_one_with_their_number_and_the_longest_wait() {
    let waits = |id: u32, wait: &str| {
        format!(
            "goroutine {id} [sync.Mutex.Lock{wait}]:\ninternal/sync.runtime_SemacquireMutex(0x0?)\n\t/go/sema.go:95 +0x25\n\
             internal/sync.(*Mutex).lockSlow(0xc0ffee)\n\t/go/mutex.go:149 +0x15d\nsync.(*Mutex).Lock(...)\n\t/go/mutex.go:46\n\
             main.enter(0x{id})\n\t/src/main.go:{line} +0x1\n\n",
            line = if id == 9 { 9 } else { 7 }
        )
    };
    let text = [
        waits(4, ""),
        waits(5, ", 12 minutes"),
        waits(6, ", 3 minutes"),
        waits(9, ""),
    ]
    .concat();
    let json = written(&read(&Goroutines, &text).unwrap());
    let told = json["threads"].as_array().unwrap();
    assert_eq!(told.len(), 2, "{json:#}");
    assert_eq!(
        (&told[0]["count"], &told[0]["waitedMinutes"], &told[0]["id"]),
        (&json!(3), &json!(12), &Value::Null)
    );
    assert_eq!((&told[1]["count"], &told[1]["id"]), (&Value::Null, &json!(9)));
    assert!(
        told.iter().all(|one| one["waitsFor"] == "<0xc0ffee> (a sync.Mutex)"),
        "{json:#}"
    );
    // What may be a left-over is not told.
    let unsure = text.replace("0xc0ffee", "0xc0ffee?");
    assert_eq!(
        written(&read(&Goroutines, &unsure).unwrap())["threads"][0]["waitsFor"],
        Value::Null
    );
}

#[test]
fn what_go_did_not_write_any_more_is_said() {
    let one = "goroutine 7 [select]:\nmain.pay(0x1)\n\t/src/main.go:7 +0x1\n\n";
    let mut text = one.repeat((64 << 20) / one.len() + 1);
    text.truncate(64 << 20);
    let profile = read(&Goroutines, &text).unwrap();
    let told: i64 = profile.samples().map(|sample| sample.values[0]).sum();
    assert!(told > 1_000_000, "{told}");
    assert!(
        profile.doubts[0].1.contains(&format!("{told} goroutines are told")),
        "{:?}",
        profile.doubts
    );
}

#[test]
fn virtual_threads_follow_those_of_the_kernel() {
    let appended = "\nVirtual threads:\n\n\"guest #2 virtual\" #31 virtual\n   java.lang.Thread.State: WAITING\n\tat demo.Shop.pay(Shop.java:7)\n\
                    \t- parking to wait for  <demo.Till@2>\n\n\"\" #32 virtual\n\tat demo.Shop.pay(Shop.java:7)\n\t- locked <demo.Till@2>\n\n\
                    Virtual threads told: 2, left out: 0\n";
    let text = format!("{DUMP}{appended}");
    let json = written(&read(&ThreadDump, &text).unwrap());
    assert_eq!(json["deadlocks"], json!([["main", "a \"quoted\" name"]]));
    let frames = json!([{ "function": "demo.Shop.pay", "file": "Shop.java", "line": 7 }]);
    assert_eq!(
        json["threads"].as_array().unwrap()[2..],
        [
            json!({
                "name": "guest #2 virtual", "state": "WAITING", "id": 31, "virtual": true, "waitsFor": "<demo.Till@2>", "frames": frames,
            }),
            json!({ "name": "", "state": "", "id": 32, "virtual": true, "holds": ["<demo.Till@2>"], "frames": frames }),
        ]
    );
    let end = text.rfind("Virtual threads told").unwrap();
    assert!(read(&ThreadDump, &text[..end]).is_err());
}
