//! The query string of a request. What was read and written is read back, and becomes an order or a reason why not.

use sideflame::capture::CaptureRequest;
use sideflame::http::fuzz::query;
use sideflame::runtime::dotnet::provider_syntax::{parse_provider, split_list};

use crate::Seed;

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(pairs) = query(&text) else { return };
    order(&pairs);
    // Percent signs take three bytes for one: what is written may be longer than what is read.
    let written = written(&pairs);
    if let Ok(again) = query(&written) {
        assert_eq!(again, pairs);
    } else {
        assert!(written.len() > text.len());
    }
    for provider in pairs.iter().flat_map(|(_, value)| split_list(value)) {
        let _ = parse_provider(provider);
    }
}

/// Pairs of text become an order, or an error that can be shown.
pub(crate) fn order(pairs: &[(String, String)]) {
    const MOST_SECONDS: u64 = 3600;
    match CaptureRequest::parse(pairs, MOST_SECONDS) {
        Ok(request) => assert!((1..=MOST_SECONDS).contains(&request.seconds)),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control) && text.len() < 4096, "{text:?}");
        }
    }
}

fn written(pairs: &[(String, String)]) -> String {
    let encoded = |text: &String| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
                other => format!("%{other:02x}"),
            })
            .collect::<String>()
    };
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub(crate) fn seeds() -> Vec<Seed> {
    let every: Vec<String> = CaptureRequest::parameters()
        .map(|(_, parameter)| format!("{}={}", parameter.name, parameter.default.unwrap_or("1")))
        .collect();
    vec![
        ("profile", b"name=shop&seconds=30&event=cpu&format=svg".to_vec()),
        ("every", every.join("&").into_bytes()),
        ("decoded", b"a=b+c&threads&&x=1=2&name=%C3%a9%20%26".to_vec()),
        ("units", b"pid=7&seconds=2m&include=a*&include=b&exclude=c".to_vec()),
        (
            "providers",
            b"providers=Microsoft-Windows-DotNETRuntime:0x4c14fccbd:5:a=b;c=%22d,e%22,Other::verbose".to_vec(),
        ),
    ]
}
