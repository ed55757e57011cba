//! Kubernetes quantities: `500m`, `256Mi`, `1.5`, `1e3`.

use std::fmt;

use serde_json::Value;

const NANO: u128 = 1_000_000_000;
const MEBIBYTE: u128 = 1 << 20;
/// The largest number of 64 bits.
const MOST: u128 = i64::MAX as u128 * NANO;

/// A quantity as it was written, and its value.
#[derive(Debug, Clone)]
pub struct Quantity {
    text: String,
    nano: u128,
}

impl Quantity {
    /// Parses the API's notation, without sign.
    pub fn parse(text: &str) -> Option<Self> {
        let nano = nano(text)?;
        let text = text.to_owned();
        Some(Self { text, nano })
    }

    /// Reads a field of the API, which may be a bare number.
    pub fn of(value: &Value) -> Option<Self> {
        let mut read = match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }?;
        // So do the API server's numbers end, and sums of ours cannot overflow.
        read.nano = read.nano.min(MOST);
        Some(read)
    }

    /// Writes a value in billionths: in mebibytes if it is a number of those, else in units, else in thousandths.
    pub fn from_nano(nano: u128) -> Self {
        let units = nano / NANO;
        let text = if !nano.is_multiple_of(NANO) {
            format!("{}m", nano / (NANO / 1000))
        } else if units > 0 && units.is_multiple_of(MEBIBYTE) {
            format!("{}Mi", units / MEBIBYTE)
        } else {
            units.to_string()
        };
        Self { text, nano }
    }

    /// Parses a quantity above zero.
    ///
    /// # Errors
    /// The sentence for the user.
    pub fn positive(text: &str) -> Result<Self, String> {
        Self::at_least(text, 1, u128::MAX).ok_or_else(|| "a positive quantity, e.g. 100m".to_owned())
    }

    /// Parses memory for a container: the kernel cannot start a process in much less.
    ///
    /// # Errors
    /// The sentence for the user.
    pub fn memory(text: &str) -> Result<Self, String> {
        Self::at_least(text, 16 * MEBIBYTE * NANO, u128::MAX).ok_or_else(|| "at least 16Mi, e.g. 256Mi".to_owned())
    }

    /// Parses the size of the store.
    ///
    /// # Errors
    /// The sentence for the user.
    pub fn capture_size(text: &str) -> Result<Self, String> {
        // Below, not one JVM recording fits; above, it is a slip.
        Self::at_least(text, 16 * MEBIBYTE * NANO, (MEBIBYTE << 20) * NANO)
            .ok_or_else(|| "16Mi to 1Ti, e.g. 256Mi".to_owned())
    }

    fn at_least(text: &str, least: u128, most: u128) -> Option<Self> {
        Self::parse(text).filter(|quantity| (least..=most).contains(&quantity.nano))
    }

    /// The value in billionths, for comparing.
    pub fn nano(&self) -> u128 {
        self.nano
    }

    /// The value in whole units, e.g. bytes.
    pub fn units(&self) -> u128 {
        self.nano / NANO
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn nano(text: &str) -> Option<u128> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More digits could overflow below, and no node has 10^15 of anything.
    if whole.len() > 15 || fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<u128>().ok()
        }
    };
    let fraction_nano = digits(fraction)? * 10u128.pow(9 - u32::try_from(fraction.len()).ok()?);
    let value = digits(whole)? * NANO + fraction_nano;
    match suffix {
        "n" => Some(value / NANO),
        "u" => Some(value / 1_000_000),
        "m" => Some(value / 1000),
        "" => Some(value),
        _ => value.checked_mul(factor(suffix)?),
    }
}

fn factor(suffix: &str) -> Option<u128> {
    let (base, letter) = match suffix.strip_suffix('i') {
        Some("K") => return Some(1024),
        Some(letter) => (1024u128, letter),
        None if suffix == "k" => return Some(1000),
        None => (1000u128, suffix),
    };
    let power = match letter {
        "M" => Some(2),
        "G" => Some(3),
        "T" => Some(4),
        "P" => Some(5),
        "E" => Some(6),
        _ => None,
    };
    if let Some(power) = power {
        return Some(base.pow(power));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let exponent: u32 = exponent.parse().ok().filter(|exponent| *exponent <= 18)?;
    Some(10u128.pow(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notations_of_the_api_are_understood() {
        for (text, expected) in [
            ("500m", NANO / 2),
            ("0.5", NANO / 2),
            (".5", NANO / 2),
            ("1", NANO),
            ("1.", NANO),
            ("1000u", NANO / 1000),
            ("100n", 100),
            ("1k", 1000 * NANO),
            ("1Ki", 1024 * NANO),
            ("1e3", 1000 * NANO),
            ("2E3", 2000 * NANO),
            ("1.5Gi", (3 << 29) * NANO),
            ("8Ei", (8 << 60) * NANO),
        ] {
            assert_eq!(nano(text), Some(expected), "{text}");
        }
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "1Kb",
            "1MiB",
            "1 Mi",
            "1..2",
            "1.2.3",
            "m",
            "e3",
            "1e",
            "1e99",
            "0x10",
            "١",
            "1234567890123456",
            "1.1234567890",
        ] {
            assert_eq!(nano(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (nano, text) in [
            (NANO / 8, "125m"),
            (2 * NANO, "2"),
            (0, "0"),
            (64 * MEBIBYTE * NANO, "64Mi"),
            (1_000_000 * NANO, "1000000"),
        ] {
            let quantity = Quantity::from_nano(nano);
            assert_eq!(quantity.to_string(), text);
            assert_eq!(Quantity::parse(text).unwrap().nano(), nano);
        }
    }

    #[test]
    fn sizes_have_bounds() {
        assert!(Quantity::positive("0").is_err());
        assert!(Quantity::positive("1m").is_ok());
        assert!(Quantity::memory("15Mi").is_err());
        assert!(Quantity::memory("16Mi").is_ok());
        assert!(Quantity::capture_size("2Ti").is_err());
        assert_eq!(Quantity::capture_size("1Gi").unwrap().units(), 1 << 30);
    }
}
