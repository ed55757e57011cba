//! What the scripts of `tests/rig` and the Makefile promise: a fresh machine gets what it lacks before it is needed, and
//! parallel runs do not meet.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Strings of one line of `rust-toolchain.toml`.
fn pinned(key: &str) -> Vec<String> {
    let file = std::fs::read_to_string(checkout().join("rust-toolchain.toml")).unwrap();
    let line = file
        .lines()
        .find(|line| line.starts_with(&format!("{key} = ")))
        .unwrap();
    line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A folder with a `rustup` that has `installed` in the pinned toolchain, or no such toolchain, and notes what else it is
/// told to do.
fn machine(name: &str, installed: Option<&str>) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sideflame-rustup-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let list = installed.map_or("exit 1".to_owned(), |list| format!("printf '%s\\n' {list}; exit"));
    let script = format!("#!/bin/sh\n[ \"$1 $2\" != 'component list' ] || {{ {list}; }}\necho \"$*\" >>\"$0.log\"\n");
    let rustup = folder.join("rustup");
    std::fs::write(&rustup, script).unwrap();
    std::fs::set_permissions(&rustup, PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

/// What `toolchain.sh` prints there, and what it tells rustup.
fn completed(name: &str, installed: Option<&str>) -> (String, String) {
    let folder = machine(name, installed);
    let mut path = OsString::from(&folder);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let output = Command::new(checkout().join("tests/rig/toolchain.sh"))
        .env("PATH", path)
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .unwrap();
    let told = std::fs::read_to_string(folder.join("rustup.log")).unwrap_or_default();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), told)
}

#[test]
fn a_toolchain_without_a_target_gets_it_and_only_it() {
    let (all, target) = (pinned("components"), &pinned("targets")[0]);
    let rest = pinned("targets")[1..].join(" rust-std-");
    let host = "x86_64-unknown-linux-gnu";
    let installed = format!(
        "rustc-{host} rust-std-{host} {}-{host} rust-std-{rest}",
        all.join(&format!("-{host} "))
    );
    let (said, told) = completed("target", Some(&installed));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(target.as_str()), "{said}");
    let channel = &pinned("channel")[0];
    assert_eq!(
        told,
        format!("--quiet component add --toolchain {channel} rust-std-{target}\n")
    );
}

#[test]
fn a_missing_toolchain_is_installed_with_what_the_file_names() {
    let (said, told) = completed("toolchain", None);
    assert_eq!(said.lines().count(), 1, "{said}");
    let options = |option: &str, names: Vec<String>| {
        let each = names.into_iter().map(|name| format!(" --{option} {name}"));
        each.collect::<String>()
    };
    let start = format!("--quiet toolchain install {} ", pinned("channel")[0]);
    assert!(told.starts_with(&start), "{told}");
    let end = options("component", pinned("components")) + &options("target", pinned("targets"));
    assert!(told.ends_with(&(end + "\n")), "{told}");
}

#[test]
fn a_complete_toolchain_is_left_alone_in_silence() {
    let names = pinned("targets").into_iter().map(|name| format!("rust-std-{name}"));
    let names: Vec<String> = pinned("components").into_iter().chain(names).collect();
    assert_eq!(completed("complete", Some(&names.join(" "))), Default::default());
}

/// What `make TARGET` would run, line by line.
fn recipe(target: &str) -> Vec<String> {
    let mut make = Command::new("make");
    make.args(["--no-print-directory", "--dry-run", target])
        .current_dir(checkout());
    // Else it takes itself for a part of the make that runs this test.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let output = make.output().unwrap();
    assert!(output.status.success(), "{target}: {output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn every_verb_completes_the_toolchain_before_it_calls_cargo() {
    let makefile = std::fs::read_to_string(checkout().join("Makefile")).unwrap();
    let mut calling = 0;
    for target in makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: ")) {
        let recipe = recipe(target);
        let first = |text: &str| recipe.iter().position(|line| line.contains(text));
        if let Some(cargo) = first("cargo ").or_else(|| first("images/build.sh")) {
            calling += 1;
            let toolchain = first("toolchain.sh");
            assert!(toolchain.is_some_and(|step| step < cargo), "{target}: {recipe:#?}");
        }
    }
    assert!(calling > 5, "{calling}");
}

#[test]
fn the_demo_builds_only_what_it_starts() {
    let recipe = recipe("demo");
    let cargo: Vec<_> = recipe.iter().filter(|line| line.contains("cargo ")).collect();
    let [build] = cargo.as_slice() else {
        panic!("{recipe:#?}")
    };
    assert!(build.contains("--package sideflame;"), "{build}");
    for needless in ["webhook", "kube", "java-25", "dotnet-8", "dotnet-10", "flamegraph"] {
        assert!(
            !recipe.iter().any(|line| line.contains(needless)),
            "{needless}: {recipe:#?}"
        );
    }
}

/// A process that has reserved a loopback network, and the network.
fn reservation() -> (Child, String) {
    let script = ". \"$0\"; reserve_loopback; echo \"$loopback\"; read -r _";
    let mut child = Command::new("bash")
        .args(["-euc", script])
        .arg(checkout().join("tests/rig/loopback.sh"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut network = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut network).unwrap();
    (child, network.trim().to_owned())
}

#[test]
fn no_two_runs_have_the_same_loopback_network() {
    let held: Vec<_> = (0..4).map(|_| reservation()).collect();
    let networks: BTreeSet<&String> = held.iter().map(|(_, network)| network).collect();
    assert_eq!(networks.len(), held.len(), "{networks:?}");
    for network in networks {
        assert!(
            network.starts_with("127.") && !network.starts_with("127.0."),
            "{network}"
        );
        // All of it can be listened on.
        TcpListener::bind(format!("{network}.1:0")).unwrap();
    }
    for (mut child, _) in held {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
