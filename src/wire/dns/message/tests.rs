use super::*;
use crate::wire::dns::codes::{A, ANY, IN};

/// The records of a file, each as the wire has it and as text.
fn fixture() -> Vec<(Vec<u8>, &'static str)> {
    let lines = include_str!("../../../../tests/fixtures/dns/presentation.txt").lines();
    let records = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (hex, text) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        ((0..hex.len()).step_by(2).map(byte).collect(), text)
    });
    records.collect()
}

fn query() -> Query {
    Query { name: "WWW.example".parse().unwrap(), ty: A, class: IN, recursion_desired: true, edns_udp_size: None }
}

const ID: u16 = 0x1234;

/// A reply with records in its sections, each the same bytes.
fn reply(flags: u16, sections: [&[&[u8]]; 3]) -> Vec<u8> {
    let counts = sections.map(|records| records.len() as u16);
    let header = [ID, QR | flags, 1].into_iter().chain(counts);
    let mut message: Vec<u8> = header.flat_map(u16::to_be_bytes).collect();
    message.extend_from_slice(&query().message(ID)[12..]);
    message.extend(sections.concat().concat());
    message
}

const ADDRESS: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\x7f\0\0\x01";
const START: &[u8] =
    b"\xc0\x10\0\x06\0\x01\0\0\0\x0a\0\x18\xc0\x0c\xc0\x10\x80\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn records_read_as_in_go() {
    let records = fixture();
    assert!(records.len() > 70, "{}", records.len());
    for (wire, expected) in records {
        let record = Record::read(&mut Reader::new(&wire)).unwrap();
        let (entry, is_good) = record.entry();
        assert_eq!((entry.text.as_str(), is_good), (expected, true));
    }
}

#[test]
fn a_record_of_any_type_that_is_cut_short_is_malformed_and_told_by_its_bytes() {
    for (wire, text) in fixture() {
        let mut record = Record::read(&mut Reader::new(&wire)).unwrap();
        let header = wire.len() - record.data.rest().len();
        for length in header + 1..wire.len() {
            let mut cut = wire[..length].to_vec();
            let size = (length - header) as u16;
            cut[header - 2..header].copy_from_slice(&size.to_be_bytes());
            // Some are good at any length, as texts and keys are; none is lost.
            let (entry, is_good) = Record::read(&mut Reader::new(&cut)).unwrap().entry();
            let told = entry.text.ends_with(&present::unknown(&cut[header..]));
            assert!(is_good || told, "{text}: {}", entry.text);
        }
    }
}

#[test]
fn a_question_is_written_as_the_wire_wants_it() {
    let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03WWW\x07example\0\0\x01\0\x01";
    assert_eq!(query().message(ID), expected);
    let edns =
        Query { recursion_desired: false, edns_udp_size: Some(1232), name: DomainName::root(), ty: ANY, ..query() };
    let expected = b"\x12\x34\0\0\0\x01\0\0\0\0\0\x01\0\0\xff\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
    assert_eq!(edns.message(ID), expected);
    assert_eq!(edns.question(), ". IN ANY");
}

#[test]
fn a_reply_tells_all_of_itself() {
    let opt = b"\0\0\x29\x10\0\x01\0\x80\0\0\x0a\0\x0f\0\x06\0\x06oops";
    let message = reply(AA | TC | RA | AD | 3, [&[ADDRESS, ADDRESS], &[START], &[opt]]);
    let reply = query().reply(ID, &message, true).unwrap();
    assert_eq!((reply.rcode, reply.rcode_text().as_str()), (19, "BADMODE, extended error 6 \"oops\""));
    assert!(reply.authoritative && reply.truncated && reply.recursion_available && reply.authenticated);
    assert_eq!((reply.edns_udp_size, reply.defect.as_deref()), (Some(4096), None));
    let texts = |section: &Section| section.records.iter().map(|entry| entry.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&reply.answer), ["WWW.example.\t300\tIN\tA\t127.0.0.1"; 2]);
    assert_eq!(texts(&reply.authority), ["example.\t10\tIN\tSOA\tWWW.example. example. 2147483649 0 0 0 0"]);
    assert_eq!(texts(&reply.additional), ["; EDNS: version 0, udp: 4096"]);
    assert_eq!(
        (reply.answer_ttl(), reply.serial(), reply.authority.records[0].serial),
        (Some(300), None, Some(1 << 31 | 1))
    );
    assert!(reply.sections().iter().all(|(_, section)| section.complete));
}

