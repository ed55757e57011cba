//! The content security policy of a flame graph: inferno's script may run and nothing else.
//!
//! The script depends on the options of our renderer alone, so its hash is a constant: no artifact has a say in what may
//! run in it. A script that a hostile name or a deceived renderer brought into a file does not run.

/// The policy of every flame graph. `script-src` names what is between the script's tags, then the root's `onload`, which
/// needs `unsafe-hashes`. Styles need no hash: nothing can be loaded through them.
///
/// When inferno is updated, the test below says what belongs here.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'sha256-29lbZGctmZWItQ7/1xsrFjrBW0xQDnkumiXT6k2tUWk=' \
     'unsafe-hashes' 'sha256-WiAVSnuYekflqQvM3Bgx4QYmF4g+iml28eRUaqE8Qeo='; style-src 'unsafe-inline'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use quick_xml::Reader;
    use quick_xml::events::Event;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::format::{Format, RecordingKind};
    use crate::profile::diff::Base;
    use crate::profile::diff::compare::{CompareOptions, Input, compare};
    use crate::profile::{Names, RenderOptions, View, render};

    fn options(title: &str) -> RenderOptions {
        RenderOptions {
            format: Format::Svg,
            quality: None,
            sample_type: None,
            title: title.to_owned(),
            collapsed: None,
            names: Names::default(),
            event: None,
            view: View::default(),
        }
    }

    fn flame_graph(title: &str, stacks: &[u8]) -> String {
        let mut svg = Vec::new();
        render(stacks, RecordingKind::Collapsed, &options(title), &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    }

    fn difference(before: &[u8], after: &[u8], base: Base) -> String {
        let input = |recording| Input {
            recording,
            kind: RecordingKind::Collapsed,
            options: options("<script>a()</script>"),
        };
        let how = CompareOptions {
            format: Format::Svg,
            normalise: None,
            base,
        };
        let mut svg = Vec::new();
        compare(input(before), input(after), &how, &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    }

    /// What a browser's XML parser would run: the text of every script and every attribute that is a handler.
    fn code(svg: &str) -> Vec<String> {
        let (mut code, mut script) = (Vec::new(), None::<String>);
        let mut reader = Reader::from_str(svg);
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) => {
                    let attributes = tag.attributes().map(Result::unwrap);
                    let handlers = attributes.filter(|attribute| attribute.key.as_ref().starts_with(b"on"));
                    code.extend(handlers.map(|handler| String::from_utf8(handler.value.into_owned()).unwrap()));
                    if tag.name().as_ref() == b"script" {
                        script = Some(String::new());
                    }
                }
                Event::CData(text) => script
                    .iter_mut()
                    .for_each(|script| script.push_str(&text.decode().unwrap())),
                Event::Text(text) => script
                    .iter_mut()
                    .for_each(|script| script.push_str(&text.decode().unwrap())),
                Event::End(tag) if tag.name().as_ref() == b"script" => code.extend(script.take()),
                Event::Eof => return code,
                _ => {}
            }
        }
    }

    #[test]
    fn the_policy_is_that_of_every_flame_graph_of_ours() {
        let hostile = b"main_[j];<script>alert(1)</script>;</text><svg onload=\"x()\">;[break_stub] 3\n";
        for svg in [
            flame_graph("cpu", b"main;work 3\n"),
            flame_graph("<script>a()</script>", hostile),
            difference(hostile, b"main;work 3\n", Base::After),
            difference(hostile, b"main;work 3\n", Base::Before),
        ] {
            let code = code(&svg);
            let (onload, script) = (&code[0], &code[1]);
            assert!(script.contains("function init(evt)") && onload == "init(evt)");
            let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
            let sources = format!(
                "script-src 'sha256-{}' 'unsafe-hashes' 'sha256-{}'; ",
                hash(script),
                hash(onload)
            );
            assert!(
                POLICY.contains(&sources),
                "inferno's script has changed; the policy needs {sources}"
            );
            assert_eq!(code.len(), 2, "{:?}", &code[2..]);
        }
        assert_eq!(code(&flame_graph("nothing", b"")), [""; 0]);
    }
}
