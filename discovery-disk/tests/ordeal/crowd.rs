//! Many processes on the same keys.

use crate::parts::{start, succeed};
use crate::{number, seed};

#[test]
fn no_process_of_many_reads_a_torn_or_foreign_value() {
    seed("crowd");
    let dir = tempfile::tempdir().unwrap();
    let processes = number("ORDEAL_PROCESSES", 8).min(255) as u8;
    let start = |number| start("part_of_the_crowd", dir.path(), number);
    succeed((0..processes).map(start).collect());
    for store in ["bounded", "kubectl"] {
        let temporary = dir.path().join(store).join(".diskv-temp");
        assert_eq!(
            temporary.read_dir().unwrap().count(),
            0,
            "nothing is left behind"
        );
    }
}
