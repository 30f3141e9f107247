//! Which callers are one caller?

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// Where calls come from: one IPv4 address, or the 2⁶⁴ IPv6 addresses that every household is
/// given and may show one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(IpAddr);

/// The half of an IPv6 address that names the network.
const PREFIX: Ipv6Addr = Ipv6Addr::new(0xffff, 0xffff, 0xffff, 0xffff, 0, 0, 0, 0);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        // An IPv4 caller of an IPv6 socket has an address of ::ffff:0:0/96.
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => (address & PREFIX).into(),
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str) -> String {
        Network::from(address.parse::<IpAddr>().expect("an address")).to_string()
    }

    #[test]
    fn an_ipv4_address_is_a_network_of_its_own() {
        assert_eq!(shown("203.0.113.7"), "203.0.113.7");
        assert_ne!(shown("203.0.113.7"), shown("203.0.113.8"));
        assert_eq!(shown("::ffff:203.0.113.7"), "203.0.113.7");
    }

    #[test]
    fn ipv6_addresses_of_one_prefix_are_one_network() {
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(shown("2001:db8:1:2::1"), "2001:db8:1:2::/64");
        assert_ne!(shown("2001:db8:1:2::1"), shown("2001:db8:1:3::1"));
    }
}
