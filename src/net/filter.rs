//! Which received packets the kernel gives to a raw socket: classic BPF programs (`Documentation/networking/filter.rst`).
//!
//! A raw socket is given every packet of its protocol that reaches the host. The filters let through what may answer a packet of
//! ours, so that whatever else the host talks costs no system call.

use std::io;

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET,
    BPF_K, BPF_LD, BPF_LDX, BPF_LSH, BPF_MEM, BPF_MISC, BPF_MSH, BPF_RET, BPF_ST, BPF_TAX, BPF_X, sock_filter,
};
use socket2::{SockFilter, Socket};

use super::Family;
use super::ports::{BLOCK_MASK, FIRST_PORT};

/// What a socket is to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// Echo replies with an identifier of a block, and errors about echo requests of that block or about packets from our ports.
    Icmp {
        /// The bits of the identifier under [`BLOCK_MASK`].
        block: u16,
    },
    /// All that answers packets from our ports: acknowledgements, and resets.
    Tcp,
    /// Errors about packets from one port.
    ErrorsOf(u16),
    /// All that answers a packet from one port: acknowledgements, and resets.
    TcpTo(u16),
    /// Nothing.
    Nothing,
}

impl Filter {
    /// Has the kernel apply the filter to what a socket receives from now on.
    pub(super) fn attach(self, socket: &Socket, family: Family) -> io::Result<()> {
        let program: Vec<_> =
            self.program(family).iter().map(|step| SockFilter::new(step.code, step.jt, step.jf, step.k)).collect();
        socket.attach_filter(&program)
    }

    /// A raw IPv4 socket sees a packet from its IP header on, a raw IPv6 socket from behind its headers on.
    fn program(self, family: Family) -> Vec<sock_filter> {
        let mut lines = match (self, family) {
            (Self::Icmp { block }, Family::V4) => icmp_v4(block.into(), OUR_PORTS),
            (Self::Icmp { block }, Family::V6) => icmp_v6(block.into(), OUR_PORTS),
            (Self::ErrorsOf(port), Family::V4) => icmp_v4(NO_BLOCK, (IS, port.into())),
            (Self::ErrorsOf(port), Family::V6) => icmp_v6(NO_BLOCK, (IS, port.into())),
            (Self::Tcp, _) => [vec![tcp_header(family)], tcp(OUR_PORTS)].concat(),
            (Self::TcpTo(port), _) => [vec![tcp_header(family)], tcp((IS, port.into()))].concat(),
            (Self::Nothing, _) => vec![Go("drop")],
        };
        lines.extend([Mark("accept"), Do(RETURN, u32::MAX), Mark("drop"), Do(RETURN, 0)]);
        assemble(&lines)
    }
}

/// Which ports are meant: a test of them.
type PortTest = (u32, u32);

/// Those that [`super::ports`] gives out.
const OUR_PORTS: PortTest = (AT_LEAST, FIRST_PORT as u32);

/// No block of identifiers: what is not of the bits under [`BLOCK_MASK`].
const NO_BLOCK: u32 = !(BLOCK_MASK as u32);

/// Flags of TCP (RFC 9293, section 3.1).
const RST: u32 = 0x04;
const ACK: u32 = 0x10;

/// Where the TCP header is.
fn tcp_header(family: Family) -> Line {
    match family {
        Family::V4 => Do(X_HEADER_LENGTH, 0),
        Family::V6 => Do(X, 0),
    }
}

fn icmp_v4(block: u32, (is_port, port): PortTest) -> Vec<Line> {
    vec![
        Do(X_HEADER_LENGTH, 0),
        Do(BYTE_X, 0),
        If(IS, 0, "reply", ""),      // echo reply
        If(IS, 3, "error", ""),      // unreachable
        If(IS, 11, "error", ""),     // time exceeded
        If(IS, 12, "error", "drop"), // parameter problem
        Mark("error"),
        Do(BYTE_X, 8 + 9), // the protocol of the quoted packet
        Do(STORE, 0),
        Do(BYTE_X, 8), // the length of its header, which takes X to 8 bytes before what is behind it
        Do(AND, 0xf),
        Do(SHIFT, 2),
        Do(ADD_X, 0),
        Do(X_IS_A, 0),
        Do(RECALL, 0),
        If(IS, ICMP, "quoted echo", ""),
        If(IS, TCP, "quoted port", ""),
        If(IS, UDP, "quoted port", "drop"),
        Mark("quoted port"),
        Do(TWO_X, 8),
        If(is_port, port, "accept", "drop"),
        Mark("quoted echo"),
        Do(TWO_X, 8 + 4),
        Go("identifier"),
        Mark("reply"),
        Do(TWO_X, 4),
        Mark("identifier"),
        Do(AND, BLOCK_MASK as u32),
        If(IS, block, "accept", "drop"),
    ]
}

