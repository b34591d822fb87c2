//! JSON as Go prints it with indentation.

use discovery_core::kube::document::go_json;

use super::Node;

/// Appends the document and a newline.
pub(crate) fn write(out: &mut String, node: &Node<'_>, indent: &str) {
    value(out, node, indent, 0);
    out.push('\n');
}

fn value(out: &mut String, node: &Node<'_>, indent: &str, depth: usize) {
    match node {
        Node::List(list) if !list.is_empty() => {
            let items = list.iter().map(|item| (None, item));
            block(out, ['[', ']'], items, indent, depth);
        }
        Node::Map(fields) if !fields.is_empty() => {
            let items = fields.iter().map(|(name, item)| (Some(*name), item));
            block(out, ['{', '}'], items, indent, depth);
        }
        // Go escapes more than JSON demands.
        scalar => out.push_str(&go_json::to_string(scalar)),
    }
}

fn block<'a>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl Iterator<Item = (Option<&'static str>, &'a Node<'a>)>,
    indent: &str,
    depth: usize,
) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    };
    out.push(open);
    for (at, (name, item)) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        line(out, depth + 1);
        if let Some(name) = name {
            out.push('"');
            out.push_str(name);
            out.push_str("\": ");
        }
        value(out, item, indent, depth + 1);
    }
    line(out, depth);
    out.push(close);
}
