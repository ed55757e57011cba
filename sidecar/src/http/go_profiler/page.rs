//! The page of one profile: its flame graph, its table, and when it will be gone. No script, no style, nothing from elsewhere.

use std::fmt::Write;

use super::{PARTS, PATH};
use crate::capture::Capture;
use crate::profile::{Quality, stamp};

/// What a browser may do with it: show our own pictures.
pub(super) const POLICY: &str =
    "default-src 'none'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page of `capture`; `table` is what its functions come to.
pub(super) fn html(capture: &Capture, quality: &Quality, table: &str) -> String {
    let title = escape(&format!("{} of {}", capture.event, capture.target.name));
    let expires = capture
        .expires_at()
        .map(|at| humantime::format_rfc3339_seconds(at).to_string());
    let below = format!("{PATH}/{}", capture.id);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title></head><body>\n<h1>{title}</h1>\n<p>{}</p>\n",
        escape(&stamp::line(quality))
    );
    let limits = quality
        .degraded
        .iter()
        .map(|sentence| format!("<p>{}</p>\n", escape(sentence)));
    html.extend(limits);
    let expires = expires.unwrap_or_else(|| "never: it is pinned".to_owned());
    let links = PARTS.map(|(name, _)| format!("<a href=\"{below}/{name}\">{name}</a>"));
    let _ = write!(
        html,
        "<p>Expires: {expires}</p>\n<p>{}</p>\n<p><a href=\"{below}/flame.svg\"><img src=\"{below}/flame.svg\" alt=\"flame graph\" width=\"1200\"></a></p>\n\
         <h2>Top</h2>\n<pre>{}</pre>\n</body></html>\n",
        links.join(" · "),
        escape(table)
    );
    html
}

/// Names of functions are the profiled program's own.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn names_are_text() {
        assert_eq!(
            escape("<a href='x'>&\"\n\u{1b}"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\n\u{fffd}"
        );
    }
}
