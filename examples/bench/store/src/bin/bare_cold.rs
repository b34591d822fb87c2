//! The system calls that a cold discovery of 2,000 groups can't do without, in a bare loop on one thread: two mkdirs, open,
//! write, fchmod, close and rename for each group. `examples/bench/compare` has the programs beside it. The argument is
//! where the directory is made.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::time::Instant;

fn main() {
    let place = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/dev/shm".to_owned());
    let list = vec![b'x'; 400];
    let mut best = f64::MAX;
    for _ in 0..5 {
        let dir = tempfile::tempdir_in(&place).expect("a directory");
        let start = Instant::now();
        for n in 0..2_000 {
            let group = dir.path().join(format!("g{n:04}.example.test"));
            let version = group.join("v1");
            fs::create_dir(&group).expect("room");
            fs::create_dir(&version).expect("room");
            let temporary = version.join("serverresources.json.1");
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(&temporary).expect("a file");
            file.write_all(&list).expect("room");
            let mode = fs::Permissions::from_mode(0o660);
            file.set_permissions(mode).expect("a mode");
            drop(file);
            fs::rename(&temporary, version.join("serverresources.json")).expect("a name");
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("bare calls for 2,000 groups in {place}: {best:.1} ms");
}
