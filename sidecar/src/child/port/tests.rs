//! Runtimes that behave, and those that do not, at a real socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Peer;

use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::process::ProcessId;
use crate::runtime::{Introduction, Line};

struct Opened {
    folder: TempDir,
    port: Port,
}

fn opened() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::open(&folder.path().join("port.sock"), ProcessTable::default()).unwrap();
    Opened { folder, port }
}

/// Waits for what the tasks of the port bring about.
async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

impl Opened {
    fn dial(&self) -> Peer {
        let peer = Peer::connect(self.port.path()).unwrap();
        peer.set_nonblocking(true).unwrap();
        peer
    }

    /// Connects as the runtime with this cookie; all are processes of the test.
    fn call(&self, mark: u8) -> Peer {
        let mut peer = self.dial();
        peer.write_all(&Advertise::example(mark, 7)).unwrap();
        peer
    }

    async fn only(&self) -> Known {
        until("one runtime", || {
            let mut known = self.port.known();
            (known.len() == 1).then(|| known.remove(0))
        })
        .await
    }
}

/// The bytes that came, until the other end closed it.
async fn closed(peer: &mut Peer) -> Vec<u8> {
    let mut heard = Vec::new();
    until("the end of the connection", || {
        match peer.read_to_end(&mut heard) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            // What we said was not read.
            _ => Some(()),
        }
    })
    .await;
    heard
}

async fn connection(line: &Line) -> io::Result<Peer> {
    until("an answer on the line", || match line.connection() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        answer => Some(answer),
    })
    .await
}

