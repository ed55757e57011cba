//! Every path, through the router as a client meets it. One file of more than 500 lines: what is refused, and with which words, is
//! easiest compared side by side.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::capture::{CaptureError, CaptureRequest, Settings};
use crate::child::ChildError;
use crate::format::Format;
use crate::runtime::RuntimeSettings;

/// A router over an empty store. Nothing that inspects processes may be asked: the inspector child would be this test
/// binary.
fn api(guard: GuardSettings) -> (Router, tempfile::TempDir) {
    let (routers, directory) = apis(guard);
    (routers.0, directory)
}

/// The same, and what scrapers see.
fn apis(guard: GuardSettings) -> ((Router, Router), tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        runtimes: RuntimeSettings::default(),
        container_logs: None,
        max_seconds: 600,
        max_running: 2,
        store_directory: Some(directory.path().to_owned()),
        keeps: false,
        store_bytes: 1 << 20,
        store_captures: 4,
        expiry: std::time::Duration::from_secs(60),
    };
    (routers(Captures::new(settings).unwrap(), guard), directory)
}

async fn send_to(guard: GuardSettings, request: Request<Body>) -> Response {
    let (router, _directory) = api(guard);
    router.oneshot(request).await.unwrap()
}

async fn send(method: Method, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut request = Request::builder().method(method).uri(uri);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:7117");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send_to(GuardSettings::default(), request.body(body.into()).unwrap()).await
}

async fn get_with(uri: &str, headers: &[(&str, &str)]) -> Response {
    send(Method::GET, uri, headers, Body::empty()).await
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn problem(response: Response) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let text = text(response).await;
    assert_eq!(text.len(), length);
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail", "instance", "code", "remedy"] {
        assert!(!problem[member].as_str().unwrap().is_empty(), "{member} in {problem}");
    }
    problem
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    (status, problem(response).await["code"].as_str().unwrap().to_owned())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn only_loopback_names_are_served() {
    for good in ["localhost:8080", "127.0.0.1:7117", "[::1]", "a.localhost"] {
        assert_eq!(
            get_with("/healthz", &[("host", good)]).await.status(),
            StatusCode::OK,
            "{good}"
        );
    }
    for bad in ["evil.example", "10.1.2.3:7117", ""] {
        assert_eq!(
            code(get_with("/healthz", &[("host", bad)]).await).await,
            is(403, "foreign_host"),
            "{bad}"
        );
    }
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(code(get_with("/healthz", &twice).await).await, is(403, "foreign_host"));
    let absolute = get_with("http://evil.example/healthz", &[("host", "localhost")]).await;
    assert_eq!(code(absolute).await, is(403, "foreign_host"));
    let none = Request::builder().uri("/healthz").body(Body::empty()).unwrap();
    assert_eq!(
        code(send_to(GuardSettings::default(), none).await).await,
        is(403, "foreign_host")
    );
}

