//! A value of a counter at one time, as every runtime's are recorded: one JSON object per line.
//!
//! Called by the recorders that read counters, and by their renderer.

use serde::{Deserialize, Serialize};

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterValue {
    /// When, milliseconds after the Unix epoch.
    pub at_ms: u64,
    /// Who counts: an `EventSource`, a Meter, or one of [`SHARED_SOURCES`].
    pub provider: String,
    /// What is counted, by its name there.
    pub name: String,
    /// The same for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Of `value`, in the words of who counts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What tells it from others of this name: `key=value,key=value`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tags: String,
    /// What `value` is.
    pub kind: CounterKind,
    /// The number.
    pub value: f64,
}

/// What the value of a counter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CounterKind {
    /// What it is at this time, or on average since the value before.
    Gauge,
    /// How much was added, per second.
    Rate,
    /// What half, 95 and 99 of a hundred measurements are below, by the tag `quantile`.
    Quantile,
    /// How much it has been since the start; it only grows.
    Total,
}

/// Sources that every process or runtime of a kind has. Their names are whole, as the field has them in Prometheus: snake case, with
/// the unit, and `_total` where it only grows.
pub const SHARED_SOURCES: [&str; 4] = ["/proc", "cgroup", "hsperfdata", "expvar"];

impl CounterValue {
    /// One of a shared source; `unit` is in the name, too.
    pub fn shared(provider: &str, name: &str, kind: CounterKind, value: f64) -> Self {
        let units = ["seconds", "bytes"];
        let unit = units.into_iter().find(|unit| name.split('_').any(|word| word == *unit));
        Self {
            at_ms: 0,
            provider: provider.to_owned(),
            name: name.to_owned(),
            display_name: String::new(),
            unit: unit.unwrap_or_default().to_owned(),
            tags: String::new(),
            kind,
            value,
        }
    }

    /// What the app wrote as the value of a tag: at most `most` characters, none of which parts tags.
    pub fn tag_text(text: &str, most: usize) -> String {
        let plain = |c: char| if c.is_control() || c == ',' || c == '=' { ' ' } else { c };
        text.chars().take(most).map(plain).collect()
    }

    /// Whether it has a name that needs no other in front of it.
    pub fn is_shared(&self) -> bool {
        SHARED_SOURCES.contains(&&*self.provider)
    }

    /// Whether both are values of one counter.
    pub fn continues(&self, other: &Self) -> bool {
        (&self.provider, &self.name, &self.tags, self.kind) == (&other.provider, &other.name, &other.tags, other.kind)
    }
}
