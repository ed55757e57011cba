//! The body of `POST /diff`. However it is cut into pieces, the same files come out of it, none larger than it was said to be.

use sideflame::http::fuzz::{archive, tar};

use crate::Seed;

pub(crate) fn run(bytes: &[u8]) {
    let whole = tar(bytes, usize::MAX);
    assert_eq!(whole, tar(bytes, 1));
    assert_eq!(whole, tar(bytes, 511));
    let Some((files, is_whole)) = whole else { return };
    let length: usize = files.iter().map(|(_, file)| file.len()).sum();
    assert!(length <= bytes.len());
    for (at, (size, file)) in files.iter().enumerate() {
        let is_last = at + 1 == files.len();
        let is_cut = (file.len() as u64) < *size;
        assert!(file.len() as u64 <= *size && (!is_cut || is_last && !is_whole));
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let two = archive(b"main;a 1\n", b"main;a 2\n");
    vec![
        ("two", two.clone()),
        ("cut", two[..two.len() - 1500].to_vec()),
        ("none", b"main;a 1\n".to_vec()),
        ("empty", Vec::new()),
    ]
}
