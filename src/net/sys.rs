//! The system calls that have no safe wrapper elsewhere, each made safe here.
//!
//! This is the only module of the program with `unsafe` in it. Everything it gives out is a plain value.
#![expect(unsafe_code, reason = "the one audited module for system calls that have no safe wrapper")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_void};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A reading of the kernel's `CLOCK_REALTIME`, as the time since the epoch: the clock of all its packet stamps.
pub type Stamp = Duration;

/// What one `recvmsg` brought besides the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes written to the buffer.
    pub len: usize,
    /// Who sent it; on an error queue, where the packet that failed was going.
    pub peer: Option<SocketAddr>,
    /// The kernel's stamp: of arrival, or of departure on an error queue.
    pub stamp: Option<Stamp>,
    /// The hop limit (IPv4: TTL) that the packet arrived with.
    pub hop_limit: Option<u8>,
    /// The local address that the packet was sent to.
    pub local: Option<IpAddr>,
    /// The index of the interface that it arrived on.
    pub interface: Option<u32>,
    /// What the error queue says (`MSG_ERRQUEUE` only).
    pub error: Option<ExtendedError>,
}

/// An entry of a socket's error queue: `struct sock_extended_err` of `ip(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedError {
    /// The errno that it stands for.
    pub errno: i32,
    /// Who reports it.
    pub origin: Origin,
    /// The ICMP type, when `origin` is ICMP.
    pub ty: u8,
    /// The ICMP code, when `origin` is ICMP.
    pub code: u8,
    /// The MTU for "message too long"; the kind of stamp for `Origin::Timestamping`.
    pub info: u32,
    /// The number of the packet for `Origin::Timestamping`.
    pub data: u32,
    /// The node that sent the ICMP message.
    pub offender: Option<IpAddr>,
}

/// Where an entry of the error queue comes from (`linux/errqueue.h`, `SO_EE_ORIGIN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This host's own stack.
    Local,
    /// An ICMPv4 message.
    Icmp,
    /// An ICMPv6 message.
    Icmp6,
    /// A departure stamp.
    Timestamping,
    /// Anything else.
    Other(u8),
}

/// What the kernel knows of a TCP connection (`TCP_INFO`, `tcp(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round-trip time; right after the handshake it is the handshake's.
    pub rtt: Duration,
    /// Segments sent again since the socket was made; right after the handshake, the SYNs sent again.
    pub total_retransmits: u32,
    /// Segments sent and not yet acknowledged.
    pub unacknowledged: u32,
    /// SYNs sent again and not yet answered.
    pub retransmits: u8,
    /// The largest segment that the peer takes, in bytes.
    pub send_mss: u32,
    /// Whether both sides do timestamps (RFC 7323).
    pub has_timestamps: bool,
    /// How long ago the last acknowledgement came, by the kernel's ticks: in steps of up to 10 ms.
    pub last_acknowledged: Duration,
    /// Segments sent, those without data included; nothing where the kernel does not say (before 4.2).
    pub segments_sent: Option<u32>,
}

/// `TCPI_OPT_TIMESTAMPS` of `linux/tcp.h`.
const TCPI_OPT_TIMESTAMPS: u8 = 1;

/// How one packet leaves, where it differs from its socket's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// Hop limit (IPv4: TTL).
    pub hop_limit: Option<u8>,
    /// Source address, which the routing decision sees (`IP_PKTINFO`, `IPV6_PKTINFO`).
    pub source: Option<IpAddr>,
    /// The index of the interface that it leaves by, with a source of IPv6: one of a single link (`fe80::/10`) means nothing elsewhere.
    pub interface: Option<u32>,
}

/// Makes a socket known to the reactor, for reading and for its error queue.
///
/// # Errors
/// As `epoll_ctl(2)`.
pub fn register<T: AsRawFd + AsFd>(socket: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the AsyncFd owns the socket, every type that is passed here owns its descriptor for its whole life,
    // and none hands out another descriptor later.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::ERROR) }.map_err(io::Error::from)
}

