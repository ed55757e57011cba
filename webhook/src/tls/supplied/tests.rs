use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// PEM of a certificate for `localhost` and of its key.
fn pair(now: i64) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(now).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A Secret volume as a kubelet makes it: `tls.crt -> ..data/tls.crt`, `..data -> ..1`.
struct Volume(tempfile::TempDir);

impl Volume {
    fn new(content: &(String, String)) -> Self {
        let volume = Self(tempfile::tempdir().unwrap());
        volume.swap("..1", content);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), volume.0.path().join(name)).unwrap();
        }
        volume
    }

    /// A new folder, and the symlink renamed over the old one.
    fn swap(&self, folder: &str, (certificate, key): &(String, String)) {
        let path = self.0.path();
        fs::create_dir(path.join(folder)).unwrap();
        fs::write(path.join(folder).join("tls.crt"), certificate).unwrap();
        fs::write(path.join(folder).join("tls.key"), key).unwrap();
        symlink(folder, path.join("..tmp")).unwrap();
        fs::rename(path.join("..tmp"), path.join("..data")).unwrap();
    }

    fn files(&self) -> Files {
        Files {
            certificate: self.0.path().join("tls.crt"),
            key: self.0.path().join("tls.key"),
        }
    }
}

fn load(volume: &Volume) -> Supplied {
    Supplied::load(volume.files(), Arc::default(), Arc::default()).unwrap()
}

#[test]
fn a_swapped_secret_volume_is_taken() {
    let volume = Volume::new(&pair(2_000_000_000));
    let mut supplied = load(&volume);
    assert_eq!(supplied.metrics.certificate_not_after.get(), 2_000_000_000);
    supplied.look_again();
    volume.swap("..2", &pair(2_100_000_000));
    supplied.look_again();
    assert_eq!(supplied.metrics.certificate_not_after.get(), 2_100_000_000);
    assert_eq!(supplied.metrics.certificate_failures.get(), 0);
}

#[test]
fn a_bad_pair_is_counted_and_the_old_one_stays() {
    let volume = Volume::new(&pair(2_000_000_000));
    let mut supplied = load(&volume);
    let (certificate, _) = pair(2_100_000_000);
    let (_, other_key) = pair(2_100_000_000);
    for (folder, content) in [
        ("..2", (certificate.clone(), other_key.clone())),
        ("..3", (String::new(), other_key)),
        (
            "..4",
            ("-----BEGIN CERTIFICATE-----\nxx".to_owned(), "no key".to_owned()),
        ),
        ("..5", (certificate, String::new())),
    ] {
        let before = supplied.metrics.certificate_failures.get();
        volume.swap(folder, &content);
        supplied.look_again();
        assert_eq!(supplied.metrics.certificate_failures.get(), before + 1, "{folder}");
        assert_eq!(supplied.metrics.certificate_not_after.get(), 2_000_000_000);
    }
    fs::remove_file(volume.0.path().join("..data")).unwrap();
    supplied.look_again();
    assert!(supplied.failing.as_ref().unwrap().contains("failed to read"));
    volume.swap("..6", &pair(2_200_000_000));
    supplied.look_again();
    assert_eq!(supplied.metrics.certificate_not_after.get(), 2_200_000_000);
    assert!(supplied.failing.is_none());
}

#[test]
fn without_a_first_certificate_there_is_nothing_to_begin_with() {
    let volume = Volume::new(&(String::new(), String::new()));
    let error = Supplied::load(volume.files(), Arc::default(), Arc::default()).unwrap_err();
    assert!(error.to_string().contains("tls.crt"), "{error}");
}
