//! The meaning of answers.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Response;

use super::Part;
use crate::kube::asked_url::asked_url;
use crate::kube::document::{
    ApiGroup, ApiGroupDiscoveryList, ApiGroupList, ApiResourceList, ApiVersions, Document,
    GroupVersionForDiscovery, Verbs, decode_lenient,
};
use crate::kube::error::is_success;
use crate::kube::extensions::ParsedAnswer;
use crate::kube::group_version::check_group;
use crate::{Endpoint, Error, Format, GroupVersion};

/// Reads the answer to a request for the resources of `group_version`.
///
/// ```
/// use discovery_core::kube::plan::parse_list;
/// use http::Response;
///
/// let answer = Response::new(r#"{"kind":"APIResourceList","resources":[]}"#.into());
/// assert!(parse_list(&"apps/v1".parse()?, &answer)?.resources.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// When it is an error, or no such list.
pub fn parse_list(
    group_version: &GroupVersion,
    answer: &Response<Bytes>,
) -> Result<Document<ApiResourceList>, Error> {
    let url = asked_url(answer, || group_version.path().into());
    if !is_success(answer.status()) {
        return Err(Error::status(url, answer));
    }
    let mut list: ApiResourceList =
        decode_lenient(answer.body()).map_err(|error| Error::malformed(url, error))?;
    // kubectl writes its own idea of kind and version; the server's list need not have one. Nor
    // need it name the group version, which the path has told.
    list.api_version = "v1".into();
    list.group_version = group_version.as_str().into();
    Verbs::default().compact(&mut list);
    Ok(Document::new(list).from_server(SystemTime::now()))
}

/// The list in an answer, parsed by a cache below or here.
pub(crate) fn take_list(
    group_version: &GroupVersion,
    answer: &Response<Bytes>,
) -> Result<Arc<Document<ApiResourceList>>, Error> {
    let known = answer.extensions().get::<ParsedAnswer>();
    match known.and_then(|known| known.snapshot.resources(group_version.as_str())) {
        Some(list) => Ok(Arc::clone(list)),
        None => Ok(Arc::new(parse_list(group_version, answer)?)),
    }
}

pub(super) fn read_groups(
    endpoint: &Endpoint,
    answer: Result<Response<Bytes>, Error>,
    without_peers: bool,
) -> Result<Part, Error> {
    let answer = answer?;
    let url = asked_url(&answer, || endpoint.path().into());
    if !is_success(answer.status()) {
        let failure = Error::groups_status(url, &answer);
        let absent = *endpoint == Endpoint::Api && failure.is_not_found();
        return if absent {
            Ok(Part::Absent)
        } else {
            Err(failure)
        };
    }
    let known = answer.extensions().get::<ParsedAnswer>();
    if let Some(known) = known.filter(|known| known.snapshot.groups().is_some()) {
        return Ok(Part::Known(known.clone()));
    }
    let format = if without_peers {
        Format::without_peers(answer.headers())
    } else {
        Format::from_headers(answer.headers())
    };
    let Some(format) = format else {
        let source = "the answer is another representation than a discovery document";
        return Err(Error::malformed(url, source));
    };
    let body = answer.body();
    let part = if format.is_aggregated() {
        decode_lenient::<ApiGroupDiscoveryList>(body)
            .map(|list| Part::Aggregated(format, list.into()))
    } else if *endpoint == Endpoint::Api {
        decode_lenient::<ApiVersions>(body).map(|versions| Part::Legacy(vec![versions.to_group()]))
    } else {
        decode_lenient::<ApiGroupList>(body).map(|list| Part::Legacy(list.groups))
    };
    part.map_err(|error| Error::malformed(url, error))
}

/// Removes versions whose names are not fit for a path, and says whether the group's name is.
/// The readers of documents make paths of them: this crate of a version's `groupVersion`, kubectl of the
/// group's name and the version's. So the two have to be the same.
pub(super) fn has_fit_names(group: &mut ApiGroup) -> bool {
    let fit = group.name.is_empty() || check_group(&group.name).is_ok();
    if !fit {
        tracing::debug!(name = ?group.name, "a group whose name is not fit for a path is left out");
        return false;
    }
    let name = &group.name;
    let is_fit = |version: &GroupVersionForDiscovery| {
        GroupVersion::new(name, &version.version)
            .is_ok_and(|group_version| version.group_version == group_version.as_str())
    };
    if let Some(versions) = &mut group.versions {
        versions.retain(|version| {
            let fit = is_fit(version);
            if !fit {
                tracing::debug!(group = ?name, ?version, "a version is left out");
            }
            fit
        });
    }
    let preferred = &mut group.preferred_version;
    if *preferred != GroupVersionForDiscovery::default() && !is_fit(preferred) {
        *preferred = GroupVersionForDiscovery::default();
    }
    true
}
