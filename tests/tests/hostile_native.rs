//! Programs that change under the sampler's hands, or whose files lie: captures end in time and in little memory, and what they
//! say is true.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly, and says what it measured"
)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::app::App;
use e2e::{Answer, MemoryCgroup, Server, cache, shares};

/// What a container of the sidecar may be given at least.
const MEMORY: u64 = 64 << 20;
/// Beyond the 3 s of a capture.
const LATE: Duration = Duration::from_secs(40);

/// A folder that goes away with its files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sideflame-hostile-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The program of `hostile_native.c`.
    fn program(&self) -> PathBuf {
        let (source, program) = (self.file("hostile.c"), self.file("hostile"));
        fs::write(&source, include_str!("hostile_native.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-fno-omit-frame-pointer", "-pthread", "-o"]);
        let built = compiler.arg(&program).arg(&source).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server in little memory.
struct Confined {
    server: Server,
    cgroup: MemoryCgroup,
}

impl Confined {
    fn new() -> Self {
        let cgroup = MemoryCgroup::new(MEMORY);
        let server = Server::start_by(cgroup.command(&cache::sideflame()), &["--store-size", "16MiB"]);
        Self { server, cgroup }
    }

    /// A capture that works, in time and memory, after which the server is as before.
    fn capture(&self, what: &str, app: &App, parameters: &str) -> Answer {
        let begun = Instant::now();
        let path = format!("/profile?pid={}&seconds=3&format=collapsed{parameters}", app.pid);
        let answer = self.server.get(&path);
        let took = begun.elapsed();
        eprintln!(
            "{what}: {} after {:.1} s, {} samples, {} lost, unresolved {}; {}",
            answer.status,
            took.as_secs_f64(),
            answer.header("sideflame-samples"),
            answer.header("sideflame-lost"),
            answer.header("sideflame-unresolved"),
            answer.header("sideflame-degraded"),
        );
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        assert!(took < LATE, "{what}: {took:?}");
        assert_eq!(self.cgroup.oom_kills(), 0, "{what}: {}", self.server.log());
        self.server.get("/captures").ok();
        let pid = self.server.pid();
        let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        e2e::control_plane::wait("end of the recorder", Duration::from_secs(5), || {
            children().is_empty().then_some(())
        });
        answer
    }
}

fn start(program: &Path, scenario: &str) -> (App, String) {
    let mut command = Command::new(program);
    command.arg(scenario);
    let mut app = App::launch(command);
    let said = app.wait_for("ready");
    (app, said)
}

#[test]
fn ten_thousand_mappings_and_code_that_comes_and_goes_are_sampled() {
    let folder = Folder::new("maps");
    let (app, _) = start(&folder.program(), "maps");
    let server = Confined::new();
    for parameters in ["", "&unwind=fp"] {
        let answer = server.capture("mappings", &app, parameters);
        // What stays where it is has its name.
        let known = shares::of(&answer.text(), "work");
        assert!(known > 0.2, "{known}: {}", answer.text());
    }
}

#[test]
fn a_program_whose_file_is_swapped_all_the_time_gets_no_foreign_names() {
    let folder = Folder::new("swap");
    let place = folder.file("shop");
    let [own, foreign] = ["c/split-nofp", "cpp/split"].map(|app| cache::file(&format!("apps/{app}")));
    fs::copy(&own, &place).unwrap();
    let (app, _) = start(&place, "cpu");
    let server = Confined::new();
    let ended = AtomicBool::new(false);
    let stacks = std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = folder.file("next");
            while !ended.load(Ordering::Relaxed) {
                for program in [&foreign, &own] {
                    fs::copy(program, &next).unwrap();
                    fs::rename(&next, &place).unwrap();
                }
                fs::remove_file(&place).unwrap();
                symlink("/etc/shadow", &place).unwrap();
            }
        });
        let answer = server.capture("swapped", &app, "");
        ended.store(true, Ordering::Relaxed);
        answer.text()
    });
    assert!(!stacks.contains("shop::"), "{stacks}");
    let ours = shares::of(&stacks, "round_of") + shares::of(&stacks, "[shop+0x");
    assert!(ours > 0.8, "{stacks}");
}

