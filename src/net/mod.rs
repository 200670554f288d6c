//! Every socket of the program, always made from a [`Source`] but for those of this host ([`unix`]); kernel time stamps; TLS.

pub mod clock;
pub mod flow;
pub mod linger;
pub mod options;
pub mod quic;
pub mod share;
pub mod stream;
pub mod sys;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod unix;

mod channel;
mod conversation;
mod drops;
mod filter;
pub(crate) mod netlink;
mod network;
mod ports;
mod source;
mod strays;
mod table;
mod way;

pub use channel::RESETS;
pub use conversation::{Answer, Conversation, Refusal, Reply, Shape, Syns};
pub use drops::{Dropped, Drops};
pub use netlink::Heading;
pub use network::{Flow, Network};
pub use source::{Family, LocalFault, Source, SourceError, is_own};
pub use way::{Home, Way};
