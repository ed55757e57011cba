//! Rendering, the server's side: recording in, artifact out. The child's side is [`renderer`].

pub(super) mod renderer;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};

use super::Children;
use super::ending::ChildError;
use super::order::ChildOrder;
use crate::format::{Format, RecordingKind};
use crate::profile::render::RenderOptions;
use crate::profile::{Names, Quality, View};
use crate::runtime::NoRoom;

/// What a renderer is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderOrder {
    /// What the recording is.
    pub kind: RecordingKind,
    /// What the artifact becomes.
    pub format: Format,
    /// The stamp.
    pub quality: Quality,
    /// Which of a profile's sample types a flame graph shows.
    pub sample_type: Option<String>,
    /// How names that differ from run to run are written.
    pub names: Names,
    /// Which event of a recording of several.
    pub event: Option<String>,
    /// Which part of it.
    pub view: View,
    /// Largest artifact.
    pub max_bytes: u64,
}

impl RenderOrder {
    /// What it means for whoever renders.
    pub(super) fn options(self) -> RenderOptions {
        RenderOptions {
            title: self.quality.title(),
            format: self.format,
            quality: Some(self.quality),
            sample_type: self.sample_type,
            collapsed: None,
            names: self.names,
            event: self.event,
            view: self.view,
        }
    }
}

/// A renderer's one word.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum RenderReport {
    /// The artifact is whole; the stamp is completed.
    Done(Box<Quality>),
    /// The artifact did not fit.
    NoRoom(NoRoom),
    /// Two recordings cannot be compared, and why.
    Unlike(String),
    /// The recording cannot be rendered, and why.
    Failed(String),
}

/// Why there is no artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderFailure {
    /// It did not fit.
    #[error("no room: {0}")]
    NoRoom(NoRoom),
    /// Two recordings cannot be compared.
    #[error("{0}")]
    Unlike(String),
    /// The recording cannot be rendered.
    #[error("{0}")]
    Failed(String),
    /// The renderer itself gave no answer.
    #[error(transparent)]
    Child(#[from] ChildError),
}

impl Children {
    /// Renders `recording` into `artifact`; gives back the stamp with what rendering counted.
    ///
    /// # Errors
    /// See [`RenderFailure`].
    pub async fn render(&self, order: &RenderOrder, recording: File, artifact: File) -> Result<Quality, RenderFailure> {
        let order = ChildOrder::Render(Box::new(order.clone()));
        self.rendered(order, &[recording.as_fd(), artifact.as_fd()]).await
    }

    /// Has a child render, and hears its one word.
    pub(super) async fn rendered(&self, order: ChildOrder, files: &[BorrowedFd<'_>]) -> Result<Quality, RenderFailure> {
        /// One report: the stamp, or what a parser has to complain of.
        const MOST: usize = 64 << 10;
        let mut report = None;
        let heard = |word| _ = report.get_or_insert(word);
        self.ask(&order, files, (MOST, self.timeouts.render), heard).await?;
        match report {
            Some(RenderReport::Done(quality)) => Ok(*quality),
            Some(RenderReport::NoRoom(limit)) => Err(RenderFailure::NoRoom(limit)),
            Some(RenderReport::Unlike(words)) => Err(RenderFailure::Unlike(words)),
            Some(RenderReport::Failed(words)) => Err(RenderFailure::Failed(words)),
            None => Err(ChildError::Failed {
                role: order.role(),
                detail: "it ended without a word".to_owned(),
            })?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::Timeouts;
    use crate::child::script::{HANG, children, hurried, say, unhurried};

    async fn render(script: &str, timeouts: Timeouts) -> RenderFailure {
        let order = RenderOrder {
            kind: RecordingKind::Collapsed,
            format: Format::Svg,
            quality: Quality::default(),
            sample_type: None,
            names: Names::default(),
            event: None,
            view: View::default(),
            max_bytes: 1,
        };
        let file = || tempfile::tempfile().unwrap();
        let rendered = children(script, timeouts).render(&order, file(), file()).await;
        rendered.unwrap_err()
    }

    #[tokio::test]
    async fn a_renderer_that_does_not_do_its_work_says_why() {
        let role = "renderer";
        let no_room = say(&RenderReport::NoRoom(NoRoom::Store));
        assert_eq!(
            render(&no_room, unhurried()).await,
            RenderFailure::NoRoom(NoRoom::Store)
        );
        let failed = say(&RenderReport::Failed("a bad line".to_owned()));
        let expected = RenderFailure::Failed("a bad line".to_owned());
        assert_eq!(render(&failed, unhurried()).await, expected);
        assert_eq!(
            render("kill -KILL $$", unhurried()).await,
            ChildError::Killed { role }.into()
        );
        let hung = render(HANG, hurried()).await;
        assert!(
            matches!(hung, RenderFailure::Child(ChildError::TimedOut { .. })),
            "{hung}"
        );
        let silent = render("exit 0", unhurried()).await;
        assert!(silent.to_string().contains("without a word"), "{silent}");
        let babbling = render("exec yes >&2", unhurried()).await;
        assert!(babbling.to_string().contains("on stderr"), "{babbling}");
    }
}