#[tokio::test]
async fn other_pages_start_nothing_and_read_nothing() {
    let refused: &[&[(&str, &str)]] = &[
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "new-in-2030")],
        &[("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
        &[("origin", "http://localhost:3000")],
        &[("origin", "null")],
        &[("origin", "http://localhost:7117"), ("origin", "null")],
        &[("referer", "http://localhost:3000/page")],
        &[("sec-fetch-site", "none"), ("sec-purpose", "prefetch;prerender")],
    ];
    for headers in refused {
        for path in ["/healthz", "/profile", "/captures"] {
            assert_eq!(
                code(get_with(path, headers).await).await,
                is(403, "cross_site_request"),
                "{headers:?}"
            );
        }
        let post = send(Method::POST, "/captures", headers, "").await;
        assert_eq!(code(post).await, is(403, "cross_site_request"), "{headers:?}");
    }
    let allowed: &[&[(&str, &str)]] = &[
        &[],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:7117")],
        &[("referer", "http://localhost:7117/captures")],
    ];
    for headers in allowed {
        assert_eq!(
            get_with("/captures", headers).await.status(),
            StatusCode::OK,
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_link_may_lead_to_the_page_only_as_a_navigation() {
    let link = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    assert_eq!(get_with("/", &link).await.status(), StatusCode::OK);
    for (at, other) in [(1, "no-cors"), (2, "iframe"), (2, "image")] {
        let mut headers = link;
        headers[at].1 = other;
        assert_eq!(
            code(get_with("/", &headers).await).await,
            is(403, "cross_site_request"),
            "{other}"
        );
    }
    let post = send(Method::POST, "/", &link, "").await;
    assert_eq!(post.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn browsers_get_the_page_and_curl_the_index() {
    const BROWSER: (&str, &str) = (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    );
    let page = get_with("/", &[BROWSER]).await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers()["cache-control"], "no-cache");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.contains("script-src 'self';") && !policy.contains("unsafe"),
        "{policy}"
    );
    let etag = page.headers()["etag"].to_str().unwrap().to_owned();
    assert!(text(page).await.contains("/ui/page.js"));
    let known = get_with("/", &[BROWSER, ("if-none-match", &etag)]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    for plain in [
        &[][..],
        &[("accept", "*/*")],
        &[("accept", "text/plain, text/html;q=0.5")],
    ] {
        let index = get_with("/", plain).await;
        assert!(text(index).await.starts_with("sideflame "), "{plain:?}");
    }
    let script = get_with("/ui/page.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!(script.headers()["content-encoding"], "gzip");
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    for missing in ["/ui/", "/ui/nothing.js", "/ui/..%2fui.rs"] {
        assert_eq!(
            code(get_with(missing, &[]).await).await,
            is(404, "no_such_path"),
            "{missing}"
        );
    }
}

#[tokio::test]
async fn with_a_token_only_healthz_and_the_files_of_the_page_are_open() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "s3cret-0123456789").unwrap();
    let token = Token::of_file(file.path()).unwrap();
    let guard = |any| GuardSettings {
        allow_any_host: any,
        token: Some(token.clone()),
    };
    let ask = |path: &str, authorization: &str| {
        let request = Request::builder().uri(path).header("host", "10.1.2.3:7117");
        request
            .header("authorization", authorization)
            .body(Body::empty())
            .unwrap()
    };
    for open in ["/healthz", "/ui/page.js"] {
        assert_eq!(
            send_to(guard(true), ask(open, "")).await.status(),
            StatusCode::OK,
            "{open}"
        );
    }
    assert_eq!(
        code(send_to(guard(true), ask("/", "")).await).await,
        is(401, "unauthorized")
    );
    for right in ["Bearer s3cret-0123456789", "bearer s3cret-0123456789"] {
        assert_eq!(
            send_to(guard(true), ask("/captures", right)).await.status(),
            StatusCode::OK
        );
    }
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cret-012345678",
        "Bearer s3cret-01234567890",
        "Basic s3cret-0123456789",
        "s3cret-0123456789",
    ] {
        let response = send_to(guard(true), ask("/captures", wrong)).await;
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"sideflame\"");
        assert_eq!(code(response).await, is(401, "unauthorized"), "{wrong}");
    }
    let elsewhere = send_to(guard(false), ask("/captures", "Bearer s3cret-0123456789")).await;
    assert_eq!(code(elsewhere).await, is(403, "foreign_host"));
}

#[tokio::test]
async fn scrapers_of_other_pods_see_metrics_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "s3cret-0123456789").unwrap();
    for token in [None, Some(Token::of_file(file.path()).unwrap())] {
        let without = if token.is_some() {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::OK
        };
        let ((_, metrics), _directory) = apis(GuardSettings {
            allow_any_host: false,
            token,
        });
        let ask = async |path: &str, authorization: &str| {
            let request = Request::builder().uri(path).header("host", "10.1.2.3:7118");
            let request = request.header("authorization", authorization);
            let request = request.body(Body::empty()).unwrap();
            metrics.clone().oneshot(request).await.unwrap().status()
        };
        let token = "Bearer s3cret-0123456789";
        assert_eq!(ask("/metrics", token).await, StatusCode::OK);
        assert_eq!(ask("/metrics", "").await, without);
        for path in ["/", "/captures", "/profile", "/processes", "/debug/pprof/", "/counters"] {
            assert_eq!(ask(path, token).await, StatusCode::NOT_FOUND, "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_that_was_exchanged_opens_nothing_any_more() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "0123456789-first").unwrap();
    let token = Some(Token::of_file(file.path()).unwrap());
    let (router, _directory) = api(GuardSettings {
        allow_any_host: false,
        token,
    });
    let ask = async |token: &str| {
        let request = Request::builder().uri("/captures").header("host", "localhost:7117");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask("0123456789-first").await, StatusCode::OK);
    std::fs::write(&file, "0123456789-other").unwrap();
    assert_eq!(ask("0123456789-first").await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("0123456789-other").await, StatusCode::OK);
    // Nor does anything without a token in the file.
    std::fs::write(&file, "").unwrap();
    for given in ["", "0123456789-first", "0123456789-other"] {
        assert_eq!(ask(given).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_none_of_cors() {
    for path in [
        "/",
        "/healthz",
        "/nowhere",
        "/captures/x/artifact",
        "/profile?seconds=0",
        "/openapi.json",
    ] {
        let response = get_with(path, &[]).await;
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(
            headers["content-security-policy"]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'"),
            "{path}"
        );
        assert!(
            !headers.keys().any(|name| name.as_str().starts_with("access-control")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_problems() {
    let response = get_with("/nowhere", &[]).await;
    let body = problem(response).await;
    assert_eq!(
        (body["code"].as_str(), body["instance"].as_str()),
        (Some("no_such_path"), Some("/nowhere"))
    );
    assert_eq!(body["type"], "tag:sideflame.io,2026:problem/no_such_path");
    let response = send(Method::DELETE, "/profile", &[], "").await;
    let allow = response.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET"), "{allow}");
    assert_eq!(code(response).await, is(405, "method_not_allowed"));
    for id in ["0123456789abcdef", "x", "%ff", "..%2f..%2fetc"] {
        let response = get_with(&format!("/captures/{id}"), &[]).await;
        assert_eq!(code(response).await, is(404, "no_such_capture"), "{id}");
    }
    for (method, path) in [(Method::DELETE, "/captures/x"), (Method::POST, "/captures/x/stop")] {
        assert_eq!(
            code(send(method, path, &[], "").await).await,
            is(404, "no_such_capture")
        );
    }
}

#[tokio::test]
async fn wrong_parameters_say_what_is_allowed() {
    for (uri, expected) in [
        ("/profile?secs=1", "unknown_parameter"),
        ("/profile?seconds=1&seconds=2", "repeated_parameter"),
        ("/profile?seconds=0", "invalid_parameter"),
        ("/profile?pid=1&name=a", "conflicting_parameters"),
        ("/profile?name=%00", "malformed_query"),
        ("/doctor?event=cpu", "unknown_parameter"),
        ("/doctor?format=xml", "invalid_parameter"),
        ("/doctor?pid=0", "invalid_parameter"),
        ("/processes?format=svg", "invalid_parameter"),
        ("/processes?pid=0", "invalid_parameter"),
        ("/processes?event=cpu", "unknown_parameter"),
        ("/profile?seconds=1&duration=1", "repeated_parameter"),
        ("/profile?output=gif", "invalid_parameter"),
        ("/captures/x/artifact?format=gif", "invalid_parameter"),
        ("/captures/x/artifact?seconds=1", "unknown_parameter"),
    ] {
        assert_eq!(code(get_with(uri, &[]).await).await, is(400, expected), "{uri}");
    }
    let unknown = problem(get_with("/profile?secs=1", &[]).await).await;
    let allowed: Vec<&str> = unknown["allowed"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let names: Vec<_> = CaptureRequest::parameters()
        .map(|(_, parameter)| parameter.name)
        .collect();
    assert_eq!(allowed, names);
    assert_eq!(unknown["parameter"], "secs");
    let of = |uri: &'static str| async move { problem(get_with(uri, &[]).await).await };
    assert_eq!(of("/profile?seconds=0").await.get("allowed"), None, "no list, no prose");
    assert_eq!(
        of("/profile?threads=maybe").await["allowed"],
        serde_json::json!(["true", "false"])
    );
    assert_eq!(of("/profile?format=gif").await["allowed"][1], "collapsed");
    let long = get_with(&format!("/profile?name={}", "a".repeat(9000)), &[]).await;
    assert_eq!(code(long).await, is(414, "query_too_long"));
}

#[tokio::test]
async fn problems_are_three_lines_for_who_prefers_text_and_for_go() {
    let response = get_with("/profile?seconds=0", &[("accept", "text/plain")]).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let lines = text(response).await;
    let starts = ["error: ", "reason: ", "try: "];
    assert!(
        lines.lines().zip(starts).all(|(line, start)| line.starts_with(start)),
        "{lines}"
    );

    let response = get_with("/debug/pprof/profile?seconds=x", &[]).await;
    assert_eq!(response.headers()["x-go-pprof"], "1");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let response = get_with("/debug/pprof/profile?seconds=x", &[("accept", "application/json")]).await;
    assert_eq!(code(response).await, is(400, "invalid_parameter"));
}

#[test]
fn a_problem_of_rendering_names_the_capture_that_is_kept_and_its_other_formats() {
    let problem = |cause, others: &[Format]| {
        Problem::from(CaptureError::NotRendered {
            capture: "0123456789abcdef".to_owned(),
            others: others.to_vec(),
            cause: Box::new(cause),
        })
    };
    let failed = problem(
        CaptureError::Render("a bug".to_owned()),
        &[Format::Pprof, Format::Collapsed],
    );
    let text = failed.text();
    let place = "GET /captures/0123456789abcdef/artifact?format=pprof, or collapsed";
    assert!(text.contains(place) && text.lines().count() == 3, "{text}");
    let body = serde_json::to_value(failed.body(None)).unwrap();
    assert_eq!((&body["code"], &body["status"]), (&"render_failed".into(), &500.into()));
    assert_eq!(body["capture"], "0123456789abcdef");
    assert_eq!(body["allowed"], serde_json::json!(["pprof", "collapsed"]));
    assert!(body["remedy"].as_str().unwrap().contains(place));

    let memory = problem(CaptureError::Child(ChildError::OutOfMemory { role: "renderer" }), &[]);
    assert_eq!(memory.code(), "out_of_memory");
    assert!(
        memory.text().contains("memory-limit") && memory.text().contains("/artifact\n"),
        "{}",
        memory.text()
    );
}

#[tokio::test]
async fn bodies_are_small_json_objects() {
    let post = |content_type: &'static str, body: String| async move {
        let headers = [("content-type", content_type)];
        code(send(Method::POST, "/captures?seconds=5", &headers, body).await).await
    };
    let json = "application/json";
    assert_eq!(
        post(json, "{\"seconds\": 5}".to_owned()).await,
        is(400, "repeated_parameter")
    );
    assert_eq!(
        post(json, "{\"pid\": -1}".to_owned()).await,
        is(400, "invalid_parameter")
    );
    assert_eq!(post(json, "[]".to_owned()).await, is(400, "malformed_body"));
    assert_eq!(
        post("application/x-www-form-urlencoded", "a=b".to_owned()).await,
        is(415, "unsupported_content_type")
    );
    assert_eq!(post(json, " ".repeat(65 << 10)).await, is(413, "body_too_large"));
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("          "));
    let headers = [("content-type", json)];
    let streamed = send(Method::POST, "/captures", &headers, Body::from_stream(endless)).await;
    assert_eq!(code(streamed).await, is(413, "body_too_large"));
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    for path in ["/", "/healthz", "/captures", "/metrics", "/openapi.json"] {
        let response = send(Method::HEAD, path, &[], "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(text(response).await, "", "{path}");
    }
    assert_eq!(
        send(Method::HEAD, "/profile?seconds=0", &[], "").await.status(),
        StatusCode::BAD_REQUEST
    );
}

/// The paths of the router, as the document writes them.
fn documented_paths() -> Vec<String> {
    routes().map(|(path, _)| path.replace("{*", "{")).into()
}

#[tokio::test]
async fn pprofs_tools_are_told_that_names_are_in_the_profiles() {
    for method in [Method::GET, Method::POST] {
        let response = send(method, "/debug/pprof/symbol?0x1+0x2", &[], "0x1+0x2").await;
        assert_eq!(text(response).await, "num_symbols: 0\n");
    }
}

#[tokio::test]
async fn the_document_and_the_router_have_the_same_requests() {
    let document: Value = serde_json::from_str(&text(get_with("/openapi.json", &[]).await).await).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let documented = document["paths"].as_object().unwrap();
    let routed = documented_paths();
    for path in documented.keys() {
        assert!(routed.contains(path), "{path} is documented and not routed");
    }
    for path in routed {
        let item = documented
            .get(&path)
            .unwrap_or_else(|| panic!("{path} is not documented"));
        // The unknown parameter keeps handlers from looking at the processes of this machine.
        let uri = path.replace("{id}", "x").replace("{profile}", "heap") + "?no_such_parameter=1";
        for method in ["get", "post", "delete", "put", "patch"] {
            let status = send(method.to_uppercase().parse().unwrap(), &uri, &[], "")
                .await
                .status();
            assert_eq!(
                item.get(method).is_some(),
                status != StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
        }
    }
    let parameters = document["paths"]["/profile"]["get"]["parameters"].as_array().unwrap();
    let mut names: Vec<&str> = parameters
        .iter()
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    let mut expected: Vec<_> = CaptureRequest::parameters()
        .map(|(_, parameter)| parameter.name)
        .collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn metrics_count_routes_and_not_paths() {
    let (router, _directory) = api(GuardSettings::default());
    let ask = |uri: &str| {
        let request = Request::builder()
            .uri(uri)
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        router.clone().oneshot(request)
    };
    for path in ["/captures/a", "/captures/b", "/random1", "/random2", "/healthz"] {
        ask(path).await.unwrap();
    }
    let response = ask("/metrics").await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let page = text(response).await;
    for line in [
        "sideflame_http_requests_total{route=\"/captures/{id}\",status=\"4xx\"} 2",
        "sideflame_http_requests_total{route=\"unknown\",status=\"4xx\"} 2",
        "sideflame_http_requests_total{route=\"/healthz\",status=\"2xx\"} 1",
        "sideflame_captures_running 0",
        "sideflame_store_bytes 0",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(page.lines().any(|given| given == line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn the_index_lists_every_request() {
    let page = text(get_with("/", &[]).await).await;
    for path in documented_paths() {
        assert!(page.contains(&path), "{path} is not in\n{page}");
    }
}

#[tokio::test]
async fn what_is_shown_is_checked_before_a_capture_is_looked_for() {
    for (uri, parameter, words) in [
        ("/captures/x/artifact?focus=(", "focus", "unclosed group"),
        ("/captures/x/artifact?callers=", "callers", "missing"),
        ("/captures/x/flame?focus=(", "focus", "unclosed group"),
        ("/captures/x/flame?from=a", "from", "seconds"),
        ("/profile?focus=a%0Ab", "focus", "control"),
    ] {
        let refused = problem(get_with(uri, &[]).await).await;
        assert_eq!(
            (&refused["code"], &refused["parameter"]),
            (&"invalid_parameter".into(), &parameter.into())
        );
        assert!(refused["detail"].as_str().unwrap().contains(words), "{refused}");
    }
    let recording = problem(send(Method::POST, "/captures?focus=a", &[], "").await).await;
    assert_eq!(recording["code"], "invalid_parameter", "{recording}");
    assert!(
        recording["remedy"].as_str().unwrap().contains("/artifact"),
        "{recording}"
    );
    for uri in [
        "/captures/x/artifact?focus=a&callers=b",
        "/captures/x/artifact?format=pprof&focus=a%7Cb",
        "/captures/x/flame?event=cpu&thread=7&by=thread-name&from=1&to=2.5&callers=b",
    ] {
        assert_eq!(
            code(get_with(uri, &[]).await).await,
            is(404, "no_such_capture"),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn a_share_needs_a_pattern() {
    for uri in [
        "/captures/x/share",
        "/captures/x/share?match=(",
        "/captures/x/share?match=a&format=svg",
    ] {
        assert_eq!(
            code(get_with(uri, &[]).await).await,
            is(400, "invalid_parameter"),
            "{uri}"
        );
    }
    let missing = problem(get_with("/captures/x/share", &[]).await).await;
    assert_eq!(missing["parameter"], "match");
    assert_eq!(
        code(get_with("/captures/x/share?match=a", &[]).await).await,
        is(404, "no_such_capture")
    );
}

#[tokio::test]
async fn a_difference_needs_two_captures_and_known_words() {
    for (uri, expected) in [
        ("/diff", "before"),
        ("/diff?before=x&after=y&format=jfr", "format"),
        ("/diff?before=x&after=y&normalise=minute", "normalise"),
        ("/diff?before=x&after=y&base=both", "base"),
        ("/diff?before=x&after=y&focus=(", "focus"),
        ("/diff?before=x&after=y&download=maybe", "download"),
    ] {
        let refused = problem(get_with(uri, &[]).await).await;
        assert_eq!(refused["code"], "invalid_parameter", "{uri}");
        assert_eq!(refused["parameter"], expected, "{uri}");
    }
    assert_eq!(
        code(get_with("/diff?before=x&after=y&seconds=1", &[]).await).await,
        is(400, "unknown_parameter")
    );
    assert_eq!(
        code(get_with("/diff?before=x&after=y", &[]).await).await,
        is(404, "no_such_capture")
    );
    assert_eq!(
        code(send(Method::POST, "/diff?before=x", &[], "").await).await,
        is(400, "unknown_parameter")
    );
}

#[tokio::test]
async fn a_body_that_is_no_archive_of_two_files_is_refused_before_a_child_is_started() {
    use super::diff::tar::example::{archive, entry};

    let post = async |body: Vec<u8>| problem(send(Method::POST, "/diff", &[], body).await).await;
    let mut three = entry(b'0', b"a 1\n");
    three.extend(archive(b"a 1\n", b"a 1\n"));
    let two = archive(b"a 1\n", &[b'a'; 4000]);
    for (body, detail) in [
        (b"main;a 1\n".repeat(100), "no tar archive"),
        (entry(b'0', b"a 1\n"), "1 files, not two"),
        (Vec::new(), "0 files, not two"),
        (two[..two.len() - 2000].to_vec(), "ends early"),
        (three, "more than two"),
    ] {
        let refused = post(body).await;
        assert_eq!(
            (&refused["code"], &refused["status"]),
            (&"malformed_body".into(), &400.into())
        );
        assert!(refused["detail"].as_str().unwrap().contains(detail), "{refused}");
        assert!(refused["remedy"].as_str().unwrap().contains("tar -c"), "{refused}");
    }
    // The store of these tests has a megabyte.
    let large = post(archive(&[b'a'; 3 << 20], b"a 1\n")).await;
    assert_eq!(
        (&large["code"], &large["status"]),
        (&"store_full".into(), &507.into()),
        "{large}"
    );
}

#[tokio::test]
async fn a_url_is_judged_before_anything_starts() {
    let asked = |url: &str| {
        let uri = format!("/profile?url={}", query::encode(url));
        async move { problem(get_with(&uri, &[]).await).await }
    };
    for (url, status, code) in [
        ("file:///etc/passwd", 400, "invalid_parameter"),
        ("http://0x7f.1", 400, "invalid_parameter"),
        ("http://169.254.169.254/latest", 403, "url_not_allowed"),
        ("http://shop.example:6060", 403, "url_not_allowed"),
    ] {
        let refused = asked(url).await;
        assert_eq!(
            (&refused["status"], &refused["code"]),
            (&Value::from(status), &Value::from(code)),
            "{url}"
        );
    }
    let refused = asked("http://me:s3cret@127.0.0.1").await.to_string();
    assert!(
        refused.contains("invalid_parameter") && !refused.contains("s3cret"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_processor_knows_four_statuses() {
    let path = "/processor/goProfiler";
    let post = |body: &'static str| async move { code(send(Method::POST, path, &[], body).await).await };
    assert_eq!(post("{}").await, is(400, "malformed_body"));
    assert_eq!(
        post(r#"{"source": "http://192.0.2.1:6060", "type": "Heap"}"#).await,
        is(400, "url_not_allowed")
    );
    let text = [("content-type", "text/plain")];
    let refused = code(send(Method::POST, path, &text, "{}").await).await;
    assert_eq!(refused, is(400, "unsupported_content_type"));
    assert_eq!(code(get_with(path, &[]).await).await, is(405, "method_not_allowed"));
    let long = "x".repeat(65 << 10);
    assert_eq!(
        code(send(Method::POST, path, &[], long).await).await,
        is(400, "body_too_large")
    );
    let page = format!("{path}/0123456789abcdef");
    assert_eq!(code(get_with(&page, &[]).await).await, is(404, "no_such_capture"));
    assert_eq!(
        code(get_with(&format!("{page}/flame.svg"), &[]).await).await,
        is(404, "no_such_capture")
    );
}
