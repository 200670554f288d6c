//! The truth table of verdicts.

use super::*;
use crate::verdict::{CertificateFault, Late, StatusClass};

const MS: Duration = Duration::from_millis(1);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
const FAST: [(Phase, Duration); 3] = [
    (Phase::Resolve, Duration::from_millis(10)),
    (Phase::Connect, Duration::from_millis(20)),
    (Phase::Tls, Duration::from_millis(40)),
];
const LATE: [(Phase, Duration); 3] = [
    (Phase::Resolve, Duration::from_millis(10)),
    (Phase::Connect, Duration::from_millis(320)),
    (Phase::Tls, Duration::from_millis(40)),
];

/// What can come of a probe, as far as verdicts differ by it.
fn witness(kind: &str) -> Witness<'static> {
    let good =
        Witness { isp: "x", failure: None, phases: &FAST, addresses: &[HERE], own_names: true, impairment: None };
    let failed = |phase, reason| Witness { failure: Some((phase, reason)), phases: &[], ..good };
    let unresolved = |reason| Witness { addresses: &[], ..failed(Phase::Resolve, reason) };
    match kind {
        "ok" => good,
        "slow" => Witness { phases: &LATE, ..good },
        "500" => failed(Phase::Transfer, Reason::HttpStatusUnexpected(StatusClass::ServerError)),
        "syn" => failed(Phase::Connect, Reason::ConnectionTimeout),
        "rst" => failed(Phase::Connect, Reason::ConnectionRefused),
        "tls" => failed(Phase::Tls, Reason::TlsProtocolError),
        // Its name servers lead elsewhere, where it works.
        "moved" => Witness { addresses: &[THERE], ..good },
        "nx" => unresolved(Reason::DnsNxdomain),
        // Its own name servers do not answer; those that all share do not.
        "quiet" => unresolved(Reason::DnsTimeout),
        "shared" => Witness { own_names: false, ..unresolved(Reason::DnsTimeout) },
        "link" => unresolved(Reason::LocalLinkDown),
        "source" => unresolved(Reason::SourceAddressUnavailable),
        "ports" => failed(Phase::Connect, Reason::SourcePortExhausted),
        _ => panic!("{kind}"),
    }
}

const KINDS: [&str; 13] =
    ["ok", "slow", "500", "syn", "rst", "tls", "moved", "nx", "quiet", "shared", "link", "source", "ports"];

/// The verdict of each pair, and which of both is to blame: `<` the one of the row, `>` that of the column, `=` both.
///
/// | | |
/// |---|---|
/// | `O` ok | `D` target_down |
/// | `S` target_slow | `P` isp_path_down |
/// | `L` isp_slow | `X` isp_local_down |
/// | `N` dns_split | `?` inconclusive |
/// | `!` prober_impaired | |
const TABLE: [(&str, &str); 13] = [
    //          ok slow 500 syn rst tls moved nx quiet shared link source ports
    ("ok", "    O  L>   ?   P>  P>  P>  O     N  P>    ?      X>   X>     !"),
    ("slow", "  L< S    ?   P>  P>  P>  N     N  P>    ?      X>   X>     !"),
    ("500", "   ?  ?    D   D   D   D   N     N  D     D      D    D      !"),
    ("syn", "   P< P<   D   D   D   D   N     N  ?     ?      X>   X>     !"),
    ("rst", "   P< P<   D   D   D   D   N     N  ?     ?      X>   X>     !"),
    ("tls", "   P< P<   D   D   D   D   N     N  ?     ?      X>   X>     !"),
    ("moved", " O  N    N   N   N   N   O     N  P>    ?      X>   X>     !"),
    ("nx", "    N  N    N   N   N   N   N     D  ?     ?      X>   X>     !"),
    ("quiet", " P< P<   D   ?   ?   ?   P<    ?  ?     ?      X>   X>     !"),
    ("shared", "?  ?    D   ?   ?   ?   ?     ?  ?     ?      X>   X>     !"),
    ("link", "  X< X<   D   X<  X<  X<  X<    X< X<    X<     X=   X=     !"),
    ("source", "X< X<   D   X<  X<  X<  X<    X< X<    X<     X=   X=     !"),
    ("ports", " !  !    !   !   !   !   !     !  !     !      !    !      !"),
];

/// 200 ms is slow for a handshake.
fn slow() -> Slow {
    Slow { phases: vec![(Phase::Connect, 200 * MS)], ..Slow::default() }
}

