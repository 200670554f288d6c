//! Whose routers a packet meets on its way out.

use std::net::IpAddr;

use super::Prefix;

/// Where an ISP's routers are, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Territory {
    /// The networks of their addresses.
    pub networks: Vec<Prefix>,
    /// The AS numbers of their addresses.
    pub asns: Vec<u32>,
}

/// An ISP, as far as its way out goes.
#[derive(Debug, Clone, Copy)]
pub struct Uplink<'a> {
    /// Its name.
    pub name: &'a str,
    /// The device that it is bound to, where it is.
    pub interface: Option<&'a str>,
    /// Where its routers are.
    pub territory: &'a Territory,
}

/// Who answered on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// Its address.
    pub address: IpAddr,
    /// The numbers of the autonomous systems that announce its address; none where none is known.
    pub asns: Vec<u32>,
}

/// Whose something on the way out is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign<'a> {
    /// The ISP's that was named.
    Own,
    /// The named ISP's and others' that have other routers, too: all of them hand packets to it.
    Shared,
    /// Other ISPs', by name.
    Foreign(Vec<&'a str>),
}

impl Territory {
    /// How many bits of a router's address are those of the network that it is in; nothing where it is in none.
    fn network_of(&self, router: &Router) -> Option<u8> {
        let networks = self.networks.iter().filter(|network| network.contains(router.address));
        networks.map(|network| network.length()).max()
    }

    /// Whether a router that is not here is another's: there is something to know it by. Everybody has addresses that count on one link only.
    fn would_have(&self, router: &Router) -> bool {
        let is_everywhere = !matches!(router.address, IpAddr::V6(address) if address.is_unicast_link_local());
        let by_address = self.networks.iter().any(|network| network.is_ipv4() == router.address.is_ipv4());
        (by_address && is_everywhere) || !(self.asns.is_empty() || router.asns.is_empty())
    }
}

/// The ISPs that a router belongs to: those with the smallest network that has its address, else those with its AS number. Two entries of
/// one carrier may both have it.
#[must_use]
pub fn owners<'a>(uplinks: &[Uplink<'a>], router: &Router) -> Vec<&'a str> {
    let names = |has: &dyn Fn(&Territory) -> bool| -> Vec<&'a str> {
        uplinks.iter().filter(|uplink| has(uplink.territory)).map(|uplink| uplink.name).collect()
    };
    match uplinks.iter().filter_map(|uplink| uplink.territory.network_of(router)).max() {
        Some(longest) => names(&|territory| territory.network_of(router) == Some(longest)),
        None => names(&|territory| router.asns.iter().any(|asn| territory.asns.contains(asn))),
    }
}

/// Whether a router is an ISP's; nothing where it is nobody's, and that ISP's would not be known.
#[must_use]
pub fn is_of(uplinks: &[Uplink<'_>], isp: &str, router: &Router) -> Option<bool> {
    let own = uplinks.iter().find(|uplink| uplink.name == isp)?;
    match sign(uplinks, router, isp) {
        Some(Sign::Own | Sign::Shared) => Some(true),
        Some(Sign::Foreign(_)) => Some(false),
        None => own.territory.would_have(router).then_some(false),
    }
}

/// The ISPs whose device it is that the kernel chose, where that proves that it is not the named ISP's: which is bound to another one, or is
/// bound to none, and has its address on another one. `home` says which device has the address of an ISP. Several ISPs may leave by one device, so
/// that it proves nothing else.
#[must_use]
pub fn of_device<'a>(
    uplinks: &[Uplink<'a>],
    isp: &str,
    device: &str,
    home: impl Fn(&str) -> Option<String>,
) -> Option<Vec<&'a str>> {
    let bound_to = uplinks.iter().find(|uplink| uplink.name == isp)?.interface;
    let is_elsewhere = match bound_to {
        Some(interface) => interface != device,
        None => home(isp).is_some_and(|home| home != device),
    };
    if !is_elsewhere {
        return None;
    }
    let has = |uplink: &&Uplink<'_>| match uplink.interface {
        Some(interface) => interface == device,
        None => home(uplink.name).is_some_and(|home| home == device),
    };
    let others: Vec<_> = uplinks.iter().filter(has).map(|uplink| uplink.name).collect();
    (bound_to.is_some() || !others.is_empty()).then_some(others)
}