/// Sets an integer socket option.
///
/// # Errors
/// As `setsockopt(2)`.
pub fn set_option(socket: &impl AsRawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// Has a TCP socket want a signature (RFC 2385) of everybody in an address family, by a key that nobody uses: the kernel drops what has none.
///
/// # Errors
/// As `setsockopt(2)`; where the kernel has no signatures, `ENOPROTOOPT`.
pub fn want_signatures(socket: &impl AsRawFd, family: c_int) -> io::Result<()> {
    // struct tcp_md5sig (linux/tcp.h): struct sockaddr_storage; flags, the length of the prefix, and of the key, two bytes; a device; the key.
    let mut wanted = [0_u8; 128 + 8 + libc::TCP_MD5SIG_MAXKEYLEN];
    wanted[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
    wanted[128] = TCP_MD5SIG_FLAG_PREFIX;
    wanted[130..132].copy_from_slice(&(libc::TCP_MD5SIG_MAXKEYLEN as u16).to_ne_bytes());
    // SAFETY: the pointer and the length describe `wanted`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG_EXT,
            wanted.as_ptr().cast::<c_void>(),
            wanted.len() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// That the length of the prefix counts (linux/tcp.h), which the libc crate lacks.
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;

/// Reads `TCP_INFO`.
///
/// # Errors
/// As `getsockopt(2)`; `Unsupported` where the kernel's structure ends before the fields that are needed.
pub fn tcp_info(socket: &impl AsRawFd) -> io::Result<TcpInfo> {
    // SAFETY: `tcp_info` is a structure of integers, for which all zeros is a value.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `info`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast::<c_void>(),
            &raw mut length,
        )
    };
    check(result)?;
    let told = |offset: usize| length as usize >= offset + size_of::<u32>();
    if !told(std::mem::offset_of!(libc::tcp_info, tcpi_total_retrans)) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel's TCP_INFO has no tcpi_total_retrans"));
    }
    Ok(TcpInfo {
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
        total_retransmits: info.tcpi_total_retrans,
        unacknowledged: info.tcpi_unacked,
        retransmits: info.tcpi_retransmits,
        send_mss: info.tcpi_snd_mss,
        has_timestamps: info.tcpi_options & TCPI_OPT_TIMESTAMPS != 0,
        last_acknowledged: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        segments_sent: told(std::mem::offset_of!(libc::tcp_info, tcpi_segs_out)).then_some(info.tcpi_segs_out),
    })
}

/// The bytes that a TCP connection was given to send and that were not acknowledged (`SIOCOUTQ` of `tcp(7)`).
///
/// # Errors
/// As the ioctl.
pub fn unacknowledged(socket: &impl AsRawFd) -> io::Result<c_int> {
    let mut bytes: c_int = 0;
    // SAFETY: the pointer is to an integer, which the call fills and which outlives it. `TIOCOUTQ` is the same number.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes)
}

/// Receives one message with its control data; `flags` may hold `MSG_ERRQUEUE`. Never blocks.
///
/// # Errors
/// As `recvmsg(2)`; `WouldBlock` where there is nothing.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8], flags: c_int) -> io::Result<Received> {
    let mut control = Control::new();
    // SAFETY: all zeros is a value of both structures.
    let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.as_mut_ptr().cast();
    header.msg_controllen = control.bytes.len();
    // SAFETY: every pointer in the header is to a live local of the length given beside it.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags | libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;

    let mut received = Received { len, ..Received::default() };
    if header.msg_namelen > 0 {
        received.peer = address(&name);
    }
    // SAFETY: the kernel filled `control` and set `msg_controllen` to what it wrote; the CMSG macros stay inside it,
    // and each payload is read unaligned and only as long as its header says.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            read_control(&*message, libc::CMSG_DATA(message), &mut received);
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok(received)
}

