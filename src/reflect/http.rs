//! The address in the body of a response, as text.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{PATIENCE, over, within};
use crate::path::Prefix;

/// What a proxy says of whom it speaks for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The longest head of a request, in bytes: the least that hyper takes.
const HEAD_LIMIT: usize = 8 << 10;

/// Answers the one request of a connection.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    trusted: Arc<[Prefix]>,
    mut ending: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let came = AtomicBool::new(false);
    let service = service_fn(|request| {
        came.store(true, Ordering::Relaxed);
        let response = answer(&request, peer.ip(), &trusted);
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.keep_alive(false).max_buf_size(HEAD_LIMIT).timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    within(PATIENCE, async {
        tokio::select! {
            result = connection.as_mut() => return result.map_err(io::Error::other),
            () = over(&mut ending) => {}
        }
        // Half a request is none.
        if !came.load(Ordering::Relaxed) {
            return Ok(());
        }
        connection.await.map_err(io::Error::other)
    })
    .await
}

fn answer<B>(request: &Request<B>, peer: IpAddr, trusted: &[Prefix]) -> Response<Full<Bytes>> {
    let told = match (request.uri().path(), request.method()) {
        ("/", &Method::GET | &Method::HEAD) => caller(peer, request.headers(), trusted)
            .map(|address| format!("{address}\n"))
            .map_err(|what| (StatusCode::BAD_REQUEST, what)),
        ("/", _) => Err((StatusCode::METHOD_NOT_ALLOWED, "/ takes GET and HEAD".to_owned())),
        _ => Err((StatusCode::NOT_FOUND, "there is nothing here; / tells which address you come from".to_owned())),
    };
    let (status, body) =
        told.map_or_else(|(status, what)| (status, format!("{what}\n")), |body| (StatusCode::OK, body));
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        // What one caller is told is nothing for another one.
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// Whom a request is from: the peer, or, where that is a trusted proxy, the last address of `X-Forwarded-For` that is none. What stands before it
/// anybody may have written.
///
/// # Errors
/// Where a trusted proxy says something else than addresses: one sentence.
fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[Prefix]) -> Result<IpAddr, String> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|prefix| prefix.contains(address));
    let mut caller = peer.to_canonical();
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let entries = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries {
        if !is_trusted(caller) {
            break;
        }
        let address = str::from_utf8(entry).ok().and_then(|entry| address(entry.trim()));
        caller = address
            .ok_or_else(|| format!("the proxy {caller} forwards a request, and does not say by an address for whom"))?;
    }
    Ok(caller)
}

/// An address, perhaps in brackets, perhaps with a port, as some proxies add it.
fn address(entry: &str) -> Option<IpAddr> {
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || entry.parse().ok().map(|address: SocketAddr| address.ip());
    let address = entry.parse().ok().or_else(in_brackets).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> Result<String, String> {
        let values = forwarded.iter().map(|value| (FORWARDED_FOR.parse().unwrap(), HeaderValue::from_static(value)));
        let trusted: Vec<Prefix> = trusted.iter().map(|prefix| prefix.parse().unwrap()).collect();
        caller(peer.parse().unwrap(), &values.collect(), &trusted).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_as_far_as_it_is() {
        let told = |address: &str| Ok(address.to_owned());
        let proxies = ["10.0.0.0/24", "2001:db8:1::/48"];
        assert_eq!(asked("192.0.2.1", &[], &[]), told("192.0.2.1"));
        assert_eq!(asked("192.0.2.1", &["203.0.113.9"], &[]), told("192.0.2.1"));
        assert_eq!(asked("192.0.2.1", &["203.0.113.9"], &proxies), told("192.0.2.1"));
        assert_eq!(asked("10.0.0.1", &["203.0.113.9"], &proxies), told("203.0.113.9"));
        assert_eq!(asked("::ffff:10.0.0.1", &["203.0.113.9"], &proxies), told("203.0.113.9"));
        // What the caller wrote itself stands before it.
        assert_eq!(asked("10.0.0.1", &["1.2.3.4, 203.0.113.9"], &proxies), told("203.0.113.9"));
        assert_eq!(asked("10.0.0.1", &["nonsense", "203.0.113.9"], &proxies), told("203.0.113.9"));
        // Several proxies, in one header or in several.
        assert_eq!(asked("10.0.0.1", &["1.2.3.4, 203.0.113.9,10.0.0.2"], &proxies), told("203.0.113.9"));
        assert_eq!(asked("10.0.0.1", &["203.0.113.9", "2001:db8:1::7"], &proxies), told("203.0.113.9"));
        assert_eq!(asked("10.0.0.1", &["2001:db8:2::7"], &proxies), told("2001:db8:2::7"));
        // With a port, as some write it.
        assert_eq!(asked("10.0.0.1", &["203.0.113.9:1234"], &proxies), told("203.0.113.9"));
        assert_eq!(asked("10.0.0.1", &["[2001:db8::9]:1234"], &proxies), told("2001:db8::9"));
        assert_eq!(asked("10.0.0.1", &["[2001:db8::9]"], &proxies), told("2001:db8::9"));
        // The proxy asks for itself, to see whether somebody is there.
        assert_eq!(asked("10.0.0.1", &[], &proxies), told("10.0.0.1"));
        for nonsense in ["unknown", "", "203.0.113.9,", "_hidden"] {
            assert!(asked("10.0.0.1", &[nonsense], &proxies).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_body_is_the_address_and_nothing_is_kept() {
        let ask = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            answer(&request, "2001:db8::1".parse().unwrap(), &[])
        };
        let told = ask(Method::GET, "/?x");
        assert_eq!(
            (told.status().as_u16(), &told.headers()[header::CACHE_CONTROL]),
            (200, &HeaderValue::from_static("no-store"))
        );
        assert_eq!(ask(Method::POST, "/").status(), 405);
        assert_eq!(ask(Method::GET, "/admin").status(), 404);
    }
}
