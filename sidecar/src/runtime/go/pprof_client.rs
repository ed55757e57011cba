//! One GET to a pprof port: no pool, no redirects, no retries.
//!
//! Knows HTTP and TLS and nothing of profiles; deadlines are the caller's. Used by [`super::pprof_probe`] and by the
//! Go recorder. The server on the other side is the profiled app: what it sends is hostile.

mod any_certificate;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::any_certificate::AnyCertificate;
pub(crate) use self::wire::HangUp;
use self::wire::Wire;
use crate::runtime::GoPprofSettings;

/// A `User-Agent` by which the app's access log tells who asked.
const USER_AGENT: &str = concat!("sideflame/", env!("CARGO_PKG_VERSION"));

/// Loopback answers a SYN at once or not at all.
const CONNECT: Duration = Duration::from_millis(200);

/// Header fields and their size an app may answer with: hyper's read buffer bounds them too.
const MAX_HEADERS: usize = 64;

/// How the port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// What every request carries, from [`GoPprofSettings`].
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
    pub(crate) fn new(settings: &GoPprofSettings) -> Result<Self, ClientError> {
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

    /// Connects to `address`; the request itself is [`Connection::get`].
    ///
    /// # Errors
    /// [`ClientError::Connect`] after at most 200 ms, [`ClientError::Tls`]. The handshake has no deadline of its own.
    pub(crate) async fn connect(&self, address: SocketAddr, scheme: Scheme) -> Result<Connection, ClientError> {
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(ClientError::Connect)?,
            Err(_) => return Err(ClientError::Connect(io::ErrorKind::TimedOut.into())),
        };
        let wire = match scheme {
            Scheme::Http => Wire::new(Box::new(stream)),
            Scheme::Https if self.insecure_tls => Wire::new(Box::new(handshake(address, stream).await?)),
            Scheme::Https => return Err(ClientError::Tls(io::Error::other("its certificate cannot be verified"))),
        };
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
            address,
        })
    }
}

async fn handshake(
    address: SocketAddr,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate::new(&provider));
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::IpAddress(address.ip().into());
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(ClientError::Tls)
}

/// A connection that can carry one request.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    hang_up: HangUp,
    headers: HeaderMap,
    address: SocketAddr,
}

impl Connection {
    /// A handle that ends our side of the conversation while the answer is still awaited.
    pub(crate) fn hang_up(&self) -> HangUp {
        self.hang_up.clone()
    }

    /// Sends the request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`ClientError::SpeaksTls`], [`ClientError::Http`], [`ClientError::Request`] for a path that is none.
    pub(crate) async fn get(mut self, path_and_query: &str) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::get(path_and_query)
            .header(header::HOST, self.address.to_string())
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