fn end_of(served: &ServedLine) -> Line {
    use std::os::fd::AsFd;
    Line::new(served.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

#[tokio::test]
async fn a_runtime_is_known_from_its_first_words_to_its_end() {
    let opened = opened();
    assert!(opened.port.is_idle());
    let peer = opened.call(1);
    let known = opened.only().await;
    let us = i32::try_from(std::process::id()).unwrap();
    assert_eq!(known.caller.process.unwrap().pid, us, "the kernel's word, not its own");
    assert_eq!((known.id.pid, known.id.is_outside()), (us, false));
    drop(peer);
    until("no runtime", || opened.port.is_idle().then_some(())).await;
}

#[tokio::test]
async fn a_child_gets_the_connection_unread_and_then_the_next() {
    let opened = opened();
    let mut first = opened.call(1);
    let known = opened.only().await;
    let served = opened.port.line(&known.caller).unwrap().unwrap();
    let line = end_of(&served);
    let mut got = connection(&line).await.unwrap();
    got.write_all(b"command").unwrap();
    let mut heard = [0; 7];
    until("the command", || first.read_exact(&mut heard).ok()).await;
    assert_eq!(&heard, b"command");
    assert!(line.connection().is_err(), "there is no other one yet");
    let mut second = opened.call(1);
    let mut got = connection(&line).await.unwrap();
    second.write_all(b"answer").unwrap();
    let mut heard = [0; 6];
    until("the answer", || got.read_exact(&mut heard).ok()).await;
    assert_eq!(&heard, b"answer");
}

#[tokio::test]
async fn the_newest_connection_of_a_runtime_counts() {
    let opened = opened();
    let mut first = opened.call(1);
    opened.only().await;
    let mut second = opened.call(1);
    assert_eq!(closed(&mut first).await, b"");
    let known = opened.only().await;
    let served = opened.port.line(&known.caller).unwrap().unwrap();
    connection(&end_of(&served)).await.unwrap().write_all(b"x").unwrap();
    let mut heard = [0];
    until("the command", || second.read_exact(&mut heard).ok()).await;
}

#[tokio::test]
async fn whoever_says_anything_else_or_more_is_dropped() {
    let opened = opened();
    let mut wrong = opened.dial();
    wrong.write_all(&[b'x'; Advertise::LENGTH]).unwrap();
    closed(&mut wrong).await;
    assert!(opened.port.is_idle());
    let mut talks = opened.call(1);
    opened.only().await;
    talks.write_all(b"more").unwrap();
    closed(&mut talks).await;
    until("no runtime", || opened.port.is_idle().then_some(())).await;
}

#[tokio::test]
async fn connections_that_say_nothing_make_room_for_a_runtime() {
    let opened = opened();
    let mut silent: Vec<Peer> = (0..UNNAMED + 1).map(|_| opened.dial()).collect();
    closed(&mut silent[0]).await;
    let _runtime = opened.call(1);
    opened.only().await;
    closed(&mut silent[1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_does_not_call_again_is_gone() {
    let callers = Arc::new(Callers::default());
    let caller = Caller::example(1);
    let (_runtime, stream) = UnixStream::pair().unwrap();
    callers.arrive(caller, 7, stream);
    let line = ServedLine::to(&callers, &caller).unwrap().unwrap();
    assert!(callers.take(&caller, Duration::ZERO).await.is_some());
    let began = Instant::now();
    assert!(callers.take(&caller, Duration::from_secs(5)).await.is_none());
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(callers.list().len(), 1, "somebody waits for it");
    drop(line);
    assert_eq!(callers.list().len(), 0);
    assert!(ServedLine::to(&callers, &caller).unwrap().is_none());
}

#[tokio::test]
async fn runtimes_with_one_cookie_are_told_apart_by_the_kernels_word() {
    let callers = Arc::new(Callers::default());
    let hidden = Caller::example(1);
    let process = |pid: i32| Caller {
        process: Some(ProcessId { pid, start_time: 9 }),
        ..hidden
    };
    let other_user = Caller { uid: 1001, ..hidden };
    let mut peers = Vec::new();
    for caller in [hidden, process(8), process(9), other_user] {
        let (peer, stream) = UnixStream::pair().unwrap();
        callers.arrive(caller, 7, stream);
        peers.push(peer);
    }
    let known = callers.list();
    assert_eq!(known.len(), 4);
    let ids: std::collections::BTreeSet<_> = known.iter().map(|known| known.id).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.contains(&ProcessId { pid: 8, start_time: 9 }));
    let taken = callers.take(&process(9), Duration::ZERO).await.unwrap();
    taken.try_write(b"9").unwrap();
    let mut heard = [0];
    peers[2].read_exact(&mut heard).await.unwrap();
    // Another program in one of these processes.
    let (_peer, stream) = UnixStream::pair().unwrap();
    let again = Caller {
        cookie: Caller::example(2).cookie,
        ..process(8)
    };
    callers.arrive(again, 7, stream);
    let of_process = callers.list().into_iter().filter(|known| known.id.pid == 8);
    assert_eq!(of_process.map(|known| known.caller).collect::<Vec<_>>(), [again]);
}

#[tokio::test]
async fn no_user_keeps_the_others_out_and_what_was_said_is_kept() {
    let callers = Arc::new(Callers::default());
    let mut peers = Vec::new();
    let mut arrive = |caller: Caller| {
        let (peer, stream) = UnixStream::pair().unwrap();
        callers.arrive(caller, 7, stream);
        peers.push(peer);
    };
    (0..=u8::MAX).map(Caller::example).for_each(&mut arrive);
    assert_eq!(callers.list().len(), 32);
    let other = Caller {
        uid: 1001,
        ..Caller::example(1)
    };
    arrive(other);
    let said = Introduction {
        name: "Shop".to_owned(),
        version: None,
        rid: None,
        is_early: false,
    };
    callers.remember(&other, (Instant::now(), Ok(said.clone())));
    let known = callers.list().into_iter().find(|known| known.caller == other).unwrap();
    assert_eq!(known.said.unwrap().1, Ok(said));
}

#[tokio::test]
async fn a_left_socket_is_replaced_and_nothing_else_is() {
    let Opened { folder, port } = opened();
    let path = port.path().to_owned();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
    let open = || Port::open(&path, ProcessTable::default());
    assert_eq!(open().unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(port);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(open().unwrap());
    std::fs::write(&path, "mine").unwrap();
    let error = open().unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let missing = folder.path().join("no/port.sock");
    assert_eq!(
        Port::open(&missing, ProcessTable::default()).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}
