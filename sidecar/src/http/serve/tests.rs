use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};

use super::*;

struct Running {
    address: SocketAddr,
    activity: Arc<Activity>,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<()>,
}

async fn start(router: Router, limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let activity = Arc::<Activity>::default();
    let used = Arc::clone(&activity);
    let ended = tokio::spawn(serve(
        vec![(listener, router.clone()), (second, router)],
        limits,
        used,
        shutdown,
    ));
    Running {
        address,
        activity,
        stop: Some(stop),
        ended,
    }
}

/// Counts the handlers that run now.
fn slow(working: &Arc<AtomicUsize>) -> Router {
    struct Working(Arc<AtomicUsize>);
    impl Drop for Working {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let working = Arc::clone(working);
    let handler = move || async move {
        working.fetch_add(1, Ordering::SeqCst);
        let _working = Working(working);
        sleep(Duration::from_secs(30)).await;
        "late"
    };
    Router::new()
        .route("/slow", get(handler))
        .route("/fast", get(|| async { "fast" }))
        .route("/healthz", get(|| async { "ok" }))
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within 5 s");
}

async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), socket.read_to_end(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    String::from_utf8(answer).unwrap()
}

const FAST: &[u8] = b"GET /fast HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_client_that_goes_away_drops_the_handler() {
    let working = Arc::default();
    let server = start(slow(&working), Limits::default()).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket
        .write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    until("the handler", || working.load(Ordering::SeqCst) == 1).await;
    drop(socket);
    until("the drop", || working.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_query_of_a_megabyte_gets_an_answer_and_harms_nobody() {
    let server = start(slow(&Arc::default()), Limits::default()).await;
    let request = format!("GET /fast?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
    let answer = talk(server.address, request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 414 "),
        "{answer}"
    );
    assert!(talk(server.address, FAST).await.ends_with("fast"));
}

/// No connection of the tests ends by itself.
fn for_ever(connections: usize) -> Limits {
    let hour = Duration::from_secs(3600);
    Limits {
        connections,
        head_time: hour,
        write_time: hour,
        ..Limits::default()
    }
}

const LIVENESS: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn connections_without_a_request_give_way() {
    let limits = for_ever(32);
    let server = start(slow(&Arc::default()), limits.clone()).await;
    let mut idle = Vec::new();
    for sent in [&b""[..], b"GET /fa", b"GET / HTTP/1.1\r\nX: "].repeat(limits.connections) {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(sent).await.unwrap();
        idle.push(socket);
    }
    // One that has been answered and is kept open, as by a browser.
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    kept.write_all(b"GET /fast HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    idle.push(kept);
    assert!(talk(server.address, LIVENESS).await.ends_with("ok"));
    assert!(talk(server.address, FAST).await.ends_with("fast"));
}

#[tokio::test]
async fn a_connection_that_is_being_answered_never_gives_way() {
    let limits = for_ever(4);
    let working = Arc::default();
    let server = start(slow(&working), limits.clone()).await;
    let mut waiting = TcpStream::connect(server.address).await.unwrap();
    waiting
        .write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    until("the handler", || working.load(Ordering::SeqCst) == 1).await;
    let mut idle = Vec::new();
    for _ in 0..5 * limits.connections {
        idle.push(TcpStream::connect(server.address).await.unwrap());
        assert!(talk(server.address, FAST).await.ends_with("fast"));
    }
    assert_eq!(working.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn liveness_has_a_place_when_all_others_are_answered() {
    let limits = for_ever(16);
    let working = Arc::default();
    let busy = slow(&working).layer(from_fn(
        |request: axum::extract::Request, next: axum::middleware::Next| async {
            let overloaded = request.extensions().get::<Overloaded>().is_some();
            if overloaded {
                "busy".into_response()
            } else {
                next.run(request).await
            }
        },
    ));
    let server = start(busy, limits.clone()).await;
    let answered = limits.connections - 8;
    let mut waiting = Vec::new();
    for _ in 0..2 * limits.connections {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket
            .write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        waiting.push(socket);
    }
    until("the handlers", || working.load(Ordering::SeqCst) == answered).await;
    assert!(talk(server.address, FAST).await.ends_with("busy"));
    assert!(talk(server.address, LIVENESS).await.ends_with("ok"));
    assert_eq!(working.load(Ordering::SeqCst), answered);
}

#[tokio::test]
async fn a_download_is_activity_until_its_last_byte() {
    // More than the buffers of a connection take.
    const LENGTH: usize = 48 << 20;
    let big = || async { Body::from(Bytes::from(vec![0; LENGTH])) };
    let server = start(Router::new().route("/big", get(big)), for_ever(4)).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket
        .write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    // The answer has begun, and the client stops reading.
    socket.read_exact(&mut [0; 4096]).await.unwrap();
    let idle = || server.activity.idle(Duration::from_millis(40), || false);
    assert!(timeout(Duration::from_millis(400), idle()).await.is_err());
    let mut left = vec![0; LENGTH - 4096];
    socket.read_exact(&mut left).await.unwrap();
    timeout(Duration::from_secs(5), idle()).await.expect("an end");
}

#[tokio::test]
async fn an_idle_kept_connection_is_closed() {
    let limits = Limits {
        head_time: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = start(slow(&Arc::default()), limits).await;
    let answer = talk(server.address, b"GET /fast HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.contains("\r\n\r\nfast"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_waits_for_answers_but_not_for_idle_clients() {
    let (working, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let handler = {
        let (working, release) = (Arc::clone(&working), Arc::clone(&release));
        move || async move {
            working.fetch_add(1, Ordering::SeqCst);
            release.notified().await;
            "done"
        }
    };
    let router = Router::new().route("/short", get(handler));
    let mut server = start(router, Limits::default()).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    let address = server.address;
    let client = tokio::spawn(async move { talk(address, b"GET /short HTTP/1.1\r\nHost: localhost\r\n\r\n").await });
    until("the request", || working.load(Ordering::SeqCst) == 1).await;
    server.stop.take().unwrap().send(()).unwrap();
    // It has begun to shut down when no connection is accepted any more.
    let closed = || std::net::TcpStream::connect(address).is_err();
    until("the end of listening", closed).await;
    release.notify_one();
    assert!(client.await.unwrap().ends_with("done"));
    timeout(Duration::from_secs(3), server.ended)
        .await
        .expect("an end")
        .unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let limits = Limits {
        grace: Duration::from_millis(200),
        ..Limits::default()
    };
    let working = Arc::default();
    let mut server = start(slow(&working), limits).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket
        .write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    until("the handler", || working.load(Ordering::SeqCst) == 1).await;
    server.stop.take().unwrap().send(()).unwrap();
    timeout(Duration::from_secs(3), server.ended)
        .await
        .expect("an end")
        .unwrap();
}