/// What a gateway that the kernel chose proves of an ISP, where it is a router of an ISP.
#[must_use]
pub fn of_gateway<'a>(uplinks: &[Uplink<'a>], isp: &str, gateway: IpAddr) -> Option<Sign<'a>> {
    sign(uplinks, &Router { address: gateway, asns: Vec::new() }, isp)
}

/// What the routers of a path prove of an ISP: the first of them that is an ISP's, with the index of its hop. `hops` has who answered at
/// each, from the first that is not known to be the site's own, without the destination.
///
/// What is nobody's is the site's own, unless it could be an ISP's: it said nothing, or that ISP has nothing that it would be known by.
/// An ISP may hand packets over to any other. So a router of another ISP proves that they did not leave through the named one only if no hop
/// before could be that one's, and one of the named ISP that they did only if none before could be another's.
#[must_use]
pub fn of_path<'a>(uplinks: &[Uplink<'a>], isp: &str, hops: &[Vec<Router>]) -> Option<(usize, IpAddr, Sign<'a>)> {
    let index = first_owned(uplinks, hops)?.0;
    let signs = hops[index].iter().filter_map(|router| Some((index, router.address, sign(uplinks, router, isp)?)));
    let mut signs: Vec<_> = signs.collect();
    signs.retain(|(_, _, sign)| *sign != Sign::Shared);
    // Where some packets went another way than others, those that went wrong count.
    signs.sort_by_key(|(_, _, sign)| *sign == Sign::Own);
    let found = signs.into_iter().next()?;
    let before = &hops[..index];
    let proven = match found.2 {
        Sign::Own | Sign::Shared => could_be(uplinks, before, |name| name != isp).is_empty(),
        Sign::Foreign(_) => could_be(uplinks, before, |name| name == isp).is_empty(),
    };
    proven.then_some(found)
}

/// The ISPs that a flow left through, by who answered it at each hop; nothing where that cannot be told. They are several where nothing
/// tells one from the other.
#[must_use]
pub fn taken<'a>(uplinks: &[Uplink<'a>], hops: &[Vec<Router>]) -> Option<Vec<&'a str>> {
    let (index, owned) = first_owned(uplinks, hops)?;
    let carriers = owned.iter().map(|(address, owners)| carrier(uplinks, owners, address.is_ipv4()));
    let carriers: Option<Vec<_>> = carriers.collect();
    let owners = carriers.as_deref()?.first()?.clone();
    let agreed = carriers?.iter().all(|others| *others == owners);
    let proven = could_be(uplinks, &hops[..index], |name| !owners.contains(&name)).is_empty();
    (agreed && proven).then_some(owners)
}

/// The ISPs of which nobody would know the routers that answered a flow before the first that is an ISP's: why it cannot be told which one it
/// took, although all answered up to there.
#[must_use]
pub fn doubted<'a>(uplinks: &[Uplink<'a>], hops: &[Vec<Router>]) -> Vec<&'a str> {
    let Some((index, owned)) = first_owned(uplinks, hops) else { return Vec::new() };
    let before = &hops[..index];
    if before.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    could_be(uplinks, before, |name| owned.iter().any(|(_, owners)| !owners.contains(&name)))
}

/// A router's address, and whose it is.
type Owned<'a> = (IpAddr, Vec<&'a str>);

/// The first hop with routers of ISPs, and these.
fn first_owned<'a>(uplinks: &[Uplink<'a>], hops: &[Vec<Router>]) -> Option<(usize, Vec<Owned<'a>>)> {
    hops.iter().enumerate().find_map(|(index, hop)| {
        let owned = hop.iter().map(|router| (router.address, owners(uplinks, router)));
        let owned: Vec<_> = owned.filter(|(_, owners)| !owners.is_empty()).collect();
        (!owned.is_empty()).then_some((index, owned))
    })
}

