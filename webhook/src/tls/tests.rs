//! The listener over loopback, with a real TLS client.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::authority::Ca;
use crate::metrics::Metrics;

const NAME: &str = "sideflame-webhook.sideflame.svc";

struct Server {
    address: std::net::SocketAddr,
    certificate: Arc<CurrentCertificate>,
    authority: CertificateDer<'static>,
    metrics: Arc<Metrics>,
    /// A request of `/slow` or `/length` was begun.
    begun: Arc<Notify>,
    /// One of `/slow` may end.
    release: Arc<Notify>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

async fn server(limits: Limits) -> Server {
    server_for(limits, None).await
}

async fn server_for(limits: Limits, clients: Option<&[u8]>) -> Server {
    let certificate = Arc::new(CurrentCertificate::default());
    let authority = install(&certificate);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(slow))
        .route("/length", post(length))
        .with_state((Arc::clone(&begun), Arc::clone(&release)));
    let (end, ended) = oneshot::channel::<()>();
    let metrics = Arc::new(Metrics::default());
    let listener = Listener {
        socket,
        protocol: Protocol::Tls(server_config(Arc::clone(&certificate), clients).unwrap()),
        router,
    };
    let task = tokio::spawn(serve(listener, limits, Arc::clone(&metrics), async {
        let _ = ended.await;
    }));
    Server {
        address,
        certificate,
        authority,
        metrics,
        begun,
        release,
        end,
        task,
    }
}

type Notices = (Arc<Notify>, Arc<Notify>);

/// Says that it began, and waits until it may end.
async fn slow(State((begun, release)): State<Notices>) {
    begun.notify_one();
    release.notified().await;
}

/// Says that it began, and then reads.
async fn length(State((begun, _)): State<Notices>, body: Body) -> String {
    begun.notify_one();
    body.collect().await.map_or(0, |body| body.to_bytes().len()).to_string()
}

