//! Comparing, the server's side: two recordings in, their difference out. The child's side is [`comparer`].

pub(super) mod comparer;

use std::fs::File;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::Children;
use super::order::ChildOrder;
use super::render::{RenderFailure, RenderOrder};
use crate::format::Format;
use crate::profile::diff::{Base, Normalise};
use crate::profile::{Quality, View};

/// What is known of one of two recordings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// One of ours: how it would be rendered.
    Recording(Box<RenderOrder>),
    /// A file from elsewhere, whose content says what it is.
    File {
        /// Which part of it.
        view: View,
        /// Which event of several.
        event: Option<String>,
    },
}

/// What a renderer of differences is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompareOrder {
    /// The first recording.
    pub before: Source,
    /// The second.
    pub after: Source,
    /// What the artifact becomes.
    pub format: Format,
    /// How they are compared.
    pub normalise: Option<Normalise>,
    /// Whose widths a picture has.
    pub base: Base,
    /// Largest artifact.
    pub max_bytes: u64,
}

impl Children {
    /// Writes the difference of two recordings into `artifact`; gives back a stamp with the doubts about either.
    ///
    /// # Errors
    /// See [`RenderFailure`].
    pub async fn compare(
        &self,
        order: &CompareOrder,
        recordings: [File; 2],
        artifact: File,
    ) -> Result<Quality, RenderFailure> {
        let order = ChildOrder::Compare(Box::new(order.clone()));
        let [before, after] = &recordings;
        self.rendered(order, &[before.as_fd(), after.as_fd(), artifact.as_fd()])
            .await
    }
}