fn icmp_v6(block: u32, (is_port, port): PortTest) -> Vec<Line> {
    vec![
        Do(BYTE, 0),
        If(IS, 129, "reply", ""),    // echo reply
        If(AT_LEAST, 5, "drop", ""), // the errors are unreachable, too big, time exceeded, parameter problem
        If(AT_LEAST, 1, "", "drop"),
        Do(BYTE, 8 + 6), // what follows the header of the quoted packet; extension headers are left to the program
        If(IS, ICMP6, "quoted echo", ""),
        If(IS, TCP, "quoted port", ""),
        If(IS, UDP, "quoted port", "accept"),
        Mark("quoted port"),
        Do(TWO, 8 + 40),
        If(is_port, port, "accept", "drop"),
        Mark("quoted echo"),
        Do(TWO, 8 + 40 + 4),
        Go("identifier"),
        Mark("reply"),
        Do(TWO, 4),
        Mark("identifier"),
        Do(AND, BLOCK_MASK as u32),
        If(IS, block, "accept", "drop"),
    ]
}

/// A packet whose TCP header is at X, and which resets or acknowledges.
fn tcp((is_port, port): PortTest) -> Vec<Line> {
    vec![
        Do(TWO_X, 2), // the destination port
        If(is_port, port, "", "drop"),
        Do(BYTE_X, 13), // the flags
        If(ANY, RST | ACK, "accept", "drop"),
    ]
}

