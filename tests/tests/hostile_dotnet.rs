//! Programs that say they are .NET, by a socket of that name, and answer what no runtime does.

#![expect(
    clippy::exit,
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, and a program may end"
)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::App;
use e2e::{Answer, MemoryCgroup, Server, cache};

/// Says this program which way to lie.
const WAY: &str = "SIDEFLAME_TEST_WAY";

/// `!FastSerialization.1` and the beginning of an object of this type and version.
fn beginning(kind: &str, version: u32) -> Vec<u8> {
    let mut bytes = b"Nettrace\x14\0\0\0!FastSerialization.1".to_vec();
    bytes.extend([5, 5, 1]);
    bytes.extend(version.to_le_bytes());
    bytes.extend(version.to_le_bytes());
    bytes.extend(u32::try_from(kind.len()).unwrap().to_le_bytes());
    bytes.extend(kind.as_bytes());
    bytes.push(6);
    bytes
}

/// A stream of version 4 up to its first block.
fn up_to_the_blocks() -> Vec<u8> {
    let mut bytes = beginning("Trace", 4);
    bytes.extend([0; 32]);
    for number in [8, std::process::id(), 2, 1_000_000] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.push(6);
    bytes
}

/// The same with a block of `length` bytes, up to its content.
fn up_to_a_block(length: u32) -> Vec<u8> {
    let mut bytes = up_to_the_blocks();
    bytes.extend(&beginning("EventBlock", 2)[32..]);
    bytes.extend(length.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A block that can come after another one of these: it ends where a stream is aligned as where it began.
fn block() -> Vec<u8> {
    let at = up_to_the_blocks().len();
    let length = 4096 + (at + 3) % 4;
    let mut bytes = up_to_a_block(u32::try_from(length).unwrap()).split_off(at);
    bytes.resize(bytes.len() + length, 0);
    bytes.push(6);
    bytes
}

/// An answer of the diagnostic server.
fn message(magic: &[u8; 14], size: u16, payload: &[u8]) -> Vec<u8> {
    [magic, size.to_le_bytes().as_slice(), &[0xFF, 0, 0, 0], payload].concat()
}

/// What is sent for ever.
fn repeat(stream: &mut UnixStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

fn answer(way: &str, mut stream: UnixStream) {
    const V1: &[u8; 14] = b"DOTNET_IPC_V1\0";
    let mut request = [0; 20];
    stream.read_exact(&mut request).unwrap();
    let starts_session = request[16] == 2 && request[17] != 1;
    let session = message(V1, 28, &7_u64.to_le_bytes());
    let forever = Duration::from_secs(600);
    let answered = match way {
        "silent" => stream.write_all(&[]),
        "another version" => stream.write_all(&message(b"DOTNET_IPC_V2\0", 28, &[0; 8])),
        "a lie about the length" => stream.write_all(&message(V1, 19, &[])),
        "a short answer" => stream.write_all(&message(V1, u16::MAX, &[0; 8])),
        _ => stream.write_all(&session),
    };
    if answered.is_err() || !starts_session {
        return;
    }
    match way {
        "a stream of the future" => {
            stream.write_all(b"Nettrace\0\0\0\0\x09\0\0\0\0\0\0\0").unwrap();
            std::thread::sleep(forever);
        }
        "no nettrace at all" => repeat(&mut stream, &[b'A'; 4096]),
        "a block without an end" => {
            stream.write_all(&up_to_a_block(i32::MAX.unsigned_abs())).unwrap();
            repeat(&mut stream, &[0; 64 << 10]);
        }
        "blocks without an end" => {
            stream.write_all(&up_to_the_blocks()).unwrap();
            repeat(&mut stream, &block().repeat(16));
        }
        "silent after a block" => {
            stream.write_all(&up_to_a_block(1 << 20)).unwrap();
            std::thread::sleep(forever);
        }
        "an end in mid-stream" => {
            stream.write_all(&up_to_a_block(1 << 20)).unwrap();
            stream.write_all(&[0; 512]).unwrap();
        }
        "a death in mid-stream" => {
            stream.write_all(&up_to_a_block(1 << 20)).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            std::process::exit(1);
        }
        _ => std::thread::sleep(forever),
    }
}

#[test]
#[ignore = "is the program that the tests below look into"]
fn impostor() {
    let way = std::env::var(WAY).unwrap();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let started = fields.split_ascii_whitespace().nth(19).unwrap();
    let name = format!("dotnet-diagnostic-{}-{started}-socket", std::process::id());
    let listener = UnixListener::bind(std::env::temp_dir().join(name)).unwrap();
    println!("\nready");
    for stream in listener.incoming() {
        let way = way.clone();
        std::thread::spawn(move || answer(&way, stream.unwrap()));
    }
}

struct Outcome {
    answer: Answer,
    took: Duration,
}

fn outcome(way: &str) -> Outcome {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "impostor", "--ignored", "--nocapture"])
        .env(WAY, way);
    let app = App::start(command);
    let cgroup = MemoryCgroup::new(32 << 20);
    let server = Server::start_by(cgroup.command(&cache::sideflame()), &["--store-size", "16MiB"]);
    let begun = Instant::now();
    let answer = server.get(&format!("/profile?pid={}&seconds=2&format=nettrace", app.pid));
    let outcome = Outcome {
        took: begun.elapsed(),
        answer,
    };
    assert_eq!(cgroup.oom_kills(), 0, "{way}: {}", server.log());
    server.get("/captures").ok();
    let socket = std::fs::read_dir(std::env::temp_dir())
        .unwrap()
        .flatten()
        .find(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .contains(&format!("dotnet-diagnostic-{}-", app.pid))
        });
    if let Some(socket) = socket {
        std::fs::remove_file(socket.path()).unwrap();
    }
    outcome
}

#[test]
fn what_no_runtime_answers_is_an_error_in_bounded_time_and_memory() {
    let cases = [
        ("silent", 504, "step_timed_out"),
        ("another version", 502, "target_misbehaved"),
        ("a lie about the length", 502, "target_misbehaved"),
        ("a short answer", 504, "step_timed_out"),
        ("a stream of the future", 502, "target_misbehaved"),
        ("no nettrace at all", 502, "target_misbehaved"),
        ("a block without an end", 502, "target_misbehaved"),
        ("blocks without an end", 507, "store_full"),
        ("silent after a block", 504, "step_timed_out"),
        ("an end in mid-stream", 502, "target_misbehaved"),
        ("a death in mid-stream", 404, "target_exited"),
    ];
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|(way, ..)| scope.spawn(move || outcome(way)))
            .collect();
        let mut wrong = Vec::new();
        for ((way, status, code), running) in cases.iter().zip(running) {
            let Outcome { answer, took } = running.join().unwrap();
            let problem = answer.json();
            eprintln!(
                "{way}: {} {} after {:.1} s: {}",
                answer.status,
                problem["code"],
                took.as_secs_f64(),
                problem["detail"]
            );
            let right = answer.status == *status && problem["code"] == *code;
            if !right || took > Duration::from_secs(60) {
                wrong.push(*way);
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}
