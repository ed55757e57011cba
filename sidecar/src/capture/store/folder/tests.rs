use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// The name of a folder that a server could have made.
fn folder_in(parent: &Path) -> PathBuf {
    let path = parent.join(format!("{PREFIX}{}", CaptureId::random().unwrap()));
    DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_crashed_servers_folder_is_removed_and_a_running_ones_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let running = OwnFolder::make(Some(parent.path()), false).unwrap();
    let crashed = folder_in(parent.path());
    std::fs::write(crashed.join(LOCK), "").unwrap();
    std::fs::create_dir(crashed.join("capture")).unwrap();
    std::fs::write(crashed.join("capture/recording"), "data").unwrap();
    let _died_in_its_first_microseconds = folder_in(parent.path());
    let started = OwnFolder::make(Some(parent.path()), false).unwrap();
    assert_eq!(count(parent.path()), 2);
    assert!(parent.path().join(&running.name).join(LOCK).exists());
    started.remove();
    running.remove();
    assert_eq!(count(parent.path()), 0);
}

#[test]
fn what_is_planted_neither_hangs_the_start_nor_is_followed_or_deleted() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join(LOCK), "").unwrap();
    std::fs::write(outside.path().join("precious"), "").unwrap();
    let parent = tempfile::tempdir().unwrap();
    let fifo = folder_in(parent.path());
    mkfifo(&fifo.join(LOCK), Mode::S_IRWXU).unwrap();
    let link = folder_in(parent.path());
    symlink(outside.path().join(LOCK), link.join(LOCK)).unwrap();
    let open_to_others = folder_in(parent.path());
    std::fs::write(open_to_others.join(LOCK), "").unwrap();
    std::fs::set_permissions(&open_to_others, PermissionsExt::from_mode(0o777)).unwrap();
    let linked = parent.path().join(format!("{PREFIX}{}", CaptureId::random().unwrap()));
    symlink(outside.path(), &linked).unwrap();
    let stranger = parent.path().join("stranger");
    std::fs::create_dir(&stranger).unwrap();
    std::fs::write(stranger.join(LOCK), "").unwrap();

    OwnFolder::make(Some(parent.path()), false).unwrap().remove();
    for kept in [
        fifo.join(LOCK),
        link.join(LOCK),
        open_to_others.join(LOCK),
        linked,
        stranger.join(LOCK),
    ] {
        assert!(kept.symlink_metadata().is_ok(), "{} was deleted", kept.display());
    }
    assert_eq!(count(outside.path()), 2);
}

#[test]
fn a_link_is_no_store_and_the_error_says_what_to_give() {
    let outside = tempfile::tempdir().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let link = parent.path().join("store");
    symlink(outside.path(), &link).unwrap();
    for path in [link.clone(), link.join("")] {
        let error = OwnFolder::make(Some(&path), false).unwrap_err().to_string();
        assert!(error.contains("a link") && error.contains("--store-dir"), "{error}");
    }
    assert_eq!(count(outside.path()), 0);
}

#[test]
fn another_users_folder_is_no_store_and_roots_is() {
    assert!(refuse_foreign(0, 1000).is_ok() && refuse_foreign(1000, 1000).is_ok());
    for us in [0, 1001] {
        let error = refuse_foreign(1000, us).unwrap_err().to_string();
        assert!(error.contains("user 1000") && error.contains("--store-dir"), "{error}");
    }
}

#[test]
fn by_default_only_a_folder_of_ours_alone_is_used() {
    let temporary = tempfile::tempdir().unwrap();
    let usual = temporary.path().join(format!("sideflame-store-{}", geteuid()));
    let made_in = |temporary: &Path| std::fs::read_link(parent_of_ours(temporary).unwrap().path()).unwrap();
    assert_eq!(made_in(temporary.path()), usual);
    assert_eq!(made_in(temporary.path()), usual, "it is used again");

    std::fs::set_permissions(&usual, PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(made_in(temporary.path()), temporary.path());

    std::fs::remove_dir(&usual).unwrap();
    // Even if it leads to a folder of ours alone.
    let outside = folder_in(temporary.path());
    symlink(outside, &usual).unwrap();
    assert_eq!(made_in(temporary.path()), temporary.path());

    std::fs::remove_file(&usual).unwrap();
    mkfifo(&usual, Mode::S_IRWXU).unwrap();
    assert_eq!(made_in(temporary.path()), temporary.path());
}

#[test]
fn a_folder_that_is_swept_before_it_is_locked_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let parent = given_parent(directory.path()).unwrap();
    let new = || parent.path().join(new_folder(&parent).unwrap());
    let swept = new();
    sweep(&parent);
    assert!(claim(&swept).unwrap().is_none());
    // Once locked it is safe.
    let (own, _lock) = claim(&new()).unwrap().unwrap();
    sweep(&parent);
    assert!(own.path().join(LOCK).exists());
}

#[test]
fn servers_that_start_at_once_keep_their_folders() {
    let parent = tempfile::tempdir().unwrap();
    let own: Vec<OwnFolder> = std::thread::scope(|scope| {
        let start = || {
            (0..16)
                .map(|_| OwnFolder::make(Some(parent.path()), false).unwrap())
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for own in &own {
        assert!(
            parent.path().join(&own.name).join(LOCK).exists(),
            "{} was swept",
            own.name
        );
    }
    assert_eq!(count(parent.path()), own.len());
}

#[test]
fn a_server_that_adopts_takes_what_dead_servers_left_and_leaves_a_living_ones_alone() {
    let parent = tempfile::tempdir().unwrap();
    let living = OwnFolder::make(Some(parent.path()), true).unwrap();
    let id = || CaptureId::random().unwrap();
    let describe = |folder: &Path, id: &CaptureId| {
        let capture = folder.join(id.as_str());
        DirBuilder::new().mode(0o700).create(&capture).unwrap();
        std::fs::write(capture.join(METADATA), "{}").unwrap();
    };
    let (of_living, of_dead) = (id(), [id(), id()]);
    describe(&living.folder.path(), &of_living);
    for id in &of_dead {
        let dead = folder_in(parent.path());
        std::fs::write(dead.join(LOCK), "").unwrap();
        describe(&dead, id);
    }
    // Who does not adopt leaves it to those who do.
    OwnFolder::make(Some(parent.path()), false).unwrap().remove();
    assert_eq!(count(parent.path()), 3);

    let next = OwnFolder::make(Some(parent.path()), true).unwrap();
    let mut taken = next.folder.captures();
    taken.sort();
    let mut expected = of_dead.to_vec();
    expected.sort();
    assert_eq!(taken, expected);
    assert_eq!(living.folder.captures(), [of_living]);
    assert_eq!(count(parent.path()), 2, "one of the folders is the next server's own");
    assert_eq!(
        OwnFolder::make(Some(parent.path()), true).unwrap().folder.captures(),
        []
    );
}

#[test]
fn what_is_planted_where_a_recording_was_is_neither_followed_nor_opened() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "data").unwrap();
    assert!(kept_file(&plain).is_ok());
    let named = |name: &str| folder.path().join(name);
    symlink(&plain, named("link")).unwrap();
    mkfifo(&named("fifo"), Mode::S_IRWXU).unwrap();
    std::fs::create_dir(named("folder")).unwrap();
    std::fs::hard_link(&plain, named("again")).unwrap();
    for planted in ["link", "fifo", "folder", "again", "plain"] {
        assert!(kept_file(&named(planted)).is_err(), "{planted}");
    }
}
