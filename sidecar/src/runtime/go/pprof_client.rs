//! One GET to a pprof port: no pool, no redirects, no retries.
//!
//! Knows HTTP and TLS and nothing of profiles; deadlines are the caller's. Used by [`super::pprof_probe`] and by the
//! Go recorder. The server on the other side is the profiled app: what it sends is hostile.

mod any_certificate;
mod no_client_certificate;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use self::any_certificate::AnyCertificate;
use self::no_client_certificate::NoClientCertificate;
pub(crate) use self::wire::HangUp;
use self::wire::{Stream, Wire};
use super::address::Address;
use super::settings::PlaceSettings;
use crate::process::TargetRoot;

/// A `User-Agent` by which the app's access log tells who asked.
const USER_AGENT: &str = concat!("sideflame/", env!("CARGO_PKG_VERSION"));

/// Loopback answers a SYN at once or not at all.
const CONNECT: Duration = Duration::from_millis(200);

/// Header fields and their size an app may answer with: hyper's read buffer bounds them too.
const MAX_HEADERS: usize = 64;

/// How the port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/1.1 in TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Where it is spoken if no port is said.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.name() == name)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No program accepts the connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
    /// The port wants a certificate of ours, and we have none.
    #[error("the port wants a client certificate")]
    WantsCertificate,
    /// The answer is a TLS record: the port wants TLS first.
    #[error("the port speaks TLS")]
    SpeaksTls,
    /// The answer is not HTTP, or ended before it was whole.
    #[error("{}", describe(.0))]
    Http(#[from] hyper::Error),
    /// A header or path of the operator cannot be sent.
    #[error("cannot be sent: {0}")]
    Request(String),
}

/// Hyper's message with its cause, which says more.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A server that must prove who it is.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Plain or TLS.
    pub(crate) scheme: Scheme,
    /// What a request calls its host.
    pub(crate) host: String,
    /// Whose certificate it must be.
    pub(crate) name: ServerName<'static>,
    /// Who may have signed it.
    pub(crate) authorities: Arc<RootCertStore>,
}

/// Whose certificate is accepted.
enum Accepts {
    /// Any.
    Any,
    /// One that these signed.
    SignedBy(Arc<RootCertStore>),
}

/// What every request to a place carries, from [`PlaceSettings`].
#[derive(Debug, Clone)]
pub(crate) struct PprofClient {
    headers: HeaderMap,
    insecure_tls: bool,
}

