//! The few things that a certificate says of itself (RFC 5280 §4.1) and for which webpki does not ask where Go does.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// A DNS name among the names of a subject (RFC 5280 §4.2.1.6).
const DNS_NAME: u8 = 0x82;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The last number of an extension's identifier, which begins with 2.5.29.
const KEY_USAGE: u8 = 15;
const SUBJECT_ALT_NAME: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const NAME_CONSTRAINTS: u8 = 30;
const EXTENDED_KEY_USAGE: u8 = 37;

/// The extensions that Go understands: one that is critical and not among these makes a certificate unusable.
const UNDERSTOOD: [u8; 12] = [
    14,
    KEY_USAGE,
    SUBJECT_ALT_NAME,
    BASIC_CONSTRAINTS,
    NAME_CONSTRAINTS,
    31,
    32,
    33,
    35,
    36,
    EXTENDED_KEY_USAGE,
    54,
];

/// The bit `keyCertSign` of the first byte of a key usage (RFC 5280 §4.2.1.3).
const CERT_SIGN: u8 = 0b0000_0100;

/// `serverAuth` and `anyExtendedKeyUsage` (RFC 5280 §4.2.1.12).
pub(super) const SERVER_PURPOSES: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 3, 1], &[0x55, 0x1d, 37, 0]];

/// A certificate, taken apart.
pub(super) struct Said<'d> {
    /// The part that is signed, as a whole.
    pub(super) signed: &'d [u8],
    /// The content of the algorithm's identifier.
    pub(super) algorithm: &'d [u8],
    pub(super) signature: &'d [u8],
    pub(super) issuer: &'d [u8],
    pub(super) subject: &'d [u8],
    from: i64,
    to: i64,
    is_first_version: bool,
    extensions: Vec<Extension<'d>>,
}

struct Extension<'d> {
    id: &'d [u8],
    is_critical: bool,
    value: &'d [u8],
}

/// Whether a certificate is one at all, from the outside.
pub(super) fn is_certificate(der: &[u8]) -> bool {
    Reader(der)
        .take(SEQUENCE)
        .is_some_and(|content| Reader(content).take(SEQUENCE).is_some())
}

impl<'d> Said<'d> {
    /// `None` if it can't be read.
    pub(super) fn read(der: &'d [u8]) -> Option<Self> {
        let mut parts = Reader(Reader(der).take(SEQUENCE)?);
        let before = parts.0;
        let mut fields = Reader(parts.take(SEQUENCE)?);
        let signed = before.get(..before.len() - parts.0.len())?;
        let algorithm = parts.take(SEQUENCE)?;
        // The first byte counts the bits of the last one that are left out.
        let signature = parts.take(BIT_STRING)?.strip_prefix(&[0])?;
        let is_first_version = fields.take(VERSION).is_none();
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?;
        let mut validity = Reader(fields.take(SEQUENCE)?);
        let (from, to) = (validity.time()?, validity.time()?);
        let subject = fields.take(SEQUENCE)?;
        let mut extensions = Vec::new();
        while let Some((tag, content)) = fields.next() {
            if tag != EXTENSIONS {
                continue;
            }
            let mut rest = Reader(Reader(content).take(SEQUENCE)?);
            while let Some(extension) = rest.take(SEQUENCE) {
                let mut extension = Reader(extension);
                extensions.push(Extension {
                    id: extension.take(OBJECT_IDENTIFIER)?,
                    is_critical: extension.take(BOOLEAN).is_some_and(|is| is != [0]),
                    value: extension.take(OCTET_STRING)?,
                });
            }
        }
        Some(Self {
            signed,
            algorithm,
            signature,
            issuer,
            subject,
            from,
            to,
            is_first_version,
            extensions,
        })
    }

