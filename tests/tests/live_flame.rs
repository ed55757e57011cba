//! The columns that the page draws: of every runtime the shares that the server itself computes, the stacks that the text has, and what a
//! browser asks for again.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

use e2e::app::{self, App};
use e2e::flame::Flame;
use e2e::{Answer, Server, cache, shares};
use flate2::read::GzDecoder;

const C: [(&str, f64); 3] = [("sixty", 0.6), ("thirty", 0.3), ("ten", 0.1)];

/// What [`is_function`] takes, as a pattern in a query.
fn pattern(function: &str) -> String {
    let pattern = format!("(^|[.]){}$", function.replace('.', "[.]"));
    pattern.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn is_function(name: &str, function: &str) -> bool {
    name == function || name.ends_with(&format!(".{function}"))
}

/// Of a capture, in the words of the query.
fn flame(server: &Server, id: &str, view: &str) -> Flame {
    let answer = server.get(&format!("/captures/{id}/flame?{view}")).whole();
    assert_eq!(answer.header("content-type"), "application/vnd.sideflame.flame");
    Flame::of(&answer.body)
}

/// The page's share of each function is the server's, whose share the tests of each runtime hold against the known split.
fn assert_shares(server: &Server, id: &str, split: [(&str, f64); 3]) {
    let tree = flame(server, id, "");
    for (function, _) in split {
        let path = format!("/captures/{id}/share?match={}", pattern(function));
        let told = server.send("GET", &path, &[("accept", "application/json")]).ok().json();
        let (share, own) = (
            told["share"].as_f64().unwrap(),
            tree.share(|name| is_function(name, function)),
        );
        eprintln!("{function}: {own:.6} by the columns, {share:.6} by the server");
        assert!((share - own).abs() < 0.0001, "{function}: {told} and {own}");
        assert_eq!(tree.head["total"], told["total"]);
    }
    let [(largest, _), ..] = split;
    assert!(tree.share(|name| is_function(name, largest)) > 0.2);
}

/// What the text has in samples the columns may have in time: so shares are compared.
fn assert_stacks(server: &Server, id: &str, view: &str) {
    let tree = flame(server, id, view);
    let text = server
        .get(&format!("/captures/{id}/artifact?format=collapsed&{view}"))
        .ok()
        .text();
    let mut expected = BTreeMap::<&str, f64>::new();
    for line in text.lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        *expected.entry(stack).or_default() += value.parse::<f64>().unwrap();
    }
    let (total, stacks) = (expected.values().sum::<f64>(), tree.stacks());
    assert_eq!(stacks.len(), expected.len(), "{view}: {text}");
    for (stack, value) in expected {
        let own = stacks[stack] / tree.width[0];
        assert!((own - value / total).abs() < 0.0001, "{view}: {stack} has {own}");
    }
    assert_eq!(tree.head["folded"]["nodes"], 0);
}

fn captured(server: &Server, app: &App) -> String {
    let id = server.capture(&format!("pid={}&seconds=5&event=cpu", app.pid));
    server.wait_for(&id, &["finished"]);
    id
}

#[test]
fn a_search_in_the_columns_finds_the_share_that_the_server_computes() {
    let apps = [
        (app::java("17", &[], "cpu"), shares::JAVA_CPU),
        (
            of_arguments("go/split", &["-pprof", "127.0.0.1:0", "cpu"]),
            shares::GO_CPU,
        ),
        (of_arguments("c/split", &["cpu"]), C),
    ];
    for (command, split) in apps {
        let app = App::start(command);
        let server = Server::default();
        let id = captured(&server, &app);
        assert_shares(&server, &id, split);
        let some = split[0].0;
        for view in [
            String::new(),
            format!("focus={some}"),
            format!("callers={some}"),
            "by=thread-name".to_owned(),
        ] {
            assert_stacks(&server, &id, &view);
        }
        revalidated(&server, &id);
    }
}

fn of_arguments(path: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(cache::file(&format!("apps/{path}")));
    command.args(arguments);
    command
}

/// What a browser does.
fn revalidated(server: &Server, id: &str) {
    let path = format!("/captures/{id}/flame");
    let plain = server.get(&path).whole();
    let ask = |method: &str, headers: &[(&str, &str)]| server.send(method, &path, headers);
    let gzip = ("accept-encoding", "gzip, deflate, br, zstd");
    let compressed = ask("GET", &[gzip]).ok();
    assert_eq!(
        (compressed.header("content-encoding"), compressed.header("vary")),
        ("gzip", "Accept-Encoding")
    );
    let mut read = Vec::new();
    GzDecoder::new(compressed.body.as_slice())
        .read_to_end(&mut read)
        .unwrap();
    assert!(read == plain.body);
    eprintln!("{} bytes, {} compressed", plain.body.len(), compressed.body.len());
    let tag = |answer: &Answer| answer.header("etag").to_owned();
    let again = ask("GET", &[gzip, ("if-none-match", &tag(&compressed))]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let again = ask("GET", &[("if-none-match", &tag(&plain))]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let part = ask("GET", &[gzip, ("range", "bytes=0-3")]);
    assert_eq!((part.status, part.text().as_str()), (206, "SFL1"));
    let head = ask("HEAD", &[]);
    assert_eq!((head.status, tag(&head), head.body.len()), (200, tag(&plain), 0));
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
    let of_artifact = server.get(&format!("/captures/{id}/artifact?format=flame")).whole();
    assert_eq!(tag(&of_artifact), tag(&plain));
}

#[test]
fn a_capture_without_stacks_says_what_it_can_be_instead() {
    let app = App::start(of_arguments("c/split", &["cpu"]));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=1&event=counters", app.pid));
    server.wait_for(&id, &["finished"]);
    let refused = server.get(&format!("/captures/{id}/flame"));
    assert_eq!((refused.status, refused.code().as_str()), (400, "format_not_offered"));
    assert!(refused.text().contains("json, text, jsonl"), "{}", refused.text());
    let gone = server.get("/captures/0123456789abcdef/flame");
    assert_eq!((gone.status, gone.code().as_str()), (404, "no_such_capture"));
}
