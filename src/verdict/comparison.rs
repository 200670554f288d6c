//! What probes of one target through several ISPs say together: whose fault it is.

use std::net::IpAddr;
use std::time::Duration;

use super::Reason;
use crate::flight::Phase;

/// What the probes of a target through several ISPs say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// All succeeded, none of them slowly.
    Ok,
    /// The target fails, whichever way it is asked.
    TargetDown,
    /// The target is slow, whichever way it is asked.
    TargetSlow,
    /// Through one ISP nothing gets there, or comes back, while another one shows that the target is there.
    IspPathDown,
    /// Through one ISP it takes longer than through another one.
    IspSlow,
    /// Nothing leaves by an ISP: its source address is not on this host, its link is down, there is no route, or that of another ISP.
    IspLocalDown,
    /// The ISPs' name servers do not agree where the target is, and it is not the same there.
    DnsSplit,
    /// It cannot be told.
    Inconclusive,
    /// This host, or this program, kept a probe from telling anything.
    ProberImpaired,
}

impl Verdict {
    /// All, in the order of their metric's series.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::TargetDown,
        Self::TargetSlow,
        Self::IspPathDown,
        Self::IspSlow,
        Self::IspLocalDown,
        Self::DnsSplit,
        Self::Inconclusive,
        Self::ProberImpaired,
    ];

    /// The label value in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::TargetDown => "target_down",
            Self::TargetSlow => "target_slow",
            Self::IspPathDown => "isp_path_down",
            Self::IspSlow => "isp_slow",
            Self::IspLocalDown => "isp_local_down",
            Self::DnsSplit => "dns_split",
            Self::Inconclusive => "inconclusive",
            Self::ProberImpaired => "prober_impaired",
        }
    }
}

/// What a probe through one ISP has to say.
#[derive(Debug, Clone, Copy)]
pub struct Witness<'a> {
    /// The ISP.
    pub isp: &'a str,
    /// Why it failed, and in which phase; nothing on success.
    pub failure: Option<(Phase, Reason)>,
    /// Time on the wire by phase.
    pub phases: &'a [(Phase, Duration)],
    /// The addresses that the target's name has, as the name servers said that this probe asked; none where it has no name, or they said none.
    pub addresses: &'a [IpAddr],
    /// Whether these were asked through the ISP; those of the system are the same for all.
    pub own_names: bool,
    /// What on this host was wrong while it ran, in words; nothing where nothing is known to have been.
    pub impairment: Option<&'a str>,
}

/// When a phase is slow.
#[derive(Debug, Clone, PartialEq)]
pub struct Slow {
    /// Longer than so many times the same phase through the best ISP, ...
    pub factor: f64,
    /// ... and by at least so much.
    pub difference: Duration,
    /// Longer than this, by phase, whatever it is through other ISPs.
    pub phases: Vec<(Phase, Duration)>,
}

impl Default for Slow {
    /// Twice as long, and 50 ms: what a person notices; less is what paths differ by that are both good.
    fn default() -> Self {
        Self { factor: 2.0, difference: Duration::from_millis(50), phases: Vec::new() }
    }
}

impl Slow {
    /// Whether a phase that took `span` is slow beside the same one through the ISP where it took `best`.
    #[must_use]
    pub fn is_beside(&self, span: Duration, best: Duration) -> bool {
        span >= best + self.difference && span.as_secs_f64() > best.as_secs_f64() * self.factor
    }

    /// The threshold that a phase exceeds, if it does.
    #[must_use]
    pub fn exceeded(&self, phase: Phase, span: Duration) -> Option<Duration> {
        self.phases.iter().find(|(of, limit)| *of == phase && *limit < span).map(|(_, limit)| *limit)
    }
}

/// A verdict, and what it rests upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The indices of the witnesses whose ISPs are to blame, for a verdict of one.
    pub blamed: Vec<usize>,
    /// Why, in a sentence.
    pub because: String,
}

/// What a failure says of the way and of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Nothing: this host or this program failed.
    Impaired,
    /// Nothing left by the ISP.
    NothingLeft,
    /// The name servers were asked, and know no address that would do.
    NoAddress,
    /// No name server answered, so that nobody asked the target: the ISP's own, which are asked through it, or those that all share.
    NoNames {
        /// Whether they are the ISP's own.
        own: bool,
    },
    /// Something on the way, or the target, was silent or refused. A router, a firewall or the target may have done it.
    Path,
    /// The target was reached, and did not do what it should.
    Answer,
}

