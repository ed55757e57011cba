//! The quality stamp in the comments of a pprof file, which anybody can write. One that was read and written is read back.

use sideflame::format::{Format, RecordingKind};
use sideflame::profile::format::pprof::write::write;
use sideflame::profile::stamp::{comments, line, take, truncated};

use crate::{Seed, rendering};

/// Comments, one per line.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut found: Vec<String> = text.lines().map(str::to_owned).collect();
    // No profile has more.
    found.truncate(1000);
    let before = found.len();
    let Some(quality) = take(&mut found) else {
        assert_eq!(found.len(), before);
        return;
    };
    assert!(!line(&quality).contains(char::is_control));
    let _ = truncated(&quality);
    assert_eq!(take(&mut comments(&quality)).as_ref(), Some(&quality));

    let mut profile = rendering::read(b"a;b 1\n", RecordingKind::Collapsed).unwrap();
    (profile.comments, profile.stamp) = (found, Some(Box::new(quality)));
    let mut written = Vec::new();
    write(&profile, &mut written).unwrap();
    let again = rendering::read(&written, RecordingKind::Pprof).expect("our own profile is read again");
    assert_eq!((&again.stamp, &again.comments), (&profile.stamp, &profile.comments));
    rendering::made(&written, RecordingKind::Pprof, Format::Svg, None)
        .iter()
        .for_each(|svg| crate::flame_graph::check(svg));
}

pub(crate) fn seeds() -> Vec<Seed> {
    let ours = comments(&rendering::stamp()).join("\n");
    vec![
        ("ours", ours.clone().into_bytes()),
        ("between", format!("of the app\n{ours}\nbehind\n").into_bytes()),
        (
            "everything",
            br#"sideflame-quality: {"sampler":"s","interval":7,"intervalUnit":"bytes","clock":"wall","samples":1,"expectedSamples":2,"lost":3,"unresolved":0.25,"maxFrames":9,"truncated":0.5,"pid":7,"process":"p","pod":"n/p","container":"c","runtime":"jvm 17","event":"cpu","startedAtMs":1795219200000,"durationMs":1500,"degraded":["d"]}"#
                .to_vec(),
        ),
        ("broken", b"sideflame: x\nsideflame-quality: {".to_vec()),
    ]
}
