//! `Name:keywords:level:arguments`, as dotnet-trace takes providers.
//!
//! Pure. Called by [`super::parameters`].

use super::providers::{DotnetProvider, INFORMATIONAL, ProvidersError, VERBOSE, shortened};

const MAX_NAME: usize = 256;
const MAX_ARGUMENTS: usize = 8192;

/// The entries of a comma-separated list of providers; a comma inside quotes belongs to an argument.
pub fn split_list(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// Reads `Name[:keywords[:level[:arguments]]]`: keywords are hexadecimal with or without `0x`, the level is 0 to 5 or
/// its name, arguments are `key=value;key="value with ; or ="`. Left out or empty means 0, informational, none.
///
/// # Errors
/// [`ProvidersError::InvalidProvider`].
pub fn parse_provider(text: &str) -> Result<DotnetProvider, ProvidersError> {
    let invalid = |detail| ProvidersError::InvalidProvider {
        provider: shortened(text),
        detail,
    };
    let mut parts = text.splitn(4, ':');
    let name = parts.next().unwrap_or_default().trim();
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(invalid("the name is 1 to 256 characters"));
    }
    if name
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || ";=,\"".contains(c))
    {
        return Err(invalid("the name has a character no provider name has"));
    }
    let keywords = match parts.next().map(str::trim).unwrap_or_default() {
        "" => 0,
        text => parse_keywords(text).ok_or_else(|| invalid("keywords are up to 16 hexadecimal digits"))?,
    };
    let level = match parts.next().map(str::trim).unwrap_or_default() {
        "" => INFORMATIONAL,
        text => parse_level(text).ok_or_else(|| {
            invalid("the level is 0 to 5, logalways, critical, error, warning, informational or verbose")
        })?,
    };
    let arguments = parse_arguments(parts.next().unwrap_or_default()).map_err(invalid)?;
    Ok(DotnetProvider {
        name: name.to_owned(),
        keywords,
        level,
        arguments,
    })
}

fn parse_keywords(text: &str) -> Option<u64> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    // `from_str_radix` would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn parse_level(text: &str) -> Option<u32> {
    const NAMES: [&str; 6] = ["logalways", "critical", "error", "warning", "informational", "verbose"];
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // As dotnet-trace: above verbose is verbose.
        return Some(text.parse().map_or(VERBOSE, |level: u32| level.min(VERBOSE)));
    }
    (0..)
        .zip(NAMES)
        .find(|(_, name)| name.eq_ignore_ascii_case(text))
        .map(|(level, _)| level)
}

/// Brings arguments into the form the runtime takes: `;` between pairs, quotes where a value needs them.
fn parse_arguments(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    if text.len() > MAX_ARGUMENTS {
        return Err("the arguments are at most 8192 bytes");
    }
    let text = unescape(text)?;
    if text.chars().any(|c| c.is_control() && !"\r\n\t".contains(c)) {
        return Err("the arguments have a control character");
    }
    let mut quoted = false;
    let pairs: Vec<&str> = text
        .split(|c| {
            quoted ^= c == '"';
            c == ';' && !quoted
        })
        .collect();
    if quoted {
        return Err("a quote in the arguments is not closed");
    }
    let pairs = pairs.into_iter().filter(|pair| !pair.trim().is_empty()).map(argument);
    Ok(pairs.collect::<Result<Vec<_>, _>>()?.join(";"))
}

fn argument(pair: &str) -> Result<String, &'static str> {
    const FORM: &str = "arguments are key=value pairs with ; between them";
    let (key, value) = pair.split_once('=').ok_or(FORM)?;
    let unquoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    if key.trim().is_empty() || key.contains('"') || unquoted.contains('"') {
        return Err(FORM);
    }
    Ok(if unquoted.contains([';', '=']) {
        format!("{key}=\"{unquoted}\"")
    } else {
        format!("{key}={unquoted}")
    })
}

/// `\r`, `\n`, `\t` and an escaped punctuation character, as people write them for dotnet-trace.
fn unescape(text: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.push(match c {
            '\\' => match characters.next() {
                Some('r') => '\r',
                Some('n') => '\n',
                Some('t') => '\t',
                Some(c) if c.is_ascii_punctuation() => c,
                _ => return Err("after a backslash comes r, n, t or a punctuation character"),
            },
            c => c,
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_provider_is_read_as_dotnet_trace_reads_it() {
        let read = |text| {
            parse_provider(text)
                .map(|p| (p.name, p.keywords, p.level, p.arguments))
                .unwrap()
        };
        let expect =
            |name: &str, keywords, level, arguments: &str| (name.to_owned(), keywords, level, arguments.to_owned());
        assert_eq!(read("My-Source"), expect("My-Source", 0, 4, ""));
        assert_eq!(read("My-Source:1c:Verbose"), expect("My-Source", 0x1C, 5, ""));
        assert_eq!(read("A:0xFFFFFFFFFFFFFFFF:9"), expect("A", u64::MAX, 5, ""));
        assert_eq!(read("A::2:"), expect("A", 0, 2, ""));
        assert_eq!(read(r#"A:10:5:k=v;k2="a;b""#), expect("A", 0x10, 5, r#"k=v;k2="a;b""#));
        assert_eq!(
            read(r#"A:0:4:k="plain";u=http://x:1"#),
            expect("A", 0, 4, "k=plain;u=http://x:1")
        );
        assert_eq!(read(r"A:0:4:k=\r"), expect("A", 0, 4, "k=\r"));
    }

    #[test]
    fn commas_separate_providers_but_not_inside_quotes() {
        let entries: Vec<&str> = split_list(r#"A:1:5:k="x,y",B"#).collect();
        assert_eq!(entries, [r#"A:1:5:k="x,y""#, "B"]);
        assert_eq!(parse_provider(entries[0]).unwrap().arguments, "k=x,y");
    }

    #[test]
    fn nonsense_is_refused_with_the_part_to_blame() {
        for (text, part) in [
            ("", "name"),
            (":1", "name"),
            ("a b", "character"),
            ("A:+1", "keywords"),
            ("A:0x", "keywords"),
            ("A:12345678901234567", "keywords"),
            ("A:1:loud", "level"),
            ("A:1:5:novalue", "key=value"),
            ("A:1:5:k=\"open", "quote"),
            ("A:1:5:k=a\"b\"c", "key=value"),
            ("A:1:5:k=\u{1}", "control"),
            ("A:1:5:k=\\x", "backslash"),
        ] {
            let error = parse_provider(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[A-C]{0,2}(:[0-9x]{0,3}){0,2}(:[a-c=;\"\\\\,: ]{0,12})?|.{0,40}") {
            if let Ok(provider) = parse_provider(&text) {
                prop_assert!(provider.level <= 5);
                prop_assert!(!provider.arguments.contains('\0'));
            }
            let _ = split_list(&text).count();
        }
    }
}