/// The ISPs of such names that one of the hops could be of, of which none is known to be an ISP's.
fn could_be<'a>(uplinks: &[Uplink<'a>], hops: &[Vec<Router>], named: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let unseen = |hop: &[Router], territory: &Territory| {
        hop.is_empty() || hop.iter().any(|router| !territory.would_have(router))
    };
    let named = uplinks.iter().filter(|uplink| named(uplink.name));
    named.filter(|uplink| hops.iter().any(|hop| unseen(hop, uplink.territory))).map(|uplink| uplink.name).collect()
}

/// What a router proves of an ISP; nothing where it is nobody's.
fn sign<'a>(uplinks: &[Uplink<'a>], router: &Router, isp: &str) -> Option<Sign<'a>> {
    let owners = owners(uplinks, router);
    let territory = |name: &str| uplinks.iter().find(|uplink| uplink.name == name).map(|uplink| uplink.territory);
    let is_v4 = router.address.is_ipv4();
    let is_own = |name: &str| {
        name == isp || territory(name).zip(territory(isp)).is_some_and(|(other, own)| are_one(other, own, is_v4))
    };
    let own = owners.iter().filter(|name| is_own(name)).count();
    match own {
        0 => (!owners.is_empty()).then_some(Sign::Foreign(owners)),
        _ => Some(if own == owners.len() { Sign::Own } else { Sign::Shared }),
    }
}

/// All entries of the carrier that ISPs are of, by name; nothing where they are of several.
fn carrier<'a>(uplinks: &[Uplink<'a>], names: &[&str], is_v4: bool) -> Option<Vec<&'a str>> {
    let first = uplinks.iter().find(|uplink| Some(&uplink.name) == names.first())?;
    let all =
        uplinks.iter().filter(|uplink| uplink.name == first.name || are_one(uplink.territory, first.territory, is_v4));
    let all: Vec<_> = all.map(|uplink| uplink.name).collect();
    names.iter().all(|name| all.contains(name)).then_some(all)
}

/// Whether two are entries of one carrier, as far as a family goes: they have the same networks, or, without any, the same AS numbers.
#[must_use]
pub fn are_one(one: &Territory, other: &Territory, is_v4: bool) -> bool {
    let of_family = |territory: &Territory| -> Vec<Prefix> {
        territory.networks.iter().filter(|network| network.is_ipv4() == is_v4).copied().collect()
    };
    let networks = [of_family(one), of_family(other)];
    match networks.each_ref().map(Vec::as_slice) {
        [[], []] => !one.asns.is_empty() && are_same(&one.asns, &other.asns),
        [one, other] => are_same(one, other),
    }
}

