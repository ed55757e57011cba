//! What was made of one recording so far: each format and event once, and of the parts that people look at the last few.
//!
//! There are as many parts as patterns, so the oldest makes room. Knows no files but by name; who holds it removes them.

use std::collections::{HashMap, VecDeque};

use super::{ArtifactFile, Wanted};

/// Parts that are kept of one recording: as many as one looks at in turns.
const MOST_PARTS: usize = 8;

/// Artifacts by what was asked for.
#[derive(Debug, Default)]
pub struct Made {
    whole: HashMap<Wanted, ArtifactFile>,
    /// The oldest first.
    parts: VecDeque<(Wanted, ArtifactFile)>,
    /// Parts there have been.
    numbered: u64,
}

impl Made {
    /// What was made for this.
    pub(super) fn get(&self, wanted: &Wanted) -> Option<ArtifactFile> {
        if wanted.view.is_all() {
            return self.whole.get(wanted).cloned();
        }
        let found = self.parts.iter().find(|(made, _)| made == wanted);
        found.map(|(_, file)| file.clone())
    }

    /// A name that no part has had before: whoever still has the facts about another file must not find this one by them.
    pub(super) fn next_part(&mut self) -> String {
        self.numbered += 1;
        format!("part-{}", self.numbered)
    }

    /// Takes in what was made. Gives the part that is to be removed for it, if there are too many.
    #[must_use]
    pub(super) fn insert(&mut self, wanted: Wanted, file: ArtifactFile) -> Option<ArtifactFile> {
        if wanted.view.is_all() {
            self.whole.insert(wanted, file);
            return None;
        }
        self.parts.push_back((wanted, file));
        if self.parts.len() <= MOST_PARTS {
            return None;
        }
        self.parts.pop_front().map(|(_, oldest)| oldest)
    }

    /// Forgets what lay in these files, which are gone.
    pub(crate) fn forget(&mut self, gone: &[String]) {
        let is_there = |file: &ArtifactFile| {
            file.stored_as()
                .is_none_or(|name| !gone.iter().any(|gone| gone == name))
        };
        self.whole.retain(|_, file| is_there(file));
        self.parts.retain(|(_, file)| is_there(file));
    }
}
