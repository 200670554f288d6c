//! The servers that both exporters probe, in a network namespace of the test's own, so that ports and addresses can be named.

#[path = "servers/certificates.rs"]
mod certificates;
#[path = "servers/conversations.rs"]
mod conversations;
#[path = "servers/quic.rs"]
mod quic;
#[path = "servers/web.rs"]
mod web;
#[path = "servers/websocket.rs"]
mod websocket;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};

use crate::support::dns::{NameServer, Sockets, server_config};
use crate::support::health::{serve_health, serve_health_to};
use crate::support::proxy::{end_tls, proxy, socks};
use crate::support::tls::{Authority, Pair};
use crate::support::{Running, serve, until};
use conversations::{echo, hear, mail, say, serve_sockets};
use quic::serve_http3;
use web::web;

/// Names, beside those that the name server has. It answers to all others, as their first label says.
pub(crate) const HOSTS: &str = "127.0.0.1 localhost v4.test both.test other.test\n192.0.2.10 far.test\n127.0.0.2 two.test\n127.0.0.3 two.test\n::1 v6.test both.test\n";

/// A route that says that there is none, and one on which nobody answers.
pub(crate) const ROUTES: &str = "ip link set lo up && ip route add unreachable 203.0.113.0/24 && ip route add 198.51.100.0/24 dev lo \
                                 && ip -6 route add unreachable 2001:db8::/32 && ip addr add 192.0.2.10/32 dev lo \
                                 && ip addr add fe80::1/64 dev lo nodad";

/// The programs; the servers of the test's own are threads, and end with it.
pub(crate) struct Servers {
    _programs: Vec<Running>,
}

impl Servers {
    /// Starts them, with their certificates in `folder`.
    pub(crate) fn start(folder: &Path, nginx: &Path, openssl: &Path) -> Self {
        let good = write_certificates(folder, openssl);
        let key = Command::new(openssl).args(["genrsa", "2048"]).output().unwrap();
        fs::write(folder.join("rsa.key"), key.stdout).unwrap();
        let of_openssl =
            [(9443, "good", "-tls1_3"), (9444, "good", "-tls1_1")].into_iter().chain(certificates::OPENSSL);
        let ports = [80, 443, 50051].into_iter().chain(of_openssl.clone().map(|(port, ..)| port));
        let of_openssl =
            of_openssl.map(|(port, certificate, arguments)| s_server(folder, openssl, port, certificate, arguments));
        let programs = of_openssl.chain([start_nginx(folder, nginx)]).collect();
        let tls = server_config(good.cert.as_bytes(), good.key.as_bytes());
        for ip in
            [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]
        {
            NameServer::start(Sockets::bind(ip, [53, 853, 8053]), tls.clone());
        }
        serve_health((Ipv6Addr::UNSPECIFIED, 50051).into());
        serve_health_to((Ipv6Addr::UNSPECIFIED, 50052).into(), |metadata| metadata.contains_key("x-token"));
        serve(8080, web);
        serve(3128, proxy);
        end_tls(3129, 3128, tls.clone());
        end_tls(9446, 8080, tls.clone());
        serve(1080, |client| socks(client, false));
        serve(1081, |client| socks(client, true));
        let tls = Arc::new(tls);
        serve_sockets(folder, &tls);
        serve(25, move |stream| mail(stream, &tls));
        serve(7, echo);
        serve(7000, |stream| say(stream, b"SSH-2.0-OpenSSH_9.2\r\n"));
        serve(7001, hear);
        serve(7002, drop);
        serve(7003, |stream| say(stream, &[b'a'; 70_000]));
        serve(7004, |stream| say(stream, b"first\r\nsecond\n\nlast\n"));
        serve(7005, |stream| say(stream, b"half"));
        serve(7006, |stream| say(stream, b"\x00\x01\xff\xfe"));
        serve_http3(folder, "good", 8443);
        serve_http3(folder, "expired", 8444);
        until("all serve", || ports.clone().all(|port| TcpStream::connect(("127.0.0.1", port)).is_ok()));
        Self { _programs: programs }
    }
}

