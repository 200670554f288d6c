//! The exporter behind a web configuration: TLS, client certificates, users, limits; driven by curl and openssl over real sockets.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "the client of these tests is no probe")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::SanType;
use support::tls::{Authority, Pair};
use support::{Exporter, Running, free_port, program, until, value};

const PROBES: &str = "modules:
  banner: {prober: tcp, timeout: 20s, tcp: {query_response: [{expect: ready}]}}
";

/// An exporter with a web configuration, in which `SERVER` stands for its certificate.
struct Secured {
    exporter: Exporter,
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Secured {
    /// Starts it, and makes the files that its web configuration names.
    fn start(web: &str) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("the authority"));
        authority.server("first").write(folder.path(), "server");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let file = folder.path().join("web.yml");
        std::fs::write(&file, filled(web)).unwrap();
        let exporter = Exporter::start_by(PROBES, |command| {
            command.arg(format!("--web.config.file={}", file.display())).stderr(log(&folder)).spawn().unwrap()
        });
        exporter.wait();
        Self { exporter, folder, authority }
    }

    fn write(&self, web: &str) {
        std::fs::write(self.folder.path().join("web.yml"), filled(web)).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.exporter.address.port())
    }

    /// What curl says of a page: the status, and the version of HTTP; or its exit code.
    fn curl(&self, arguments: &[&str], path: &str) -> Result<(String, String), i32> {
        let output =
            self.curl_raw(&[&["-o", "/dev/null", "-w", "%{http_code} %{http_version}"], arguments].concat(), path);
        let said = String::from_utf8(output.stdout).unwrap();
        let (status, version) = said.split_once(' ').unwrap();
        if output.status.success() {
            Ok((status.to_owned(), version.to_owned()))
        } else {
            Err(output.status.code().unwrap())
        }
    }

    /// The status alone; empty where there is none.
    fn status(&self, arguments: &[&str], path: &str) -> String {
        self.curl(arguments, path).map(|(status, _)| status).unwrap_or_default()
    }

    fn curl_raw(&self, arguments: &[&str], path: &str) -> Output {
        let scheme = if arguments.contains(&"plain") { "http" } else { "https" };
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*", "--max-time", "20", "--cacert"]).arg(self.folder.path().join("ca.pem"));
        command.args(arguments.iter().filter(|argument| **argument != "plain")).arg(self.url(scheme, path));
        command.current_dir(self.folder.path()).output().unwrap()
    }

    /// What `openssl s_client` prints of a connection on which nothing is said.
    fn s_client(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.exporter.address.to_string(), "-CAfile", "ca.pem"])
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn log(folder: &tempfile::TempDir) -> std::fs::File {
    std::fs::File::create(folder.path().join("log")).unwrap()
}

fn filled(web: &str) -> String {
    web.replace("SERVER", "cert_file: server.pem, key_file: server.key").replace("HASH", HASH)
}

/// Of `fakepassword`.
const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

fn tools() -> bool {
    program("curl").is_some() && program("openssl").is_some()
}

fn ok(version: &str) -> Result<(String, String), i32> {
    Ok(("200".to_owned(), version.to_owned()))
}

#[test]
fn http2_and_http1_are_spoken_over_tls_and_http1_alone_where_that_is_wanted() {
    if !tools() {
        return;
    }
    let both = Secured::start("tls_server_config: {SERVER}");
    assert_eq!(both.curl(&[], "/metrics"), ok("2"));
    assert_eq!(both.curl(&["--http1.1"], "/metrics"), ok("1.1"));
    assert_eq!(both.curl(&["--no-alpn"], "/metrics"), ok("1.1"));
    assert_eq!(both.curl(&["-I"], "/metrics"), ok("2"));
    assert!(both.s_client(&["-alpn", "h2,http/1.1"]).contains("ALPN protocol: h2"));
    assert!(both.s_client(&["-alpn", "http/1.1,h2"]).contains("ALPN protocol: h2"));
    let one = Secured::start("tls_server_config: {SERVER}\nhttp_server_config: {http2: false}");
    assert_eq!(one.curl(&[], "/metrics"), ok("1.1"));
    assert!(one.s_client(&["-alpn", "h2,http/1.1"]).contains("ALPN protocol: http/1.1"));
}

