//! `/proc/PID/maps`: the app chooses the names of its files, and how many there are.

use sideflame::runtime::{dotnet, jvm};

use crate::{Seed, folder};

pub(crate) fn run(bytes: &[u8]) {
    folder::with(&[("maps", bytes)], |table| {
        let files = table.mapped_files(folder::PID).unwrap();
        let (mut count, mut length) = (0, 0);
        for path in files {
            assert!(!path.as_os_str().is_empty());
            count += 1;
            length += path.as_os_str().len();
            let _ = (
                jvm::detect::is_library(&path),
                dotnet::detect::is_library(&path),
                dotnet::detect::is_jitted_code(&path),
            );
        }
        assert!(count <= bytes.len() && length <= bytes.len());
    });
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        (
            "jvm",
            b"7f0000000000-7f0000001000 r--p 00000000 08:01 7      /usr/lib/jvm/17/lib/server/libjvm.so\n\
              7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \n\
              7f0000002000-7f0000003000 r-xp 00001000 08:01 7      /usr/lib/jvm/17/lib/server/libjvm.so (deleted)\n\
              7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0      [stack]\n"
                .to_vec(),
        ),
        (
            "dotnet",
            b"7f0000000000-7f0000001000 r-xp 00000000 00:01 7      /memfd:doublemapper (deleted)\n\
              7f0000001000-7f0000002000 r--p 00000000 08:01 8      /dotnet/shared/Microsoft.NETCore.App/8.0.30/libcoreclr.so\n"
                .to_vec(),
        ),
        ("odd", b"7f0000000000-7f0000001000 r--p 00000000 08:01 7 /a\\012b c\xff\nno row\n\n".to_vec()),
    ]
}
