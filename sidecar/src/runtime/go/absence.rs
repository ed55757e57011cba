//! Why a pprof port cannot be used, in words: what the doctor says before is what the recorder says after.

use super::address::Address;
use crate::runtime::{PprofAbsence, Reason, stopped};

/// What a program must do to be profiled.
const SERVE_PPROF: &str = "add to the program: import _ \"net/http/pprof\", and \
                           go http.ListenAndServe(\"127.0.0.1:6060\", nil) in main";

/// Unix sockets that a sentence names.
const SHOWN_SOCKETS: usize = 8;

/// The port is not, or no longer, the program's.
pub(super) fn listens_elsewhere(address: &Address) -> Reason {
    Reason::new(
        "pprof_not_found",
        format!("the program does not listen on {address}, where a pprof port was found or expected"),
        "try again in a few seconds: it has just closed the port, or another process has it",
    )
}

/// The port of an address, of a Unix socket what stands for it.
fn port(address: &str) -> &str {
    match address.parse() {
        Ok(Address::Tcp(_)) => address.rsplit(':').next().unwrap_or(address),
        _ => "<port>",
    }
}

/// Sideflame has no certificate to show.
pub(super) fn wants_certificate(address: &str) -> Reason {
    Reason::new(
        "pprof_wants_certificate",
        format!("{address} wants a client certificate (mutual TLS), and sideflame has none"),
        format!("let pprof have a port of its own on loopback, without TLS: {SERVE_PPROF}"),
    )
}

/// The server at a URL did not prove who it is.
pub(super) fn unverified(url: &str, error: &std::io::Error) -> Reason {
    Reason::new(
        "tls_certificate_unverified",
        format!("{url} did not prove that it is the server of that name: {error}"),
        "give sideflame the certificate of the authority that signed its own: --url-ca FILE, or ca.crt in the Secret of secret=",
    )
}

/// What to tell sideflame when `port` wants to know who asks.
pub(super) fn give_header(port: &str) -> String {
    format!(
        "give sideflame the port and the header: --go-pprof-port {port} --go-pprof-header '{port}=Authorization: Bearer <token>'"
    )
}

/// The sentence for each absence.
pub(super) fn explain(absence: &PprofAbsence) -> Reason {
    match absence {
        PprofAbsence::Stopped => stopped(),
        PprofAbsence::OtherNetworkNamespace { .. } => Reason::new(
            "other_network_namespace",
            "the program is in another network namespace, and to enter it sideflame lacks CAP_SYS_ADMIN or CAP_SYS_PTRACE; the \
             program's loopback ports cannot be reached from here",
            "run sideflame with capabilities: {add: [SYS_ADMIN, SYS_PTRACE]} (kubectl debug node/<node> --profile=sysadmin has \
             them) or in the same pod (kubectl debug --target=<container>); or kubectl port-forward to that pod's pprof port \
             and use go tool pprof",
        ),
        PprofAbsence::SocketsUnreadable { detail } => Reason::new(
            "sockets_unreadable",
            format!("sideflame may not see on which ports the program listens: {detail}"),
            "name the pprof port: --go-pprof-port <port>; or run sideflame as the user and group of the program",
        ),
        PprofAbsence::NoListeningPort => Reason::new(
            "no_listening_port",
            "the program listens on no TCP port and no Unix socket, so it serves no net/http/pprof",
            SERVE_PPROF,
        ),
        PprofAbsence::NotOnPorts {
            ports,
            untried,
            sockets,
            path,
        } => not_on_ports((ports, untried), sockets, path),
        PprofAbsence::Unauthorized { address, status } => Reason::new(
            "pprof_unauthorized",
            format!("{address} answered {status}: it wants to know who asks for profiles"),
            give_header(port(address)),
        ),
        PprofAbsence::UnverifiedTls { address } => Reason::new(
            "tls_certificate_unverified",
            format!("{address} speaks TLS, and no authority vouches for the certificate of a local port"),
            format!("accept it: --go-pprof-insecure-tls={}", port(address)),
        ),
        PprofAbsence::MutualTls { address } => wants_certificate(address),
        PprofAbsence::Redirected {
            address,
            status,
            location,
        } => Reason::new(
            "pprof_redirected",
            format!(
                "{address} answered {status}: it sends whoever asks for profiles to {location}, and redirects are not followed"
            ),
            "exempt /debug/pprof/ from the redirect; or name the place it leads to: --go-pprof-port, --go-pprof-path-prefix, and \
             --go-pprof-insecure-tls for https",
        ),
        PprofAbsence::ProbeFailed { detail } => Reason::new(
            "pprof_probe_failed",
            format!("sideflame could not ask for pprof: {detail}"),
            "correct --go-pprof-header or --go-pprof-path-prefix",
        ),
    }
}

fn not_on_ports((ports, untried): (&[u16], &[u16]), sockets: &[String], path: &str) -> Reason {
    let list = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let mut asked = match ports {
        [] => String::new(),
        [port] => format!("port {port} does not serve net/http/pprof at {path}"),
        ports => format!("none of the ports {} serves net/http/pprof at {path}", list(ports)),
    };
    if !sockets.is_empty() {
        let beside = if ports.is_empty() {
            "the program listens on no TCP port, and "
        } else {
            "; "
        };
        let shown = &sockets[..sockets.len().min(SHOWN_SOCKETS)];
        let more = if shown.len() < sockets.len() { ", …" } else { "" };
        let none = format!(
            "its Unix sockets do not serve it at {path} either: {}{more}",
            shown.join(", ")
        );
        asked = format!("{asked}{beside}{none}");
    }
    let shown = &untried[..untried.len().min(16)];
    let more = if shown.len() < untried.len() { ", …" } else { "" };
    let sentence = match shown {
        [] => asked,
        shown => format!("{asked}; not asked: {}{more}", list(shown)),
    };
    let remedy = format!("{SERVE_PPROF}; or, if it serves pprof elsewhere, --go-pprof-port or --go-pprof-path-prefix");
    Reason::new("pprof_not_found", sentence, remedy)
}

/// Where nothing was looked for.
pub(super) fn not_looked_for() -> Reason {
    Reason::new("pprof_not_found", "the program serves no net/http/pprof", SERVE_PPROF)
}
