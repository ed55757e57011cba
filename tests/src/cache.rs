//! Where `make` puts components, sample apps and the binary under test.

use std::path::PathBuf;

/// The cache folder outside the checkout.
pub fn root() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("SIDEFLAME_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("sideflame")))
        .or_else(|| Some(variable("HOME")?.join(".cache/sideflame")))
        .expect("HOME is set")
}

/// A file of a component or app.
///
/// # Panics
/// It is missing.
pub fn file(path: &str) -> PathBuf {
    let file = root().join(path);
    assert!(
        file.exists(),
        "{} is missing; run `make components apps`",
        file.display()
    );
    file
}

/// The `sideflame` binary of the same build as the running test.
///
/// # Panics
/// It is missing.
pub fn sideflame() -> PathBuf {
    binary("sideflame")
}

/// A binary of the same build as the running test.
///
/// # Panics
/// It is missing.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let binary = test
        .ancestors()
        .nth(2)
        .expect("tests live in target/<profile>/deps")
        .join(name);
    assert!(
        binary.exists(),
        "{} is missing; run `cargo build` first",
        binary.display()
    );
    binary
}
