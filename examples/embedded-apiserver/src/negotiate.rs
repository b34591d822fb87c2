//! Content negotiation as kube-apiserver does it: quality values and order do not count, one
//! aggregated entry that can be had beats everything else.

use super::documents::Aggregated;

/// The forms that a path can be had in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offer {
    pub(super) v2: bool,
    pub(super) v2beta1: bool,
    /// The aggregated form is all that is offered, whatever is asked for.
    pub(super) always: bool,
    /// A request that names an aggregated form gets nothing.
    pub(super) never: bool,
}

impl Offer {
    /// Legacy documents only.
    pub(super) const PLAIN: Self = Self {
        v2: false,
        v2beta1: false,
        always: false,
        never: false,
    };
}

/// A form that the client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Aggregated(Aggregated),
    Plain,
}

/// Picks the form for an `Accept` value, or `None` for 406. Without the header, plain JSON fits.
pub(super) fn form(accept: Option<&str>, offer: Offer) -> Option<Form> {
    if offer.always {
        return Some(Form::Aggregated(Aggregated::V2));
    }
    let Some(accept) = accept.map(str::trim).filter(|accept| !accept.is_empty()) else {
        return Some(Form::Plain);
    };
    let mut plain = false;
    for clause in accept.split(',') {
        if !matches!(
            media_type(clause).as_str(),
            "application/json" | "application/*" | "*/*"
        ) {
            continue;
        }
        let Some(target) = parameter(clause, "as") else {
            plain = true;
            continue;
        };
        if offer.never {
            return None;
        }
        let group = parameter(clause, "g").unwrap_or_default();
        if target == "APIGroupDiscoveryList" && group == "apidiscovery.k8s.io" {
            match parameter(clause, "v").unwrap_or_default() {
                "v2" if offer.v2 => return Some(Form::Aggregated(Aggregated::V2)),
                "v2beta1" if offer.v2beta1 => return Some(Form::Aggregated(Aggregated::V2beta1)),
                // A transformation that is not offered rules the clause out: the document itself
                // is not what was asked for.
                _ => {}
            }
        }
    }
    plain.then_some(Form::Plain)
}

/// Whether any clause names one of these media types exactly, or `*/*`: the routes of the older
/// framework inside a real server look no closer, and refuse in another wording.
pub(super) fn names_any(accept: Option<&str>, types: &[&str]) -> bool {
    accept
        .map(str::trim)
        .filter(|accept| !accept.is_empty())
        .is_none_or(|accept| {
            accept
                .split(',')
                .map(media_type)
                .any(|name| name == "*/*" || types.contains(&&*name))
        })
}

fn media_type(clause: &str) -> String {
    clause
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

fn parameter<'c>(clause: &'c str, name: &str) -> Option<&'c str> {
    clause.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    const BETA: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    const V2_FORM: Option<Form> = Some(Form::Aggregated(Aggregated::V2));
    const BETA_FORM: Option<Form> = Some(Form::Aggregated(Aggregated::V2beta1));

    #[test]
    fn aggregated_entries_win_wherever_they_stand() {
        let offer = Offer {
            v2: true,
            ..Offer::PLAIN
        };
        for (accept, expected) in [
            (V2.to_owned(), V2_FORM),
            (format!("{V2},{BETA},application/json"), V2_FORM),
            (format!("application/json,{V2}"), V2_FORM),
            (format!("{V2};q=0.1,application/json"), V2_FORM),
            (format!("{V2};profile=nopeer"), V2_FORM),
            (format!("{BETA},application/json"), Some(Form::Plain)),
            (BETA.to_owned(), None),
            ("application/json, */*".to_owned(), Some(Form::Plain)),
            (String::new(), Some(Form::Plain)),
            ("application/cbor".to_owned(), None),
            ("text/html".to_owned(), None),
        ] {
            assert_eq!(form(Some(&accept), offer), expected, "{accept}");
        }
        assert_eq!(form(None, offer), Some(Form::Plain));
    }

    #[test]
    fn the_beta_form_and_older_servers() {
        let both = Offer {
            v2: true,
            v2beta1: true,
            ..Offer::PLAIN
        };
        assert_eq!(form(Some(BETA), both), BETA_FORM);
        assert_eq!(form(Some(V2), Offer::PLAIN), None);
        assert_eq!(
            form(Some(&format!("{V2},application/json")), Offer::PLAIN),
            Some(Form::Plain)
        );
    }
}