type ClientIdentity = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// An authority (PEM) and a client of it.
fn client_authority() -> (String, ClientIdentity) {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut client = rcgen::CertificateParams::default();
    client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let chain = client.signed_by(&key, &issuer).unwrap().der().clone();
    (pem, (chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

/// A new authority and a leaf of it, in use; returns the authority.
fn install(certificate: &CurrentCertificate) -> CertificateDer<'static> {
    let ca = Ca::generate(now(), 3600).unwrap();
    let leaf = ca
        .issue(&[NAME.to_owned(), "127.0.0.1".to_owned()], now(), 600)
        .unwrap();
    certificate.set(&leaf.certificate);
    ca.certificate
}

impl Server {
    async fn connect(&self, authority: &CertificateDer<'static>, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(None, authority, alpn).await
    }

    async fn connect_as(
        &self,
        client: Option<ClientIdentity>,
        authority: &CertificateDer<'static>,
        alpn: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(vec![chain], key).unwrap(),
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn http1(&self) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let stream = self.connect(&self.authority, "http/1.1").await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn request(path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", NAME)
        .body(Full::new(body.into()))
        .unwrap()
}

async fn text<B>(response: hyper::Response<B>) -> String
where
    B: hyper::body::Body + Unpin,
    B::Error: std::fmt::Debug,
{
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn http1_with_keep_alive_is_served() {
    let server = server(Limits::default()).await;
    let mut client = server.http1().await;
    for _ in 0..3 {
        let response = client.send_request(request("/", Vec::new())).await.unwrap();
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(server.metrics.connections.get(), 1);
}

#[tokio::test]
async fn http2_is_served_where_the_client_offers_it() {
    let server = server(Limits::default()).await;
    let stream = server.connect(&server.authority, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let uri = format!("https://{NAME}/length");
    let body = Full::new(Bytes::from(vec![0; 1 << 20]));
    let response = client
        .send_request(Request::post(uri).body(body).unwrap())
        .await
        .unwrap();
    assert_eq!(response.version(), axum::http::Version::HTTP_2);
    assert_eq!(text(response).await, (1 << 20).to_string());
}

#[tokio::test]
async fn a_rotation_leaves_open_connections_alone_and_shows_in_new_ones() {
    let server = server(Limits::default()).await;
    let mut old = server.http1().await;
    old.send_request(request("/", Vec::new())).await.unwrap();
    let renewed = install(&server.certificate);
    let response = old.send_request(request("/", Vec::new())).await.unwrap();
    assert_eq!(text(response).await, "hello");
    assert!(
        server.connect(&server.authority, "http/1.1").await.is_err(),
        "the old authority no longer vouches"
    );
    assert!(server.connect(&renewed, "http/1.1").await.is_ok());
}

#[tokio::test]
async fn without_a_certificate_handshakes_fail_and_the_server_goes_on() {
    let server = server(Limits::default()).await;
    let empty = Arc::new(CurrentCertificate::default());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bare = Server {
        address: socket.local_addr().unwrap(),
        certificate: Arc::clone(&empty),
        ..server
    };
    let listener = Listener {
        socket,
        protocol: Protocol::Tls(server_config(Arc::clone(&empty), None).unwrap()),
        router: Router::new().route("/", get(|| async { "hello" })),
    };
    tokio::spawn(serve(
        listener,
        Limits::default(),
        Arc::default(),
        std::future::pending(),
    ));
    assert!(bare.connect(&bare.authority, "http/1.1").await.is_err());
    let authority = install(&empty);
    assert!(bare.connect(&authority, "http/1.1").await.is_ok());
}

/// Time until the server closes a connection on which `bytes` were sent in the clear.
async fn closed_after(server: &Server, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
    began.elapsed()
}

#[tokio::test]
async fn a_client_that_does_not_speak_is_given_up() {
    let limits = Limits {
        handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = server(limits).await;
    assert!(closed_after(&server, b"").await >= Duration::from_millis(190));
    assert!(
        closed_after(&server, b"GET / HTTP/1.1\r\n\r\n").await < Duration::from_millis(190),
        "no TLS at all"
    );
    // The handshake, and then half a head.
    let mut stream = server.connect(&server.authority, "http/1.1").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let _ = timeout(Duration::from_secs(2), stream.read_to_end(&mut Vec::new()))
        .await
        .expect("closed");
    let mut quiet = server.connect(&server.authority, "h2").await.unwrap();
    let _ = timeout(Duration::from_secs(2), quiet.read_to_end(&mut Vec::new()))
        .await
        .expect("closed");
}

#[tokio::test]
async fn an_idle_connection_lives_longer_than_a_silent_one() {
    let limits = Limits {
        handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = server(limits).await;
    let mut client = server.http1().await;
    client.send_request(request("/", Vec::new())).await.unwrap();
    closed_after(&server, b"").await;
    let response = client.send_request(request("/", Vec::new())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_free_one() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let server = server(limits).await;
    let mut first = server.http1().await;
    let second = server.connect(&server.authority, "http/1.1");
    let mut second = std::pin::pin!(second);
    // The server answers the first one, and has not answered the second one before.
    for _ in 0..10 {
        assert!((&mut second).now_or_never().is_none());
        let response = first.send_request(request("/", Vec::new())).await.unwrap();
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(server.metrics.connections.get(), 1);
    drop(first);
    assert!(timeout(Duration::from_secs(2), second).await.unwrap().is_ok());
}

#[tokio::test]
async fn connections_of_one_address_beyond_its_part_are_closed_and_counted() {
    let limits = Limits {
        per_peer: 2,
        ..Limits::default()
    };
    let server = server(limits).await;
    let clients = [server.http1().await, server.http1().await];
    assert!(server.connect(&server.authority, "http/1.1").await.is_err());
    assert_eq!(server.metrics.connections_refused.get(), 1);
    drop(clients);
    while server.metrics.connections.get() > 0 {
        tokio::task::yield_now().await;
    }
    server.http1().await;
}

#[tokio::test]
async fn with_client_authorities_only_their_clients_are_heard() {
    let (pem, known) = client_authority();
    let server = server_for(Limits::default(), Some(pem.as_bytes())).await;
    // In TLS 1.3 a client learns of it when it reads.
    let stranger = client_authority().1;
    for (client, heard) in [(None, false), (Some(stranger), false), (Some(known), true)] {
        let mut client = server.connect_as(client, &server.authority, "http/1.1").await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let _ = client.write_all(request).await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert_eq!(answer.ends_with(b"hello"), heard);
    }
}

#[tokio::test]
async fn client_authorities_must_be_some() {
    for pem in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(server_config(Arc::default(), Some(pem.as_bytes())).is_err(), "{pem}");
    }
}

#[tokio::test]
async fn a_long_body_reaches_the_handler() {
    let server = server(Limits::default()).await;
    let mut client = server.http1().await;
    let response = client
        .send_request(request("/length", vec![b' '; 1 << 20]))
        .await
        .unwrap();
    assert_eq!(text(response).await, (1 << 20).to_string());
}

#[tokio::test]
async fn the_end_lets_a_running_request_finish_and_closes_idle_connections() {
    let server = server(Limits::default()).await;
    let mut idle = server.http1().await;
    idle.send_request(request("/", Vec::new())).await.unwrap();
    let mut busy = server.http1().await;
    let running = tokio::spawn(async move { busy.send_request(request("/slow", Vec::new())).await });
    server.begun.notified().await;
    let began = Instant::now();
    server.end.send(()).unwrap();
    // The end has begun when the socket is closed.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.release.notify_one();
    timeout(Duration::from_secs(3), server.task)
        .await
        .expect("ended")
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(running.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(idle.ready().await.is_err(), "closed");
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_stuck_client_for_ever() {
    let limits = Limits {
        grace: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = server(limits).await;
    let mut stuck = server.connect(&server.authority, "http/1.1").await.unwrap();
    stuck
        .write_all(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        .await
        .unwrap();
    server.begun.notified().await;
    server.end.send(()).unwrap();
    timeout(Duration::from_secs(2), server.task)
        .await
        .expect("ended")
        .unwrap();
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let chain = params.self_signed(&one).unwrap().pem();
    assert!(Certificate::from_pem(chain.as_bytes(), one.serialize_pem().as_bytes()).is_ok());
    let error = Certificate::from_pem(chain.as_bytes(), other.serialize_pem().as_bytes()).unwrap_err();
    assert!(matches!(error, CertificateError::Mismatch(_)), "{error}");
}
