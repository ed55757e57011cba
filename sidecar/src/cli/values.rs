//! How values of flags are written. Called by the declarations beside this file.

use std::path::PathBuf;
use std::time::Duration;

/// Accepts `30`, `30s`, `2m`, `1h 30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| "too many seconds".to_owned());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; e.g. 30, 30s or 2m"))
}

/// A duration of at least a second.
pub(super) fn parse_idle_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    (time >= Duration::from_secs(1))
        .then_some(time)
        .ok_or_else(|| "at least 1s, e.g. 30m".to_owned())
}

/// Accepts a number with B, KiB, MiB or GiB; none means bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        _ => return Err("a number with B, KiB, MiB or GiB, e.g. 256MiB".to_owned()),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "a positive size, e.g. 256MiB".to_owned())
}

pub(super) fn parse_prefix(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !(path.is_empty() || path.starts_with('/')) || !path.chars().all(allowed) {
        return Err("a path that begins with /, e.g. /admin".to_owned());
    }
    Ok(path.to_owned())
}

pub(super) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let value = value.trim();
    if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
        return Err("a header is NAME: VALUE in printable characters".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn parse_directory(text: &str) -> Result<PathBuf, String> {
    let metadata = std::fs::symlink_metadata(text).map_err(|error| error.to_string())?;
    metadata
        .is_dir()
        .then(|| text.into())
        .ok_or_else(|| "not a directory".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_what_people_write() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("1Gi"), Ok(1 << 30));
        assert!(parse_size("0").is_err() && parse_size("12 parsecs").is_err() && parse_size("99999999999GiB").is_err());
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_idle_time("0").is_err() && parse_idle_time("1s").is_ok());
    }
}
