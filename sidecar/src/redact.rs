//! Removes secrets from what we show of a process: command lines end up in tickets and chats.

use std::borrow::Cow;

/// Names whose value is hidden; compared in lower case, anywhere in the name.
const SECRET: [&str; 9] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "credential",
];

/// What stands in for a hidden value.
pub const HIDDEN: &str = "…redacted…";

/// The arguments with the values of secret-looking options hidden: `--password=x`, `-Ddb.token=x`, `--api-key x`,
/// `KEY_SECRET=x`, parameters of a URL such as `?token=x` or `;password=x`, and the user part of
/// `scheme://user:password@host`.
pub fn arguments<'a>(arguments: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Cow<'a, str>> {
    let mut hide_next = false;
    arguments.map(move |argument| {
        if std::mem::take(&mut hide_next) && !argument.starts_with('-') {
            return HIDDEN.into();
        }
        match argument.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}").into(),
            _ => {
                hide_next = argument.starts_with('-') && !argument.contains('=') && is_secret(argument);
                without_parameters(without_user_info(argument))
            }
        }
    })
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|secret| name.contains(secret))
}

fn without_user_info(argument: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = argument.split_once("://") else {
        return argument.into();
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rsplit_once('@') {
        Some((user_info, _)) if user_info.contains(':') => {
            format!("{scheme}://{HIDDEN}{}", &rest[user_info.len()..]).into()
        }
        _ => argument.into(),
    }
}

/// What begins or separates the parameters of a URL, those of SQL Server's and Oracle's included.
const BEFORE_PARAMETER: [char; 3] = ['?', '&', ';'];

fn without_parameters(argument: Cow<'_, str>) -> Cow<'_, str> {
    let is_hidden = |part: &str| part.split_once('=').is_some_and(|(name, _)| is_secret(name));
    let mut parts = argument.split(BEFORE_PARAMETER).skip(1);
    if !parts.any(is_hidden) {
        return argument;
    }
    let shown = argument.split_inclusive(BEFORE_PARAMETER).enumerate();
    let shown = shown.map(|(index, part)| match part.split_once('=') {
        Some((name, value)) if index > 0 && is_secret(name) => {
            let separator = value.find(BEFORE_PARAMETER).map_or("", |at| &value[at..]);
            format!("{name}={HIDDEN}{separator}").into()
        }
        _ => Cow::Borrowed(part),
    });
    shown.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(line: &str) -> String {
        arguments(line.split(' ')).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        assert_eq!(
            redacted("java -Ddb.password=x -jar shop.jar"),
            format!("java -Ddb.password={HIDDEN} -jar shop.jar")
        );
        assert_eq!(
            redacted("app --api-key k --port 80"),
            format!("app --api-key {HIDDEN} --port 80")
        );
        assert_eq!(redacted("app --token --port"), "app --token --port");
        assert_eq!(redacted("app jdbc://u:p@db/x"), format!("app jdbc://{HIDDEN}@db/x"));
        assert_eq!(redacted("app https://host/a:b@c"), "app https://host/a:b@c");
        assert_eq!(
            redacted("app --url=https://h/?a=1&token=x&b=2 jdbc:sqlserver://h;user=sa;password=x"),
            format!("app --url=https://h/?a=1&token={HIDDEN}&b=2 jdbc:sqlserver://h;user=sa;password={HIDDEN}")
        );
        assert_eq!(redacted("app https://h/?q=token a;b"), "app https://h/?q=token a;b");
    }
}
