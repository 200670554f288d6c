//! What blackbox_exporter loads, and here is refused although its probes may succeed there: the README's table.

/// What is said there, and why it is refused here.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The row of the README: what it is, what blackbox_exporter makes of it, and why it is refused.
    pub(crate) row: [&'static str; 3],
    /// Whole files, or modules that stand in `modules: {m: {…}}`.
    pub(crate) files: &'static [&'static str],
    pub(crate) modules: &'static [&'static str],
}

const fn modules(row: [&'static str; 3], modules: &'static [&'static str]) -> Listed {
    Listed { row, files: &[], modules }
}

pub(crate) const LISTED: &[Listed] = &[
    Listed {
        row: ["a second YAML document in the file", "passed over", "it would not count"],
        files: &["modules: {m: {prober: icmp}}\n---\nmodules: {}\n"],
        modules: &[],
    },
    Listed {
        row: [
            "a module without a prober, also where others take it by `<<`",
            "a module of which every probe is answered with 400",
            "no probe can succeed; a release after 0.28 refuses it, too",
        ],
        files: &["modules: {a: &a {timeout: 5s}, m: {<<: *a, prober: icmp}}\n"],
        modules: &[],
    },
    modules(
        [
            "a negative `timeout`, or one below 1 ms",
            "none; probes that fail but on the same host",
            "it would not count",
        ],
        &["prober: icmp, timeout: -5s", "prober: icmp, timeout: 900us"],
    ),
    modules(
        [
            "`preferred_ip_protocol` with another word than `ip4`, `ipv4` and `ip6`, in small letters or capitals",
            "`ip4`, whatever it is",
            "`ipv6` would be IPv4",
        ],
        &["prober: tcp, tcp: {preferred_ip_protocol: ipv6}", "prober: http, http: {preferred_ip_protocol: v4}"],
    ),
    modules(
        ["status codes and versions that no response has, beside others", "passed over", "they are mistakes"],
        &[
            "prober: http, http: {valid_status_codes: [200, 99999]}",
            "prober: http, http: {valid_status_codes: [-1, 200]}",
            "prober: http, http: {valid_http_versions: [HTTP/1.1, '2']}",
        ],
    ),
    modules(
        ["whole numbers with a fraction, or a 0 before them", "cut off; octal", "they would be other numbers"],
        &[
            "prober: http, http: {valid_status_codes: [200.5]}",
            "prober: icmp, icmp: {payload_size: 017}",
            "prober: icmp, icmp: {ttl: 64.5}",
        ],
    ),
    modules(
        ["a header or a key of `metadata` twice, in other letters", "one of them, by chance", "one would not count"],
        &["prober: http, http: {headers: {A: b, a: c}}", "prober: http, http: {headers: {Host: a, host: b}}"],
    ),
    modules(
        [
            "a `Host` that is none; a `Content-Length` that is not the body's; `Transfer-Encoding`; headers of gRPC itself in `metadata`",
            "sent empty; not sent",
            "they would not count",
        ],
        &[
            "prober: http, http: {headers: {Host: a b}}",
            "prober: http, http: {headers: {Content-Length: 4}, body: abc}",
            "prober: http, http: {headers: {Transfer-Encoding: chunked}, body: abc}",
            "prober: http, http: {http_headers: {Transfer-Encoding: {values: [chunked]}}}",
            "prober: grpc, grpc: {metadata: {content-type: [a]}}",
            "prober: grpc, grpc: {metadata: {grpc-timeout: [1S]}}",
        ],
    ),
    modules(
        ["a `header` to match that no response can have", "missing always", "it is a mistake"],
        &["prober: http, http: {fail_if_header_matches: [{header: a b, regexp: a, allow_missing: true}]}"],
    ),
    modules(
        ["a negative `body_size_limit`", "no limit", "it would not count"],
        &["prober: http, http: {body_size_limit: -1B}"],
    ),
    modules(
        ["messages of Protocol Buffers in CEL", "taken", "a body of JSON has none"],
        &["prober: http, http: {fail_if_body_json_matches_cel: 'google.protobuf.Timestamp{} == null'}"],
    ),
    modules(
        ["a `grant_type` or `signature_algorithm` of `oauth2` that there is not", "passed over", "it would not count"],
        &[
            "prober: http, http: {oauth2: {client_id: a, client_secret: b, token_url: 'http://x/', grant_type: password}}",
            "prober: http, http: {oauth2: {client_id: a, client_secret: b, token_url: 'http://x/', signature_algorithm: ES256}}",
        ],
    ),
    modules(
        ["a `proxy_url` without a scheme, or with one of no proxy", "a proxy of HTTP", "it is a mistake"],
        &["prober: http, http: {proxy_url: '//p:1'}", "prober: http, http: {proxy_url: 'ftp://p:1'}"],
    ),
    modules(
        [
            "an RSA key of one's own (`key_file` of a client or of the web configuration, `client_certificate_key` of `oauth2`) of fewer than 2048 bits",
            "used",
            "aws-lc-rs signs with none so weak",
        ],
        &[
            "prober: http, http: {tls_config: {cert_file: short.pem, key_file: short.key}}",
            "prober: http, http: {oauth2: {client_id: a, token_url: 'http://t', grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', client_certificate_key_file: short.key}}",
        ],
    ),
    modules(
        ["`Host`, `Content-Length` and the like in `proxy_connect_header`", "not sent", "they would not count"],
        &["prober: http, http: {proxy_url: 'http://p', proxy_connect_header: {Host: [a]}}"],
    ),
    modules(
        ["a proxy for HTTP/3", "passed by", "it would not count"],
        &["prober: http, http: {proxy_url: 'http://p:1', enable_http3: true, enable_http2: false}"],
    ),
    modules(
        ["`max_version` of TLS 1.0 and 1.1", "spoken", "rustls speaks neither"],
        &["prober: tcp, tcp: {tls_config: {max_version: TLS11}}"],
    ),
    modules(
        [
            "a `server_name` that is no name of a host: with a port, a wildcard, a blank, letters beyond ASCII",
            "sent as it is",
            "certificates are of hosts; write `xn--…`",
        ],
        &[
            "prober: tcp, tcp: {tls_config: {server_name: 'a:443'}}",
            "prober: tcp, tcp: {tls_config: {server_name: '*.a'}}",
            "prober: tcp, tcp: {tls_config: {server_name: a b}}",
            "prober: tcp, tcp: {tls_config: {server_name: ü}}",
        ],
    ),
    modules(
        [
            "`labels` that are no names, begin with `__`, or stand without `expect`",
            "called otherwise, hidden by Prometheus, or never told",
            "a rule would look for them in vain",
        ],
        &[
            "prober: tcp, tcp: {query_response: [{expect: a, labels: [{name: 1-x, value: b}]}]}",
            "prober: tcp, tcp: {query_response: [{expect: a, labels: [{name: 'a.b', value: b}]}]}",
            "prober: tcp, tcp: {query_response: [{expect: a, labels: [{name: __x, value: b}]}]}",
            "prober: tcp, tcp: {query_response: [{labels: [{name: x, value: b}]}]}",
        ],
    ),
    modules(
        ["`starttls` where TLS is spoken already", "TLS within TLS, and then a panic", "it is a mistake"],
        &[
            "prober: tcp, tcp: {tls: true, query_response: [{starttls: true}]}",
            "prober: tcp, tcp: {query_response: [{starttls: true}, {starttls: true}]}",
        ],
    ),
    modules(
        [
            "an entry of `no_proxy` that no host can match: `169.254/16`, `http://a`, `10.`",
            "passed over (as here what `NO_PROXY` has in the environment, which is everybody's)",
            "it would not count; write `169.254.0.0/16`",
        ],
        &[
            "prober: http, http: {proxy_url: 'http://p:3128', no_proxy: 'localhost,169.254/16'}",
            "prober: http, http: {proxy_url: 'http://p:3128', no_proxy: 'http://a'}",
            "prober: http, http: {proxy_url: 'http://p:3128', no_proxy: '10.'}",
        ],
    ),
    modules(
        [
            "what could not work in the section of another prober than the module's",
            "not looked at",
            "it is a mistake, which waits for the day when the prober is changed",
        ],
        &[
            "prober: http, tcp: {tls: true, tls_config: {ca_file: /none/such}}",
            "prober: http, icmp: {source_ip_address: eth0}",
            "prober: http, dns: {query_name: a..b, valid_rcodes: [noerror]}",
        ],
    ),
    modules(
        [
            "`method: CONNECT`",
            "a request for a tunnel, which a server may answer somehow",
            "there is no response to measure",
        ],
        &["prober: http, http: {method: CONNECT}"],
    ),
    modules(
        [
            "a `source_ip_address` of `0.0.0.0` or `::`, or an IPv4 address as `::ffff:…`",
            "any address; the IPv4 address",
            "it names no address; write it as IPv4",
        ],
        &[
            "prober: tcp, tcp: {source_ip_address: 0.0.0.0}",
            "prober: tcp, tcp: {source_ip_address: '::ffff:127.0.0.1'}",
        ],
    ),
];
