//! YAML streams and JSON in, YAML or JSON out. A document that does not change is printed as it was written, comments and all,
//! and so is one that cannot be read.
//!
//! Must not know Kubernetes. Called by `inject`.

use serde_json::Value;

use super::yaml::{self, Reading, YamlError};

/// One document of the input.
#[derive(Debug)]
pub(super) struct Document {
    /// Of the input, from 1.
    pub(super) line: usize,
    /// As it was written, its line `---` included; `None` if that was JSON.
    pub(super) text: Option<String>,
    /// Null where there is nothing but comments; and why it cannot be read.
    pub(super) content: Result<Value, String>,
    /// Sentences on what is probably a mistake.
    pub(super) warnings: Vec<String>,
    /// `content` is another one now.
    pub(super) changed: bool,
}

impl Document {
    /// For people: where it is.
    pub(super) fn place(&self) -> String {
        format!("the document at line {}", self.line)
    }
}

/// Parses a YAML stream, or JSON documents one after the other.
pub(super) fn parse(input: &str) -> Vec<Document> {
    if input.trim_start().starts_with(['{', '['])
        && let Some(documents) = json(input)
    {
        return documents;
    }
    // It may still be YAML's flow style.
    let mut line = 1;
    let mut documents = Vec::new();
    for part in split(input) {
        let next = line + part.text.matches('\n').count();
        documents.push(part.read(line));
        line = next;
    }
    documents
}

/// JSON documents one after the other; `None` if this is something else.
fn json(input: &str) -> Option<Vec<Document>> {
    let mut values = serde_json::Deserializer::from_str(input).into_iter();
    let mut documents = Vec::new();
    loop {
        let from = values.byte_offset();
        let Some(value) = values.next() else {
            return Some(documents);
        };
        let value = yaml::of_json(value.ok()?);
        let text = input.get(from..values.byte_offset())?;
        let blank = text.len() - text.trim_start().len();
        let line = input.get(..from + blank)?.matches('\n').count() + 1;
        documents.push(Document {
            line,
            text: None,
            content: Ok(value),
            warnings: repetitions(text.trim_start(), line),
            changed: false,
        });
    }
}

/// Keys that stand twice in a JSON text, which serde_json takes without a word.
fn repetitions(text: &str, line: usize) -> Vec<String> {
    let reading = yaml::read(text).unwrap_or_default();
    warnings(&reading, line)
}

fn warnings(reading: &Reading, line: usize) -> Vec<String> {
    let repeated = reading.duplicates.iter();
    let warning = |of: &yaml::Duplicate| {
        let line = line + of.line - 1;
        let key = &of.key;
        format!("line {line}: {key:?} stands here a second time; only the last one counts")
    };
    repeated.map(warning).collect()
}

/// What stands between two markers.
struct Part<'a> {
    /// With its marker.
    text: &'a str,
    /// Where the content begins.
    begin: usize,
}

impl Part<'_> {
    fn read(&self, line: usize) -> Document {
        let content = self.text.get(self.begin..).unwrap_or_default();
        // A marker may have the content on its own line.
        let first = line + self.text.get(..self.begin).unwrap_or_default().matches('\n').count();
        let read = match serde_json::from_str(content) {
            Ok(value) => Ok((yaml::of_json(value), repetitions(content, first))),
            Err(_) => yaml::read(content).map(|reading| {
                let warnings = warnings(&reading, first);
                (reading.value, warnings)
            }),
        };
        let (content, warnings) = match read {
            Ok((value, warnings)) => (Ok(value), warnings),
            Err(YamlError { line, problem }) => match line {
                Some(line) => (Err(format!("line {}: {problem}", first + line - 1)), Vec::new()),
                None => (Err(problem), Vec::new()),
            },
        };
        Document {
            line: first,
            text: Some(self.text.to_owned()),
            content,
            warnings,
            changed: false,
        }
    }
}

/// Cuts at the `---` lines. They end a document wherever they stand, by the YAML specification even in a block scalar.
fn split(input: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut current = Part { text: "", begin: 0 };
    let (mut from, mut to) = (0, 0);
    for line in input.split_inclusive('\n') {
        let marker = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if let Some(rest) = marker {
            current.text = input.get(from..to).unwrap_or_default();
            parts.push(current);
            current = Part {
                text: "",
                begin: line.len() - rest.trim_start().len(),
            };
            from = to;
        }
        to += line.len();
    }
    current.text = input.get(from..).unwrap_or_default();
    parts.push(current);
    parts.retain(|part| !part.text.is_empty());
    parts
}

/// Writes a YAML stream. The error says which document cannot be written, and why.
pub(super) fn yaml(documents: &[Document]) -> Result<String, String> {
    let mut stream = String::new();
    for document in documents {
        match &document.text {
            Some(text) if !document.changed => stream.push_str(text),
            text => {
                if text.as_ref().map_or(!stream.is_empty(), |text| text.starts_with("---")) {
                    stream.push_str("---\n");
                }
                let value = document.content.as_ref().unwrap_or(&Value::Null);
                stream.push_str(&write(value).map_err(|detail| format!("{}: {detail}", document.place()))?);
            }
        }
        if !stream.ends_with('\n') {
            stream.push('\n');
        }
    }
    Ok(stream)
}