    /// The value of an extension of RFC 5280.
    fn extension(&self, number: u8) -> Option<&'d [u8]> {
        let mut found = self.extensions.iter();
        let found = found.find(|extension| extension.id == [0x55, 0x1d, number]);
        found.map(|extension| extension.value)
    }

    /// Whether it is usable at a time, in seconds since 1970, and says nothing that can't be understood.
    pub(super) fn is_usable(&self, now: u64) -> bool {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let is_understood = |extension: &Extension<'_>| {
            let understood = |number: &u8| extension.id == [0x55, 0x1d, *number];
            !extension.is_critical || UNDERSTOOD.iter().any(understood)
        };
        (self.from..=self.to).contains(&now) && self.extensions.iter().all(is_understood)
    }

    /// Whether servers are among those that it is for.
    pub(super) fn is_for_servers(&self) -> bool {
        let Some(purposes) = self.extension(EXTENDED_KEY_USAGE) else {
            return true;
        };
        let mut purposes = Reader(Reader(purposes).take(SEQUENCE).unwrap_or_default());
        while let Some(purpose) = purposes.take(OBJECT_IDENTIFIER) {
            if SERVER_PURPOSES.contains(&purpose) {
                return true;
            }
        }
        false
    }

    /// Whether its key may sign certificates, as far as the usage of the key goes.
    pub(super) fn may_sign(&self) -> bool {
        let Some(usage) = self.extension(KEY_USAGE) else {
            return true;
        };
        // The first byte counts the bits of the last one that are left out.
        let bits = Reader(usage).take(BIT_STRING);
        bits.and_then(|bits| bits.get(1))
            .is_some_and(|first| first & CERT_SIGN != 0)
    }

    /// Whether it is an authority's. The first version has no extensions to say so.
    pub(super) fn is_authority(&self) -> bool {
        let constraints = self.extension(BASIC_CONSTRAINTS);
        let constraints = constraints.and_then(|value| Reader(value).take(SEQUENCE));
        let said = constraints.and_then(|content| Reader(content).take(BOOLEAN));
        self.is_first_version || said.is_some_and(|is| is != [0])
    }

    /// The most authorities that may be between it and a server, if there is such a limit.
    pub(super) fn path_length(&self) -> Option<usize> {
        let mut content = Reader(Reader(self.extension(BASIC_CONSTRAINTS)?).take(SEQUENCE)?);
        content.take(BOOLEAN)?;
        let length = content.take(INTEGER)?.iter();
        Some(length.fold(0_usize, |sum, byte| {
            sum.saturating_mul(256).saturating_add((*byte).into())
        }))
    }

    /// Whether it constrains the names of servers.
    pub(super) fn constrains_names(&self) -> bool {
        self.extension(NAME_CONSTRAINTS).is_some()
    }

    /// Whether a name with a star for its first label stands for this host (RFC 6125 §6.4.3), whatever is behind the star.
    /// webpki wants two labels there.
    pub(super) fn has_star_for(&self, host: &str) -> bool {
        let names = self.extension(SUBJECT_ALT_NAME);
        let mut names = Reader(
            names
                .and_then(|names| Reader(names).take(SEQUENCE))
                .unwrap_or_default(),
        );
        let Some((_, behind)) = host.split_once('.') else {
            return false;
        };
        while let Some((tag, name)) = names.next() {
            let starred = name.strip_prefix(b"*.");
            let is_same = |starred: &[u8]| starred.eq_ignore_ascii_case(behind.as_bytes());
            if tag == DNS_NAME && !behind.is_empty() && starred.is_some_and(is_same) {
                return true;
            }
        }
        false
    }
}

/// Whether a certificate that is trusted may stand for others at a time, in seconds since 1970.
pub(super) fn stands_for_others(said: &Said<'_>, now: u64) -> bool {
    said.is_usable(now) && said.is_authority() && said.may_sign() && said.is_for_servers()
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

    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose, date_time_ymd,
    };

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
            let said = Said::read(&der).unwrap();
            let found = stands_for_others(&said, 1_800_000_000);
            assert_eq!(found, expected, "{is_ca:?} {from} {to}");
            assert!(Said::read(&der[..der.len() - 1]).is_none());
        }
        for bad in [&b""[..], &[0; 3], &[0x30], &[0x30, 0x85, 1], &[0x30, 0]] {
            assert!(!is_certificate(bad));
            assert!(Said::read(bad).is_none());
        }
    }

    #[test]
    fn an_authority_may_sign_for_servers_and_has_nothing_odd() {
        type Change = fn(&mut CertificateParams);
        let rows: [(Change, bool); 8] = [
            (|_| {}, true),
            (
                |it| it.key_usages = vec![KeyUsagePurpose::KeyCertSign],
                true,
            ),
            (
                |it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature],
                false,
            ),
            (
                |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
                true,
            ),
            (
                |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
                true,
            ),
            (
                |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
                false,
            ),
            (
                |it| {
                    it.custom_extensions =
                        vec![CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0])];
                },
                true,
            ),
            (
                |it| {
                    let mut odd = CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
                    odd.set_criticality(true);
                    it.custom_extensions = vec![odd];
                },
                false,
            ),
        ];
        for (number, (change, expected)) in rows.into_iter().enumerate() {
            let mut parameters = CertificateParams::default();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
            change(&mut parameters);
            let der = parameters
                .self_signed(&KeyPair::generate().unwrap())
                .unwrap();
            let said = Said::read(der.der()).unwrap();
            assert_eq!(
                stands_for_others(&said, 1_800_000_000),
                expected,
                "{number}"
            );
            assert_eq!(said.path_length(), Some(3));
        }
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let parameters =
            CertificateParams::new(vec!["*.test".into(), "*.a.b".into(), "c.d".into()]);
        let der = parameters
            .unwrap()
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap();
        let said = Said::read(der.der()).unwrap();
        for host in ["x.test", "X.TEST", "x.a.b"] {
            assert!(said.has_star_for(host), "{host}");
        }
        for host in ["test", ".test.", "a.x.test", "x.b", "c.d", "x.c.d", "x."] {
            assert!(!said.has_star_for(host), "{host}");
        }
    }
}
