//! Tables, ages and colours of the commands that kubectl does not have.

use std::env;
use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::printable::printable;

const PADDING: usize = 3;

/// Whether lines are coloured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Colours {
    on: bool,
}

impl Colours {
    /// Colours if stdout is a terminal that has some, unless the user wants none (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb;
        Self { on }
    }

    /// A line with a mark: what came is green, what went is red, what is otherwise is yellow.
    pub(crate) fn line(self, mark: char, text: &str) -> String {
        let text = printable(text);
        let colour = match mark {
            '+' => 32,
            '-' => 31,
            _ => 33,
        };
        if self.on {
            format!("\u{1b}[{colour}m{mark} {text}\u{1b}[0m\n")
        } else {
            format!("{mark} {text}\n")
        }
    }
}

/// Columns under a header, with nothing in the cells that a terminal would obey.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let cells = |row: &[String; N]| row.each_ref().map(|cell| printable(cell).into_owned());
    let lines: Vec<[String; N]> = std::iter::once(header.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let count = |cell: &str| cell.chars().count();
    let width = |column: usize| lines.iter().map(|line| count(&line[column])).max();
    let widths: [usize; N] = std::array::from_fn(|at| width(at).unwrap_or_default() + PADDING);
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - count(cell)));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// An age in the unit that suits it: `12s`, `5m`, `3h`, `2d`.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// The age of something from a time; zero for a time to come.
pub(crate) fn age_of(since: SystemTime, now: SystemTime) -> String {
    age(now.duration_since(since).unwrap_or_default())
}

/// A time for documents; empty for one beyond the calendar.
pub(crate) fn time(since: SystemTime) -> String {
    let seconds = since
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_that_are_ours_reach_the_terminal() {
        let line = |on| Colours { on }.line('+', "a\u{1b}[31m");
        assert_eq!(line(true), "\u{1b}[32m+ a\\u{1b}[31m\u{1b}[0m\n");
        assert_eq!(line(false), "+ a\\u{1b}[31m\n");
    }

    #[test]
    fn ages_have_the_unit_that_suits_them() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(time(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
