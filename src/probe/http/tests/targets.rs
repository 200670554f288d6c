//! What can be probed, and how it is told.

use super::*;

#[test]
fn targets_are_urls() {
    let good = [
        ("example.com", "http://example.com/"),
        ("example.com:8080/a?b", "http://example.com:8080/a?b"),
        ("HTTPS://[2001:db8::1]/", "https://[2001:db8::1]/"),
        ("https://user:secret@example.com/a%20b#c", "https://user:secret@example.com/a%20b#c"),
        ("example.com/?to=https://a/", "http://example.com/?to=https://a/"),
        ("http://例え.jp/", "http://xn--r8jz45g.jp/"),
        ("a_b.example.", "http://a_b.example./"),
    ];
    for (target, expected) in good {
        assert_eq!(parse(target).unwrap().0.as_str(), expected);
    }
    let bad = [
        "",
        "ftp://user:secret@example.com/",
        "http://",
        "http://user:secret@/",
        "a:secret",
        "a:0",
        "ht!tps://user:secret@example.com/",
        "secret!://example.com/",
        "secret://example.com/",
        "http://a..b/",
        "http://10.0.0.256/",
        "http://ex\nample/",
        "http://ex%0aample/",
        "http://foo%25bar/",
        "http://a!b/",
        "http://user:secret@a..b/",
        "0.0.0.0",
        "https://[::]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
    ];
    for target in bad.into_iter().map(str::to_owned).chain([format!("http://{}/", "a".repeat(64))]) {
        let error = check_target(&target).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn the_password_of_a_target_is_hidden_and_the_rest_is_shown() {
    let cases = [
        ("https://us:PW9@a.example/r?s=t#u", "https://us:<secret>@a.example/r?s=t#u"),
        ("us:PW9@a.example/r", "http://us:<secret>@a.example/r"),
        ("https:///us:P%40W9:@a.example", "https://us:<secret>@a.example/"),
        ("https://:PW9@a.example", "https://:<secret>@a.example/"),
        ("https:us:PW9@a.example", "http://https:<secret>@a.example/"),
        ("https://us@a.example", "https://us@a.example"),
        ("A.example/b@c:d", "A.example/b@c:d"),
        ("ftp://us:PW9@a.example", "<secret>"),
        ("ftp://a.example", "ftp://a.example"),
    ];
    for (target, expected) in cases {
        assert_eq!(shown(target), expected);
    }
}