fn told(judgement: &Judgement) -> String {
    let letter = match judgement.verdict {
        Verdict::Ok => "O",
        Verdict::TargetDown => "D",
        Verdict::TargetSlow => "S",
        Verdict::IspPathDown => "P",
        Verdict::IspSlow => "L",
        Verdict::IspLocalDown => "X",
        Verdict::DnsSplit => "N",
        Verdict::Inconclusive => "?",
        Verdict::ProberImpaired => "!",
    };
    let blamed = match judgement.blamed.as_slice() {
        [] => "",
        [0] => "<",
        [1] => ">",
        [0, 1] => "=",
        other => panic!("{other:?}"),
    };
    format!("{letter}{blamed}")
}

#[test]
fn every_pair_of_outcomes_has_its_verdict() {
    for (row, (kind, cells)) in KINDS.into_iter().zip(TABLE) {
        assert_eq!(row, kind);
        assert_eq!(cells.split_whitespace().count(), KINDS.len());
        for (column, cell) in KINDS.into_iter().zip(cells.split_whitespace()) {
            let judgement = judge(&[witness(row), witness(column)], &slow());
            assert_eq!(told(&judgement), cell, "{row} and {column}: {}", judgement.because);
        }
    }
}

#[test]
fn one_alone_blames_nobody_but_who_answered_and_this_host() {
    let cells = "O ? D ? ? ? O ? ? ? X< X< !";
    for (kind, cell) in KINDS.into_iter().zip(cells.split_whitespace()) {
        assert_eq!(told(&judge(&[witness(kind)], &slow())), cell, "{kind}");
    }
}

#[test]
fn of_three_ways_those_that_fail_are_told_from_those_that_do_not() {
    let cases: [([&str; 3], Verdict, &[usize]); 9] = [
        (["ok", "ok", "ok"], Verdict::Ok, &[]),
        (["syn", "ok", "ok"], Verdict::IspPathDown, &[0]),
        (["syn", "ok", "rst"], Verdict::IspPathDown, &[0, 2]),
        (["ok", "syn", "500"], Verdict::IspPathDown, &[1]),
        (["link", "ok", "syn"], Verdict::IspLocalDown, &[0]),
        (["link", "syn", "syn"], Verdict::IspLocalDown, &[0]),
        (["slow", "slow", "ok"], Verdict::IspSlow, &[0, 1]),
        (["quiet", "syn", "rst"], Verdict::TargetDown, &[]),
        (["nx", "nx", "ok"], Verdict::DnsSplit, &[]),
    ];
    for (kinds, verdict, blamed) in cases {
        let judgement = judge(&kinds.map(witness), &slow());
        assert_eq!((judgement.verdict, judgement.blamed.as_slice()), (verdict, blamed), "{kinds:?}");
    }
}

#[test]
fn the_order_of_the_isps_decides_nothing() {
    for first in KINDS {
        for second in KINDS {
            for third in KINDS {
                let forth = judge(&[first, second, third].map(witness), &slow());
                let back = judge(&[third, second, first].map(witness), &slow());
                assert_eq!(forth.verdict, back.verdict, "{first} {second} {third}");
                let mirrored: Vec<_> = back.blamed.iter().rev().map(|index| 2 - index).collect();
                assert_eq!(forth.blamed, mirrored, "{first} {second} {third}");
                let blames = matches!(forth.verdict, Verdict::IspPathDown | Verdict::IspSlow | Verdict::IspLocalDown);
                assert_eq!(!forth.blamed.is_empty(), blames);
            }
        }
    }
}

#[test]
fn slow_is_longer_than_the_threshold_or_much_longer_than_the_best() {
    let verdict = |spans: [u32; 2], slow: &Slow| {
        let phases = spans.map(|span| [(Phase::Connect, span * MS)]);
        let of = |index: usize| Witness { phases: &phases[index], ..witness("ok") };
        told(&judge(&[of(0), of(1)], slow))
    };
    let usual = Slow::default();
    let cases = [
        ([20, 69], "O"),
        ([20, 70], "L>"),
        ([200, 70], "L<"),
        ([100, 200], "O"),
        ([100, 201], "L>"),
        ([5_000, 5_000], "O"),
    ];
    for (spans, cell) in cases {
        assert_eq!(verdict(spans, &usual), cell, "{spans:?}");
    }
    let strict = Slow { factor: 1.0, difference: Duration::ZERO, phases: Vec::new() };
    assert_eq!(verdict([20, 21], &strict), "L>");
    assert_eq!([verdict([200, 200], &slow()), verdict([201, 201], &slow())], ["O", "S"]);
    assert_eq!(verdict([150, 201], &slow()), "L>");
}

