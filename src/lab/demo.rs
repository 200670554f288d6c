//! The demonstration: an exporter in the emulated internet, reachable from the host.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::topology::{Isp, TARGETS, Topology, target};
use super::{Lab, Servers};
use crate::config::Store;
use crate::net::Family;
use crate::server::{self, Guard, Listener, State};

/// Makes an internet with two ISPs, serves an exporter in it on addresses of the host, says what to try, and ends with Ctrl-C, with
/// SIGTERM, or with the terminal (SIGHUP). `own_user`: whether it runs in a user namespace of its own.
///
/// # Errors
/// An address that cannot be listened on; why there is no lab here; why the exporter does not run.
pub fn run(listen_addresses: &[String], own_user: bool, out: &mut (impl Write + Send)) -> io::Result<()> {
    // Sockets stay in the namespace that they were made in: these in the host's, while the exporter runs in the lab's.
    let listeners = listen_addresses
        .iter()
        .map(|address| server::listen(address, server::LISTEN_FLAG))
        .collect::<io::Result<Vec<_>>>()?;
    Lab::available().map_err(io::Error::other)?;
    let lab = Lab::start(Topology::demo())?;
    let servers = Servers::start(lab.far())?;
    let files = Files::write(&servers.ca_pem)?;
    if let Some(first) = listeners.first() {
        let at = reachable(first.local_addr()?);
        introduce(out, &lab.topology(), at, &files.configuration, &entering(own_user, &lab.prober().path()))?;
    }
    lab.prober().block_on(async move {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (mut hang_up, mut quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
        let shutdown = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
                _ = quit.recv() => {}
            }
        };
        serve(listeners, &files.configuration, shutdown).await
    })?
}

/// How long running probes may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the exporter on the listeners until the shutdown.
async fn serve(
    listeners: Vec<TcpListener>,
    configuration: &Path,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let listeners =
        listeners.into_iter().map(|listener| tokio::net::TcpListener::from_std(listener).map(Listener::Tcp));
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    let opened = Store::open(configuration).and_then(|store| Ok((store, Guard::open(None)?)));
    let (store, guard) = opened.map_err(|errors| io::Error::other(errors.to_string()))?;
    let state = State::new(store, guard, Arc::default(), server::Options::default());
    server::run(listeners, state, shutdown, GRACE).await;
    Ok(())
}

/// An address that a person can open, for one that is listened on.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::from([127, 0, 0, 1]));
    }
    address
}

/// The configuration and the CA's certificate, in a directory of their own, which goes with this.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    configuration: PathBuf,
}

impl Files {
    fn write(ca_pem: &str) -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("uplink_exporter-demo-{}", std::process::id()));
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("writing {}: {error}", directory.display()));
        // Not there before: what somebody else put there is not ours to use.
        std::fs::create_dir(&directory).map_err(explain)?;
        let files = Self { configuration: directory.join("probes.yml"), directory: directory.clone() };
        let ca = files.directory.join("ca.pem");
        std::fs::write(&ca, ca_pem)
            .and_then(|()| std::fs::write(&files.configuration, configuration(&ca)))
            .map_err(explain)?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(%error, directory = %self.directory.display(), "could not be removed");
        }
    }
}

/// The configuration of the exporter in the lab.
#[must_use]
pub fn configuration(ca_file: &Path) -> String {
    let mut text = String::from("dc: lab\nisps:\n");
    for isp in Isp::ALL {
        let (v4, v6) = (isp.source(Family::V4), isp.source(Family::V6));
        text += &format!(
            "  {}: {{source_ip: {v4}, source_ip6: \"{v6}\", interface: {}, fwmark: {}, networks: [{}, \"{}\"]}}\n",
            isp.name(),
            isp.device(),
            isp.mark(),
            isp.network(Family::V4),
            isp.network(Family::V6),
        );
    }
    // JSON's strings are YAML's.
    let ca_file = serde_json::Value::from(ca_file.to_string_lossy()).to_string();
    text + &MODULES.replace("CA_FILE", &ca_file)
}

const MODULES: &str = "modules:
  http_2xx: {prober: http, timeout: 5s, http: {}}
  https: {prober: http, timeout: 5s, http: {fail_if_not_ssl: true, tls_config: {ca_file: CA_FILE}}}
  tcp_connect: {prober: tcp, timeout: 5s, tcp: {}}
  tcp_half_open: {prober: tcp, timeout: 5s, tcp: {half_open: true}}
  icmp: {prober: icmp, timeout: 5s, icmp: {count: 5, interval: 100ms}}
  dns: {prober: dns, timeout: 5s, dns: {query_name: example.org}}
  traceroute: {prober: traceroute, timeout: 5s, traceroute: {count: 3}}
  traceroute_udp: {prober: traceroute, timeout: 5s, traceroute: {protocol: udp, count: 3}}
  traceroute_tcp: {prober: traceroute, timeout: 5s, traceroute: {protocol: tcp, port: 443, count: 3}}
