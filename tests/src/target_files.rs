//! What of ours is in a target.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Files and folders of ours in the `/tmp` that process `pid` sees.
pub fn left(pid: i32) -> Vec<PathBuf> {
    let temporary = std::fs::read_dir(format!("/proc/{pid}/root/tmp"))
        .into_iter()
        .flatten()
        .flatten();
    let ours = temporary.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!(".sideflame-{pid}-")) || name == format!(".attach_pid{pid}").as_str()
    });
    ours.collect()
}

/// Waits until nothing of ours is in `pid`.
///
/// # Panics
/// Something is, after `limit`.
pub fn wait_until_clean(pid: i32, limit: Duration) {
    let deadline = Instant::now() + limit;
    while !left(pid).is_empty() {
        assert!(Instant::now() < deadline, "left in the target: {:?}", left(pid));
        std::thread::sleep(Duration::from_millis(50));
    }
}
