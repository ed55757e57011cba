//! The page in a real browser, against a real server and real programs: from the first look to the answer, by pointer and by keyboard, with
//! hostile names, without a connection, on a phone, in the dark.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::app::{self, App};
use e2e::browser::key;
use e2e::page::{in_page, tab_to};
use e2e::{Page, Server, cache};
use serde_json::Value;

const SIXTY: &str = "demo.shop.Split.sixty";

/// The server's share of a pattern, in percent.
fn share(server: &Server, id: &str, pattern: &str) -> f64 {
    let path = format!("/captures/{id}/share?match={pattern}");
    let told = server.send("GET", &path, &[("accept", "application/json")]).ok().json();
    told["share"].as_f64().unwrap() * 100.0
}

fn cpu_button(app: &App) -> String {
    format!("[data-key=cpu-{}]", app.pid)
}

#[test]
fn from_the_first_look_to_the_answer_and_back() {
    let app = App::start(app::java("17", &[], "cpu"));
    let page = Page::default();
    let browser = &page.browser;
    page.open("");
    page.seconds(30);
    browser.wait(&format!("document.querySelector('{}')", cpu_button(&app)));
    // Whatever else runs on this machine belongs to no picture.
    browser.run(&format!(
        "for (const card of document.querySelectorAll('.card')) card.hidden = !card.querySelector('{}');",
        cpu_button(&app)
    ));
    picture(&page, "page-pod", 360);
    page.seconds(6);
    browser.click(&cpu_button(&app));
    browser.wait_for_text(".progress .state", "of 6 s");
    assert!(browser.text(".progress").contains("Stop now, keep"));
    browser.wait("document.title.includes(' s · demo.shop.Split')");
    // A reload shows the same progress.
    browser.reload();
    page.wait_for_graph();
    let id = page.capture();
    assert!(browser.text(".line").contains("s CPU ·"), "{}", browser.text(".line"));
    assert!(browser.text(".legend").contains("app"));

    browser.click("#search");
    browser.press("sixty");
    let found = page.found();
    let told = share(&page.server, &id, "sixty");
    eprintln!("sixty: {found} % in the page, {told:.2} % by the server");
    // The server's own share is held against the split by the tests of each runtime; here few samples may have to do.
    assert!(
        (found - told).abs() < 0.06 && (found - 60.0).abs() < 15.0,
        "{found} and {told}"
    );
    picture(&page, "page-flame", 640);

    browser.press(&key::ENTER.to_string());
    browser.wait_for_text(".details h3", SIXTY);
    browser.click(".details button");
    browser.wait("location.hash.includes('z=')");
    let view = browser.wait_for_text(".found", "100.0 % of view");
    let hash = page.hash();
    browser.reload();
    browser.wait_for_text(".details h3", SIXTY);
    assert_eq!(browser.wait_for_text(".found", "100.0 % of view"), view);
    assert_eq!(page.hash(), hash);
    browser.back();
    browser.wait("!location.hash.includes('z=')");
    browser.wait("!document.querySelector('.found').innerText.includes('of view')");

    of_one_kind(&page, &id);
    without_a_part(&page, &id);
    in_tables(&page);
    in_time(&page);
    against_another(&page, &app, &id);
    page.assert_clean();
}

/// The pictures of README.md, made anew by `UPDATE_GOLDEN=1`.
fn picture(page: &Page, name: &str, height: u32) {
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{name}.png"));
    page.browser.resize(1000, height);
    page.browser
        .wait("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))");
    page.browser.picture(&file);
    page.browser.resize(1440, 900);
    assert!(file.metadata().unwrap().len() <= 100 << 10);
}

/// A word of the legend finds all of its kind, and pressed again all there is.
fn of_one_kind(page: &Page, id: &str) {
    let browser = &page.browser;
    let query = browser.value("document.querySelector('#search').value");
    page.press_button("app");
    browser.wait("document.querySelector('#search').value === 'kind:app'");
    assert!(page.hash().contains("q=kind"));
    let (found, told) = (page.found(), share(&page.server, id, "demo.shop."));
    assert!((found - told).abs() < 0.06, "{found} and {told}");
    browser.click(".tabs a[href*='v=top']");
    browser.wait("document.querySelector('.top tbody tr')");
    let kinds = browser.value(
        "[...new Set([...document.querySelectorAll('.top tbody td:nth-child(2)')].map((cell) => cell.innerText))]",
    );
    assert_eq!(kinds, serde_json::json!(["app"]));
    browser.click(".tabs a[href*='v=flame']");
    page.press_button("app");
    browser.wait("document.querySelector('#search').value === ''");
    browser.click("#search");
    browser.press(query.as_str().unwrap());
    page.found();
}