/// Whether two lists have the same in them, in whatever order.
fn are_same<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.iter().all(|item| other.contains(item)) && other.iter().all(|item| one.contains(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn territory(networks: &[&str], asns: &[u32]) -> Territory {
        Territory { networks: networks.iter().map(|network| network.parse().unwrap()).collect(), asns: asns.to_vec() }
    }

    fn uplink<'a>(name: &'a str, interface: Option<&'a str>, territory: &'a Territory) -> Uplink<'a> {
        Uplink { name, interface, territory }
    }

    fn router(address: &str) -> Router {
        Router { address: address.parse().unwrap(), asns: Vec::new() }
    }

    fn announced(address: &str, asn: u32) -> Router {
        Router { asns: vec![asn], ..router(address) }
    }

    /// Hops with spaces between; several routers of one with commas, `-` for one that says nothing, `=` before an AS number.
    fn path(text: &str) -> Vec<Vec<Router>> {
        let routers = |hop: &str| -> Vec<Router> {
            let answered = hop.split(',').filter(|address| *address != "-");
            answered
                .map(|text| match text.split_once('=') {
                    Some((address, asn)) => announced(address, asn.parse().unwrap()),
                    None => router(text),
                })
                .collect()
        };
        text.split_whitespace().map(routers).collect()
    }

    #[test]
    fn a_router_of_two_isps_proves_neither_unless_they_are_one() {
        let (a, b) = (territory(&["10.1.0.0/16", "10.9.0.0/16"], &[]), territory(&["10.2.0.0/16", "10.9.0.0/16"], &[]));
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b)];
        for isp in ["a", "b"] {
            assert_eq!(of_path(&uplinks, isp, &path("10.9.0.1 10.2.0.1")), None);
            assert_eq!(of_gateway(&uplinks, isp, "10.9.0.1".parse().unwrap()), Some(Sign::Shared));
        }
        assert_eq!(taken(&uplinks, &path("10.9.0.1 10.2.0.1")), None);
        assert_eq!(taken(&uplinks, &path("10.2.0.1 10.9.0.1")), Some(vec!["b"]));
        let one = [uplink("dc1", None, &a), uplink("dc2", None, &a), uplink("b", None, &b)];
        assert_eq!(taken(&one, &path("10.1.0.1")), Some(vec!["dc1", "dc2"]));
        assert!(matches!(of_path(&one, "dc2", &path("10.1.0.1")), Some((0, _, Sign::Own))));
        // However they are written.
        let turned = territory(&["10.9.0.0/16", "10.1.0.0/16", "10.9.0.0/16"], &[7]);
        let one = [uplink("dc1", None, &a), uplink("dc2", None, &turned)];
        assert_eq!(taken(&one, &path("10.1.0.1")), Some(vec!["dc1", "dc2"]));
        // By family, and by what only one of them says.
        let dual = territory(&["10.1.0.0/16", "2001:db8::/32"], &[]);
        let (v4, told) = (territory(&["10.1.0.0/16"], &[]), territory(&["10.1.0.0/16"], &[64_500]));
        let one = [uplink("dc1", None, &dual), uplink("dc2", None, &v4), uplink("dc3", None, &told)];
        assert_eq!(taken(&one, &path("10.1.0.1")), Some(vec!["dc1", "dc2", "dc3"]));
        assert_eq!(taken(&one, &path("192.0.2.1=64500")), Some(vec!["dc1", "dc2", "dc3"]));
        assert!(matches!(of_path(&one, "dc2", &path("192.0.2.1=64500")), Some((0, _, Sign::Own))));
        assert_eq!(taken(&one, &path("2001:db8::1")), Some(vec!["dc1"]));
        // One announcement by two.
        let (a, b) = (territory(&[], &[1]), territory(&[], &[2]));
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b)];
        let both = vec![vec![Router { asns: vec![1, 2], ..router("192.0.2.1") }]];
        assert_eq!((of_path(&uplinks, "a", &both), taken(&uplinks, &both)), (None, None));
    }

    #[test]
    fn a_router_is_of_the_smallest_network_that_has_it() {
        let (all, part, twin) =
            (territory(&["10.0.0.0/8"], &[1]), territory(&["10.2.0.0/16"], &[2]), Territory::default());
        let uplinks = [uplink("all", None, &all), uplink("part", None, &part), uplink("none", None, &twin)];
        assert_eq!(owners(&uplinks, &router("10.1.0.1")), ["all"]);
        assert_eq!(owners(&uplinks, &router("10.2.0.1")), ["part"]);
        assert_eq!(owners(&uplinks, &router("192.0.2.1")), [""; 0]);
        // What the addresses say outweighs AS numbers, which name the neighbour for a link that he numbered.
        assert_eq!(owners(&uplinks, &announced("10.1.0.1", 2)), ["all"]);
        assert_eq!(owners(&uplinks, &announced("192.0.2.1", 2)), ["part"]);
        let of = |isp: &str, address: &str| is_of(&uplinks, isp, &router(address));
        let all_of = [of("all", "10.1.0.1"), of("all", "10.2.0.1"), of("all", "192.0.2.1"), of("all", "2001:db8::1")];
        assert_eq!(all_of, [Some(true), Some(false), Some(false), None]);
        assert_eq!((of("none", "10.1.0.1"), of("none", "192.0.2.1")), (Some(false), None));
        let uplinks = [uplink("dc1", None, &all), uplink("dc2", None, &all)];
        assert_eq!(owners(&uplinks, &router("10.1.0.1")), ["dc1", "dc2"]);
    }

    #[test]
    fn a_device_is_foreign_where_it_is_not_the_one_that_was_asked_for() {
        let none = Territory::default();
        let uplinks = [
            uplink("a", Some("eth1"), &none),
            uplink("b", Some("eth2"), &none),
            uplink("shares", Some("eth2"), &none),
            uplink("free", None, &none),
        ];
        let of = |isp: &str, device: &str, home: Option<&str>| {
            of_device(&uplinks, isp, device, |of| home.filter(|_| of == "free").map(str::to_owned))
        };
        assert_eq!(of("a", "eth1", None), None);
        assert_eq!(of("a", "eth2", None), Some(vec!["b", "shares"]));
        assert_eq!(of("a", "lo", None), Some(vec![]));
        assert_eq!(of("b", "eth2", Some("eth1")), None);
        assert_eq!(of("free", "eth1", Some("eth2")), Some(vec!["a"]));
        // It may share the device.
        assert_eq!(of("free", "eth1", Some("eth1")), None);
        assert_eq!(of("free", "eth1", None), None);
        assert_eq!(of("free", "eth0", Some("eth1")), None);
        assert_eq!(of("unknown", "eth1", Some("eth2")), None);
    }

    #[test]
    fn a_device_is_foreign_where_it_has_only_the_address_of_another_isp() {
        let none = Territory::default();
        let uplinks = ["a", "b", "twin", "anywhere"].map(|name| uplink(name, None, &none));
        let of = |isp: &str, device: &str| {
            let home = |of: &str| match of {
                "a" => Some("eth1".to_owned()),
                "b" | "twin" => Some("eth2".to_owned()),
                _ => None,
            };
            of_device(&uplinks, isp, device, home)
        };
        assert_eq!([of("a", "eth1"), of("b", "eth2"), of("a", "eth0")], [None, None, None]);
        assert_eq!(of("a", "eth2"), Some(vec!["b", "twin"]));
        assert_eq!(of("b", "eth1"), Some(vec!["a"]));
        assert_eq!(of("anywhere", "eth1"), None);
    }

    #[test]
    fn a_gateway_tells_where_it_is_an_isps() {
        let (a, b) = (territory(&["10.1.0.0/16"], &[]), territory(&["10.2.0.0/16"], &[]));
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b)];
        let of = |gateway: &str| of_gateway(&uplinks, "a", gateway.parse().unwrap());
        assert_eq!(of("10.1.0.1"), Some(Sign::Own));
        assert_eq!(of("10.2.0.1"), Some(Sign::Foreign(vec!["b"])));
        assert_eq!(of("192.168.0.1"), None);
        assert_eq!(of("fe80::1"), None);
    }

    /// What a path proves of ISP `a`: `own`, `b`, or nothing, and at which hop.
    fn judge(uplinks: &[Uplink<'_>], hops: &str) -> Option<(usize, String)> {
        let (index, _, sign) = of_path(uplinks, "a", &path(hops))?;
        Some((
            index,
            match sign {
                Sign::Shared => "shared".to_owned(),
                Sign::Own => "own".to_owned(),
                Sign::Foreign(names) => names.join(","),
            },
        ))
    }

    #[test]
    fn the_first_router_of_an_isp_decides_where_none_before_could() {
        let (a, b) = (territory(&["100.64.1.0/24"], &[]), territory(&["100.64.2.0/24"], &[]));
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b)];
        let cases = [
            ("100.64.1.1 100.64.1.2", Some((0, "own"))),
            ("100.64.2.1 100.64.2.2", Some((0, "b"))),
            // The site's own routers, whose ever addresses they have.
            ("192.168.0.1 203.0.113.1 100.64.1.1", Some((2, "own"))),
            ("192.168.0.1 203.0.113.1 100.64.2.1", Some((2, "b"))),
            // Later on a path may lead through every ISP.
            ("192.168.0.1 100.64.1.1 100.64.2.1", Some((1, "own"))),
            ("192.168.0.1 100.64.2.1 100.64.1.1", Some((1, "b"))),
            // A silent hop may be the other's, that hands over.
            ("192.168.0.1 - 100.64.1.1", None),
            ("- 100.64.1.1", None),
            ("- - 100.64.1.1 100.64.1.2", None),
            // It may be the ISP's own, that hands over to the target's.
            ("- 100.64.2.1", None),
            ("192.168.0.1 - 100.64.2.1 100.64.2.2", None),
            ("192.168.0.1 -", None),
            ("192.168.0.1 203.0.113.1", None),
            ("", None),
            // Some packets went wrong.
            ("192.168.0.1 100.64.1.1,100.64.2.1", Some((1, "b"))),
            ("- 100.64.1.1,100.64.2.1", None),
        ];
        for (hops, expected) in cases {
            let expected = expected.map(|(index, whose)| (index, whose.to_owned()));
            assert_eq!(judge(&uplinks, hops), expected, "{hops}");
        }
    }

    #[test]
    fn what_an_isp_would_not_be_known_by_leaves_doubt() {
        let (a, b, nothing) =
            (territory(&["100.64.1.0/24"], &[]), territory(&["100.64.2.0/24"], &[]), Territory::default());
        // Of b nothing is known: the routers before a's could be b's.
        let uplinks = [uplink("a", None, &a), uplink("b", None, &nothing)];
        assert_eq!(judge(&uplinks, "100.64.1.1"), Some((0, "own".to_owned())));
        assert_eq!(judge(&uplinks, "10.0.0.1 100.64.1.1"), None);
        let doubts = |hops: &str| doubted(&uplinks, &path(hops));
        assert_eq!(doubts("10.0.0.1 100.64.1.1"), ["b"]);
        assert_eq!([doubts("100.64.1.1"), doubts("- 100.64.1.1"), doubts("10.0.0.1")], [[""; 0]; 3]);
        // Of a nothing is known: those before b's could be a's. Nothing is before the first.
        let uplinks = [uplink("a", None, &nothing), uplink("b", None, &b)];
        assert_eq!(judge(&uplinks, "10.0.0.1 100.64.2.1"), None);
        assert_eq!(judge(&uplinks, "100.64.2.1"), Some((0, "b".to_owned())));
        // Networks of IPv4 say nothing of IPv6.
        let b = territory(&["100.64.2.0/24", "fd00:b::/32"], &[]);
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b)];
        assert_eq!(judge(&uplinks, "fd00::1 fd00:b::1"), None);
        // Addresses of one link are no router's own.
        let a = territory(&["100.64.1.0/24", "fd00:a::/32"], &[]);
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b)];
        assert_eq!(judge(&uplinks, "fd00::1 fd00:a::1"), Some((1, "own".to_owned())));
        assert_eq!((judge(&uplinks, "fe80::1 fd00:a::1"), judge(&uplinks, "fe80::1 fd00:b::1")), (None, None));
    }

    #[test]
    fn a_flow_took_the_isp_whose_router_it_met_first() {
        let (a, b) = (territory(&["100.64.1.0/24"], &[]), territory(&["100.64.2.0/24"], &[]));
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b), uplink("twin", None, &b)];
        let of = |hops: &str| taken(&uplinks, &path(hops));
        assert_eq!(of("10.0.0.1 100.64.1.1 100.64.2.1"), Some(vec!["a"]));
        assert_eq!(of("10.0.0.1 100.64.2.1"), Some(vec!["b", "twin"]));
        assert_eq!([of("- 100.64.2.1"), of("10.0.0.1 - 100.64.1.1"), of("10.0.0.1 -"), of("")], [const { None }; 4]);
        // Packets of one flow that take several ways.
        assert_eq!(of("100.64.1.1,100.64.2.1"), None);
    }

    #[test]
    fn as_numbers_tell_where_they_are_known() {
        let (a, b) = (territory(&[], &[64501]), territory(&[], &[64502]));
        let uplinks = [uplink("a", None, &a), uplink("b", None, &b)];
        assert_eq!(judge(&uplinks, "192.0.2.9=64509 192.0.2.1=64501"), Some((1, "own".to_owned())));
        // A private address has none, and could be the other's.
        assert_eq!(judge(&uplinks, "10.0.0.1 192.0.2.1=64501"), None);
        assert_eq!(judge(&uplinks, "10.0.0.1 192.0.2.1=64502"), None);
        assert_eq!(judge(&uplinks, "192.0.2.9=64509 192.0.2.1=64502"), Some((1, "b".to_owned())));
        assert_eq!(judge(&uplinks, "192.0.2.1 192.0.2.2"), None);
    }
}
