//! The web page: static files of the binary, without a build step. What it shows it asks the API for.
//!
//! Every pod is the same origin to a browser, `localhost:7117`, so a file is asked for anew each time and is not sent where the browser has it.
//! The files need no token: there is nothing in them, and a browser cannot send one before the page asks for it.

use std::io::Write;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::accept::Accept;
use super::problem::{NOT_MODIFIED, OK, no_such_path};
use super::{Problem, artifact, gzip, minify};

/// Where the files are, beside the page itself.
const FOLDER: &str = "/ui/";

/// What the page may do: run its own scripts and ask us. Text that became markup by mistake could do nothing, and cannot become it in
/// browsers that know trusted types.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file as it was written.
#[derive(Debug)]
struct Source {
    name: &'static str,
    text: &'static str,
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        [$(Source { name: $name, text: include_str!(concat!("ui/", $name)) }),*]
    };
}

/// The scripts: the first has what others need when they are read, the last one starts the page.
const SCRIPTS: &[Source] = &sources![
    "kinds.js",
    "api.js",
    "capture.js",
    "captures.js",
    "columns.js",
    "details.js",
    "diff.js",
    "dom.js",
    "draw.js",
    "flame.js",
    "help.js",
    "hide.js",
    "names.js",
    "numbers.js",
    "pod.js",
    "problem.js",
    "process.js",
    "progress.js",
    "route.js",
    "search.js",
    "strip.js",
    "tables.js",
    "viewer.js",
    "main.js",
];

const OTHERS: &[Source] = &sources!["page.html", "page.css", "icon.svg"];

const PAGE: &str = "page.html";

/// A file as it is sent: all scripts are one, as each request through a port-forward costs more than its bytes.
#[derive(Debug)]
struct File {
    name: &'static str,
    plain: Bytes,
    compressed: Bytes,
    /// SHA-256 of the plain bytes, in hexadecimal digits.
    digest: String,
}

/// Compressed once, at the first request for one of them.
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let script = minify::script(SCRIPTS.iter().map(|source| source.text));
    let others = OTHERS.iter().map(|Source { name, text }| match name.ends_with(".css") {
        true => File::of(name, minify::style(text)),
        false => File::of(name, (*text).to_owned()),
    });
    others.chain([File::of("page.js", script)]).collect()
});

impl File {
    fn of(name: &'static str, text: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let compressed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
        let digest = Sha256::digest(&text);
        Self {
            name,
            plain: text.into(),
            // Into memory it cannot fail.
            compressed: compressed.unwrap_or_default().into(),
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        }
    }
}

/// A file of the page.
pub(super) async fn file(request: Request) -> Result<Response, Problem> {
    let name = request.uri().path().strip_prefix(FOLDER);
    match FILES.iter().find(|file| Some(file.name) == name) {
        Some(file) => Ok(answer(file, request.headers())),
        None => Err(no_such_path(request).await),
    }
}

/// The page itself, for whoever wants HTML.
pub(super) fn page(headers: &HeaderMap) -> Option<Response> {
    let accept = Accept::of(headers);
    let wanted = accept.names("text/html") && !accept.prefers_text();
    let page = FILES.iter().find(|file| wanted && file.name == PAGE)?;
    Some(answer(page, headers))
}

/// Whether a request is for the page or one of its files, which are the same for everyone.
pub(super) fn is_public(request: &Request) -> bool {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    is_read && (path.starts_with(FOLDER) || path == "/" && Accept::of(request.headers()).names("text/html"))
}

fn answer(file: &File, headers: &HeaderMap) -> Response {
    let compressed = gzip::is_accepted(headers);
    let etag = format!("\"{}{}\"", file.digest, if compressed { "-gzip" } else { "" });
    let mut said = HeaderMap::new();
    said.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    said.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    said.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Ok(etag) = HeaderValue::try_from(etag.as_str()) {
        said.insert(ETAG, etag);
    }
    let mut known = headers.get_all(IF_NONE_MATCH).iter();
    if known.any(|value| artifact::names(value, &etag)) {
        return (NOT_MODIFIED, said).into_response();
    }
    said.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type()));
    if !compressed {
        return (OK, said, Body::from(file.plain.clone())).into_response();
    }
    said.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    (OK, said, Body::from(file.compressed.clone())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> impl Iterator<Item = &'static Source> {
        SCRIPTS.iter().chain(OTHERS)
    }

    #[test]
    fn every_file_of_the_folder_is_sent_and_all_together_are_small() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/ui");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut sent: Vec<_> = sources().map(|source| source.name).collect();
        there.sort();
        sent.sort_unstable();
        assert_eq!(there, sent);
        let plain: usize = FILES.iter().map(|file| file.plain.len()).sum();
        let compressed: usize = FILES.iter().map(|file| file.compressed.len()).sum();
        eprintln!("{plain} bytes, {compressed} compressed");
        assert!(
            plain <= 90 << 10 && compressed <= 40_000,
            "{plain} bytes, {compressed} compressed"
        );
    }

    /// What makes one script of them has no parser.
    #[test]
    fn the_scripts_are_written_so_that_they_can_be_made_one() {
        let mut known = std::collections::HashMap::new();
        for Source { name, text } in SCRIPTS {
            for line in text.lines() {
                let texts = line.matches('`').count();
                assert!(texts.is_multiple_of(2), "{name}: a text longer than its line: {line}");
                assert!(
                    !line.starts_with("import ") || line.starts_with("import { ") && line.ends_with(".js\";"),
                    "{name}: {line}"
                );
                let line = line.trim_start_matches("export ").trim_start_matches("async ");
                let declared = ["const ", "let ", "function ", "function* ", "class "];
                let Some(rest) = declared.iter().find_map(|word| line.strip_prefix(word)) else {
                    continue;
                };
                let end = rest.find(|one: char| !one.is_alphanumeric() && one != '_');
                let first = known.insert(&rest[..end.unwrap_or(rest.len())], name);
                assert!(first.is_none(), "{rest} is in {name} and {first:?}");
            }
        }
    }

    #[test]
    fn no_file_names_another_server_or_makes_markup_of_text() {
        for Source { name, text } in sources() {
            for never in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "new Function",
                "http:",
                "https:",
                " style=",
                // What moves by itself makes some people ill.
                "animation:",
                "transition:",
            ] {
                let is_svg_namespace = *name == "icon.svg" && never == "http:";
                assert!(is_svg_namespace || !text.contains(never), "{name} has {never}");
            }
        }
    }
}
