//! A cluster IP that answers: what kube-proxy does on a node, for one Service.
//!
//! The control plane's cluster IPs are loopback addresses, so this can simply listen on one. It passes bytes on and
//! looks at none; TLS is between the API server and the replica.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Listens on a Service's address and passes each connection on to the next endpoint.
#[derive(Debug)]
pub struct ServiceAddress {
    /// `address:port`.
    pub address: String,
    endpoints: Arc<Mutex<Endpoints>>,
}

#[derive(Debug, Default)]
struct Endpoints {
    ports: Vec<u16>,
    closed: bool,
}

impl ServiceAddress {
    /// Listens, without endpoints yet: connections are closed at once.
    ///
    /// # Panics
    /// The port is below 1024 and the test is not run as root, or something else listens there.
    pub fn listen(address: &str, port: u16) -> Self {
        let address = format!("{address}:{port}");
        let listener = TcpListener::bind(&address).unwrap_or_else(|error| panic!("{address}: {error}; run as root"));
        let endpoints = Arc::new(Mutex::new(Endpoints::default()));
        let shared = Arc::clone(&endpoints);
        std::thread::spawn(move || {
            let next = AtomicUsize::new(0);
            for client in listener.incoming().map_while(Result::ok) {
                let (ports, closed) = {
                    let endpoints = shared.lock().unwrap();
                    (endpoints.ports.clone(), endpoints.closed)
                };
                if closed {
                    return;
                }
                let first = next.fetch_add(1, Ordering::Relaxed);
                // An endpoint that refuses is skipped, as one that has just left the Service is.
                let server = (0..ports.len())
                    .map(|offset| ports[(first + offset) % ports.len()])
                    .find_map(|port| TcpStream::connect(("127.0.0.1", port)).ok());
                if let Some(server) = server {
                    pass(&client, &server);
                    pass(&server, &client);
                }
            }
        });
        Self { address, endpoints }
    }

    /// Sends new connections to these ports of this machine; those that exist stay where they are.
    pub fn send_to(&self, ports: &[u16]) {
        self.endpoints.lock().unwrap().ports = ports.to_vec();
    }
}

impl Drop for ServiceAddress {
    fn drop(&mut self) {
        self.endpoints.lock().unwrap().closed = true;
        // Wakes the thread.
        let _ = TcpStream::connect(&self.address);
    }
}

/// Copies one direction until it ends, then says so to the other side.
fn pass(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}
