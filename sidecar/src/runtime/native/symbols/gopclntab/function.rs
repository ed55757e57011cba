//! What the table says of one function (`_func` in Go's `runtime/runtime2.go`).

use super::super::source::{Source, u32_at};
use super::header::{Header, Layout};
use super::pc_value;

/// Which of the values along a function is the number of the inlined call (`PCDATA_InlTreeIndex`), since Go 1.13.
const INLINE_INDEX: u32 = 2;

/// Which data of a function are its inlined calls (`FUNCDATA_InlTree`), since Go 1.16.
const INLINE_TREE: u8 = 3;

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) entry: u64,
    pub(super) name: u32,
    pub(super) start_line: u32,
    /// Where its inlined calls are: counted from the data of functions, before 1.18 an address.
    pub(super) inline_tree: Option<u64>,
    stack_values: u32,
    file_values: u32,
    line_values: u32,
    inline_values: u32,
    unit: u32,
}

impl Function {
    /// The function with this entry and description.
    pub(super) fn read(source: &Source, header: &Header, entry: u64, description: u64) -> Option<Self> {
        let at = header.description(description)?;
        // An entry of 4 or 8 bytes, then fields of 4.
        let (fields_at, count) = match header.layout {
            Layout::Go12 => (8, 8),
            Layout::Go116 => (8, 9),
            Layout::Go118 => (4, 9),
            Layout::Go120 => (4, 10),
        };
        let mut fields = [0; 40];
        let fields = fields.get_mut(..count * 4)?;
        source.read(at.checked_add(fields_at)?, fields).ok()?;
        let field = |number: usize| u32_at(fields, number * 4);
        let values = field(6);
        let tail_at = at.checked_add(fields_at)?.checked_add(count as u64 * 4)?;
        let mut function = Self {
            entry,
            name: field(0),
            stack_values: field(3),
            file_values: field(4),
            line_values: field(5),
            unit: field(7),
            start_line: if header.layout == Layout::Go120 { field(8) } else { 0 },
            inline_tree: None,
            inline_values: 0,
        };
        if header.layout == Layout::Go12 || values <= INLINE_INDEX {
            return Some(function);
        }
        // The last field ends in the number of data.
        let data_count = *source.array::<4>(tail_at.checked_sub(4)?)?.get(3)?;
        function.inline_values = source.u32(tail_at.checked_add(u64::from(INLINE_INDEX) * 4)?)?;
        if data_count > INLINE_TREE {
            let data_at = tail_at.checked_add(u64::from(values) * 4)?;
            function.inline_tree = if header.layout >= Layout::Go118 {
                let offset = source.u32(data_at.checked_add(u64::from(INLINE_TREE) * 4)?)?;
                (offset != u32::MAX).then_some(offset.into())
            } else {
                // The table is aligned in memory and in the file alike.
                let data_at = data_at.next_multiple_of(8);
                source
                    .u64(data_at.checked_add(u64::from(INLINE_TREE) * 8)?)
                    .filter(|address| *address != 0)
            };
        }
        Some(function)
    }

    /// The number of the inlined call that `address` belongs to.
    pub(super) fn inlined_at(&self, source: &Source, header: &Header, address: u64) -> Option<u32> {
        self.inline_tree?;
        let index = self.value(source, header, self.inline_values, address)?;
        u32::try_from(index).ok()
    }

    /// Bytes between the stack pointer and the return address.
    pub(super) fn stack_used(&self, source: &Source, header: &Header, address: u64) -> Option<i32> {
        self.value(source, header, self.stack_values, address)
    }

    /// Source file and line; 0 where it is not known.
    pub(super) fn position(&self, source: &Source, header: &Header, address: u64) -> (Option<String>, u32) {
        let value = |values| {
            let value = self.value(source, header, values, address)?;
            u32::try_from(value).ok()
        };
        let file = value(self.file_values).and_then(|number| header.file(source, self.unit, number));
        (file, value(self.line_values).unwrap_or_default())
    }

    fn value(&self, source: &Source, header: &Header, values: u32, address: u64) -> Option<i32> {
        if values == 0 {
            return None;
        }
        let at = header.pc_values.checked_add(values.into())?;
        pc_value::value_at(source, at, header.quantum, address.checked_sub(self.entry)?)
    }
}
