use std::fmt;

use discovery_core::GroupVersionResource;
use serde_json::Value;

use super::document::{Document, lists, sorted};
use super::wrap::wrap;

/// The width of a description, with its indentation.
const WIDTH: usize = 80;

/// The methods whose operations may name the kind of a path, in kubectl's order.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The number of values of an enumeration that a list of fields shows.
const SHOWN_VALUES: usize = 4;

/// The number of schemas below each other that are followed.
const MAX_DEPTH: usize = 256;

/// The number of schemas that one run may visit, because a small document can stand for an endless text.
const MAX_STEPS: usize = 500_000;

/// The longest text that is made.
const MAX_TEXT: usize = 64 << 20;

/// Prints the documentation of a resource, as `kubectl explain` does with `--output plaintext`.
///
/// The text is kubectl 1.37's to the byte. In contrast to it, a document whose references run in circles, or which stands
/// for more than 64 MiB of text, ends in an error.
///
/// ```
/// use discovery_client::openapi::{Document, Explain};
/// use discovery_core::GroupVersion;
///
/// let document = Document::parse(br#"{
///     "paths": {"/apis/acme.test/v1/rockets": {"get": {
///         "x-kubernetes-group-version-kind": {"group":"acme.test","kind":"Rocket","version":"v1"}}}},
///     "components": {"schemas": {"test.acme.v1.Rocket": {
///         "description": "It flies.",
///         "properties": {"name": {"type": "string"}},
///         "x-kubernetes-group-version-kind": [{"group":"acme.test","kind":"Rocket","version":"v1"}]}}}
/// }"#)?;
/// let rockets = "acme.test/v1".parse::<GroupVersion>()?.with_resource("rockets");
/// let text = Explain::new(&rockets).to_text(&document)?;
/// assert!(text.starts_with("GROUP:      acme.test\nKIND:       Rocket\nVERSION:    v1\n"));
/// assert!(text.contains("  name\t<string>\n    <no description>\n"));
///
/// let error = Explain::new(&rockets).fields(["nmae"]).to_text(&document).unwrap_err();
/// assert_eq!(error.to_string(), r#"field "nmae" does not exist"#);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Explain {
    resource: GroupVersionResource,
    fields: Vec<String>,
    recursive: bool,
    max_depth: usize,
}

/// Why a resource can't be explained, in the words of `kubectl explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainError {
    kind: Kind,
    head: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// No path of the document is that of the resource. The text is Go's for the resource.
    NoResource(String),
    /// No schema is that of the kind. The text is Go's for a map.
    NoSchema(String),
    NoField(String),
    TooDeep,
    TooLarge,
}

impl Explain {
    /// Explains a resource, which is named by its plural.
    pub fn new(resource: &GroupVersionResource) -> Self {
        Self {
            resource: resource.clone(),
            fields: Vec::new(),
            recursive: false,
            max_depth: 0,
        }
    }

    /// Explains a field of the resource, for example `["spec", "containers"]`.
    pub fn fields<T: Into<String>>(mut self, path: impl IntoIterator<Item = T>) -> Self {
        self.fields = path.into_iter().map(Into::into).collect();
        self
    }