";

/// The command that runs another one where the prober is: what to say before it, and the command.
fn entering(own_user: bool, namespace: &str) -> (&'static str, String) {
    if own_user {
        let user = format!("--target={} --user --preserve-credentials", std::process::id());
        return ("Or, without the server:", format!("nsenter {user} --net={namespace}"));
    }
    ("Or, as root, without the server:", format!("nsenter --net={namespace}"))
}

/// Says what there is and what to try; `entering` is how the prober's namespace is entered.
fn introduce(
    out: &mut impl Write,
    topology: &Topology,
    at: SocketAddr,
    configuration: &Path,
    (whoever, enter): &(&str, String),
) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let (v4, v6) = (target(Family::V4, *TARGETS.start()), target(Family::V6, *TARGETS.start()));
    let rtt = |isp| topology.path(isp).target_rtt().as_millis();
    writeln!(out, "An exporter is running in a private internet with two ISPs: http://{at}/")?;
    writeln!(out)?;
    for isp in Isp::ALL {
        let (source, source6) = (isp.source(Family::V4), isp.source(Family::V6));
        let (hops, rtt) = (topology.path(isp).hops.len(), rtt(isp));
        writeln!(out, "  isp={}  from {source} and {source6}: {hops} hops, {rtt} ms to every target", isp.name())?;
    }
    writeln!(
        out,
        "  B's 40 ms more begin at hop 4. Hop 3 is silent, hop 5 loses 10 % of its answers, hop 6 is two routers."
    )?;
    writeln!(
        out,
        "  Targets: {v4} to .{}, {v6} to ::{}, ports 80, 443, 25 and 7, name servers at 53",
        TARGETS.end(),
        TARGETS.end()
    )?;
    writeln!(out)?;
    writeln!(out, "Open:")?;
    let probe = |module: &str, target: &str, isp: Isp| {
        format!("http://{at}/probe?module={module}&target={target}&isp={}", isp.name())
    };
    writeln!(out, "  http://{at}/config")?;
    for isp in Isp::ALL {
        writeln!(out, "  {}&debug=true", probe("http_2xx", &format!("http://{v4}/"), isp))?;
    }
    writeln!(out)?;
    writeln!(out, "Try:")?;
    for (module, target) in [
        ("https", format!("https://{v4}/redirect/2")),
        ("tcp_half_open", format!("{v4}:25")),
        ("icmp", v6.to_string()),
        ("traceroute", v4.to_string()),
    ] {
        for isp in Isp::ALL {
            writeln!(out, "  curl -s '{}'", probe(module, &target, isp))?;
        }
    }
    writeln!(out, "  curl -s '{}&format=json'", probe("traceroute_tcp", &v6.to_string(), Isp::B))?;
    writeln!(out)?;
    writeln!(out, "{whoever}")?;
    let (program, file) = (program.display(), configuration.display());
    writeln!(out, "  {enter} '{program}' probe --config.file='{file}' --module=traceroute --isp=b {v4}")?;
    writeln!(out)?;
    writeln!(
        out,
        "The configuration is {}. Change it, then: curl -X POST http://{at}/-/reload",
        configuration.display()
    )?;
    writeln!(out, "Ctrl-C ends it all.")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_both_isps_and_quotes_what_needs_it() {
        let text = configuration(Path::new("/tmp/a \"b\"/ca.pem"));
        let b = "  b: {source_ip: 10.2.0.2, source_ip6: \"fd00:b::2\", interface: ispb, fwmark: 102, \
            networks: [100.64.2.0/24, \"fd00:b:1::/48\"]}\n";
        assert!(text.contains(b), "{text}");
        assert!(text.contains("tls_config: {ca_file: \"/tmp/a \\\"b\\\"/ca.pem\"}"), "{text}");
    }

    #[test]
    fn an_address_to_open_is_never_unspecified() {
        let open = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(open("[::]:9115"), "127.0.0.1:9115");
        assert_eq!(open("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[test]
    fn the_introduction_has_lines_to_try_for_both_isps() {
        let mut text = Vec::new();
        let (at, file) = ("127.0.0.1:9115".parse().unwrap(), Path::new("/tmp/probes.yml"));
        introduce(&mut text, &Topology::demo(), at, file, &entering(false, "/proc/1/fd/2")).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "  isp=b  from 10.2.0.2 and fd00:b::2: 8 hops, 60 ms to every target\n",
            "  curl -s 'http://127.0.0.1:9115/probe?module=tcp_half_open&target=198.51.100.10:25&isp=a'\n",
            "  curl -s 'http://127.0.0.1:9115/probe?module=icmp&target=2001:db8:100::10&isp=b'\n",
            " probe --config.file='/tmp/probes.yml' --module=traceroute --isp=b 198.51.100.10\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
