//! Ports by their names, as the host has them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use crate::file;

/// What carries the service behind a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Carrier {
    Tcp,
    Udp,
}

/// The ports of names.
type Ports = HashMap<(Carrier, String), u16>;

/// The host's, read once.
static PORTS: LazyLock<Ports> =
    LazyLock::new(|| ports(&String::from_utf8_lossy(&file::read(Path::new("/etc/services")).unwrap_or_default())));

/// What Go knows where the file has nothing: small images have none.
const KNOWN: &str = "
domain 53/udp
ftp 21/tcp
ftps 990/tcp
gopher 70/tcp
http 80/tcp
https 443/tcp
imap2 143/tcp
imap3 220/tcp
imaps 993/tcp
pop3 110/tcp
pop3s 995/tcp
smtp 25/tcp
submissions 465/tcp
ssh 22/tcp
telnet 23/tcp
";

/// The port of a name.
pub(super) fn port(name: &str, carrier: Carrier) -> Option<u16> {
    PORTS.get(&(carrier, name.to_ascii_lowercase())).copied()
}

/// Reads what stands in `/etc/services` (services(5)).
fn ports(text: &str) -> Ports {
    let mut ports = Ports::new();
    for line in KNOWN.lines().chain(text.lines()) {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let (Some(name), Some(place)) = (words.next(), words.next()) else { continue };
        let carrier = match place.split_once('/') {
            Some((port, "tcp")) => (port, Carrier::Tcp),
            Some((port, "udp")) => (port, Carrier::Udp),
            _ => continue,
        };
        let (Ok(port @ 1..), carrier) = (carrier.0.parse(), carrier.1) else { continue };
        ports.extend([name].into_iter().chain(words).map(|name| ((carrier, name.to_owned()), port)));
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_and_others_are_known() {
        let text = "# all\nhttp\t8080/tcp  www # the web\ndomain 53/tcp\nntp 123/udp\nbad\nbad 99\nbad 99/sctp\nbad x/tcp\n\
                    bad 0/tcp\nbad 65536/tcp\n#off 1/tcp\n";
        let ports = ports(text);
        for (name, carrier, expected) in [
            ("http", Carrier::Tcp, Some(8080)),
            ("www", Carrier::Tcp, Some(8080)),
            ("domain", Carrier::Tcp, Some(53)),
            ("domain", Carrier::Udp, Some(53)),
            ("ntp", Carrier::Udp, Some(123)),
            ("ntp", Carrier::Tcp, None),
            ("https", Carrier::Tcp, Some(443)),
            ("https", Carrier::Udp, None),
            ("bad", Carrier::Tcp, None),
            ("#off", Carrier::Tcp, None),
            ("web", Carrier::Tcp, None),
        ] {
            assert_eq!(ports.get(&(carrier, name.to_owned())).copied(), expected, "{name}");
        }
        assert_eq!(port("HTTPS", Carrier::Tcp), Some(443));
    }
}
