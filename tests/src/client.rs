//! A small HTTP client of one `sideflame serve`.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Speaks to one server.
#[derive(Debug, Clone)]
pub struct Client {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
}

/// An HTTP answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// An answer that is still coming.
pub struct Streamed(BufReader<Box<dyn Read>>);

impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").finish_non_exhaustive()
    }
}

impl Streamed {
    /// The next line, without its end.
    ///
    /// # Panics
    /// There is none, or it does not come within a minute.
    pub fn line(&mut self) -> String {
        self.next_line().expect("the answer has ended")
    }

    /// The next line, without its end; `None` after the last.
    ///
    /// # Panics
    /// It does not come within a minute.
    pub fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("a line");
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header, empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// A header that is a number.
    ///
    /// # Panics
    /// It is none.
    pub fn number(&self, name: &str) -> f64 {
        let text = self.header(name);
        text.parse()
            .unwrap_or_else(|_| panic!("{name}: {text:?} of {:?}", self.headers))
    }

    /// The `code` of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The same answer, after a check.
    ///
    /// # Panics
    /// It is no 200.
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// The same answer, after a check that it is the artifact to the last byte.
    ///
    /// # Panics
    /// It is no 200, or its length or its SHA-256 are not what the headers say.
    pub fn whole(self) -> Self {
        let answer = self.ok();
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        let digest = Sha256::digest(&answer.body);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(answer.header("etag"), format!("\"sha256-{digest}\""));
        answer
    }
}

impl Client {
    /// `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[])
    }

    /// Any request without a body.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.try_send(method, path, headers)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A request whose body is JSON.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn send_json(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.try_send_body(method, path, &headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Any request without a body.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        self.try_send_body(method, path, headers, ())
    }

    /// `POST path` with a body.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn post(&self, path: &str, body: Vec<u8>) -> Answer {
        self.try_send_body("POST", path, &[], body)
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Any request with headers and a body.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn send_bytes(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        self.try_send_body(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_send_body(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl ureq::AsSendBody,
    ) -> Result<Answer, ureq::Error> {
        // Beyond the longest capture of any test, ten minutes.
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(900)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = agent.run(request.body(body).expect("a valid request"))?;
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let mut body = Vec::new();
        answer.body_mut().as_reader().read_to_end(&mut body)?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers,
            body,
        })
    }

    /// `GET path`, of whose body each line is wanted when it comes. Dropping it is hanging up.
    ///
    /// # Panics
    /// The server does not answer, or with no 200.
    pub fn streamed(&self, path: &str) -> Streamed {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let answer = agent.get(format!("{}{path}", self.url)).call();
        let answer = answer.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        Streamed(BufReader::new(Box::new(answer.into_body().into_reader())))
    }

    /// Waits until capture `id` is in one of `phases` or statuses.
    ///
    /// # Panics
    /// It is not within 90 s: a stopped target is given up after one minute.
    pub fn wait_for(&self, id: &str, states: &[&str]) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let capture = self.get(&format!("/captures/{id}")).ok().json();
            let is = |key: &str| capture[key].as_str().is_some_and(|state| states.contains(&state));
            if is("status") || is("phase") {
                return capture;
            }
            assert!(Instant::now() < deadline, "still {capture}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts a capture by `POST /captures?query` and gives its id.
    ///
    /// # Panics
    /// It is not accepted.
    pub fn capture(&self, query: &str) -> String {
        let answer = self.send("POST", &format!("/captures?{query}"), &[]);
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer
            .header("location")
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(!id.is_empty());
        id
    }
}
