//! From RE2's syntax (as Go's `regexp/syntax` has it, with its Perl flags) to that of the regex crate.

use super::class;

/// The most that repetitions may ask for, nested ones multiplied.
const REPEAT_LIMIT: u32 = 1000;

/// Groups in groups: more than anybody writes, and fewer than the compiler's stack bears. (Go takes 1000.)
pub(super) const NEST_LIMIT: usize = 200;

/// An expression for the regex crate. Its groups have no names: RE2's may begin with a digit, and may be there twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) expression: String,
    /// The names of groups, and their numbers.
    pub(super) names: Vec<(String, usize)>,
}

/// Reads an expression.
///
/// # Errors
/// What of it Go would refuse, in one sentence.
pub(super) fn translate(expression: &str) -> Result<Translated, String> {
    let mut translator = Translator {
        input: Input { whole: expression, at: 0 },
        out: String::with_capacity(expression.len() * 2),
        flags: Flags::default(),
        groups: Vec::new(),
        branch: Branch::default(),
        captures: 0,
        names: Vec::new(),
    };
    let mut repeated = false;
    while let Some(c) = translator.input.peek() {
        repeated = translator.token(c, repeated)?;
    }
    if let Some(group) = translator.groups.last() {
        return Err(format!("the ( at {} is never closed", translator.input.place(group.opened)));
    }
    Ok(Translated { expression: translator.out, names: translator.names })
}

/// What `(?imsU)` sets.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_is_all: bool,
    lazy: bool,
}

/// A group that is open.
#[derive(Debug)]
struct Group {
    /// Where its `(` stands in the expression.
    opened: usize,
    /// Where its translation begins.
    start: usize,
    /// The flags before it.
    flags: Flags,
    /// What was there before it.
    branch: Branch,
}

/// What stands since the last `(` or `|`.
#[derive(Debug, Default)]
struct Branch {
    /// What a repetition would repeat.
    last: Option<Piece>,
    /// The most repetitions of anything in it, and in the other branches of its group.
    repeats: u32,
}

/// A part of the translation that a repetition can be put behind.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Where it begins.
    start: usize,
    /// The most repetitions of anything in it.
    repeats: u32,
    /// Whether it ends with a repetition, so that the next one needs it in a group.
    repeated: bool,
}

struct Translator<'e> {
    input: Input<'e>,
    out: String,
    flags: Flags,
    groups: Vec<Group>,
    branch: Branch,
    captures: usize,
    names: Vec<(String, usize)>,
}

