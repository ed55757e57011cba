//! The virtual threads of a JVM, which its thread dump does not have, by a file that it writes for us: JDK 21 and later.
//!
//! The file lies in a directory of ours in the target's `/tmp`, and its name is gone before it is read. It is the JDK's JSON; what is passed
//! on is text, written as HotSpot writes its own threads. Called by [`super::thread_dump`]. Source: OpenJDK `ThreadDumper.java` of 21 and 25.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::attach::Attach;
use super::doctor;
use super::record::reach;
use super::virtual_threads;
use super::waits::Waits;
use crate::process::ProcessTable;
use crate::profile::format::thread_dump::{END_OF_VIRTUAL, VIRTUAL_THREADS};
use crate::profile::frame_name::plain_text;
use crate::runtime::own_directory::{self, OwnDirectory};
use crate::runtime::{Control, RecordError, RecordOrder, Target, dump};

/// Where the JVM writes: it listens there as well.
const DIRECTORY: &str = "/tmp";

/// What the directory is for.
const PURPOSE: &str = "threads";

/// The first JDK with virtual threads.
const FIRST: u32 = 21;

/// The JVM stops a virtual thread at a time, some 50 µs each.
const LIMIT: Duration = Duration::from_secs(60);

/// Virtual threads that are told; the others are counted.
const MOST_TOLD: u64 = 20_000;

/// Of a thread.
const MOST_FRAMES: usize = 1024;

/// Of a thread.
const MOST_LOCKS: usize = 64;

/// Bytes of the file that are read: some 200,000 threads.
const MOST_BYTES: u64 = 256 << 20;

/// Removes what a recorder that was killed left in `target`.
pub fn sweep(target: &Target) {
    let table = ProcessTable::default();
    if let Some((process, root)) = own_directory::still_there(&table, target) {
        own_directory::sweep(&root, Path::new(DIRECTORY), &process, PURPOSE, |_| {});
    }
}

/// Appends the virtual threads to a dump of the others, if there are any. Returns what is to be said of those that are missing.
///
/// # Errors
/// The capture was given up, the process ended, or the output fails. A JVM that does not tell them is none.
pub(super) fn append(
    order: &RecordOrder,
    output: &mut dyn Write,
    control: &Control,
) -> Result<Option<String>, RecordError> {
    let (process, root) = reach(control.table(), &order.target)?;
    let release = order.target.version().and_then(doctor::feature_release);
    let any = match release {
        Some(release) => release >= FIRST && virtual_threads::perhaps(control.table(), &process),
        None => virtual_threads::unseen(control.table(), &process).is_some(),
    };
    if !any {
        return Ok(None);
    }
    let missing = |error: RecordError| match error {
        RecordError::Cancelled | RecordError::TargetExited | RecordError::StoreFull { .. } => Err(error),
        error => Ok(Some(format!("virtual threads are missing: {error}"))),
    };
    /// Of 10,000 threads it has 12 MB.
    const USUAL_BYTES: u64 = 32 << 20;
    let directory = Path::new(DIRECTORY);
    if let Err(error) = dump::enough_disk(&root, directory, USUAL_BYTES, "") {
        return missing(error);
    }
    let place = match OwnDirectory::create(&root, directory, &process, PURPOSE) {
        Ok(place) => place,
        Err(error) => return missing(dump::no_place(directory, &error, "")),
    };
    let waits = Waits::interruptible(control, process.id);
    let mut attach = Attach::new(&root, &process).that_gives_up();
    let command = format!("Thread.dump_to_file -format=json {}", place.path());
    let answer = match attach.command(&waits, ("the dump of virtual threads", LIMIT), "jcmd", &[&command]) {
        Ok(answer) => answer,
        Err(error) => return missing(error),
    };
    let file = match place.take(process.credentials.uid) {
        Ok(file) => file,
        Err(_) => {
            return missing(RecordError::Tool {
                tool: "Thread.dump_to_file of the JVM".to_owned(),
                message: dump::own_words(&answer.text.replace(&place.path(), "the file"), ""),
            });
        }
    };
    drop(place);
    let told = tell(file.take(MOST_BYTES), output).map_err(|error| RecordError::io("store the recording", &error))?;
    Ok(match told {
        Told { broken: Some(why), .. } => Some(format!(
            "virtual threads are missing: what the JVM wrote of them is broken ({why})"
        )),
        Told { left_out: 0, .. } => None,
        Told { left_out, .. } => Some(format!(
            "{left_out} more virtual threads were left out, {MOST_TOLD} are told"
        )),
    })
}

/// What became of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    left_out: u64,
    broken: Option<String>,
}

