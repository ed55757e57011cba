//! Answers of a JVM's attach listener, and requests to it: each has its arguments, neither more nor fewer.

use sideflame::runtime::jvm::attach_protocol::{Version, decode, encode, fits_v1, load_outcome, understood_version};

use crate::{Seed, parts};

/// An answer, and the words of a request, a line each.
pub(crate) fn run(bytes: &[u8]) {
    let [answer, words] = parts::split(bytes);
    if let Ok(reply) = decode(answer) {
        let _ = (load_outcome(&reply), understood_version(&reply));
        let written = format!("{}\n{}", reply.code, reply.text);
        assert_eq!(decode(written.as_bytes()), Ok(reply));
    }
    let words = String::from_utf8_lossy(words);
    let mut words = words.lines();
    let command = words.next().unwrap_or_default();
    let arguments: Vec<&str> = words.collect();
    if let Ok(request) = encode(Version::V1, command, &arguments) {
        assert!(fits_v1(&arguments));
        let fields: Vec<&[u8]> = request.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).collect();
        assert_eq!((fields.len(), fields[0], fields[1]), (5, b"1".as_slice(), command.as_bytes()));
        for (index, field) in fields[2..].iter().enumerate() {
            assert_eq!(*field, arguments.get(index).copied().unwrap_or_default().as_bytes());
        }
    }
    if let Ok(request) = encode(Version::V2, command, &arguments) {
        let mut fields = request.splitn(3, |byte| *byte == 0);
        assert_eq!(fields.next(), Some(b"2".as_slice()));
        let length: usize = std::str::from_utf8(fields.next().unwrap()).unwrap().parse().unwrap();
        let body = fields.next().unwrap();
        assert_eq!(length, body.len());
        let sent: Vec<&[u8]> = body.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).collect();
        let given: Vec<&[u8]> = std::iter::once(command).chain(arguments).map(str::as_bytes).collect();
        assert_eq!(sent, given);
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |answer: &[u8], request: &[u8]| parts::join(&[answer, request]);
    vec![
        ("jdk8", seed(b"0\n0", b"load\n/x.so\ntrue\nstart")),
        ("jdk17", seed(b"0\nreturn code: 0\n", b"load\n/x.so\ntrue\nstop,file=/tmp/x")),
        (
            "jdk21-not-loaded",
            seed(
                b"0\n/x.so was not loaded.\n/x.so: failed to map segment from shared object\n",
                b"getversion\noptions",
            ),
        ),
        ("jdk25", seed(b"0\n2 streaming\n", b"jcmd\nVM.version\na\nb\nc")),
        ("refused", seed(b"101\njava.lang.Exception\n", b"properties")),
    ]
}
