//! Sums of stacks → a profile with names.
//!
//! Pure. Called by [`super::record`] at the end of a recording.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::groups::Group;
use super::plan::NativePlan;
use super::stacks::{Moment, Owner, StackFrame, Stacks, Sum};
use super::symbols::{Frame, Symbols};
use crate::profile::format::pprof::moments::Moments;
use crate::profile::frame_name::CUT;
use crate::profile::model::{Function, Label, LabelValue, Line, LocationId, Mapping, MappingId};
use crate::profile::strings::StringId;
use crate::profile::thread_root::ThreadRoot;
use crate::profile::{FrameKind, ModelError, Profile, ProfileBuilder, ValueType};

/// What stands for stacks that had no room.
const REST: &str = "[stacks beyond what the recorder keeps]";

/// What the kernel's code is a mapping of, by which pprof's tools and ours know it.
const KERNEL: &str = "[kernel.kallsyms]";

/// The profile in the making.
#[derive(Debug)]
struct Maker<'a> {
    builder: ProfileBuilder,
    symbols: &'a Symbols,
    kernel: MappingId,
    locations: HashMap<StackFrame, LocationId>,
    /// Names of the threads that stacks are split by.
    names: Option<&'a HashMap<i32, String>>,
    groups: &'a [Group],
    roots: HashMap<Owner, Rc<Root>>,
}

/// What the stacks of one owner have in common.
#[derive(Debug, Default)]
struct Root {
    /// The innermost first.
    frames: Vec<LocationId>,
    labels: Vec<Label>,
}

/// Makes the profile of a recording of `plan`, whose stacks are told apart by intervals of time. `threads` are the names of threads, `groups`
/// those of what stacks are split by.
///
/// # Errors
/// It is too large.
pub(super) fn profile_of(
    plan: &NativePlan,
    (stacks, interval): (&Stacks, Duration),
    symbols: &Symbols,
    threads: &HashMap<i32, String>,
    groups: &[Group],
) -> Result<(Profile, Moments), ModelError> {
    let mut maker = Maker::new(plan, symbols, threads, groups)?;
    let mut moments = Moments::new(interval.as_millis().try_into().unwrap_or(u64::MAX));
    let mut frames = Vec::new();
    for stack in stacks.iter().filter(|stack| stack.sum.count > 0) {
        frames.clear();
        for frame in maker.without_root(&stack.frames) {
            frames.push(maker.location(*frame)?);
        }
        if stack.is_cut {
            frames.push(maker.location(StackFrame::Words(CUT))?);
        }
        let root = maker.root(stack.owner)?;
        frames.extend(&root.frames);
        let row = maker.sample(&frames, stack.sum, &root.labels)?;
        for Moment { interval, thread, sum } in &stack.moments {
            let name = threads.get(thread).map(String::as_str);
            moments.add(row as usize, *interval, (*thread, name), &[sum.count, sum.weight]);
        }
    }
    let rest = stacks.rest();
    if rest.count > 0 {
        let frame = maker.location(StackFrame::Words(REST))?;
        maker.sample(&[frame], rest, &[])?;
    }
    let mut profile = maker.builder.finish();
    profile.default_sample_type = profile.sample_types.last().map(|value| value.name.clone());
    Ok((profile, moments))
}

impl<'a> Maker<'a> {
    fn new(
        plan: &NativePlan,
        symbols: &'a Symbols,
        names: &'a HashMap<i32, String>,
        groups: &'a [Group],
    ) -> Result<Self, ModelError> {
        // As Go names them, so that pprof's tools know them.
        let values = vec![
            ValueType::new("samples", "count"),
            ValueType::new(plan.event.name(), plan.unit()),
        ];
        let mut builder = ProfileBuilder::new(values)?;
        let file = builder.string(KERNEL)?;
        let kernel = builder.mapping(Mapping {
            start: 0,
            limit: 0,
            offset: 0,
            file,
            build_id: StringId::default(),
            has: [true, false, false, false],
        })?;
        Ok(Self {
            builder,
            symbols,
            kernel,
            locations: HashMap::new(),
            names: plan.threads.then_some(names),
            groups,
            roots: HashMap::new(),
        })
    }

    fn sample(&mut self, frames: &[LocationId], sum: Sum, labels: &[Label]) -> Result<u32, ModelError> {
        let number = |value| i64::try_from(value).map_err(|_| ModelError::Overflow);
        self.builder
            .sample_row(frames, &[number(sum.count)?, number(sum.weight)?], labels)
    }

    /// Without the frame that every goroutine ends in, which Go's own profiles leave out, too.
    fn without_root<'s>(&self, frames: &'s [StackFrame]) -> &'s [StackFrame] {
        match frames {
            [others @ .., StackFrame::Program(root)] if !others.is_empty() => {
                let name = self.symbols.frames(*root).first().map(|frame| &*frame.name);
                if matches!(name, Some("runtime.goexit" | "runtime.goexit.abi0")) {
                    others
                } else {
                    frames
                }
            }
            _ => frames,
        }
    }

    fn location(&mut self, frame: StackFrame) -> Result<LocationId, ModelError> {
        if let Some(known) = self.locations.get(&frame) {
            return Ok(*known);
        }
        let location = match frame {
            StackFrame::Words(words) => self.builder.frame(words, FrameKind::Other)?,
            StackFrame::Kernel(place) => self.functions(self.symbols.frames(place), FrameKind::Kernel)?,
            StackFrame::Program(place) => self.functions(self.symbols.frames(place), FrameKind::Native)?,
        };
        self.locations.insert(frame, location);
        Ok(location)
    }

    /// One address, which is several functions where calls were inlined.
    fn functions(&mut self, frames: &[Frame], kind: FrameKind) -> Result<LocationId, ModelError> {
        let mut lines = Vec::with_capacity(frames.len());
        for frame in frames {
            let file = frame.file.as_deref().unwrap_or_default();
            let function = Function {
                name: self.builder.string(&frame.name)?,
                system_name: self.builder.string(&frame.system_name)?,
                file: self.builder.string(file)?,
                start_line: i64::from(frame.start_line),
                kind: if frame.inlined { FrameKind::Inlined } else { kind },
            };
            lines.push(Line {
                function: self.builder.function(function)?,
                line: i64::from(frame.line),
                column: 0,
            });
        }
        let mapping = (kind == FrameKind::Kernel).then_some(self.kernel);
        self.builder.location(mapping, 0, false, &lines)
    }

    /// The thread, if threads are told apart, and of a node the process, its container and its pod.
    fn root(&mut self, owner: Owner) -> Result<Rc<Root>, ModelError> {
        if let Some(known) = self.roots.get(&owner) {
            return Ok(Rc::clone(known));
        }
        let mut root = Root::default();
        if let Some(names) = self.names {
            let name = names.get(&owner.tid).map(String::as_str).unwrap_or_default();
            let thread = ThreadRoot::new(&mut self.builder, name, owner.tid.into())?;
            root.frames.push(thread.frame);
            root.labels.extend(thread.labels);
        }
        if let Some(group) = self.groups.get(owner.group as usize) {
            for (key, row) in group.rows().into_iter().rev() {
                root.frames.push(self.builder.frame(row, FrameKind::Other)?);
                root.labels.push(Label {
                    key: self.builder.string(key)?,
                    value: LabelValue::Text(self.builder.string(row)?),
                });
            }
        }
        let root = Rc::new(root);
        self.roots.insert(owner, Rc::clone(&root));
        Ok(root)
    }
}
