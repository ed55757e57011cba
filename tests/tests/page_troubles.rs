//! The page when something is in the way: a forward that ends, a server that is restarted, captures that are gone, others at work.

use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::browser::key;
use e2e::{Browser, Forwarder, Page, Server};
use sha2::{Digest, Sha256};

/// How long it takes until something is seen.
fn until(browser: &Browser, expression: &str) -> Duration {
    let began = Instant::now();
    browser.wait(expression);
    began.elapsed()
}

const BANNER: &str = "document.querySelector('#banner').childElementCount > 0";
const NO_BANNER: &str = "document.querySelector('#banner').childElementCount === 0";

/// Criterion 9: a forward that ends in mid-capture and in mid-download, and comes back.
#[test]
fn a_forward_that_is_cut_costs_nothing() {
    let app = App::start(app::java("17", &[], "cpu"));
    let mut page = Page::default();
    let forward = Forwarder::to(&page.server.url);
    page.url.clone_from(&forward.url);
    let browser = &page.browser;
    page.open("");
    page.seconds(8);
    browser.click(&format!("[data-key=cpu-{}]", app.pid));
    browser.wait("/^[1-9] of 8 s/.test(document.querySelector('.progress .state').innerText)");
    let id = page.capture();
    forward.cut();
    let banner = until(browser, BANNER);
    page.server.wait_for(&id, &["finished"]);
    forward.mend();
    let again = until(browser, NO_BANNER);
    page.wait_for_graph();
    let quality = &page.server.get(&format!("/captures/{id}")).json()["quality"];
    eprintln!("in mid-capture: told after {banner:?}, there again after {again:?}; {quality}");
    assert!(
        quality["durationMs"].as_u64().unwrap() >= 7500 && quality["lost"].as_u64() == Some(0),
        "{quality}"
    );
    // Three and five seconds on a machine that does nothing else.
    assert!(
        banner < Duration::from_secs(10) && again < Duration::from_secs(15),
        "{banner:?} {again:?}"
    );

    let artifact = page.server.get(&format!("/captures/{id}/artifact?format=jfr")).whole();
    let downloads = page.downloads();
    forward.cut_after(artifact.body.len() / 2);
    browser.click("[aria-label='Download jfr']");
    let banner = until(browser, BANNER);
    assert!(forward.is_cut());
    forward.mend();
    let again = until(browser, NO_BANNER);
    let saved = downloads.wait_for("jfr");
    eprintln!(
        "in mid-download: told after {banner:?}, there again after {again:?}; {} bytes",
        saved.len()
    );
    assert_eq!(Sha256::digest(&saved), Sha256::digest(&artifact.body));
    page.assert_alone();
}

/// A process that is busy is not refused without a word, and its next capture can be waited for.
#[test]
fn who_is_at_work_is_told_and_two_captures_are_compared() {
    let app = App::start(app::java("17", &[], "cpu"));
    let page = Page::default();
    let browser = &page.browser;
    let first = page.server.capture(&format!("pid={}&seconds=600&format=jfr", app.pid));
    page.open("");
    page.seconds(2);
    let button = format!("[data-key=cpu-{}]", app.pid);
    // Others may run JVMs here, too.
    let message = format!(".card:has({button}) .message");
    browser.click(&button);
    let told = browser.wait_for_text(&message, "Someone else is capturing this process, ");
    assert!(told.contains("s left.") && told.contains("Capture next"), "{told}");
    browser.click(&format!("{message} a"));
    assert_eq!(page.capture(), first);
    browser.wait_for_text(".progress .state", "of 600 s");
    browser.back();
    browser.wait("document.querySelector('#seconds')");
    page.seconds(2);
    browser.click(&button);
    page.press_button("Capture next");
    browser.wait_for_text(&message, "Starts after it");
    assert_eq!(
        page.server.send("POST", &format!("/captures/{first}/stop"), &[]).status,
        202
    );
    page.wait_for_graph();
    let second = page.capture();
    assert_ne!(first, second);

    page.open("");
    let store = browser.wait_for_text(".store", "2 captures · ");
    assert!(store.ends_with(" of 256.0 MiB in the store"), "{store}");
    browser.click(&format!("[data-key=compare-{second}]"));
    browser.wait_for_text(&format!("[data-key=compare-{second}]"), "with another");
    browser.click(&format!("[data-key=compare-{first}]"));
    browser.wait(&format!("location.hash.startsWith('#/diff/{first}/{second}')"));
    browser.wait("document.querySelector('.headline')?.innerText");
    let downloads = page.downloads();
    for (format, ending) in [
        ("svg", "diff.svg"),
        ("collapsed", "diff.collapsed.txt"),
        ("top.json", "diff.top.json"),
    ] {
        browser.click(&format!("[aria-label='Download {format}']"));
        let path = format!("/diff?before={first}&after={second}&format={format}");
        assert!(
            downloads.wait_for(ending) == page.server.get(&path).ok().body,
            "{format}"
        );
    }
    let background = |colour: &str| format!("getComputedStyle(document.body).backgroundColor === '{colour}'");
    for (theme, colour) in [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 22, 26)")] {
        browser.click("#theme");
        browser.wait_for_text("#theme", theme);
        browser.wait(&background(colour));
    }
    browser.click("#theme");
    browser.wait_for_text("#theme", "auto");
    page.assert_alone();
}

/// A browser has six connections for a host, and each capture that is followed takes one.
#[test]
fn eight_tabs_of_a_capture_all_answer() {
    let app = App::start(app::of_arguments("c/split", &["cpu"]));
    let page = Page::default();
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

/// The server goes away and comes back; captures that are not there; a token.
#[test]
fn troubles_say_what_to_do() {
    let mut page = Page::default();
    page.open("#/c/0123456789abcdef");
    page.browser
        .wait_for_text(".problem", "no capture 0123456789abcdef any more");
    page.open("#/c/0123456789abcdef?until=1700000000000");
    page.browser.wait_for_text(".problem", "It was kept until");
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