/// Writes the virtual threads of the JSON in `input` as text.
///
/// # Errors
/// The output fails.
pub(super) fn tell(input: impl Read, output: &mut dyn Write) -> io::Result<Told> {
    writeln!(output, "\n{VIRTUAL_THREADS}")?;
    let mut listing = Listing {
        output,
        told: 0,
        left_out: 0,
        failed: None,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(ShortLines::new(input)));
    let read = Node(&mut listing).deserialize(&mut json);
    let Listing {
        output,
        told,
        left_out,
        failed,
    } = listing;
    if let Some(error) = failed {
        return Err(error);
    }
    writeln!(output, "\n{END_OF_VIRTUAL}{told}, left out: {left_out}")?;
    output.flush()?;
    Ok(Told {
        left_out,
        broken: read.err().map(|error| plain_text(&error.to_string()).into_owned()),
    })
}

/// Fails where a line is longer than any of the JDK's, which writes each text into one of its own: so no text fills our memory.
struct ShortLines<R> {
    input: R,
    length: usize,
}

impl<R> ShortLines<R> {
    fn new(input: R) -> Self {
        Self { input, length: 0 }
    }
}

impl<R: Read> Read for ShortLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const LONGEST: usize = 64 << 10;
        let count = self.input.read(buffer)?;
        for line in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            self.length += line.len();
            if self.length > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            if line.ends_with(b"\n") {
                self.length = 0;
            }
        }
        Ok(count)
    }
}

/// Where the threads go.
struct Listing<'a> {
    output: &'a mut dyn Write,
    told: u64,
    left_out: u64,
    /// Why nothing more can be written.
    failed: Option<io::Error>,
}

impl Listing<'_> {
    fn thread(&mut self, thread: &Thread) -> Result<(), &'static str> {
        if !thread.is_virtual() {
            return Ok(());
        }
        if self.told == MOST_TOLD {
            self.left_out += 1;
            return Ok(());
        }
        self.told += 1;
        thread.write(self.output).map_err(|error| {
            self.failed = Some(error);
            "the output fails"
        })
    }
}

/// A part of the document in which lists of threads lie.
struct Node<'a, 'b>(&'a mut Listing<'b>);

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a thread dump")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "threadDump" | "threadContainers" => map.next_value_seed(Node(self.0))?,
                "threads" => map.next_value_seed(Threads(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut containers: A) -> Result<(), A::Error> {
        while containers.next_element_seed(Node(self.0))?.is_some() {}
        Ok(())
    }
}

struct Threads<'a, 'b>(&'a mut Listing<'b>);

impl<'de> DeserializeSeed<'de> for Threads<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Threads<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of threads")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut threads: A) -> Result<(), A::Error> {
        while let Some(thread) = threads.next_element::<Thread>()? {
            self.0.thread(&thread).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// JDK 21 tells name, number and stack, later ones what it does and its locks as well.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Thread {
    tid: Option<Number>,
    name: String,
    state: Option<String>,
    r#virtual: Option<bool>,
    park_blocker: Option<Blocker>,
    blocked_on: Option<String>,
    waiting_on: Option<String>,
    monitors_owned: First<Owned, MOST_FRAMES>,
    stack: First<String, MOST_FRAMES>,
}

/// A number, as text before format 2 of the file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Number(u64),
}