/// What is hidden is said to be, stays hidden in a link, and comes back; what is folded can be had.
fn without_a_part(page: &Page, id: &str) {
    let browser = &page.browser;
    let found = browser.text(".found");
    let share = found.split(" of all").next().unwrap();
    browser.run("document.querySelector('.flame').focus()");
    browser.press("nx");
    let hidden = browser.wait_for_text(".without", "Hidden: ");
    assert!(
        hidden.contains(SIXTY) && hidden.contains(&format!("{share} of all")),
        "{hidden}, {found}"
    );
    browser.wait_for_text(".found", "0 % of all");
    let rest = browser.run("return [...document.querySelectorAll('[role=treeitem]')].map((one) => one.innerText)");
    assert!(rest.to_string().contains("all, "), "{rest}");
    browser.reload();
    browser.wait_for_text(".without", "Hidden: ");
    browser.run("document.querySelector('.flame').focus()");
    browser.press(&key::ESCAPE.to_string().repeat(2));
    browser.wait("!location.hash.includes('x=')");
    browser.run("document.querySelector('#search').select()");
    browser.press("sixty");
    assert_eq!(browser.wait_for_text(".found", share), found);

    page.open(&format!("#/c/{id}?q=sixty&nodes=4"));
    browser.wait_for_text(".legend", "small frames");
    page.press_button("load all");
    browser.wait(
        "location.hash.includes('nodes=1000000') && !document.querySelector('.legend').innerText.includes('small')",
    );
    assert_eq!(browser.wait_for_text(".found", share), found);
}

/// What the picture holds, as tables.
fn in_tables(page: &Page) {
    let browser = &page.browser;
    let tab = |name: &str| browser.click(&format!(".tabs a[href*='v={name}']"));
    let found = browser
        .text(".found")
        .split(" · ")
        .next()
        .unwrap()
        .replace(" of all", "");
    tab("tree");
    browser.wait_for_text("[role=treegrid]", SIXTY);
    let rows = browser.value(
        "[...document.querySelectorAll('[role=treegrid] tbody tr')].map((row) => [row.getAttribute('aria-level'), row.innerText])",
    );
    let row = |name: &str| {
        let rows = rows.as_array().unwrap().iter();
        let mut texts = rows.map(|row| row[1].as_str().unwrap());
        texts.find(|row| row.contains(name)).unwrap().to_owned()
    };
    assert!(row(SIXTY).contains(&found), "{found} is not in {}", row(SIXTY));

    tab("top");
    browser.wait_for_text(".top tbody", SIXTY);
    browser.run("document.querySelectorAll('.top th button')[3].click()");
    browser.wait("document.querySelectorAll('.top th')[3].getAttribute('aria-sort') === 'descending'");
    browser.run(
        "[...document.querySelectorAll('.top tbody button')].find((one) => one.innerText.endsWith('.sixty')).click()",
    );
    browser.wait("location.hash.includes('v=callers')");
    // Its caller is what it calls here.
    browser.wait("[...document.querySelectorAll('[role=treeitem]')].some((one) => one.innerText.startsWith('demo.shop.Split.sixty,'))");
    tab("threads");
    browser.wait_for_text("table", "shop-worker-1");
    tab("flame");
    page.wait_for_graph();
}

