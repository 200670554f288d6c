//! What a blackbox_exporter's users find again: `hostname=`, the paths behind a proxy, the names of the exporter's own metrics.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uplink_exporter::server::{Options, Place};

use super::client::Server;

const MODULES: &str = "
modules:
  web: {prober: http}
  own: {prober: http, http: {headers: {Host: A.example:81}}}
  tls: {prober: tcp, timeout: 1s, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}
  named: {prober: tcp, timeout: 1s, tcp: {tls: true, tls_config: {server_name: own.example, insecure_skip_verify: true}}}
  https: {prober: http, timeout: 1s, http: {tls_config: {insecure_skip_verify: true}}}
  plain: {prober: tcp}
  half: {prober: tcp, tcp: {half_open: true}}
  ping: {prober: icmp}
";

/// What a server hears first of one client, to whom it says that all is well.
async fn hears() -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 4096];
        let length = client.read(&mut heard).await.unwrap();
        heard.truncate(length);
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        heard
    });
    (address, heard)
}

fn contains(heard: &[u8], words: &str) -> bool {
    heard.windows(words.len()).any(|window| window == words.as_bytes())
}

#[tokio::test]
async fn a_hostname_is_said_in_http_and_in_tls() {
    let server = Server::start(MODULES).await;
    let cases = [
        ("web", "http", "a.example:8080", "Host: a.example:8080\r\n", ""),
        ("web", "http", "%E4%BE%8B%E3%81%88.jp", "Host: xn--r8jz45g.jp\r\n", ""),
        // Equal ones do not contradict.
        ("own", "http", "a.example:81", "Host: A.example:81\r\n", ""),
        ("https", "https", "a.example:81", "a.example", "a.example:81"),
        ("tls", "", "a.example", "a.example", ""),
        ("named", "", "a.example", "own.example", "a.example"),
    ];
    for (module, scheme, hostname, said, unsaid) in cases {
        let (address, heard) = hears().await;
        let target = if scheme.is_empty() { address.to_string() } else { format!("{scheme}://{address}/") };
        let path = format!("/probe?module={module}&target={target}&hostname={hostname}&debug=true");
        let reply = server.fetch("GET", &path, &[]).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let heard = heard.await.unwrap();
        assert!(contains(&heard, said), "{path}: {}", String::from_utf8_lossy(&heard));
        assert!(unsaid.is_empty() || !contains(&heard, unsaid), "{path}: {}", String::from_utf8_lossy(&heard));
        let told = reply.text().contains(&format!(" by module \"{module}\" as "));
        assert_eq!(told, module != "named", "{}", reply.text());
    }
}

#[tokio::test]
async fn a_hostname_is_ignored_where_nobody_could_be_asked_by_it() {
    let server = Server::start(MODULES).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for (module, target) in [("ping", "127.0.0.1"), ("plain", &address.to_string()), ("half", &address.to_string())] {
        for hostname in ["a.example", "a b/c", ""] {
            let hostname = hostname.replace(' ', "%20");
            let path = format!("/probe?module={module}&target={target}&hostname={hostname}&format=json");
            let reply = server.fetch("GET", &path, &[]).await;
            assert!(reply.status == 200 && !reply.text().contains("hostname"), "{path}: {}", reply.text());
        }
    }
    let (address, heard) = hears().await;
    let reply = server.fetch("GET", &format!("/probe?module=web&target={address}&hostname="), &[]).await;
    assert!(reply.text().contains("probe_success 1\n"), "{}", reply.text());
    assert!(contains(&heard.await.unwrap(), &format!("Host: {address}\r\n")));
}

#[tokio::test]
async fn a_hostname_that_contradicts_or_is_none_is_refused() {
    let server = Server::start(MODULES).await;
    let cases = [
        (
            "module=own&target=x&hostname=b.example",
            "host header defined both in module configuration (A.example:81) and with URL-parameter 'hostname' (b.example)",
        ),
        (
            "module=web&target=x&hostname=a%20b",
            "hostname is a host, or a host and a port (example.org, example.org:8080), not \"a b\"",
        ),
        (
            "module=tls&target=x:1&hostname=a.example:443",
            "hostname is the name or the address of a host, for TLS, not \"a.example:443\"",
        ),
    ];
    for (query, sentence) in cases {
        let reply = server.fetch("GET", &format!("/probe?{query}"), &[]).await;
        assert_eq!((reply.status, reply.text()), (400, format!("{sentence}\n")), "{query}");
    }
    let metrics = server.metrics().await;
    assert!(metrics.contains("uplink_exporter_requests_rejected_total{cause=\"bad_hostname\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn behind_a_prefix_everything_is_there_and_the_root_leads_to_it() {
    let place = Place::new("https://example.org/up/link/", "").unwrap();
    let server = Server::start_with(MODULES, Options { place, ..Options::default() }).await;
    let root = server.fetch("GET", "/", &[]).await;
    assert_eq!((root.status, root.header("location")), (302, Some("https://example.org/up/link/")));
    let bare = server.fetch("GET", "/up/link", &[]).await;
    assert_eq!((bare.status, bare.header("location")), (301, Some("link/")));
    for path in
        ["/", "/metrics", "/config", "/-/healthy", "/-/ready", "/probe?module=plain&target=127.0.0.1:1", "/logs?id=0"]
    {
        let reply = server.fetch("GET", &format!("/up/link{path}"), &[]).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        if path != "/" {
            let reply = server.fetch("GET", path, &[]).await;
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (404, "there is nothing here; /up/link/ lists what there is\n")
            );
        }
    }
    assert_eq!(server.fetch("POST", "/up/link/-/reload", &[]).await.status, 200);
}

#[tokio::test]
async fn the_landing_pages_links_hold_behind_any_proxy() {
    let server = Server::start(MODULES).await;
    server.fetch("GET", "/probe?module=plain&target=127.0.0.1:1", &[]).await;
    let page = server.fetch("GET", "/", &[]).await.text();
    let links: Vec<_> = [" href=\"", " action=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()))
        .collect();
    assert_eq!(links, ["metrics", "config", "-/healthy", "-/ready", "logs?id=0", "probe"]);
}

#[tokio::test]
async fn the_exporter_is_known_by_blackbox_exporters_names_too() {
    let server = Server::start(MODULES).await;
    server.fetch("GET", "/probe?target=x&module=nobody", &[]).await;
    server.write("modules: 5");
    server.fetch("POST", "/-/reload", &[]).await;
    let metrics = server.metrics().await;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse::<f64>().unwrap()
    };
    assert_eq!(value("blackbox_module_unknown_total"), 1.0);
    assert_eq!(value("blackbox_exporter_config_last_reload_successful"), 0.0);
    let loaded = value("blackbox_exporter_config_last_reload_success_timestamp_seconds");
    assert_eq!(loaded, value("uplink_exporter_config_last_reload_success_timestamp_seconds"));
    assert!(value("process_start_time_seconds") <= loaded + 2.0, "{metrics}");
    assert!(value("process_cpu_seconds_total") >= 0.0 && value("process_open_fds") > 3.0, "{metrics}");
    assert!(value("process_resident_memory_bytes") > 1e6, "{metrics}");
    // These requests alone are some hundred bytes each way.
    assert!(value("process_network_receive_bytes_total") > 400.0, "{metrics}");
    assert!(value("process_network_transmit_bytes_total") > 400.0, "{metrics}");
    for line in ["# TYPE process_cpu_seconds_total counter\n", "# TYPE blackbox_module_unknown_total counter\n"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
