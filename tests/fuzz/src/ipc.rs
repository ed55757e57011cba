//! Answers of a .NET runtime's diagnostic socket. What was understood is, written again, what came.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sideflame::runtime::Advertise;
use sideflame::runtime::dotnet::client::receive;
use sideflame::runtime::dotnet::ipc::{Command, Fields, HEADER_LEN, IpcHeader, IpcMessage, IpcReply, Payload};
use sideflame::runtime::dotnet::process_info::ProcessInfo;

use crate::Seed;

pub(crate) fn run(bytes: &[u8]) {
    // What a runtime says when it dials.
    if let Some((advertise, _)) = bytes.split_first_chunk()
        && let Some(advertise) = Advertise::decode(advertise)
    {
        assert!(advertise.pid > 0);
    }
    let received = received(bytes);
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        assert_eq!(received, None);
        return;
    };
    let decoded = IpcHeader::decode(header).ok();
    let payload = decoded.and_then(|header| rest.get(..header.payload_len()));
    let (Some(header), Some(payload)) = (decoded, payload) else {
        assert_eq!(received, None);
        return;
    };
    let message = IpcMessage {
        command_set: header.command_set,
        command: header.command,
        payload: payload.to_vec(),
    };
    let written = message.encode().expect("it has come in a message");
    // The last two bytes of a header are reserved.
    let reserved = HEADER_LEN - 2;
    assert_eq!(written[..reserved], bytes[..reserved]);
    assert_eq!(&written[HEADER_LEN..], payload);
    match IpcReply::decode(header, payload.to_vec()) {
        Ok(IpcReply::Ok(payload)) => {
            for command in [Command::ProcessInfo, Command::ProcessInfo2, Command::ProcessInfo3] {
                let _ = ProcessInfo::decode(command, &payload);
            }
            assert_eq!(received, Some(payload));
        }
        _ => assert_eq!(received, None),
    }
    if let Ok(text) = Fields::of(payload).string() {
        let again = IpcMessage::request(Command::StopTracing, Payload::default().string(&text));
        assert_eq!(Fields::of(&again.payload).string(), Ok(text));
    }
}

/// The payload that comes by a socket on which the runtime says `bytes` and goes.
fn received(bytes: &[u8]) -> Option<Vec<u8>> {
    const LONGEST: usize = 64 << 10;
    let (mut runtime, mut stream) = UnixStream::pair().unwrap();
    runtime.write_all(&bytes[..bytes.len().min(LONGEST)]).unwrap();
    drop(runtime);
    stream.set_nonblocking(true).unwrap();
    receive(&mut stream, Instant::now() + Duration::from_secs(60)).ok()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let answer = |command: u8, payload: Payload| {
        let payload = IpcMessage::request(Command::StopTracing, payload).payload;
        let message = IpcMessage {
            command_set: 0xff,
            command,
            payload,
        };
        message.encode().unwrap()
    };
    let about_us = Payload::default().u64(7).u64(1).u64(2);
    let about_us = about_us
        .string("/app/Shop")
        .string("Linux")
        .string("x64")
        .string("Shop")
        .string("8.0.30");
    let more = Payload::default().u32(1).u64(7).u64(1).u64(2);
    let more = more.string("/app/Shop").string("Linux").string("x64");
    let more = more.string("Shop").string("8.0.30").string("linux-x64");
    vec![
        ("process-info-3", answer(0, more)),
        ("session", answer(0, Payload::default().u64(0x1234_5678))),
        ("process-info", answer(0, about_us)),
        ("advertise", Advertise::example(0x9b, 30_682).to_vec()),
        ("refused", answer(0xff, Payload::default().u32(0x8013_1385))),
        (
            "refused-with-words",
            answer(0xff, Payload::default().u32(0x8000_4005).string("no room")),
        ),
        ("text", answer(0, Payload::default().string("caf\u{e9} \u{1f600}"))),
    ]
}
