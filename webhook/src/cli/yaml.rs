//! Reads one YAML document as kubectl does: the same grammar (libyaml's, of which kubectl's reader is a port), the same
//! meaning of plain words and numbers (YAML 1.1), and of a key that stands twice the last one.
//!
//! Must not know Kubernetes, nor how a stream is cut into documents. Called by `documents`;
//! `tests/tests/inject_reads.rs` holds it against kubectl.

mod scalar;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use libyaml_safer::{Event, EventData, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Deeper documents are no manifests, and would exhaust the stack.
const DEEPEST: usize = 256;
/// Values that aliases may copy: a few lines of them can stand for billions.
const MOST_COPIES: usize = 1 << 20;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Null where there is nothing but comments.
    pub(super) value: Value,
    pub(super) duplicates: Vec<Duplicate>,
}

/// A key that its mapping has already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    /// From 1.
    pub(super) line: usize,
    pub(super) key: String,
}

/// Why a document cannot be read.
#[derive(Debug)]
pub(super) struct YamlError {
    /// From 1, where it is known.
    pub(super) line: Option<usize>,
    pub(super) problem: String,
}

/// Reads the only document of `text`.
pub(super) fn read(text: &str) -> Result<Reading, YamlError> {
    // The library has assertions about its own state, and one of them is wrong: `[!!str, x]` is a string without text.
    caught(|| document(text)).unwrap_or_else(|| {
        let problem =
            "it makes the parser fail, as a tag right before a comma does (`[!!str, x]`): put a space between";
        Err(error(None, problem))
    })
}

/// What was read as JSON, with the numbers that YAML would have: `4e3` is 4000.
pub(super) fn of_json(mut value: Value) -> Value {
    let mut rest = vec![&mut value];
    while let Some(value) = rest.pop() {
        match value {
            Value::Number(number) if number.is_f64() => {
                if let Some(whole) = number.as_f64().and_then(scalar::whole) {
                    *value = whole.into();
                }
            }
            Value::Array(values) => rest.extend(values),
            Value::Object(fields) => rest.extend(fields.values_mut()),
            _ => {}
        }
    }
    value
}

thread_local! {
    /// True while a panic is the answer to a question.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns, or `None` if it panics, without a word on stderr.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !EXPECTED.get() {
                usual(panic);
            }
        }));
    });
    EXPECTED.set(true);
    let returned = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(false);
    returned.ok()
}

fn document(text: &str) -> Result<Reading, YamlError> {
    // The library panics where a block scalar ends without a line break. kubectl reads it as one that has it.
    let ended = match text.ends_with('\n') {
        true => Cow::from(text),
        false => Cow::from(format!("{text}\n")),
    };
    let mut bytes = ended.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut reader = Reader {
        parser,
        anchors: HashMap::new(),
        open: BTreeSet::new(),
        copies: 0,
        depth: 0,
        reading: Reading::default(),
    };
    loop {
        let event = reader.next()?;
        match event.data {
            EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
            EventData::StreamEnd => return Ok(reader.reading),
            EventData::DocumentStart { .. } => {
                let root = reader.next()?;
                if !reader.reading.value.is_null() {
                    return Err(error(line(&event), "another document begins without a line ---"));
                }
                reader.reading.value = reader.node(root)?;
            }
            _ => return Err(error(line(&event), "no document begins here")),
        }
    }
}

struct Reader<'a, 'b> {
    parser: Parser<&'a mut &'b [u8]>,
    anchors: HashMap<String, Value>,
    /// Anchors of the nodes that are being read.
    open: BTreeSet<String>,
    copies: usize,
    depth: usize,
    reading: Reading,
}

