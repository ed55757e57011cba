//! `sideflame-webhook inject` reads what kubectl reads, and refuses what it refuses: both read the same texts.

#![expect(clippy::expect_used, reason = "a test that cannot set up must fail loudly")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use e2e::cache;
use serde_json::Value;

fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes())
        .expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// What is at `data`; `None` if it is refused.
fn data(output: &Output) -> Option<Value> {
    let object: Option<Value> = output
        .status
        .success()
        .then(|| serde_json::from_slice(&output.stdout).expect("JSON"));
    Some(object?["data"].clone())
}

const READ: [&str; 38] = [
    "{note: \"first line\n  second line\"}",
    "\n  note: \"first line\n  second line\"",
    "\n  note: 'first\nsecond\n\n  third'",
    "{a: 1, a: 2}",
    "{a: 1, \"a\": 2, ? a : 3}",
    "{a: 1, <<: {a: 2}}",
    "{<<: {a: 2}, a: 1}",
    "{<<: [{a: 2}, {a: 3, b: 4}]}",
    "{\"<<\": {a: 1}}",
    "{a: &x {b: 1}, c: *x, d: &x 2, e: *x}",
    "{a: 0400, b: 07, c: 08, d: -07, e: 0o17, f: 0O7, g: 0x1F, h: -0x1F, i: 0b11, j: -0b11}",
    "{a: 0o8, b: 0x, c: 0b2, d: 1e, e: .e1, f: _1, g: 1e400}",
    "{a: 1_000, b: 1__0, c: 1_, d: 0_7, e: 1_0.5}",
    "{a: +1, b: .5, c: 1., d: 1e3, e: 12e03, f: -2E-4, g: 1.10, h: 1.0, i: -0, j: 0.0}",
    "{a: y, b: Yes, c: on, d: TRUE, e: n, f: NO, g: oFF, h: tRUE}",
    "{a: ~, b: null, c: Null, d: nULL, e: , f: \"\"}",
    "{a: 1:30, b: 190:20:30, c: 2001-12-14, d: 2001-12-14t21:59:43.10-05:00, e: =}",
    "{a: !!float 1, b: !!int \"12\", c: !!bool \"yes\", d: !!str yes, e: !foo 12, f: !!null \"\"}",
    "{a: !!binary aGk=}",
    "{1: a, 1.5: b, 0x10: c, true: d, 1e3: e, 2001-01-01: f, 07: g}",
    "{y: a}",
    "[a: 1, b]",
    "{a,b: c}",
    "\n  a: |\n    x\n     y\n  b: >-\n    x\n    y\n\n    z\n  c: |2\n      x",
    "\n  a: |\n    x",
    "\n  a: |+\n    x\n\n    y",
    "\n  a: >-\n    x\n    y",
    "\n  a: >-",
    "\n  a: |\n    x\n    # no comment\n  # a comment",
    "\n  a: |\n    x\n  b: y",
    "\n  a: |\n    x\n    ",
    "\n- a\n-  - b\n   - c\n- d: e\n  f: g",
    "\n  a:\n  - b\n  c: d",
    "\n  a: b # c\n  d: e#f",
    "\n  a: x\n    y\n  # c\n  b: 'it''s'",
    "{\"a\": \"\\x41\\u00e9\\U0001F600\\N\\t\"}",
    "\n  a: http://b:80/c?d=e&f\n  b: -x\n  c: a-b",
    "{a: 100m, b: 1Gi, c: 1.5Gi, d: 1e3Mi}",
];

const REFUSED: [&str; 14] = [
    "{? ~ : 1}",
    "{[a]: 1}",
    "{a: *x}",
    "&z {a: *z}",
    "{a: !!int 1.5}",
    "{a: .inf}",
    "{a: .nan}",
    "{<<: 1}",
    "{a: [1, 2}",
    "{a: b: c}",
    "{a: @x}",
    "{a: \"\\ud83d\"}",
    "\n  a: b\n c: d",
    "\n\ta: b",
];

#[test]
fn both_make_the_same_of_the_same_text() {
    let kubectl = cache::file("kube/kubectl");
    let sideflame = cache::binary("sideflame-webhook");
    let expected = READ
        .iter()
        .map(|text| (text, true))
        .chain(REFUSED.iter().map(|text| (text, false)))
        .flat_map(|(text, readable)| ["\n", ""].map(|end| (format!("{text}{end}"), readable)));
    let wrong: Vec<String> = expected
        .filter_map(|(text, readable)| {
            let object = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shop}}\ndata: {text}");
            let arguments = [
                "patch",
                "--local",
                "--filename",
                "-",
                "--patch",
                "{}",
                "--output",
                "json",
            ];
            let theirs = run(Command::new(&kubectl).args(arguments), &object);
            let ours = run(Command::new(&sideflame).args(["inject", "--output", "json"]), &object);
            let (their_data, our_data) = (data(&theirs), data(&ours));
            let fine = their_data == our_data && their_data.is_some() == readable;
            (!fine).then(|| {
                format!(
                    "{text}: kubectl {their_data:?}, we {our_data:?}, {}",
                    String::from_utf8_lossy(&ours.stderr)
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
