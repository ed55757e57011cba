//! Splits the texts in which a JVM's options come into options, each by the rules of the program that reads it.
//!
//! Pure. Called by [`super::startup`]. Source: OpenJDK `arguments.cpp` (`parse_options_buffer`, `process_settings_file`) and
//! `libjli/args.c` (`JLI_AddArgsFromEnvVar`, `nextToken`).

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// The JVM, of `JAVA_TOOL_OPTIONS`, `_JAVA_OPTIONS` and files of `-XX:VMOptionsFile=`; the launcher, of
    /// `JDK_JAVA_OPTIONS`: quotes may begin and end within a word.
    Variable,
    /// The JVM, of files of `-XX:Flags=`: comments, and a line ends a word also within quotes.
    Settings,
    /// The launcher, of `@file`: comments, and a backslash within quotes.
    ArgumentFile,
}

/// The options in `text`, unquoted.
pub fn words(text: &str, syntax: Syntax) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('#', None) if word.is_none() && syntax != Syntax::Variable => {
                while characters.peek().is_some_and(|c| *c != '\n') {
                    characters.next();
                }
            }
            ('\n', Some(_)) if syntax != Syntax::Variable => {
                quote = None;
                words.extend(word.take());
            }
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\\', Some(_)) if syntax == Syntax::ArgumentFile => match characters.next() {
                // A line goes on behind the blanks of the next one.
                Some('\n') => {
                    while characters.peek().is_some_and(char::is_ascii_whitespace) {
                        characters.next();
                    }
                }
                Some(escaped) => word.get_or_insert_default().push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'f' => '\u{c}',
                    other => other,
                }),
                None => {}
            },
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_go_wherever_they_are_in_a_word() {
        for (text, expected) in [
            ("-Xrs  -Dx=1\n", vec!["-Xrs", "-Dx=1"]),
            (r#""-XX:+DisableAttachMechanism""#, vec!["-XX:+DisableAttachMechanism"]),
            ("-XX:'+DisableAttachMechanism'", vec!["-XX:+DisableAttachMechanism"]),
            (r#"-Dx="a 'b' -Xrs" c"#, vec!["-Dx=a 'b' -Xrs", "c"]),
            (r"'a\' b", vec![r"a\", "b"]),
            ("# no comment", vec!["#", "no", "comment"]),
            ("'a\nb'", vec!["a\nb"]),
            ("", vec![]),
        ] {
            assert_eq!(words(text, Syntax::Variable), expected, "{text}");
        }
    }

    #[test]
    fn settings_have_comments_and_end_with_the_line() {
        let text = "# +A\n+DisableAttachMechanism #-B\nx='a b\n-C";
        let expected = ["+DisableAttachMechanism", "x=a b", "-C"];
        assert_eq!(words(text, Syntax::Settings), expected);
    }

    #[test]
    fn argument_files_have_escapes_within_quotes() {
        let text = "-cp \"C:\\\\lib\\\n   two\" # rest\n-Dx='a\\tb' \\n";
        let expected = ["-cp", "C:\\libtwo", "-Dx=a\tb", "\\n"];
        assert_eq!(words(text, Syntax::ArgumentFile), expected);
    }
}
