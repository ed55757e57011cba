//! The page in a real browser, against a real server and real programs: from the first look to the answer, by pointer and by keyboard, with
//! hostile names, without a connection, on a phone, in the dark.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::browser::key;
use e2e::{Browser, Server, cache};
use serde_json::Value;

const SIXTY: &str = "demo.shop.Split.sixty";

/// A browser at the page of a server.
struct Page {
    browser: Browser,
    server: Server,
}

impl Page {
    fn new() -> Self {
        Self::of(Server::default())
    }

    fn of(server: Server) -> Self {
        let browser = Browser::start(1440, 900);
        Self { browser, server }
    }

    fn open(&self, hash: &str) {
        self.browser.open("about:blank");
        self.browser.open(&format!("{}/{hash}", self.server.url));
    }

    /// The id of the capture that is shown.
    fn capture(&self) -> String {
        let hash = self.browser.wait("/^#.c.([0-9a-f]{16})/.exec(location.hash)?.[1]");
        hash.as_str().unwrap().to_owned()
    }

    /// Waits for the picture, or the table in its place.
    fn wait_for_graph(&self) {
        self.browser.wait_for_text(".line", "of all");
    }

    fn seconds(&self, seconds: u32) {
        self.browser.wait("document.querySelector('#seconds')");
        self.browser.run(&format!(
            "const field = document.querySelector('#seconds'); field.value = {seconds}; field.dispatchEvent(new Event('input'));"
        ));
    }

    /// The share of all that the search says, in percent.
    fn found(&self) -> f64 {
        let text = self.browser.wait_for_text(".found", "of all");
        text.split(' ').next().unwrap().parse().unwrap()
    }

    fn hash(&self) -> String {
        self.browser.value("location.hash").as_str().unwrap().to_owned()
    }

    /// Neither errors, nor requests to others, nor anything that the policy had to stop.
    fn assert_clean(&self) {
        let console: Vec<_> = self.browser.console();
        assert!(console.is_empty(), "{console:#?}");
        self.assert_alone();
    }

