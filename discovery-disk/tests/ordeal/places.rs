//! Places that are full, forbidden, or not what they seem. The processes give up what their part needs: files of any size,
//! descriptors, the rights of root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use discovery_core::store::{Store, Value};
use discovery_disk::DiskStore;
use discovery_disk::store::DiskStoreOptions;
use tokio_test::block_on;

use crate::values::{KINDS, check, signed, store};

/// The old value is there, and nothing is left of what was tried.
fn check_kept(directory: &Path, kind: u8) {
    let store = store(directory, kind);
    check(
        "kept",
        block_on(store.get("kept")).unwrap().expect("the old value"),
    );
    let temporary = directory.join(kind.to_string()).join(".diskv-temp");
    assert_eq!(temporary.read_dir().unwrap().count(), 0);
}

fn run(script: &str, part: &str, directory: &Path) {
    let command = std::process::Command::new("sh");
    finish(
        command,
        script,
        part,
        &std::env::current_exe().unwrap(),
        directory,
    );
}

/// Runs a part by a shell that gives something up before.
fn finish(
    mut command: std::process::Command,
    script: &str,
    part: &str,
    program: &Path,
    directory: &Path,
) {
    let run = "exec \"$0\" --exact --nocapture --test-threads=1";
    let output = command
        .args(["-c", &format!("{script}; {run} places::{part}")])
        .arg(program)
        .env("DISCOVERY_DISK_TEST_DIRECTORY", directory)
        .env("DISCOVERY_DISK_TEST_NUMBER", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{errors}"
    );
}

fn each_kind(directory: &Path, try_it: impl Fn(&dyn Store)) {
    for kind in 0..KINDS {
        let store = store(directory, kind);
        try_it(&*store);
        check_kept(directory, kind);
    }
}

fn with_kept(test: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    for kind in 0..KINDS {
        block_on(store(dir.path(), kind).put("kept", signed("kept", 1))).unwrap();
    }
    test(dir.path());
}

/// As on a full disk, a write gets as far as it gets.
#[test]
fn a_file_that_may_not_grow() {
    with_kept(|dir| run("trap '' XFSZ; ulimit -f 8", "part_full", dir));
}

#[test]
fn part_full() {
    let Some((directory, _)) = crate::parts::part() else {
        return;
    };
    each_kind(directory.as_ref(), |store| {
        // No compression makes this small.
        let mut random = crate::Random::new(1);
        let large: Vec<u8> = (0..300_000).map(|_| random.below(256) as u8).collect();
        for _ in 0..2 {
            block_on(store.put("kept", Value::new("", large.clone()))).unwrap_err();
            let written = block_on(store.create("kept", "".into())).and_then(|writer| {
                let writer = block_on(writer.write(large.clone().into()))?;
                block_on(writer.commit())
            });
            written.unwrap_err();
        }
        block_on(store.put("small", signed("small", 1))).unwrap();
    });
}

/// A file system of 400 KiB, which only root may mount: for a process of its own, and gone with it.
fn run_on_a_small_disk(part: &str) {
    let can_mount = std::process::Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    if !can_mount.is_ok_and(|output| output.status.success()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=400k none \"$DISCOVERY_DISK_TEST_DIRECTORY\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh"]);
    let program = std::env::current_exe().unwrap();
    finish(command, mount, part, &program, dir.path());
}

#[test]
fn a_disk_that_is_full() {
    run_on_a_small_disk("part_small_disk");
}

#[test]
fn part_small_disk() {
    let Some((directory, _)) = crate::parts::part() else {
        return;
    };
    let directory = Path::new(&directory);
    for kind in 0..KINDS {
        let store = store(directory, kind);
        block_on(store.put("kept", signed("kept", 1))).unwrap();
        let mut random = crate::Random::new(1);
        let mut large = || -> Vec<u8> { (0..600_000).map(|_| random.below(256) as u8).collect() };
        let error = block_on(store.put("kept", Value::new("", large()))).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        let written = block_on(store.create("kept", "".into())).and_then(|writer| {
            let writer = block_on(writer.write(large().into()))?;
            block_on(writer.commit())
        });
        let error = written.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        check_kept(directory, kind);
        // There is room again.
        block_on(store.put("small", signed("small", 1))).unwrap();
        for key in ["kept", "small"] {
            block_on(store.remove(key)).unwrap();
        }
    }
}

#[test]
fn a_disk_that_may_not_be_written() {
    run_on_a_small_disk("part_read_only_disk");
}

#[test]
fn part_read_only_disk() {
    let Some((directory, _)) = crate::parts::part() else {
        return;
    };
    let directory = Path::new(&directory);
    for kind in 0..KINDS {
        block_on(store(directory, kind).put("kept", signed("kept", 1))).unwrap();
    }
    let remount = std::process::Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(directory)
        .status();
    assert!(remount.unwrap().success());
    each_kind(directory, |store| {
        let error = block_on(store.put("kept", signed("kept", 2))).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        assert!(block_on(store.remove("kept")).is_err());
    });
}

/// One file system at two places: no file can be renamed from one to the other.
#[test]
fn a_disk_that_is_mounted_twice() {
    run_on_a_small_disk("part_mounted_twice");
}

