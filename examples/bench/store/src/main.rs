//! `DiskStore` and `KubectlStore` beside diskv 3, cacache, redb and the bare system calls: writing, reading, looking and
//! listing, one operation after the other on one thread. Each round has new directories; the best of the rounds counts.
//!
//! The first argument is the program that measures diskv, or `-`; the others are where the directories are made. `run` takes
//! the lines that begin with `figure` for itself.

mod contenders;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use contenders::{Contender, OPERATIONS};

/// A contender gets the memory and the blocks that the one before has just left: in each round another one begins.
const ROUNDS: usize = 6;

/// Sizes in bytes, and how many keys of that size. Fewer of the largest: ten thousand would be 4 GB for each contender.
const SIZES: [(usize, usize); 3] = [(200, 10_000), (4 << 10, 10_000), (400 << 10, 500)];

/// Nanoseconds of one operation, by contender and operation.
type Results = BTreeMap<(&'static str, &'static str), u64>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let diskv = arguments.next().filter(|path| path != "-");
    let places: Vec<_> = arguments.collect();
    let contenders = contenders::all();
    let count = contenders.len() + usize::from(diskv.is_some());
    for place in &places {
        for (size, keys) in SIZES {
            let mut best = Results::new();
            for round in 0..ROUNDS {
                for turn in 0..count {
                    let dir = tempfile::tempdir_in(place).expect("a directory");
                    let (name, results) = match (contenders.get((round + turn) % count), &diskv) {
                        (Some(contender), _) => {
                            let results = measure(&**contender, dir.path(), keys, size);
                            (contender.name(), results)
                        }
                        (None, Some(diskv)) => {
                            ("diskv 3", run_diskv(diskv, dir.path(), keys, size))
                        }
                        (None, None) => unreachable!("it is not counted"),
                    };
                    keep(&mut best, name, &results);
                }
            }
            print(place, size, keys, &best);
        }
    }
}

fn keep(best: &mut Results, name: &'static str, results: &[u64]) {
    for (operation, nanoseconds) in OPERATIONS.into_iter().zip(results) {
        let known = best.entry((name, operation)).or_insert(u64::MAX);
        *known = (*known).min(*nanoseconds);
    }
}

fn measure(contender: &dyn Contender, dir: &Path, keys: usize, size: usize) -> Vec<u64> {
    let value: Vec<u8> = (0..size).map(|at| at as u8).collect();
    let mut open = contender.open(dir);
    let names: Vec<_> = (0..keys).map(|n| format!("key-{n:08}")).collect();
    let each = |work: &mut dyn FnMut(&str)| {
        let start = std::time::Instant::now();
        names.iter().for_each(|name| work(name));
        (start.elapsed().as_nanos() / keys as u128) as u64
    };
    let mut results = vec![
        each(&mut |name| open.write(name, &value)),
        each(&mut |name| assert_eq!(open.read(name), size)),
        each(&mut |name| assert!(open.has(name))),
    ];
    let start = std::time::Instant::now();
    assert!(open.keys() >= keys);
    results.push((start.elapsed().as_nanos() / keys as u128) as u64);
    results
}

fn run_diskv(program: &str, dir: &Path, keys: usize, size: usize) -> Vec<u64> {
    let output = Command::new(program)
        .arg(dir.join("diskv"))
        .args([keys.to_string(), size.to_string()])
        .output()
        .expect("diskv's program");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).expect("text");
    let number = |line: &str| line.rsplit(' ').next().and_then(|text| text.parse().ok());
    said.lines()
        .map(|line| number(line).expect("a number"))
        .collect()
}

#[allow(clippy::print_stdout)]
fn print(place: &str, size: usize, keys: usize, best: &Results) {
    println!(
        "\n{keys} values of {size} bytes in {place}: microseconds of one operation, and times DiskStore's"
    );
    println!(
        "{:<24}{}",
        "",
        OPERATIONS.map(|name| format!("{name:>18}")).concat()
    );
    let mut names: Vec<_> = best.keys().map(|(name, _)| *name).collect();
    names.dedup();
    for name in names {
        for operation in OPERATIONS {
            let nanoseconds = best[&(name, operation)];
            println!("figure\t{place} {size} {operation} {name}\t{nanoseconds}");
        }
        let cells = OPERATIONS.map(|operation| {
            let own = best[&("DiskStore", operation)] as f64;
            match best
                .get(&(name, operation))
                .copied()
                .filter(|&time| time > 0)
            {
                Some(time) => format!("{:>10.2} {:>6.2}x", time as f64 / 1e3, time as f64 / own),
                None => format!("{:>18}", "-"),
            }
        });
        println!("{name:<24}{}", cells.concat());
    }
}