impl PprofClient {
    /// A client with the operator's headers.
    ///
    /// # Errors
    /// A header that HTTP does not allow; its value is not repeated, it may be a secret.
    pub(crate) fn new(settings: &PlaceSettings) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        for (name, value) in &settings.headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| ClientError::Request("a header name of --go-pprof-header".to_owned()))?;
            let mut value: HeaderValue = value
                .parse()
                .map_err(|_| ClientError::Request(format!("the value of the header {name}")))?;
            value.set_sensitive(true);
            // The framing of the request is ours.
            if name != header::CONNECTION && name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
                headers.insert(name, value);
            }
        }
        Ok(Self {
            headers,
            insecure_tls: settings.insecure_tls,
        })
    }

    /// True when https ports may be spoken to: a pprof port has no certificate anybody could verify.
    pub(crate) fn accepts_any_certificate(&self) -> bool {
        self.insecure_tls
    }

    /// Connects to `address`; the request itself is [`Connection::get`]. Unix sockets are reached below `root` alone.
    ///
    /// # Errors
    /// [`ClientError::Connect`] after at most 200 ms, [`ClientError::Tls`], [`ClientError::WantsCertificate`]. The handshake
    /// has no deadline of its own.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        scheme: Scheme,
        root: Option<&TargetRoot>,
    ) -> Result<Connection, ClientError> {
        let certificate = Arc::new(NoClientCertificate::default());
        let stream: Box<dyn Stream> = match address {
            Address::Unix(path) => Box::new(connect_below(root, path).map_err(ClientError::Connect)?),
            Address::Tcp(address) => match (scheme, tcp(*address).await?) {
                (Scheme::Http, stream) => Box::new(stream),
                (Scheme::Https, stream) if self.insecure_tls => {
                    let name = ServerName::IpAddress(address.ip().into());
                    Box::new(handshake(name, Accepts::Any, stream, &certificate).await?)
                }
                (Scheme::Https, _) => {
                    return Err(ClientError::Tls(io::Error::other("its certificate cannot be verified")));
                }
            },
        };
        self.over(stream, address.host(), certificate).await
    }

    /// Connects to `address`, where `peer` is to be; the request itself is [`Connection::get`].
    ///
    /// # Errors
    /// As [`Self::connect`], and [`ClientError::Tls`] if it is another one. Nothing has a deadline of its own.
    pub(crate) async fn connect_to(&self, address: SocketAddr, peer: &Peer) -> Result<Connection, ClientError> {
        let certificate = Arc::new(NoClientCertificate::default());
        let stream = TcpStream::connect(address).await.map_err(ClientError::Connect)?;
        let stream: Box<dyn Stream> = match peer.scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => {
                let accepts = Accepts::SignedBy(Arc::clone(&peer.authorities));
                Box::new(handshake(peer.name.clone(), accepts, stream, &certificate).await?)
            }
        };
        self.over(stream, peer.host.clone(), certificate).await
    }

    async fn over(
        &self,
        stream: Box<dyn Stream>,
        host: String,
        certificate: Arc<NoClientCertificate>,
    ) -> Result<Connection, ClientError> {
        let wire = Wire::new(stream);
        let seen = wire.hang_up();
        let mut http = http1::Builder::new();
        http.max_headers(MAX_HEADERS);
        let (sender, driver) = http.handshake(TokioIo::new(wire)).await?;
        // Ends by itself when the request or its answer is dropped, at the latest with the runtime.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Connection {
            sender,
            hang_up: seen,
            headers: self.headers.clone(),
            host,
            certificate,
        })
    }
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, ClientError> {
    match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(ClientError::Connect),
        Err(_) => Err(ClientError::Connect(io::ErrorKind::TimedOut.into())),
    }
}

fn connect_below(root: Option<&TargetRoot>, path: &Path) -> io::Result<UnixStream> {
    let root = root.ok_or(io::ErrorKind::PermissionDenied)?;
    let stream = root.connect(path)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn handshake(
    name: ServerName<'static>,
    accepts: Accepts,
    stream: TcpStream,
    certificate: &Arc<NoClientCertificate>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let any = Arc::new(AnyCertificate::new(&provider));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(io::Error::other(error)))?;
    let config = match accepts {
        Accepts::Any => config.dangerous().with_custom_certificate_verifier(any),
        Accepts::SignedBy(authorities) => config.with_root_certificates(authorities),
    };
    let mut config = config.with_client_cert_resolver(Arc::clone(certificate) as _);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| {
        if certificate.was_asked_for() {
            ClientError::WantsCertificate
        } else {
            ClientError::Tls(error)
        }
    })
}

/// A connection that can carry one request.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    hang_up: HangUp,
    headers: HeaderMap,
    host: String,
    certificate: Arc<NoClientCertificate>,
}

impl Connection {
    /// A handle that ends our side of the conversation while the answer is still awaited.
    pub(crate) fn hang_up(&self) -> HangUp {
        self.hang_up.clone()
    }

    /// Sends the request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`ClientError::SpeaksTls`], [`ClientError::WantsCertificate`], [`ClientError::Http`], [`ClientError::Request`] for a path
    /// that is none.
    pub(crate) async fn get(mut self, path_and_query: &str) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::get(path_and_query)
            .header(header::HOST, &self.host)
            .header(header::CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| ClientError::Request(error.to_string()))?;
        // After the defaults: an operator's Host header wins.
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        self.sender.send_request(request).await.map_err(|error| {
            if self.hang_up.answered_with_tls() {
                ClientError::SpeaksTls
            } else if self.certificate.was_asked_for() {
                // With TLS 1.3 the handshake ends before the server says so.
                ClientError::WantsCertificate
            } else {
                ClientError::Http(error)
            }
        })
    }
}

/// Up to `limit` bytes of a body; the rest is not read.
///
/// # Errors
/// The body broke off before that.
pub(crate) async fn read_body(mut body: Incoming, limit: usize) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = limit - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if bytes.len() == limit {
            break;
        }
    }
    Ok(bytes)
}
