//! Reads what HotSpot prints of the objects in its heap by class: `jcmd GC.class_histogram`, `jmap -histo`.
//!
//! Called by the renderer. Source: OpenJDK `heapInspection.cpp` of 8, 17 and 25.

use std::io::{self, Read};

use crate::format::RecordingKind;
use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::format::jfr::class_name;
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::model::{FrameKind, Profile, ValueType};
use crate::profile::thread_samples::each_line;

/// The names of the columns that every version has.
const HEADING: [&str; 3] = ["#instances", "#bytes", "class"];
const TOTAL: &str = "Total ";

/// The text is no whole histogram.
#[derive(Debug, thiserror::Error)]
pub enum ClassHistogramError {
    /// The input could not be read.
    #[error("the histogram cannot be read")]
    Read(#[source] io::Error),
    /// It has no heading.
    #[error("not a class histogram of HotSpot: it has no line with #instances, #bytes and class name")]
    NotAHistogram,
    /// The end is missing, or does not fit.
    #[error("the histogram is cut: its rows are not what its last line says")]
    Cut,
    /// It does not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Reads class histograms of HotSpot.
#[derive(Debug)]
pub struct ClassHistogram;

impl Reader for ClassHistogram {
    fn kind(&self) -> RecordingKind {
        RecordingKind::ClassHistogram
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let beginning = head.get(..head.len().min(4096)).unwrap_or_default();
        String::from_utf8_lossy(beginning).lines().take(8).any(is_heading)
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        let types = vec![
            ValueType::new("inuse_objects", "count"),
            ValueType::new("inuse_space", "bytes"),
        ];
        let mut builder = ProfileBuilder::new(types).map_err(ClassHistogramError::Model)?;
        builder.names = options.names;
        let mut rows = Rows {
            builder,
            sum: (0, 0),
            section: Section::Preface,
        };
        each_line(input, ClassHistogramError::Read, |line| rows.line(line))?;
        Ok(rows.finish()?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Preface,
    Rows,
    Behind,
}

#[derive(Debug)]
struct Rows {
    builder: ProfileBuilder,
    /// Objects and bytes.
    sum: (i64, i64),
    section: Section,
}

impl Rows {
    fn line(&mut self, line: &str) -> Result<(), ClassHistogramError> {
        match self.section {
            Section::Preface if is_heading(line) => self.section = Section::Rows,
            Section::Rows => {
                if let Some(total) = line.trim_start().strip_prefix(TOTAL) {
                    if numbers(total).map(|(objects, bytes, _)| (objects, bytes)) != Some(self.sum) {
                        return Err(ClassHistogramError::Cut);
                    }
                    self.section = Section::Behind;
                } else if let Some((objects, bytes, class)) = row(line) {
                    let sum = (self.sum.0.checked_add(objects), self.sum.1.checked_add(bytes));
                    let (Some(all), Some(all_bytes)) = sum else {
                        return Err(ClassHistogramError::Cut);
                    };
                    self.sum = (all, all_bytes);
                    let frame = self.builder.frame(&class_name(class), FrameKind::Other)?;
                    self.builder.sample(&[frame], &[objects, bytes], &[])?;
                }
            }
            Section::Preface | Section::Behind => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Profile, ClassHistogramError> {
        match self.section {
            Section::Preface => Err(ClassHistogramError::NotAHistogram),
            Section::Rows => Err(ClassHistogramError::Cut),
            Section::Behind => Ok(self.builder.finish()),
        }
    }
}

fn is_heading(line: &str) -> bool {
    HEADING.iter().all(|name| line.contains(name))
}

/// `   2:          8728      105249856  [B (java.base@17.0.15)`; before JDK 9 without the module.
fn row(line: &str) -> Option<(i64, i64, &str)> {
    let (rank, rest) = line.split_once(':')?;
    rank.trim().parse::<u64>().ok()?;
    let (objects, bytes, class) = numbers(rest)?;
    let class = match class.rsplit_once(" (") {
        Some((class, module)) if module.ends_with(')') => class,
        _ => class,
    };
    Some((objects, bytes, class))
}

/// Two numbers, which are not negative, and what follows.
fn numbers(text: &str) -> Option<(i64, i64, &str)> {
    let text = text.trim_start();
    let (objects, rest) = text.split_once(' ')?;
    let rest = rest.trim_start();
    let (bytes, class) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    Some((number(objects)?, number(bytes)?, class.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Quality;
    use crate::profile::format::collapsed::read::CollapsedValues;
    use crate::profile::hidden_class::Names;
    use crate::profile::slicing::Slicing;

    const TEXT: &str = " num     #instances         #bytes  class name (module)
-------------------------------------------------------
   1:       4915200      314572800  demo.shop.Leak$ForgottenOrder
   2:          8728      105249856  [B (java.base@17.0.15)
   3:             2             80  [[Ljava.lang.String; (java.base@17.0.15)
Total       4923930      419822736
";

    fn read(text: &str) -> Result<Vec<(String, Vec<i64>)>, ReadError> {
        let options = ReadOptions {
            collapsed: CollapsedValues::of(&Quality::default()),
            names: Names::default(),
            stamp: Quality::default(),
            event: None,
            slicing: Slicing::default(),
        };
        let profile = ClassHistogram.read(&mut text.as_bytes(), &options)?;
        let rows = profile.samples().map(|sample| {
            let location = &profile.locations()[sample.stack[0].index()];
            let function = profile.lines(location)[0].function;
            let name = profile.text(profile.functions()[function.index()].name);
            (name.to_owned(), sample.values.to_vec())
        });
        Ok(rows.collect())
    }

    #[test]
    fn classes_are_named_as_in_java_with_their_objects_and_bytes() {
        let rows = read(TEXT).unwrap();
        assert_eq!(
            rows,
            [
                ("demo.shop.Leak$ForgottenOrder".to_owned(), vec![4_915_200, 314_572_800]),
                ("byte[]".to_owned(), vec![8728, 105_249_856]),
                ("java.lang.String[][]".to_owned(), vec![2, 80]),
            ]
        );
        assert!(ClassHistogram.recognises(TEXT.as_bytes()) && !ClassHistogram.recognises(b"main;a 1\n"));
        // JDK 8 names no modules.
        assert_eq!(
            read(&TEXT.replace(" (java.base@17.0.15)", "").replace(" (module)", "")).unwrap(),
            rows
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..TEXT.len() - 2 {
            assert!(read(&TEXT[..end]).is_err(), "{end}");
        }
        let lacking: String = TEXT
            .lines()
            .filter(|line| !line.contains("   2:"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(read(&lacking).is_err());
        assert!(read(&TEXT.replace("8728", "-8728")).is_err());
    }
}
