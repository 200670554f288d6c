//! What is agreed on with real servers of TLS that leave the choice to their clients: `openssl s_server` and nginx, without a preference.

#![expect(clippy::disallowed_methods, reason = "the test waits for its servers, it is no probe")]
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use support::tls::Authority;
use support::{Exporter, Running, free_port, program, until, value};

/// The ciphers in the order of Go: the first is the one that is told.
fn preferred() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    let has_aes = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    if has_aes { "AES_128_GCM_SHA256" } else { "CHACHA20_POLY1305_SHA256" }
}

fn start_openssl(folder: &Path, arguments: &str) -> (Running, u16) {
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}")]).args(arguments.split(' '));
    let server = Running::start(command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()));
    until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (server, port)
}

fn start_nginx(nginx: &Path, folder: &Path) -> (Running, u16) {
    let (port, path) = (free_port(), folder.display());
    let both = "ssl_certificate rsa.pem; ssl_certificate_key rsa.key; ssl_certificate ecdsa.pem; ssl_certificate_key ecdsa.key;";
    let text = format!(
        "daemon off; master_process off; pid {path}/nginx.pid; error_log {path}/error.log; events {{}}
http {{ access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u;
scgi_temp_path {path}/s; server {{ listen 127.0.0.1:{port} ssl; {both} ssl_protocols TLSv1.2 TLSv1.3; location / {{ return 200 well; }} }} }}"
    );
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    let server = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (server, port)
}

#[test]
fn what_a_server_chooses_that_leaves_the_choice_to_us_is_what_blackbox_exporter_would_tell() {
    let (Some(_), Some(nginx)) = (program("openssl"), program("nginx")) else { return };
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("authority"));
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    for (name, algorithm) in [("rsa", &PKCS_RSA_SHA256), ("ecdsa", &PKCS_ECDSA_P256_SHA256)] {
        let mut params = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        authority.issue(&params, &KeyPair::generate_for(algorithm).unwrap()).write(folder.path(), name);
    }
    let ca = folder.path().join("ca.pem").display().to_string();
    let module = |max| {
        format!(
            "{{prober: http, http: {{tls_config: {{ca_file: {ca}, server_name: server.test, max_version: {max}}}}}}}"
        )
    };
    let exporter = Exporter::start(&format!("modules: {{new: {}, old: {}}}", module("TLS13"), module("TLS12")));
    let cipher = preferred();
    let openssl = |arguments| start_openssl(folder.path(), arguments);
    for (server, module, kind, certificate) in [
        (openssl("-cert rsa.pem -key rsa.key"), "new", "TLS", "rsa"),
        (openssl("-cert rsa.pem -key rsa.key"), "old", "TLS_ECDHE_RSA_WITH", "rsa"),
        (openssl("-cert ecdsa.pem -key ecdsa.key"), "old", "TLS_ECDHE_ECDSA_WITH", "ecdsa"),
        // Of two certificates, TLS 1.3 shows the one of the preferred signature, and TLS 1.2 the one of the preferred cipher.
        (openssl("-cert ecdsa.pem -key ecdsa.key -dcert rsa.pem -dkey rsa.key"), "new", "TLS", "rsa"),
        (
            openssl("-cert rsa.pem -key rsa.key -dcert ecdsa.pem -dkey ecdsa.key"),
            "old",
            "TLS_ECDHE_ECDSA_WITH",
            "ecdsa",
        ),
        (start_nginx(&nginx, folder.path()), "new", "TLS", "rsa"),
        (start_nginx(&nginx, folder.path()), "old", "TLS_ECDHE_ECDSA_WITH", "ecdsa"),
    ] {
        let (_running, port) = server;
        let told = exporter.get(&format!("/probe?module={module}&target=https://127.0.0.1:{port}/"));
        assert_eq!(value(&told, "probe_success"), Some(1.0), "{told}");
        let info = format!("probe_tls_cipher_info{{cipher=\"{kind}_{cipher}\"}}");
        assert_eq!(value(&told, &info), Some(1.0), "{told}");
        let chain = told.lines().find(|line| line.starts_with("probe_ssl_last_chain_info{")).unwrap();
        assert!(chain.contains(&format!("subject=\"CN={certificate}\"")), "{chain}");
    }
}
