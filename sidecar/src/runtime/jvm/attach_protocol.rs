//! HotSpot's attach protocol as values: requests to bytes, bytes to replies.
//!
//! Knows no sockets, files or processes. Called by [`super::attach`]. Source: OpenJDK `attachListener.cpp` and
//! `attachListener_posix.cpp` of 8, 17, 21, 24 and 25.

/// Longest argument of a version 1 request (`AttachOperation::arg_length_max`). A longer one makes the JVM close the
/// connection without a word.
const V1_ARGUMENT_LIMIT: usize = 1024;

/// Longest command name of a version 1 request (`AttachOperation::name_length_max`).
const V1_NAME_LIMIT: usize = 16;

/// A version 1 request has exactly this many arguments (`AttachOperation::arg_count_max`).
const V1_ARGUMENTS: usize = 3;

/// Longest version 2 request (`MAX_REQUEST_LEN`).
const V2_LIMIT: usize = 256 * 1024;

/// What a JVM understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Three arguments of at most 1024 bytes; every JDK.
    V1,
    /// Any number of arguments, 256 KiB together; JDK 24 and later.
    V2,
}

/// Why a request cannot be put on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// An argument would end early.
    #[error("an argument contains a NUL character")]
    Nul,
    /// The JVM would drop it.
    #[error("a request of {length} bytes is longer than the {limit} this JVM accepts")]
    TooLong {
        /// Bytes asked for.
        length: usize,
        /// Bytes possible.
        limit: usize,
    },
    /// Version 1 has three arguments.
    #[error("this JVM accepts at most three arguments")]
    TooMany,
}

/// True if a version 1 request can carry these arguments.
pub fn fits_v1(arguments: &[&str]) -> bool {
    arguments.len() <= V1_ARGUMENTS && arguments.iter().all(|argument| argument.len() <= V1_ARGUMENT_LIMIT)
}

/// The bytes of a request.
///
/// # Errors
/// The request cannot be expressed in `version`.
pub fn encode(version: Version, command: &str, arguments: &[&str]) -> Result<Vec<u8>, EncodeError> {
    if command.contains('\0') || arguments.iter().any(|argument| argument.contains('\0')) {
        return Err(EncodeError::Nul);
    }
    let mut body = Vec::new();
    let mut put = |text: &str| {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    };
    match version {
        Version::V1 => {
            if arguments.len() > V1_ARGUMENTS {
                return Err(EncodeError::TooMany);
            }
            let longest = arguments.iter().map(|argument| argument.len()).max().unwrap_or(0);
            if longest > V1_ARGUMENT_LIMIT {
                return Err(EncodeError::TooLong {
                    length: longest,
                    limit: V1_ARGUMENT_LIMIT,
                });
            }
            if command.len() > V1_NAME_LIMIT {
                return Err(EncodeError::TooLong {
                    length: command.len(),
                    limit: V1_NAME_LIMIT,
                });
            }
            put("1");
            put(command);
            for index in 0..V1_ARGUMENTS {
                put(arguments.get(index).copied().unwrap_or(""));
            }
            Ok(body)
        }
        Version::V2 => {
            put(command);
            for argument in arguments {
                put(argument);
            }
            if body.len() > V2_LIMIT {
                return Err(EncodeError::TooLong {
                    length: body.len(),
                    limit: V2_LIMIT,
                });
            }
            let mut request = format!("2\0{}\0", body.len()).into_bytes();
            request.append(&mut body);
            Ok(request)
        }
    }
}

/// What the JVM answered: a number, a line feed, text until it closed the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 0 is success, as far as the listener can tell.
    pub code: i32,
    /// The rest.
    pub text: String,
}

/// The answer does not begin with a number and a line feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedReply {
    /// Nothing at all: how a JVM refuses a peer of another user, or an over-long argument.
    #[error("the JVM closed the connection without an answer")]
    Empty,
    /// Something else.
    #[error("the answer does not begin with a number")]
    NoCode,
}

/// Reads a whole answer.
///
/// # Errors
/// It is empty, or cut before the end of its first line.
pub fn decode(bytes: &[u8]) -> Result<Reply, MalformedReply> {
    if bytes.is_empty() {
        return Err(MalformedReply::Empty);
    }
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(MalformedReply::NoCode)?;
    let code = std::str::from_utf8(&bytes[..end])
        .ok()
        .and_then(|line| line.trim().parse().ok());
    let text = String::from_utf8_lossy(&bytes[end + 1..]).into_owned();
    Ok(Reply {
        code: code.ok_or(MalformedReply::NoCode)?,
        text,
    })
}

/// How `load` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The agent ran and returned this.
    Returned(i32),
    /// The library was not loaded, in the JVM's words.
    NotLoaded(String),
}

