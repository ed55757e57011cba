//! Tests.

use serde_json::json;

use super::*;

fn value(text: &str) -> Value {
    read(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).value
}

fn problem(text: &str) -> (Option<usize>, String) {
    let error = read(text).expect_err(text);
    (error.line, error.problem)
}

/// Each of these is what kubectl 1.34 makes of it.
#[test]
fn scalars_mean_what_kubectl_takes_them_for() {
    for (text, expected) in [
        (
            "[0400, 07, 08, -07, 0o17, 0O7, 0x1F, -0x1F, 0b11, -0b11]",
            json!([256, 7, 8, -7, 15, 7, 31, -31, 3, -3]),
        ),
        (
            "[0o8, 0x, 0b2, 1e, .e1, _1, 1e400, '1']",
            json!(["0o8", "0x", "0b2", "1e", ".e1", "_1", "1e400", "1"]),
        ),
        ("[1_000, 1__0, 1_, 0_7, 1_0.5]", json!([1000, 10, 1, 7, 10.5])),
        (
            "[+1, .5, 1., 1e3, 12e03, -2E-4, 1.10, 1.0, -0, -0.0]",
            json!([1, 0.5, 1, 1000, 12000, -0.0002, 1.1, 1, 0, 0]),
        ),
        (
            "[9223372036854775807, 18446744073709551615, -9223372036854775808]",
            json!([i64::MAX, u64::MAX, i64::MIN]),
        ),
        (
            "[100000000000000000000000.0, 18446744073709551616]",
            json!([1e23, 18_446_744_073_709_551_616.0]),
        ),
        (
            "[y, Yes, on, TRUE, n, NO, oFF, tRUE]",
            json!([true, true, true, true, false, false, "oFF", "tRUE"]),
        ),
        ("[~, null, Null, nULL, '']", json!([null, null, null, "nULL", ""])),
        (
            "[1:30, 190:20:30, 2001-12-14, 2001-12-14t21:59:43.10-05:00, =]",
            json!(["1:30", "190:20:30", "2001-12-14", "2001-12-14t21:59:43.10-05:00", "="]),
        ),
        (
            "[!!float 1, !!int '12', !!bool 'yes', !!str yes, !foo 12, !!null '', !!timestamp 2001-12-14]",
            json!([1, 12, true, "yes", "12", null, "2001-12-14"]),
        ),
        ("[!!binary aGk=, !!binary /w==]", json!(["hi", "\u{fffd}"])),
        (
            "{1: a, 1.5: b, 0x10: c, yes: d, 1e3: e, 2001-01-01: f}",
            json!({"1": "a", "1.5": "b", "16": "c", "true": "d", "1000": "e", "2001-01-01": "f"}),
        ),
        ("[a: 1, b]", json!([{"a": 1}, "b"])),
        ("\"\\x41\\u00e9\\U0001F600\\N\"", json!("Aé😀\u{85}")),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn quoted_text_may_be_indented_as_it_likes() {
    let text = "data:\n  note: \"first line\n  second line\"\n  other: 'a\nb\n\n  c'\n";
    assert_eq!(
        value(text),
        json!({"data": {"note": "first line second line", "other": "a b\nc"}})
    );
}

#[test]
fn of_a_key_that_stands_twice_the_last_one_counts_and_it_is_told() {
    let reading = read("a: 1\nb: {c: 1,\n  c: 2}\n'a': 3\n").unwrap();
    assert_eq!(reading.value, json!({"a": 3, "b": {"c": 2}}));
    let told: Vec<(usize, &str)> = reading.duplicates.iter().map(|of| (of.line, of.key.as_str())).collect();
    assert_eq!(told, [(3, "c"), (4, "a")]);
}

#[test]
fn merges_come_in_the_order_of_the_keys_and_are_no_repetition() {
    for (text, expected) in [
        ("{a: 1, <<: {a: 2}}", json!({"a": 2})),
        ("{<<: {a: 2}, a: 1}", json!({"a": 1})),
        ("{<<: [{a: 2}, {a: 3, b: 4}]}", json!({"a": 2, "b": 4})),
        ("{'<<': {a: 1}}", json!({"<<": {"a": 1}})),
        (
            "x: &x {a: 1}\nz: {<<: *x, b: 2}",
            json!({"x": {"a": 1}, "z": {"a": 1, "b": 2}}),
        ),
    ] {
        let reading = read(text).unwrap();
        assert_eq!(reading.value, expected, "{text}");
        assert_eq!(reading.duplicates, [], "{text}");
    }
}

#[test]
fn what_kubectl_refuses_is_refused_with_its_line() {
    for (text, line) in [
        ("a: 1\nb: [1\nc: 2\n", 3),
        ("a: 1\n~: 2\n", 2),
        ("? [a]\n: 1\n", 1),
        ("a: 1\nb: *x\n", 2),
        ("a: &x {b: *x}\n", 1),
        ("a: !!int 1.5\n", 1),
        ("a: .inf\n", 1),
        ("<<: 1\n", 1),
        ("a: @x\n", 1),
        ("a: 1\n...\nb: 2\n", 3),
    ] {
        let (place, problem) = problem(text);
        assert_eq!(place, Some(line), "{text}: {problem}");
    }
}

#[test]
fn depth_and_copies_are_bounded() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(problem(&deep).1.contains("nested"));
    let mut bomb = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push(format!("a{level}: &a{level} [{aliases}]"));
    }
    let bomb = bomb.join("\n");
    assert!(problem(&bomb).1.contains("too many values"));
}

#[test]
fn whatever_comes_ends_in_a_value_or_an_error() {
    for text in [
        "[!x, a]",
        "[!<a>, a]",
        "\u{feff}a: 1",
        "%YAML 1.1\n",
        "\t",
        "\0",
        "a: |\n\t x\n",
        "&a",
        "!",
        "? ",
        "-",
        "\r",
        "'",
    ] {
        let _ = read(text);
    }
    assert_eq!(value(""), Value::Null);
    assert_eq!(value("# nothing\n"), Value::Null);
}

#[test]
fn a_text_may_end_within_a_block() {
    for (text, expected) in [
        ("x: |\n  a", "a\n"),
        ("x: |\n  a\n", "a\n"),
        ("x: |+\n  a", "a\n"),
        ("x: >-\n  a\n  b", "a b"),
        ("x: >-", ""),
        ("x: |\n  a\n# c", "a\n"),
        ("x: a", "a"),
    ] {
        let reading = read(text).unwrap_or_else(|error| panic!("{text:?}: {}", error.problem));
        assert_eq!(reading.value["x"], expected, "{text:?}");
    }
}

#[test]
fn a_failure_of_the_library_is_an_error_with_a_way_out() {
    assert!(problem("a: [!!str, x]").1.contains("a space between"));
    assert_eq!(value("a: [!!str , x]"), json!({"a": ["", "x"]}));
}
