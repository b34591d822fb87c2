use discovery_core::GroupVersion;
use discovery_core::kube::document::ApiResource;

/// Conditions on resources, all of which have to hold. As client-go's `discovery.ResourcePredicate`s, and as the flags of
/// `kubectl api-resources`.
///
/// ```
/// use discovery_client::Filter;
/// use discovery_core::kube::document::ApiResource;
///
/// let verbs: [_; 2] = ["get".into(), "list".into()];
/// let pods = ApiResource {
///     name: "pods".into(),
///     namespaced: true,
///     verbs: Some(std::sync::Arc::new(verbs)),
///     categories: vec!["all".into()],
///     ..Default::default()
/// };
/// let core = "v1".parse()?;
/// let filter = Filter::new().group("").namespaced(true).verbs(["list", "get"]).categories(["all"]);
/// assert!(filter.lets_through(&core, &pods));
/// assert!(!filter.clone().verbs(["watch"]).lets_through(&core, &pods));
/// assert!(!filter.group("apps").lets_through(&core, &pods));
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    group: Option<String>,
    namespaced: Option<bool>,
    verbs: Vec<String>,
    categories: Vec<String>,
}

impl Filter {
    /// Lets everything through.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the resources of this group; `""` is the core group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Only resources whose objects are in namespaces, or only those whose objects are not.
    #[must_use]
    pub fn namespaced(mut self, namespaced: bool) -> Self {
        self.namespaced = Some(namespaced);
        self
    }

    /// Only resources that support all of these verbs, and those of earlier calls.
    #[must_use]
    pub fn verbs<V: Into<String>>(mut self, verbs: impl IntoIterator<Item = V>) -> Self {
        self.verbs.extend(verbs.into_iter().map(Into::into));
        self
    }

    /// Only resources that are in all of these categories, and in those of earlier calls.
    #[must_use]
    pub fn categories<C: Into<String>>(mut self, names: impl IntoIterator<Item = C>) -> Self {
        self.categories.extend(names.into_iter().map(Into::into));
        self
    }

    /// Whether a resource of a group version meets all conditions.
    #[must_use]
    pub fn lets_through(&self, group_version: &GroupVersion, resource: &ApiResource) -> bool {
        self.group
            .as_ref()
            .is_none_or(|group| group == group_version.group())
            && self
                .namespaced
                .is_none_or(|namespaced| namespaced == resource.namespaced)
            && resource.supports_all(&self.verbs)
            && self
                .categories
                .iter()
                .all(|name| resource.is_in_category(name))
    }
}
