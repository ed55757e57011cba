//! The threads of a moment → a profile with a sample each, named and with what is known of it.
//!
//! Pure. Called by [`super::collector`] at the end of a trace.

use super::clr::ThreadState;
use super::profile_of::{Names, ProfileOf};
use super::sampled_threads::Sample;
use crate::profile::format::ReadOptions;
use crate::profile::frame_name::is_unresolved;
use crate::profile::thread_samples::{self as key, Fact, ThreadSamples};
use crate::profile::{FrameKind, ModelError, Profile};

impl ProfileOf<'_> {
    /// The threads with these samples; the stamp has their names.
    pub(super) fn threads(
        &self,
        samples: impl Iterator<Item = Sample>,
        options: &ReadOptions,
    ) -> Result<Profile, ModelError> {
        let mut names = Names::new(*self);
        let mut threads = ThreadSamples::new("threads", options.names)?;
        let mut stack = Vec::new();
        for sample in samples {
            stack.clear();
            for id in self.stacks.addresses(sample.stack) {
                let name = names.name(id);
                let kind = if is_unresolved(&name) {
                    FrameKind::Other
                } else {
                    FrameKind::Jit
                };
                stack.push(threads.frame(&name, ("", 0), kind)?);
            }
            let known = options.stamp.threads.get(&sample.thread);
            // Before .NET 5 a function that waits has no frame of its own.
            let idle = known.is_some_and(|known| known.cpu_ms == 0);
            let state = match sample.state {
                ThreadState::Managed => "managed code",
                ThreadState::External if idle || names.stack_waits(sample.stack) => "waiting",
                ThreadState::External => "native code",
            };
            let tid = i64::try_from(sample.thread).unwrap_or_default();
            let mut facts = vec![(key::TID, Fact::Number(tid)), (key::STATE, Fact::Text(state))];
            if let Some(named) = known.filter(|known| !known.name.is_empty()) {
                facts.insert(0, (key::NAME, Fact::Text(&named.name)));
            }
            threads.thread(&stack, &facts)?;
        }
        Ok(threads.finish())
    }
}
