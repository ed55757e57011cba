//! Core files, by what a reader of ELF says of them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader};

use super::layout::Segment;
use super::*;
use crate::process::ProcessTable;
use crate::runtime::native::maps::Permissions;

type Header = FileHeader64<LittleEndian>;

/// A core file of so many segments of one page each, of which one of 64 is kept.
fn of_segments(count: u64) -> (Layout, Vec<u8>) {
    const PAGE: u64 = 4096;
    let mut layout = Layout::read(Path::new("/proc/self"), PAGE, &mut || true).unwrap();
    layout.files.clear();
    layout.segments = (0..count)
        .map(|at| Segment {
            address: at * 2 * PAGE,
            kept: if at % 64 == 1 { PAGE } else { 0 },
            size: PAGE,
            permissions: Permissions {
                readable: true,
                executable: at == 0,
                ..Permissions::default()
            },
            has_gaps: false,
        })
        .collect();
    let notes = notes::about(&About::default());
    let file = CoreFile::new(&layout, notes.len() as u64);
    let mut bytes = Vec::new();
    file.write_headers(&mut bytes).unwrap();
    bytes.extend(notes);
    file.write_padding(&mut bytes).unwrap();
    for segment in layout.segments.iter().filter(|segment| segment.kept > 0) {
        bytes.extend(vec![letter(segment.address); usize::try_from(PAGE).unwrap()]);
    }
    assert_eq!(bytes.len() as u64, file.length());
    (layout, bytes)
}

/// What is in the pages of a segment.
fn letter(address: u64) -> u8 {
    u8::try_from(address / 4096 % 251).unwrap()
}

#[test]
fn a_reader_of_elf_finds_every_segment_also_of_more_than_a_header_can_count() {
    for count in [0, 1, 2, 65_533, 65_534, 65_535, 70_000] {
        let (layout, bytes) = of_segments(count);
        let header = Header::parse(&*bytes).unwrap();
        assert_eq!(header.e_type.get(LittleEndian), elf::ET_CORE);
        let segments = header.program_headers(LittleEndian, &*bytes).unwrap();
        assert_eq!(segments.len(), layout.segments.len() + 1, "{count}");
        assert_eq!(segments[0].p_type(LittleEndian), elf::PT_NOTE);
        let mut notes = segments[0].notes(LittleEndian, &*bytes).unwrap().unwrap();
        assert_eq!(kinds(&mut notes), [(elf::NT_PRPSINFO, 136)]);
        for (number, (found, segment)) in segments[1..].iter().zip(&layout.segments).enumerate() {
            assert_eq!(found.p_vaddr(LittleEndian), segment.address);
            assert_eq!(found.p_memsz(LittleEndian), segment.size);
            let data = found.data(LittleEndian, &*bytes).unwrap();
            assert_eq!(data.len() as u64, segment.kept);
            assert!(data.iter().all(|byte| *byte == letter(segment.address)), "{number}");
            assert_eq!(found.p_flags(LittleEndian).0, if number == 0 { 5 } else { 4 });
        }
    }
}

fn kinds(notes: &mut NoteIterator<'_, Header>) -> Vec<(elf::NoteType, usize)> {
    let mut kinds = Vec::new();
    while let Some(note) = notes.next().unwrap() {
        let kind = note.n_type(LittleEndian);
        let owner: &[u8] = if kind == registers::EXTENDED { b"LINUX" } else { b"CORE" };
        assert_eq!(note.name(), owner);
        kinds.push((note.n_type(LittleEndian), note.desc().len()));
    }
    kinds
}

/// A shell that says where it is and then waits.
struct Shell(Child);

