//! What every SVG must be: well-formed XML that a browser shows.

use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};

/// Checks one.
pub(crate) fn check(svg: &[u8]) {
    let text = std::str::from_utf8(svg).expect("an SVG of UTF-8");
    characters(text);
    let mut reader = Reader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    let (mut depth, mut roots) = (0_u32, 0_u32);
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(tag) => {
                roots += u32::from(depth == 0);
                depth += 1;
                attributes(&tag);
            }
            Event::Empty(tag) => {
                roots += u32::from(depth == 0);
                attributes(&tag);
            }
            Event::End(_) => depth -= 1,
            Event::Text(text) => {
                let text = text.decode().expect("text");
                assert!(
                    depth > 0 || text.trim().is_empty(),
                    "text outside of the root: {text:?}"
                );
            }
            Event::GeneralRef(name) => {
                let char = name.resolve_char_ref().expect("a character");
                let known = ["lt", "gt", "amp", "quot", "apos"];
                assert!(
                    char.is_some() || known.contains(&&*name.decode().expect("a name")),
                    "{name:?}"
                );
                char.iter().copied().for_each(character);
            }
            Event::Eof => break,
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    assert_eq!((depth, roots), (0, 1), "one root");
}

fn attributes(tag: &quick_xml::events::BytesStart<'_>) {
    for attribute in tag.attributes() {
        let value = attribute
            .expect("an attribute")
            .normalized_value(XmlVersion::Implicit1_0)
            .expect("a value");
        characters(&value);
    }
}

fn characters(text: &str) {
    text.chars().for_each(character);
}

/// XML 1.0, production 2: whatever is not in it ends the parser of a browser.
fn character(char: char) {
    let allowed = matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(allowed, "{char:?} is no character of XML");
}