    /// Prints the fields of fields as well, without descriptions.
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.recursive = recursive;
        self
    }

    /// The depth to which [`recursive`](Self::recursive) goes; no limit with 0.
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// When the document does not have the resource, its kind or the field; when its schemas are nested too deep, or
    /// stand for too long a text.
    pub fn to_text(&self, document: &Document) -> Result<String, ExplainError> {
        let mut printer = Printer {
            document,
            recursive: self.recursive,
            max_depth: self.max_depth,
            out: String::new(),
            steps: 0,
        };
        match self.print(&mut printer) {
            Ok(()) => Ok(printer.out),
            Err((kind, head)) => Err(ExplainError {
                kind,
                head: printer.out[..head].to_owned(),
            }),
        }
    }

    /// On failure tells how much of the text kubectl has printed by then.
    fn print(&self, printer: &mut Printer<'_>) -> Result<(), (Kind, usize)> {
        let Some(kind) = self.kind(printer.document) else {
            let GroupVersionResource {
                group_version,
                resource,
            } = &self.resource;
            let (group, version) = (group_version.group(), group_version.version());
            let name = format!("{group}/{version}, Resource={resource}");
            return Err((Kind::NoResource(name), 0));
        };
        let field = |name: &str| kind.get(name).map(go_text).unwrap_or_default();
        let group = field("group");
        if !group.is_empty() {
            printer.push("GROUP:      ").push(&group).push("\n");
        }
        printer.push("KIND:       ").push(&field("kind")).push("\n");
        printer.push("VERSION:    ").push(&field("version"));
        printer.push("\n\n");
        let head = printer.out.len();
        let Some(schema) = printer.document.find(|candidate| candidate == kind) else {
            return Err((Kind::NoSchema(go_text(kind)), head));
        };
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        printer
            .schema(schema, &fields, &History::Empty, 0)
            .map_err(|kind| (kind, head))?;
        if printer.out.len() == head {
            let name = fields.last().copied().unwrap_or_default().to_owned();
            return Err((Kind::NoField(name), head));
        }
        printer.push("\n");
        Ok(())
    }

    /// The kind that the operations on the resource's paths name. A later path takes precedence.
    fn kind<'d>(&self, document: &'d Document) -> Option<&'d Value> {
        let GroupVersionResource {
            group_version,
            resource,
        } = &self.resource;
        let root = group_version.path();
        let mut kind = None;
        for path in [
            format!("{root}/{resource}"),
            format!("{root}/{resource}/{{name}}"),
            format!("{root}/namespaces/{{namespace}}/{resource}"),
            format!("{root}/namespaces/{{namespace}}/{resource}/{{name}}"),
        ] {
            let operations = METHODS.iter().filter_map(|method| {
                let operation = document.path_item(&path)?.get(method)?;
                is_set(operation).then_some(operation)
            });
            for operation in operations {
                kind = operation
                    .get("x-kubernetes-group-version-kind")
                    .filter(|kind| is_set(kind));
                if kind.is_some() {
                    break;
                }
            }
        }
        kind
    }
}

impl ExplainError {
    /// Whether the resource has no such field.
    #[must_use]
    pub const fn is_no_field(&self) -> bool {
        matches!(self.kind, Kind::NoField(_))
    }

    /// Whether the document does not have the resource, or no schema of its kind.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self.kind, Kind::NoResource(_) | Kind::NoSchema(_))
    }

    /// The text that `kubectl explain` prints before it fails: group, kind and version, as far as they are known.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }
}

/// The references that were followed on the way to a schema.
enum History<'h> {
    Empty,
    Seen(&'h str, &'h History<'h>),
}

impl<'h> History<'h> {
    /// With the schema's own reference, if it has one.
    const fn with(&'h self, reference: Option<&'h str>) -> Self {
        match reference {
            Some(reference) => Self::Seen(reference, self),
            None => Self::Seen("", self),
        }
    }

    fn has(&self, reference: Option<&str>) -> bool {
        let Some(reference) = reference else {
            return false;
        };
        let mut rest = self;
        while let History::Seen(seen, before) = rest {
            if *seen == reference {
                return true;
            }
            rest = before;
        }
        false
    }
}

struct Printer<'d> {
    document: &'d Document,
    recursive: bool,
    max_depth: usize,
    out: String,
    steps: usize,
}

impl<'d> Printer<'d> {
    fn push(&mut self, text: &str) -> &mut Self {
        self.out.push_str(text);
        self
    }

    /// Counts a step, and fails where there were too many.
    fn step(&mut self, depth: usize) -> Result<(), Kind> {
        self.steps += 1;
        if depth > MAX_DEPTH {
            return Err(Kind::TooDeep);
        }
        if self.steps > MAX_STEPS || self.out.len() > MAX_TEXT {
            return Err(Kind::TooLarge);
        }
        Ok(())
    }