/// A part of the time, chosen with the pointer.
fn in_time(page: &Page) {
    let browser = &page.browser;
    browser.wait("document.querySelector('.strip canvas')?.width > 100");
    let samples = || {
        let shown = browser.wait("/^all .* ([0-9]+) samples/.exec(document.querySelector('.line').innerText)?.[1]");
        shown.as_str().unwrap().parse::<f64>().unwrap()
    };
    let whole = samples();
    let steps = browser.value("history.length");
    browser.run(
        "window.drawn = { moves: [], paints: [] }; const ask = requestAnimationFrame;
         window.requestAnimationFrame = (draw) => ask((now) => (draw(now), drawn.paints.push(performance.now())));
         document.querySelector('.strip').addEventListener('pointermove', () => drawn.moves.push(performance.now()));",
    );
    // The graph follows while the pointer is still down; all of it is one step of Back.
    browser.drag(".strip", 0.25, 0.75, || {
        let shown = "/^all .* ([0-9]+) samples/.exec(document.querySelector('.line').innerText)[1]";
        browser.wait(&format!("Number({shown}) < {whole}"));
    });
    browser.wait("/from=[0-9.]+&to=[0-9.]+/.test(location.hash)");
    browser.wait_for_text(".filters", "from");
    browser.wait("!document.querySelector('[aria-busy=true]') && drawn.paints.at(-1) > drawn.moves.at(-1)");
    let late = browser.value("drawn.paints.at(-1) - drawn.moves.at(-1)");
    eprintln!("the graph follows the pointer after {late} ms");
    assert!(late.as_f64().unwrap() < 3000.0, "{late} ms");
    let one_more = steps.as_u64().map(|steps| steps + 1);
    assert_eq!(browser.value("history.length").as_u64(), one_more);
    let half = samples();
    assert!(
        (0.2..0.8).contains(&(half / whole)),
        "{half} of {whole} samples in half of the time"
    );
    browser.click("[aria-label='Without from']");
    browser.click("[aria-label='Without to']");
    browser.wait("!document.querySelector('.filters')");
    page.wait_for_graph();
}

/// A second capture, what has changed, and the files.
fn against_another(page: &Page, app: &App, first: &str) {
    let (browser, server) = (&page.browser, &page.server);
    let second = server.capture(&format!("pid={}&seconds=3&format=jfr", app.pid));
    server.wait_for(&second, &["finished"]);
    downloads(page, first);
    browser.wait(&format!(
        "document.querySelector('#compare option[value=\"{second}\"]') || (dispatchEvent(new Event('route')), false)"
    ));
    browser.run(&format!(
        "const one = document.querySelector('#compare'); one.value = '{second}'; one.dispatchEvent(new Event('change'));"
    ));
    browser.wait(&format!("location.hash.startsWith('#/diff/{first}/{second}')"));
    browser.wait("document.querySelector('.headline')?.innerText");
    browser.wait_for_text(".top tbody", "cores");
    page.wait_for_graph();
    browser.back();
    page.wait_for_graph();
    assert_eq!(page.capture(), first);
}

/// Each file is what the server has.
fn downloads(page: &Page, id: &str) {
    let downloads = page.downloads();
    let endings = [
        ("jfr", "jfr"),
        ("svg", "svg"),
        ("collapsed", "collapsed.txt"),
        ("pprof", "pb.gz"),
        ("speedscope", "speedscope.json"),
    ];
    for (format, ending) in endings {
        page.browser.click(&format!("[aria-label='Download {format}']"));
        let path = format!("/captures/{id}/artifact?format={format}");
        assert!(
            downloads.wait_for(ending) == page.server.get(&path).whole().body,
            "{format}"
        );
    }
}

/// The page's share of the hottest function is the server's, whatever the runtime.
#[test]
fn every_runtime_has_its_graph() {
    let apps = [
        app::dotnet("3.1", "cpu"),
        app::of_arguments("go/split", &["-pprof", "127.0.0.1:0", "cpu"]),
        app::of_arguments("c/split", &["cpu"]),
    ];
    let page = Page::default();
    for command in apps {
        let app = App::start(command);
        let id = page.server.capture(&format!("pid={}&seconds=3", app.pid));
        page.server.wait_for(&id, &["finished"]);
        page.open(&format!("#/c/{id}?q=sixty"));
        let (found, told) = (page.found(), share(&page.server, &id, "(?i)sixty"));
        eprintln!("{}: {found} %, {told:.2} % by the server", page.browser.text("h2"));
        assert!((found - told).abs() < 0.06 && found > 30.0, "{found} and {told}");
    }
    page.assert_clean();
}