/// What a reason says that a probe through an ISP ended with, in a phase; `own_names` where it asks name servers of its own.
fn says(phase: Phase, reason: Reason, own_names: bool) -> Says {
    use super::Late;
    use Reason::*;
    match reason {
        ProberError | ProberConfigError | ProberOverload | SourcePortExhausted | ArpUnresolved | Aborted | Unknown => {
            Says::Impaired
        }
        SourceAddressUnavailable | LocalLinkDown | UnroutableLocal | EgressMismatch => Says::NothingLeft,
        DnsNxdomain | DnsNodata | DnsServfail | DnsRefused | DnsAnswerUnexpected | DestinationIpProhibited
            if phase == Phase::Resolve =>
        {
            Says::NoAddress
        }
        _ if phase == Phase::Resolve => Says::NoNames { own: own_names },
        // A module that asks about names has a server as its target, which answered.
        DnsNxdomain | DnsNodata | DnsServfail | DnsRefused | DnsAnswerUnexpected | DestinationIpProhibited => {
            Says::Answer
        }
        HttpResponseTimeout(Late::Server)
        | HttpProtocolError
        | HttpStreamReset
        | HttpResponseHeaderSize
        | HttpResponseBodySize
        | HttpUpstreamUnhealthy
        | HttpNoRoute
        | HttpStatusUnexpected(_)
        | HttpRateLimited { .. }
        | TooManyRedirects
        | StunError(_)
        | StunAnswerUnexpected
        | AssertionFailedTls
        | AssertionFailedHeader
        | AssertionFailedBody
        | AssertionFailedDns => Says::Answer,
        DnsTimeout
        | NetUnreachable
        | HostUnreachable
        | AdminProhibited
        | ProtocolUnreachable
        | PortUnreachable
        | TtlExceeded
        | PmtuExceeded
        | ConnectionTimeout
        | ConnectionRefused
        | ConnectionResetHandshake
        | ConnectionTerminated
        | ConnectionReadTimeout
        | ConnectionWriteTimeout
        | TlsTimeout
        | TlsProtocolError
        | TlsAlertReceived(_)
        | TlsClientCertRejected
        | TlsCertificateError(_)
        | HttpResponseTimeout(Late::Network | Late::Unknown)
        | HttpResponseIncomplete
        | IcmpTimeout
        | IcmpLossPartial => Says::Path,
    }
}

impl Witness<'_> {
    /// What its failure says; nothing on success.
    fn says(&self) -> Option<Says> {
        let (phase, reason) = self.failure?;
        let told = says(phase, reason, self.own_names);
        // What was not answered then may never have left.
        let by_it = self.impairment.is_some() && reason.is_silence();
        Some(if by_it && !matches!(told, Says::NothingLeft | Says::Answer) { Says::Impaired } else { told })
    }

    fn span(&self, phase: Phase) -> Option<Duration> {
        self.phases.iter().find(|(known, _)| *known == phase).map(|(_, span)| *span)
    }

    /// How it ended, in words.
    fn outcome(&self) -> String {
        match self.failure {
            None => format!("through {} it succeeded", self.isp),
            Some((phase, reason)) => format!("through {}: {} in {}", self.isp, reason.name(), phase.name()),
        }
    }
}

