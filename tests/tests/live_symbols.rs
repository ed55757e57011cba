//! Names of machine code, of programs that real compilers made: what a program says of itself, or what a compiler's own tools say of it, is what we say.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use e2e::addresses;
use sideflame::profile::frame_name::is_unresolved;
use sideflame::runtime::native::symbols::{Frame, Place, Symbolizer, Symbols};

/// A folder with a program's source in it.
struct Workshop(PathBuf);

impl Workshop {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sideflame-symbols-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }

    /// Runs a compiler here, which must succeed.
    fn run(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.0)
            .envs(variables.iter().copied());
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program} {arguments:?}: {said}");
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Starts a program that writes lines and, after an empty one, waits until its input ends.
    fn start(&self, file: &str) -> Program {
        let mut child = Command::new(self.path(file))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        Program {
            child,
            stdin: Some(stdin),
            lines,
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A program that stands still.
struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Vec<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Program {
    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn symbolizer(&self) -> Symbolizer {
        addresses::symbolizer(self.pid())
    }

    /// The frames at each of the addresses.
    fn names(&self, addresses: &[u64]) -> (Symbols, Vec<Place>) {
        addresses::names(self.pid(), addresses)
    }

    /// Addresses that it said, by what it calls them.
    fn said(&self) -> HashMap<&str, u64> {
        let lines = self.lines.iter().filter_map(|line| line.split_once(' '));
        lines
            .map(|(name, address)| (name, u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap()))
            .collect()
    }

    /// Names of the function at each address that it said.
    fn functions(&self) -> HashMap<&str, Vec<Frame>> {
        let said = self.said();
        let addresses: Vec<u64> = said.values().copied().collect();
        let (symbols, places) = self.names(&addresses);
        said.into_keys()
            .zip(places)
            .map(|(name, place)| (name, symbols.frames(place).to_vec()))
            .collect()
    }
}

/// Says of addresses all over its text which function, file and line Go's runtime knows there.
const GO: &str = include_str!("symbols/names.go");

/// Compares what we say with what the program says of itself.
fn assert_go(program: &Program, least: usize) {
    let rows: Vec<Vec<&str>> = program.lines.iter().map(|line| line.split('\t').collect()).collect();
    let addresses: Vec<u64> = rows
        .iter()
        .map(|row| u64::from_str_radix(row[0], 16).unwrap())
        .collect();
    let (symbols, places) = program.names(&addresses);
    let mut inlined = 0;
    for (row, place) in rows.iter().zip(places) {
        let frames = symbols.frames(place);
        let [first, .., last] = [&frames[0], &frames[frames.len() - 1]];
        let file = first.file.as_deref().unwrap_or("?");
        let (name, outer) = (&*first.name, &*last.name);
        assert_eq!(
            [name, file, &first.line.to_string(), outer],
            row[1..],
            "{} {frames:#?}",
            row[0]
        );
        assert!(frames[..frames.len() - 1].iter().all(|frame| frame.inlined) && !last.inlined);
        inlined += usize::from(frames.len() > 1);
    }
    assert!(rows.len() > least && inlined > least / 20, "{} {inlined}", rows.len());
}

fn go(name: &str, toolchain: &str, arguments: &[&str], variables: &[(&str, &str)]) {
    let workshop = Workshop::new(name);
    workshop.write("names.go", GO);
    workshop.write("go.mod", "module names\n\ngo 1.21\n");
    if name.starts_with("cgo") {
        workshop.write("c.go", "package main\n\n// int twice(int n) { return 2 * n; }\nimport \"C\"\n\nfunc init() { sink += int(C.twice(2)) }\n");
    }
    let mut variables = variables.to_vec();
    variables.push(("GOTOOLCHAIN", toolchain));
    workshop.run("go", &[&["build", "-o", "names"], arguments].concat(), &variables);
    assert_go(&workshop.start("names"), 5000);
}

#[test]
fn go_programs_are_named_as_they_name_themselves() {
    go("go-plain", "local", &[], &[("CGO_ENABLED", "0")]);
}

#[test]
fn stripped_go_programs_are_named_as_they_name_themselves() {
    go("go-stripped", "local", &["-ldflags=-s -w"], &[]);
}

#[test]
fn position_independent_go_programs_are_named_as_they_name_themselves() {
    go("go-pie", "local", &["-ldflags=-s -w", "-buildmode=pie"], &[]);
}

#[test]
fn go_programs_with_c_in_them_are_named_as_they_name_themselves() {
    go(
        "cgo",
        "local",
        &["-ldflags=-s -w -linkmode=external"],
        &[("CGO_ENABLED", "1")],
    );
    go(
        "cgo-pie",
        "local",
        &["-ldflags=-s -w -linkmode=external", "-buildmode=pie"],
        &[("CGO_ENABLED", "1")],
    );
}

#[test]
fn go_programs_of_other_releases_are_named_as_they_name_themselves() {
    for release in ["1.21.13", "1.22.12", "1.24.10", "1.27.3"] {
        let toolchain = format!("go{release}");
        go(
            &format!("go-{release}"),
            &toolchain,
            &["-ldflags=-s -w"],
            &[("CGO_ENABLED", "0")],
        );
    }
}

/// Functions whose addresses it says: inlined calls, assembler without a type, a call into another library.
const CC: &str = include_str!("symbols/names.cc");

/// Builds `names.cc`, with the library `libnames.so` that it calls.
fn cc(name: &str, flags: &[&str]) -> Workshop {
    let workshop = Workshop::new(name);
    workshop.write("names.cc", CC);
    workshop.write("lib.c", "int in_library(int n) { return n + 1; }\n");
    workshop.run("gcc", &["-shared", "-fPIC", "-O1", "-o", "libnames.so", "lib.c"], &[]);
    let own = [
        "-o",
        "names",
        "names.cc",
        "-L.",
        "-lnames",
        "-Wl,-rpath,$ORIGIN",
        "-fno-ipa-icf",
    ];
    workshop.run("g++", &[&own, flags].concat(), &[]);
    workshop
}

/// What is shown of an address: names, the innermost first.
fn shown(functions: &HashMap<&str, Vec<Frame>>, what: &str) -> Vec<String> {
    functions[what].iter().map(|frame| frame.name.to_string()).collect()
}

#[test]
fn functions_of_cpp_have_the_names_of_their_source() {
    for (name, flags) in [
        ("cc-pie", ["-O1", "-pie", "-Wl,-z,lazy"].as_slice()),
        ("cc-fixed", &["-O1", "-no-pie", "-fcf-protection=none", "-Wl,-z,lazy"]),
        ("cc-dynamic", &["-O1", "-s", "-rdynamic", "-fno-plt"]),
    ] {
        let workshop = cc(name, flags);
        let program = workshop.start("names");
        let functions = program.functions();
        assert_eq!(shown(&functions, "add"), ["shop::Cart::add(int)"], "{name}");
        assert_eq!(shown(&functions, "library"), ["in_library"], "{name}");
        assert_eq!(*functions["library"][0].module, *"libnames.so");
        assert_eq!(shown(&functions, "vdso").len(), 1);
    }
}

#[test]
fn calls_that_were_inlined_are_named_with_their_lines() {
    let workshop = cc("cc-debug", &["-O2", "-g"]);
    let program = workshop.start("names");
    let functions = program.functions();
    let frames = &functions["inlined"];
    let names: Vec<&str> = frames.iter().map(|frame| &*frame.name).collect();
    assert_eq!(names, ["shop::twice(int)", "shop::Cart::total(int)"], "{frames:#?}");
    let line_of = |text: &str| CC.lines().position(|line| line.contains(text)).unwrap() + 1;
    let lines: Vec<usize> = frames.iter().map(|frame| frame.line as usize).collect();
    assert_eq!(lines, [line_of("inlined_here"), line_of("calls twice")]);
    assert!(
        frames
            .iter()
            .all(|frame| frame.file.as_deref().is_some_and(|file| file.ends_with("names.cc")))
    );
}

#[test]
fn a_stripped_program_says_where_its_code_is() {
    let workshop = cc("cc-stripped", &["-O1", "-s"]);
    let program = workshop.start("names");
    let functions = program.functions();
    let name = &shown(&functions, "add")[0];
    assert!(name.starts_with("[names+0x") && is_unresolved(name), "{name}");
}

#[test]
fn a_deleted_program_still_has_names() {
    let workshop = cc("cc-deleted", &["-O1"]);
    let program = workshop.start("names");
    std::fs::remove_file(workshop.path("names")).unwrap();
    assert_eq!(shown(&program.functions(), "add"), ["shop::Cart::add(int)"]);
}

#[test]
fn code_of_a_jit_has_the_names_of_its_perf_map() {
    let workshop = cc("cc-jit", &["-O1"]);
    let program = workshop.start("names");
    let map = format!("/tmp/perf-{}.map", program.pid());
    std::fs::write(&map, "7000 100 LazyCompile:*work /app/shop.js:3\n").unwrap();
    let mut symbolizer = program.symbolizer();
    let known = symbolizer.anonymous(program.pid(), 0x7010, true);
    let unknown = symbolizer.anonymous(program.pid(), 0x9000, true);
    let symbols = symbolizer.resolve();
    std::fs::remove_file(map).unwrap();
    assert_eq!(&*symbols.frames(known)[0].name, "LazyCompile:*work /app/shop.js:3");
    assert!(is_unresolved(&symbols.frames(unknown)[0].name));
}

#[test]
fn functions_of_rust_have_the_names_of_their_source() {
    for scheme in ["legacy", "v0"] {
        let workshop = Workshop::new(&format!("rust-{scheme}"));
        workshop.write("names.rs", include_str!("symbols/names.rs"));
        let mangling = format!("-Csymbol-mangling-version={scheme}");
        let unstable = [("RUSTC_BOOTSTRAP", "1")];
        workshop.run("rustc", &["-O", "-Zunstable-options", &mangling, "names.rs"], &unstable);
        let program = workshop.start("names");
        let functions = program.functions();
        assert_eq!(shown(&functions, "add"), ["names::shop::add"], "{scheme}");
    }
}
