//! What a capture says of itself beside its recording: to the next server, and to whoever has it exported.
//!
//! The next server reads what it may have to believe of its own user's file only: everything is checked by [`Metadata::read`].
//! Never a header or a token of ours. Called by the registry.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::plan::CapturePlan;
use super::remarks::Remarks;
use super::state::{Capture, CaptureId, CaptureState};
use super::{CaptureError, unix_millis};
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::process::CommandLine;
use crate::profile::{Names, Quality};
use crate::redact;
use crate::runtime::{RecordError, Target, Verdict};

/// Of this form; another one is not read.
const VERSION: u32 = 1;

/// The process as it was when the capture began, and what was known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Version of sideflame.
    pub sideflame: String,
    /// The process, without what only we can use.
    pub process: Target,
    /// Its arguments, secrets hidden, the first 8 KiB.
    pub command_line: Vec<String>,
    /// The doctor's words on each event.
    pub verdicts: Vec<Verdict>,
}

impl Evidence {
    /// Of a class path there may be a hundred times as much.
    const MOST_ARGUMENTS: usize = 8 << 10;

    /// Of what is about to be recorded.
    pub fn of(plan: &CapturePlan) -> Self {
        let mut process = plan.order.target.clone();
        process.facts = process.facts.without_port();
        let mut left = Self::MOST_ARGUMENTS;
        let arguments = redact::arguments(process.process.command_line.arguments());
        let command_line = arguments.map_while(|argument| {
            left = left.checked_sub(argument.len())?;
            Some(argument.into_owned())
        });
        let command_line = command_line.collect();
        process.process.command_line = CommandLine::default();
        Self {
            sideflame: env!("CARGO_PKG_VERSION").to_owned(),
            process,
            command_line,
            verdicts: plan.verdicts.to_vec(),
        }
    }
}

/// All that is written of a capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    version: u32,
    id: String,
    /// What is sampled.
    pub event: Event,
    /// Seconds asked for.
    pub seconds: u64,
    /// The native file.
    pub kind: RecordingKind,
    /// The format asked for.
    pub format: Format,
    /// How names are written.
    pub names: Names,
    created_at_ms: u64,
    /// The process it is of.
    pub evidence: Evidence,
    /// What people say of it.
    pub remarks: Remarks,
    /// Somebody had an artifact of it.
    pub fetched: bool,
    /// `None` while it runs.
    pub end: Option<End>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// When it is forgotten, milliseconds after the Unix epoch; `None` if it is pinned.
    pub expires_at_ms: Option<u64>,
    /// With what.
    pub outcome: Outcome,
}

/// What there is at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A whole recording.
    Finished {
        /// The stamp.
        quality: Box<Quality>,
        /// Bytes of the recording.
        length: u64,
        /// SHA-256 of the recording in hexadecimal digits, once it is known.
        sha256: Option<String>,
    },
    /// Nothing.
    Failed {
        /// Why.
        error: RecordError,
    },
}

impl Metadata {
    /// What there is to say of `capture` now.
    pub fn of(capture: &Capture) -> Self {
        let outcome = match capture.state() {
            CaptureState::Running(_) => None,
            CaptureState::Finished(quality) => Some(Outcome::Finished {
                quality,
                length: capture.directory.recording_bytes(),
                sha256: capture.known_digest(),
            }),
            CaptureState::Failed(CaptureError::Record(error)) => Some(Outcome::Failed { error }),
            CaptureState::Failed(error) => Some(Outcome::Failed {
                error: RecordError::Internal {
                    step: "record".to_owned(),
                    detail: error.to_string(),
                },
            }),
        };
        Self {
            version: VERSION,
            id: capture.id.to_string(),
            event: capture.event.clone(),
            seconds: capture.seconds,
            kind: capture.kind,
            format: capture.format,
            names: capture.names,
            created_at_ms: unix_millis(capture.created_at),
            evidence: capture.evidence.clone(),
            remarks: capture.remarks(),
            fetched: capture.is_expendable(),
            end: outcome.map(|outcome| End {
                expires_at_ms: capture.expires_at().map(unix_millis),
                outcome,
            }),
        }
    }

