//! One question to one name server, whoever asks it.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::stream::{Observer, Stream};
use crate::net::sys::ExtendedError;
use crate::net::tcp::{self, ConnectError, Opening};
use crate::net::{Source, SourceError, clock, options, share, udp};
use crate::probe::Request;
use crate::probe::judge::Astray;
use crate::wire::dns::{Answer, Question};

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::probe) enum Fault {
    /// The socket could not be made: a fault of this host.
    Source(SourceError),
    /// It would leave by another way than the ISP's, and so does not.
    Astray(Astray),
    /// There is no connection.
    Connect(ConnectError),
    /// The question could not be sent: nothing is on the wire yet, so that this host says so.
    Unsent(io::Error),
    /// Sending or receiving failed later; with what the socket's error queue says.
    Io(io::Error, Option<ExtendedError>),
    /// What came is no answer to the question.
    Broken,
}

/// Asks by UDP, on behalf of a request. What is no answer to the question is passed over. It waits for as long as it is let.
pub(super) async fn by_udp(
    request: &Request,
    source: &Source,
    server: SocketAddr,
    question: &Question,
    observer: &impl Observer,
) -> Result<Answer, Fault> {
    let socket = udp::connect(source, server).map_err(Fault::Source)?;
    request.will_send(source, socket.local_addr().ok(), server).map_err(Fault::Astray)?;
    observer.sent(udp::send(&socket, question.bytes()).await.map_err(Fault::Unsent)?, 0);
    // Without EDNS a server is to send no more than 512 bytes; some send as many as a packet holds. A longer datagram is cut, and
    // then no answer.
    let mut buffer = vec![0; 4096];
    loop {
        let received = udp::receive(&socket, &mut buffer).await;
        let evidence = || options::evidence_towards(&*socket, socket.local_addr().ok(), server);
        let received = received.map_err(|error| Fault::Io(error, evidence()))?;
        let arrived = received.stamp.map_or_else(Instant::now, clock::instant_of);
        if let Some(answer) = question.answer(&buffer[..received.len]) {
            socket.close();
            observer.received(arrived, 0);
            return Ok(answer);
        }
        share::worked(received.len).await;
    }
}

/// The same by TCP, which has room for every answer.
pub(super) async fn by_tcp(
    request: &Request,
    source: &Source,
    server: SocketAddr,
    question: &Question,
    observer: &(impl Observer + Clone + Unpin),
) -> Result<Answer, Fault> {
    request.will_connect(source, server).map_err(Fault::Astray)?;
    let connecting = tcp::connect(source, server, Opening::Full, false, observer).map_err(Fault::Connect)?;
    connecting.established(observer).await.map_err(Fault::Connect)?;
    let conversation = async {
        let mut stream = Stream::new(connecting.into_stream()?, observer.clone());
        // Each message goes behind its length (RFC 1035, section 4.2.2), both in one segment (RFC 7766, section 8).
        let length = question.bytes().len() as u16;
        stream.write_all(&[&length.to_be_bytes(), question.bytes()].concat()).await?;
        let length = stream.read_u16().await?;
        let mut message = vec![0; length.into()];
        stream.read_exact(&mut message).await?;
        Ok(message)
    };
    let message = conversation.await.map_err(|error: io::Error| Fault::Io(error, None))?;
    question.answer(&message).ok_or(Fault::Broken)
}

/// The same by UDP, and by TCP where the answer does not fit.
pub(in crate::probe) async fn ask(
    request: &Request,
    source: &Source,
    server: SocketAddr,
    question: &Question,
    observer: &(impl Observer + Clone + Unpin),
) -> Result<Answer, Fault> {
    match by_udp(request, source, server, question, observer).await? {
        Answer::Truncated => by_tcp(request, source, server, question, observer).await,
        answer => Ok(answer),
    }
}
