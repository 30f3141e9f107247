//! From where does a call come, as far as that can be believed?

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The caller's address: that of the connection or, where a proxy of ours made it, the last one
/// in `x-forwarded-for` that is none of ours. Whatever stands before that, anybody can write.
pub fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let is_ours = |address: &IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    let mut client = peer.to_canonical();
    if !is_ours(&client) {
        return client;
    }
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let hops = values.iter().rev().flat_map(|value| {
        value.to_str().unwrap_or("unreadable").rsplit(',').map(str::trim).collect::<Vec<_>>()
    });
    for hop in hops {
        let Some(address) = parse(hop) else { return client };
        client = address;
        if !is_ours(&client) {
            return client;
        }
    }
    client
}

/// An address, of which some proxies write the port too.
fn parse(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    address
        .or_else(with_port)
        .or_else(|| bracketed().map(IpAddr::from))
        .map(|address| address.to_canonical())
}

/// The network of an address, as it is kept and shown: enough to recognise one's own, too
/// little to find a house by.
pub fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => Ipv4Net::new(address, 24).map(|net| net.trunc().to_string()),
        IpAddr::V6(address) => Ipv6Net::new(address, 48).map(|net| net.trunc().to_string()),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", http::HeaderValue::from_static(value));
        }
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    /// Security checklist 10.
    #[test]
    fn only_a_proxy_of_ours_is_believed_and_only_about_whom_it_saw() {
        assert_eq!(seen("203.0.113.7", &["198.51.100.1"]), "203.0.113.7");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.2.0.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(seen("fd00::1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, unknown, 10.2.0.1"]), "10.2.0.1");
    }

    #[test]
    fn what_is_shown_is_a_network_and_no_address() {
        assert_eq!(shown("203.0.113.7".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(shown("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1::/48");
    }
}
