//! The few things about a certificate (RFC 5280 §4.1) that make it one of an authority at some time. webpki does not ask
//! for them where a certificate is trusted.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The identifier of `basicConstraints`, 2.5.29.19.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// Whether a certificate is one at all, from the outside.
pub(super) fn is_certificate(der: &[u8]) -> bool {
    Reader(der)
        .take(SEQUENCE)
        .is_some_and(|content| Reader(content).take(SEQUENCE).is_some())
}

/// Whether a certificate may stand for others, in seconds since 1970; `None` if it can't be read.
pub(super) fn stands_for_others(der: &[u8], now: u64) -> Option<bool> {
    let mut fields = Reader(Reader(Reader(der).take(SEQUENCE)?).take(SEQUENCE)?);
    let is_first_version = fields.take(VERSION).is_none();
    fields.take(INTEGER)?;
    fields.take(SEQUENCE)?;
    fields.take(SEQUENCE)?;
    let mut validity = Reader(fields.take(SEQUENCE)?);
    let (from, to) = (validity.time()?, validity.time()?);
    let now = i64::try_from(now).ok()?;
    if !(from..=to).contains(&now) {
        return Some(false);
    }
    // The first version has no extensions.
    Some(is_first_version || has_constraint(fields) == Some(true))
}

/// Whether the fields behind the validity say that it is an authority.
fn has_constraint(mut fields: Reader<'_>) -> Option<bool> {
    let extensions = loop {
        let (tag, content) = fields.next()?;
        if tag == EXTENSIONS {
            break Reader(content).take(SEQUENCE)?;
        }
    };
    let mut extensions = Reader(extensions);
    loop {
        let mut extension = Reader(extensions.take(SEQUENCE)?);
        if extension.take(OBJECT_IDENTIFIER)? == BASIC_CONSTRAINTS {
            // Whether it is critical.
            _ = extension.take(BOOLEAN);
            let mut constraints = Reader(Reader(extension.take(OCTET_STRING)?).take(SEQUENCE)?);
            return Some(constraints.take(BOOLEAN).is_some_and(|is| is != [0]));
        }
    }
}

/// Values in DER, one after the other.
#[derive(Clone, Copy)]
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let [tag, first, rest @ ..] = self.0 else {
            return None;
        };
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
                (length.iter().fold(0, add), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// The next value if it is one of these.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        let mut next = *self;
        let (found, content) = next.next()?;
        (found == tag).then(|| {
            *self = next;
            content
        })
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?;
        let text = match tag {
            // Years from 50 on are of the last century (RFC 5280 §4.1.2.5.1).
            UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
            UTC_TIME => format!("20{text}"),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
        let zoned = TimeZone::UTC.to_timestamp(time);
        // The last hours that there are may be too late for a timestamp.
        Some(zoned.map_or(i64::MAX, Timestamp::as_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    fn certificate(is_ca: IsCa, from: i32, to: i32) -> Vec<u8> {
        let mut parameters = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(from, 1, 1);
        parameters.not_after = date_time_ymd(to, 12, 31);
        parameters.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn an_authority_says_so_and_has_its_time() {
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        for (is_ca, from, to, expected) in [
            (authority, 1990, 2060, true),
            (authority, 2000, 9999, true),
            (authority, 1990, 2020, false),
            (authority, 2050, 2060, false),
            (IsCa::ExplicitNoCa, 1990, 2060, false),
            (IsCa::NoCa, 1990, 2060, false),
        ] {
            let der = certificate(is_ca, from, to);
            assert!(is_certificate(&der));
            let found = stands_for_others(&der, 1_800_000_000);
            assert_eq!(found, Some(expected), "{is_ca:?} {from} {to}");
            assert_eq!(stands_for_others(&der[..der.len() - 1], 0), None);
        }
        for bad in [&b""[..], &[0; 3], &[0x30], &[0x30, 0x85, 1], &[0x30, 0]] {
            assert!(!is_certificate(bad));
            assert_eq!(stands_for_others(bad, 0), None);
        }
    }
}
