//! Shell scripts that play children: well-behaved ones, and those that were taken over by what they looked at.

use std::time::Duration;

use serde::Serialize;

use super::channel::frame;
use super::{Children, Executable, Timeouts};

/// Children that run `script`, which finds the channel as its standard input and `sideflame-<role>` as `$0`.
///
/// `timeouts` are so short that a test can wait for them, and those a well-behaved child never meets so long that a busy
/// machine does not fail it.
pub(super) fn children(script: &str, timeouts: Timeouts) -> Children {
    Children::new(Executable::script(script), timeouts)
}

/// For tests in which nothing is to time out.
pub(super) fn unhurried() -> Timeouts {
    let long = Duration::from_secs(60);
    Timeouts {
        grace: long,
        clean_up: long,
        sweep: long,
        reap: long,
        inspect: long,
        inspect_one: long,
        render: long,
    }
}

/// For tests in which a wait comes to its end.
pub(super) fn hurried() -> Timeouts {
    let short = Duration::from_millis(300);
    Timeouts {
        grace: short,
        clean_up: short,
        sweep: short,
        reap: Duration::from_secs(5),
        inspect: short,
        inspect_one: short,
        render: short,
    }
}

/// A command that sends `bytes` as they are.
pub(super) fn send(bytes: &[u8]) -> String {
    let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{octal}' >&0")
}

/// A command that sends `message`.
pub(super) fn say(message: &impl Serialize) -> String {
    send(&frame(message).unwrap())
}

/// A command that ends when the server hangs up.
pub(super) const LISTEN: &str = "cat <&0 >/dev/null";

/// A command that does nothing for longer than any test.
pub(super) const HANG: &str = "exec sleep 600";
