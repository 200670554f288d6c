use proptest::prelude::*;

use super::*;

const TRANSACTION: Transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

/// RFC 5769, section 2.2.
const SAMPLE_V4: [u8; 80] = *b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
    \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";

/// RFC 5769, section 2.3.
const SAMPLE_V6: [u8; 92] = *b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
    \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
    \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
    \x80\x28\x00\x04\xc8\xfb\x0b\x4c";

fn mapped(address: &str, in_clear: bool) -> Answer {
    Answer::Mapped(Mapped { address: address.parse().unwrap(), in_clear })
}

/// The attribute of an address in clear.
fn in_clear(address: &str) -> Vec<u8> {
    let address = unmasked(address.parse().unwrap(), &TRANSACTION);
    address_value(address, &TRANSACTION)
}

fn success(attributes: &[(u16, Vec<u8>)]) -> Result<Answer, &'static str> {
    answer(&message(SUCCESS, &TRANSACTION, attributes, false), &TRANSACTION)
}

fn broken(answer: Result<Answer, &'static str>) -> String {
    match answer {
        Ok(Answer::Broken(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_samples_of_rfc_5769_say_what_they_say() {
    assert_eq!(answer(&SAMPLE_V4, &TRANSACTION), Ok(mapped("192.0.2.1:32853", false)));
    let v6 = mapped("[2001:db8:1234:5678:11:2233:4455:6677]:32853", false);
    assert_eq!(answer(&SAMPLE_V6, &TRANSACTION), Ok(v6));
    for sample in [&SAMPLE_V4[..], &SAMPLE_V6] {
        assert_eq!(length(sample.first_chunk().unwrap()), Ok(sample.len()));
    }
}

#[test]
fn a_request_is_a_header_and_a_fingerprint() {
    let bytes = binding_request(&TRANSACTION);
    assert_eq!(bytes.len(), HEADER + FINGERPRINT_LENGTH);
    assert_eq!(bytes[..8], [0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42]);
    assert_eq!(bytes[8..20], TRANSACTION);
    assert_eq!(bytes[20..24], [0x80, 0x28, 0, 4]);
    let expected = Request { transaction: TRANSACTION, has_fingerprint: true, unknown: vec![] };
    assert_eq!(request(&bytes), Some(expected));
}

#[test]
fn what_is_no_answer_to_the_request_says_why() {
    let mut other = TRANSACTION;
    other[11] ^= 1;
    assert_eq!(answer(&SAMPLE_V4, &other), Err("has another transaction id"));
    let changed = |at: usize, byte: u8| {
        let mut message = SAMPLE_V4;
        message[at] = byte;
        answer(&message, &TRANSACTION)
    };
    assert_eq!(changed(0, 0x81), Err("does not begin as one of STUN"));
    assert_eq!(changed(4, 0), Err("has not the magic cookie of STUN"));
    assert_eq!(changed(3, 0x3d), Err("has a length that none of STUN has"));
    assert_eq!(changed(3, 0x38), Err("is not as long as it says"));
    assert_eq!(changed(0, 0), Err("is no answer to a Binding request"), "a request");
    assert_eq!(answer(&SAMPLE_V4[..19], &TRANSACTION), Err("is shorter than the header of one of STUN"));
    assert_eq!(answer(&SAMPLE_V4[..76], &TRANSACTION), Err("is not as long as it says"));
}

#[test]
fn what_was_changed_on_the_way_is_told_by_its_fingerprint() {
    let mut message = SAMPLE_V4;
    message[47] ^= 1;
    assert!(broken(answer(&message, &TRANSACTION)).contains("FINGERPRINT that is not its own"));
    let mut longer = SAMPLE_V4.to_vec();
    longer[3] += 4;
    longer.extend([0x80, 0x22, 0, 0]);
    assert_eq!(broken(answer(&longer, &TRANSACTION)), "has something behind its FINGERPRINT");
}

#[test]
fn old_servers_say_the_address_in_clear() {
    let clear = (MAPPED_ADDRESS, in_clear("192.0.2.7:1234"));
    // RFC 3489: SOURCE-ADDRESS and CHANGED-ADDRESS.
    let old = [clear.clone(), (0x04, in_clear("198.51.100.1:3478")), (0x05, in_clear("198.51.100.2:3479"))];
    assert_eq!(success(&old), Ok(mapped("192.0.2.7:1234", true)));
    // The one that is masked counts, wherever it stands, and of several the first.
    let masked = |address: &str| (XOR_MAPPED_ADDRESS, address_value(address.parse().unwrap(), &TRANSACTION));
    let both = [clear, masked("203.0.113.9:5"), masked("203.0.113.10:6")];
    assert_eq!(success(&both), Ok(mapped("203.0.113.9:5", false)));
}

#[test]
fn an_answer_that_cannot_be_used_says_why() {
    assert_eq!(broken(success(&[])), "has no address");
    assert_eq!(broken(success(&[(XOR_MAPPED_ADDRESS, vec![0, 3, 0, 0, 1, 2, 3, 4])])), "has an address of no family");
    assert_eq!(broken(success(&[(XOR_MAPPED_ADDRESS, vec![0, 2, 0, 0, 1, 2, 3, 4])])), "has an address of no family");
    let unknown = broken(success(&[(0x7fff, vec![])]));
    assert_eq!(unknown, "has the attribute 0x7fff, which would have to be understood");
    assert_eq!(broken(answer(&message(ERROR, &TRANSACTION, &[], false), &TRANSACTION)), "is an error without a code");
    let mut longer = message(SUCCESS, &TRANSACTION, &[(0x8022, vec![0xa5; 4])], false);
    longer[23] = 5;
    assert_eq!(broken(answer(&longer, &TRANSACTION)), "ends within its attribute 0x8022");
}

#[test]
fn errors_are_told_with_their_code_and_who_is_to_be_asked_instead() {
    let error = |class: u8, number: u8, reason: &str, more: &[(u16, Vec<u8>)]| {
        let code = [&[0, 0, class, number], reason.as_bytes()].concat();
        answer(&message(ERROR, &TRANSACTION, &[&[(ERROR_CODE, code)], more].concat(), true), &TRANSACTION)
    };
    let refused = |code, reason: &str, alternate: Option<&str>| {
        let alternate = alternate.map(|address| address.parse().unwrap());
        Ok(Answer::Refused(Refusal { code, reason: reason.to_owned(), alternate }))
    };
    let alternate = [(ALTERNATE_SERVER, in_clear("192.0.2.9:3479"))];
    assert_eq!(error(3, 0, "Try Alternate", &alternate), refused(300, "Try Alternate", Some("192.0.2.9:3479")));
    assert_eq!(error(4, 1, "Unauthorized", &[]), refused(401, "Unauthorized", None));
    assert_eq!(error(5, 0, "", &[]), refused(500, "", None));
    assert_eq!(broken(error(2, 0, "", &[])), "is an error without a code");
    assert_eq!(broken(error(4, 100, "", &[])), "is an error without a code");
    let Ok(Answer::Refused(long)) = error(4, 0, &"é".repeat(300), &[]) else { panic!("it is refused") };
    assert_eq!(long.reason.chars().count(), REASON_LIMIT);
    let said = Refusal { code: 300, reason: "Try".to_owned(), alternate: "192.0.2.9:3479".parse().ok() };
    assert_eq!(said.to_string(), "300 \"Try\" (ALTERNATE-SERVER 192.0.2.9:3479)");
}

#[test]
fn a_request_is_answered_with_the_address_and_nothing_more() {
    let bare = message(REQUEST, &TRANSACTION, &[], false);
    for (caller, more) in [("192.0.2.1:9", 12), ("[2001:db8::1]:65535", 24)] {
        for bytes in [&bare, &binding_request(&TRANSACTION)] {
            let said = response(&request(bytes).unwrap(), caller.parse().unwrap());
            assert_eq!(said.len(), bytes.len() + more, "{caller}");
            assert_eq!(answer(&said, &TRANSACTION), Ok(mapped(caller, false)));
        }
    }
    // Of a socket of both families.
    let said = response(&request(&bare).unwrap(), "[::ffff:192.0.2.1]:9".parse().unwrap());
    assert_eq!(answer(&said, &TRANSACTION), Ok(mapped("192.0.2.1:9", false)));
}

#[test]
fn a_request_with_something_unknown_is_refused_and_what_is_no_request_is_not_answered() {
    let asked = [(0x0003, vec![0, 0, 0, 6]), (0x8022, vec![b'x']), (0x7ffe, vec![])];
    let said =
        response(&request(&message(REQUEST, &TRANSACTION, &asked, true)).unwrap(), "192.0.2.1:9".parse().unwrap());
    let refusal = Refusal { code: 420, reason: String::new(), alternate: None };
    assert_eq!(answer(&said, &TRANSACTION), Ok(Answer::Refused(refusal)));
    assert!(said.windows(8).any(|bytes| bytes == [0, 0x0a, 0, 4, 0, 3, 0x7f, 0xfe]), "{said:02x?}");
    let many: Vec<_> = (1..200).map(|ty| (ty, vec![])).collect();
    let many = message(REQUEST, &TRANSACTION, &many, false);
    assert!(response(&request(&many).unwrap(), "192.0.2.1:9".parse().unwrap()).len() < 48);

    for ty in [SUCCESS, ERROR, 0x0011, 0x0003] {
        assert_eq!(request(&message(ty, &TRANSACTION, &[], false)), None, "{ty:#06x}");
    }
    let mut wrong = binding_request(&TRANSACTION);
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(request(&wrong), None, "a fingerprint that is not its own");
    // RFC 3489, without a cookie.
    let mut old = message(REQUEST, &TRANSACTION, &[], false);
    old[4..8].fill(0xa5);
    assert_eq!(request(&old), None);
}

proptest! {
    /// Whatever comes: nothing panics, and what has not the id is passed over.
    #[test]
    fn whatever_comes_is_read_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        prop_assert!(answer(&bytes, &[0xa5; 12]).is_err());
        prop_assert_eq!(request(&bytes), None);
    }

    /// Whatever follows a good header.
    #[test]
    fn whatever_an_answer_holds_is_read(is_error: bool, mut rest in proptest::collection::vec(any::<u8>(), 0..128)) {
        rest.truncate(rest.len() / 4 * 4);
        let mut bytes = message(if is_error { ERROR } else { SUCCESS }, &TRANSACTION, &[], false);
        bytes[2..4].copy_from_slice(&(rest.len() as u16).to_be_bytes());
        bytes.extend(&rest);
        prop_assert!(answer(&bytes, &TRANSACTION).is_ok());
        bytes[..2].copy_from_slice(&REQUEST.to_be_bytes());
        if let Some(request) = request(&bytes) {
            // No more than the largest address takes.
            prop_assert!(response(&request, "[::1]:1".parse().unwrap()).len() <= bytes.len() + 24);
        }
    }

    /// Attributes of any types, lengths and values.
    #[test]
    fn whatever_attributes_there_are_are_read(
        attributes in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..24)), 0..6),
        with_fingerprint: bool,
    ) {
        for ty in [SUCCESS, ERROR] {
            let bytes = message(ty, &TRANSACTION, &attributes, with_fingerprint);
            prop_assert!(answer(&bytes, &TRANSACTION).is_ok());
        }
    }

    /// What is written is read, of every address, port and transaction; a buffer is not looked at beyond the message.
    #[test]
    fn what_is_written_is_read(ip: IpAddr, port: u16, transaction: Transaction, has_fingerprint: bool) {
        let caller = SocketAddr::new(ip.to_canonical(), port);
        let request = Request { transaction, has_fingerprint, unknown: vec![] };
        let said = response(&request, caller);
        let mut buffer = vec![0xa5; 256];
        buffer[..said.len()].copy_from_slice(&said);
        let expected = Answer::Mapped(Mapped { address: caller, in_clear: false });
        prop_assert_eq!(answer(&buffer[..said.len()], &transaction), Ok(expected));
        prop_assert_eq!(answer(&buffer, &transaction), Err("is not as long as it says"));
    }

    /// One bit that is not as it was sent: no other address is told than the one that was sent.
    #[test]
    fn no_bit_of_an_address_can_be_changed_before_a_fingerprint(bit in 0_usize..(80 * 8)) {
        let mut bytes = SAMPLE_V4;
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(told @ Answer::Mapped(_)) = answer(&bytes, &TRANSACTION) {
            prop_assert_eq!(told, mapped("192.0.2.1:32853", false));
        }
    }
}
