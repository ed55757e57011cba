//! Kubernetes quantities, against floating point.

use sideflame_webhook::choices::Quantity;

use crate::Seed;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for result in [Quantity::positive(text), Quantity::memory(text), Quantity::capture_size(text)] {
        match result {
            Ok(quantity) => assert_eq!(Quantity::parse(text).map(|parsed| parsed.nano()), Some(quantity.nano())),
            Err(sentence) => assert!(!sentence.is_empty()),
        }
    }
    let Some(quantity) = Quantity::parse(text) else {
        return;
    };
    assert_eq!(quantity.to_string(), text);
    assert_eq!(quantity.units(), quantity.nano() / 1_000_000_000);
    let expected = approximate(text) * 1e9;
    #[expect(clippy::cast_precision_loss, reason = "compared with a float")]
    let nano = quantity.nano() as f64;
    // Below a billionth it is rounded.
    assert!((nano - expected).abs() <= expected.abs() * 1e-9 + 1.0, "{text}: {nano}, not {expected}");
}

fn approximate(text: &str) -> f64 {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = format!("0{number}0").parse().unwrap_or_else(|_| number.parse().expect("a number"));
    let number = if number == 0.0 || text.contains('.') { number } else { number / 10.0 };
    let power = |base: f64, letters: &str| {
        let exponent = letters.find(suffix.chars().next()?)?;
        Some(base.powi(i32::try_from(exponent + 1).ok()?))
    };
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        _ if suffix.len() == 2 && suffix.ends_with('i') => power(1024.0, "KMGTPE").expect("a binary suffix"),
        _ if suffix.len() == 1 => power(1000.0, "_MGTPE").expect("a decimal suffix"),
        _ => 10_f64.powi(suffix[1..].parse().expect("an exponent")),
    };
    number * factor
}

pub(crate) fn seeds() -> Vec<Seed> {
    [
        "500m", "256Mi", "1.5", "1e3", "100n", "7u", "1k", "2M", "3G", "4T", "5P", "1E", "1Ki", "1Ti", "1Pi", "1Ei", ".5", "5.", "1E3", "2e-3",
        "123456789012345.123456789",
    ]
    .into_iter()
    .map(|text| (text, text.as_bytes().to_vec()))
    .collect()
}
