//! Go's own table of functions, which the runtime needs and which `-ldflags=-s -w` leaves: names, inlined calls, files and lines.
//!
//! Its layout is in Go's `runtime/symtab.go` and `cmd/link`. Read by `pread` where an address needs it: the table of kube-apiserver is
//! 40 MB long. Go 1.18 and later exactly; 1.16 and 1.17 with inlined calls where it is not position-independent; 1.2 to
//! 1.15 without.

mod function;
mod header;
mod module_data;
mod pc_value;

use std::sync::Arc;

use super::elf::Elf;
use super::frame::{Frame, Names};
use super::source::{Source, u32_at};

use function::Function;
use header::{Header, Layout};
use module_data::ModuleData;

/// Longest name of a function or file that is read.
const TEXT_LIMIT: usize = 4 << 10;

/// Calls that are inlined into one; the compiler stops long before.
const INLINED: usize = 128;

/// The table of one file.
#[derive(Debug)]
pub(super) struct GoTable {
    header: Header,
    /// What entries are counted from; 0 where they are addresses.
    text: u64,
    /// Where in the file the data of functions is, which the inlined calls are part of.
    function_data: Option<u64>,
}

impl GoTable {
    /// The table of a Go program; `None` if it is none.
    pub(super) fn find(source: &Source, elf: &Elf) -> Option<Self> {
        let header = Header::find(source, elf)?;
        if header.layout < Layout::Go118 {
            return Some(Self {
                header,
                text: 0,
                function_data: None,
            });
        }
        let module = ModuleData::find(source, elf, &header);
        // Before Go 1.26 the header has it, 0 in what is position-independent.
        let text = [header.text, module.as_ref().map_or(0, |module| module.text)]
            .into_iter()
            .find(|text| *text != 0)
            .or_else(|| elf.section(".text").map(|section| section.address))?;
        Some(Self {
            text,
            function_data: module.and_then(|module| elf.offset_of(module.function_data)),
            header,
        })
    }

    /// The functions at `address`, the innermost inlined one first; `None` if no function of Go is there.
    pub(super) fn frames(
        &self,
        source: &Source,
        elf: &Elf,
        address: u64,
        module: &Arc<str>,
        names: &mut Names,
    ) -> Option<Vec<Frame>> {
        let function = self.function(source, address)?;
        let mut frames = Vec::new();
        let mut at = address;
        loop {
            let call = function
                .inlined_at(source, &self.header, at)
                .filter(|_| frames.len() < INLINED)
                .and_then(|index| self.inlined_call(source, elf, &function, index));
            let (file, line) = function.position(source, &self.header, at);
            let (name_offset, start_line) = match &call {
                Some(call) => (call.name, call.start_line),
                None => (function.name, function.start_line),
            };
            // Of C that was linked in it may have no names.
            let name = self.header.name(source, name_offset).filter(|name| !name.is_empty())?;
            frames.push(Frame {
                name: names.intern(&short(&name)),
                system_name: names.intern(&name),
                file: file.map(|file| names.intern(&file)),
                line,
                start_line,
                inlined: call.is_some(),
                module: Arc::clone(module),
            });
            match call {
                Some(call) => at = function.entry.checked_add(call.caller.into())?,
                None => return Some(frames),
            }
        }
    }

    /// Bytes that the function at `address` has on the stack there; with none its return address is on top.
    pub(super) fn stack_used(&self, source: &Source, address: u64) -> Option<i32> {
        self.function(source, address)?
            .stack_used(source, &self.header, address)
    }

    /// The function that covers `address`.
    fn function(&self, source: &Source, address: u64) -> Option<Function> {
        let header = &self.header;
        let wanted = address.checked_sub(self.text)?;
        let (mut low, mut high) = (0, header.functions);
        // The first row is at or below what is wanted, the last row is the end.
        if wanted < header.row(source, 0)?.0 || wanted >= header.row(source, high)?.0 {
            return None;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if header.row(source, middle)?.0 <= wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        let (entry, offset) = header.row(source, low)?;
        Function::read(source, header, self.text.checked_add(entry)?, offset)
    }

    fn inlined_call(&self, source: &Source, elf: &Elf, function: &Function, index: u32) -> Option<InlinedCall> {
        let tree = match self.header.layout {
            Layout::Go12 => return None,
            Layout::Go116 => elf.offset_of(function.inline_tree?)?,
            Layout::Go118 | Layout::Go120 => self.function_data?.checked_add(function.inline_tree?)?,
        };
        let at = |size: u64| tree.checked_add(size * u64::from(index));
        if self.header.layout == Layout::Go120 {
            let row: [u8; 16] = source.array(at(16)?)?;
            return Some(InlinedCall {
                name: u32_at(&row, 4),
                caller: u32_at(&row, 8),
                start_line: u32_at(&row, 12),
            });
        }
        let row: [u8; 20] = source.array(at(20)?)?;
        Some(InlinedCall {
            name: u32_at(&row, 12),
            caller: u32_at(&row, 16),
            start_line: 0,
        })
    }
}

/// A call that was inlined into a function.
struct InlinedCall {
    name: u32,
    /// An instruction of the function whose position is that of the call, counted from its entry.
    caller: u32,
    start_line: u32,
}

/// The name as Go's own tools show it: type arguments, which are shapes of the compiler's, are `[...]`.
fn short(name: &str) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(start), Some(end)) if start < end => format!("{}[...]{}", &name[..start], &name[end + 1..]),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_arguments_are_shortened() {
        for (name, shown) in [
            ("main.main", "main.main"),
            ("slices.Sort[go.shape.[]int,go.shape.int]", "slices.Sort[...]"),
            ("main.(*List[go.shape.int]).Add.func1", "main.(*List[...]).Add.func1"),
            ("odd]name[", "odd]name["),
        ] {
            assert_eq!(short(name), shown);
        }
    }
}
