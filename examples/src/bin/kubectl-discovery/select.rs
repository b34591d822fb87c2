//! Which resources are printed, and in which order.

use crate::print::Row;

/// What the rows must have.
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
    rows.sort_by(|a, b| {
        let (a, b) = (Key::of(a), Key::of(b));
        match sort_by {
            SortBy::Group => a.group.cmp(b.group).then_with(|| a.name.cmp(b.name)),
            SortBy::Name => a.name.cmp(b.name),
            SortBy::Kind => a.kind.cmp(b.kind),
        }
    });
}

struct Key<'a> {
    group: &'a str,
    name: &'a str,
    kind: &'a str,
}

impl<'a> Key<'a> {
    fn of(row: &Row<'a>) -> Self {
        Self {
            group: row.group_version.group(),
            name: &row.resource.name,
            kind: &row.resource.kind,
        }
    }
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
