use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use tokio::sync::oneshot;

use super::*;

struct Running {
    address: SocketAddr,
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
    let ended = tokio::spawn(serve(vec![listener, second], router, limits, shutdown));
    Running {
        address,
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

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_idle_ones_are_closed() {
    let limits = Limits {
        connections: 4,
        head_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = start(slow(&Arc::default()), limits).await;
    let mut idle = Vec::new();
    for sent in [&b""[..], b"GET /fa", b"", b"GET / HTTP/1.1\r\nX: "] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(sent).await.unwrap();
        idle.push(socket);
    }
    assert!(talk(server.address, FAST).await.ends_with("fast"));
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
    let router = Router::new().route(
        "/short",
        get(|| async {
            sleep(Duration::from_millis(300)).await;
            "done"
        }),
    );
    let mut server = start(router, Limits::default()).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    let address = server.address;
    let client = tokio::spawn(async move { talk(address, b"GET /short HTTP/1.1\r\nHost: localhost\r\n\r\n").await });
    sleep(Duration::from_millis(100)).await;
    server.stop.take().unwrap().send(()).unwrap();
    assert!(client.await.unwrap().ends_with("done"));
    timeout(Duration::from_secs(3), server.ended)
        .await
        .expect("an end")
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
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
