//! How values of flags are written. Called by the declarations beside this file.

use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::{Scope, Scoped};

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

/// A path, of one program behind its scope: `/admin`, `6061=/admin`, `cart=/admin`.
pub(super) fn parse_prefix(text: &str) -> Result<Scoped<String>, String> {
    let (scope, path) = match text.split_once('=') {
        Some((scope, path)) => (parse_scope(scope)?, path),
        None => (Scope::default(), text),
    };
    let path = path.trim_end_matches('/');
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !(path.is_empty() || path.starts_with('/')) || !path.chars().all(allowed) {
        return Err("a path that begins with /, e.g. /admin".to_owned());
    }
    let value = path.to_owned();
    Ok(Scoped { scope, value })
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "before = stands a port, a program's name, or NAME:PORT".to_owned())
}

/// Where any certificate is accepted: everywhere, or for the ports and programs named.
pub(super) fn parse_insecure_tls(text: &str) -> Result<Option<Scope>, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(Some(Scope::default())),
        "false" | "0" | "no" | "off" | "" => Ok(None),
        scope => Scope::parse(scope)
            .map(Some)
            .ok_or_else(|| "true, false, or ports and names of programs, separated by commas".to_owned()),
    }
}

/// A header, of one port behind its scope: `Authorization: Bearer x`, `6061=Authorization: Bearer x`.
pub(super) fn parse_header(text: &str) -> Result<Scoped<(String, String)>, String> {
    let scoped = text
        .split_once('=')
        .and_then(|(scope, rest)| Some((Scope::parse(scope)?, rest)));
    // A value may have a `=`, too; the name of a header has none.
    let scoped = scoped.filter(|(_, rest)| rest.contains(':'));
    let (scope, text) = scoped.unwrap_or((Scope::default(), text));
    if scope.process.is_some() && scope.port.is_none() {
        return Err("a name is the program's own word: give the port, too, NAME:PORT=HEADER: VALUE".to_owned());
    }
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let value = value.trim();
    if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
        return Err("a header is NAME: VALUE in printable characters".to_owned());
    }
    let value = (name.to_owned(), value.to_owned());
    Ok(Scoped { scope, value })
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

    #[test]
    fn a_scope_stands_before_a_header_or_a_prefix() {
        let header = |text: &str| parse_header(text).map(|header| (header.scope, header.value.0, header.value.1));
        let of = |scope: &str, value: &str| {
            Ok((
                Scope::parse(scope).unwrap_or_default(),
                "A".to_owned(),
                value.to_owned(),
            ))
        };
        assert_eq!(header("A: Basic x=="), of("", "Basic x=="));
        assert_eq!(header("A:b=c"), of("", "b=c"));
        assert_eq!(header("6061=A: Basic x=="), of("6061", "Basic x=="));
        assert_eq!(header("cart:6061=A: b"), of("cart:6061", "b"));
        assert!(header("cart=A: b").unwrap_err().contains("port"));
        assert!(header("A").is_err() && header("6061=A").is_err() && header("A: b\nC: d").is_err());
        let prefix = |text: &str| parse_prefix(text).map(|prefix| (prefix.scope, prefix.value));
        assert_eq!(prefix("/admin/"), Ok((Scope::default(), "/admin".to_owned())));
        assert_eq!(prefix("6061=/a"), Ok((Scope::parse("6061").unwrap(), "/a".to_owned())));
        assert!(prefix("admin").is_err() && prefix("=/a").is_err() && prefix("/a b").is_err());
        assert_eq!(parse_insecure_tls("true"), Ok(Some(Scope::default())));
        assert_eq!(parse_insecure_tls("false"), Ok(None));
        assert_eq!(parse_insecure_tls("6061"), Ok(Scope::parse("6061")));
        assert!(parse_insecure_tls("a b").is_err());
    }
}
