//! A headless Chromium, driven by Debian's chromedriver over its HTTP interface (W3C WebDriver).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Client;

/// Nothing that calls home, and a picture without a graphics card or what stands in for one.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-3d-apis",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// What the page does on a loaded machine takes no longer.
const LONGEST: Duration = Duration::from_secs(60);

/// A key that has no character, as WebDriver writes it.
pub mod key {
    /// Enter.
    pub const ENTER: char = '\u{e007}';
    /// Arrow down.
    pub const DOWN: char = '\u{e015}';
    /// Tabulator.
    pub const TAB: char = '\u{e004}';
    /// Escape.
    pub const ESCAPE: char = '\u{e00c}';
}

/// A browser with one tab and an empty profile, ended when dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: Client,
    session: String,
    profile: PathBuf,
}

impl Browser {
    /// Starts one, with a window of so many pixels.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(width: u32, height: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("sideflame-browser-{}-{number}", std::process::id()));
        let (driver, client) = driver();
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let mut browser = Self {
            driver,
            client,
            session: String::new(),
            profile,
        };
        let session = browser.ask("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        browser.resize(width, height);
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.client.send_json(method, path, &body.to_string());
        let value = answer.json()["value"].take();
        assert!(answer.status == 200, "{method} {path}: {value:#}");
        value
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
    }

    /// A command of the devtools protocol.
    ///
    /// # Panics
    /// The browser does not know it.
    pub fn command(&self, name: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }

    /// Another size of the window, in pixels of the page.
    pub fn resize(&self, width: u32, height: u32) {
        self.resize_at(width, height, 1);
    }

    /// The same on a screen that has so many pixels for one of the page, in each direction.
    pub fn resize_at(&self, width: u32, height: u32, ratio: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What the page's scripts keep, in megabytes, what is behind typed arrays among it.
    ///
    /// # Panics
    /// The browser does not say.
    pub fn heap_megabytes(&self) -> f64 {
        self.command("HeapProfiler.collectGarbage", &json!({}));
        let usage = self.command("Runtime.getHeapUsage", &json!({}));
        let bytes = ["usedSize", "backingStorageSize"].map(|part| usage[part].as_f64().expect("a number"));
        bytes.iter().sum::<f64>() / 1e6
    }

    /// What the user prefers, e.g. `prefers-color-scheme` and `dark`.
    pub fn prefer(&self, feature: &str, value: &str) {
        let features = json!({"features": [{"name": feature, "value": value}]});
        self.command("Emulation.setEmulatedMedia", &features);
    }

    /// Goes to an address and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Opens another tab, which is the one from now on.
    ///
    /// # Panics
    /// There is none.
    pub fn new_tab(&self) {
        let tab = self.post("/window/new", &json!({"type": "tab"}));
        self.post("/window", &json!({"handle": tab["handle"]}));
    }

    /// Back, as the browser's button.
    pub fn back(&self) {
        self.post("/back", &json!({}));
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// What the body of a function gives.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What an expression gives.
    pub fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}"))
    }

    /// The text of the first element, empty if there is none.
    pub fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true, and gives it.
    ///
    /// # Panics
    /// It does not become true within a minute; says what the page shows then.
    pub fn wait(&self, expression: &str) -> Value {
        let deadline = Instant::now() + LONGEST;
        loop {
            let value = self.value(&format!(
                "(() => {{ try {{ return {expression}; }} catch {{ return null; }} }})()"
            ));
            if !matches!(value, Value::Null | Value::Bool(false)) && value != json!(0) && value != json!("") {
                return value;
            }
            assert!(
                Instant::now() < deadline,
                "not within a minute: {expression}\n{}\n{}\n{:?}",
                self.value("location.href"),
                self.text("body"),
                self.console()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the text of the first element contains something, and gives it.
    ///
    /// # Panics
    /// As [`Self::wait`].
    pub fn wait_for_text(&self, selector: &str, part: &str) -> String {
        let (selector_text, part) = (json!(selector), json!(part));
        self.wait(&format!(
            "document.querySelector({selector_text})?.innerText.includes({part})"
        ));
        self.text(selector)
    }

    /// Clicks the first element, as a user who can see it.
    ///
    /// # Panics
    /// It does not come within a minute, or cannot be clicked.
    pub fn click(&self, selector: &str) {
        self.wait(&format!("document.querySelector({}) !== null", json!(selector)));
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        let element = found.as_object().and_then(|found| found.values().next()?.as_str());
        let element = element.expect("an element");
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Presses keys one after the other, wherever the focus is.
    pub fn press(&self, keys: &str) {
        let presses = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        });
        let actions: Vec<_> = presses.collect();
        self.post(
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}),
        );
    }

    /// Drags the pointer over an element, from and to so many parts of its width; `half_way` is done while it rests there.
    pub fn drag(&self, selector: &str, from: f64, to: f64, half_way: impl FnOnce()) {
        let box_of = format!("document.querySelector({})", json!(selector));
        let place = self.run(&format!(
            "const one = {box_of}; one.scrollIntoView(); const {{left, top, width, height}} = one.getBoundingClientRect(); \
             return [left, top + height / 2, width];"
        ));
        let number = |at: usize| place[at].as_f64().expect("a number");
        let at = |share: f64| (number(0) + number(2) * share).round();
        let go = |share: f64| json!({"type": "pointerMove", "x": at(share), "y": number(1).round(), "duration": 50});
        let perform = |actions: Value| {
            let mouse =
                json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
            self.post("/actions", &json!({"actions": [mouse]}));
        };
        perform(json!([go(from), {"type": "pointerDown", "button": 0}, go(from.midpoint(to))]));
        half_way();
        perform(json!([go(to), {"type": "pointerUp", "button": 0}]));
    }

    /// Saves what is seen as a PNG file.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn picture(&self, file: &Path) {
        let picture = self.ask("GET", &format!("{}/screenshot", self.session), &json!({}));
        let bytes = STANDARD.decode(picture.as_str().expect("text")).expect("base64");
        std::fs::write(file, bytes).expect("writable");
    }

    /// Everything that the console was told since the last look, warnings of the security policy among it.
    pub fn console(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().into_iter().flatten();
        entries
            .map(|entry| format!("{} {}", entry["level"], entry["message"]))
            .collect()
    }

    /// The addresses of all requests since the last look.
    pub fn requests(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "performance"}));
        let messages = log.as_array().into_iter().flatten().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            let sent = message["method"] == "Network.requestWillBeSent";
            sent.then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        });
        messages.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.client.try_send("DELETE", &self.session, &[]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// A chromedriver on a free port, which it tells in a line. Somebody else may take the port that it has chosen: then it ends.
fn driver() -> (Child, Client) {
    (0..5).find_map(|_| try_driver()).expect("one of five says its port")
}

fn try_driver() -> Option<(Child, Client)> {
    let mut driver = Command::new("chromedriver")
        .args(["--port=0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is there: tests/rig/packages.sh chromium chromium-driver");
    let mut lines = BufReader::new(driver.stdout.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, port) = line.rsplit_once("started successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    let Some(port) = port else {
        let _ = driver.wait();
        return None;
    };
    let url = format!("http://127.0.0.1:{port}");
    // What else it says is not to fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Some((driver, Client { url }))
}
