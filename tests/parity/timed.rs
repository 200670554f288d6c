//! Behind a known round trip, of servers that take a known time, both exporters tell the same durations, but for what `parity/differences.rs`
//! lists, and ours are the known ones.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::dns::{NameServer, Sockets, server_config};
use crate::support::health::serve_health;
use crate::support::http3::serve_http3;
use crate::support::lab::Site;
use crate::support::peer::Peer;
use crate::support::proxy::{end_tls, proxy, socks};
use crate::support::zone::{Zone, serve as serve_zone};
use crate::support::{read_head, serve};
use rustls::{ServerConnection, StreamOwned};
use uplink_exporter::lab::{self, Isp, Topology};

use crate::case::{Case, Name};
use crate::comparison::{CONFIGURATION, Comparison};

/// Durations that differ by less are the same, in seconds: the clock of a process that is woken late, and a fraction of the round trip.
const TOLERANCE: f64 = 0.04;
const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 20));

/// What starts the exporters: with a name server of their own, and a proxy in their environment that is for
/// one other address.
const BY: [&str; 6] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "export HTTPS_PROXY=http://me:secret@198.51.100.10:3128 NO_PROXY=198.51.100.10,.lab
     mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"",
    "sh",
];

/// Compares what both tell of cases, through ISP A of a lab; nothing, and a word why, where there can be none. `known` are all cases.
pub(crate) fn compare(peer: &Peer, cases: &[Case], known: &[Name]) {
    let path = lab::Path::straight(Isp::A, &[20_000, 50_000], 30_000);
    let Some(site) = Site::start(Topology { a: path, ..Topology::demo() }, "") else { return };
    let folder = site.folder.path();
    start_servers(&site, folder);
    let modules: String = cases.iter().map(Case::module).collect();
    fs::write(folder.join(CONFIGURATION), format!("modules:\n{modules}")).unwrap();
    fs::write(folder.join("resolv.conf"), format!("nameserver {NAME_SERVER}\n")).unwrap();
    let compare = || {
        let mut comparison = Comparison::start(peer, folder, &BY, TOLERANCE);
        for case in cases {
            comparison.probe(case);
        }
        let is_one = |pattern: &&str| cases.iter().any(|case| case.name.text == *pattern);
        comparison.end(known, |difference| !difference.cases.is_empty() && difference.cases.iter().all(is_one));
    };
    site.lab.prober().run(compare).unwrap();
}

/// Starts what stands at the far end, beside nginx.
fn start_servers(site: &Site, folder: &Path) {
    let mut zone = Zone::default();
    for name in ["web.lab", "slow.lab"] {
        zone.address(name, TARGET, 300);
    }
    zone.is_late("slow.lab", Duration::from_millis(200));
    serve_zone(site, SocketAddr::new(NAME_SERVER, 53), zone);
    serve_http3(site);

    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| fs::read(folder.join(name)).unwrap());
    let tls = server_config(&certificate, &key);
    let start = || {
        serve(8080, paced);
        end_tls(8443, 8080, tls.clone());
        let slow = Arc::new(tls.clone());
        serve(8444, move |stream| {
            thread::sleep(Duration::from_millis(200));
            paced(StreamOwned::new(ServerConnection::new(Arc::clone(&slow)).unwrap(), stream))
        });
        serve(3128, proxy);
        end_tls(3129, 3128, tls.clone());
        serve(1080, |client| socks(client, false));
        serve(2525, greet);
        NameServer::start(Sockets::bind(TARGET, [5353, 5853, 5443]), tls);
        serve_health((Ipv6Addr::UNSPECIFIED, 50051).into());
    };
    site.lab.far().run(start).unwrap();
    let listener = UnixListener::bind(folder.join("greets.sock")).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(|| greet(stream)))));
}

/// A web server that does what the path says: `200ms` waits, `103` sends a head of this status, with the length of the words behind it and,
/// for a redirect, the query as the place, and everything else is sent as it is.
fn paced(stream: impl Read + Write) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let head = read_head(&mut reader)?;
    let mut stream = reader.into_inner();
    let Some(target) = head.split(' ').nth(1) else { return Ok(()) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let steps: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let pause = |step: &str| step.strip_suffix("ms")?.parse().map(Duration::from_millis).ok();
    let status = |step: &str| step.parse::<u16>().ok();
    for (n, step) in steps.iter().enumerate() {
        match (pause(step), status(step)) {
            (Some(pause), _) => thread::sleep(pause),
            (None, Some(status @ 100..200)) => write!(stream, "HTTP/1.1 {status} Soon\r\n\r\n")?,
            (None, Some(status)) => {
                let words = steps[n + 1..].iter().filter(|step| pause(step).is_none());
                let length: usize = words.map(|word| word.len()).sum();
                let place = if status / 100 == 3 { format!("Location: {query}\r\n") } else { String::new() };
                let head = format!("HTTP/1.1 {status} As Asked\r\nContent-Length: {length}\r\n{place}\r\n");
                stream.write_all(head.as_bytes())?;
            }
            (None, None) => stream.write_all(step.as_bytes())?,
        }
        stream.flush()?;
    }
    Ok(())
}

/// A mail server that takes its time.
fn greet(mut stream: impl Read + Write) -> std::io::Result<()> {
    thread::sleep(Duration::from_millis(200));
    stream.write_all(b"220 mail.lab\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        thread::sleep(Duration::from_millis(100));
        reader.get_mut().write_all(b"250 well\r\n")?;
    }
    Ok(())
}
