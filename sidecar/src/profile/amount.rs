//! Values with their units, for tables: all of one table in the same unit.
//!
//! Called by the writers of tables and of diffs. What one value is by itself says [`super::stamp`].

use super::frame_name::{UNIT_CHARS, short_text};
use super::model::ValueType;

/// The unit of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    size: u64,
    /// What is behind each number, with the space before it; nothing of counts.
    suffix: &'static str,
    /// What is added up where that is a number of something, e.g. `samples`.
    pub of: String,
}

impl Scale {
    /// The largest unit of which the table's `total` is at least one.
    pub fn of(value: &ValueType, total: u64) -> Self {
        let units: &[(u64, &'static str)] = match value.unit.as_str() {
            "nanoseconds" => &[(1_000_000_000, " s"), (1_000_000, " ms"), (1_000, " µs"), (1, " ns")],
            "bytes" => &[(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B")],
            _ => &[(1, "")],
        };
        let fits = units.iter().find(|(size, _)| total >= *size).or(units.last());
        let (size, suffix) = fits.copied().unwrap_or((1, ""));
        let of = match value.unit.as_str() {
            "nanoseconds" | "bytes" => String::new(),
            "count" => short_text(&value.name, UNIT_CHARS),
            unit => short_text(unit, UNIT_CHARS),
        };
        Self { size, suffix, of }
    }

    /// `1.25 s`, `17`.
    pub fn show(&self, value: u64) -> String {
        match self.size {
            1 => format!("{value}{}", self.suffix),
            _ => self.show_part(precise(value)),
        }
    }

    /// The same of what may be no whole number.
    pub fn show_part(&self, value: f64) -> String {
        format!("{:.2}{}", value / precise(self.size), self.suffix)
    }
}

/// As much of a number as people read.
#[expect(
    clippy::cast_precision_loss,
    reason = "shares and sums for people need no more than f64 has"
)]
pub fn precise(value: u64) -> f64 {
    value as f64
}

/// One of the other; nothing of nothing is nothing.
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_one_unit_that_its_total_chooses() {
        let time = |total| Scale::of(&ValueType::new("cpu", "nanoseconds"), total);
        assert_eq!(time(29_610_000_000).show(17_710_000_000), "17.71 s");
        assert_eq!(time(29_610_000_000).show(10_000_000), "0.01 s");
        assert_eq!(
            (time(250_000).show(1_500), time(0).show(0)),
            ("1.50 µs".into(), "0 ns".into())
        );
        let bytes = Scale::of(&ValueType::new("alloc_space", "bytes"), 3 << 20);
        assert_eq!(bytes.show(1 << 19), "0.50 MiB");
        let counts = Scale::of(&ValueType::new("samples", "count"), 3000);
        assert_eq!((counts.show(17).as_str(), counts.of.as_str()), ("17", "samples"));
    }
}