/// What the probes of one target through several ISPs say together.
///
/// What is certain comes first: that this host kept a probe from telling anything; that nothing left by an ISP, unless another one shows that
/// the target itself fails. A failure blames an ISP only where another one shows at the same time that the target is there, at the same
/// addresses. Where the target itself answers, and not as it should, no ISP is to blame.
#[must_use]
pub fn judge(witnesses: &[Witness<'_>], slow: &Slow) -> Judgement {
    let said: Vec<Option<Says>> = witnesses.iter().map(Witness::says).collect();
    let who = |wanted: &[Says]| -> Vec<usize> {
        (0..said.len()).filter(|index| said[*index].is_some_and(|said| wanted.contains(&said))).collect()
    };
    let outcomes = || witnesses.iter().map(Witness::outcome).collect::<Vec<_>>().join("; ");
    let of = |verdict, blamed, because| Judgement { verdict, blamed, because };
    let succeeded = said.contains(&None);

    let impaired = who(&[Says::Impaired]);
    if !impaired.is_empty() {
        let words: Vec<_> = impaired.iter().filter_map(|index| witnesses[*index].impairment).collect();
        let mut because = outcomes();
        for (index, word) in words.iter().enumerate() {
            if !words[..index].contains(word) {
                because.push_str("; ");
                because.push_str(word);
            }
        }
        return of(Verdict::ProberImpaired, Vec::new(), because);
    }
    let answered = !who(&[Says::Answer]).is_empty();
    let stayed = who(&[Says::NothingLeft]);
    if !stayed.is_empty() && (succeeded || !answered) {
        return of(Verdict::IspLocalDown, stayed, outcomes());
    }
    let unknown = who(&[Says::NoAddress]);
    let found = succeeded || answered || !who(&[Says::Path]).is_empty();
    if !unknown.is_empty() && found {
        return of(Verdict::DnsSplit, Vec::new(), outcomes());
    }
    if !succeeded {
        // One way in vain may be the way's fault; several at the same time are hardly.
        let down = answered || who(&[Says::Path]).len() > 1 || unknown.len() > 1;
        return of(if down { Verdict::TargetDown } else { Verdict::Inconclusive }, Vec::new(), outcomes());
    }
    if said.iter().any(Option::is_some) {
        if apart(witnesses) {
            return of(Verdict::DnsSplit, Vec::new(), format!("{}; {}", outcomes(), places(witnesses)));
        }
        let blamed = who(&[Says::Path, Says::NoNames { own: true }]);
        let verdict = if blamed.is_empty() { Verdict::Inconclusive } else { Verdict::IspPathDown };
        return of(verdict, blamed, outcomes());
    }
    of_speed(witnesses, slow)
}

/// The verdict on probes that all succeeded.
fn of_speed(witnesses: &[Witness<'_>], slow: &Slow) -> Judgement {
    let found: Vec<Option<String>> = witnesses.iter().map(|witness| slow_phase(witness, witnesses, slow)).collect();
    let late: Vec<usize> = (0..found.len()).filter(|index| found[*index].is_some()).collect();
    let because = found.iter().flatten().cloned().collect::<Vec<_>>().join("; ");
    let (verdict, blamed, because) = if late.is_empty() {
        (Verdict::Ok, Vec::new(), "through all it succeeded".to_owned())
    } else if late.len() == witnesses.len() {
        let verdict = if witnesses.len() > 1 { Verdict::TargetSlow } else { Verdict::Inconclusive };
        (verdict, Vec::new(), because)
    } else if apart(witnesses) {
        (Verdict::DnsSplit, Vec::new(), format!("{because}; {}", places(witnesses)))
    } else {
        (Verdict::IspSlow, late, because)
    };
    Judgement { verdict, blamed, because }
}

/// The phases whose times are the target's and the way's; others are of packets that nobody answers, or of our own pauses.
const TELLING: [Phase; 7] =
    [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Processing, Phase::Transfer, Phase::Query, Phase::Rtt];

/// The first phase that is slow, in words.
fn slow_phase(witness: &Witness<'_>, witnesses: &[Witness<'_>], slow: &Slow) -> Option<String> {
    let isp = witness.isp;
    witness.phases.iter().find_map(|(phase, span)| {
        let (name, seconds) = (phase.name(), span.as_secs_f64());
        if let Some(limit) = slow.exceeded(*phase, *span) {
            return Some(format!("through {isp}, {name} took {seconds} s, more than {} s", limit.as_secs_f64()));
        }
        let (best, other) = witnesses.iter().filter_map(|other| Some((other.span(*phase)?, other.isp))).min()?;
        let is_slow = slow.is_beside(*span, best);
        // Name servers that all share are no ISP's.
        let is_own = *phase != Phase::Resolve || witness.own_names;
        (is_slow && is_own && TELLING.contains(phase))
            .then(|| format!("through {isp}, {name} took {seconds} s, through {other} {} s", best.as_secs_f64()))
    })
}

/// Whether the name servers of two ISPs know no address in common, of the families that both were asked for.
fn apart(witnesses: &[Witness<'_>]) -> bool {
    let are = |one: &[IpAddr], other: &[IpAddr]| {
        let comparable = one.iter().any(|address| other.iter().any(|known| known.is_ipv4() == address.is_ipv4()));
        comparable && !one.iter().any(|address| other.contains(address))
    };
    witnesses.iter().any(|one| witnesses.iter().any(|other| are(one.addresses, other.addresses)))
}

/// Where the target is through each ISP, in words.
fn places(witnesses: &[Witness<'_>]) -> String {
    let place = |witness: &Witness<'_>| {
        let addresses: Vec<_> = witness.addresses.iter().map(ToString::to_string).collect();
        format!("through {} the name is {}", witness.isp, addresses.join(", "))
    };
    witnesses.iter().filter(|witness| !witness.addresses.is_empty()).map(place).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