/// Typed into the address bar it would be a blank tab for as long as the capture takes.
#[test]
fn profile_in_the_address_bar_leads_to_the_progress() {
    let app = App::start(app::of_arguments("c/split", &["cpu"]));
    let page = Page::default();
    let query = format!("pid={}&seconds=3", app.pid);
    page.browser.open(&format!("{}/profile?{query}", page.server.url));
    page.browser.wait_for_text(".progress .state", "of 3 s");
    page.wait_for_graph();
    page.assert_clean();
    // A tool that waits gets the picture.
    let plain = page.server.get(&format!("/profile?{query}")).ok();
    assert_eq!(plain.header("content-type"), "image/svg+xml");
    // What is discarded is gone, and leads back.
    page.browser
        .open(&format!("{}/profile?pid={}&seconds=60", page.server.url, app.pid));
    let id = page.capture();
    page.browser.wait_for_text(".progress .state", "of 60 s");
    page.press_button("Discard");
    page.browser.wait("location.hash === '#/'");
    assert_eq!(page.server.get(&format!("/captures/{id}")).status, 404);
    // What is stopped is kept.
    page.browser
        .open(&format!("{}/profile?pid={}&seconds=60", page.server.url, app.pid));
    page.browser.wait_for_text(".progress .state", "of 60 s");
    page.browser.click(".progress .primary");
    page.wait_for_graph();
}

/// A link in a chat leads to the page, and to nothing that has an effect.
#[test]
fn a_link_from_elsewhere_leads_to_the_page_alone() {
    let page = Page::default();
    let (browser, url) = (&page.browser, &page.server.url);
    let elsewhere = |path: &str| {
        browser.open(&format!("data:text/html,<a href='{url}{path}'>look</a>"));
        browser.click("a");
    };
    elsewhere("/");
    browser.wait("document.querySelector('#seconds')");
    elsewhere("/profile?seconds=1");
    browser.wait_for_text("body", "cross_site_request");
    assert_eq!(page.server.get("/captures").json(), serde_json::json!([]));
}