impl Number {
    fn value(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => Some(*number),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Blocker {
    object: Option<String>,
}

/// Locks that were taken in one frame.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Owned {
    locks: First<Option<String>, MOST_LOCKS>,
}

/// The first of a list, however long it is.
#[derive(Debug)]
struct First<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Default for First<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for First<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for First<T, MOST> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self, A::Error> {
        while self.0.len() < MOST {
            match list.next_element()? {
                Some(one) => self.0.push(one),
                None => return Ok(self),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

impl Thread {
    /// JDK 21 does not say it, but the first method of each is one that only they have.
    fn is_virtual(&self) -> bool {
        let begins = |frame: &String| frame.contains("java.lang.VirtualThread.run(");
        self.r#virtual
            .unwrap_or_else(|| self.stack.0.last().is_some_and(begins))
    }

    fn waits_for(&self) -> Option<(&'static str, &str)> {
        let parks = self.park_blocker.as_ref().and_then(|blocker| blocker.object.as_deref());
        let waits = [
            ("waiting to lock", self.blocked_on.as_deref()),
            ("waiting on", self.waiting_on.as_deref()),
            ("parking to wait for ", parks),
        ];
        waits.into_iter().find_map(|(how, lock)| Some((how, lock?)))
    }

    fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let id = self.tid.as_ref().and_then(Number::value).unwrap_or_default();
        writeln!(output, "\n\"{}\" #{id} virtual", plain_text(&self.name))?;
        if let Some(state) = &self.state {
            writeln!(output, "   java.lang.Thread.State: {}", plain_text(state))?;
        }
        for (depth, frame) in self.stack.0.iter().enumerate() {
            writeln!(output, "\tat {}", plain_text(without_module(frame)))?;
            if let Some((how, lock)) = self.waits_for().filter(|_| depth == 0) {
                writeln!(output, "\t- {how} <{}>", plain_text(lock))?;
            }
        }
        let owned = self.monitors_owned.0.iter().flat_map(|owned| &owned.locks.0);
        for lock in owned.flatten().take(MOST_LOCKS) {
            writeln!(output, "\t- locked <{}>", plain_text(lock))?;
        }
        Ok(())
    }
}

/// `java.base/java.lang.Thread.run(Thread.java:9)` without its module and loader; a slash is also in names of hidden classes.
fn without_module(frame: &str) -> &str {
    let method = frame.find('(').unwrap_or(frame.len());
    let class = frame[..method].find("$$").unwrap_or(method);
    frame[..class].rfind('/').map_or(frame, |slash| &frame[slash + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = r#"{
  "threadDump": {
    "processId": "17",
    "threadContainers": [
      {
        "container": "<root>",
        "parent": null,
        "threads": [
          { "tid": "3", "name": "main", "state": "WAITING", "stack": ["demo.Main.main(Main.java:1)"] },
          {
            "tid": "31", "virtual": true, "name": "guest\n\"1\" #2 virtual\u001b[2J", "state": "BLOCKED",
            "blockedOn": "demo.Door@1",
            "stack": [
              "app\/\/demo.Shop$$Lambda\/0x01.enter(Unknown Source)",
              "java.base\/java.lang.VirtualThread.run(VirtualThread.java:4)"
            ],
            "monitorsOwned": [ { "depth": 1, "locks": [null, "demo.Till@2"] } ]
          }
        ],
        "threadCount": "2"
      },
      {
        "container": "pool",
        "threads": [
          { "tid": 32, "name": "", "stack": ["java.base\/java.lang.VirtualThread.run(VirtualThread.java:4)"] }
        ]
      }
    ]
  }
}"#;

    fn list(json: &str) -> (String, Told) {
        let mut output = Vec::new();
        let told = tell(json.as_bytes(), &mut output).unwrap();
        (String::from_utf8(output).unwrap(), told)
    }

    #[test]
    fn virtual_threads_are_told_as_hotspot_tells_its_own() {
        let (text, told) = list(DUMP);
        let expected = "
Virtual threads:

\"guest \"1\" #2 virtual\u{fffd}[2J\" #31 virtual
   java.lang.Thread.State: BLOCKED
\tat demo.Shop$$Lambda/0x01.enter(Unknown Source)
\t- waiting to lock <demo.Door@1>
\tat java.lang.VirtualThread.run(VirtualThread.java:4)
\t- locked <demo.Till@2>

\"\" #32 virtual
\tat java.lang.VirtualThread.run(VirtualThread.java:4)

Virtual threads told: 2, left out: 0
";
        assert_eq!(text, expected);
        assert_eq!(
            told,
            Told {
                left_out: 0,
                broken: None
            }
        );
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let one = "{ \"tid\": \"1\", \"virtual\": true, \"stack\": [] },\n";
        let many = one.repeat(usize::try_from(MOST_TOLD).unwrap() + 7);
        let json = format!(
            "{{\"threadContainers\": [{{\"threads\": [{}]}}]}}",
            many.trim_end_matches(",\n")
        );
        let (text, told) = list(&json);
        assert_eq!(
            told,
            Told {
                left_out: 7,
                broken: None
            }
        );
        assert!(text.ends_with("told: 20000, left out: 7\n"));
        let deep = format!("[{}\"a.b(C.java:1)\"]", "\"a.b(C.java:1)\",\n".repeat(5000));
        let json = format!("{{\"threads\": [{{\"virtual\": true, \"stack\": {deep}}}]}}");
        let (text, _) = list(&json);
        assert_eq!(text.matches("\tat ").count(), MOST_FRAMES);
    }

    #[test]
    fn what_is_cut_malformed_or_endless_is_said_and_the_text_is_whole() {
        for end in 0..DUMP.len() - 1 {
            let (text, told) = list(&DUMP[..end]);
            assert!(
                told.broken.is_some() && text.contains("\nVirtual threads told: "),
                "{end}"
            );
        }
        let endless = DUMP.replace("demo.Main.main", &"x".repeat(100_000));
        assert!(list(&endless).1.broken.is_some());
        let nested = "[".repeat(100_000).replace("[[[[", "[[[[\n");
        assert!(list(&nested).1.broken.is_some());
    }
}
