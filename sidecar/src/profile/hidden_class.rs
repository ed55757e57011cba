//! Names of the classes that a JVM makes while it runs: lambdas, method handles, hidden classes.
//!
//! HotSpot appends where the class lies (`Shop$$Lambda$1.0x00007f1ed8000a08`) or, in Java 8, a number of its identity
//! (`Shop$$Lambda$1/1324119927`), and both are other ones in each run. Two profiles compare only without them. Called by
//! the readers.

use std::borrow::Cow;

/// How names that differ from run to run are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Without addresses and without the counter of lambdas.
    #[default]
    Normalised,
    /// As the recording has them.
    Raw,
}

impl Names {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Normalised, Self::Raw];

    /// The word for it in URLs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normalised => "normalised",
            Self::Raw => "raw",
        }
    }

    /// What is called so; `None` if neither is.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|names| names.name() == name)
    }

    /// The name of a frame.
    pub fn of(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Normalised => without_addresses(name),
            Self::Raw => Cow::Borrowed(name),
        }
    }
}

const LAMBDA: &str = "$$Lambda";
const FORM: &str = "LambdaForm$";

/// The marks before an address: JVM TI has `.`, `Class.getName` `/`, the JVM inside `+`.
fn without_addresses(name: &str) -> Cow<'_, str> {
    // Looked for once: a name of 16 KB may have as many marks.
    let marked = Marked::of(name);
    let mut from = 0;
    while let Some(at) = name[from..].find(['.', '/', '+']).map(|at| from + at) {
        from = at + 1;
        let (class, rest) = (&name[..at], &name[from..]);
        let Some(length) = identity(marked, at, rest, name.as_bytes()[at]) else {
            continue;
        };
        return Cow::Owned(format!("{}{}", without_counter(class), &rest[length..]));
    }
    Cow::Borrowed(name)
}

/// How much of a name must be there for it to be the name of a hidden class, or of a library.
#[derive(Debug, Clone, Copy)]
struct Marked {
    class: Option<usize>,
    library: Option<usize>,
}

impl Marked {
    fn of(name: &str) -> Self {
        let end = |part: &str| name.find(part).map(|at| at + part.len());
        Self {
            class: [end(LAMBDA), end(FORM)].into_iter().flatten().min(),
            library: end(".so"),
        }
    }
}

/// Length of the address or number at the start of `rest`, if the class before it, which ends `at`, is one that has it.
fn identity(marked: Marked, at: usize, rest: &str, mark: u8) -> Option<usize> {
    let before = |end: Option<usize>| end.is_some_and(|end| end <= at);
    let count = |text: &str, digit: fn(&u8) -> bool| text.bytes().take_while(digit).count();
    let length = match rest.strip_prefix("0x") {
        Some(hex) => {
            let digits = count(hex, u8::is_ascii_hexdigit);
            // `libc.so.6+0x1f` is a place in a file. HotSpot prints all 16 digits.
            let library = mark == b'+' && (digits != 16 || before(marked.library));
            (digits >= 8 && !library).then_some(2 + digits)?
        }
        None => {
            let digits = count(rest, u8::is_ascii_digit);
            (digits > 0 && before(marked.class) && mark == b'/').then_some(digits)?
        }
    };
    // The method, an array's brackets, or nothing follows.
    matches!(rest.as_bytes().get(length), None | Some(b'.' | b'[')).then_some(length)
}

/// `Shop$$Lambda$14` → `Shop$$Lambda`: lambdas are numbered as they are first used.
fn without_counter(class: &str) -> &str {
    match class.rsplit_once('$') {
        Some((lambda, counter)) if lambda.ends_with(LAMBDA) && counter.bytes().all(|byte| byte.is_ascii_digit()) => {
            lambda
        }
        _ => class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_classes_have_no_address() {
        for (raw, plain) in [
            ("Shop$$Lambda.0x00007f1ed8000a08.run", "Shop$$Lambda.run"),
            ("a.b.Shop$$Lambda$2.0x00007f1ed8000a08.run", "a.b.Shop$$Lambda.run"),
            ("Shop$$Lambda$14/0x0000000840060840.accept", "Shop$$Lambda.accept"),
            ("Shop$$Lambda$1/1324119927.run", "Shop$$Lambda.run"),
            (
                "java.lang.invoke.LambdaForm$MH.0x00007f1ed8001c00.invoke",
                "java.lang.invoke.LambdaForm$MH.invoke",
            ),
            (
                "java.lang.invoke.LambdaForm$DMH/925858445.invokeStatic_L_L",
                "java.lang.invoke.LambdaForm$DMH.invokeStatic_L_L",
            ),
            (
                "com.example.Generated/0x0000000801234567.call",
                "com.example.Generated.call",
            ),
            ("Shop$$Lambda+0x00007f1ed8000a08", "Shop$$Lambda"),
            ("Shop$$Lambda.0x00007f1ed8000a08[]", "Shop$$Lambda[]"),
        ] {
            assert_eq!(Names::Normalised.of(raw), plain);
            assert_eq!(Names::Raw.of(raw), raw);
        }
    }

    #[test]
    fn what_marks_a_class_must_stand_before_the_number() {
        for (raw, plain) in [
            ("/7/8.a$$Lambda", "/7/8.a$$Lambda"),
            ("a/7.$$Lambda/8.b", "a/7.$$Lambda.b"),
            ("$$Lambd/7.a", "$$Lambd/7.a"),
            ("a+0x00007f1ed8000a08.so", "a.so"),
            ("a+0x00007f1ed8000a08.b.so", "a.b.so"),
        ] {
            assert_eq!(Names::Normalised.of(raw), plain);
        }
    }

    #[test]
    fn other_names_stay() {
        for name in [
            "Shop.lambda$main$0",
            "java.util.stream.LambdaSink.accept",
            "libc.so.6+0x1f",
            "libshop.so+0x00007f1ed8000a08",
            "0x00007f1ed8000a08",
            "[0x7f00]",
            "gopkg.in/yaml.v2.Unmarshal",
            "Lambda/7.x",
            "a.0xcafe.b",
            "+0x",
            "./",
        ] {
            assert_eq!(Names::Normalised.of(name), name);
        }
    }
}
