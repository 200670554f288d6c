//! A configuration for people to read: as it was loaded, without its secrets.

use super::yaml::{Kind, Node, Scalar};
use crate::probe::SECRET;

/// The same tree without secrets.
pub(super) fn without_secrets(mut root: Node) -> Node {
    hide(&mut root, &mut Vec::new());
    root
}

/// A tree as YAML, without its anchors.
pub(super) fn print(node: &Node) -> String {
    let mut out = String::new();
    block(node, 0, &mut out);
    out
}

/// An entry of `modules:` as YAML, without its name.
pub(super) fn print_module(root: &Node, name: &str) -> Option<String> {
    entry(entry(root, "modules")?, name).map(print)
}

fn entry<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    match &node.kind {
        Kind::Mapping(entries) => entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node),
        Kind::Scalar(_) | Kind::Sequence(_) => None,
    }
}

fn hide(node: &mut Node, path: &mut Vec<String>) {
    match &mut node.kind {
        Kind::Scalar(scalar) if scalar.is_null() => {}
        Kind::Scalar(scalar) if is_secret(path) => {
            *scalar = Scalar { text: SECRET.to_owned(), plain: true, binary: None };
        }
        Kind::Scalar(scalar) => {
            scalar.text = without_password(&scalar.text);
            // Some token servers want who asks in the query.
            if let (Some("token_url"), Some(query)) = (path.last().map(String::as_str), scalar.text.find('?')) {
                scalar.text.replace_range(query + 1.., SECRET);
            }
        }
        Kind::Sequence(nodes) => nodes.iter_mut().for_each(|node| hide(node, path)),
        Kind::Mapping(entries) => {
            for (key, node) in entries {
                path.push(key.text.clone());
                hide(node, path);
                path.pop();
            }
        }
    }
}

/// Whether a value is one that only its owner may see. Lists do not count in a path.
fn is_secret(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["modules", _, "http", "headers", name] => !is_public_header(name),
        ["modules", _, "http", "body"] | ["modules", _, _, "query_response", "send" | "send_bytes"] => true,
        ["modules", _, "grpc", "metadata", _] => true,
        ["modules", _, "websocket", "headers", name, "values"] => !is_public_header(name),
        // Which of these fields are secrets is known to the server only.
        [.., "oauth2", "endpoint_params", name] => !["audience", "grant_type", "resource"].contains(name),
        [.., "tls_config", "key"] | [.., "proxy_connect_header", _] => true,
        [.., "password" | "credentials" | "bearer_token" | "client_secret" | "client_certificate_key" | "secrets"] => {
            true
        }
        _ => false,
    }
}

fn is_public_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("accept")
        || ["host", "user-agent", "content-type", "origin", "sec-websocket-protocol"].contains(&name.as_str())
}

/// A text with the password of a URL's user hidden.
fn without_password(text: &str) -> String {
    let Some(begin) = text.find("://").map(|at| at + 3) else { return text.to_owned() };
    let authority = &text[begin..];
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    match authority.rfind('@').and_then(|at| authority[..at].find(':').map(|colon| (colon, at))) {
        Some((colon, at)) => format!("{}:{SECRET}{}", &text[..begin + colon], &text[begin + at..]),
        None => text.to_owned(),
    }
}

fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.kind {
        Kind::Scalar(scalar) => {
            out.push_str(&plain_or_quoted(scalar));
            out.push('\n');
        }
        Kind::Sequence(nodes) => nodes.iter().for_each(|node| {
            out.push_str(&" ".repeat(indent));
            out.push_str("- ");
            match &node.kind {
                Kind::Mapping(entries) if !entries.is_empty() => {
                    let mut nested = String::new();
                    block(node, indent + 2, &mut nested);
                    out.push_str(nested.trim_start_matches(' '));
                }
                _ => child(node, indent, out),
            }
        }),
        Kind::Mapping(entries) => entries.iter().for_each(|(key, node)| {
            out.push_str(&" ".repeat(indent));
            out.push_str(&key_text(&key.text));
            out.push(':');
            if node.is_null() {
                out.push('\n');
            } else {
                out.push(' ');
                child(node, indent, out);
            }
        }),
    }
}

/// A value behind its key or dash: on the same line where it fits there.
fn child(node: &Node, indent: usize, out: &mut String) {
    match &node.kind {
        Kind::Scalar(_) => block(node, indent, out),
        Kind::Sequence(nodes) if nodes.is_empty() => out.push_str("[]\n"),
        Kind::Mapping(entries) if entries.is_empty() => out.push_str("{}\n"),
        Kind::Sequence(_) | Kind::Mapping(_) => {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            block(node, indent + 2, out);
        }
    }
}