impl Translator<'_> {
    /// Takes what stands next, which begins with `c`; `after_repetition`: whether a repetition stands before it. Whether it is one.
    fn token(&mut self, c: char, after_repetition: bool) -> Result<bool, String> {
        let at = self.input.at;
        match c {
            '(' if self.input.rest().starts_with("(?") => self.flags_or_group()?,
            '(' => {
                self.input.skip(1);
                self.captures += 1;
                self.open(at, "(")?;
            }
            '|' => {
                self.input.skip(1);
                self.branch.last = None;
                self.out.push('|');
            }
            ')' => {
                let Some(group) = self.groups.pop() else {
                    return Err(format!(
                        "the ) at {} closes nothing; write \\) for the character",
                        self.input.place(at)
                    ));
                };
                self.input.skip(1);
                self.out.push(')');
                self.flags = group.flags;
                let inner = std::mem::replace(&mut self.branch, group.branch);
                self.add(Piece { start: group.start, repeats: inner.repeats, repeated: false });
            }
            '^' => self.one(1, if self.flags.multi_line { "(?m:^)" } else { r"\A" }),
            '$' => self.one(1, if self.flags.multi_line { "(?m:$)" } else { r"\z" }),
            '.' => self.one(1, if self.flags.dot_is_all { "(?s:.)" } else { "." }),
            '[' => {
                let class = class::bracketed(&mut self.input)?;
                self.class(&class);
            }
            '*' | '+' | '?' => {
                self.input.skip(1);
                self.repeat(at, &c.to_string(), 1, after_repetition)?;
                return Ok(true);
            }
            '{' => {
                if let Some((count, least, most)) = counted(self.input.rest()) {
                    self.input.skip(count.len());
                    if least > REPEAT_LIMIT || most.is_some_and(|most| most > REPEAT_LIMIT || most < least) {
                        return Err(self.wrong_count(at));
                    }
                    self.repeat(at, count, most.unwrap_or(least), after_repetition)?;
                    return Ok(true);
                }
                // What begins no repetition is a character.
                self.input.skip(1);
                self.literal('{');
            }
            '\\' => self.escape()?,
            _ => {
                self.input.skip(c.len_utf8());
                self.literal(c);
            }
        }
        Ok(false)
    }

    fn escape(&mut self) -> Result<(), String> {
        let rest = self.input.rest();
        match rest.as_bytes().get(1) {
            Some(b'A') => self.one(2, r"\A"),
            Some(b'z') => self.one(2, r"\z"),
            Some(b'b') => self.one(2, r"(?-u:\b)"),
            Some(b'B') => self.one(2, r"(?-u:\B)"),
            Some(b'Q') => {
                let quoted = &rest[2..];
                let (literal, length) = match quoted.find(r"\E") {
                    Some(end) => (&quoted[..end], end + 2),
                    None => (quoted, quoted.len()),
                };
                literal.chars().for_each(|c| self.literal(c));
                self.input.skip(2 + length);
            }
            _ => match class::escaped(&mut self.input)? {
                Some(item) => self.class(&format!("[{item}]")),
                None => match char::from_u32(self.input.escape()?) {
                    Some(c) => self.literal(c),
                    // Half of a surrogate pair is in no text.
                    None => self.one(0, class::NOTHING),
                },
            },
        }
        Ok(())
    }

    /// A character that means itself.
    fn literal(&mut self, c: char) {
        let mut literal = String::new();
        class::push_literal(c, &mut literal);
        self.class(&literal);
    }

    /// A class, or a character, in the case that is asked for.
    fn class(&mut self, class: &str) {
        match self.flags.fold_case {
            true => self.one(0, &format!("(?i:{class})")),
            false => self.one(0, class),
        }
    }

    /// Adds a translation of the next `length` bytes that a repetition can be put behind.
    fn one(&mut self, length: usize, translation: &str) {
        self.input.skip(length);
        let piece = Piece { start: self.out.len(), repeats: 1, repeated: false };
        self.out.push_str(translation);
        self.add(piece);
    }

    fn add(&mut self, piece: Piece) {
        self.branch.last = Some(piece);
        self.branch.repeats = self.branch.repeats.max(piece.repeats);
    }

    /// `(?i)`, `(?i:`, `(?:`, `(?P<name>`, `(?<name>`.
    fn flags_or_group(&mut self) -> Result<(), String> {
        let (at, rest) = (self.input.at, self.input.rest());
        for look in ["(?=", "(?!", "(?<=", "(?<!"] {
            if rest.starts_with(look) {
                return Err(format!("{look} at {}: RE2 has no lookarounds", self.input.place(at)));
            }
        }
        for named in ["(?P<", "(?<"] {
            if let Some(after) = rest.strip_prefix(named) {
                let is_name = |name: &&str| {
                    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                };
                let Some(name) = after.split_once('>').map(|(name, _)| name).filter(is_name) else {
                    let place = self.input.place(at);
                    return Err(format!("the group at {place} has no name; write letters, digits and _ in {named}…>"));
                };
                self.input.skip(named.len() + name.len() + 1);
                self.captures += 1;
                self.names.push((name.to_owned(), self.captures));
                return self.open(at, "(");
            }
        }
        let mut flags = self.flags;
        let (mut on, mut set) = (true, false);
        for (length, c) in rest.char_indices().skip(2) {
            match c {
                'i' => (flags.fold_case, set) = (on, true),
                'm' => (flags.multi_line, set) = (on, true),
                's' => (flags.dot_is_all, set) = (on, true),
                'U' => (flags.lazy, set) = (on, true),
                '-' if on => (on, set) = (false, false),
                ':' | ')' if on || set => {
                    self.input.skip(length + 1);
                    if c == ':' {
                        self.open(at, "(?:")?;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
        }
        let place = self.input.place(at);
        Err(format!(
            "(? at {place} begins nothing of RE2's; it knows (?:…), (?P<name>…), (?<name>…) and the flags imsU"
        ))
    }

    fn open(&mut self, opened: usize, translation: &str) -> Result<(), String> {
        if self.groups.len() == NEST_LIMIT {
            return Err(format!("the ( at {} is in {NEST_LIMIT} others", self.input.place(opened)));
        }
        let branch = std::mem::take(&mut self.branch);
        self.groups.push(Group { opened, start: self.out.len(), flags: self.flags, branch });
        self.out.push_str(translation);
        Ok(())
    }

    /// Puts a repetition, which stands at `at`, behind the last piece.
    fn repeat(&mut self, at: usize, operator: &str, times: u32, after_repetition: bool) -> Result<(), String> {
        let place = self.input.place(at);
        if after_repetition {
            return Err(format!("{operator} at {place} repeats a repetition; put that in (?:…)"));
        }
        let Some(piece) = self.branch.last else {
            let escaped = operator.chars().next().unwrap_or_default();
            return Err(format!("{operator} at {place} has nothing to repeat; write \\{escaped} for the character"));
        };
        let swapped = self.input.peek() == Some('?');
        self.input.skip(usize::from(swapped));
        if piece.repeated {
            self.out.insert_str(piece.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(operator);
        if swapped != self.flags.lazy {
            self.out.push('?');
        }
        // What is there no time has no repetitions either.
        let repeats = if operator == "{0}" || operator == "{0,0}" { 1 } else { piece.repeats * times.max(1) };
        if repeats > REPEAT_LIMIT && times >= 2 {
            return Err(self.wrong_count(at));
        }
        self.add(Piece { start: piece.start, repeats, repeated: true });
        Ok(())
    }

    fn wrong_count(&self, at: usize) -> String {
        let place = self.input.place(at);
        format!(
            "the count at {place} is wrong; it goes from low to high, and up to {REPEAT_LIMIT}, nested ones multiplied"
        )
    }
}

/// `{n}`, `{n,}` or `{n,m}` at the beginning, and its numbers; one that is out of every range is the biggest there is.
fn counted(text: &str) -> Option<(&str, u32, Option<u32>)> {
    let end = text.find('}')?;
    let inside = &text[1..end];
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let plain = plain && (digits.len() == 1 || !digits.starts_with('0'));
        plain.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let (least, most) = match inside.split_once(',') {
        None => (number(inside)?, Some(number(inside)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((&text[..=end], least, most))
}

/// An expression, and how far it is read.
#[derive(Debug)]
pub(super) struct Input<'e> {
    whole: &'e str,
    pub(super) at: usize,
}

impl<'e> Input<'e> {
    pub(super) fn rest(&self) -> &'e str {
        &self.whole[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    /// A place in the expression for a person.
    pub(super) fn place(&self, at: usize) -> String {
        format!("character {}", self.whole[..at].chars().count() + 1)
    }

    /// The code of the character that an escape stands for, which is next.
    pub(super) fn escape(&mut self) -> Result<u32, String> {
        let at = self.at;
        self.skip(1);
        let Some(c) = self.next() else {
            return Err("it ends with a single \\; write \\\\ for the character".to_owned());
        };
        let digit = |digit: Option<char>| digit.and_then(|digit| digit.to_digit(8));
        let code = match c {
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            'x' => self.hexadecimal(),
            '0'..='7' if c == '0' || digit(self.peek()).is_some() => {
                let mut code = digit(Some(c)).unwrap_or_default();
                for _ in 1..3 {
                    let Some(next) = digit(self.peek()) else { break };
                    code = code * 8 + next;
                    self.skip(1);
                }
                Some(code)
            }
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c.into()),
            _ => None,
        };
        code.ok_or_else(|| {
            let place = self.place(at);
            match c {
                '1'..='9' => format!("\\{c} at {place}: RE2 has no backreferences"),
                'Z' => format!("\\Z at {place} is not RE2's; write \\z for the end of the text"),
                'x' => {
                    format!("\\x at {place} needs two hexadecimal digits, or any number of them in {{}}, up to 10ffff")
                }
                _ => format!("\\{c} at {place} is not RE2's"),
            }
        })
    }

    /// `7f` or `{10ffff}`.
    fn hexadecimal(&mut self) -> Option<u32> {
        let rest = self.rest();
        let (digits, length) = match rest.strip_prefix('{') {
            Some(inside) => {
                let end = inside.find('}')?;
                (&inside[..end], end + 2)
            }
            None => (rest.get(..2)?, 2),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let digits = digits.trim_start_matches('0');
        let code = if digits.is_empty() { 0 } else { u32::from_str_radix(digits, 16).ok()? };
        self.skip(length);
        (code <= u32::from(char::MAX)).then_some(code)
    }
}
