//! Which addresses a connection may go to: public ones, and those the administrator names. What lies within a cluster
//! or a machine (its own services, the cloud's metadata service with the node's credentials) is never reached because
//! a tenant's workspace object, or a name server he controls, points there.
//!
//! Pure. The ranges are those of IANA's special-purpose registries (RFC 6890 and what was added later); an address that
//! carries another one is judged by what it carries. Names are `host_policy`'s affair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Where clouds tell a machine its credentials. Allowing a range that holds one of them does not allow it: only an
/// entry of exactly this address does.
const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // AWS, Azure, Google and most others
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // AWS, credentials of ECS tasks
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),  // AWS, credentials of EKS Pods
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure; lies in a public range
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023)), // AWS, credentials of EKS Pods
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)), // Google
];

/// IPv4 ranges that are not public: first address, length of the prefix, what it is.
const IPV4: [([u8; 4], u8, &str); 18] = [
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([100, 64, 0, 0], 10, "a shared address of a provider or a cluster"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([169, 254, 0, 0], 16, "a link-local address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "an address reserved for protocols"),
    ([192, 0, 2, 0], 24, "an address for documentation"),
    ([192, 31, 196, 0], 24, "an address reserved for protocols"),
    ([192, 52, 193, 0], 24, "an address reserved for protocols"),
    ([192, 88, 99, 0], 24, "an address reserved for protocols"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([192, 175, 48, 0], 24, "an address reserved for protocols"),
    ([198, 18, 0, 0], 15, "an address for benchmarks"),
    ([198, 51, 100, 0], 24, "an address for documentation"),
    ([203, 0, 113, 0], 24, "an address for documentation"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

/// IPv6 ranges that are not public. What is not listed is public within `2000::/3` only.
const IPV6: [([u16; 8], u8, &str); 11] = [
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "a loopback address"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "an unspecified or IPv4-compatible address"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "an address translated within the local network"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "an address reserved for protocols"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "an address for documentation"),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "an address reserved for protocols"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "an address for documentation"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a private address"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "a link-local address"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a private address"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address"),
];

/// The addresses that are permitted beside the public ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct AddressPolicy(Vec<IpNet>);

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range of addresses; write one such as `10.20.0.0/16`, `fd12:3456::/48` or `10.1.2.3`")]
pub struct InvalidRange(String);

impl AddressPolicy {
    /// Reads ranges (CIDR) and single addresses.
    pub(super) fn new<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, InvalidRange> {
        let range = |text: &str| {
            let text = text.trim();
            let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            range.map_err(|_| InvalidRange(text.to_owned()))
        };
        entries.into_iter().map(|entry| range(entry.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a connection may go there; if not, what the address is.
    pub(super) fn permits(&self, address: IpAddr) -> Result<(), &'static str> {
        let all = [Some(address)].into_iter().chain(carried(address)).flatten();
        let named = |address: &IpAddr| self.0.contains(&IpNet::from(*address));
        if all.clone().any(|address| METADATA.contains(&address) && !named(&address)) {
            return Err("the address of a cloud's metadata service");
        }
        let allowed = |address: &IpAddr| self.0.iter().any(|range| range.contains(address));
        if allowed(&address) {
            return Ok(());
        }
        all.filter(|address| !allowed(address)).find_map(special).map_or(Ok(()), Err)
    }
}

/// The IPv4 addresses within an IPv6 address to which a packet for it may be handed on.
fn carried(address: IpAddr) -> [Option<IpAddr>; 2] {
    let IpAddr::V6(address) = address else { return [None, None] };
    let part = address.segments();
    let ipv4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match part {
        // Mapped (::ffff:0:0/96), compatible (::/96) and translated (64:ff9b::/96); of the last one's local form
        // (64:ff9b:1::/48) this is the usual place.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => {
            [ipv4(part[6], part[7]), None]
        }
        // 6to4.
        [0x2002, high, low, ..] => [ipv4(high, low), None],
        // Teredo: the server, and the client with all bits turned around.
        [0x2001, 0, ..] => [ipv4(part[2], part[3]), ipv4(!part[6], !part[7])],
        _ => [None, None],
    }
}

/// What an address is that is not public; of one that carries another its own frame is not looked at.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let bits = u32::from(address);
            let within = |(first, length, _): &&([u8; 4], u8, &str)| {
                (bits ^ u32::from_be_bytes(*first)).leading_zeros() >= u32::from(*length)
            };
            IPV4.iter().find(within).map(|(.., what)| *what)
        }
        IpAddr::V6(address) => {
            let part = address.segments();
            let is_frame = matches!(part, [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x2002, ..])
                || matches!(part, [0x2001, 0, ..]);
            if is_frame {
                return None;
            }
            let bits = u128::from(address);
            let within = |(first, length, _): &&([u16; 8], u8, &str)| {
                (bits ^ u128::from(Ipv6Addr::from(*first))).leading_zeros() >= u32::from(*length)
            };
            let listed = IPV6.iter().find(within).map(|(.., what)| *what);
            listed.or_else(|| (part[0] >> 13 != 1).then_some("a reserved address"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(allowed: &[&str], address: &str) -> Result<(), &'static str> {
        AddressPolicy::new(allowed).unwrap().permits(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_permitted_whatever_carries_them() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:0:808:808::f7f7:f7f7",
        ] {
            assert_eq!(judge(&[], address), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_is_not_public_is_refused_and_named() {
        for (address, what) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "shared"),
            ("100.127.255.255", "shared"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.1.1", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.1", "protocols"),
            ("192.0.2.1", "documentation"),
            ("192.31.196.1", "protocols"),
            ("192.52.193.1", "protocols"),
            ("192.88.99.1", "protocols"),
            ("192.168.1.1", "private"),
            ("192.175.48.1", "protocols"),
            ("198.18.0.1", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::8.8.8.8", "compatible"),
            ("::127.0.0.1", "compatible"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:0.0.0.0", "unspecified"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b::169.254.1.1", "link-local"),
            ("64:ff9b:1::8.8.8.8", "translated"),
            ("100::1", "reserved"),
            ("1fff::1", "reserved"),
            ("2001:0:808:808::80ff:fffe", "loopback"),
            ("2001:0:a00:1::f7f7:f7f7", "private"),
            ("2001:2::1", "protocols"),
            ("2001:10::1", "protocols"),
            ("2001:20::1", "protocols"),
            ("2001:1ff:ffff::1", "protocols"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::1", "loopback"),
            ("2002:a00:1::1", "private"),
            ("2002:c0a8:101::", "private"),
            ("2620:4f:8000::1", "protocols"),
            ("3fff::1", "documentation"),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "private"),
            ("fd12:3456::1", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ] {
            let refused = judge(&[], address).unwrap_err();
            assert!(refused.contains(what), "{address}: {refused}");
        }
    }

    #[test]
    fn an_administrator_allows_ranges_and_what_carries_their_addresses() {
        for (allowed, address, permitted) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", true),
            ("10.0.0.0/8", "2001:0:a00:1::80ff:fffe", false),
            ("10.0.0.0/8", "192.168.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "64:ff9b::10.0.0.1", true),
            ("64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", true),
            ("fd12::/16", "fd12::1", true),
            ("fd12::/16", "fd13::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::1", false),
        ] {
            assert_eq!(judge(&[allowed], address).is_ok(), permitted, "{address} with {allowed} allowed");
        }
    }

    #[test]
    fn a_metadata_service_is_permitted_by_its_own_address_alone() {
        for (address, carriers) in [
            ("169.254.169.254", vec!["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"]),
            ("169.254.170.2", vec![]),
            ("168.63.129.16", vec!["::ffff:168.63.129.16", "64:ff9b:1::168.63.129.16"]),
            ("100.100.100.200", vec!["::100.100.100.200"]),
            ("192.0.0.192", vec![]),
            ("fd00:ec2::254", vec![]),
            ("fd00:ec2::23", vec![]),
            ("fd20:ce::254", vec![]),
        ] {
            for asked in carriers.into_iter().chain([address]) {
                for ranges in [&[][..], &["0.0.0.0/0", "::/0"], &["169.254.0.0/16", "fd00::/8", "100.64.0.0/10"]] {
                    let refused = judge(ranges, asked).unwrap_err();
                    assert!(refused.contains("metadata"), "{asked} with {ranges:?} allowed: {refused}");
                }
            }
            assert_eq!(judge(&[address], address), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_to_write() {
        for entry in ["", "10.0.0.0/33", "10.0.0/8", "0x0a.0.0.1", "localhost", "10.0.0.1-10.0.0.9", "::/129"] {
            let error = AddressPolicy::new([entry]).unwrap_err().to_string();
            assert!(error.contains("10.20.0.0/16"), "{entry}: {error}");
        }
    }
}
