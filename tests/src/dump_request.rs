//! A dump that is asked for by a client that does not wait for the end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Server;

/// How a dump ends before it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By DELETE.
    Cancelled,
    /// Its client goes away.
    HungUp,
    /// Its recorder is killed.
    Killed,
}

/// An open request.
#[derive(Debug)]
pub struct DumpRequest(TcpStream);

impl DumpRequest {
    /// Asks for what `query` says.
    ///
    /// # Panics
    /// The server takes no connection.
    pub fn send(server: &Server, query: &str) -> Self {
        let address = server.url.strip_prefix("http://").expect("plain HTTP");
        let mut client = TcpStream::connect(address).expect("the server listens");
        write!(
            client,
            "POST /dump?confirm=yes&{query} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .expect("the server reads");
        Self(client)
    }

    /// Waits for the beginning of the answer, and goes away.
    ///
    /// # Panics
    /// There is no dump.
    pub fn leave_in_mid_body(mut self) {
        let mut head = [0; 4096];
        self.0.read_exact(&mut head).expect("an answer");
        assert!(head.starts_with(b"HTTP/1.1 200"));
        self.0.shutdown(Shutdown::Both).expect("an open connection");
    }

    /// Ends the only capture of the server so.
    ///
    /// # Panics
    /// There is a dump all the same.
    pub fn give_up(mut self, server: &Server, end: End) {
        match end {
            End::Cancelled => {
                let captures = server.get("/captures").ok().json();
                let id = captures[0]["id"].as_str().expect("a capture");
                assert_eq!(server.send("DELETE", &format!("/captures/{id}"), &[]).status, 204);
            }
            End::HungUp => return self.0.shutdown(Shutdown::Both).expect("an open connection"),
            End::Killed => {
                let recorder = server.recorder().expect("a recorder");
                kill(Pid::from_raw(recorder), Signal::SIGKILL).expect("it is ours");
            }
        }
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).expect("an answer");
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
