use super::*;

fn check_match(expression: &str, bytes: &[u8], expected: Option<&[u8]>) {
    let regex = Regex::new(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let found = regex.captures(bytes).map(|captures| captures.group("0").to_vec());
    assert_eq!(found.as_deref(), expected, "{expression} in {:?}", String::from_utf8_lossy(bytes));
    assert_eq!(regex.is_match(bytes), expected.is_some(), "{expression}");
}

#[test]
fn characters_mean_what_they_mean_in_go() {
    let cases = [
        (r#"{"status":"ok"}"#, r#"x{"status":"ok"}"#, Some(r#"{"status":"ok"}"#)),
        (r#"\{"a": *\[{"b":{2}\}"#, r#"{"a":  [{"b"::}"#, Some(r#"{"a":  [{"b"::}"#)),
        ("a{,2}", "aa", None),
        ("a{,2}", "a{,2}", Some("a{,2}")),
        ("a{2", "a{2", Some("a{2")),
        ("a{01}", "a{01}", Some("a{01}")),
        ("a{2}", "aaa", Some("aa")),
        ("a{2,}?", "aaa", Some("aa")),
        ("(?U)a{2,}", "aaa", Some("aa")),
        ("(?U)a+?", "aaa", Some("aaa")),
        (r"\Qa.b*\Ec*", "a.b*cc", Some("a.b*cc")),
        (r"\Qab\E*", "abb", Some("abb")),
        (r"\Qa\", r"a\", Some(r"a\")),
        (r"\<b\>\-\_\'\/", "<b>-_'/", Some("<b>-_'/")),
        (r"\101\x42\x{43}\0", "ABC\0", Some("ABC\0")),
        (r"^\d\w$", "5é", None),
        (r"\d", "٣", None),
        (r"\s", "\u{a0}\u{b}", None),
        (r"^[\s]+$", "\t\n\u{c}\r ", Some("\t\n\u{c}\r ")),
        (r"\bé", "aé", Some("é")),
        (r"\Bé", " é", Some("é")),
        (r"é\b", "é", None),
        ("[[a]", "[", Some("[")),
        ("[a&&b]", "&", Some("&")),
        ("[+--b~~]+", ",b~", Some(",b~")),
        ("[]a]+", "]a", Some("]a")),
        ("[^]a]", "]ab", Some("b")),
        ("[a-]+", "a-", Some("a-")),
        (r"[\]\^-]+", "]^-", Some("]^-")),
        ("[[:alpha:]-z]+", "b-z", Some("b-z")),
        ("[[:^alpha:]]", "a1", Some("1")),
        ("[[:foo]+", ":of[", Some(":of[")),
        (r"[^\D5]", "a5é6", Some("6")),
        (r"(?i)[^\W]+", "-\u{212a}s", Some("\u{212a}s")),
        ("(?i)straße", "STRAßE", Some("STRAßE")),
        ("(?i)a(?-i)b", "AB", None),
        ("(?i:a)b", "Ab", Some("Ab")),
        ("(a(?i)b|c)d", "Cd", Some("Cd")),
        ("(a(?i)b|c)d", "CD", None),
        ("a.c", "a\nc", None),
        ("(?s)a.c", "a\nc", Some("a\nc")),
        ("^b$", "a\nb\nc", None),
        ("(?m)^b$", "a\nb\nc", Some("b")),
        ("a$", "a\n", None),
        (r"(?m)\Ab", "a\nb", None),
        ("a|b||c", "xb", Some("")),
        ("a(?i)*b", "aaB", Some("aaB")),
        ("a*(?:)*b", "aab", Some("aab")),
        ("^*b", "ab", Some("b")),
        ("(|a)+b", "aab", Some("aab")),
        (r"\pL\p{Hangul}\p{^Greek}\PL", "a한b1", Some("a한b1")),
        (r"\p{lower-case_letter}", "Ab", Some("b")),
        (r"[\x{D7FF}-\x{E000}]", "\u{e000}", Some("\u{e000}")),
        (r"[\x{D800}-\x{DFFF}]|\x{D800}", "\u{e000}", None),
        (r"[^\x{D800}]", "a", Some("a")),
        ("a{0}b", "ab", Some("b")),
        ("(a+)(b+)?", "aac", Some("aa")),
    ];
    for (expression, text, expected) in cases {
        check_match(expression, text.as_bytes(), expected.map(str::as_bytes));
    }
}

#[test]
fn a_byte_that_is_no_utf_8_is_a_character() {
    type Case = (&'static str, &'static [u8], Option<&'static [u8]>);
    let cases: [Case; 8] = [
        ("<title>.*</title>", b"<title>\xc7\xd1\xb1\xdb</title>", Some(b"<title>\xc7\xd1\xb1\xdb</title>")),
        ("M.ller", b"M\xfcller", Some(b"M\xfcller")),
        ("^...$", b"\xe9\x80a", Some(b"\xe9\x80a")),
        ("^[^é]$", "é".as_bytes(), None),
        ("^..$", "é".as_bytes(), None),
        (r"\x{FFFD}", b"\xff", Some(b"\xff")),
        (r"\xff", b"\xff", None),
        ("b", b"\xff\xef\xbf\xbd\xffb\xff", Some(b"b")),
    ];
    for (expression, bytes, expected) in cases {
        check_match(expression, bytes, expected);
    }
}

#[test]
fn templates_are_expanded_as_in_go() {
    let regex = Regex::new(r"(?P<name>\w+) (?<1x>.)(é)?").unwrap();
    let captures = regex.captures(b"- ab \xffc").unwrap();
    let cases: [(&str, &[u8]); 12] = [
        ("${1}-${2}", b"ab-\xff"),
        ("$name$1x.", b"ab\xff."),
        ("$1xy", b""),
        ("${name}x", b"abx"),
        ("$$1", b"$1"),
        ("$3${4}$99999999999999999999", b""),
        ("$", b"$"),
        ("$-${", b"$-${"),
        ("${1", b"${1"),
        ("${a b}", b"${a b}"),
        ("$0", b"ab \xff"),
        ("$01", b""),
    ];
    for (template, expected) in cases {
        assert_eq!(captures.expand(template), expected, "{template}");
    }
}

#[test]
fn what_go_refuses_is_refused_with_a_word_why() {
    let cases = [
        ("(a", "the ( at character 1 is never closed"),
        ("é(a(b)", "the ( at character 2 is never closed"),
        ("a)", r"the ) at character 2 closes nothing; write \) for the character"),
        ("a[b", r"the [ at character 2 is never closed; write \[ for the character"),
        ("[]", r"the [ at character 1 is never closed; write \[ for the character"),
        ("[a-", r"the [ at character 1 is never closed; write \[ for the character"),
        (r"a\", r"it ends with a single \; write \\ for the character"),
        ("*a", r"* at character 1 has nothing to repeat; write \* for the character"),
        ("a|+", r"+ at character 3 has nothing to repeat; write \+ for the character"),
        ("(?:?)", r"? at character 4 has nothing to repeat; write \? for the character"),
        ("{1}", r"{1} at character 1 has nothing to repeat; write \{ for the character"),
        ("a**", "* at character 3 repeats a repetition; put that in (?:…)"),
        ("a*?{2}", "{2} at character 4 repeats a repetition; put that in (?:…)"),
        (
            "a{1001}",
            "the count at character 2 is wrong; it goes from low to high, and up to 1000, nested ones multiplied",
        ),
        (
            "a{2,1}",
            "the count at character 2 is wrong; it goes from low to high, and up to 1000, nested ones multiplied",
        ),
        (
            "(a{40}b){26}",
            "the count at character 9 is wrong; it goes from low to high, and up to 1000, nested ones multiplied",
        ),
        (
            "a{99999999999}",
            "the count at character 2 is wrong; it goes from low to high, and up to 1000, nested ones multiplied",
        ),
        ("[b-a]", "the range at character 2 runs backwards"),
        (r"[a-\d]", r"\d at character 4 is not RE2's"),
        (
            "[[:foo:]]",
            "the class [:…:] at character 2 is not known; known: alnum, alpha, ascii, blank, cntrl, digit, graph, lower, \
             print, punct, space, upper, word, xdigit",
        ),
        (r"\p{Foo}", r"the class \p at character 1 is no category (\pL, \p{Lu}) and no script (\p{Hangul})"),
        (r"\p{Alphabetic}", r"the class \p at character 1 is no category (\pL, \p{Lu}) and no script (\p{Hangul})"),
        (r"\p{sc=Greek}", r"the class \p at character 1 is no category (\pL, \p{Lu}) and no script (\p{Hangul})"),
        (r"\p{IsGreek}", r"the class \p at character 1 is no category (\pL, \p{Lu}) and no script (\p{Hangul})"),
        (r"\p{Greek", r"the class \p at character 1 is no category (\pL, \p{Lu}) and no script (\p{Hangul})"),
        (r"(a)\1", r"\1 at character 4: RE2 has no backreferences"),
        (r"\C", r"\C at character 1 is not RE2's"),
        (r"a\Z", r"\Z at character 2 is not RE2's; write \z for the end of the text"),
        (r"\é", r"\é at character 1 is not RE2's"),
        (r"\x4", r"\x at character 1 needs two hexadecimal digits, or any number of them in {}, up to 10ffff"),
        (r"\x{110000}", r"\x at character 1 needs two hexadecimal digits, or any number of them in {}, up to 10ffff"),
        ("a(?=b)", "(?= at character 2: RE2 has no lookarounds"),
        ("(?<!b)", "(?<! at character 1: RE2 has no lookarounds"),
        ("(?P<a-b>c)", "the group at character 1 has no name; write letters, digits and _ in (?P<…>"),
        ("(?<>c)", "the group at character 1 has no name; write letters, digits and _ in (?<…>"),
        (
            "(?x)a",
            "(? at character 1 begins nothing of RE2's; it knows (?:…), (?P<name>…), (?<name>…) and the flags imsU",
        ),
        (
            "(?i-)a",
            "(? at character 1 begins nothing of RE2's; it knows (?:…), (?P<name>…), (?<name>…) and the flags imsU",
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(Regex::new(expression).err().as_deref(), Some(expected), "{expression}");
    }
    let nested = |depth: usize| Regex::new(&("(".repeat(depth) + &")".repeat(depth)));
    assert_eq!(nested(201).err().as_deref(), Some("the ( at character 201 is in 200 others"));
    assert!(nested(200).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_expression_makes_it_panic_and_what_is_taken_is_understood(
        expression in r"([a-z(){}\[\]|*+?.^$\\,:<>=!&~-]|[0-9]|\\[a-zA-Z]|\(\?[imsUP<:-]{1,3}|\[\[:|\\p\{|é|\n){0,12}",
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
    ) {
        match translate::translate(&expression) {
            // What the translation takes the crate must take; what is wrong is told by us, and not by it.
            Ok(_) => {
                let regex = Regex::new(&expression);
                proptest::prop_assert!(regex.is_ok(), "{expression}: {:?}", regex);
                let regex = regex.unwrap();
                proptest::prop_assert_eq!(regex.captures(&bytes).is_some(), regex.is_match(&bytes));
            }
            Err(error) => proptest::prop_assert!(!error.contains('\n')),
        }
    }

    #[test]
    fn ranges_are_those_of_the_bytes(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20)) {
        let regex = Regex::new("(?s)^(.)*?(.)$").unwrap();
        if let Some(captures) = regex.captures(&bytes) {
            proptest::prop_assert_eq!(captures.group("0"), &bytes[..]);
            proptest::prop_assert!(bytes.ends_with(captures.group("2")));
        } else {
            proptest::prop_assert!(bytes.is_empty());
        }
    }
}
