use std::io::{Read, Write};

use axum::http::StatusCode;
use http_body_util::BodyExt;

use super::*;
use crate::profile::Quality;
use crate::profile::quality::Clock;

const CONTENT: &[u8] = b"0123456789";

fn quality() -> Quality {
    Quality {
        sampler: Some("async-profiler 4.6 cpu\r\nX-Evil: 1 ✗".to_owned()),
        interval: 10_000_000,
        interval_unit: "nanoseconds".to_owned(),
        clock: Some(Clock::Cpu),
        samples: Some(2962),
        lost: Some(0),
        unresolved: Some(0.0123),
        pid: Some(17),
        process: Some("shop".to_owned()),
        pod: Some("prod/shop-1".to_owned()),
        runtime: Some("jvm 17".to_owned()),
        event: Some("cpu".to_owned()),
        started_at_ms: Some(0),
        duration_ms: Some(30_000),
        degraded: vec!["no kernel frames".to_owned(), "ctimer".to_owned()],
        ..Quality::default()
    }
}

fn artifact_of(content: &[u8], format: Format) -> Artifact {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    Artifact::of_file(file, format, quality())
}

fn ask_of(content: &[u8], method: &Method, conditions: &[(&str, &str)]) -> Result<Response, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in conditions {
        headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    kept(
        artifact_of(content, Format::Pprof),
        Some("0123"),
        &Disposition::Inline,
        method,
        &headers,
    )
}

fn ask(conditions: &[(&str, &str)]) -> Response {
    ask_of(CONTENT, &Method::GET, conditions).unwrap()
}

async fn bytes(response: Response) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[test]
fn a_body_keeps_its_place_in_the_store_until_it_is_dropped() {
    let artifact = artifact_of(CONTENT, Format::Pprof);
    let lease = artifact.lease.watch();
    let response = fresh(artifact, "0123", &Disposition::Inline).unwrap();
    assert_eq!(lease.strong_count(), 1);
    drop(response);
    assert_eq!(lease.strong_count(), 0);
}

async fn part(range: &str) -> (u16, Option<String>, Vec<u8>) {
    match ask_of(CONTENT, &Method::GET, &[("range", range)]) {
        Ok(response) => {
            let content_range = response.headers().get(CONTENT_RANGE);
            let content_range = content_range.map(|value| value.to_str().unwrap().to_owned());
            let length: usize = response.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
            let status = response.status().as_u16();
            let bytes = bytes(response).await;
            assert_eq!(bytes.len(), length, "{range}");
            (status, content_range, bytes)
        }
        Err(problem) => {
            let response = problem.into_response();
            let content_range = response.headers()[CONTENT_RANGE].to_str().unwrap().to_owned();
            (response.status().as_u16(), Some(content_range), Vec::new())
        }
    }
}

fn is(status: u16, content_range: &str, bytes: &str) -> (u16, Option<String>, Vec<u8>) {
    (status, Some(content_range.to_owned()), bytes.as_bytes().to_vec())
}

#[tokio::test]
async fn one_range_gives_its_part() {
    assert_eq!(part("bytes=0-0").await, is(206, "bytes 0-0/10", "0"));
    assert_eq!(part("bytes=2-5").await, is(206, "bytes 2-5/10", "2345"));
    assert_eq!(part("bytes=7-").await, is(206, "bytes 7-9/10", "789"));
    assert_eq!(part("bytes=-3").await, is(206, "bytes 7-9/10", "789"));
    assert_eq!(part("bytes=-99").await, is(206, "bytes 0-9/10", "0123456789"));
    assert_eq!(
        part("bytes=5-99999999999999999999999").await,
        is(206, "bytes 5-9/10", "56789")
    );
}

#[tokio::test]
async fn a_range_behind_the_end_is_refused_with_the_length() {
    for beyond in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
        assert_eq!(part(beyond).await, is(416, "bytes */10", ""), "{beyond}");
    }
    for any in ["bytes=0-", "bytes=-1", "bytes=0-5"] {
        let empty = ask_of(b"", &Method::GET, &[("range", any)]);
        assert_eq!(empty.unwrap_err().code(), "range_not_satisfiable", "{any}");
    }
}