    /// Believes `bytes` as far as they are what a server could have written of the capture `id`, whose recording has this
    /// length.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(bytes: &[u8], id: &CaptureId, recording: Option<u64>, now: SystemTime) -> Result<Self, String> {
        /// Clocks are set right now and then.
        const AHEAD: Duration = Duration::from_secs(24 * 3600);
        let mut read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let digits = |digest: &String| digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit());
        let wrong = if read.version != VERSION {
            Some("it is of another version")
        } else if read.id != id.as_str() {
            Some("it is of another capture")
        } else if !read.kind.formats().contains(&read.format) {
            Some("it has a format that such a recording has not")
        } else if read.created_at_ms > unix_millis(now + AHEAD) {
            Some("it is of the future")
        } else if !read.remarks.is_valid() {
            Some("it has remarks that could not be made")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Err(wrong.to_owned());
        }
        if let Some(End {
            outcome: outcome @ Outcome::Finished { .. },
            ..
        }) = &mut read.end
            && let Outcome::Finished { length, sha256, .. } = outcome
            && (recording != Some(*length) || !sha256.as_ref().is_none_or(digits))
        {
            let error = RecordError::Internal {
                step: "keep the recording".to_owned(),
                detail: "after a restart it was not as it had been".to_owned(),
            };
            *outcome = Outcome::Failed { error };
        }
        Ok(read)
    }

    /// When the capture was accepted.
    pub fn created_at(&self) -> SystemTime {
        // Believed only if it is no later than tomorrow.
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.created_at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::examples::{finished, registry};

    #[test]
    fn what_is_told_of_a_process_has_neither_secrets_nor_the_way_by_our_port() {
        let mut plan = crate::capture::examples::plan(RecordingKind::Jfr);
        plan.order.target.process.command_line = ["java", "-Dpassword=hunter2", "Shop"].into_iter().collect();
        let evidence = Evidence::of(&plan);
        assert_eq!(evidence.command_line.len(), 3);
        let text = serde_json::to_string(&evidence).unwrap();
        assert!(text.contains("Shop") && !text.contains("hunter2"), "{text}");
        let long = "x".repeat(Evidence::MOST_ARGUMENTS);
        plan.order.target.process.command_line = ["java", &long].into_iter().collect();
        assert_eq!(Evidence::of(&plan).command_line, ["java"]);
    }

    #[tokio::test]
    async fn what_is_read_is_what_was_written_and_nothing_else_is_believed() {
        let (_store, registry) = registry(|_| {});
        let capture = finished(&registry, RecordingKind::Collapsed, 10);
        let told = Metadata::of(&capture);
        let bytes = serde_json::to_vec(&told).unwrap();
        let now = SystemTime::now();
        let read = |bytes: &[u8], recording| Metadata::read(bytes, &capture.id, recording, now);
        assert_eq!(read(&bytes, Some(10)), Ok(told.clone()));
        for recording in [None, Some(9)] {
            let cut = read(&bytes, recording).unwrap().end.unwrap();
            assert!(matches!(cut.outcome, Outcome::Failed { .. }), "{cut:?}");
        }
        let change = |name: &str, value: serde_json::Value| {
            let mut changed = serde_json::to_value(&told).unwrap();
            changed[name] = value;
            read(&serde_json::to_vec(&changed).unwrap(), Some(10))
        };
        for (name, value) in [
            ("version", 2.into()),
            ("id", "0000000000000000".into()),
            ("format", "nettrace".into()),
            ("createdAtMs", u64::MAX.into()),
            ("event", "cpu,file=/x".into()),
            ("remarks", serde_json::json!({"name": "a\nb"})),
            ("evidence", serde_json::Value::Null),
        ] {
            assert!(change(name, value).is_err(), "{name}");
        }
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], Some(10)).is_err(), "{cut} bytes");
        }
    }
}
