//! Why a capture that was asked for cannot be planned. All of it is known before anything starts.

use super::Reason;

/// What is wrong with a request, now that its target is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A value that does not fit this event or target.
    #[error("{message}")]
    Unsuitable {
        /// Name of the parameter.
        parameter: &'static str,
        /// What is wrong and what would fit.
        message: String,
    },
    /// The target, as it runs now, cannot do this.
    #[error("{}", .0.sentence)]
    Impossible(Reason),
}

impl PlanError {
    /// A value that does not fit.
    pub fn unsuitable(parameter: &'static str, message: impl Into<String>) -> Self {
        Self::Unsuitable {
            parameter,
            message: message.into(),
        }
    }
}