    /// The schema that a schema refers to, or itself.
    fn resolved(&self, schema: &'d Value) -> &'d Value {
        reference(schema)
            .and_then(|reference| self.document.resolve(reference))
            .filter(|resolved| is_set(resolved))
            .unwrap_or(schema)
    }

    /// Follows `fields`, and prints what is there; nothing if there is no such field.
    fn schema(
        &mut self,
        schema: &'d Value,
        fields: &[&str],
        history: &History<'_>,
        depth: usize,
    ) -> Result<(), Kind> {
        self.step(depth)?;
        let own = reference(schema);
        let resolved = self.resolved(schema);
        let Some((first, rest)) = fields.split_first() else {
            return self.described(resolved);
        };
        if history.has(own) {
            return Ok(());
        }
        let next = history.with(own);
        let property = keyword(resolved, "properties")
            .and_then(|properties| properties.get(first))
            .filter(|property| is_set(property));
        if let Some(property) = property {
            if rest.is_empty() {
                self.push("FIELD: ").push(first).push(" <");
                self.type_name(property, 0)?;
                self.push(">\n");
                self.long_enumeration(property);
                self.push("\n\n");
            }
            return self.schema(property, rest, &History::Empty, depth + 1);
        }
        if let Some(items) = keyword(resolved, "items") {
            return self.schema(items, fields, &next, depth + 1);
        }
        if let Some(values) = map_values(resolved) {
            return self.schema(values, fields, &next, depth + 1);
        }
        for part in parts(resolved) {
            let before = self.out.len();
            self.schema(part, fields, &next, depth + 1)?;
            if self.out.len() > before {
                break;
            }
        }
        Ok(())
    }

    fn described(&mut self, schema: &'d Value) -> Result<(), Kind> {
        self.push("DESCRIPTION:\n");
        let mut description = String::new();
        self.description(&mut description, schema, 0)?;
        if description.is_empty() {
            description.push_str("<empty>");
        }
        self.paragraph(&description, 4);
        if let Some(docs) = keyword(schema, "externalDocs") {
            self.push("\n");
            self.external_docs(docs, 0, 4);
        }
        let start = self.out.len();
        self.fields(schema, 1, &History::Empty, 0)?;
        if self.out.len() > start {
            self.out.insert_str(start, "FIELDS:\n");
        }
        Ok(())
    }

    /// The descriptions of a schema and of those that it consists of.
    fn description(
        &mut self,
        out: &mut String,
        schema: &'d Value,
        depth: usize,
    ) -> Result<(), Kind> {
        self.step(depth)?;
        if out.len() > MAX_TEXT {
            return Err(Kind::TooLarge);
        }
        let schema = self.resolved(schema);
        if let Some(description) = keyword(schema, "description") {
            out.push_str(&go_text(description));
            out.push('\n');
        }
        let below = parts(schema)
            .chain(keyword(schema, "items"))
            .chain(map_values(schema));
        for schema in below {
            self.description(out, schema, depth + 1)?;
        }
        Ok(())
    }

    fn external_docs(&mut self, docs: &Value, title_indent: usize, indent: usize) {
        self.indented("EXTERNAL DOCS:", title_indent).push("\n");
        if let Some(description) = keyword(docs, "description") {
            self.paragraph(&go_text(description), indent);
        }
        if let Some(url) = keyword(docs, "url") {
            let url = format!("URL: {}", go_text(url));
            self.indented(&url, indent).push("\n");
        }
    }

    /// The fields of a schema and of those that it consists of.
    fn fields(
        &mut self,
        schema: &'d Value,
        level: usize,
        history: &History<'_>,
        depth: usize,
    ) -> Result<(), Kind> {
        self.step(depth)?;
        let own = reference(schema);
        if history.has(own) {
            return Ok(());
        }
        let next = history.with(own);
        let resolved = self.resolved(schema);
        let properties = keyword(resolved, "properties").and_then(Value::as_object);
        for (name, property) in sorted(properties) {
            self.field(resolved, name, property, level)?;
            if self.recursive && (self.max_depth == 0 || level < self.max_depth) {
                self.fields(property, level + 1, &next, depth + 1)?;
            }
        }
        let below = parts(resolved)
            .chain(keyword(resolved, "items"))
            .chain(map_values(resolved));
        for schema in below {
            self.fields(schema, level, &next, depth + 1)?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        parent: &'d Value,
        name: &str,
        field: &'d Value,
        level: usize,
    ) -> Result<(), Kind> {
        self.step(0)?;
        let indent = level * 2;
        self.indented(name, indent).push("\t<");
        self.type_name(field, 0)?;
        self.push(">");
        if lists(parent, "required", name) {
            self.push(" -required-");
        }
        self.short_enumeration(field, indent);
        self.push("\n");
        if self.recursive {
            return Ok(());
        }
        match keyword(field, "description") {
            Some(description) => self.paragraph(&go_text(description), indent + 2),
            None => self.paragraph("<no description>", indent + 2),
        }
        if let Some(docs) = keyword(field, "externalDocs") {
            self.push("\n");
            self.external_docs(docs, indent + 2, indent + 4);
        }
        self.push("\n");
        Ok(())
    }

    /// The type as Go would write it: `string`, `[]Container`, `map[string]Quantity`.
    fn type_name(&mut self, schema: &'d Value, depth: usize) -> Result<(), Kind> {
        self.step(depth)?;
        if let Some(items) = keyword(schema, "items") {
            self.push("[]");
            return self.type_name(items, depth + 1);
        }
        if let Some(values) = map_values(schema) {
            self.push("map[string]");
            return self.type_name(values, depth + 1);
        }
        let mut all = parts(schema);
        if let (Some(only), None) = (all.next(), all.next())
            && keyword(schema, "properties").is_none()
        {
            return self.type_name(only, depth + 1);
        }
        let Some(reference) = reference(schema) else {
            let name = keyword(schema, "type").map(go_text);
            let name = name.filter(|name| name != "object");
            self.push(name.as_deref().unwrap_or("Object"));
            return Ok(());
        };
        let target = self
            .document
            .resolve(reference)
            .and_then(|target| keyword(target, "type"))
            .map(go_text)
            .filter(|name| name != "object");
        let name = target.as_deref().unwrap_or_else(|| {
            let name = reference.rsplit(['/', '.']).next();
            name.filter(|name| !name.is_empty()).unwrap_or("Object")
        });
        self.push(name);
        Ok(())
    }

    fn long_enumeration(&mut self, schema: &Value) {
        let values = enumeration(schema);
        if !values.is_empty() {
            self.push("ENUM:");
        }
        for value in values {
            self.push("\n    ").push(&enumerated(value));
        }
    }

    fn short_enumeration(&mut self, schema: &Value, indent: usize) {
        let values = enumeration(schema);
        if values.is_empty() {
            return;
        }
        self.push("\n").indented("enum: ", indent);
        for (index, value) in values.iter().take(SHOWN_VALUES).enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.push(&enumerated(value));
        }
        if values.len() > SHOWN_VALUES {
            self.push(", ....");
        }
    }

    /// A description, wrapped and indented.
    fn paragraph(&mut self, text: &str, indent: usize) {
        let text = wrap(text, WIDTH.saturating_sub(indent));
        self.indented(&text, indent).push("\n");
    }

    fn indented(&mut self, text: &str, indent: usize) -> &mut Self {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.out.push('\n');
            }
            self.out.extend(std::iter::repeat_n(' ', indent));
            self.out.push_str(line);
        }
        self
    }
}