#[test]
fn what_is_no_reply_to_the_question_is_told() {
    let good = reply(0, [&[], &[], &[]]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        query().reply(ID, &message, true).map(|reply| reply.rcode)
    };
    let err = |text: &str| Err(text.to_owned());
    assert_eq!(with(&|_| {}), Ok(0));
    assert_eq!(with(&|message| message[13] = b'w'), Ok(0), "case does not count");
    assert_eq!(with(&|message| message[1] = 0), err("has another id"));
    assert_eq!(with(&|message| message[2] = 0), err("is a question itself"));
    assert_eq!(with(&|message| message[13] = b'x'), err("answers another question"));
    assert_eq!(with(&|message| message[26] = 28), err("answers another question"));
    assert_eq!(with(&|message| message[28] = 3), err("answers another question"));
    assert_eq!(with(&|message| message[5] = 2), err("answers another question"));
    assert_eq!(with(&|message| message.truncate(11)), err("is shorter than a header"));
    assert_eq!(with(&|message| message.truncate(12)), err("does not repeat the question"));
    assert_eq!(with(&|message| message[5] = 0), err("does not repeat the question"));
    let refused = |message: &mut Vec<u8>| {
        message.truncate(12);
        message[3] = 5;
    };
    assert_eq!(with(&refused), Ok(5));
}

#[test]
fn one_malformed_record_loses_no_other() {
    let short = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x03\x7f\0\0";
    let reply = query().reply(ID, &reply(0, [&[ADDRESS, short, ADDRESS], &[], &[]]), true).unwrap();
    let texts: Vec<_> = reply.answer.records.iter().map(|entry| entry.text.as_str()).collect();
    let good = "WWW.example.\t300\tIN\tA\t127.0.0.1";
    assert_eq!(texts, [good, "WWW.example.\t5\tCLASS1\tTYPE1\t\\# 3 7f0000", good]);
    let defect = "a record of type A is malformed: WWW.example.\t5\tCLASS1\tTYPE1\t\\# 3 7f0000";
    assert_eq!(reply.defect.as_deref(), Some(defect));
}

#[test]
fn every_beginning_of_a_reply_tells_what_is_there() {
    let message = reply(AA, [&[ADDRESS, ADDRESS], &[START], &[]]);
    for length in 0..message.len() {
        let part = query().reply(ID, &message[..length], false);
        if length < 12 {
            assert!(part.is_err());
            continue;
        }
        let part = part.unwrap();
        let answers = length.saturating_sub(29) / ADDRESS.len();
        assert_eq!(part.answer.records.len(), answers.min(2), "{length}");
        assert_eq!((part.answer.complete, part.authority.complete), (answers >= 2, false), "{length}");
        assert!(part.authoritative && part.defect.is_none());
    }
    // The same as a whole: a server that cut between two records has fewer, in the middle of one it is broken.
    let whole = |length: usize| query().reply(ID, &message[..length], true).unwrap();
    let cut = whole(29 + ADDRESS.len());
    assert_eq!((cut.answer.records.len(), cut.answer.complete, cut.authority.complete), (1, true, true));
    let broken = whole(29 + ADDRESS.len() + 1);
    assert_eq!((broken.answer.records.len(), broken.answer.complete, broken.defect.is_some()), (1, false, true));
}

proptest::proptest! {
    #[test]
    fn nothing_that_comes_is_too_much(bytes: Vec<u8>, whole: bool, flags: u16, counts: [u8; 3], ty: u16) {
        let mut message: Vec<u8> = [ID, QR | flags, 1].into_iter().flat_map(u16::to_be_bytes).collect();
        message.extend(counts.into_iter().flat_map(|count| u16::from(count).to_be_bytes()));
        message.extend_from_slice(&query().message(ID)[12..]);
        message.extend([0xc0, 0x0c]);
        message.extend(ty.to_be_bytes());
        message.extend(&bytes);
        let _ = query().reply(ID, &message, whole);
        let _ = query().reply(ID, &bytes, whole);
        let _ = present::data(ty % 300, Reader::new(&bytes));
    }
}
