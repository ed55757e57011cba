//! YAML streams and JSON in, YAML or JSON out. A document that does not change is printed as it was written, comments and all.
//!
//! Must not know Kubernetes.

use serde_json::Value;

/// One document of the input.
#[derive(Debug)]
pub(super) struct Document {
    /// As it was written; `None` if that was JSON.
    pub text: Option<String>,
    pub value: Value,
}

/// Why the input is no stream of documents.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("document {number} is not YAML: {source}")]
    Yaml {
        number: usize,
        source: Box<serde_saphyr::Error>,
    },
    #[error("document {number} cannot be written as YAML: {detail}")]
    Write { number: usize, detail: String },
}

/// Parses a YAML stream, or JSON documents one after the other.
pub(super) fn parse(input: &str) -> Result<Vec<Document>, DocumentError> {
    if input.trim_start().starts_with(['{', '[']) {
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(input).into_iter().collect();
        if let Ok(values) = values {
            return Ok(values.into_iter().map(|value| Document { text: None, value }).collect());
        }
        // It may still be YAML's flow style.
    }
    let parse = |(index, text): (usize, String)| {
        let value = read(&text).map_err(|source| DocumentError::Yaml {
            number: index + 1,
            source: Box::new(source),
        })?;
        Ok(Document {
            text: Some(text),
            value,
        })
    };
    split(input).into_iter().enumerate().map(parse).collect()
}

/// Cuts at the `---` lines. They end a document wherever they stand, by the YAML specification even in a block scalar.
fn split(input: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut current = String::new();
    for line in input.split_inclusive('\n') {
        let marker = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        match marker {
            Some(rest) => {
                documents.push(std::mem::take(&mut current));
                if !rest.trim().is_empty() {
                    current.push_str(rest.trim_start());
                }
            }
            None => current.push_str(line),
        }
    }
    documents.push(current);
    // Helm writes a separator before every document, the first included.
    documents.retain(|document| !document.trim().is_empty());
    documents
}

fn read(text: &str) -> Result<Value, serde_saphyr::Error> {
    let only_comments = text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "..."
    });
    if only_comments {
        return Ok(Value::Null);
    }
    // As kubectl reads: 0400 is a file mode, and a key that stands twice a mistake.
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Writes a YAML stream.
pub(super) fn yaml(documents: impl Iterator<Item = (Option<String>, Value)>) -> Result<String, DocumentError> {
    let mut stream = String::new();
    for (index, (text, value)) in documents.enumerate() {
        if index > 0 {
            stream.push_str("---\n");
        }
        match text {
            Some(text) => stream.push_str(&text),
            None => stream.push_str(&write(&value).map_err(|detail| DocumentError::Write {
                number: index + 1,
                detail,
            })?),
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
        parse(input)
            .unwrap()
            .into_iter()
            .map(|document| document.value)
            .collect()
    }

    #[test]
    fn streams_are_cut_at_the_markers_only() {
        assert_eq!(values("a: 1\n---\nb: 2\n"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(
            values("---\na: 1\n---\n---\n# nothing\n--- \nb: 2"),
            [json!({"a": 1}), Value::Null, json!({"b": 2})]
        );
        assert_eq!(values("--- {a: 1}\n"), [json!({"a": 1})]);
        assert_eq!(values("a: |\n  x\n  ---\n  y\n"), [json!({"a": "x\n---\ny\n"})]);
        assert_eq!(values("a: ----\n"), [json!({"a": "----"})]);
        assert_eq!(values(""), [] as [Value; 0]);
    }

    #[test]
    fn json_and_flow_style_are_both_understood() {
        assert_eq!(values("{\"a\": 1}\n{\"b\": [2]}"), [json!({"a": 1}), json!({"b": [2]})]);
        assert_eq!(values("{a: 1}"), [json!({"a": 1})]);
    }

    #[test]
    fn scalars_mean_what_kubectl_takes_them_for() {
        assert_eq!(
            values("mode: 0400\nbig: 9223372036854775807\nyes: 'true'\n"),
            [json!({"mode": 256, "big": i64::MAX, "yes": "true"})]
        );
        assert_eq!(values("a: &x {b: 1}\nc: *x\n"), [json!({"a": {"b": 1}, "c": {"b": 1}})]);
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
            let value = json!({ "key": text, "list": [text] });
            let written = write(&value).unwrap();
            assert_eq!(read(&written).unwrap(), value, "{written}");
        }
    }

    #[test]
    fn numbers_survive() {
        let value = json!({ "a": u64::MAX, "b": i64::MIN, "c": 0.1, "d": 1e300, "e": -0.5, "f": 1.0 });
        assert_eq!(read(&write(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn an_error_names_the_document() {
        let error = parse("a: 1\n---\na: 1\na: 2\n").unwrap_err().to_string();
        assert!(error.starts_with("document 2 is not YAML"), "{error}");
    }
}