/// A section header of 64 bytes.
fn section(kind: u32, offset: u64, size: u64, link: u32, entry: u64) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(0_u32.to_le_bytes());
    header.extend(kind.to_le_bytes());
    header.extend([0; 16]);
    header.extend(offset.to_le_bytes());
    header.extend(size.to_le_bytes());
    header.extend(link.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend(8_u64.to_le_bytes());
    header.extend(entry.to_le_bytes());
    header
}

#[test]
fn a_sparse_program_of_four_gigabytes_is_read_in_little_memory() {
    const SIZE: u64 = 4 << 30;
    let folder = Folder::new("sparse");
    let server = Confined::new();
    let symbols = [
        section(0, 0, 0, 0, 0),
        section(2, 1 << 20, 3 << 30, 2, 24),
        section(3, (3 << 30) + (2 << 20), 512 << 20, 0, 0),
    ]
    .concat();
    for (what, table, count, names) in [
        ("a table of symbols of 3 GiB", symbols, 3_u16, 2_u16),
        ("65,279 empty sections", vec![0; 64 * 65_279], 65_279, 0),
        ("a table behind the end", Vec::new(), 100, 1),
    ] {
        let program = folder.file("sparse");
        fs::copy(cache::file("apps/c/split"), &program).unwrap();
        let file = File::options().write(true).open(&program).unwrap();
        file.set_len(SIZE).unwrap();
        let at = SIZE - table.len() as u64;
        if table.iter().any(|byte| *byte != 0) {
            file.write_all_at(&table, at).unwrap();
        }
        file.write_all_at(&at.to_le_bytes(), 0x28).unwrap();
        file.write_all_at(&count.to_le_bytes(), 0x3C).unwrap();
        file.write_all_at(&names.to_le_bytes(), 0x3E).unwrap();
        drop(file);
        let (app, _) = start(&program, "cpu");
        let answer = server.capture(what, &app, "");
        // Its tables say nothing: by place at least.
        let seen = shares::of(&answer.text(), "sparse") + shares::of(&answer.text(), "round_of");
        assert!(seen > 0.8, "{what}: {}", answer.text());
        drop(app);
        fs::remove_file(&program).unwrap();
    }
}

#[test]
fn a_perf_map_is_read_if_it_is_a_file_of_the_user_and_whatever_its_size() {
    let folder = Folder::new("jit");
    let program = folder.program();
    let server = Confined::new();

    let (app, address) = start(&program, "jit");
    let map = PathBuf::from(format!("/tmp/perf-{}.map", app.pid));
    let mut file = BufWriter::new(File::create(&map).unwrap());
    let mut written = 0;
    let path = "deep/".repeat(60);
    for number in 0_u64.. {
        let line = format!(
            "{:x} 40 LazyCompile:*handler_{number} /srv/{path}/server.js:{number}\n",
            0x1000 + number * 64
        );
        file.write_all(line.as_bytes()).unwrap();
        written += line.len();
        if written > 100 << 20 {
            break;
        }
    }
    writeln!(file, "{address} 100 made_while_it_ran").unwrap();
    file.into_inner().unwrap();
    let answer = server.capture("a perf map of 100 MB", &app, "");
    fs::remove_file(&map).unwrap();
    let named = shares::of(&answer.text(), "made_while_it_ran");
    assert!(named > 0.8, "{}", answer.text());

    nix::unistd::mkfifo(&map, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let by_fifo = server.capture("a FIFO", &app, "");
    fs::remove_file(&map).unwrap();
    symlink("/etc/shadow", &map).unwrap();
    let by_link = server.capture("a link", &app, "");
    fs::remove_file(&map).unwrap();
    for answer in [by_fifo, by_link] {
        assert!(answer.number("sideflame-unresolved") > 0.4, "{}", answer.text());
        assert!(!answer.text().contains("root:"), "{}", answer.text());
    }
}
