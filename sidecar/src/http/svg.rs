//! The content security policy of a flame graph: exactly its own script may run.
//!
//! inferno puts one script into the head of the file and `onload` on the root element. Both are allowed by hash; a
//! frame name that got past the escaping, anywhere later in the file, would run nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::digest::sha256_base64;

/// inferno's head is 20 KiB with its script.
const HEAD: usize = 64 << 10;

/// The policy for the flame graph in `file`. Styles need no hash: nothing can be loaded through them.
pub(super) fn policy(file: &File) -> String {
    let mut head = vec![0; HEAD];
    let mut length = 0;
    while let Ok(read) = file.read_at(&mut head[length..], length as u64) {
        if read == 0 {
            break;
        }
        length += read;
    }
    let head = String::from_utf8_lossy(&head[..length]);
    let hash = |text: String| format!("'sha256-{}'", sha256_base64(text.as_bytes()));
    let mut sources: Vec<String> = script(&head).map(hash).into_iter().collect();
    if let Some(handler) = onload(&head) {
        sources.push("'unsafe-hashes'".to_owned());
        sources.push(hash(handler));
    }
    if sources.is_empty() {
        sources.push("'none'".to_owned());
    }
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        sources.join(" ")
    )
}

/// The text of the first script, if it stands before everything that shows names of the target.
fn script(head: &str) -> Option<String> {
    let start = head.find("<script")?;
    if ["<text", "<title", "<g"]
        .iter()
        .any(|element| head[..start].contains(element))
    {
        return None;
    }
    let content = &head[start + head[start..].find('>')? + 1..];
    text_of(&content[..content.find("</script>")?])
}

/// What an XML parser makes of CDATA sections and text; `None` if there is an entity or an element.
fn text_of(mut content: &str) -> Option<String> {
    const OPEN: &str = "<![CDATA[";
    let mut text = String::new();
    loop {
        let (before, after) = content.split_once(OPEN).unwrap_or((content, ""));
        if before.contains(['&', '<']) {
            return None;
        }
        text.push_str(before);
        if before.len() == content.len() {
            // XML 1.0 §2.11: line ends become a line feed.
            return Some(text.replace("\r\n", "\n").replace('\r', "\n"));
        }
        let (data, rest) = after.split_once("]]>")?;
        text.push_str(data);
        content = rest;
    }
}

/// The `onload` attribute of the root element.
fn onload(head: &str) -> Option<String> {
    let root = &head[head.find("<svg")?..];
    let root = &root[..root.find('>')?];
    let (_, value) = root.split_once(" onload=\"")?;
    let (value, _) = value.split_once('"')?;
    (!value.contains('&')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn policy_of(svg: &[u8]) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(svg).unwrap();
        policy(&file)
    }

    fn flame_graph(stack: &str) -> Vec<u8> {
        let mut svg = Vec::new();
        let mut options = inferno::flamegraph::Options::default();
        options.title = "a & b <script>".to_owned();
        inferno::flamegraph::from_lines(&mut options, [stack], &mut svg).unwrap();
        svg
    }

    #[test]
    fn the_policy_of_a_real_flame_graph_allows_its_script_and_its_onload() {
        let svg = String::from_utf8(flame_graph("main;work 3")).unwrap();
        let policy = policy_of(svg.as_bytes());
        // The reference: what stands between the CDATA marks, by another way of cutting.
        let from = svg.find("<script").unwrap();
        let script: String = svg[from..svg.find("</script>").unwrap()]
            .split("<![CDATA[")
            .skip(1)
            .map(|section| section.split("]]>").next().unwrap())
            .collect();
        assert!(script.contains("var nametype") && script.contains("function init(evt)"));
        assert!(
            policy.contains(&format!("'sha256-{}'", sha256_base64(script.as_bytes()))),
            "{policy}"
        );
        let onload = sha256_base64(b"init(evt)");
        assert!(
            policy.contains(&format!("'unsafe-hashes' 'sha256-{onload}'")),
            "{policy}"
        );
        assert!(!policy.contains("script-src 'unsafe-inline'") && policy.starts_with("default-src 'none'"));
    }

    #[test]
    fn a_script_after_names_of_the_target_is_not_allowed() {
        let policy = policy_of(b"<svg><text>x</text><script>evil()</script></svg>");
        assert!(policy.contains("script-src 'none'"), "{policy}");
        assert!(policy_of(b"").contains("script-src 'none'"));
        assert!(policy_of(b"<svg onload=\"a&amp;b\"><script>a&amp;b</script>").contains("script-src 'none'"));
    }

    #[test]
    fn frame_names_do_not_change_the_policy() {
        let hostile = "main;<script>alert(1)</script>;</text><svg onload=\"x()\"> 3";
        assert_eq!(policy_of(&flame_graph(hostile)), policy_of(&flame_graph("main 3")));
    }
}