/// Sends one message. Never blocks.
///
/// # Errors
/// As `sendmsg(2)`.
pub fn send(socket: &impl AsRawFd, bytes: &[u8], to: SocketAddr, options: SendOptions) -> io::Result<usize> {
    let mut control = Control::new();
    let mut used = 0;
    if let Some(hop_limit) = options.hop_limit {
        let (level, name) = match to {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
        };
        used += control.put(used, level, name, &c_int::from(hop_limit));
    }
    match options.source {
        Some(IpAddr::V4(source)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            used += control.put(used, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(source)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                ipi6_ifindex: options.interface.unwrap_or(0),
            };
            used += control.put(used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    let to = socket2::SockAddr::from(to);
    // SAFETY: all zeros is a value of the structure.
    let mut header: libc::msghdr = unsafe { zeroed() };
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    header.msg_name = to.as_ptr().cast_mut().cast();
    header.msg_namelen = to.len();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if used > 0 {
        header.msg_control = control.bytes.as_mut_ptr().cast();
        header.msg_controllen = used;
    }
    // SAFETY: every pointer in the header is to a live local of the length given beside it; sendmsg reads only.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A request about the interface of a name.
fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeros is a value of the structure.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "interface names have at most 15 characters"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// The index of an interface; nothing where there is none of that name.
#[must_use]
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is NUL-terminated and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// The name of an interface; nothing where there is none of that index.
#[must_use]
pub fn interface_name(index: u32) -> Option<String> {
    let mut name: [libc::c_char; libc::IF_NAMESIZE] = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer is as long as names of interfaces can be, with the NUL behind them.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    let bytes = name.map(i8::cast_unsigned);
    CStr::from_bytes_until_nul(&bytes).ok().filter(|_| !found.is_null())?.to_str().ok().map(str::to_owned)
}

/// The index of an interface, in the network namespace of a socket of any kind.
///
/// # Errors
/// As the ioctl (`SIOCGIFINDEX` of `netdevice(7)`): `ENODEV` where there is none of that name.
pub fn device_index(socket: &impl AsRawFd, name: &str) -> io::Result<u32> {
    let mut request = interface_request(name)?;
    // SAFETY: the pointer is to a live local of the type that SIOCGIFINDEX takes.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) })?;
    // SAFETY: SIOCGIFINDEX filled this field of the union.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex }.cast_unsigned())
}

/// The name of an interface, in the network namespace of a socket of any kind.
///
/// # Errors
/// As the ioctl (`SIOCGIFNAME` of `netdevice(7)`): `ENODEV` where there is none of that index.
pub fn device_name(socket: &impl AsRawFd, index: u32) -> io::Result<String> {
    let mut request = interface_request("")?;
    request.ifr_ifru.ifru_ifindex = index.cast_signed();
    // SAFETY: the pointer is to a live local of the type that SIOCGIFNAME takes.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFNAME, &raw mut request) })?;
    let name = request.ifr_name.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned());
    Ok(String::from_utf8_lossy(&name.collect::<Vec<u8>>()).into_owned())
}

/// Raises the soft limit of open descriptors to the hard one, and returns it.
///
/// # Errors
/// As `setrlimit(2)`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live local.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a live local.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// A kind of namespace that a thread can make or join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// User ids and capabilities. Only a process of one thread can make one.
    User,
    /// Interfaces, addresses, routes, sockets. Per thread.
    Network,
}

/// Moves the calling thread into a new namespace.
///
/// # Errors
/// As `unshare(2)`.
pub fn unshare(namespace: Namespace) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(clone_flag(namespace)) }).map(drop)
}

/// Moves the calling thread into an existing network namespace.
///
/// # Errors
/// As `setns(2)`.
pub fn join_network(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setns(namespace.as_raw_fd(), clone_flag(Namespace::Network)) }).map(drop)
}

/// Opens a TUN device of the given name (made where there is none) in the calling thread's network namespace. One read or write
/// is one IP packet.
///
/// # Errors
/// As `open(2)` of `/dev/net/tun` and the `TUNSETIFF` ioctl.
pub fn open_tun(name: &str) -> io::Result<OwnedFd> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the pointer is to a live local of the type that TUNSETIFF takes.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let file = OwnedFd::from(file);
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok(file)
}

/// Waits until one of the descriptors can be read, or the time is over; says which can be read.
///
/// # Errors
/// As `ppoll(2)`.
pub fn wait_readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = descriptors.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().cast_signed(),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), |timeout| &raw const *timeout);
    // SAFETY: the array and its length agree; the timeout is null or points to a live local; the mask is null.
    check(unsafe { libc::ppoll(polled.as_mut_ptr(), N as libc::nfds_t, timeout, std::ptr::null()) })?;
    Ok(polled.map(|polled| polled.revents != 0))
}

/// Lets the calling thread's sleeps end on time (`PR_SET_TIMERSLACK`, 1 ns instead of the usual 50 µs).
///
/// # Errors
/// As `prctl(2)`.
pub fn sleep_exactly() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) }).map(drop)
}

/// Lets the calling thread run as soon as it has something to do, before all that are not of the real-time kind (`SCHED_FIFO`), which takes
/// CAP_SYS_NICE.
///
/// # Errors
/// As `sched_setscheduler(2)`.
pub fn take_precedence() -> io::Result<()> {
    // SAFETY: `sched_param` is a structure of integers, for which all zeros is a value.
    let mut lowest: libc::sched_param = unsafe { zeroed() };
    lowest.sched_priority = 1;
    // SAFETY: the pointer is to a live local, which is only read. On Linux 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) }).map(drop)
}

/// Makes a descriptor that becomes readable when the other end is closed or written to: a pipe.
///
/// # Errors
/// As `pipe2(2)`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the pointer is to an array of two.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: both descriptors were just made and are owned by nobody else.
    unsafe { Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))) }
}

