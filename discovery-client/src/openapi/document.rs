use std::fmt;
use std::ptr;

use discovery_core::{BoxError, GroupVersionKind};
use serde_json::{Map, Value};

/// The number of references that may lead to one schema. A longer chain counts as none.
const MAX_REFERENCES: usize = 64;

/// The OpenAPI v3 document of a group version.
///
/// client-go hands out the bytes of it, and each of its users parses them; here it is parsed once.
///
/// ```
/// use discovery_client::openapi::Document;
/// use discovery_core::GroupVersion;
///
/// let document = Document::parse(br##"{"components":{"schemas":{
///     "test.acme.v1.Rocket": {
///         "description": "It flies.",
///         "properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/test.acme.v1.Spec"}]}},
///         "x-kubernetes-group-version-kind": [{"group":"acme.test","kind":"Rocket","version":"v1"}]},
///     "test.acme.v1.Spec": {
///         "type": "object", "required": ["stages"],
///         "properties": {"stages": {"type": "integer", "description": "How many."}}}
/// }}}"##)?;
/// let rocket = "acme.test/v1".parse::<GroupVersion>()?.with_kind("Rocket");
/// let rocket = document.schema(&rocket).unwrap();
/// assert_eq!(rocket.description(), Some("It flies."));
///
/// let spec = rocket.property("spec").unwrap();
/// assert!(spec.requires("stages"));
/// assert_eq!(spec.property("stages").unwrap().type_name(), Some("integer"));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Document {
    root: Map<String, Value>,
}

/// A schema in a [`Document`], with references followed.
///
/// A reference stands alone in `$ref`, or alone in `allOf` beside a description, as kube-apiserver writes them. Cycles
/// are no trouble: a schema is looked up only when it is asked for. The example is at [`Document`].
#[derive(Clone, Copy)]
pub struct Schema<'d> {
    document: &'d Document,
    /// The schema as it stands, which may be a reference.
    written: &'d Value,
    /// The schema that it refers to in the end; `written` unless it is a reference.
    resolved: &'d Value,
}

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    ///
    /// When `json` is no JSON object, or is nested deeper than 128 levels.
    pub fn parse(json: &[u8]) -> Result<Self, BoxError> {
        Ok(Self {
            root: serde_json::from_slice(json)?,
        })
    }

    /// The schema of a kind, by `x-kubernetes-group-version-kind`. Of several, the one with the first name counts, as
    /// in `kubectl explain`.
    #[must_use]
    pub fn schema(&self, kind: &GroupVersionKind) -> Option<Schema<'_>> {
        let is_asked = |candidate: &Value| {
            let field = |name: &str| candidate.get(name).and_then(Value::as_str);
            field("group").unwrap_or_default() == kind.group_version.group()
                && field("version") == Some(kind.group_version.version())
                && field("kind") == Some(&*kind.kind)
        };
        self.find(is_asked).map(|schema| self.view(schema))
    }

    /// The first schema, by name, that has a kind of which `is_asked` is true.
    pub(super) fn find(&self, is_asked: impl Fn(&Value) -> bool) -> Option<&Value> {
        let schemas = self.root.get("components")?.get("schemas")?.as_object()?;
        schemas
            .iter()
            .filter(|(_, schema)| {
                schema
                    .get("x-kubernetes-group-version-kind")
                    .and_then(Value::as_array)
                    .is_some_and(|kinds| kinds.iter().any(&is_asked))
            })
            .min_by_key(|(name, _)| name.as_str())
            .map(|(_, schema)| schema)
    }

    /// The value that a reference names, one step only. References into other documents name nothing.
    pub(super) fn resolve(&self, reference: &str) -> Option<&Value> {
        let mut names = reference.strip_prefix('#')?.split('/');
        let first = names.find(|name| !name.is_empty())?;
        let mut value = self.root.get(first)?;
        for name in names.filter(|name| !name.is_empty()) {
            value = value.as_object()?.get(name)?;
        }
        value.is_object().then_some(value)
    }

    pub(super) fn path_item(&self, path: &str) -> Option<&Value> {
        self.root.get("paths")?.get(path)
    }

    fn view<'d>(&'d self, written: &'d Value) -> Schema<'d> {
        let mut resolved = written;
        for _ in 0..MAX_REFERENCES {
            match reference(resolved).map(|reference| self.resolve(reference)) {
                None => break,
                Some(Some(next)) if !ptr::eq(next, resolved) => resolved = next,
                // It leads nowhere.
                Some(_) => return self.unresolved(written),
            }
        }
        if reference(resolved).is_some() {
            return self.unresolved(written);
        }
        Schema {
            document: self,
            written,
            resolved,
        }
    }

    const fn unresolved<'d>(&'d self, written: &'d Value) -> Schema<'d> {
        Schema {
            document: self,
            written,
            resolved: written,
        }
    }
}