fn plain_or_quoted(scalar: &Scalar) -> String {
    let tag = if scalar.binary.is_some() { "!!binary " } else { "" };
    if scalar.plain && !scalar.text.contains('\n') {
        format!("{tag}{}", scalar.text)
    } else {
        format!("{tag}{}", quoted(&scalar.text))
    }
}

fn key_text(key: &str) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if !key.is_empty() && !key.starts_with('-') && key.chars().all(simple) { key.to_owned() } else { quoted(key) }
}

/// A text in double quotes. JSON's are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn shown(text: &str) -> String {
        print(&without_secrets(parse(text).unwrap().unwrap()))
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_is_shown() {
        let text = r#"
isps: {a: {source_ip: 192.0.2.1, proxy_url: socks5://me:s3cret@192.0.2.2}}
modules:
  a:
    prober: http
    http:
      headers: {Host: example.net, X-Key: s3cret, Accept-Language: ko, authorization: "Bearer s3cret"}
      body: s3cret
      tls_config: {server_name: x, key: s3cret, key_file: k.pem}
      proxy_url: http://me:s3cret@10.0.0.1:3128/path@x
      basic_auth: {username: me, password: s3cret, password_file: p}
      authorization: {type: Bearer, credentials: s3cret}
      bearer_token: s3cret
      http_headers: {X-A: {values: [open], secrets: [s3cret], files: [f]}}
      oauth2: {client_id: me, client_secret: s3cret, token_url: "https://a.example/token?key=s3cret", endpoint_params: {client_assertion: s3cret, audience: all}}
      proxy_connect_header: {X-B: [s3cret]}
  b:
    prober: tcp
    tcp:
      query_response:
        - expect: "^220 ([^ ]+)"
        - {send: s3cret, starttls: false}
        - send: !!binary czNjcmV0
        - send_bytes: s3cret
  c:
    prober: grpc
    grpc: {service: x, metadata: {authorization: [Bearer s3cret, s3cret]}}
  d:
    prober: websocket
    websocket:
      http_config: {basic_auth: {username: me, password: s3cret}, authorization: {type: X, credentials: s3cret}, bearer_token: s3cret}
      headers: {Origin: {values: [https://a.example]}, X-Key: {values: [s3cret], secrets: [s3cret], files: [key]}}
      query_response: [{expect: x, send: s3cret}, {send_bytes: s3cret}]
"#;
        let expected = r#"isps:
  a:
    source_ip: 192.0.2.1
    proxy_url: socks5://me:<secret>@192.0.2.2
modules:
  a:
    prober: http
    http:
      headers:
        Host: example.net
        X-Key: <secret>
        Accept-Language: ko
        authorization: <secret>
      body: <secret>
      tls_config:
        server_name: x
        key: <secret>
        key_file: k.pem
      proxy_url: http://me:<secret>@10.0.0.1:3128/path@x
      basic_auth:
        username: me
        password: <secret>
        password_file: p
      authorization:
        type: Bearer
        credentials: <secret>
      bearer_token: <secret>
      http_headers:
        X-A:
          values:
            - open
          secrets:
            - <secret>
          files:
            - f
      oauth2:
        client_id: me
        client_secret: <secret>
        token_url: "https://a.example/token?<secret>"
        endpoint_params:
          client_assertion: <secret>
          audience: all
      proxy_connect_header:
        X-B:
          - <secret>
  b:
    prober: tcp
    tcp:
      query_response:
        - expect: "^220 ([^ ]+)"
        - send: <secret>
          starttls: false
        - send: <secret>
        - send_bytes: <secret>
  c:
    prober: grpc
    grpc:
      service: x
      metadata:
        authorization:
          - <secret>
          - <secret>
  d:
    prober: websocket
    websocket:
      http_config:
        basic_auth:
          username: me
          password: <secret>
        authorization:
          type: X
          credentials: <secret>
        bearer_token: <secret>
      headers:
        Origin:
          values:
            - https://a.example
        X-Key:
          values:
            - <secret>
          secrets:
            - <secret>
          files:
            - key
      query_response:
        - expect: x
          send: <secret>
        - send_bytes: <secret>
"#;
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn what_is_shown_reads_as_the_same_tree() {
        let text = "a: |\n  x\n   y\n\"b c\": [[1, 2], {k: \"true\"}, [], {}, ~]\n? \"-\"\n: {n: , m: 'it''s'}\n";
        let printed = shown(text);
        let strip = |node: Node| print(&node);
        assert_eq!(strip(parse(&printed).unwrap().unwrap()), printed);
        assert!(printed.contains("\"x\\n y\\n\"") && printed.contains("\"it's\""), "{printed}");
    }
}