impl Shell {
    fn start() -> Self {
        let mut shell = Command::new("/bin/sh");
        let shell = shell.args(["-c", "echo ready; read word; echo $word"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self(shell)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn state(&self) -> char {
        ProcessTable::default().get(self.pid()).unwrap().state
    }

    /// It was not killed, and does what it waits for.
    fn goes_on(mut self) {
        self.0.stdin.take().unwrap().write_all(b"on\n").unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.0.wait().unwrap().success());
        assert_eq!(said, "on\n");
    }
}

fn order(pid: i32) -> (RecordOrder, Control, std::sync::mpsc::Sender<Interruption>) {
    let table = ProcessTable::default();
    let process = table.get(pid).unwrap();
    let mut order = RecordOrder::example(crate::format::RecordingKind::Jfr);
    order.target.process = process.clone();
    order.target.facts = crate::runtime::RuntimeFacts::Native;
    order.room.max_bytes = 1 << 30;
    let (control, server) = Control::channel(table, process.id);
    (order, control, server)
}

#[test]
fn a_process_stands_still_until_it_is_let_go() {
    let shell = Shell::start();
    let table = ProcessTable::default();
    let halted = Halted::new(&table, shell.pid(), &mut || true).unwrap();
    assert_eq!((shell.state(), &halted.threads[..]), ('t', &[shell.pid()][..]));
    // Nobody else may, meanwhile.
    let refused = Halted::new(&table, shell.pid(), &mut || true);
    assert!(
        matches!(refused, Err(HaltError::Refused(_, nix::errno::Errno::EPERM))),
        "{refused:?}"
    );
    assert_eq!(shell.state(), 't');
    assert!(halted.resume().unwrap() > Duration::ZERO);
    // It waits for a word, as before.
    assert_ne!(shell.state(), 't');
    drop(Halted::new(&table, shell.pid(), &mut || true).unwrap());
    assert_ne!(shell.state(), 't');
    shell.goes_on();
    assert!(matches!(
        Halted::new(&table, i32::MAX, &mut || true),
        Err(HaltError::Gone)
    ));
}

#[test]
fn a_dump_has_the_memory_the_threads_and_the_files_of_a_process() {
    let shell = Shell::start();
    let (order, control, _server) = order(shell.pid());
    let mut bytes = Vec::new();
    let quality = record(&order, &mut bytes, &control, &mut Reporter::new(|_| {})).unwrap();
    assert_eq!(quality.degraded, [""; 0]);
    let header = Header::parse(&*bytes).unwrap();
    let segments = header.program_headers(LittleEndian, &*bytes).unwrap();
    let mut notes = segments[0].notes(LittleEndian, &*bytes).unwrap().unwrap();
    let kinds: Vec<_> = kinds(&mut notes).into_iter().map(|(kind, _)| kind).collect();
    let expected = [
        elf::NT_PRSTATUS,
        elf::NT_PRPSINFO,
        elf::NT_AUXV,
        elf::NT_FILE,
        elf::NT_PRFPREG,
        registers::EXTENDED,
    ];
    assert_eq!(kinds, expected);
    // The stack has the environment, whatever else has changed since.
    let memory = File::open(format!("/proc/{}/environ", shell.pid()));
    let mut environment = Vec::new();
    memory.unwrap().read_to_end(&mut environment).unwrap();
    assert!(environment.len() > 20);
    let found = segments[1..].iter().any(|segment| {
        let data = segment.data(LittleEndian, &*bytes).unwrap();
        memchr::memmem::find(data, &environment).is_some()
    });
    assert!(found);
    shell.goes_on();
}

#[test]
fn whoever_has_no_room_or_gives_up_has_not_stopped_anything() {
    /// Has none.
    struct Full;
    impl Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Output for Full {
        fn reserve(&mut self, bytes: u64) -> io::Result<()> {
            assert!(bytes > 50_000, "{bytes}");
            Err(io::ErrorKind::FileTooLarge.into())
        }
    }
    let shell = Shell::start();
    let (mut order, control, server) = order(shell.pid());
    let phases = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&phases);
    let mut reporter = Reporter::new(move |phase| seen.lock().unwrap().push(phase));
    let refused = record(&order, &mut Full, &control, &mut reporter);
    assert!(matches!(refused, Err(RecordError::StoreFull { .. })), "{refused:?}");
    order.room.max_bytes = 10_000;
    let refused = record(&order, &mut Full, &control, &mut reporter);
    assert!(
        matches!(&refused, Err(RecordError::Impossible(reason)) if reason.key == "store_too_small"),
        "{refused:?}"
    );
    server.send(Interruption::Cancel).unwrap();
    let refused = record(&order, &mut Full, &control, &mut reporter);
    assert_eq!(refused.unwrap_err(), RecordError::Cancelled);
    assert_eq!(*phases.lock().unwrap(), [Phase::Attaching; 3]);
    shell.goes_on();
}