fn write(value: &Value) -> Result<String, String> {
    // Folded lines would be correct, but manifests are not written like that.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(input: &str) -> Vec<Value> {
        let documents = parse(input).into_iter();
        documents.map(|document| document.content.unwrap()).collect()
    }

    #[test]
    fn streams_are_cut_at_the_markers_only() {
        assert_eq!(values("a: 1\n---\nb: 2\n"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(
            values("---\na: 1\n---\n---\n# nothing\n--- \nb: 2"),
            [json!({"a": 1}), Value::Null, Value::Null, json!({"b": 2})]
        );
        assert_eq!(values("--- {a: 1}\n"), [json!({"a": 1})]);
        assert_eq!(values("--- # one\na: 1\n"), [json!({"a": 1})]);
        assert_eq!(values("a: |\n  x\n  ---\n  y\n"), [json!({"a": "x\n---\ny\n"})]);
        assert_eq!(values("a: ----\n"), [json!({"a": "----"})]);
        assert_eq!(values(""), [] as [Value; 0]);
    }

    #[test]
    fn json_and_flow_style_are_both_understood_alone_and_in_a_stream() {
        assert_eq!(
            values("[4e3, {\"a\": 1.0, \"b\": 0.5}]"),
            [json!([4000, {"a": 1, "b": 0.5}])]
        );
        assert_eq!(values("[4e3] # YAML"), values("[4e3]"));
        assert_eq!(values("{\"a\": 1}\n{\"b\": [2]}"), [json!({"a": 1}), json!({"b": [2]})]);
        assert_eq!(values("{a: 1}"), [json!({"a": 1})]);
        assert_eq!(
            values("a: 1\n---\n{\"b\": \"\\ud83d\\ude00\"}\n"),
            [json!({"a": 1}), json!({"b": "😀"})]
        );
    }

    #[test]
    fn what_does_not_change_is_written_byte_for_byte() {
        for input in [
            "a: 1\n",
            "\n\n# all\n---\na: 1   # one\n---\n---\r\n--- # two\r\nb: \"x\n  y\"\r\n...\n",
            "--- {a: 1}\n",
            "a: [\n---\nb: 1\n",
        ] {
            assert_eq!(yaml(&parse(input)).unwrap(), input);
        }
        assert_eq!(yaml(&parse("a: 1")).unwrap(), "a: 1\n");
    }

    #[test]
    fn a_changed_document_keeps_its_marker_and_its_place() {
        let mut documents = parse("a: 1\n--- # two\nb: 2\n---\nc: 3\n");
        for (document, value) in documents.iter_mut().zip([json!({"x": 1}), json!({"z": 2})]) {
            document.content = Ok(value);
            document.changed = true;
        }
        assert_eq!(yaml(&documents).unwrap(), "x: 1\n---\nz: 2\n---\nc: 3\n");
    }

    #[test]
    fn what_looks_like_something_else_is_quoted() {
        for text in [
            "true",
            "yes",
            "on",
            "n",
            "null",
            "~",
            "1",
            "1e3",
            "0x10",
            "0400",
            "1_000",
            "1:30",
            "",
            " a",
            "a: b",
            "# c",
            "- d",
            "2026-01-01",
            "=",
            "<<",
            "a\nb",
            "é",
            "{",
            "\u{1}",
        ] {
            let value = json!({ "key": text, "list": [text], (text): 1 });
            let written = write(&value).unwrap();
            assert_eq!(yaml::read(&written).unwrap().value, value, "{written}");
        }
    }

    #[test]
    fn numbers_survive() {
        let value = json!({ "a": u64::MAX, "b": i64::MIN, "c": 0.1, "d": 1e300, "e": -0.5, "f": 1 });
        assert_eq!(yaml::read(&write(&value).unwrap()).unwrap().value, value);
    }

    #[test]
    fn a_bad_document_is_one_among_good_ones_and_names_its_line() {
        let documents = parse("a: 1\n---\n\nb: 1\nc: [\n---\nd: 1\n");
        let problems: Vec<Option<&str>> = documents
            .iter()
            .map(|document| document.content.as_ref().err().map(String::as_str))
            .collect();
        assert!(matches!(problems[..], [None, Some(_), None]), "{problems:?}");
        assert!(problems[1].unwrap().starts_with("line 6: "), "{problems:?}");
        assert_eq!(documents[2].place(), "the document at line 7");
    }

    #[test]
    fn a_key_that_stands_twice_is_told_with_its_line() {
        for (input, line) in [("a: 1\n---\nb: 1\nb: 2\n", 4), ("\n{\"b\": 1,\n\"b\": 2}\n", 3)] {
            let warnings: Vec<String> = parse(input)
                .into_iter()
                .flat_map(|document| document.warnings)
                .collect();
            assert_eq!(
                warnings,
                [format!(
                    "line {line}: \"b\" stands here a second time; only the last one counts"
                )]
            );
        }
    }
}
