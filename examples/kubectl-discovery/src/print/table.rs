//! The table, aligned as kubectl aligns it.

use crate::printable::printable;
use std::borrow::Cow;

use discovery_core::Text;

use super::Row;

/// The narrowest column, and the space behind the longest cell.
const MIN_WIDTH: usize = 6;
const PADDING: usize = 3;

const HEADER: [&str; 7] = [
    "NAME",
    "SHORTNAMES",
    "APIVERSION",
    "NAMESPACED",
    "KIND",
    "VERBS",
    "CATEGORIES",
];

pub(crate) fn write(out: &mut String, rows: &[Row<'_>], wide: bool, header: bool) {
    let columns = if wide { 7 } else { 5 };
    let header = header.then(|| HEADER.map(Cow::Borrowed));
    // Cells are made twice, once to be measured: cheaper than to keep thousands of them.
    let lines = || {
        let rows = rows.iter().map(|row| cells(row, wide));
        header.clone().into_iter().chain(rows)
    };
    let mut widths = [MIN_WIDTH; 7];
    for line in lines() {
        for (width, cell) in widths.iter_mut().zip(&line) {
            *width = (*width).max(count(cell) + PADDING);
        }
    }
    out.reserve((rows.len() + 1) * (widths[..columns].iter().sum::<usize>() + 1));
    for line in lines() {
        let (last, others) = (&line[columns - 1], &line[..columns - 1]);
        for (cell, width) in others.iter().zip(widths) {
            out.push_str(cell);
            pad(out, width - count(cell));
        }
        out.push_str(last);
        out.push('\n');
    }
}

fn pad(out: &mut String, mut width: usize) {
    const SPACES: &str = "                                ";
    while width > 0 {
        let some = width.min(SPACES.len());
        out.push_str(&SPACES[..some]);
        width -= some;
    }
}

fn cells<'a>(row: &Row<'a>, wide: bool) -> [Cow<'a, str>; 7] {
    let resource = row.resource;
    let wide = |texts| if wide { joined(texts) } else { "".into() };
    let cells: [Cow<'a, str>; 7] = [
        (&*resource.name).into(),
        joined(&resource.short_names),
        row.group_version.as_str().into(),
        if resource.namespaced { "true" } else { "false" }.into(),
        (&*resource.kind).into(),
        wide(resource.verbs()),
        wide(&resource.categories),
    ];
    // Names are the server's, and it may be nobody's friend.
    cells.map(|cell| match printable(&cell) {
        Cow::Borrowed(_) => cell,
        Cow::Owned(shown) => shown.into(),
    })
}

fn joined(texts: &[Text]) -> Cow<'_, str> {
    match texts {
        [] => "".into(),
        [text] => text.as_str().into(),
        texts => texts.join(",").into(),
    }
}

/// Width in characters, not in columns of a terminal: kubectl's alignment of wide characters is off
/// in the same way.
fn count(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}