#[test]
fn part_mounted_twice() {
    let Some((directory, _)) = crate::parts::part() else {
        return;
    };
    let directory = Path::new(&directory);
    let (cache, temp, elsewhere) = (
        directory.join("cache"),
        directory.join("temp"),
        directory.join("elsewhere"),
    );
    for dir in [&temp, &elsewhere] {
        std::fs::create_dir(dir).unwrap();
    }
    let options = || DiskStoreOptions::new().temp_dir(&temp);
    let store = DiskStore::open(&cache, options()).unwrap();
    block_on(store.put("kept", signed("kept", 1))).unwrap();
    let mount = std::process::Command::new("mount")
        .arg("--bind")
        .args([&elsewhere, &temp])
        .status();
    assert!(mount.unwrap().success());
    let error = DiskStore::open(&cache, options()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::CrossesDevices);
    let error = block_on(store.put("kept", signed("kept", 2))).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::CrossesDevices);
    check("kept", block_on(store.get("kept")).unwrap().unwrap());
    let names = |dir: &Path| dir.read_dir().unwrap().count();
    assert_eq!((names(&cache), names(&elsewhere)), (1, 0));
}

#[test]
fn a_process_without_descriptors() {
    with_kept(|dir| run("ulimit -n 24", "part_without_descriptors", dir));
}

#[test]
fn part_without_descriptors() {
    let Some((directory, _)) = crate::parts::part() else {
        return;
    };
    each_kind(directory.as_ref(), |store| {
        // Outside of a runtime, which would need some itself.
        let mut taken = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
        }
        let get = store.get("kept");
        let put = store.put("kept", signed("kept", 2));
        drop(taken);
        assert!(block_on(get).is_err(), "an error, and not an absence");
        assert!(block_on(put).is_err());
        assert!(block_on(store.get("kept")).unwrap().is_some());
    });
}

/// Root may do everything: the part is played by nobody.
#[test]
fn a_directory_that_may_be_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    if fs::metadata(dir.path()).unwrap().uid() != 0 {
        return;
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let open = |path: &Path| {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for kind in 0..KINDS {
        block_on(store(dir.path(), kind).put("kept", signed("kept", 1))).unwrap();
        let place = dir.path().join(kind.to_string());
        open(&place);
        for entry in place.read_dir().unwrap() {
            let path = entry.unwrap().path();
            open(&path);
            if path.is_dir() {
                path.read_dir()
                    .unwrap()
                    .for_each(|entry| open(&entry.unwrap().path()));
            }
        }
    }
    run_as_nobody("true", "part_forbidden", dir.path());
}

/// Runs a part without the rights of root.
fn run_as_nobody(script: &str, part: &str, directory: &Path) {
    // The test program lies where nobody may look.
    let program = directory.join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new("sh");
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    command.current_dir("/");
    finish(command, script, part, &program, directory);
}

#[test]
fn part_forbidden() {
    let Some((directory, _)) = crate::parts::part() else {
        return;
    };
    each_kind(directory.as_ref(), |store| {
        let error = block_on(store.put("kept", signed("kept", 2))).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        assert!(block_on(store.remove("kept")).is_err());
    });
}

/// Tokio panics where it can start no thread.
#[test]
fn a_process_without_threads() {
    let dir = tempfile::tempdir().unwrap();
    if fs::metadata(dir.path()).unwrap().uid() != 0 {
        return;
    }
    // The directory of nobody, who owns it and is the only one that may write to it.
    std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
    run_as_nobody(
        "ulimit -u 1 2>/dev/null || ulimit -p 1",
        "part_without_threads",
        dir.path(),
    );
}

#[test]
fn part_without_threads() {
    let Some((directory, _)) = crate::parts::part() else {
        return;
    };
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for kind in 0..KINDS {
            let store = store(directory.as_ref(), kind);
            let large = Value::new("", vec![kind; 2_000_000]);
            store.put("large", large.clone()).await.unwrap();
            assert!(store.get("large").await.unwrap() == Some(large));
        }
    });
}

#[test]
fn a_directory_that_vanishes_is_made_again() {
    for kind in 0..KINDS {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), kind);
        for round in 0..3 {
            block_on(store.put("key", signed("key", round))).unwrap();
            check("key", block_on(store.get("key")).unwrap().unwrap());
            let writer = block_on(store.create("streamed", "".into())).unwrap();
            fs::remove_dir_all(dir.path().join(kind.to_string())).unwrap();
            assert_eq!(block_on(store.get("key")).unwrap(), None);
            block_on(writer.commit()).unwrap();
            assert!(block_on(store.get("streamed")).unwrap().is_some());
        }
    }
}

/// Somebody who can plant links there can write there; still nothing is written through one to a file.
#[test]
fn nothing_is_read_or_written_through_a_planted_link() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::write(&outside, "precious").unwrap();
    let store = DiskStore::new(dir.path().join("cache"));
    block_on(store.put("other", Value::default())).unwrap();
    for target in [outside.clone(), dir.path().join("absent")] {
        let link = store.dir().join("key");
        let _ = fs::remove_file(&link);
        symlink(&target, &link).unwrap();
        assert_eq!(block_on(store.get("key")).unwrap(), None);
        assert!(!store.contains("key").unwrap());
        assert!(store.reader("key").unwrap().is_none());
        block_on(store.put("key", Value::new("", "value"))).unwrap();
        assert!(!link.is_symlink());
        assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
        assert!(!dir.path().join("absent").exists());
    }
    symlink(&outside, store.dir().join("removed")).unwrap();
    block_on(store.remove("removed")).unwrap();
    symlink(&outside, store.dir().join("cleared")).unwrap();
    block_on(store.clear()).unwrap();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
}
