//! What the page says about the process, read when it is asked for.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds after the Unix epoch.
    started: u64,
}

impl Process {
    /// Its start is now.
    pub(super) fn starting_now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: since.as_secs(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        let started = ConstGauge::new(self.started);
        let resident = resident_bytes().map(ConstGauge::new);
        let start = (
            "process_start_time_seconds",
            "Start of the server after the Unix epoch.",
        );
        let memory = ("process_resident_memory_bytes", "Resident memory.");
        for ((name, help), gauge) in [(memory, resident), (start, Some(started))] {
            if let Some(gauge) = gauge {
                gauge.encode(page.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

/// `VmRSS` of `/proc/self/status` (`man 5 proc`), which is in KiB.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