    fn assert_alone(&self) {
        let own = |url: &String| url.starts_with(&self.server.url) || url.starts_with("data:");
        let requests = self.browser.requests();
        assert!(requests.len() > 20, "{requests:?}");
        // The browser's own first tab.
        let others: Vec<_> = requests
            .into_iter()
            .filter(|url| !own(url) && !url.starts_with("chrome:") && !url.starts_with("about:"))
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

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
    let page = Page::new();
    let browser = &page.browser;
    page.open("");
    page.seconds(30);
    browser.wait(&format!("document.querySelector('{}')", cpu_button(&app)));
    // Whatever else runs on this machine belongs to no picture.
    browser.run(&format!(
        "for (const card of document.querySelectorAll('.card')) card.hidden = !card.querySelector('{}');",
        cpu_button(&app)
    ));
    picture(&page, "page-pod", 300);
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
    browser.drag(".strip", 0.25, 0.75);
    browser.wait("/from=[0-9.]+&to=[0-9.]+/.test(location.hash)");
    browser.wait_for_text(".filters", "from");
    browser.wait("!document.querySelector('[aria-busy=true]')");
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
    browser.wait_for_text(".headline", "functions");
    browser.wait_for_text(".top tbody", "cores");
    page.wait_for_graph();
    browser.back();
    page.wait_for_graph();
    assert_eq!(page.capture(), first);
}

/// Each file is what the server has.
fn downloads(page: &Page, id: &str) {
    let folder = std::env::temp_dir().join(format!("sideflame-downloads-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let allowed = serde_json::json!({"behavior": "allow", "downloadPath": folder});
    page.browser.command("Browser.setDownloadBehavior", &allowed);
    let endings = [
        ("jfr", "jfr"),
        ("svg", "svg"),
        ("collapsed", "collapsed.txt"),
        ("pprof", "pb.gz"),
        ("speedscope", "speedscope.json"),
    ];
    for (format, ending) in endings {
        page.browser.click(&format!("[aria-label='Download {format}']"));
        let file = wait_for_file(&folder, ending);
        let artifact = page
            .server
            .get(&format!("/captures/{id}/artifact?format={format}"))
            .whole();
        assert!(std::fs::read(file).unwrap() == artifact.body, "{format}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn wait_for_file(folder: &Path, ending: &str) -> PathBuf {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        if let Some(file) = files.into_iter().find(|file| file.to_string_lossy().ends_with(ending)) {
            return file;
        }
        assert!(Instant::now() < deadline, "no file *.{ending}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The page's share of the hottest function is the server's, whatever the runtime.
#[test]
fn every_runtime_has_its_graph() {
    let apps = [
        app::dotnet("3.1", "cpu"),
        of_arguments("go/split", &["-pprof", "127.0.0.1:0", "cpu"]),
        of_arguments("c/split", &["cpu"]),
    ];
    let page = Page::new();
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

fn of_arguments(path: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(cache::file(&format!("apps/{path}")));
    command.args(arguments);
    command
}

/// Typed into the address bar it would be a blank tab for as long as the capture takes.
#[test]
fn profile_in_the_address_bar_leads_to_the_progress() {
    let app = App::start(of_arguments("c/split", &["cpu"]));
    let page = Page::new();
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
    page.browser
        .run("[...document.querySelectorAll('.progress button')].find((one) => one.innerText === 'Discard').click()");
    page.browser.wait("location.hash === '#/'");
    assert_eq!(page.server.get(&format!("/captures/{id}")).status, 404);
    // What is stopped is kept.
    page.browser
        .open(&format!("{}/profile?pid={}&seconds=60", page.server.url, app.pid));
    page.browser.wait_for_text(".progress .state", "of 60 s");
    page.browser.click(".progress .primary");
    page.wait_for_graph();
}

/// A browser has six connections for a host, and each capture that is followed takes one.
#[test]
fn eight_tabs_of_a_capture_all_answer() {
    let app = App::start(of_arguments("c/split", &["cpu"]));
    let page = Page::new();
    let browser = &page.browser;
    let id = page.server.capture(&format!("pid={}&seconds=600", app.pid));
    for tab in 0..8 {
        if tab > 0 {
            browser.new_tab();
        }
        page.open(&format!("#/c/{id}"));
        browser.wait_for_text(".progress .state", "of 600 s");
    }
    assert_eq!(
        page.server.send("POST", &format!("/captures/{id}/stop"), &[]).status,
        202
    );
    page.wait_for_graph();
}

/// A link in a chat leads to the page, and to nothing that has an effect.
#[test]
fn a_link_from_elsewhere_leads_to_the_page_alone() {
    let page = Page::new();
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

    let page = Page::new();
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
    page.assert_clean();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The server goes away and comes back; captures that are not there; a token.
#[test]
fn troubles_say_what_to_do() {
    let mut page = Page::new();
    page.open("#/c/0123456789abcdef");
    page.browser
        .wait_for_text(".problem", "no capture 0123456789abcdef any more");
    page.browser
        .run("document.body.dataset.pod = 'prod/shop-1'; location.hash = '#/c/0123456789abcdea?pod=prod%2Fshop-2';");
    let elsewhere = page.browser.wait_for_text(".problem", "is not on prod/shop-1");
    assert!(
        elsewhere.contains("kubectl port-forward -n prod pod/shop-2"),
        "{elsewhere}"
    );
    page.open("#/p/1999999999-1");
    page.browser.wait_for_text(".problem", "Try:");
    page.open("#/diff/0123456789abcdef/fedcba9876543210");
    page.browser.wait_for_text(".problem", "no_such_capture");

    page.open("");
    page.browser.wait("document.querySelector('#seconds')");
    let address = page.server.url.strip_prefix("http://").unwrap().to_owned();
    page.server.end(nix::sys::signal::Signal::SIGTERM);
    let banner = page.browser.wait_for_text("#banner", "kubectl port-forward");
    let (_, port) = address.rsplit_once(':').unwrap();
    assert!(
        banner.contains("Lost the connection") && banner.contains(&format!("{port}:7117")),
        "{banner}"
    );
    let again = Server::start(&["--listen", &address]);
    page.browser
        .wait("document.querySelector('#banner').childElementCount === 0");
    page.browser.wait_for_text("main", "Captures");
    drop(again);

    let token = std::env::temp_dir().join(format!("sideflame-token-{}", std::process::id()));
    std::fs::write(&token, "0123456789-secret").unwrap();
    let page = Page::of(Server::start(&["--token-file", token.to_str().unwrap()]));
    page.open("");
    page.browser.wait("document.activeElement.id === 'token'");
    page.browser.press(&format!("wrong{}", key::ENTER));
    page.browser.wait_for_text("main", "That was not it");
    page.browser
        .wait("document.activeElement.id === 'token' && document.activeElement.value === ''");
    page.browser.press(&format!("0123456789-secret{}", key::ENTER));
    page.browser.wait("document.querySelector('#seconds')");
    // Nowhere but in memory.
    assert_eq!(
        page.browser
            .value("localStorage.length + sessionStorage.length + document.cookie.length"),
        0
    );
    page.browser.reload();
    page.browser.wait("document.activeElement.id === 'token'");
    std::fs::remove_file(&token).unwrap();
}

/// Everything without a pointer.
#[test]
fn the_keyboard_is_enough() {
    let app = App::start(app::java("17", &[], "cpu"));
    let page = Page::new();
    let browser = &page.browser;
    page.open("");
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
    browser.press(&key::DOWN.to_string());
    browser.wait_for_text("[role=treeitem][aria-selected=true]", "demo.shop.Split.spin");
    browser.press("0");
    browser.wait("!location.hash.includes('z=')");
    browser.press("r");
    browser.wait("location.hash.includes('r=1') && document.querySelector('[aria-pressed=true]')");
    browser.press("3");
    browser.wait_for_text("[role=treegrid]", SIXTY);
    browser.back();
    page.wait_for_graph();
    tab_to(browser, ".flame");
    browser.press("s?");
    browser.wait_for_text("h2", "Help");
    page.assert_clean();
}

/// Presses the tabulator until the element has the focus, which must be seen.
fn tab_to(browser: &Browser, selector: &str) {
    browser.wait(&format!("document.querySelector({})", serde_json::json!(selector)));
    for _ in 0..80 {
        browser.press(&key::TAB.to_string());
        let focused = browser.value(&format!(
            "document.activeElement.matches({}) && getComputedStyle(document.activeElement).outlineStyle",
            serde_json::json!(selector)
        ));
        if focused != Value::Bool(false) {
            assert_eq!(focused, "solid", "{selector} has no ring");
            return;
        }
    }
    panic!("{selector} cannot be reached");
}

/// axe-core finds nothing on any screen, on a screen and on a phone, in light and dark; and nothing is wider than a phone.
#[test]
fn every_screen_is_accessible() {
    let app = App::start(app::java("17", &[], "cpu"));
    let page = Page::new();
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
        for (width, theme) in [(1440, "light"), (1440, "dark"), (380, "dark")] {
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
    let page = Page::new();
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

/// A script that imports the page's own modules.
fn in_page(script: &str) -> String {
    format!("return (async () => {{ {script} }})()")
}

/// Trees as large as the server sends, and as deep: what a frame does is bounded by what is seen of them, not by them. How long it takes is told, and
/// asserted loosely, as others may be at work on the same processors; `make bench` has the figures.
#[test]
fn a_frame_of_a_million_nodes_does_what_is_seen() {
    let page = Page::new();
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
