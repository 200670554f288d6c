//! The servers that both exporters probe, in a network namespace of the test's own, so that ports and addresses can be named.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::{ServerConnection, StreamOwned};

use crate::support::dns::{NameServer, Sockets, server_config};
use crate::support::health::serve_health;
use crate::support::tls::{Authority, Pair};
use crate::support::{Running, until};

/// Names, beside those that the name server has. It answers to all others, as their first label says.
pub(crate) const HOSTS: &str = "127.0.0.1 localhost v4.test both.test other.test\n::1 v6.test both.test\n";

/// A route that says that there is none, and one on which nobody answers.
pub(crate) const ROUTES: &str = "ip link set lo up && ip route add unreachable 203.0.113.0/24 && ip route add 198.51.100.0/24 dev lo \
                                 && ip -6 route add unreachable 2001:db8::/32";

/// The programs; the servers of the test's own are threads, and end with it.
pub(crate) struct Servers {
    _programs: [Running; 3],
}

impl Servers {
    /// Starts them, with their certificates in `folder`.
    pub(crate) fn start(folder: &Path, nginx: &Path, openssl: &Path) -> Self {
        let good = write_certificates(folder);
        let programs = [
            start_nginx(folder, nginx),
            s_server(folder, openssl, 9443, "-tls1_3"),
            s_server(folder, openssl, 9444, "-tls1_1"),
        ];
        let tls = server_config(good.cert.as_bytes(), good.key.as_bytes());
        for ip in
            [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]
        {
            NameServer::start(Sockets::bind(ip, [53, 853, 8053]), tls.clone());
        }
        serve_health((Ipv6Addr::UNSPECIFIED, 50051).into());
        serve(8080, web);
        serve(3128, proxy);
        let tls = Arc::new(tls);
        serve(25, move |stream| mail(stream, &tls));
        serve(7, echo);
        serve(7000, |stream| say(stream, b"SSH-2.0-OpenSSH_9.2\r\n"));
        serve(7001, |mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
        serve(7002, |_| Ok(()));
        serve(7003, |stream| say(stream, &[b'a'; 70_000]));
        serve(7004, |stream| say(stream, b"first\r\nsecond\n\nlast\n"));
        serve(7005, |stream| say(stream, b"half"));
        until("all serve", || {
            [80, 443, 9443, 9444, 50051].into_iter().all(|port| TcpStream::connect(("127.0.0.1", port)).is_ok())
        });
        Self { _programs: programs }
    }
}

/// Writes the certificates of the servers and of a client; returns one that is good.
fn write_certificates(folder: &Path) -> Pair {
    let (authority, usage) = (Authority::new("parity, \"the\" authority"), ExtendedKeyUsagePurpose::ServerAuth);
    let names =
        |names: &[&str]| names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect::<Vec<_>>();
    let mut sans = names(&["localhost", "v4.test", "both.test", "*.other.test"]);
    sans.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(SanType::IpAddress));
    let good = authority.sign("Parity, Inc", sans.clone(), usage.clone(), 2100);
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    good.write(folder, "good");
    authority.sign("expired", sans.clone(), usage.clone(), 2001).write(folder, "expired");
    authority.sign("wrong", names(&["wrong.test"]), usage, 2080).write(folder, "wrong");
    authority.client("client", Vec::new()).write(folder, "client");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = sans;
    let cert = params.self_signed(&key).unwrap();
    Pair { cert: cert.pem(), key: key.serialize_pem() }.write(folder, "self");
    fs::write(folder.join("secret"), "secret").unwrap();
    fs::write(folder.join("token"), "token").unwrap();
    good
}

