//! Figures that criterion does not measure: requests, writes, copies, peak memory, many tasks at once.
//! Prints a line for each figure: its name, a tab, the figure.

mod coalescing;
mod large;
mod throughput;
mod unchanged;

use std::fmt::Display;

const PARTS: [(&str, fn()); 4] = [
    ("unchanged", unchanged::run),
    ("coalescing", coalescing::run),
    ("large", large::run),
    ("throughput", throughput::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode, kind, length] if mode == large::CHILD => large::child(kind, length),
        wanted => PARTS
            .iter()
            .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
            .for_each(|(_, run)| run()),
    }
}

fn report(name: &str, figure: impl Display) {
    println!("{name}\t{figure}");
}

/// The middle one.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
