//! A DNS server of a test's own, on loopback, that says of a name what it is told to, one answer after the other.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use crate::app::in_own_mounts;

/// Addresses of each name, by question; the last answer is given again and again.
type Answers = HashMap<String, Vec<Vec<Ipv4Addr>>>;

/// The server.
#[derive(Debug)]
pub struct Resolver {
    configuration: PathBuf,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Resolver {
    /// Starts one that has `answers` for the addresses (A) of names; there are no others (AAAA).
    ///
    /// # Panics
    /// Port 53 of its loopback address cannot be had.
    pub fn start(answers: &[(&str, &[&[Ipv4Addr]])]) -> Self {
        static NUMBER: AtomicU8 = AtomicU8::new(0);
        // Of its own among those of other test programs.
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 100 + NUMBER.fetch_add(1, Ordering::Relaxed), high, low.max(1));
        let socket = UdpSocket::bind((address, 53)).expect("port 53, which is root's");
        let configuration = std::env::temp_dir().join(format!("sideflame-resolv-{address}.conf"));
        std::fs::write(&configuration, format!("nameserver {address}\n")).expect("a file");
        let answers: Answers = answers
            .iter()
            .map(|(name, answers)| ((*name).to_owned(), answers.iter().map(|one| one.to_vec()).collect()))
            .collect();
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || serve(&socket, &answers, &counted));
        Self { configuration, asked }
    }

    /// How often the addresses of `name` were asked for.
    ///
    /// # Panics
    /// Its thread panicked.
    pub fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// `command` as a program that asks this server for names.
    pub fn used_by(&self, command: &Command) -> Command {
        let script = format!("mount --bind {} /etc/resolv.conf && exec", self.configuration.display());
        in_own_mounts(&script, command)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.configuration);
    }
}

fn serve(socket: &UdpSocket, answers: &Answers, asked: &Mutex<HashMap<String, usize>>) {
    const A: u16 = 1;
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        let question = &question[..length];
        let Some((name, kind, end)) = parse(question) else {
            continue;
        };
        let mut addresses: &[Ipv4Addr] = &[];
        if let (A, Some(answers)) = (kind, answers.get(&name)) {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(name).or_default();
            addresses = answers.get(*times).or(answers.last()).map_or(&[], Vec::as_slice);
            *times += 1;
        }
        let count = u16::try_from(addresses.len()).unwrap_or_default();
        // RFC 1035 §4.1: the question's id, an answer that recursion was available for, one question, so many answers.
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(&question[12..end]);
        for address in addresses {
            // The name of the question; A, IN, no time to live, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(address.octets());
        }
        let _ = socket.send_to(&answer, from);
    }
}

/// Name and type of the question, and where it ends.
fn parse(packet: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4)).filter(|(_, _, end)| *end <= packet.len())
}
