//! What the stacks of a picture stand on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest key of a label.
const MOST_BYTES: usize = 64;

/// By what stacks are split: it is the root of each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// Each thread.
    Thread,
    /// Threads of one name together.
    ThreadName,
    /// The value of a label.
    Label(String),
}

/// It is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("thread, thread-name, or label: and the key of a label, at most {MOST_BYTES} bytes")]
pub struct UnknownBy;

impl FromStr for By {
    type Err = UnknownBy;

    fn from_str(text: &str) -> Result<Self, UnknownBy> {
        match text {
            "thread" => Ok(Self::Thread),
            "thread-name" => Ok(Self::ThreadName),
            _ => {
                let key = text.strip_prefix("label:").filter(|key| !key.is_empty());
                let key = key.filter(|key| key.len() <= MOST_BYTES && !key.contains(char::is_control));
                key.map(|key| Self::Label(key.to_owned())).ok_or(UnknownBy)
            }
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread => f.write_str("thread"),
            Self::ThreadName => f.write_str("thread-name"),
            Self::Label(key) => write!(f, "label:{key}"),
        }
    }
}
