//! What the server hears from a child, which may have been taken over by what it looked at. A message that was read and written
//! is read back, and no finding changes who a process is.

use sideflame::child::fuzz::{frames, joined, rewritten};
use sideflame::process::Container;

use crate::{Seed, folder};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(frames) = frames(bytes) else { return };
    let heard: usize = frames.iter().map(|frame| frame.len() + 4).sum();
    assert!(heard <= bytes.len());
    for frame in &frames {
        for (role, again) in rewritten(frame).into_iter().enumerate() {
            let Some(again) = again else { continue };
            let twice = rewritten(&again[4..])[role].clone();
            assert_eq!(twice, Some(again), "role {role}");
        }
        if let Some(inspection) = joined(frame, folder::row()) {
            let mut process = inspection.target.process;
            process.container = Container::default();
            assert_eq!(process, folder::row());
            assert!(inspection.target.name.chars().count() <= 512);
        }
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let framed = |messages: &[&str]| {
        let frames = messages.iter().map(|json| {
            let length = u32::try_from(json.len()).unwrap().to_be_bytes();
            [&length, json.as_bytes()].concat()
        });
        frames.collect::<Vec<_>>().concat()
    };
    vec![
        (
            "recorder",
            framed(&[
                r#"{"phase":"attaching"}"#,
                r#"{"phase":"sampling"}"#,
                r#""needsRoom""#,
                r#"{"done":{"sampler":"s","interval":10000000,"intervalUnit":"nanoseconds","clock":"cpu","samples":7,"unresolved":0.1,"degraded":["d"]}}"#,
            ]),
        ),
        (
            "failed",
            framed(&[
                r#"{"failed":{"alreadyProfiled":{"what":"another capture of sideflame"}}}"#,
                r#"{"failed":"cancelled"}"#,
                r#"{"failed":"the recording is broken"}"#,
            ]),
        ),
        (
            "inspector",
            framed(&[
                r#"{"finding":{"id":{"pid":7,"startTime":1},"name":"shop","facts":{"jvm":{"vm":"hotSpot","version":"17.0.15"}},"verdicts":[{"event":"cpu","availability":"available"}],"container":["app","1f6a0c3e-8b6d-4a55-9a77-3c1e5f0a9b21"]}}"#,
                r#"{"containerLogs":["shop_prod_app-3f5c.log"]}"#,
            ]),
        ),
        ("cut", framed(&[r#""needsRoom""#])[..9].to_vec()),
    ]
}
