//! The probes that ended lately: `/logs` and the landing page's table.

use tokio::net::TcpListener;
use uplink_exporter::server::Options;

use super::client::Server;

const CONFIGURATION: &str = "
isps: {a: {source_ip: 127.0.0.1}, '<b>': {source_ip: 127.0.0.2}}
modules:
  web: {prober: http, http: {headers: {Authorization: s3cret}}}
  tcp: {prober: tcp}
  tcp2: {prober: tcp}
  expect: {prober: tcp, timeout: 2s, tcp: {query_response: [{expect: ready}]}}
";

/// Runs probes, of targets that are there and that are not.
async fn probe(server: &Server, queries: &[String]) {
    for query in queries {
        let reply = server.fetch("GET", &format!("/probe?{query}"), &[]).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    }
}

async fn logs(server: &Server, query: &str) -> (u16, String) {
    let reply = server.fetch("GET", &format!("/logs?{query}"), &[]).await;
    (reply.status, reply.text())
}

/// The numbers of the probes in the landing page's table, from its top.
async fn listed(server: &Server) -> Vec<u32> {
    let page = server.fetch("GET", "/", &[]).await.text();
    page.split("logs?id=").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn what_debug_would_have_told_is_told_later() {
    let server = Server::start(CONFIGURATION).await;
    let query = "module=web&isp=a&target=http://us:TARGETPW9@127.0.0.1:1/r";
    probe(&server, &[query.to_owned()]).await;
    let (status, told) = logs(&server, "id=0").await;
    assert_eq!(status, 200);
    let mut lines = told.lines();
    assert_eq!(lines.next(), Some("Logs for the probe:"));
    let first = lines.next().unwrap();
    assert!(
        first.starts_with("    0.000000s  ")
            && first.ends_with(
                " GMT: http://us:<secret>@127.0.0.1:1/r by module \"web\" through ISP \"a\", within 119.5 s"
            ),
        "{first}"
    );
    for part in [
        "connect failed: ",
        "(connection_refused)",
        "s  the probe failed\n",
        "\nMetrics that would have been returned:\n# HELP probe_success ",
        "probe_success 0\n",
        "\nModule configuration:\nprober: http\nhttp:\n  headers:\n    Authorization: <secret>\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("TARGETPW9") && !told.contains("s3cret"), "{told}");
    // The same lines as at once, but for the times.
    let debug = server.fetch("GET", &format!("/probe?{query}&debug=true"), &[]).await.text();
    let shape = |text: &str| -> Vec<String> {
        let words = text.lines().map(|line| line.split_once("s  ").map_or(line, |(_, words)| words));
        words.map(|line| line.split(|c: char| c.is_ascii_digit()).collect()).collect()
    };
    assert_eq!(shape(&debug), shape(&told));
    // With its password, and as it is shown.
    let encoded = "http://us:%3Csecret%3E@127.0.0.1:1/r";
    for target in ["http://us:TARGETPW9@127.0.0.1:1/r", encoded] {
        assert_eq!(logs(&server, &format!("target={target}")).await.0, 200, "{target}");
    }
    let page = server.fetch("GET", "/", &[]).await.text();
    assert!(page.contains("http://us:&lt;secret&gt;@127.0.0.1:1/r") && !page.contains("TARGETPW9"), "{page}");
    let json = server.fetch("GET", &format!("/probe?{query}&format=json"), &[]).await.text();
    assert!(!json.contains("\"log\""), "{json}");
}

#[tokio::test]
async fn a_target_finds_its_latest_probe_by_module_and_isp() {
    let server = Server::start(CONFIGURATION).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let query = |rest: &str| format!("target={target}&{rest}");
    probe(&server, &["module=tcp&isp=a", "module=tcp2&isp=%3Cb%3E", "module=tcp", "module=tcp&isp=a"].map(query)).await;
    let cases = [
        ("", "by module \"tcp\" through ISP \"a\""),
        ("&module=tcp2", "by module \"tcp2\" through ISP \"<b>\""),
        ("&isp=%3Cb%3E", "by module \"tcp2\" through ISP \"<b>\""),
        ("&isp=", "by module \"tcp\", within"),
        ("&module=tcp&isp=a", "by module \"tcp\" through ISP \"a\""),
    ];
    for (filter, words) in cases {
        let (status, told) = logs(&server, &format!("target={target}{filter}")).await;
        assert!(status == 200 && told.contains(words), "{filter}: {told}");
    }
    assert_eq!(logs(&server, &format!("target={target}&module=tcp2&isp=a")).await.0, 404);
    let page = server.fetch("GET", "/", &[]).await.text();
    let rows: Vec<_> = page.lines().filter(|line| line.contains("logs?id=")).collect();
    let row = format!("<tr><td>tcp2<td>{target}<td>&lt;b&gt;<td>Success<td><td>");
    assert!(rows.len() == 4 && rows[2].starts_with(&row), "{rows:#?}");
    assert_eq!(listed(&server).await, [3, 2, 1, 0]);
}

#[tokio::test]
async fn what_cannot_be_found_is_told_in_blackbox_exporters_words() {
    let server = Server::start(CONFIGURATION).await;
    let cases = [
        ("", 400, "Probe id or target must be defined as http query parameters"),
        ("id=", 400, "Probe id or target must be defined as http query parameters"),
        ("module=tcp", 400, "Probe id or target must be defined as http query parameters"),
        ("id=0&target=x", 400, "Probe id and target can't be defined at the same time"),
        ("id=0&module=tcp", 400, "Probe module filter only works in conjunction with target parameter"),
        ("id=0&isp=a", 400, "Probe isp filter only works in conjunction with target parameter"),
        ("id=x", 400, "Invalid probe id"),
        ("id=-1", 400, "Invalid probe id"),
        ("id=0", 404, "Probe id not found"),
        ("target=x", 404, "Probe target not found"),
        ("ids=0", 400, "unknown parameter \"ids\"; known parameters: id, target, module, isp"),
    ];
    for (query, status, sentence) in cases {
        assert_eq!(logs(&server, query).await, (status, format!("{sentence}\n")), "{query}");
    }
}

#[tokio::test]
async fn failures_are_kept_longer_than_successes() {
    let server = Server::start_with(CONFIGURATION, Options { history_limit: 2, ..Options::default() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = format!("module=tcp&target={}", listener.local_addr().unwrap());
    let bad = "module=tcp&target=127.0.0.1:1".to_owned();
    // 0 to 2 fail, 3 does not, 4 fails, 5 to 7 do not.
    probe(&server, &[&bad, &bad, &bad, &good, &bad, &good, &good, &good].map(String::clone)).await;
    assert_eq!(listed(&server).await, [7, 6, 4, 2]);
    assert_eq!(logs(&server, "id=3").await.0, 404);
    // The latest, and not the oldest that is kept.
    let (_, told) = logs(&server, "target=127.0.0.1:1").await;
    assert_eq!(logs(&server, "id=4").await.1, told);
    let (_, before) = logs(&server, "id=2").await;
    assert_ne!(told, before);
}

#[tokio::test]
async fn without_a_history_nothing_is_kept() {
    let server = Server::start_with(CONFIGURATION, Options { history_limit: 0, ..Options::default() }).await;
    probe(&server, &["module=tcp&target=127.0.0.1:1".to_owned()]).await;
    assert_eq!(logs(&server, "id=0").await.0, 404);
    assert!(!server.fetch("GET", "/", &[]).await.text().contains("Recent Probes"));
    let debug = server.fetch("GET", "/probe?module=tcp&target=127.0.0.1:1&debug=true", &[]).await.text();
    assert!(debug.contains("connect failed: "), "{debug}");
}

#[tokio::test]
async fn a_probe_shows_the_module_that_it_was_made_by() {
    let server = Server::start(CONFIGURATION).await;
    probe(&server, &["module=tcp&target=127.0.0.1:1".to_owned()]).await;
    server.write("modules: {tcp: {prober: icmp}}");
    assert_eq!(server.fetch("POST", "/-/reload", &[]).await.status, 200);
    let (_, told) = logs(&server, "id=0").await;
    assert!(told.ends_with("\nModule configuration:\nprober: tcp\n"), "{told}");
}
