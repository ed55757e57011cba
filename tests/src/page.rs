//! The web page in a browser, beside its server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::browser::key;
use crate::{Browser, Server};

/// A browser at the page of a server.
#[derive(Debug)]
pub struct Page {
    /// The browser.
    pub browser: Browser,
    /// The server.
    pub server: Server,
    /// Where the browser finds it.
    pub url: String,
}

impl Default for Page {
    fn default() -> Self {
        Self::of(Server::default())
    }
}

impl Page {
    /// The page of this server, on a screen of 1440 by 900 pixels.
    pub fn of(server: Server) -> Self {
        let browser = Browser::start(1440, 900);
        let url = server.url.clone();
        Self { browser, server, url }
    }

    /// Loads the page at what is behind its address.
    pub fn open(&self, hash: &str) {
        self.browser.open("about:blank");
        self.browser.open(&format!("{}/{hash}", self.url));
    }

    /// The id of the capture that is shown.
    ///
    /// # Panics
    /// None is.
    pub fn capture(&self) -> String {
        let hash = self.browser.wait("/^#.c.([0-9a-f]{16})/.exec(location.hash)?.[1]");
        hash.as_str().unwrap().to_owned()
    }

    /// Waits for the picture, or the table in its place.
    pub fn wait_for_graph(&self) {
        self.browser.wait_for_text(".line", "of all");
    }

    /// Sets how long a capture takes.
    pub fn seconds(&self, seconds: u32) {
        self.browser.wait("document.querySelector('#seconds')");
        self.browser.run(&format!(
            "const field = document.querySelector('#seconds'); field.value = {seconds}; field.dispatchEvent(new Event('input'));"
        ));
    }

    /// The share of all that the search says, in percent.
    ///
    /// # Panics
    /// It says none.
    pub fn found(&self) -> f64 {
        let text = self.browser.wait_for_text(".found", "of all");
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// Presses the first button with this text.
    pub fn press_button(&self, text: &str) {
        let text = serde_json::json!(text);
        let button =
            format!("[...document.querySelectorAll('button')].find((one) => one.innerText.startsWith({text}))");
        self.browser.wait(&format!("{button}?.offsetParent"));
        self.browser.run(&format!("{button}.click()"));
    }

    /// Has files saved to a folder of their own from now on.
    ///
    /// # Panics
    /// There is no room for it.
    pub fn downloads(&self) -> Downloads {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sideflame-downloads-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let allowed = serde_json::json!({"behavior": "allow", "downloadPath": folder});
        self.browser.command("Browser.setDownloadBehavior", &allowed);
        Downloads(folder)
    }

    /// What is behind its address.
    ///
    /// # Panics
    /// The page does not say.
    pub fn hash(&self) -> String {
        self.browser.value("location.hash").as_str().unwrap().to_owned()
    }

    /// Neither errors, nor requests to others, nor anything that the policy had to stop.
    ///
    /// # Panics
    /// There is one.
    pub fn assert_clean(&self) {
        let console: Vec<_> = self.browser.console();
        assert!(console.is_empty(), "{console:#?}");
        self.assert_alone();
    }

    /// No request to others.
    ///
    /// # Panics
    /// There is one.
    pub fn assert_alone(&self) {
        let own = |url: &String| url.starts_with(&self.url) || url.starts_with("data:") || url.starts_with("blob:");
        let requests = self.browser.requests();
        assert!(requests.len() > 3, "{requests:?}");
        // The browser's own first tab.
        let others: Vec<_> = requests
            .into_iter()
            .filter(|url| !own(url) && !url.starts_with("chrome:") && !url.starts_with("about:"))
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

/// Files that a browser saved, gone when dropped.
#[derive(Debug)]
pub struct Downloads(PathBuf);

impl Downloads {
    /// The bytes of the file with this ending, once it is whole.
    ///
    /// # Panics
    /// It does not come within a minute.
    pub fn wait_for(&self, ending: &str) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let files = std::fs::read_dir(&self.0).unwrap().flatten().map(|entry| entry.path());
            if let Some(file) = files.into_iter().find(|file| file.to_string_lossy().ends_with(ending)) {
                return std::fs::read(file).unwrap();
            }
            assert!(Instant::now() < deadline, "no file *.{ending}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Presses the tabulator until the element has the focus, which must be seen.
///
/// # Panics
/// It is not, or cannot be reached.
pub fn tab_to(browser: &Browser, selector: &str) {
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

/// A script that imports the page's own modules.
pub fn in_page(script: &str) -> String {
    format!("return (async () => {{ {script} }})()")
}