#[test]
fn versions_suites_and_groups_are_those_that_were_chosen() {
    if !tools() {
        return;
    }
    let agreed = |secured: &Secured, arguments: &[&str]| {
        let said = secured.s_client(arguments);
        // "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384", or "(NONE)" twice.
        let line = said.lines().find(|line| line.starts_with("New, ")).unwrap().to_owned();
        (line, said)
    };
    let any = Secured::start("tls_server_config: {SERVER}");
    assert!(agreed(&any, &["-tls1_2"]).0.contains("TLSv1.2"));
    assert!(agreed(&any, &["-tls1_3"]).0.contains("TLSv1.3"));
    assert!(agreed(&any, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).0.contains("(NONE)"));
    let new = Secured::start("tls_server_config: {SERVER, min_version: TLS13, curve_preferences: [CurveP384]}");
    assert!(agreed(&new, &["-tls1_2"]).0.contains("(NONE)"));
    assert!(agreed(&new, &["-tls1_3"]).1.contains("Server Temp Key: ECDH, secp384r1"));
    assert!(agreed(&new, &["-tls1_3", "-groups", "X25519"]).0.contains("(NONE)"));
    let strong = Secured::start("tls_server_config: {SERVER, curve_preferences: [CurveP521]}");
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(agreed(&strong, &[version]).1.contains("Server Temp Key: ECDH, secp521r1"));
    }
    let old = "tls_server_config: {SERVER, max_version: TLS12, cipher_suites: \
        [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]";
    let both = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305";
    for (preferred, suite) in [("", "CHACHA20"), (", prefer_server_cipher_suites: false", "AES128")] {
        let old = Secured::start(&format!("{old}{preferred}}}"));
        assert!(agreed(&old, &["-tls1_3"]).0.contains("(NONE)"));
        assert!(agreed(&old, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]).0.contains("(NONE)"));
        let found = agreed(&old, &["-tls1_2", "-cipher", both]).0;
        assert!(found.contains(suite), "{found} {preferred}");
    }
}

#[test]
fn plain_http_on_a_port_of_tls_is_told_so() {
    if !tools() {
        return;
    }
    let secured = Secured::start("tls_server_config: {SERVER}\nbasic_auth_users: {ann: HASH}");
    let output = secured.curl_raw(&["plain", "-i"], "/metrics");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("connection: close\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\nthis port speaks HTTPS, and the request is plain HTTP\n"), "{said}");
    // And what is neither ends at once.
    let mut stream = TcpStream::connect(secured.exporter.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"\0\0\0\0\0\0\0\0").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest.first(), Some(&21), "an alert: {rest:?}");
}