/// A line of a program.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// An instruction and its operand.
    Do(u32, u32),
    /// A test of A against the operand, and where to go; "" is the next line.
    If(u32, u32, &'static str, &'static str),
    /// A jump.
    Go(&'static str),
    /// A place to go to.
    Mark(&'static str),
}
use Line::{Do, Go, If, Mark};

/// A = one byte, or two, at the operand, and the same at X and the operand.
const BYTE: u32 = BPF_LD | BPF_B | BPF_ABS;
const TWO: u32 = BPF_LD | BPF_H | BPF_ABS;
const BYTE_X: u32 = BPF_LD | BPF_B | BPF_IND;
const TWO_X: u32 = BPF_LD | BPF_H | BPF_IND;
/// X = the operand; the length of the IPv4 header at the operand; A.
const X: u32 = BPF_LDX | BPF_IMM;
const X_HEADER_LENGTH: u32 = BPF_LDX | BPF_B | BPF_MSH;
const X_IS_A: u32 = BPF_MISC | BPF_TAX;
/// A is changed by the operand, or by X.
const AND: u32 = BPF_ALU | BPF_AND | BPF_K;
const SHIFT: u32 = BPF_ALU | BPF_LSH | BPF_K;
const ADD_X: u32 = BPF_ALU | BPF_ADD | BPF_X;
/// A is put into a cell of memory, and read back.
const STORE: u32 = BPF_ST;
const RECALL: u32 = BPF_LD | BPF_MEM;
/// Tests.
const IS: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const AT_LEAST: u32 = BPF_JMP | BPF_JGE | BPF_K;
const ANY: u32 = BPF_JMP | BPF_JSET | BPF_K;
/// How many bytes of the packet are received; none, and it is dropped.
const RETURN: u32 = BPF_RET | BPF_K;

const ICMP: u32 = libc::IPPROTO_ICMP as u32;
const ICMP6: u32 = libc::IPPROTO_ICMPV6 as u32;
const TCP: u32 = libc::IPPROTO_TCP as u32;
const UDP: u32 = libc::IPPROTO_UDP as u32;

/// Turns marks into the distances that the kernel wants. A mark that is not there is one past the end, which the kernel refuses.
fn assemble(lines: &[Line]) -> Vec<sock_filter> {
    let instructions = |lines: &[Line]| lines.iter().filter(|line| !matches!(line, Mark(_))).count();
    let distance = |from: usize, to: &str| match to {
        "" => 0,
        _ => {
            let to = lines.iter().position(|line| matches!(line, Mark(name) if *name == to)).unwrap_or(lines.len());
            instructions(&lines[from + 1..to.max(from + 1)])
        }
    };
    let step = |code: u32, jt: usize, jf: usize, k: u32| sock_filter {
        code: code as u16,
        jt: jt.min(u8::MAX.into()) as u8,
        jf: jf.min(u8::MAX.into()) as u8,
        k,
    };
    let assemble = |(at, line): (usize, &Line)| match *line {
        Do(code, k) => Some(step(code, 0, 0, k)),
        If(code, k, yes, no) => Some(step(code, distance(at, yes), distance(at, no), k)),
        Go(to) => Some(step(BPF_JMP | BPF_JA, 0, 0, distance(at, to) as u32)),
        Mark(_) => None,
    };
    lines.iter().enumerate().filter_map(assemble).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u16 = 0x3000;

    /// Runs a program as the kernel does: a load beyond the packet's end drops it.
    fn accepts(program: &[sock_filter], packet: &[u8]) -> bool {
        let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, 0_u32, 0);
        let byte = |offset: u32| packet.get(offset as usize).map(|byte| u32::from(*byte));
        let two = |offset: u32| Some(byte(offset)? << 8 | byte(offset + 1)?);
        loop {
            let step = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            let loaded = match u32::from(step.code) {
                BYTE => byte(step.k),
                TWO => two(step.k),
                BYTE_X => byte(x + step.k),
                TWO_X => two(x + step.k),
                X_HEADER_LENGTH => byte(step.k).map(|byte| {
                    x = (byte & 0xf) * 4;
                    a
                }),
                code => {
                    match code {
                        X => x = step.k,
                        X_IS_A => x = a,
                        AND => a &= step.k,
                        SHIFT => a <<= step.k,
                        ADD_X => a += x,
                        STORE => memory = a,
                        RECALL => a = memory,
                        IS => at += jump(a == step.k),
                        AT_LEAST => at += jump(a >= step.k),
                        ANY => at += jump(a & step.k != 0),
                        RETURN => return step.k != 0,
                        _ if code == BPF_JMP | BPF_JA => at += step.k as usize,
                        _ => panic!("an instruction that the programs do not use: {code:#x}"),
                    }
                    Some(a)
                }
            };
            match loaded {
                Some(value) => a = value,
                None => return false,
            }
        }
    }

    fn ip(protocol: u8, options: usize, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xa5; 20 + 4 * options];
        packet[0] = 0x45 + options as u8;
        packet[9] = protocol;
        packet.extend_from_slice(payload);
        packet
    }

    fn ip6(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xa5; 40];
        packet[6] = protocol;
        packet.extend_from_slice(payload);
        packet
    }

    fn echo(ty: u8, id: u16) -> Vec<u8> {
        [&[ty, 0, 0xa5, 0xa5][..], &id.to_be_bytes(), &[0xa5; 4]].concat()
    }

    fn error(ty: u8, quoted: &[u8]) -> Vec<u8> {
        [&[ty, 0, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5][..], quoted].concat()
    }

    fn ports(source: u16, destination: u16, flags: u8) -> Vec<u8> {
        let (source, destination) = (source.to_be_bytes(), destination.to_be_bytes());
        [&source[..], &destination, &[0xa5; 9], &[flags, 0xa5, 0xa5]].concat()
    }

    #[test]
    fn icmp_v4_lets_through_what_may_be_ours() {
        let program = Filter::Icmp { block: BLOCK }.program(Family::V4);
        let check = |options, message: &[u8], expected| {
            assert_eq!(accepts(&program, &ip(1, options, message)), expected, "{options} {message:02x?}");
        };
        for options in [0, 3, 10] {
            check(options, &echo(0, 0x3001), true);
            check(options, &echo(0, 0x3fff), true);
            check(options, &echo(0, 0x4000), false);
            check(options, &echo(8, 0x3001), false);
            for inner in [0, 2] {
                for ty in [3, 11, 12] {
                    check(options, &error(ty, &ip(1, inner, &echo(8, 0x3001))), true);
                    check(options, &error(ty, &ip(1, inner, &echo(8, 0x2fff))), false);
                    check(options, &error(ty, &ip(6, inner, &ports(61000, 443, 2)[..8])), true);
                    check(options, &error(ty, &ip(17, inner, &ports(65535, 33434, 0)[..8])), true);
                    check(options, &error(ty, &ip(17, inner, &ports(60999, 65535, 0)[..8])), false);
                    check(options, &error(ty, &ip(47, inner, &ports(65535, 65535, 0))), false);
                }
                check(options, &error(5, &ip(1, inner, &echo(8, 0x3001))), false);
            }
            check(options, &[3], false);
            check(options, &error(3, &[0x45]), false);
        }
    }

    #[test]
    fn icmp_v6_lets_through_what_may_be_ours() {
        let program = Filter::Icmp { block: BLOCK }.program(Family::V6);
        let check = |message: &[u8], expected| assert_eq!(accepts(&program, message), expected, "{message:02x?}");
        check(&echo(129, 0x3001), true);
        check(&echo(129, 0x4001), false);
        check(&echo(128, 0x3001), false);
        check(&[135, 0, 0, 0, 0, 0, 0, 0], false);
        for ty in [1, 2, 3, 4] {
            check(&error(ty, &ip6(58, &echo(128, 0x3001))), true);
            check(&error(ty, &ip6(58, &echo(128, 0x1001))), false);
            check(&error(ty, &ip6(6, &ports(61000, 443, 2))), true);
            check(&error(ty, &ip6(17, &ports(60999, 33434, 0))), false);
            check(&error(ty, &ip6(44, &[0; 16])), true);
        }
        check(&error(0, &ip6(58, &echo(128, 0x3001))), false);
        check(&error(5, &ip6(58, &echo(128, 0x3001))), false);
    }

    #[test]
    fn tcp_lets_through_answers_to_a_syn() {
        for (family, header) in [(Family::V4, ip(6, 1, &[])), (Family::V6, vec![])] {
            let program = Filter::Tcp.program(family);
            let cases = [
                (61000, 0x12, true),
                (65535, 0x14, true),
                (61000, 0x04, true),
                (61000, 0x52, true),
                (61000, 0x02, false),
                (61000, 0x10, true),
                (61000, 0x18, true),
                (60999, 0x12, false),
            ];
            for (port, flags, expected) in cases {
                let packet = [&header[..], &ports(443, port, flags)].concat();
                assert_eq!(accepts(&program, &packet), expected, "{port} {flags:#x}");
            }
        }
    }

    #[test]
    fn what_answers_one_flow_is_let_through_and_nothing_else() {
        let errors = Filter::ErrorsOf(40_000).program(Family::V4);
        let errors6 = Filter::ErrorsOf(40_000).program(Family::V6);
        for (port, expected) in [(40_000, true), (39_999, false), (61_000, false)] {
            for protocol in [6, 17] {
                let quoted = &ports(port, 443, 2)[..8];
                assert_eq!(accepts(&errors, &ip(1, 2, &error(11, &ip(protocol, 0, quoted)))), expected, "{port}");
                assert_eq!(accepts(&errors6, &error(3, &ip6(protocol, quoted))), expected, "{port}");
            }
        }
        for id in [0, 1, 0x0fff, 0x3001, 0xffff] {
            assert!(!accepts(&errors, &ip(1, 0, &echo(0, id))) && !accepts(&errors6, &echo(129, id)));
            assert!(!accepts(&errors, &ip(1, 0, &error(11, &ip(1, 0, &echo(8, id))))));
        }
        for (family, header) in [(Family::V4, ip(6, 1, &[])), (Family::V6, vec![])] {
            let program = Filter::TcpTo(40_000).program(family);
            let cases = [
                (40_000, 0x12, true),
                (40_000, 0x14, true),
                (40_000, 0x04, true),
                (40_000, 0x10, true),
                (40_000, 0x02, false),
                (40_001, 0x12, false),
            ];
            for (port, flags, expected) in cases {
                let packet = [&header[..], &ports(443, port, flags)].concat();
                assert_eq!(accepts(&program, &packet), expected, "{port} {flags:#x}");
            }
        }
    }

    #[test]
    fn nothing_is_nothing() {
        assert!(!accepts(&Filter::Nothing.program(Family::V4), &[0; 64]));
    }
}
