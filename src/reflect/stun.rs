//! The address in the answer to a Binding request. What is none gets no answer, so that nobody is sent more than about what he asks with.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tracing::debug;

use super::{PATIENCE, over, within};
use crate::net::sys::{self, SendOptions};
use crate::net::udp;
use crate::wire::stun;

/// The longest request that is read, in bytes. Nobody who asks for an address needs so much.
const LONGEST: usize = 1024;

/// Answers datagrams until the end, each from the address that it came to.
pub(super) async fn answer_datagrams(socket: UdpSocket, mut ending: watch::Receiver<bool>) {
    // What is longer is cut, so that it is not as long as it says.
    let mut buffer = [0; LONGEST];
    loop {
        let received = tokio::select! {
            () = over(&mut ending) => return,
            received = udp::receive(&socket, &mut buffer) => received,
        };
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                debug!("receiving a datagram: {error}");
                tokio::task::yield_now().await;
                continue;
            }
        };
        if let Some(caller) = received.peer
            && let Some(request) = stun::request(&buffer[..received.len])
        {
            let of_link = matches!(received.local, Some(IpAddr::V6(local)) if local.is_unicast_link_local());
            let interface = received.interface.filter(|_| of_link);
            let options = SendOptions { source: received.local, interface, hop_limit: None };
            // Where there is no room to send, it is as lost as on the way, and asked again.
            if let Err(error) = sys::send(&socket, &stun::response(&request, caller), caller, options) {
                debug!("answering {caller}: {error}");
            }
        }
    }
}

/// Answers the requests of a connection, one after the other, until it ends; with what is none of STUN, it does.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    mut ending: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("what it sent {why}"));
    let mut message = Vec::with_capacity(stun::HEADER);
    loop {
        message.clear();
        let mut first = [0];
        // Between two requests is where it may end.
        let begun = tokio::select! {
            biased;
            begun = within(PATIENCE, stream.peek(&mut first)) => begun?,
            () = over(&mut ending) => 0,
        };
        if begun == 0 {
            return Ok(());
        }
        within(PATIENCE, async {
            let mut header = [0; stun::HEADER];
            stream.read_exact(&mut header).await?;
            let length = stun::length(&header).map_err(wrong)?;
            if length > LONGEST {
                return Err(wrong("is longer than a request is"));
            }
            message.extend(header);
            message.resize(length, 0);
            stream.read_exact(&mut message[stun::HEADER..]).await?;
            let request = stun::request(&message).ok_or_else(|| wrong("is no Binding request"))?;
            stream.write_all(&stun::response(&request, peer)).await
        })
        .await?;
    }
}