fn start_nginx(folder: &Path, nginx: &Path) -> Running {
    let path = folder.display();
    let server = |port: u16, certificate: &str, more: &str| {
        format!(
            "server {{ listen {port} ssl http2; listen [::]:{port} ssl http2; ssl_certificate {path}/{certificate}.pem;
             ssl_certificate_key {path}/{certificate}.key; {more} root {path}/www; }}\n"
        )
    };
    let places = "
      location /missing { return 404 'missing'; }
      location /broken { return 500; }
      location /busy { return 429; }
      location /nothing { return 204; }
      location /moved { return 302 /; }
      location /circle { return 302 /circle; }
      location /page { gzip on; gzip_types text/plain; gzip_min_length 1; gzip_http_version 1.0; }\n";
    let text = format!(
        "daemon off; master_process off; user root; pid {path}/nginx.pid; error_log {path}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;
  uwsgi_temp_path {path}/u; scgi_temp_path {path}/s; default_type text/plain;
  server {{ listen 80; listen [::]:80; root {path}/www; {places} }}
  {}{}{}{}{}{}{}
}}
",
        server(443, "good", places),
        server(444, "self", ""),
        server(445, "expired", ""),
        server(446, "good", "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;"),
        server(447, "wrong", ""),
        server(449, "good", "location /grpc.health.v1.Health/ { grpc_pass grpc://127.0.0.1:50051; }"),
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

/// A server of OpenSSL that speaks one version of TLS.
fn s_server(folder: &Path, openssl: &Path, port: u16, version: &str) -> Running {
    let mut command = Command::new(openssl);
    command.args([
        "s_server",
        "-WWW",
        "-quiet",
        version,
        "-cipher",
        "DEFAULT@SECLEVEL=0",
        "-accept",
        &port.to_string(),
    ]);
    command.args(["-cert", "good.pem", "-key", "good.key"]).current_dir(folder);
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Treats every connection to a port, over both families, on a thread of its own. What the client thinks of it is its business.
fn serve(port: u16, treat: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    let treat = Arc::new(treat);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = Arc::clone(&treat);
            thread::spawn(move || treat(stream));
        }
    });
}

/// Says something, and that this was all; then waits until the client has gone.
fn say(mut stream: TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut back = stream.try_clone()?;
    std::io::copy(&mut stream, &mut back).map(drop)
}

/// A server of mail that knows STARTTLS, and says AUTH only behind it.
fn mail(mut stream: TcpStream, tls: &Arc<rustls::ServerConfig>) -> std::io::Result<()> {
    stream.write_all(b"220 mail.test ESMTP\r\n")?;
    if commands(&mut stream, "STARTTLS")? {
        let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
        commands(&mut StreamOwned::new(connection, stream), "AUTH PLAIN")?;
    }
    Ok(())
}

/// Answers commands until the client quits, or wants what is offered.
fn commands(stream: &mut (impl Read + Write), offer: &str) -> std::io::Result<bool> {
    // Byte by byte, since what follows the last line is not ours to read.
    let mut line = String::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(false);
        }
        if byte != *b"\n" {
            line.push(byte[0].into());
            continue;
        }
        let command = std::mem::take(&mut line);
        match command.trim_end() {
            "STARTTLS" => {
                stream.write_all(b"220 ready\r\n")?;
                return Ok(true);
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n").map(|()| false),
            command if command.starts_with("EHLO") => write!(stream, "250-mail.test\r\n250 {offer}\r\n")?,
            command => write!(stream, "250 {command}\r\n")?,
        }
        stream.flush()?;
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `well` in brotli by hand (RFC 7932, section 9): a window of 16 bits, one uncompressed meta-block of 4 bytes, and the last, empty one.
const BROTLI: &[u8] = b"\x30\x00\x10well\x03";

/// A proxy of which only `me` with the password `secret` may ask something, and strangers are told so.
fn proxy(mut client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let head = read_head(&mut reader)?;
    if !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
        let is_known = head.contains("Proxy-Authorization: ");
        let status = if is_known { "403 Forbidden" } else { "407 Proxy Authentication Required" };
        return write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    }
    let mut beyond = match head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) {
        Some(authority) => {
            let beyond = TcpStream::connect(authority)?;
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            beyond
        }
        None => {
            let mut beyond = TcpStream::connect("127.0.0.1:8080")?;
            beyond.write_all(head.replacen("http://both.test:8080", "", 1).as_bytes())?;
            beyond
        }
    };
    let mut to_beyond = beyond.try_clone()?;
    thread::spawn(move || std::io::copy(&mut reader, &mut to_beyond));
    std::io::copy(&mut beyond, &mut client).map(drop)
}

