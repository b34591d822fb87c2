//! `NO_PROXY`: the servers that are asked without the proxy of the environment, as Go reads it.

use std::net::IpAddr;

/// The servers of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct NoProxy(Vec<Exception>);

#[derive(Clone, Debug)]
enum Exception {
    All,
    /// An address and the number of its bits that count.
    Network(IpAddr, u8),
    Address(IpAddr, Option<String>),
    /// The end of hosts' names, with a dot before it; and whether the host without that dot is meant, too.
    Domain {
        end: String,
        with_itself: bool,
        port: Option<String>,
    },
}

impl NoProxy {
    pub(super) fn new(list: &str) -> Self {
        let list = list.to_lowercase();
        Self(list.split(',').filter_map(Exception::new).collect())
    }

    /// Whether a host, which may be an address without brackets, is in the list.
    pub(super) fn contains(&self, host: &str, port: u16) -> bool {
        let (host, port) = (host.to_lowercase(), port.to_string());
        let address: Option<IpAddr> = host.parse().ok();
        let is_port = |wanted: &Option<String>| wanted.as_ref().is_none_or(|one| *one == port);
        self.0.iter().any(|exception| match exception {
            Exception::All => true,
            Exception::Network(network, bits) => {
                address.is_some_and(|address| prefix(address, *bits) == prefix(*network, *bits))
            }
            Exception::Address(one, port) => address == Some(*one) && is_port(port),
            Exception::Domain {
                end,
                with_itself,
                port,
            } => (host.ends_with(end) || *with_itself && host == end[1..]) && is_port(port),
        })
    }
}

impl Exception {
    fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse())
            && bits <= if address.is_ipv4() { 32 } else { 128 }
        {
            return Some(Self::Network(address, bits));
        }
        let (host, port) = match text.parse::<IpAddr>() {
            Ok(_) => (text, None),
            Err(_) => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port.to_owned())),
                None => (text, None),
            },
        };
        let host = match port {
            Some(_) => host.trim_start_matches('[').trim_end_matches(']'),
            None => host,
        };
        if let Ok(address) = host.parse() {
            return Some(Self::Address(address, port));
        }
        let host = host
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let with_itself = !host.starts_with('.');
        let end = if with_itself {
            format!(".{host}")
        } else {
            host.to_owned()
        };
        Some(Self::Domain {
            end,
            with_itself,
            port,
        })
    }
}

/// The first bits of an address, and whether it is of version 4.
fn prefix(address: IpAddr, bits: u8) -> (bool, u128) {
    let (bytes, length) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let shift = u32::from(length - bits.min(length));
    (length == 32, bytes.checked_shr(shift).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kubectl 1.37.1 asked these servers without its proxy, or with it.
    #[test]
    fn servers_are_found_as_in_go() {
        for (list, host, expected) in [
            ("cluster.test", "cluster.test", true),
            ("cluster.test", "a.cluster.test", true),
            ("test", "cluster.test", true),
            ("ster.test", "cluster.test", false),
            (".cluster.test", "cluster.test", false),
            (".cluster.test", "a.cluster.test", true),
            ("*.cluster.test", "cluster.test", false),
            ("*.test", "cluster.test", true),
            ("*", "cluster.test", true),
            (" CLUSTER.test , x", "cluster.TEST", true),
            ("foo cluster.test", "cluster.test", false),
            ("cluster.test:81", "cluster.test", true),
            ("cluster.test:82", "cluster.test", false),
            ("*:81", "cluster.test", false),
            (",,", "cluster.test", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:81", "10.1.2.3", true),
            ("10.1.2.3:82", "10.1.2.3", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.2.0.0/16", "10.1.2.3", false),
            ("0.0.0.0/0", "10.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.1.2.0/33", "10.1.2.3", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("[2001:db8::1]:81", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("::/0", "2001:db8::1", true),
        ] {
            let found = NoProxy::new(list).contains(host, 81);
            assert_eq!(found, expected, "{list}: {host}");
        }
    }
}