#[test]
fn what_no_isp_is_answerable_for_is_not_slow() {
    let of = |phase, own_names, spans: [u32; 2]| {
        let phases = spans.map(|span| [(phase, span * MS)]);
        let of = |index: usize| Witness { phases: &phases[index], own_names, ..witness("ok") };
        judge(&[of(0), of(1)], &Slow::default()).verdict
    };
    assert_eq!(of(Phase::Resolve, true, [10, 500]), Verdict::IspSlow);
    assert_eq!(of(Phase::Resolve, false, [10, 500]), Verdict::Ok, "a name server that both share");
    for phase in [Phase::Interval, Phase::Setup, Phase::Trace, Phase::Lookup, Phase::Mtu, Phase::Token] {
        assert_eq!(of(phase, true, [10, 500]), Verdict::Ok, "{}", phase.name());
    }
}

#[test]
fn what_was_wrong_on_this_host_exonerates_the_isp_and_is_told() {
    let evidence = Some("the table of connections was full: 12 packets were dropped");
    let dropped = Witness { impairment: evidence, ..witness("syn") };
    let judgement = judge(&[dropped, witness("ok")], &slow());
    assert_eq!((judgement.verdict, judgement.blamed), (Verdict::ProberImpaired, Vec::new()));
    assert!(judgement.because.contains("12 packets were dropped"), "{}", judgement.because);
    let unharmed = Witness { impairment: evidence, ..witness("ok") };
    assert_eq!(judge(&[unharmed, witness("ok")], &slow()).verdict, Verdict::Ok);
    let answered = Witness { impairment: evidence, ..witness("500") };
    assert_eq!(judge(&[answered, answered], &slow()).verdict, Verdict::TargetDown, "a server said so");
}

#[test]
fn every_reason_says_what_it_can_prove() {
    use Phase::{Connect, Processing, Query, Resolve, Rtt, Tls, Transfer};
    use Reason::*;
    let cases: [(Says, &[(Phase, Reason)]); 5] = [
        (
            Says::Impaired,
            &[
                (Connect, ProberError),
                (Connect, ProberConfigError),
                (Tls, ProberOverload),
                (Connect, SourcePortExhausted),
                (Connect, ArpUnresolved),
                (Resolve, ProberOverload),
                (Connect, Unknown),
            ],
        ),
        (
            Says::NothingLeft,
            &[
                (Resolve, SourceAddressUnavailable),
                (Connect, LocalLinkDown),
                (Connect, UnroutableLocal),
                (Connect, EgressMismatch),
            ],
        ),
        (
            Says::NoAddress,
            &[(Resolve, DnsNxdomain), (Resolve, DnsNodata), (Resolve, DnsServfail), (Resolve, DnsRefused)],
        ),
        (
            Says::Path,
            &[
                (Connect, NetUnreachable),
                (Connect, ConnectionTimeout),
                (Connect, ConnectionRefused),
                (Tls, TlsTimeout),
                (Tls, TlsCertificateError(CertificateFault::UnknownCa)),
                (Processing, ConnectionTerminated),
                (Processing, HttpResponseTimeout(Late::Network)),
                (Transfer, HttpResponseTimeout(Late::Unknown)),
                (Query, DnsTimeout),
                (Rtt, IcmpTimeout),
            ],
        ),
        (
            Says::Answer,
            &[
                (Transfer, HttpStatusUnexpected(StatusClass::ServerError)),
                (Transfer, HttpRateLimited { by_envoy: true }),
                (Processing, HttpResponseTimeout(Late::Server)),
                (Transfer, AssertionFailedBody),
                (Query, DnsServfail),
                (Query, AssertionFailedDns),
            ],
        ),
    ];
    for (expected, reasons) in cases {
        for (phase, reason) in reasons {
            assert_eq!(says(*phase, *reason, true), expected, "{} in {}", reason.name(), phase.name());
        }
    }
    for own in [true, false] {
        for reason in [DnsTimeout, ConnectionRefused, NetUnreachable, PortUnreachable] {
            assert_eq!(says(Resolve, reason, own), Says::NoNames { own }, "{}", reason.name());
        }
    }
}