/// Writes the certificates of the servers and of a client; returns one that is good.
fn write_certificates(folder: &Path, openssl: &Path) -> Pair {
    let (authority, usage) = (Authority::new("parity, \"the\" authority"), ExtendedKeyUsagePurpose::ServerAuth);
    let names =
        |names: &[&str]| names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect::<Vec<_>>();
    let mut sans = names(&["localhost", "v4.test", "both.test", "*.other.test"]);
    sans.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(SanType::IpAddress));
    let good = authority.sign("Parity, Inc", sans.clone(), usage.clone(), 2100);
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    good.write(folder, "good");
    let many: Vec<_> = (0..100).map(|number| format!("host{number:03}.customer.test")).collect();
    let many = sans.iter().cloned().chain(names(&many.iter().map(String::as_str).collect::<Vec<_>>())).collect();
    authority.sign("many", many, usage.clone(), 2100).write(folder, "many");
    authority.sign("expired", sans.clone(), usage.clone(), 2001).write(folder, "expired");
    authority.sign("wrong", names(&["wrong.test"]), usage, 2080).write(folder, "wrong");
    authority.client("client", Vec::new()).write(folder, "client");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = sans;
    let cert = params.self_signed(&key).unwrap();
    Pair { cert: cert.pem(), key: key.serialize_pem() }.write(folder, "self");
    certificates::write(folder, openssl, &authority);
    fs::write(folder.join("user"), "me\n").unwrap();
    fs::write(folder.join("secret"), "secret").unwrap();
    fs::write(folder.join("token"), "token").unwrap();
    good
}

fn start_nginx(folder: &Path, nginx: &Path) -> Running {
    let path = folder.display();
    let server = |port: u16, certificate: &str, more: &str| {
        format!(
            "server {{ listen {port} ssl http2; listen [::]:{port} ssl http2; ssl_certificate {certificate}.pem;
             ssl_certificate_key {certificate}.key; {more} root {path}/www; }}\n"
        )
    };
    let of_companies: String =
        certificates::NGINX.iter().map(|(port, certificate, more)| server(*port, certificate, more)).collect();
    let places = "
      location /host { return 200 $http_host; }
      location /missing { return 404 'missing'; }
      location /broken { return 500; }
      location /busy { return 429; }
      location /nothing { return 204; }
      location /moved { return 302 /; }
      location /keep_alive { add_header Keep-Alive timeout=5; return 200 well; }
      location /upgrade { add_header Upgrade h2; return 200 well; }
      location /trailer { add_header Trailer X; return 200 well; }
      location /circle { return 302 /circle; }
      location /page { gzip on; gzip_types text/plain; gzip_min_length 1; gzip_http_version 1.0; }\n";
    let text = format!(
        "daemon off; master_process off; user root; pid {path}/nginx.pid; error_log {path}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;
  uwsgi_temp_path {path}/u; scgi_temp_path {path}/s; default_type text/plain;
  server {{ listen 80; listen [::]:80; root {path}/www; {places} }}
  {}{}{}{}{}{}{}{}{}{of_companies}
}}
",
        server(443, "good", places),
        server(444, "self", ""),
        server(445, "expired", ""),
        server(446, "good", "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;"),
        server(447, "wrong", ""),
        server(450, "many", ""),
        server(449, "good", "location /grpc.health.v1.Health/ { grpc_pass grpc://127.0.0.1:50051; }"),
        server(9445, "good", "location / { proxy_pass http://127.0.0.1:8080; }"),
        server(448, "good", &format!("ssl_verify_client on; ssl_client_certificate {path}/ca.pem;")),
    );
    fs::create_dir(folder.join("www")).unwrap();
    fs::write(folder.join("www/index.html"), "well, well\n").unwrap();
    fs::write(folder.join("www/page"), "well, well, well\n").unwrap();
    fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// A server of OpenSSL with a certificate, that speaks as the arguments say.
fn s_server(folder: &Path, openssl: &Path, port: u16, certificate: &str, arguments: &str) -> Running {
    let mut command = Command::new(openssl);
    command.args(["s_server", "-WWW", "-quiet", "-cipher", "DEFAULT@SECLEVEL=0", "-accept", &port.to_string()]);
    command.args(["-cert", &format!("{certificate}.pem"), "-key", &format!("{certificate}.key")]);
    command.args(arguments.split(' ')).current_dir(folder);
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}
