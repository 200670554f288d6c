//! Servers of lines and bytes, by TCP and on sockets of this host.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A connection whose end can be told.
pub(super) trait Stream: Read + Write + Send + 'static {
    /// Says that this was all.
    fn end(&self) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn end(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn end(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Says something, and that this was all; then waits until the client has gone.
pub(super) fn say(mut stream: impl Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.end()?;
    hear(stream)
}

/// Waits until the client has gone.
pub(super) fn hear(mut stream: impl Read) -> std::io::Result<()> {
    stream.read_to_end(&mut Vec::new()).map(drop)
}

pub(super) fn echo(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

/// A server of mail that knows STARTTLS, and says AUTH only behind it.
pub(super) fn mail(mut stream: impl Read + Write, tls: &Arc<ServerConfig>) -> std::io::Result<()> {
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

/// Serves on sockets of this host, in a folder.
pub(super) fn serve_sockets(folder: &Path, tls: &Arc<ServerConfig>) {
    serve_socket(folder, "echo", echo);
    serve_socket(folder, "banner", |stream| say(stream, b"SSH-2.0-OpenSSH_9.2\r\n"));
    serve_socket(folder, "silent", hear);
    serve_socket(folder, "closed", |_| Ok(()));
    let config = Arc::clone(tls);
    serve_socket(folder, "mail", move |stream| mail(stream, &config));
    let config = Arc::clone(tls);
    serve_socket(folder, "tls", move |stream| {
        echo(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream))
    });
    // One that nobody listens on any more.
    drop(UnixListener::bind(folder.join("left.sock")).unwrap());
}

/// Treats every connection to the socket `NAME.sock` on a thread of its own.
fn serve_socket(folder: &Path, name: &str, treat: impl Fn(UnixStream) -> std::io::Result<()> + Send + Sync + 'static) {
    let listener = UnixListener::bind(folder.join(format!("{name}.sock"))).unwrap();
    let treat = Arc::new(treat);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = Arc::clone(&treat);
            thread::spawn(move || treat(stream));
        }
    });
}
