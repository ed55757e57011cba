//! The floor of `make bench`: the webhook's HTTP and TLS libraries, answering `allowed: true` without looking at the
//! object. Only `tests/rig/bench_webhook` runs it: `allow ADDRESS CERTIFICATE KEY`.
//!
//! It must not use anything of `sideflame_webhook`: a change there must not move the floor.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::Listener;
use axum::{Json, Router};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Time for a handshake; one at a time is enough here.
const HANDSHAKE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Review {
    request: Request,
}

/// The deserializer skips the object without building it.
#[derive(Deserialize)]
struct Request {
    uid: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Verdict,
}

#[derive(Serialize)]
struct Verdict {
    uid: String,
    allowed: bool,
}

async fn allow(body: Bytes) -> Response {
    match serde_json::from_slice::<Review>(&body) {
        Ok(review) => Json(Answer {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response: Verdict {
                uid: review.request.uid,
                allowed: true,
            },
        })
        .into_response(),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string(),
        )
            .into_response(),
    }
}

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl TlsListener {
    async fn handshake(&self) -> io::Result<(TlsStream<TcpStream>, SocketAddr)> {
        let (stream, from) = self.tcp.accept().await?;
        stream.set_nodelay(true)?;
        Ok((tokio::time::timeout(HANDSHAKE, self.tls.accept(stream)).await??, from))
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // A connection that breaks off is none.
            if let Ok(connection) = self.handshake().await {
                return connection;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificate, key] = arguments.as_slice() else {
        return Err("usage: allow ADDRESS CERTIFICATE KEY".into());
    };
    let certificates = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?;
    let listener = TlsListener {
        tcp: TcpListener::bind(address).await?,
        tls: TlsAcceptor::from(Arc::new(tls)),
    };
    let router = Router::new()
        .route("/inject", post(allow))
        .layer(DefaultBodyLimit::max(3 << 20));
    Ok(axum::serve(listener, router).await?)
}
