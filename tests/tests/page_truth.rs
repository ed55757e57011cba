//! What the page says, held against the server: shares of searches, and every problem with its reason and its remedy.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::page::in_page;
use e2e::{Page, cache};
use serde_json::{Value, json};

/// Stacks with recursion; one function has a fiftieth of a percent.
fn corpus(seed: u64) -> Vec<(Vec<String>, u64)> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut stacks: Vec<(Vec<String>, u64)> = (0..150)
        .map(|_| {
            let depth = 1 + next(9);
            let frames = (0..depth).map(|_| format!("f{}", next(12))).collect();
            (frames, 1 + next(500))
        })
        .collect();
    let all: u64 = stacks.iter().map(|(_, value)| value).sum();
    let rare = ["f1", "f1", "tiny"].map(str::to_owned).into();
    stacks.push((rare, (all / 5000).max(1)));
    stacks
}

/// What the server makes of it.
fn rendered(folder: &Path, seed: u64) -> Value {
    let stacks = corpus(seed);
    let file = folder.join(format!("{seed}.txt"));
    let lines = stacks
        .iter()
        .map(|(frames, value)| format!("{} {value}\n", frames.join(";")));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let render = |format: &str| {
        let mut command = Command::new(cache::sideflame());
        command.args(["render", "-f", "-", "-o", format]).arg(&file);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let top: Value = serde_json::from_slice(&render("top.json")).unwrap();
    json!({"columns": STANDARD.encode(render("flame")), "functions": top["functions"], "stacks": stacks})
}

/// Criterion 4 of the page: of the whole and of what is zoomed into, with recursion, down to 0.02 %.
#[test]
fn a_search_finds_all_there_is_and_its_share() {
    let folder = std::env::temp_dir().join(format!("sideflame-corpora-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let corpora: Vec<_> = (1..=20).map(|seed| rendered(&folder, seed)).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    let page = Page::default();
    page.open("#/help");
    page.browser.wait_for_text("h2", "Help");
    let script = format!(
        "const corpora = {};\n{}",
        json!(corpora),
        include_str!("page_search.js")
    );
    let measured = page.browser.run(&in_page(&script));
    eprintln!("{measured}");
    let number = |name: &str| measured[name].as_f64().unwrap();
    assert!(
        number("searches") >= 200.0 && number("kinds") == 40.0 && number("zoomed") >= 500.0,
        "{measured}"
    );
    assert!(number("smallestShare") < 0.0003, "{measured}");
    assert!(
        number("worstPoints") < 0.01 && number("worstZoomedPoints") < 0.01,
        "{measured}"
    );
    assert_eq!(measured["unreached"], 0, "{measured}");
    assert_eq!(measured["undrawn"], json!([]), "{measured}");
    assert_eq!(measured["webgl"], false, "all of this is drawn without WebGL");
    page.assert_alone();
}

/// Criterion 10: what happened, why, and what to do, for each code that there is.
#[test]
fn every_problem_says_what_why_and_what_to_do() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/problems");
    let problems: Value = serde_json::from_slice(&std::fs::read(golden.join("problems.json")).unwrap()).unwrap();
    let page = Page::default();
    page.open("#/help");
    page.browser.wait_for_text("h2", "Help");
    let script = format!(
        "const {{ problem }} = await import('/ui/page.js'); const shown = {problems}.map((one) => problem({{ problem: one }})); \
         document.querySelector('main').replaceChildren(...shown); return shown.map((one) => [one.dataset.code, one.innerText]);"
    );
    let shown = page.browser.run(&in_page(&script));
    let shown: Vec<(String, String)> = serde_json::from_value(shown).unwrap();
    assert_eq!(shown.len(), problems.as_array().unwrap().len());
    for (code, text) in &shown {
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        let has = |begin: &str| {
            lines
                .iter()
                .any(|line| line.strip_prefix(begin).is_some_and(|rest| rest.len() > 1))
        };
        let first = lines[0].chars().next().unwrap();
        assert!(first.is_uppercase() || !first.is_alphabetic(), "{text}");
        assert!(
            has("Why: ") && has("Try: ") && text.ends_with(&format!("Code: {code}")),
            "{text}"
        );
    }
    let text = shown.iter().map(|(_, text)| text.trim().to_owned() + "\n\n");
    let (file, text) = (golden.join("rendered.txt"), text.collect::<String>());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        text,
        "UPDATE_GOLDEN=1 rewrites it"
    );
    page.assert_clean();
}

/// A reader compares them with the pod's logs.
#[test]
fn times_are_those_of_the_reader_and_of_logs() {
    let page = Page::default();
    page.open("#/help");
    page.browser.wait_for_text("h2", "Help");
    let told = |zone: &str| {
        let zone = json!({"timezoneId": zone});
        page.browser.command("Emulation.setTimezoneOverride", &zone);
        let script = in_page("const { clock } = await import('/ui/page.js'); return clock(0);");
        page.browser.run(&script).as_str().unwrap().to_owned()
    };
    let (there, here) = (told("Asia/Kolkata"), told("UTC"));
    assert!(
        there.starts_with("5:30:00") && there.ends_with(" (00:00:00 UTC)"),
        "{there}"
    );
    assert!(here.starts_with("12:00:00") && !here.contains('('), "{here}");
    page.assert_clean();
}