#[tokio::test]
async fn what_is_no_single_range_gives_the_whole() {
    for other in [
        "bytes=0-1,3-4",
        "bytes=5-2",
        "items=0-1",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-b",
        "bytes=+1-2",
    ] {
        assert_eq!(part(other).await, (200, None, CONTENT.to_vec()), "{other}");
    }
    let response = ask_of(CONTENT, &Method::HEAD, &[("range", "bytes=2-3")]).unwrap();
    assert_eq!(
        (response.status(), &response.headers()[CONTENT_LENGTH]),
        (StatusCode::OK, &"10".parse().unwrap())
    );
}

#[tokio::test]
async fn a_range_of_another_version_gives_the_whole() {
    let etag = ask(&[]).headers()[ETAG].to_str().unwrap().to_owned();
    assert!(etag.starts_with("\"sha256-84d89877") && etag.ends_with('"'), "{etag}");
    let status = |if_range: &str| ask(&[("range", "bytes=1-2"), ("if-range", if_range)]).status();
    assert_eq!(status(&etag), StatusCode::PARTIAL_CONTENT);
    for other in ["\"sha256-00\"", "Sat, 21 Nov 2026 03:00:00 GMT", &format!("W/{etag}")] {
        assert_eq!(status(other), StatusCode::OK, "{other}");
    }
}

#[tokio::test]
async fn who_has_it_gets_no_bytes() {
    let etag = ask(&[]).headers()[ETAG].to_str().unwrap().to_owned();
    for same in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
        let response = ask(&[("if-none-match", &same), ("range", "bytes=0-1")]);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{same}");
        assert_eq!(response.headers()[ETAG], etag);
        assert_eq!(bytes(response).await, b"");
    }
    assert_eq!(ask(&[("if-none-match", "\"x\"")]).status(), StatusCode::OK);
}

#[tokio::test]
async fn the_quality_stamp_and_the_digest_are_in_the_headers() {
    let response = ask(&[]);
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    let digest = "hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=";
    assert_eq!(header("repr-digest"), format!("sha-256=:{digest}:"));
    assert_eq!(header("sideflame-capture"), "0123");
    assert_eq!(header("sideflame-sampler"), "async-profiler 4.6 cpu??X-Evil: 1 ?");
    assert_eq!(header("sideflame-samples"), "2962");
    assert_eq!(header("sideflame-lost"), "0");
    assert_eq!(header("sideflame-unresolved"), "0.0123");
    assert_eq!(header("sideflame-degraded"), "no kernel frames; ctimer");
    assert_eq!(
        header("content-disposition"),
        "inline; filename=\"shop_cpu_17_20260101T000000Z.pb.gz\""
    );
    assert_eq!(header("cache-control"), "private, no-cache");
    assert_eq!(header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn the_artifact_of_a_waiting_request_has_no_ranges_but_an_address() {
    let response = fresh(
        artifact_of(b"<svg/>", Format::Svg),
        "0123",
        &Disposition::Named("profile".to_owned()),
    )
    .unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(header("content-location"), "/captures/0123/artifact?format=svg");
    assert_eq!(header("accept-ranges"), "none");
    assert_eq!(header("content-disposition"), "attachment; filename=\"profile\"");
    assert_eq!(header("content-type"), "image/svg+xml");
    assert_eq!(header("content-security-policy"), svg::POLICY);
    assert_eq!(bytes(response).await, b"<svg/>");
}

#[tokio::test]
async fn a_file_larger_than_the_buffer_arrives_whole() {
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let response = ask_of(&content, &Method::GET, &[("range", "bytes=1000-1199999")]).unwrap();
    assert_eq!(response.headers()[CONTENT_RANGE], "bytes 1000-1199999/1200000");
    assert!(bytes(response).await == content[1000..]);
}

#[test]
fn no_svg_has_a_say_in_what_may_run_in_it() {
    let forged = b"<svg onload=\"evil()\"><script>evil()</script></svg>";
    for content in [&forged[..], b"<svg/>", b""] {
        let response = kept(
            artifact_of(content, Format::Svg),
            Some("0123"),
            &Disposition::Inline,
            &Method::GET,
            &HeaderMap::new(),
        )
        .unwrap();
        assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], svg::POLICY);
    }
}

