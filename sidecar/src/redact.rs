//! Removes secrets from what we show of a process: command lines end up in tickets and chats.

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
/// `KEY_SECRET=x` and the user part of `scheme://user:password@host`.
pub fn command_line(arguments: &[String]) -> Vec<String> {
    let mut hide_next = false;
    arguments
        .iter()
        .map(|argument| {
            if std::mem::take(&mut hide_next) && !argument.starts_with('-') {
                return HIDDEN.to_owned();
            }
            match argument.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
                _ => {
                    hide_next = argument.starts_with('-') && !argument.contains('=') && is_secret(argument);
                    without_user_info(argument)
                }
            }
        })
        .collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|secret| name.contains(secret))
}

fn without_user_info(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else {
        return argument.to_owned();
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rsplit_once('@') {
        Some((user_info, _)) if user_info.contains(':') => format!("{scheme}://{HIDDEN}{}", &rest[user_info.len()..]),
        _ => argument.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(line: &str) -> String {
        command_line(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" ")
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
    }
}