impl Reader<'_, '_> {
    fn next(&mut self) -> Result<Event, YamlError> {
        self.parser.parse().map_err(|problem| {
            let mark = problem.problem_mark();
            let line = mark.and_then(|mark| usize::try_from(mark.line + 1).ok());
            error(line, problem.problem())
        })
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event) -> Result<Value, YamlError> {
        let line = line(&event);
        let (anchor, value) = match event.data {
            EventData::Alias { anchor } => return self.alias(&anchor, line),
            EventData::Scalar {
                anchor,
                tag,
                value,
                style,
                ..
            } => {
                let value = scalar::value(value, tag.as_deref(), style == ScalarStyle::Plain);
                (anchor, value.map_err(|problem| error(line, problem))?)
            }
            EventData::SequenceStart { anchor, .. } => {
                let value = self.within(anchor.as_deref(), line, Self::sequence)?;
                (anchor, value)
            }
            EventData::MappingStart { anchor, .. } => {
                let value = self.within(anchor.as_deref(), line, Self::mapping)?;
                (anchor, value)
            }
            _ => return Err(error(line, "there is no value here")),
        };
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn alias(&mut self, anchor: &str, line: Option<usize>) -> Result<Value, YamlError> {
        if self.open.contains(anchor) {
            return Err(error(line, format!("*{anchor} would contain itself")));
        }
        let value = self.anchors.get(anchor);
        let value = value.ok_or_else(|| error(line, format!("there is no &{anchor} above")))?;
        self.copies += size(value);
        if self.copies > MOST_COPIES {
            return Err(error(line, "its aliases stand for too many values"));
        }
        Ok(value.clone())
    }

    /// Reads a collection by `read`.
    fn within(
        &mut self,
        anchor: Option<&str>,
        line: Option<usize>,
        read: fn(&mut Self) -> Result<Value, YamlError>,
    ) -> Result<Value, YamlError> {
        if self.depth == DEEPEST {
            return Err(error(line, "it is nested too deeply"));
        }
        self.depth += 1;
        let opened = anchor.is_some_and(|anchor| self.open.insert(anchor.to_owned()));
        let value = read(self)?;
        if let Some(anchor) = anchor.filter(|_| opened) {
            self.open.remove(anchor);
        }
        self.depth -= 1;
        Ok(value)
    }

    fn sequence(&mut self) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.node(event)?);
        }
    }

    fn mapping(&mut self) -> Result<Value, YamlError> {
        let mut entries = Map::new();
        // Keys that only a merge has brought; naming them is no repetition.
        let mut merged = BTreeSet::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::MappingEnd {
                return Ok(Value::Object(entries));
            }
            let line = line(&event);
            if is_merge(&event.data) {
                let event = self.next()?;
                let value = self.node(event)?;
                // In the order of the keys, as kubectl does: what stands above is replaced.
                for (key, value) in merge(value).map_err(|problem| error(line, problem))? {
                    merged.insert(key.clone());
                    entries.insert(key, value);
                }
                continue;
            }
            let key = self.node(event)?;
            let key = scalar::key(key).map_err(|problem| error(line, problem))?;
            let event = self.next()?;
            let value = self.node(event)?;
            let is_new = merged.remove(&key);
            if entries.insert(key.clone(), value).is_some() && !is_new {
                let line = line.unwrap_or_default();
                self.reading.duplicates.push(Duplicate { line, key });
            }
        }
    }
}

/// The plain key `<<`.
fn is_merge(data: &EventData) -> bool {
    match data {
        EventData::Scalar { value, tag, style, .. } => {
            value == "<<" && (tag.is_none() && *style == ScalarStyle::Plain || tag.as_deref() == Some(scalar::MERGE))
        }
        _ => false,
    }
}

/// Entries to merge; of several mappings the first has the last word.
fn merge(value: Value) -> Result<Map<String, Value>, &'static str> {
    const WRONG: &str = "what is merged by << must be a mapping or a list of mappings";
    match value {
        Value::Object(entries) => Ok(entries),
        Value::Array(list) => {
            let mut all = Map::new();
            for value in list.into_iter().rev() {
                let Value::Object(entries) = value else {
                    return Err(WRONG);
                };
                all.extend(entries);
            }
            Ok(all)
        }
        _ => Err(WRONG),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn line(event: &Event) -> Option<usize> {
    usize::try_from(event.start_mark.line + 1).ok()
}

fn error(line: Option<usize>, problem: impl Into<String>) -> YamlError {
    YamlError {
        line,
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests;