/// The tree of a flame graph, for a client with these headers.
fn columns(method: &Method, conditions: &[(&str, &str)]) -> (Response, Vec<u8>) {
    let content: Vec<u8> = (0..50_000_u32)
        .flat_map(|number| (number / 100).to_le_bytes())
        .collect();
    let mut headers = HeaderMap::new();
    for (name, value) in conditions {
        headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    let artifact = artifact_of(&content, Format::Flame);
    let response = kept(artifact, Some("0123"), &Disposition::Inline, method, &headers);
    (response.unwrap(), content)
}

#[tokio::test]
async fn a_tree_is_compressed_for_who_takes_that_and_has_a_tag_of_its_own() {
    let (plain, content) = columns(&Method::GET, &[]);
    let header = |response: &Response, name: &str| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(
        header(&plain, "content-type").as_deref(),
        Some("application/vnd.sideflame.flame")
    );
    assert_eq!(header(&plain, "content-length"), Some(content.len().to_string()));
    assert_eq!(
        (header(&plain, "vary").as_deref(), header(&plain, "content-encoding")),
        (Some("Accept-Encoding"), None)
    );
    let etag = header(&plain, "etag").unwrap();
    assert!(bytes(plain).await == content);

    let gzip = ("accept-encoding", "gzip, deflate, br");
    let (compressed, _) = columns(&Method::GET, &[gzip]);
    assert_eq!(header(&compressed, "content-encoding").as_deref(), Some("gzip"));
    assert_eq!(header(&compressed, "vary").as_deref(), Some("Accept-Encoding"));
    for absent in ["content-length", "repr-digest"] {
        assert_eq!(header(&compressed, absent), None, "{absent}");
    }
    let own = header(&compressed, "etag").unwrap();
    assert_ne!(own, etag);
    let sent = bytes(compressed).await;
    let mut read = Vec::new();
    Read::read_to_end(&mut flate2::read::GzDecoder::new(sent.as_slice()), &mut read).unwrap();
    assert!(read == content && sent.len() * 4 < content.len(), "{}", sent.len());

    for (conditions, status) in [
        (&[gzip, ("if-none-match", own.as_str())][..], StatusCode::NOT_MODIFIED),
        (&[("if-none-match", etag.as_str())], StatusCode::NOT_MODIFIED),
        (&[gzip, ("if-none-match", etag.as_str())], StatusCode::OK),
        (&[("if-none-match", own.as_str())], StatusCode::OK),
        (&[gzip, ("range", "bytes=0-3")], StatusCode::PARTIAL_CONTENT),
        // What was begun compressed is not continued by bytes that are not.
        (
            &[gzip, ("range", "bytes=9-"), ("if-range", own.as_str())],
            StatusCode::OK,
        ),
    ] {
        let (response, _) = columns(&Method::GET, conditions);
        assert_eq!(response.status(), status, "{conditions:?}");
        if status == StatusCode::PARTIAL_CONTENT {
            assert_eq!(header(&response, "content-encoding"), None);
            assert_eq!(bytes(response).await, content[..4]);
        } else if status == StatusCode::NOT_MODIFIED {
            assert_eq!(header(&response, "content-encoding"), None);
            assert_eq!(bytes(response).await, b"");
        }
    }
    let (head, _) = columns(&Method::HEAD, &[gzip]);
    assert_eq!(
        (header(&head, "content-encoding").as_deref(), header(&head, "etag")),
        (Some("gzip"), Some(own))
    );
}

#[test]
fn nothing_but_a_tree_is_compressed() {
    let response = ask(&[("accept-encoding", "gzip")]);
    for absent in [CONTENT_ENCODING, VARY] {
        assert_eq!(response.headers().get(&absent), None, "{absent}");
    }
}