/// Makes a second descriptor of what a number stands for, closed on `exec(2)`.
///
/// # Errors
/// As `fcntl(2)`: nothing stands behind the number.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers, and a number that is no descriptor is refused.
    let second = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(second) })
}

/// Room for the control data of one message, aligned as the kernel's `cmsghdr` wants it.
#[repr(align(8))]
struct Control {
    bytes: [u8; 512],
}

impl Control {
    fn new() -> Self {
        Self { bytes: [0; 512] }
    }

    /// Appends one control message at `offset`, and returns how many bytes it took.
    fn put<T>(&mut self, offset: usize, level: c_int, kind: c_int, value: &T) -> usize {
        let length = size_of::<T>() as u32;
        // SAFETY: takes no pointers.
        let (space, whole) = unsafe { (libc::CMSG_SPACE(length) as usize, libc::CMSG_LEN(length) as usize) };
        assert!(offset + space <= self.bytes.len(), "the control buffer holds all messages that are sent");
        // SAFETY: the space was just checked; the header is aligned, since `bytes` is and CMSG_SPACE keeps it so; the
        // payload is copied as bytes.
        unsafe {
            let header = self.bytes.as_mut_ptr().add(offset).cast::<libc::cmsghdr>();
            header.write(libc::cmsghdr { cmsg_len: whole, cmsg_level: level, cmsg_type: kind });
            std::ptr::copy_nonoverlapping((&raw const *value).cast::<u8>(), libc::CMSG_DATA(header), size_of::<T>());
        }
        space
    }
}

/// Reads one control message into `received`.
///
/// # Safety
/// `data` points to the payload of `message`, in a buffer that holds all of it.
unsafe fn read_control(message: &libc::cmsghdr, data: *const u8, received: &mut Received) {
    // SAFETY: takes no pointers.
    let length = message.cmsg_len.saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
    /// Reads a value, where the payload is long enough for one.
    unsafe fn get<T: Copy>(data: *const u8, length: usize) -> Option<T> {
        // SAFETY: as of `read_control`; only types made of integers are asked for.
        (length >= size_of::<T>()).then(|| unsafe { data.cast::<T>().read_unaligned() })
    }
    // SAFETY: as of this function.
    unsafe {
        match (message.cmsg_level, message.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                let stamps = get::<[libc::timespec; 3]>(data, length);
                received.stamp = stamps.map(|stamps| stamp(&stamps[0])).filter(|stamp| !stamp.is_zero());
            }
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                received.hop_limit = get::<c_int>(data, length).and_then(|limit| u8::try_from(limit).ok());
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let Some(info) = get::<libc::in_pktinfo>(data, length) {
                    received.local = Some(IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()));
                    received.interface = u32::try_from(info.ipi_ifindex).ok();
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let Some(info) = get::<libc::in6_pktinfo>(data, length) {
                    received.local = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
                    received.interface = Some(info.ipi6_ifindex);
                }
            }
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                if let Some(error) = get::<libc::sock_extended_err>(data, length) {
                    // SO_EE_OFFENDER: a socket address stands right behind the structure.
                    let mut offender: libc::sockaddr_storage = zeroed();
                    let behind = size_of::<libc::sock_extended_err>();
                    std::ptr::copy_nonoverlapping(
                        data.add(behind),
                        (&raw mut offender).cast::<u8>(),
                        (length - behind).min(size_of::<libc::sockaddr_storage>()),
                    );
                    received.error = Some(ExtendedError {
                        errno: error.ee_errno.cast_signed(),
                        origin: origin(error.ee_origin),
                        ty: error.ee_type,
                        code: error.ee_code,
                        info: error.ee_info,
                        data: error.ee_data,
                        offender: address(&offender).map(|offender| offender.ip()),
                    });
                }
            }
            _ => {}
        }
    }
}

fn origin(origin: u8) -> Origin {
    match origin {
        libc::SO_EE_ORIGIN_LOCAL => Origin::Local,
        libc::SO_EE_ORIGIN_ICMP => Origin::Icmp,
        libc::SO_EE_ORIGIN_ICMP6 => Origin::Icmp6,
        libc::SO_EE_ORIGIN_TIMESTAMPING => Origin::Timestamping,
        other => Origin::Other(other),
    }
}

fn stamp(time: &libc::timespec) -> Stamp {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let pointer = &raw const *storage;
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: a sockaddr_storage is large and aligned enough for every address family, and the family says
            // which it holds.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

fn clone_flag(namespace: Namespace) -> c_int {
    match namespace {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Network => libc::CLONE_NEWNET,
    }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
