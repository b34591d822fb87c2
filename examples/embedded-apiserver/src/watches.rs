//! Watches of the collections that tell what is served: CustomResourceDefinitions and APIServices. An event comes with
//! each change of the groups.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{model::Resource, site::Site};

/// A collection whose objects follow from the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Derived {
    /// One for each resource of a group that is not built in.
    CustomResourceDefinitions,
    /// One for each group version.
    ApiServices,
}

/// The open watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    open: Mutex<Vec<(Derived, UnboundedSender<Bytes>)>>,
}

/// The objects of a collection by name: each with its versions, their resource and whether they are stale.
type Objects<'s> = BTreeMap<String, Vec<(&'s str, Option<&'s Resource>, bool)>>;

impl Derived {
    pub(super) fn of(group: &str, resource: &str) -> Option<Self> {
        match (group, resource) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => {
                Some(Self::CustomResourceDefinitions)
            }
            ("apiregistration.k8s.io", "apiservices") => Some(Self::ApiServices),
            _ => None,
        }
    }

    const fn api_version(self) -> (&'static str, &'static str) {
        match self {
            Self::CustomResourceDefinitions => {
                ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
            }
            Self::ApiServices => ("apiregistration.k8s.io/v1", "APIService"),
        }
    }

    pub(super) fn names(self, site: &Site) -> Vec<String> {
        self.objects(site).into_keys().collect()
    }

    fn objects(self, site: &Site) -> Objects<'_> {
        let mut objects = Objects::new();
        for group in site.groups() {
            for version in &group.versions {
                let of = |name: &str| format!("{name}.{}", group.name);
                match self {
                    Self::CustomResourceDefinitions if group.builtin || group.name.is_empty() => {}
                    Self::CustomResourceDefinitions => {
                        for resource in &version.resources {
                            let object = objects.entry(of(&resource.name)).or_default();
                            object.push((&version.name, Some(resource), version.stale));
                        }
                    }
                    // Its definitions tell what a group version has.
                    Self::ApiServices => {
                        let object = objects.entry(of(&version.name)).or_default();
                        object.push((&version.name, None, version.stale));
                    }
                }
            }
        }
        objects
    }
}

impl Watches {
    /// Begins a watch, whose first events tell of what is there.
    pub(super) fn begin(&self, what: Derived, site: &Site) -> UnboundedReceiver<Bytes> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let there = what.names(site);
        let events: String = there
            .iter()
            .map(|name| event("ADDED", what, name))
            .collect();
        if !events.is_empty() {
            _ = sender.send(events.into());
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push((what, sender));
        receiver
    }

    /// Tells the watches how two states of the groups differ.
    pub(super) fn tell(&self, before: &Site, now: &Site) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, sender)| !sender.is_closed());
        for what in [Derived::CustomResourceDefinitions, Derived::ApiServices] {
            if open.iter().all(|(watched, _)| *watched != what) {
                continue;
            }
            let events = Bytes::from(what.difference(before, now));
            let watching = open.iter().filter(|(watched, _)| *watched == what);
            for (_, sender) in watching.filter(|_| !events.is_empty()) {
                _ = sender.send(events.clone());
            }
        }
    }

    /// Ends all of them, as a server does from time to time.
    pub(super) fn end(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clear();
    }
}

impl Derived {
    fn difference(self, before: &Site, now: &Site) -> String {
        let (before, now) = (self.objects(before), self.objects(now));
        let mut events = String::new();
        for (name, object) in &now {
            match before.get(name) {
                None => events.push_str(&event("ADDED", self, name)),
                Some(known) if known != object => {
                    events.push_str(&event("MODIFIED", self, name));
                }
                Some(_) => {}
            }
        }
        for name in before.keys().filter(|name| !now.contains_key(*name)) {
            events.push_str(&event("DELETED", self, name));
        }
        events
    }
}

fn event(kind: &str, what: Derived, name: &str) -> String {
    let (api_version, object) = what.api_version();
    // Names of groups and resources need no escapes.
    format!(
        "{{\"type\":\"{kind}\",\"object\":{{\"kind\":\"{object}\",\"apiVersion\":\"{api_version}\",\
         \"metadata\":{{\"name\":\"{name}\",\"resourceVersion\":\"1000\"}}}}}}\n"
    )
}
