//! Classes of characters: `[…]`, `\d`, `\pL`. Those that Perl has (`\d`, `\s`, `\w`) are of ASCII in RE2.

use std::fmt::Write as _;

use super::translate::Input;

/// A class of no character.
pub(super) const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// The names in `[[:name:]]`.
const NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// A character that means itself, in a class or outside of one.
pub(super) fn push_literal(c: char, out: &mut String) {
    if c.is_alphanumeric() || c == '_' || !c.is_ascii() {
        out.push(c);
    } else {
        push_code(c.into(), out);
    }
}

fn push_code(code: u32, out: &mut String) {
    // Writing into a text does not fail.
    let _ = write!(out, "\\x{{{code:X}}}");
}

/// `[…]`, which is next.
pub(super) fn bracketed(input: &mut Input<'_>) -> Result<String, String> {
    let opened = input.at;
    input.skip(1);
    let mut class = "[".to_owned();
    if input.peek() == Some('^') {
        input.skip(1);
        class.push('^');
    }
    let empty = class.len();
    let mut first = true;
    // A ] that comes first means itself.
    while first || input.peek() != Some(']') {
        first = false;
        match named(input)? {
            Some(item) => class.push_str(&item),
            None => match escaped(input)? {
                Some(item) => class.push_str(&item),
                None => range(input, opened, &mut class)?,
            },
        }
    }
    input.skip(1);
    if class.len() == empty {
        // Of half surrogate pairs only.
        class.push_str(NOTHING);
    }
    class.push(']');
    Ok(class)
}

/// `[:alpha:]` or `[:^alpha:]`, if that is next.
fn named(input: &mut Input<'_>) -> Result<Option<String>, String> {
    let rest = input.rest();
    let Some(end) = rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) else { return Ok(None) };
    let item = &rest[..end + 4];
    let name = &rest[2..end + 2];
    if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        let place = input.place(input.at);
        return Err(format!("the class [:…:] at {place} is not known; known: {}", NAMES.join(", ")));
    }
    input.skip(item.len());
    Ok(Some(item.to_owned()))
}

/// `\d`, `\pL`, `\p{Greek}` and the like, if that is next: as an item of a class.
pub(super) fn escaped(input: &mut Input<'_>) -> Result<Option<String>, String> {
    let item = match input.rest().get(..2) {
        Some(r"\d") => "0-9",
        Some(r"\D") => "[^0-9]",
        Some(r"\s") => r"\t\n\x{C}\r\x{20}",
        Some(r"\S") => r"[^\t\n\x{C}\r\x{20}]",
        Some(r"\w") => "0-9A-Za-z_",
        Some(r"\W") => "[^0-9A-Za-z_]",
        Some(r"\p" | r"\P") => return unicode(input).map(Some),
        _ => return Ok(None),
    };
    input.skip(2);
    Ok(Some(item.to_owned()))
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}`, `\PL`: a general category or a script of Unicode.
fn unicode(input: &mut Input<'_>) -> Result<String, String> {
    let at = input.at;
    let unknown = |input: &Input<'_>| {
        format!("the class \\p at {} is no category (\\pL, \\p{{Lu}}) and no script (\\p{{Hangul}})", input.place(at))
    };
    let rest = input.rest();
    let mut negated = rest.starts_with(r"\P");
    let inside = rest[2..].strip_prefix('{');
    let (name, length) = match (inside, rest[2..].chars().next()) {
        (Some(inside), _) => {
            let end = inside.find('}').ok_or_else(|| unknown(input))?;
            (&inside[..end], end + 4)
        }
        (None, Some(c)) => (&rest[2..2 + c.len_utf8()], 2 + c.len_utf8()),
        (None, None) => return Err(unknown(input)),
    };
    let bare = name.strip_prefix('^').unwrap_or(name);
    negated ^= bare.len() < name.len();
    // The crate takes `isGreek`, too.
    let is_name = !bare.get(..2).is_some_and(|is| is.eq_ignore_ascii_case("is"));
    let is_name =
        is_name && !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _-".contains(&byte));
    let sign = if negated { 'P' } else { 'p' };
    // The crate knows more kinds of classes than these two.
    let class = ["gc", "sc"].map(|kind| format!("\\{sign}{{{kind}={bare}}}"));
    let class = class.into_iter().filter(|_| is_name).find(|class| regex::Regex::new(class).is_ok());
    input.skip(length);
    class.ok_or_else(|| unknown(input))
}

/// A character or a range of characters, as an item of a class.
fn range(input: &mut Input<'_>, opened: usize, class: &mut String) -> Result<(), String> {
    let at = input.at;
    let low = code(input, opened)?;
    let dash = input.rest().strip_prefix('-').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(']'));
    let high = if dash {
        input.skip(1);
        code(input, opened)?
    } else {
        low
    };
    if high < low {
        return Err(format!("the range at {} runs backwards", input.place(at)));
    }
    // The crate has no half surrogate pairs, as no text has.
    let low = if is_surrogate(low) { 0xE000 } else { low };
    let high = if is_surrogate(high) { 0xD7FF } else { high };
    if low <= high {
        push_code(low, class);
        class.push('-');
        push_code(high, class);
    }
    Ok(())
}

fn code(input: &mut Input<'_>, opened: usize) -> Result<u32, String> {
    match input.peek() {
        Some('\\') => input.escape(),
        _ => input
            .next()
            .map(u32::from)
            .ok_or_else(|| format!("the [ at {} is never closed; write \\[ for the character", input.place(opened))),
    }
}

fn is_surrogate(code: u32) -> bool {
    (0xD800..0xE000).contains(&code)
}