impl<'d> Schema<'d> {
    /// The description: the schema's own, or that of the schema it refers to.
    #[must_use]
    pub fn description(self) -> Option<&'d str> {
        self.own("description").and_then(Value::as_str)
    }

    /// The type, for example `object` or `string`. A schema that takes several types has none.
    #[must_use]
    pub fn type_name(self) -> Option<&'d str> {
        self.own("type").and_then(Value::as_str)
    }

    /// The format, for example `int-or-string` or `date-time`.
    #[must_use]
    pub fn format(self) -> Option<&'d str> {
        self.own("format").and_then(Value::as_str)
    }

    /// The name of the schema that this one refers to, for example `io.k8s.api.apps.v1.DeploymentSpec`.
    #[must_use]
    pub fn reference(self) -> Option<&'d str> {
        reference(self.written)?.rsplit('/').next()
    }

    /// The field `name` of an object.
    #[must_use]
    pub fn property(self, name: &str) -> Option<Self> {
        let property = self.own("properties")?.get(name)?;
        Some(self.document.view(property))
    }

    /// The fields of an object, in the order of their names.
    pub fn properties(self) -> impl Iterator<Item = (&'d str, Self)> {
        let properties = self.own("properties").and_then(Value::as_object);
        sorted(properties).map(move |(name, property)| (name, self.document.view(property)))
    }

    /// Whether an object must have the field `name`.
    #[must_use]
    pub fn requires(self, name: &str) -> bool {
        lists(self.resolved, "required", name)
    }

    /// The schema of an array's items.
    #[must_use]
    pub fn items(self) -> Option<Self> {
        self.own("items").map(|items| self.document.view(items))
    }

    /// The schema of a map's values. A map whose values may be anything has none.
    #[must_use]
    pub fn values(self) -> Option<Self> {
        let values = self.own("additionalProperties")?;
        values.is_object().then(|| self.document.view(values))
    }

    /// The values that are allowed, if only those are.
    #[must_use]
    pub fn enumeration(self) -> &'d [Value] {
        let values = self.own("enum").and_then(Value::as_array);
        values.map_or(&[], Vec::as_slice)
    }

    /// The JSON of the schema as it stands in the document, with references in it.
    #[must_use]
    pub const fn json(self) -> &'d Value {
        self.written
    }

    /// A keyword of the schema, or else of the one it refers to.
    fn own(self, keyword: &str) -> Option<&'d Value> {
        self.written
            .get(keyword)
            .or_else(|| self.resolved.get(keyword))
    }
}

/// The reference that a schema consists of, alone or as the only one in `allOf`.
fn reference(schema: &Value) -> Option<&str> {
    if let Some(reference) = schema.get("$ref") {
        return reference.as_str();
    }
    match schema.get("allOf")?.as_array()?.as_slice() {
        [only] if schema.get("properties").is_none() => only.get("$ref")?.as_str(),
        _ => None,
    }
}

/// The entries of a map, in the order of their names, whatever order the map keeps.
pub(super) fn sorted(
    map: Option<&Map<String, Value>>,
) -> impl Iterator<Item = (&str, &Value)> + use<'_> {
    let mut entries: Vec<_> = map
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    entries.into_iter()
}

/// Whether the list `keyword` has `name`.
pub(super) fn lists(schema: &Value, keyword: &str, name: &str) -> bool {
    schema
        .get(keyword)
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|item| item == name))
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").finish_non_exhaustive()
    }
}

impl fmt::Debug for Schema<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(self.written).finish()
    }
}
