//! `sideflame-webhook annotations`: the table of annotations, for people, the README and tools.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value, json};

use crate::annotations::{PREFIX, TABLE};

/// How the table looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For people
    Text,
    /// For the README
    Markdown,
    /// For tools
    Json,
}

/// Flags of `annotations`.
#[derive(Debug, ClapArgs)]
pub struct AnnotationsCommand {
    /// How the table looks
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = TableFormat::Text)]
    output: TableFormat,
}

/// Prints the table.
pub fn run(command: AnnotationsCommand) -> ExitCode {
    let AnnotationsCommand { output } = command;
    // A reader that closes the pipe early has read enough.
    let _ = io::stdout().write_all(table(output).as_bytes());
    ExitCode::SUCCESS
}

fn table(format: TableFormat) -> String {
    match format {
        TableFormat::Text => text(),
        TableFormat::Markdown => markdown(),
        TableFormat::Json => json_table(),
    }
}

fn text() -> String {
    let mut text = String::new();
    for row in &TABLE {
        let (name, doc, allowed, default) = (row.name, row.doc, row.allowed, row.default);
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{PREFIX}{name}\n    {doc}\n    value: {allowed}\n    default: {default}"
        );
    }
    text
}

fn markdown() -> String {
    let mut text = String::from("| annotation | value | default | what it does |\n|---|---|---|---|\n");
    for row in &TABLE {
        let _ = writeln!(
            text,
            "| `{PREFIX}{}` | {} | {} | {} |",
            row.name, row.allowed, row.default, row.doc
        );
    }
    text
}

fn json_table() -> String {
    let row = |row: &crate::annotations::Annotation| {
        json!({
            "key": format!("{PREFIX}{}", row.name), "value": row.allowed, "default": row.default, "doc": row.doc,
        })
    };
    let rows: Vec<Value> = TABLE.iter().map(row).collect();
    format!("{:#}\n", Value::Array(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_every_annotation_once() {
        for format in [TableFormat::Text, TableFormat::Markdown, TableFormat::Json] {
            let table = table(format);
            for row in &TABLE {
                let key = format!("{PREFIX}{}", row.name);
                let rows = table.lines().filter(|line| {
                    let line = line.trim_start_matches([' ', '|', '`', '"']);
                    line.starts_with(&key) || line.starts_with(&format!("key\": \"{key}\""))
                });
                let rows = rows.filter(|line| !line.contains(&format!("{key}-"))).count();
                assert_eq!(rows, 1, "{key} in {format:?}");
            }
        }
    }

    #[test]
    fn markdown_rows_have_four_cells() {
        assert!(
            markdown().lines().all(|line| line.matches('|').count() == 5),
            "{}",
            markdown()
        );
    }
}
