//! A TCP forward between a client and a server that can be cut and mended, as `kubectl port-forward` is by networks.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What its threads share.
#[derive(Debug, Default)]
struct State {
    /// All connections, at both ends.
    open: Vec<TcpStream>,
    is_cut: bool,
    /// Bytes from the server after which it is cut.
    left: Option<usize>,
}

/// A forward; gone with the process.
#[derive(Debug)]
pub struct Forwarder {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Forwarder {
    /// Forwards a free port to the server at `url`.
    ///
    /// # Panics
    /// There is no free port.
    pub fn to(url: &str) -> Self {
        let server: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Whoever comes while it is cut is hung up on, as the kernel would without a listener.
                let mut state = shared.lock().unwrap();
                let Some(server) = TcpStream::connect(server).ok().filter(|_| !state.is_cut) else {
                    continue;
                };
                state
                    .open
                    .extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                drop(state);
                let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let counted = Arc::clone(&shared);
                std::thread::spawn(move || pass(client, to_server, |_| ()));
                std::thread::spawn(move || pass(server, to_client, |bytes| spend(&counted, bytes)));
            }
        });
        Self { url, state }
    }

    /// Ends all connections, and takes no others.
    ///
    /// # Panics
    /// A thread of it has.
    pub fn cut(&self) {
        cut(&mut self.state.lock().unwrap());
    }

    /// Cuts as soon as so many more bytes have come from the server.
    ///
    /// # Panics
    /// A thread of it has.
    pub fn cut_after(&self, bytes: usize) {
        self.state.lock().unwrap().left = Some(bytes);
    }

    /// Whether it is cut.
    ///
    /// # Panics
    /// A thread of it has.
    pub fn is_cut(&self) -> bool {
        self.state.lock().unwrap().is_cut
    }

    /// Takes connections again.
    ///
    /// # Panics
    /// A thread of it has.
    pub fn mend(&self) {
        self.state.lock().unwrap().is_cut = false;
    }
}

fn cut(state: &mut State) {
    (state.is_cut, state.left) = (true, None);
    for end in state.open.drain(..) {
        let _ = end.shutdown(Shutdown::Both);
    }
}

fn spend(state: &Mutex<State>, bytes: usize) {
    let mut state = state.lock().unwrap();
    match state.left {
        Some(left) if left <= bytes => cut(&mut state),
        Some(left) => state.left = Some(left - bytes),
        None => {}
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, passed: impl Fn(usize)) {
    let mut buffer = vec![0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        passed(read);
    }
    let _ = to.shutdown(Shutdown::Write);
}
