//! Regular expressions as Go's `regexp` (RE2) reads them, which is what modules are written for, on the regex crate.

mod class;
mod translate;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// What an expression may grow to in bytes when it is compiled.
const SIZE_LIMIT: usize = 64 << 20;

/// Groups in groups, and what the translation puts around them.
const NEST_LIMIT: u32 = 3 * translate::NEST_LIMIT as u32;

/// An expression of RE2's syntax. It is found anywhere in the bytes, unless it says otherwise.
///
/// Bytes are read as Go reads them: as UTF-8, where each byte that is none is a character of its own (U+FFFD). So `.*` also goes over a page
/// in ISO 8859-1 or EUC-KR.
#[derive(Debug, Clone)]
pub struct Regex {
    /// As it was written.
    expression: String,
    regex: regex::Regex,
    /// The names of groups, and their numbers.
    names: Vec<(String, usize)>,
}

impl Regex {
    /// Reads an expression.
    ///
    /// # Errors
    /// What of it Go would refuse, in one sentence, or that it is too big.
    pub fn new(expression: &str) -> Result<Self, String> {
        let translated = translate::translate(expression)?;
        let regex = regex::RegexBuilder::new(&translated.expression)
            .size_limit(SIZE_LIMIT)
            .nest_limit(NEST_LIMIT)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => format!("it needs more than {} MiB", limit >> 20),
                // The translation writes nothing that the crate does not read; should it be wrong about that, the crate knows why.
                error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
            })?;
        Ok(Self { expression: expression.to_owned(), regex, names: translated.names })
    }

    /// It, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.expression
    }

    /// Whether it is in the bytes.
    #[must_use]
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(&Text::of(bytes).text)
    }

    /// Where it and its groups are in the bytes, the first time.
    #[must_use]
    pub fn captures<'a>(&'a self, bytes: &'a [u8]) -> Option<Captures<'a>> {
        let text = Text::of(bytes);
        let captures = self.regex.captures(&text.text)?;
        let groups = captures.iter().map(|group| group.map(|group| text.range_in_bytes(group.range()))).collect();
        Some(Captures { bytes, groups, names: &self.names })
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

/// Bytes as characters.
struct Text<'a> {
    text: Cow<'a, str>,
    /// Where in the text a character stands for a byte that is no UTF-8.
    replaced: Vec<usize>,
}

impl<'a> Text<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self { text: text.into(), replaced: Vec::new() };
        }
        let (mut text, mut replaced) = (String::with_capacity(bytes.len() * 2), Vec::new());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for _ in chunk.invalid() {
                replaced.push(text.len());
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Self { text: text.into(), replaced }
    }

    fn range_in_bytes(&self, range: Range<usize>) -> Range<usize> {
        let grown = char::REPLACEMENT_CHARACTER.len_utf8() - 1;
        let in_bytes = |at| at - grown * self.replaced.partition_point(|replaced| *replaced < at);
        in_bytes(range.start)..in_bytes(range.end)
    }
}

/// Where an expression and its groups are in some bytes.
#[derive(Debug)]
pub struct Captures<'a> {
    bytes: &'a [u8],
    groups: Vec<Option<Range<usize>>>,
    names: &'a [(String, usize)],
}

impl Captures<'_> {
    /// A template with what the groups matched in the place of `$1`, `${1}`, `$name`, `${name}`, as Go's `Expand`: names are as long as
    /// they can be (`$1x` is the group `1x`), a group that is not there is empty, `$$` is a `$`.
    #[must_use]
    pub fn expand(&self, template: &str) -> Vec<u8> {
        let (mut expanded, mut rest) = (Vec::new(), template);
        while let Some((before, after)) = rest.split_once('$') {
            expanded.extend_from_slice(before.as_bytes());
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                expanded.push(b'$');
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                expanded.extend_from_slice(self.group(name));
                rest = after;
            } else {
                expanded.push(b'$');
            }
        }
        expanded.extend_from_slice(rest.as_bytes());
        expanded
    }

    /// What a group matched, by its number or its name; nothing where it did not.
    fn group(&self, name: &str) -> &[u8] {
        let matched = |number: usize| self.groups.get(number)?.clone();
        let is_number = name == "0" || !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
        let found = match is_number {
            true => name.parse().ok().and_then(matched),
            false => self.names.iter().filter(|(known, _)| known == name).find_map(|(_, number)| matched(*number)),
        };
        found.map_or(b"", |range| &self.bytes[range])
    }
}

/// The name behind a `$`, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

#[cfg(test)]
mod tests;