/// Names that are markup, that turn text around, that end strings, that are long.
#[test]
fn hostile_names_are_text() {
    const IMAGE: &str = "<img src=x onerror=document.title=1>";
    let folder = std::env::temp_dir().join(format!("sideflame-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("hostile.c"), folder.join("<b>bold\u{202e}\u{1b}[31m"));
    std::fs::write(&source, include_str!("hostile_native.c")).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-fno-omit-frame-pointer", "-pthread", "-o"]);
    assert!(compiler.arg(&program).arg(&source).status().unwrap().success());
    let mut command = Command::new(&program);
    command.arg("jit");
    let mut app = App::launch(command);
    let address = app.wait_for("ready");
    let map = PathBuf::from(format!("/tmp/perf-{}.map", app.pid));
    let name = format!("{IMAGE}\u{202e}evil\u{7}{}", "x".repeat(6000));
    std::fs::write(&map, format!("{address} 100 {name}\n")).unwrap();

    let page = Page::default();
    let browser = &page.browser;
    let id = page.server.capture(&format!("pid={}&seconds=2", app.pid));
    page.server.wait_for(&id, &["finished"]);
    std::fs::remove_file(&map).unwrap();
    page.open(&format!("#/c/{id}?q=onerror"));
    assert!(page.found() > 50.0);
    browser.press(&key::ENTER.to_string());
    browser.run("document.querySelector('[aria-label=\"Next match\"]').click()");
    let shown = browser.wait_for_text(".details h3", "<img src=x");
    assert!(!shown.contains(['\u{202e}', '\u{7}']), "{shown}");
    for tab in ["top", "tree", "flame", "callers", "threads"] {
        page.open(&format!("#/c/{id}?v={tab}&f={}", "%3Cimg%20src%3Dx%20onerror%3D1%3E"));
        browser.wait("document.querySelector('[aria-busy=false]') && document.querySelector('.stamp')");
        let heading = browser.wait_for_text("h2", "<b>bold");
        assert!(!heading.contains(['\u{202e}', '\u{1b}']), "{heading}");
    }
    page.open("");
    browser.wait_for_text("main", "<b>bold");
    assert_eq!(
        browser.value("document.querySelectorAll('main img, main b, main script').length"),
        0
    );
    assert_ne!(browser.value("document.title"), "1");
    // The picture as a file of its own: its script may run, names may not.
    browser.open(&format!("{}/captures/{id}/artifact?format=svg", page.url));
    browser.wait("document.documentElement.textContent.includes('<img src=x')");
    assert_eq!(browser.value("document.querySelectorAll('img, image, b').length"), 0);
    page.assert_clean();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Everything without a pointer.
#[test]
fn the_keyboard_is_enough() {
    let app = App::start(app::java("17", &[], "cpu"));
    let page = Page::default();
    let browser = &page.browser;
    page.open("");
    let rights =
        serde_json::json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": page.url});
    browser.command("Browser.grantPermissions", &rights);
    browser.run("window.pointers = 0; for (const one of ['pointerdown', 'mousedown']) addEventListener(one, () => pointers++, true);");
    page.seconds(3);
    tab_to(browser, &cpu_button(&app));
    browser.press(&key::ENTER.to_string());
    page.wait_for_graph();
    tab_to(browser, "#search");
    browser.press("sixty");
    page.found();
    tab_to(browser, ".flame");
    browser.press("n");
    browser.wait_for_text("[role=treeitem][aria-selected=true]", SIXTY);
    let described = browser.value(
        "document.getElementById(document.querySelector('.flame').getAttribute('aria-activedescendant')).innerText",
    );
    let described = described.as_str().unwrap();
    assert!(
        described.contains("percent total") && described.ends_with(", app"),
        "{described}"
    );
    browser.press(&key::ESCAPE.to_string());
    browser.wait("!location.hash.includes('q=')");
    browser.press(&key::ENTER.to_string());
    browser.wait("location.hash.includes('z=')");
    browser.press("C");
    let copied = browser.wait("navigator.clipboard.readText()");
    let frames: Vec<_> = copied.as_str().unwrap().lines().collect();
    assert!(frames.len() > 1 && frames.last() == Some(&SIXTY), "{copied}");
    browser.press(&key::DOWN.to_string());
    browser.wait_for_text("[role=treeitem][aria-selected=true]", "demo.shop.Split.spin");
    browser.press("0");
    browser.wait("!location.hash.includes('z=')");
    browser.press("r");
    browser.wait("location.hash.includes('fold=recursion') && document.querySelector('[aria-pressed=true]')");
    browser.press("3");
    browser.wait_for_text("[role=treegrid]", SIXTY);
    browser.back();
    page.wait_for_graph();
    let first = page.capture();
    tab_to(browser, ".flame");
    browser.press("s?");
    browser.wait_for_text("h2", "Help");

    // A second capture, the difference, and a file of it.
    tab_to(browser, "nav a[href='#/']");
    browser.press(&key::ENTER.to_string());
    tab_to(browser, &cpu_button(&app));
    browser.press(&key::ENTER.to_string());
    browser.wait(&format!(
        "location.hash.startsWith('#/c/') && !location.hash.includes('{first}')"
    ));
    page.wait_for_graph();
    let second = page.capture();
    browser.wait(&format!("document.querySelector('#compare option[value=\"{first}\"]')"));
    tab_to(browser, "#compare");
    browser.press(&key::DOWN.to_string());
    browser.wait(&format!("location.hash.startsWith('#/diff/{first}/{second}')"));
    browser.wait("document.querySelector('.headline')?.innerText");
    let downloads = page.downloads();
    tab_to(browser, "[aria-label='Download collapsed']");
    browser.press(&key::ENTER.to_string());
    let path = format!("/diff?before={first}&after={second}&format=collapsed");
    assert!(downloads.wait_for("diff.collapsed.txt") == page.server.get(&path).ok().body);
    assert_eq!(browser.value("window.pointers"), 0, "all of it without a pointer");
    page.assert_clean();
}

/// axe-core finds nothing on any screen, on a screen and on a phone, in light and dark; and nothing is wider than a phone.
#[test]
fn every_screen_is_accessible() {
    let app = App::start(app::java("17", &[], "cpu"));
    let page = Page::default();
    let [first, second] = [(); 2].map(|()| {
        let id = page.server.capture(&format!("pid={}&seconds=2&format=jfr", app.pid));
        page.server.wait_for(&id, &["finished"]);
        id
    });
    let axe = std::fs::read_to_string(cache::file("axe-core/axe.min.js")).unwrap();
    let screens = [
        (String::new(), ".card .who"),
        (format!("#/p/{}-0", app.pid), ".reason"),
        (format!("#/c/{first}?q=sixty"), ".found"),
        (format!("#/c/{first}?v=tree"), "[role=treegrid] td"),
        (format!("#/c/{first}?v=top"), ".top td"),
        (format!("#/c/{first}?v=threads"), ".top td"),
        (format!("#/diff/{first}/{second}"), ".headline"),
        ("#/c/0123456789abcdef".to_owned(), ".problem"),
        ("#/help".to_owned(), "kbd"),
    ];
    for (hash, there) in screens {
        page.open(&hash);
        page.browser
            .wait(&format!("document.querySelector('{there}')?.innerText"));
        page.browser.wait("!document.querySelector('[aria-busy=true]')");
        page.browser
            .command("Runtime.evaluate", &serde_json::json!({ "expression": axe }));
        for (width, theme) in [(1440, "light"), (1440, "dark"), (380, "dark"), (380, "light")] {
            page.browser.resize(width, 900);
            page.browser.prefer("prefers-color-scheme", theme);
            let found = page.browser.run(
                "return axe.run({resultTypes: ['violations']}).then(({violations}) => violations.map((one) => \
                 [one.id, one.nodes.map((node) => [node.html.slice(0, 200), node.failureSummary])]))",
            );
            assert!(
                found.as_array().is_some_and(Vec::is_empty),
                "{hash} {width} {theme}: {found:#}"
            );
        }
        for width in [380, 320] {
            page.browser.resize(width, 900);
            let wider = page.browser.value("document.documentElement.scrollWidth - innerWidth");
            assert!(wider.as_i64().unwrap() <= 0, "{hash} is wider than {width} by {wider}");
        }
        let small = page.browser.value(
            "[...document.querySelectorAll('button, .card a, nav a, input, select')].filter((one) => one.offsetParent && \
             one.offsetHeight < (one.classList.contains('primary') ? 44 : 24)).map((one) => one.outerHTML)",
        );
        assert!(small.as_array().unwrap().is_empty(), "{small}");
    }
}

/// What the picture says by colours can be seen by everyone, and read.
#[test]
fn colours_can_be_told_apart_and_read() {
    let page = Page::default();
    page.open("#/help");
    page.browser.wait_for_text("h2", "Help");
    let measured = page.browser.run(&in_page(include_str!("page_palette.js")));
    eprintln!("{measured}");
    let number = |name: &str| measured[name].as_f64().unwrap();
    assert!(
        number("kinds") >= 19.0 && number("changes") >= 19.0 && number("ink") >= 4.5,
        "{measured}"
    );
}

/// Trees as large as the server sends, and as deep: what a frame does is bounded by what is seen of them, not by them. How long it takes is told, and
/// asserted loosely, as others may be at work on the same processors; `make bench` has the figures.
#[test]
fn a_frame_of_a_million_nodes_does_what_is_seen() {
    let page = Page::default();
    page.open("#/help");
    page.browser.wait_for_text("h2", "Help");
    let wide = |widest| (300, widest, 1);
    for (rows, widest, ratio) in [wide(344), wide(859), wide(3480), (20_001, 1, 1), (300, 859, 2)] {
        page.browser.resize_at(1440, 900, ratio);
        let script = format!(
            "const shape = {{ rows: {rows}, widest: {widest} }};\n{}",
            include_str!("page_large.js")
        );
        let measured = page.browser.run(&in_page(&script));
        let heap = page.browser.heap_megabytes();
        eprintln!("{heap:.1} MB {measured}");
        let number = |path: &str| measured.pointer(path).and_then(Value::as_f64).unwrap();
        assert_eq!(number("/rows"), f64::from(rows), "{measured}");
        assert_eq!(measured["hasWebGL"], false, "{measured}");
        assert_eq!(measured["areOutlined"], true, "{measured}");
        assert!(number("/firstMs") < 5000.0 && number("/p95Ms") < 1000.0, "{measured}");
        let most = if number("/nodes") > 300_000.0 { 150.0 } else { 100.0 };
        assert!(heap <= most, "{heap} MB");
        assert!(
            number("/canvasPixels") <= 1440.0 * 900.0 * f64::from(ratio * ratio),
            "{measured}"
        );
        let seen = number("/height") / 20.0 + 2.0;
        for frame in ["whole", "searched", "bottom"] {
            let count = |what: &str| number(&format!("/{frame}/{what}"));
            assert!(count("texts") <= seen * number("/width") / 25.0, "{frame} {measured}");
            assert!(
                count("rectangles") <= seen * (3.0 + number("/width") / 8.0),
                "{frame} {measured}"
            );
            assert!(
                count("reads") > 0.0 && count("reads") <= seen * number("/width") * 12.0,
                "{frame} {measured}"
            );
        }
        // Its last row has one frame, and that has a name.
        assert!(widest > 1 || number("/bottom/texts") >= 20.0, "{measured}");
    }
    page.assert_clean();
}