#[test]
fn who_has_the_right_certificate_comes_in() {
    if !tools() {
        return;
    }
    let secured = Secured::start("tls_server_config: {SERVER}");
    let folder = secured.folder.path();
    let stranger = Authority::new("somebody else");
    let write = |pair: &Pair, name: &str| pair.write(folder, name);
    write(&secured.authority.client("good", Vec::new()), "good");
    write(&secured.authority.expired_client("expired"), "expired");
    write(&secured.authority.server("a server"), "server_only");
    write(&stranger.client("foreign", Vec::new()), "foreign");
    // Without extensions, which is version 1 as OpenSSL makes it by this.
    std::fs::write(folder.join("ca.key"), secured.authority.key()).unwrap();
    for arguments in [
        "req -newkey rsa:2048 -nodes -keyout old.key -out old.csr -subj /CN=prometheus",
        "x509 -req -in old.csr -CA ca.pem -CAkey ca.key -set_serial 1 -days 9 -out old.pem",
    ] {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Self-signed, and itself named as an authority.
    write(&Pair { cert: stranger.pem(), key: stranger.key() }, "itself");
    std::fs::write(folder.join("both.pem"), secured.authority.pem() + &stranger.pem()).unwrap();
    drop(secured.exporter);
    let clients = ["", "good", "old", "itself", "expired", "server_only", "foreign"];
    for (auth, ca, admitted) in [
        ("NoClientCert", "", "good old itself expired server_only foreign none"),
        ("RequestClientCert", "ca.pem", "good old itself expired server_only foreign none"),
        ("RequireAnyClientCert", "", "good old itself expired server_only foreign"),
        ("RequireClientCert", "ca.pem", "good old itself expired server_only foreign"),
        ("VerifyClientCertIfGiven", "ca.pem", "good old none"),
        ("RequireAndVerifyClientCert", "ca.pem", "good old"),
        ("RequireAndVerifyClientCert", "both.pem", "good old itself foreign"),
        ("RequireAndVerifyClientCert", "", ""),
    ] {
        let ca = if ca.is_empty() { String::new() } else { format!(", client_ca_file: {ca}") };
        std::fs::write(
            folder.join("web.yml"),
            filled(&format!("tls_server_config: {{SERVER, client_auth_type: {auth}{ca}}}")),
        )
        .unwrap();
        let exporter = Exporter::start_by(PROBES, |command| {
            command
                .arg(format!("--web.config.file={}", folder.join("web.yml").display()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        exporter.wait();
        for client in clients {
            for version in ["1.2", "1.3"] {
                let mut command = Command::new("curl");
                command.args(["-sS", "--noproxy", "*", "--cacert", "ca.pem", "--tls-max", version, "-o", "/dev/null"]);
                if !client.is_empty() {
                    command.args(["--cert", &format!("{client}.pem"), "--key", &format!("{client}.key")]);
                }
                command.arg(format!("https://localhost:{}/-/healthy", exporter.address.port())).current_dir(folder);
                let output = command.output().unwrap();
                let name = if client.is_empty() { "none" } else { client };
                let expected = admitted.split(' ').any(|admitted| admitted == name);
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.success(), expected, "{auth}{ca} {name} TLS {version}: {said}");
            }
        }
    }
}

#[test]
fn a_certificate_of_a_client_must_have_one_of_the_names() {
    if !tools() {
        return;
    }
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let secured = Secured::start(
        "tls_server_config: {SERVER, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, \
         client_allowed_sans: [scraper.example, ops@example.org, 192.0.2.7, '2001:db8::7', 'spiffe://example.org/prometheus']}",
    );
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let cases = [
        (vec![dns("scraper.example")], true),
        (vec![dns("other.example"), dns("scraper.example")], true),
        (vec![SanType::Rfc822Name("ops@example.org".try_into().unwrap())], true),
        (vec![SanType::IpAddress([192, 0, 2, 7].into())], true),
        (vec![SanType::IpAddress("2001:db8::7".parse().unwrap())], true),
        (vec![uri("spiffe://example.org/prometheus")], true),
        (vec![], false),
        (vec![dns("Scraper.example")], false),
        (vec![dns("a.scraper.example")], false),
        (vec![SanType::IpAddress([192, 0, 2, 8].into())], false),
        (vec![uri("spiffe://example.org/prometheus2")], false),
        (vec![dns("192.0.2.70")], false),
    ];
    for (n, (sans, admitted)) in cases.into_iter().enumerate() {
        let told = format!("{sans:?}");
        secured.authority.client("client", sans).write(secured.folder.path(), &format!("client{n}"));
        let [cert, key] = ["pem", "key"].map(|end| format!("client{n}.{end}"));
        let status = secured.status(&["--cert", &cert, "--key", &key], "/-/healthy");
        assert_eq!(status, if admitted { "200" } else { "" }, "{told}");
    }
    assert_eq!(secured.status(&[], "/-/healthy"), "", "no certificate has no name");
    // A session that is resumed would come in by a certificate that nobody looks at again.
    let again = |secured: &Secured, arguments: &[&str]| {
        let said = secured.s_client(&[&["-tls1_2", "-reconnect"], arguments].concat());
        said.lines().filter(|line| line.starts_with("Reused, ")).count()
    };
    assert_eq!(again(&secured, &["-cert", "client0.pem", "-key", "client0.key"]), 0);
    assert!(again(&Secured::start("tls_server_config: {SERVER}"), &[]) > 0);
}

#[test]
fn what_changes_holds_without_a_restart_and_what_is_wrong_does_not() {
    if !tools() {
        return;
    }
    let web = "tls_server_config: {SERVER}\nbasic_auth_users: {ann: HASH}";
    let secured = Secured::start(web);
    let ann = ["-u", "ann:fakepassword"];
    let subject = || secured.s_client(&[]).lines().find(|line| line.starts_with("subject=")).unwrap().to_owned();
    let in_force = || {
        let output = secured.curl_raw(&ann, "/metrics");
        value(std::str::from_utf8(&output.stdout).unwrap(), "uplink_exporter_web_config_last_reload_successful")
    };
    assert_eq!((subject().as_str(), in_force()), ("subject=CN = first", Some(1.0)));

    // A certificate is renewed: first its file, and then its key's.
    let second = secured.authority.server("second");
    std::fs::write(secured.folder.path().join("server.pem"), &second.cert).unwrap();
    until("the half is seen", || in_force() == Some(0.0));
    assert_eq!(subject(), "subject=CN = first");
    assert!(
        secured.log().contains("server.key") || secured.log().contains("key_file: is not the certificate's"),
        "{}",
        secured.log()
    );
    std::fs::write(secured.folder.path().join("server.key"), &second.key).unwrap();
    until("the whole is seen", || subject() == "subject=CN = second");
    until("it is told", || in_force() == Some(1.0));

    // Users and headers.
    secured.write(&format!("{web}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}").replace("ann", "bob"));
    until("ann is gone", || secured.status(&ann, "/metrics") == "401");
    assert_eq!(secured.status(&["-u", "bob:fakepassword"], "/metrics"), "200");
    assert!(String::from_utf8_lossy(&secured.curl_raw(&["-I"], "/").stdout).contains("x-frame-options: deny"));

    // Nonsense, and no file at all.
    for broken in ["basic_auth_users: {ann: s3cret}", "\0"] {
        secured.write(broken);
        until("it is told", || {
            secured.log().matches("the web configuration in force stays").count() >= 1 && {
                secured.status(&["-u", "bob:fakepassword"], "/metrics") == "200"
            }
        });
    }
    std::fs::remove_file(secured.folder.path().join("web.yml")).unwrap();
    until("it is missed", || {
        assert_eq!(secured.status(&["-u", "bob:fakepassword"], "/metrics"), "200");
        secured.log().contains("web.yml: cannot be read")
    });
    // Plain text again.
    secured.write("");
    until("TLS is over", || secured.status(&["plain"], "/metrics") == "200");
    assert!(!secured.log().contains("s3cret") && !secured.log().contains("$2y$"), "{}", secured.log());
}

#[test]
fn only_users_get_an_answer_from_any_page() {
    if !tools() {
        return;
    }
    let web = "basic_auth_users: {ann: HASH}\nhttp_server_config: {headers: {X-Content-Type-Options: nosniff}}";
    let secured = Secured::start(web);
    for path in ["/", "/metrics", "/probe?target=x", "/-/healthy", "/-/ready", "/config", "/nothing"] {
        let output = secured.curl_raw(&["plain", "-i"], path);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("HTTP/1.1 401 "), "{path}: {said}");
        assert!(
            said.contains("www-authenticate: Basic\r\n") && said.contains("x-content-type-options: nosniff\r\n"),
            "{said}"
        );
        assert_eq!(secured.status(&["plain", "-u", "ann:wrong"], path), "401", "{path}");
        assert_eq!(secured.status(&["plain", "-u", "eve:fakepassword"], path), "401", "{path}");
        let admitted = secured.status(&["plain", "-u", "ann:fakepassword"], path);
        let expected = match path {
            "/nothing" => "404",
            "/probe?target=x" => "400",
            _ => "200",
        };
        assert_eq!(admitted, expected, "{path}");
    }
    assert_eq!(secured.status(&["plain", "-X", "POST"], "/-/reload"), "401");
    assert_eq!(secured.status(&["plain", "-X", "POST", "-u", "ann:fakepassword"], "/-/reload"), "200");
}

#[test]
fn what_was_right_once_is_known_again_and_unknown_names_take_as_long_as_others() {
    if !tools() {
        return;
    }
    // So dear that the time shows what was done.
    let hash = bcrypt::hash_with_result("right", 11).unwrap().to_string();
    let secured = Secured::start(&format!("basic_auth_users: {{ann: '{hash}'}}"));
    let took = |user: &str| {
        let begun = Instant::now();
        secured.status(&["plain", "-u", user], "/-/healthy");
        begun.elapsed()
    };
    let first = took("ann:right");
    let again = (0..3).map(|_| took("ann:right")).min().unwrap();
    assert!(again < first / 2, "{first:?} {again:?}");
    let [wrong, unknown] = ["ann:wrong", "eve:right"].map(|user| (0..3).map(|_| took(user)).min().unwrap());
    assert!(unknown > again * 2 && wrong > again * 2, "{again:?} {wrong:?} {unknown:?}");
}

#[test]
fn more_requests_than_the_limit_are_refused() {
    if !tools() {
        return;
    }
    let headers = "http_server_config: {headers: {X-XSS-Protection: '0'}}";
    let secured =
        Secured::start(&format!("rate_limit: {{interval: 1h, burst: 3}}\nbasic_auth_users: {{ann: HASH}}\n{headers}"));
    let statuses: Vec<_> = (0..5).map(|_| secured.status(&["plain"], "/metrics")).collect();
    assert_eq!(statuses, ["401", "401", "401", "429", "429"]);
    let said = secured.curl_raw(&["plain", "-i"], "/metrics").stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("x-xss-protection: 0\r\n") && said.contains("rate_limit"), "{said}");
    // What is refused has no body where none was asked for, also over HTTP/2.
    let secured = Secured::start("tls_server_config: {SERVER}\nbasic_auth_users: {ann: HASH}");
    let head = secured.curl(&["-I"], "/metrics");
    assert_eq!(head, Ok(("401".to_owned(), "2".to_owned())));
}

#[test]
fn a_wrong_web_configuration_does_not_start_and_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    let flag = format!("--web.config.file={}", file.display());
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
        command.arg(&flag).args(more).output().unwrap()
    };
    std::fs::write(&file, "basic_auth_users:\n  ann: s3cret\nrate_limit: {interval: 1}").unwrap();
    for arguments in [&["--config.check"][..], &["--web.listen-address=127.0.0.1:0"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("web.yml:2: basic_auth_users.ann: is not a hash of bcrypt"), "{said}");
        assert!(said.contains("web.yml:3: rate_limit.interval: \"1\" is not a duration"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    std::fs::write(&file, filled("basic_auth_users: {ann: HASH}")).unwrap();
    let output = run(&["--config.check"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with(&format!("{}: ok: no TLS, 1 users\n", file.display())), "{said}");
    std::fs::remove_file(&file).unwrap();
    let output = run(&["--config.check"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("web.yml: cannot be read: "));
    // An empty name is none.
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
    assert!(command.args(["--web.config.file=", "--config.check"]).output().unwrap().status.success());
}

#[test]
fn sockets_of_systemd_are_taken_and_what_is_none_is_told() {
    let Some(activate) = program("systemd-socket-activate") else { return };
    if !tools() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("probes.yml"), PROBES).unwrap();
    let (config, log) = (folder.path().join("probes.yml"), folder.path().join("log"));
    let start = |listen: &[String]| {
        let mut command = Command::new(&activate);
        command.args(listen).arg(env!("CARGO_BIN_EXE_uplink_exporter"));
        command.arg(format!("--config.file={}", config.display())).arg("--web.systemd-socket");
        Running::start(command.stderr(std::fs::File::create(&log).unwrap()))
    };
    let (port, path) = (free_port(), folder.path().join("socket"));
    let [first, second] = [format!("127.0.0.1:{port}"), format!("[::1]:{}", free_port())];
    let running = start(&[format!("-l{first}"), format!("-l{second}"), format!("-l{}", path.display())]);
    // It starts the program when somebody comes.
    until("systemd listens", || TcpStream::connect(&first).is_ok());
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl").args(["-sS", "--noproxy", "*"]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl(&[&format!("http://{first}/-/healthy")]), "Healthy\n");
    assert_eq!(curl(&["-g", &format!("http://{second}/-/healthy")]), "Healthy\n");
    let socket = path.display().to_string();
    assert_eq!(curl(&["--unix-socket", &socket, "http://x/-/healthy"]), "Healthy\n");

    // Over a socket of this host, too, whoever goes away takes his probe with him.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let target = silent.local_addr().unwrap();
    write!(client, "GET /probe?module=banner&target={target} HTTP/1.1\r\nHost: x\r\n\r\nmore").unwrap();
    let in_flight = || value(&curl(&[&format!("http://{first}/metrics")]), "uplink_exporter_probes_in_flight").unwrap();
    until("it runs", || in_flight() == 1.0);
    drop(client);
    until("it is cancelled", || in_flight() == 0.0);
    drop(running);

    let _running = start(&["-d".to_owned(), format!("-l{first}")]);
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let told = || std::fs::read_to_string(&log).unwrap();
    until("a datagram wakes it", || {
        udp.send_to(b"x", &first).unwrap();
        told()
            .contains("--web.systemd-socket: descriptor 3: it is no stream socket (ListenStream= of systemd.socket(5))")
    });
}

#[test]
fn sockets_that_were_not_handed_over_are_missed() {
    let run = |environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
        command.arg("--web.systemd-socket").env_remove("LISTEN_PID").env_remove("LISTEN_FDS");
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&[]).contains("--web.systemd-socket: no socket was handed over"));
    assert!(run(&[("LISTEN_PID", "1"), ("LISTEN_FDS", "1")]).contains("are handed over to process 1 (LISTEN_PID)"));
    // The process of the shell becomes the program's.
    let script = "LISTEN_PID=$$ LISTEN_FDS=$1 exec \"$0\" --web.systemd-socket";
    let shell = |count: &str| {
        let output = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_uplink_exporter"), count]).output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    assert!(shell("0").contains("no socket was handed over"));
    let said = shell("1");
    assert!(said.contains("--web.systemd-socket: descriptor 3: "), "{said}");
    assert!(shell("x").contains("no socket was handed over"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
    let both = ["--web.systemd-socket", "--no-web.systemd-socket", "--web.listen-address=vsock://:9115"];
    let said = String::from_utf8(command.args(both).output().unwrap().stderr).unwrap();
    assert!(said.contains("(vsock) are not supported"), "{said}");
}
