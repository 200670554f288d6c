//! Proxies.

use std::io::{BufReader, Error, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;

use super::read_head;

/// A proxy of which only `me` with the password `secret` may ask something, or who has the token, and strangers are told so.
pub(crate) fn proxy(mut client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let head = read_head(&mut reader)?;
    let has = |line: &str| head.lines().any(|known| known.eq_ignore_ascii_case(line));
    if !has("Proxy-Authorization: Basic bWU6c2VjcmV0") && !has("X-Token: token") {
        let is_known = head.contains("Proxy-Authorization: ");
        let status = if is_known { "403 Forbidden" } else { "407 Proxy Authentication Required" };
        return write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    }
    let beyond = match head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) {
        Some(authority) => {
            let beyond = TcpStream::connect(authority)?;
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            beyond
        }
        None => {
            let (before, rest) = head.split_once("http://").unwrap();
            let (authority, path) = rest.split_once('/').unwrap();
            let mut beyond = TcpStream::connect(authority)?;
            // It says of itself that it was there.
            let head = format!("{before}/{path}").replacen("\r\n", "\r\nVia: proxy\r\n", 1);
            beyond.write_all(head.as_bytes())?;
            beyond
        }
    };
    join(reader, client, beyond)
}

/// Hands on what comes from either side until both have ended.
fn join(
    mut from_client: impl Read + Send + 'static,
    mut client: TcpStream,
    mut beyond: TcpStream,
) -> std::io::Result<()> {
    beyond.set_nodelay(true)?;
    let mut to_beyond = beyond.try_clone()?;
    thread::spawn(move || std::io::copy(&mut from_client, &mut to_beyond));
    std::io::copy(&mut beyond, &mut client).map(drop)
}

/// A proxy of SOCKS 5 (RFC 1928); `private`: only for `me` with the password `secret` (RFC 1929).
pub(crate) fn socks(mut client: TcpStream, private: bool) -> std::io::Result<()> {
    let methods = take(&mut client, 2)?[1];
    let method = if private { 2 } else { 0 };
    if !take(&mut client, methods.into())?.contains(&method) {
        return client.write_all(&[5, 0xff]);
    }
    client.write_all(&[5, method])?;
    if private {
        let name_length = take(&mut client, 2)?[1];
        let name = take(&mut client, name_length.into())?;
        let password_length = take(&mut client, 1)?[0];
        let password = take(&mut client, password_length.into())?;
        let known = name == b"me" && password == b"secret";
        client.write_all(&[1, (!known).into()])?;
        if !known {
            return Ok(());
        }
    }
    let host = match take(&mut client, 4)?[3] {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(take(&mut client, 4)?).unwrap()).to_string(),
        4 => Ipv6Addr::from(<[u8; 16]>::try_from(take(&mut client, 16)?).unwrap()).to_string(),
        _ => {
            let length = take(&mut client, 1)?[0];
            String::from_utf8(take(&mut client, length.into())?).map_err(Error::other)?
        }
    };
    let port = take(&mut client, 2)?;
    let beyond = TcpStream::connect((host.as_str(), u16::from_be_bytes([port[0], port[1]])));
    // Connection refused.
    let code = if beyond.is_ok() { 0 } else { 5 };
    client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])?;
    join(client.try_clone()?, client, beyond?)
}

fn take(from: &mut impl Read, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Ends TLS on a port, for the server on another.
pub(crate) fn end_tls(port: u16, behind: u16, config: ServerConfig) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(async move {
                    let mut client = acceptor.accept(stream).await?;
                    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, behind));
                    let mut server = tokio::net::TcpStream::connect(server).await?;
                    server.set_nodelay(true)?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
    });
}
