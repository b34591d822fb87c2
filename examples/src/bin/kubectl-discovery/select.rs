//! Selects and orders the resources that are printed.

use crate::print::Row;

/// Conditions on the rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) group: Option<String>,
    pub(crate) namespaced: Option<bool>,
    pub(crate) verbs: Vec<String>,
    pub(crate) categories: Vec<String>,
}

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
    rows.retain(|row| filter.lets_through(row));
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

impl Filter {
    fn lets_through(&self, row: &Row<'_>) -> bool {
        let (resource, group) = (row.resource, row.group_version.group());
        let verbs = resource.verbs();
        !verbs.is_empty()
            && self.group.as_ref().is_none_or(|wanted| wanted == group)
            && self
                .namespaced
                .is_none_or(|wanted| wanted == resource.namespaced)
            && self
                .verbs
                .iter()
                .all(|wanted| verbs.iter().any(|verb| verb == wanted))
            && self
                .categories
                .iter()
                .all(|wanted| resource.categories.iter().any(|own| own == wanted))
    }
}
