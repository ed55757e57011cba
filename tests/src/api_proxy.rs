//! Stands between a replica and the API server: sees what passes, cuts it, and answers a watch "too old".
//!
//! One request per connection, so that each can be told from the others by its first line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::control_plane::ControlPlane;

/// A plain HTTP way to the API server, as the administrator. It ends with the test program.
#[derive(Debug)]
pub struct ApiProxy {
    /// Where it listens.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Requests for pods, by their first line, with everything that came back.
    pods: Vec<(String, Vec<u8>)>,
    open: Vec<TcpStream>,
    is_cut: bool,
    expires_next_watch: bool,
}

impl ApiProxy {
    /// Listens.
    ///
    /// # Panics
    /// There is no free port.
    pub fn listen(plane: &'static ControlPlane) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(client, plane, &state));
            }
        });
        Self { url, shared }
    }

    /// Closes every connection, and new ones at once.
    pub fn cut(&self) {
        let mut shared = lock(&self.shared);
        shared.is_cut = true;
        for stream in shared.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        lock(&self.shared).is_cut = false;
    }

    /// Answers the next watch of injected pods as the API server does when it has forgotten what happened since.
    pub fn expire_next_watch(&self) {
        lock(&self.shared).expires_next_watch = true;
    }

    /// How many requests for pods have `text` in their first line.
    pub fn requests(&self, text: &str) -> usize {
        let shared = lock(&self.shared);
        shared.pods.iter().filter(|(line, _)| line.contains(text)).count()
    }

    /// What the API server said about pods.
    pub fn answers(&self) -> String {
        let shared = lock(&self.shared);
        let answers = shared.pods.iter().map(|(_, answer)| String::from_utf8_lossy(answer));
        answers.collect()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut client: TcpStream, plane: &ControlPlane, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
    let mut line = String::new();
    if lock(shared).is_cut || reader.read_line(&mut line).is_err() {
        return;
    }
    let is_about_pods = line.starts_with("GET /api/v1/pods?");
    let is_about_injected = is_about_pods && !line.contains("labelSelector=%21");
    if is_about_injected && line.contains("watch=") && std::mem::take(&mut lock(shared).expires_next_watch) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
            "reason": "Expired", "message": "too old resource version: 1 (2)"});
        let event = json!({"type": "ERROR", "object": status}).to_string() + "\n";
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length";
        let _ = write!(client, "{head}: {}\r\n\r\n{event}", event.len());
        return;
    }
    let mut server = TcpStream::connect(plane.address()).expect("the API server listens");
    let index = {
        let mut shared = lock(shared);
        let handles = [&client, &server].map(|stream| stream.try_clone().expect("a second handle"));
        shared.open.extend(handles);
        if is_about_pods {
            shared.pods.push((line.clone(), Vec::new()));
        }
        shared.pods.len()
    };
    // The API server closes after its answer, and with it the client opens a new connection for its next request.
    let _ = write!(server, "{line}Connection: close\r\n");
    let mut requests = server.try_clone().expect("a second handle");
    std::thread::spawn(move || std::io::copy(&mut reader, &mut requests));
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        if is_about_pods {
            lock(shared).pods[index - 1].1.extend_from_slice(&buffer[..length]);
        }
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    for stream in [client, server] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
