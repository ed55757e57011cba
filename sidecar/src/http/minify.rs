//! Makes the page's own script and style small for a port-forward, line by line and without a parser.
//!
//! It knows how we write them, and the tests below hold our files against that: a statement ends with a semicolon, a text is not longer
//! than its line, strings are in double quotes, an import has a line of its own, and no two files give the same name to different things.

/// All scripts as one, in the order given: what one exports is there for all.
pub(super) fn script<'a>(sources: impl Iterator<Item = &'a str>) -> String {
    let lines = sources.flat_map(str::lines).map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with("import "));
    code.fold(String::new(), |mut all, line| {
        let line = match line.strip_prefix("export ") {
            Some(declared) if !declared.starts_with('{') => declared,
            _ => line,
        };
        if all.ends_with(';') && line.starts_with('}') || all.ends_with(',') && line.starts_with(['}', ')', ']']) {
            all.pop();
        }
        match squeezed(line) {
            Some(line) => all.push_str(&line),
            None => all.push_str(line),
        }
        // Behind these a line is no end of anything; behind what was left as it is there may be a comment.
        if !all.ends_with([';', '{', '}', ',', '(', '[']) || squeezed(line).is_none() {
            all.push('\n');
        }
        all
    })
}

/// What is as good in a style without spaces and zeros.
const SIGNS: [(&str, &str); 10] = [
    (": ", ":"),
    (", ", ","),
    ("; ", ";"),
    (" {", "{"),
    ("{ ", "{"),
    (" }", "}"),
    (";}", "}"),
    (" 0.", " ."),
    (":0.", ":."),
    (" > ", ">"),
];

/// A style without indentation and without spaces around its signs.
pub(super) fn style(source: &str) -> String {
    let lines = source.lines().map(str::trim).filter(|line| !line.is_empty());
    let squeezed = lines.map(|line| {
        SIGNS
            .iter()
            .fold(line.to_owned(), |line, (long, short)| line.replace(long, short))
    });
    squeezed.collect()
}

/// A line without the spaces that separate nothing; nothing where that cannot be told: a slash may begin a regular expression, and a template
/// within a template ends where only a parser knows.
fn squeezed(line: &str) -> Option<String> {
    let mut shorter = String::with_capacity(line.len());
    // The quote that ends the text we are in, and how many braces of a template's expression are open.
    let (mut quote, mut braces) = (None, 0_u32);
    let mut characters = line.chars().peekable();
    while let Some(one) = characters.next() {
        let next = characters.peek().copied();
        match (quote, one) {
            (Some(_), '\\') => {
                shorter.push(one);
                shorter.extend(characters.next());
                continue;
            }
            (Some('`'), '`') if braces > 0 => return None,
            (Some('`'), '{') if braces > 0 || shorter.ends_with('$') => braces += 1,
            (Some('`'), '}') if braces > 0 => braces -= 1,
            (Some(end), _) if one == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(one),
            (None, '\'') => return None,
            // A division is behind what has a value.
            (None, '/')
                if !shorter
                    .trim_end()
                    .ends_with(|one: char| is_word(one) || matches!(one, ')' | ']')) =>
            {
                return None;
            }
            (None, ' ') if !separates(shorter.chars().next_back(), next) => continue,
            (None, _) => {}
        }
        shorter.push(one);
        if quote.is_none() {
            shorten_end(&mut shorter, next);
        }
    }
    quote.is_none().then_some(shorter)
}

/// The same in fewer characters, if a line so far ends with it: `let` where nothing is assigned to anyway, `void 0`, one argument without
/// brackets.
fn shorten_end(line: &mut String, next: Option<char>) {
    let is_free = |before: &str| !before.ends_with(|one: char| is_word(one) || one == '.');
    for (long, short) in [("const", "let"), ("undefined", "void 0")] {
        if let Some(before) = line.strip_suffix(long)
            && is_free(before)
            && !next.is_some_and(is_word)
        {
            line.replace_range(before.len().., short);
        }
    }
    if let Some((before, argument)) = line.strip_suffix(")=>").and_then(|line| line.rsplit_once('('))
        && is_free(before)
        && argument.chars().all(is_word)
        && !argument.is_empty()
    {
        *line = format!("{before}{argument}=>");
    }
}

/// Whether two characters would mean something else side by side.
fn separates(before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    is_word(before) && is_word(after) || before == after && matches!(before, '+' | '-')
}

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || matches!(one, '_' | '$' | '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_nothing_is_left_out_and_no_text_is_changed() {
        let of = |line: &str| script([line].into_iter());
        for (line, expected) in [
            ("  // says why", ""),
            ("import { end } from \"./columns.js\";", ""),
            ("export const one = (a, b) => a + b;", "let one=(a,b)=>a+b;"),
            ("const { one, two } = three;", "let{one,two}=three;"),
            ("export { one, two };", "export{one,two};"),
            ("if (one) return \"a , b\";", "if(one)return\"a , b\";"),
            ("say(\"a \\\" , b\", two);", "say(\"a \\\" , b\",two);"),
            (
                "say(`${one} of ${two ?? { three: 1 } }, s`);",
                "say(`${one} of ${two ?? { three: 1 } }, s`);",
            ),
            ("say(`a ${b ? `c , d` : e}`, f);", "say(`a ${b ? `c , d` : e}`, f);\n"),
            ("const parts = text.split(/ , /);", "const parts = text.split(/ , /);\n"),
            (
                "const is = (one) => one.constant === undefined;",
                "let is=one=>one.constant===void 0;",
            ),
            (
                "all.map(async (one) => two(() => one, undefinedOnes));",
                "all.map(async(one)=>two(()=>one,undefinedOnes));",
            ),
            ("const half = (one + two[0]) / 2;", "let half=(one+two[0])/2;"),
            ("const parts = one; // two", "const parts = one; // two\n"),
            ("one ||", "one||\n"),
            ("one = two + +three - -four;", "one=two+ +three- -four;"),
            ("new Map([...one, 2]);", "new Map([...one,2]);"),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
        let lines = ["function one() {", "  two({", "    three,", "  });", "}"];
        assert_eq!(script([&*lines.join("\n")].into_iter()), "function one(){two({three})}");
        let rule = "th:not(:first-child), .a > b { margin: 0 auto; font: 12px \"A B\"; }";
        assert_eq!(
            style(rule),
            "th:not(:first-child),.a>b{margin:0 auto;font:12px \"A B\"}"
        );
        let media = "@media (min-width: 1px) and (max-width: 2px) {";
        assert_eq!(style(media), "@media (min-width:1px) and (max-width:2px){");
        assert_eq!(style("p {\n  margin: 0.4rem 0;\n}"), "p{margin:.4rem 0;}");
    }
}
