//! One redrawn line on a terminal, a line per phase elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::runtime::Phase;

/// Progress of one capture on stderr.
#[derive(Debug)]
pub struct Progress {
    seconds: u64,
    terminal: bool,
    quiet: bool,
    phase: Option<Phase>,
    since: Instant,
}

impl Progress {
    /// For a capture of `seconds`.
    pub fn new(seconds: u64, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            seconds,
            terminal,
            quiet,
            phase: None,
            since: Instant::now(),
        }
    }

    /// Shows `phase` and the time in it.
    pub fn show(&mut self, phase: Phase) {
        let entered = self.phase != Some(phase);
        if entered {
            self.phase = Some(phase);
            self.since = Instant::now();
        }
        if self.quiet || !(self.terminal || entered) {
            return;
        }
        let text = match phase {
            Phase::Attaching => "attaching".to_owned(),
            Phase::Sampling => self.bar(self.since.elapsed()),
            Phase::Stopping => "stopping the profiler".to_owned(),
            Phase::Transferring => "fetching the recording".to_owned(),
        };
        if self.terminal {
            eprint!("\r\x1b[K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.terminal && !self.quiet {
            eprint!("\r\x1b[K");
        }
    }

    fn bar(&self, elapsed: Duration) -> String {
        const WIDTH: u64 = 20;
        let elapsed = elapsed.as_secs().min(self.seconds);
        if !self.terminal {
            return format!("sampling for {} s", self.seconds);
        }
        let full = usize::try_from(elapsed * WIDTH / self.seconds.max(1)).unwrap_or_default();
        let empty = usize::try_from(WIDTH).unwrap_or_default() - full;
        let bar = "█".repeat(full) + &"░".repeat(empty);
        format!(
            "sampling {bar} {elapsed} of {} s   Ctrl-C: stop and keep, twice: discard",
            self.seconds
        )
    }
}