/// Reads the answer to `load`.
///
/// JDK 9 and later say `return code: N`, JDK 8 says `N`. A library that was not loaded is code -1 up to JDK 20, but
/// code 0 with a sentence from JDK 21 on: the absence of a return code is what tells.
pub fn load_outcome(reply: &Reply) -> LoadOutcome {
    let returned = reply
        .text
        .lines()
        .find_map(|line| line.trim().strip_prefix("return code:"));
    let number = returned.unwrap_or(&reply.text).trim();
    match number.parse() {
        Ok(code) if reply.code == 0 => LoadOutcome::Returned(code),
        _ => LoadOutcome::NotLoaded(reply.text.trim().to_owned()),
    }
}

/// Reads the answer to `getversion options`: JDK 24 says `2`, JDK 25 `2 streaming`, older ones do not know the command.
pub fn understood_version(reply: &Reply) -> Version {
    let version = reply
        .text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse::<u32>().ok());
    match version {
        Some(version) if reply.code == 0 && version >= 2 => Version::V2,
        _ => Version::V1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: &[u8]) -> Reply {
        decode(bytes).unwrap()
    }

    #[test]
    fn a_version_1_request_always_has_three_arguments() {
        let bytes = encode(Version::V1, "load", &["/x.so", "true"]).unwrap();
        assert_eq!(bytes, b"1\0load\0/x.so\0true\0\0");
    }

    #[test]
    fn a_version_2_request_counts_the_bytes_after_its_header() {
        let bytes = encode(Version::V2, "load", &["/x.so", "true", "start"]).unwrap();
        assert_eq!(bytes, b"2\x0022\0load\0/x.so\0true\0start\0");
    }

    #[test]
    fn an_argument_the_jvm_would_drop_is_refused_here() {
        let long = "x".repeat(V1_ARGUMENT_LIMIT + 1);
        let error = encode(Version::V1, "load", &[&long]);
        assert_eq!(
            error,
            Err(EncodeError::TooLong {
                length: 1025,
                limit: 1024
            })
        );
        assert!(!fits_v1(&[&long]) && fits_v1(&[&long[1..]]));
        assert!(encode(Version::V2, "load", &[&long]).is_ok());
        let huge = "x".repeat(V2_LIMIT);
        assert!(matches!(
            encode(Version::V2, "load", &[&huge]),
            Err(EncodeError::TooLong { .. })
        ));
    }

    #[test]
    fn a_nul_cannot_smuggle_an_argument() {
        assert_eq!(encode(Version::V1, "load", &["/x\0true"]), Err(EncodeError::Nul));
    }

    #[test]
    fn a_fourth_argument_needs_version_2() {
        assert_eq!(
            encode(Version::V1, "a", &["1", "2", "3", "4"]),
            Err(EncodeError::TooMany)
        );
    }

    #[test]
    fn every_truncation_of_the_first_line_is_malformed() {
        let whole = b"0\nreturn code: 0\n";
        assert_eq!(decode(&whole[..0]), Err(MalformedReply::Empty));
        assert_eq!(decode(&whole[..1]), Err(MalformedReply::NoCode));
        assert_eq!(decode(b"\n"), Err(MalformedReply::NoCode));
        assert_eq!(decode(b"hello\nworld"), Err(MalformedReply::NoCode));
        assert_eq!(
            decode(&whole[..2]),
            Ok(Reply {
                code: 0,
                text: String::new()
            })
        );
    }

    #[test]
    fn load_is_understood_as_each_jdk_says_it() {
        assert_eq!(load_outcome(&reply(b"0\n200")), LoadOutcome::Returned(200), "JDK 8");
        assert_eq!(
            load_outcome(&reply(b"0\nreturn code: 0\n")),
            LoadOutcome::Returned(0),
            "JDK 9 and later"
        );
        assert_eq!(
            load_outcome(&reply(b"-1\n/x.so was not loaded.\nno such file\n")),
            LoadOutcome::NotLoaded("/x.so was not loaded.\nno such file".to_owned()),
            "up to JDK 20"
        );
        assert_eq!(
            load_outcome(&reply(b"0\n/x.so was not loaded.\n")),
            LoadOutcome::NotLoaded("/x.so was not loaded.".to_owned()),
            "JDK 21 and later"
        );
    }

    #[test]
    fn every_truncation_of_a_load_answer_is_a_failure() {
        let whole = b"0\nreturn code: 0\n";
        for end in 2..whole.len() - 2 {
            assert!(
                matches!(load_outcome(&reply(&whole[..end])), LoadOutcome::NotLoaded(_)),
                "{end}"
            );
        }
    }

    #[test]
    fn the_version_is_what_the_jvm_says() {
        assert_eq!(understood_version(&reply(b"0\n2 streaming")), Version::V2, "JDK 25");
        assert_eq!(understood_version(&reply(b"0\n2\n")), Version::V2, "JDK 24");
        assert_eq!(
            understood_version(&reply(b"-1\nOperation getversion not recognized!\n")),
            Version::V1,
            "JDK 17"
        );
        assert_eq!(understood_version(&reply(b"0\n1\n")), Version::V1);
        assert_eq!(understood_version(&reply(b"0\n")), Version::V1);
    }
}
