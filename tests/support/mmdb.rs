//! Databases of MaxMind's format, as small as they can be (<https://maxmind.github.io/MaxMind-DB/>): IPv6, with IPv4 in `::/96`.

use std::net::IpAddr;

/// A value of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(u32),
}

/// A network: its address, the length of its prefix, and what is said of it.
pub(crate) type Network<'a> = (&'a str, u8, &'a [(&'a str, Value<'a>)]);

/// Where a record of the tree leads.
#[derive(Debug, Clone, Copy)]
enum Way {
    Nowhere,
    Node(usize),
    Data(usize),
}

/// The database of a type with these networks.
pub(crate) fn database(ty: &str, networks: &[Network<'_>]) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[Way::Nowhere; 2]], Vec::new());
    for (address, length, fields) in networks {
        let (bits, length) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), length + 96),
            IpAddr::V6(v6) => (v6.to_bits(), *length),
        };
        let offset = data.len();
        data.push(7 << 5 | fields.len() as u8);
        for (key, value) in *fields {
            text(key, &mut data);
            match value {
                Value::Text(value) => text(value, &mut data),
                Value::Number(value) => number(6, *value, &mut data),
            }
        }
        let mut node = 0;
        for depth in 0..length {
            let side = (bits >> (127 - depth) & 1) as usize;
            if depth + 1 == length {
                nodes[node][side] = Way::Data(offset);
                break;
            }
            node = match nodes[node][side] {
                Way::Node(next) => next,
                Way::Nowhere => {
                    nodes.push([Way::Nowhere; 2]);
                    nodes[node][side] = Way::Node(nodes.len() - 1);
                    nodes.len() - 1
                }
                Way::Data(_) => panic!("networks in others are not written"),
            };
        }
    }
    let count = nodes.len();
    let record = |way: &Way| {
        let value = match way {
            Way::Nowhere => count,
            Way::Node(node) => *node,
            Way::Data(offset) => count + 16 + offset,
        };
        (value as u32).to_be_bytes()[1..].to_vec()
    };
    let mut file: Vec<u8> = nodes.iter().flatten().flat_map(record).collect();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.push(7 << 5 | 9);
    for (key, value) in [
        ("node_count", count as u32),
        ("record_size", 24),
        ("ip_version", 6),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        text(key, &mut file);
        number(if key == "node_count" { 6 } else { 5 }, value, &mut file);
    }
    text("database_type", &mut file);
    text(ty, &mut file);
    text("languages", &mut file);
    file.extend([0, 11 - 7]);
    text("build_epoch", &mut file);
    file.extend([4, 9 - 7, 0x65, 0, 0, 0]);
    text("description", &mut file);
    file.push(7 << 5);
    file
}

fn text(text: &str, to: &mut Vec<u8>) {
    match text.len() {
        length @ ..29 => to.push(2 << 5 | length as u8),
        length => to.extend([2 << 5 | 29, (length - 29) as u8]),
    }
    to.extend(text.as_bytes());
}

fn number(ty: u8, number: u32, to: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let bytes = &bytes[(number.leading_zeros() / 8) as usize..];
    to.push(ty << 5 | bytes.len() as u8);
    to.extend(bytes);
}
