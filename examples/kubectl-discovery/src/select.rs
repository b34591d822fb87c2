//! Selects and orders the resources that are printed.

use discovery_client::Filter;

use crate::print::Row;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// Group, then name.
    #[default]
    Group,
    Name,
    Kind,
}

/// Takes out what the filter does not let through, and what has no verbs; sorts the rest. Rows that
/// are equal keep their order.
pub(crate) fn select(rows: &mut Vec<Row<'_>>, filter: &Filter, sort_by: SortBy) {
    rows.retain(|row| {
        !row.resource.verbs().is_empty() && filter.lets_through(row.group_version, row.resource)
    });
    // A group has to be searched for in its group version: once for each row, not for each
    // comparison.
    match sort_by {
        SortBy::Group => rows.sort_by_cached_key(|row| (row.group_version.group(), name(row))),
        SortBy::Name => rows.sort_by(|a, b| name(a).cmp(name(b))),
        SortBy::Kind => rows.sort_by(|a, b| a.resource.kind.cmp(&b.resource.kind)),
    }
}

fn name<'a>(row: &Row<'a>) -> &'a str {
    &row.resource.name
}
