//! What the numbers of the DNS are called: IANA's names, in the spelling of Go's `miekg/dns`, which modules were written for.

use std::borrow::Cow;

/// Names of numbers. Where a number has several names, its first is the one that is shown.
#[derive(Debug, Clone, Copy)]
pub struct Names(&'static [(&'static str, u16)]);

impl Names {
    /// The number that a name stands for.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u16> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }

    /// The name of a number.
    #[must_use]
    pub fn name(self, number: u16) -> Option<&'static str> {
        self.0.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
    }

    /// Every name.
    pub fn all(self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
}

/// A type as it is shown: its name, or `TYPE65280` (RFC 3597, section 5).
#[must_use]
pub fn type_text(number: u16) -> Cow<'static, str> {
    TYPES.name(number).map_or_else(|| format!("TYPE{number}").into(), Cow::Borrowed)
}

/// A class as it is shown. `ANY` is the name of a type too, and therefore not that of a class.
#[must_use]
pub fn class_text(number: u16) -> Cow<'static, str> {
    let name = CLASSES.name(number).filter(|name| TYPES.number(name).is_none());
    name.map_or_else(|| format!("CLASS{number}").into(), Cow::Borrowed)
}

/// A response code as it is shown: its name, or its number.
#[must_use]
pub fn rcode_text(number: u16) -> Cow<'static, str> {
    RCODES.name(number).map_or_else(|| format!("RCODE{number}").into(), Cow::Borrowed)
}

/// Address (RFC 1035, section 3.4.1).
pub const A: u16 = 1;
/// Start of a zone of authority (RFC 1035, section 3.3.13).
pub const SOA: u16 = 6;
/// What EDNS says beside the message (RFC 6891); no data of any name.
pub const OPT: u16 = 41;
/// Everything that the server has of a name (RFC 8482 says how little that may be).
pub const ANY: u16 = 255;
/// The Internet.
pub const IN: u16 = 1;
/// No error.
pub const NOERROR: u16 = 0;

/// Types of records and of questions.
pub const TYPES: Names = Names(&[
    ("None", 0),
    ("A", A),
    ("NS", 2),
    ("MD", 3),
    ("MF", 4),
    ("CNAME", 5),
    ("SOA", SOA),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("NULL", 10),
    ("PTR", 12),
    ("HINFO", 13),
    ("MINFO", 14),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("NSAP-PTR", 23),
    ("SIG", 24),
    ("KEY", 25),
    ("PX", 26),
    ("GPOS", 27),
    ("AAAA", 28),
    ("LOC", 29),
    ("NXT", 30),
    ("EID", 31),
    ("NIMLOC", 32),
    ("SRV", 33),
    ("ATMA", 34),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("DNAME", 39),
    ("OPT", OPT),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("NINFO", 56),
    ("RKEY", 57),
    ("TALINK", 58),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("SPF", 99),
    ("UINFO", 100),
    ("UID", 101),
    ("GID", 102),
    ("UNSPEC", 103),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("EUI48", 108),
    ("EUI64", 109),
    ("NXNAME", 128),
    ("TKEY", 249),
    ("TSIG", 250),
    ("IXFR", 251),
    ("AXFR", 252),
    ("MAILB", 253),
    ("MAILA", 254),
    ("ANY", ANY),
    ("URI", 256),
    ("CAA", 257),
    ("AVC", 258),
    ("AMTRELAY", 260),
    ("RESINFO", 261),
    ("TA", 32768),
    ("DLV", 32769),
    ("Reserved", 65535),
]);

/// Classes of records and of questions.
pub const CLASSES: Names = Names(&[("IN", IN), ("CS", 2), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)]);

/// Response codes. 16 is `BADVERS` in a reply to a question, and `BADSIG` in a signature (TSIG), which nobody asks for here.
pub const RCODES: Names = Names(&[
    ("NOERROR", NOERROR),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("NOTIMPL", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DSOTYPENI", 11),
    ("BADVERS", 16),
    ("BADSIG", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
]);