fn reference(schema: &Value) -> Option<&str> {
    let reference = schema.get("$ref")?.as_str()?;
    (!reference.is_empty()).then_some(reference)
}

/// A keyword of a schema. An empty value counts as none, as in Go's templates.
fn keyword<'d>(schema: &'d Value, name: &str) -> Option<&'d Value> {
    schema.get(name).filter(|value| is_set(value))
}

/// The schema of a map's values.
fn map_values(schema: &Value) -> Option<&Value> {
    keyword(schema, "additionalProperties").filter(|values| !values.is_boolean())
}

/// The schemas in `allOf`.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let parts = schema.get("allOf").and_then(Value::as_array);
    parts.into_iter().flatten()
}

fn enumeration(schema: &Value) -> &[Value] {
    let values = schema.get("enum").and_then(Value::as_array);
    values.map_or(&[], Vec::as_slice)
}

fn enumerated(value: &Value) -> String {
    match value.as_str() {
        Some("") => "\"\"".into(),
        _ => go_text(value),
    }
}

/// The values that Go's templates take for true.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A value as Go prints it.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.as_f64().map(go_number).unwrap_or_default(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(go_text).collect();
            format!("[{}]", list.join(" "))
        }
        Value::Object(map) => {
            let fields: Vec<_> = sorted(Some(map))
                .map(|(name, value)| format!("{name}:{}", go_text(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// A floating-point number, which every JSON number is in Go.
fn go_number(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        number.to_string()
    }
}

impl fmt::Display for ExplainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::NoResource(name) => write!(f, "GVR ({name}) not found in OpenAPI schema"),
            Kind::NoSchema(kind) => write!(f, "GVK {kind} not found in OpenAPI schema"),
            Kind::NoField(name) => write!(f, "field \"{name}\" does not exist"),
            Kind::TooDeep => write!(
                f,
                "schemas are more than {MAX_DEPTH} levels below each other"
            ),
            Kind::TooLarge => f.write_str("the schema stands for too long a text"),
        }
    }
}

impl std::error::Error for ExplainError {}