/// The head of a request; empty where the client went away.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(String::new());
        }
    }
    Ok(head)
}

/// A web server whose paths say what it does.
fn web(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let head = read_head(&mut reader)?;
    if head.is_empty() {
        return Ok(());
    }
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body)?;
    let answer = |status: &str, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let found = |headers: &str, body: &[u8]| answer("200 OK", headers, body);
    let moved = |place: &str| answer("302 Found", &format!("Location: {place}\r\n"), b"moved");
    let with = |authorization: &str| match header("authorization") == Some(authorization) {
        true => found("", b"welcome"),
        false => answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", b"who?"),
    };
    let chunks = |last: &str| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwell,\r\n5\r\n well\r\n{last}").into_bytes()
    };
    let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap();
    let bytes = match path {
        // As long, whatever the client calls itself.
        "/echo" => found("", format!("{:>1024}", format!("\n{head}{}", String::from_utf8_lossy(&body))).as_bytes()),
        "/chunked" if head.starts_with("HEAD") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        "/chunked" => chunks("0\r\n\r\n"),
        "/bad_chunk" => chunks("zz\r\n"),
        "/endless" => b"HTTP/1.1 200 OK\r\n\r\nwell".to_vec(),
        "/hints" => [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", &*found("", b"well")].concat(),
        "/old" => b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nwell".to_vec(),
        "/relative/here" => moved("../twice"),
        "/twice" => moved("/echo"),
        "/elsewhere" => moved("http://other.test:8080/echo"),
        "/to_tls" => moved("https://both.test/"),
        "/to_closed" => moved("http://127.0.0.1:1/"),
        "/to_unknown" => moved("http://rcode3.test/"),
        "/to_ftp" => moved("ftp://127.0.0.1/"),
        "/nowhere" => answer("302 Found", "", b"nowhere"),
        "/moved_302" => moved("/echo"),
        "/moved_307" => answer("307 Temporary Redirect", "Location: /echo\r\n", b""),
        "/cookie" => answer("302 Found", "Location: /echo\r\nSet-Cookie: a=b; Path=/\r\n", b""),
        "/cookie_by_name" => {
            answer("302 Found", "Location: http://both.test:8080/echo\r\nSet-Cookie: a=b; Path=/\r\n", b"")
        }
        "/to_ipv6" => moved("http://[::1]:8080/echo"),
        "/many" => found("X-Many: one\r\nX-Many: two\r\n", b"well"),
        "/kilobyte" => found("", &[b'.'; 1024]),
        "/gzip" => found("Content-Encoding: gzip\r\n", &gzip(b"well")),
        "/brotli" => found("Content-Encoding: br\r\n", BROTLI),
        "/deflate" => found("Content-Encoding: deflate\r\n", &deflate(b"well")),
        "/half_gzip" => found("Content-Encoding: gzip\r\n", &gzip(&[b'.'; 1024])[..20]),
        "/bomb" => found("Content-Encoding: gzip\r\n", &gzip(&vec![b'.'; 4 << 20])),
        "/basic" => with("Basic bWU6c2VjcmV0"),
        "/bearer" => with("Bearer token"),
        "/dated" => found("Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n", b"well"),
        "/undated" => found("Last-Modified: yesterday\r\n", b"well"),
        "/silent" => return reader.read_to_end(&mut Vec::new()).map(drop),
        "/stops" => {
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwell")?;
            return reader.read_to_end(&mut Vec::new()).map(drop);
        }
        "/empty" => Vec::new(),
        "/garbage" => b"garbage\r\n\r\n".to_vec(),
        "/half" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwell".to_vec(),
        _ => answer("404 Not Found", "", b"no such thing"),
    };
    (&stream).write_all(&bytes)
}
