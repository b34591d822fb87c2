//! Random snapshots, rendered in each form and read again.

use std::sync::Arc;

use bytes::Bytes;
use discovery_core::kube::document::{ApiGroupList, ApiResource, ApiResourceList};
use discovery_core::{Accept, Answer, Format, GroupVersion, Plan, Snapshot};
use http::Response;
use http::header::CONTENT_TYPE;

use crate::{accept, group};

/// xorshift64, so that a failure can be met again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end).unwrap()
    }

    fn text(&mut self) -> String {
        let characters = [
            'a', 'é', '"', '\\', '<', '&', '\n', '\u{1}', '\u{7f}', '\u{2028}', '😀',
        ];
        (0..1 + self.below(4))
            .map(|_| characters[self.below(11)])
            .collect()
    }

    fn texts(&mut self) -> Vec<discovery_core::Text> {
        (0..self.below(3)).map(|_| self.text().into()).collect()
    }

    /// A resource or, with a parent, a subresource.
    fn resource(&mut self, parent: Option<&ApiResource>, number: usize) -> ApiResource {
        let mut resource = ApiResource {
            name: format!("r{number}{}", self.text()).into(),
            kind: self.text().into(),
            verbs: Some(self.texts().into()),
            ..ApiResource::default()
        };
        if self.below(2) == 0 {
            (resource.group, resource.version) = (self.text().into(), self.text().into());
        }
        match parent {
            Some(parent) => {
                resource.name = format!("{}/{}", parent.name, resource.name).into();
                resource.singular_name = parent.singular_name.clone();
                resource.namespaced = parent.namespaced;
            }
            None => {
                resource.singular_name = self.text().into();
                resource.namespaced = self.below(2) == 0;
                (resource.short_names, resource.categories) = (self.texts(), self.texts());
            }
        }
        resource
    }

    /// Of the kind that an aggregated server's answers make.
    fn snapshot(&mut self) -> Snapshot {
        let (mut snapshot, mut groups) = (Snapshot::default(), Vec::new());
        for number in 0..self.below(5) {
            let name = if number == 0 {
                String::new()
            } else {
                format!("g{number}.test")
            };
            let versions: Vec<_> = (0..1 + self.below(3)).map(|v| format!("v{v}")).collect();
            let texts: Vec<_> = versions.iter().map(String::as_str).collect();
            groups.push(group(&name, &texts));
            for version in versions {
                let of = GroupVersion::new(&name, &version).unwrap();
                let mut resources = Vec::new();
                for number in 0..self.below(4) {
                    let parent = self.resource(None, number);
                    let subs: Vec<_> = (0..self.below(3))
                        .map(|number| self.resource(Some(&parent), number))
                        .collect();
                    resources.push(parent);
                    resources.extend(subs);
                }
                snapshot.insert(&of, ApiResourceList::new(&of, resources));
            }
        }
        snapshot.set_groups(ApiGroupList::new(groups));
        snapshot
    }
}

/// Carries out a plan against a snapshot as the server.
fn discover(server: &Snapshot, accepted: &'static str) -> Snapshot {
    let mut plan = Plan::everything().accept(accepted);
    while let Some((ticket, _)) = plan.next() {
        let response = match server.answer(ticket.endpoint(), accept(accepted)) {
            Some(Answer::Document { format, json }) => Response::builder()
                .header(CONTENT_TYPE, format.content_type())
                .body(json),
            _ => Response::builder().status(404).body(Bytes::new()),
        };
        plan.feed(ticket, Ok(response.unwrap()));
    }
    let discovered = plan.finish().unwrap();
    // A legacy server is in error with an empty list.
    let empty = |name: &GroupVersion| {
        server
            .resources(name.as_str())
            .unwrap()
            .resources
            .is_empty()
    };
    assert!(discovered.failed.keys().all(empty));
    Arc::unwrap_or_clone(discovered.snapshot)
}

#[test]
fn whatever_the_form_the_same_is_understood() {
    for seed in 1..300_u64 {
        let server = Random(seed).snapshot();
        for accepted in [
            Accept::KUBECTL,
            Format::V2.content_type(),
            Format::V2Beta1.content_type(),
            "application/json",
        ] {
            let client = discover(&server, accepted);
            assert_eq!(
                ***client.groups().unwrap(),
                ***server.groups().unwrap(),
                "{seed} {accepted}"
            );
            for (name, list) in server.lists() {
                match client.resources(name.as_str()) {
                    Some(found) => assert_eq!(***found, ***list, "{seed} {accepted} {name}"),
                    None => assert!(
                        accepted == "application/json" && list.resources.is_empty(),
                        "{seed} {name}"
                    ),
                }
            }
        }
    }
}
