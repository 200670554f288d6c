//! From the tree to values: what does not fit is collected with its place, never thrown at the first.

use std::cell::RefCell;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use super::byte_size::parse_byte_size;
use super::duration::parse_duration;
use super::errors::{Errors, Problem};
use super::files::Files;
use super::yaml::{Key, Kind, Node, NotBase64, Scalar};
use crate::re2::Regex;

/// The file that is decoded, and what is wrong with it so far.
#[derive(Debug)]
pub(super) struct Problems<'f> {
    file: String,
    list: RefCell<Vec<Problem>>,
    /// Where the files that it names are read.
    files: &'f Files,
}

impl<'f> Problems<'f> {
    pub(super) fn of(file: &str, files: &'f Files) -> Self {
        Self { file: file.to_owned(), list: RefCell::default(), files }
    }

    pub(super) fn add(&self, line: Option<usize>, place: String, message: impl Into<String>) {
        let problem = Problem { file: self.file.clone(), line, place, message: message.into() };
        let mut list = self.list.borrow_mut();
        // An anchor that is used ten times is wrong once.
        if !list.contains(&problem) {
            list.push(problem);
        }
    }

    /// The decoded, or all problems in the order of the file.
    pub(super) fn or<T>(self, decoded: T) -> Result<T, Errors> {
        let mut list = self.list.into_inner();
        if list.is_empty() {
            return Ok(decoded);
        }
        list.sort_by_key(|problem| problem.line);
        Err(Errors(list))
    }
}

/// A value in the file: what stands there, where that is, and where its problems go.
#[derive(Debug, Clone)]
pub(super) struct Value<'a> {
    node: &'a Node,
    line: usize,
    /// Whose it is: `module "ping"`; empty for what is the file's.
    owner: String,
    /// Its key below the owner: `icmp.count`.
    key: String,
    problems: &'a Problems<'a>,
}

impl<'a> Value<'a> {
    /// The file as a whole.
    pub(super) fn root(node: &'a Node, problems: &'a Problems<'a>) -> Self {
        Self { node, line: node.line, owner: String::new(), key: String::new(), problems }
    }

    /// What stands there.
    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    /// The same value, as the beginning of something that has a name.
    pub(super) fn owned_by(mut self, owner: String) -> Self {
        (self.owner, self.key) = (owner, String::new());
        self
    }

    fn child(&self, line: usize, key: String, node: &'a Node) -> Self {
        Self { node, line, owner: self.owner.clone(), key, problems: self.problems }
    }

    fn child_key(&self, key: &str) -> String {
        if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) }
    }

    /// Something is wrong here.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.problem_at(self.line, &self.key, message);
    }

    fn problem_at(&self, line: usize, key: &str, message: impl Into<String>) {
        let place = match (self.owner.as_str(), key) {
            (owner, "") => owner.to_owned(),
            ("", key) => key.to_owned(),
            (owner, key) => format!("{owner}: {key}"),
        };
        // A key may be any text, and a problem is a line.
        let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
        self.problems.add(Some(line), place.chars().map(escaped).collect(), message);
    }

    /// Notes the error of a result.
    pub(super) fn noted<T>(&self, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.problem(error.to_string())).ok()
    }

    /// The fields of a section; nothing, written as `http:`, is a section without fields.
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields { of: self.clone(), entries: self.entries(), is_bare: self.node.is_null(), asked: RefCell::default() }
    }

    /// Keys and values, where the keys are names.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Kind::Mapping(entries) = &self.node.kind else {
            if !self.node.is_null() {
                self.problem("must be a mapping (key: value)");
            }
            return Vec::new();
        };
        let mut known: Vec<&Key> = Vec::new();
        let mut values = Vec::new();
        for (key, node) in entries {
            let name = self.child_key(&key.text);
            if let Some(first) = known.iter().find(|known| known.text == key.text) {
                self.problem_at(key.line, &name, format!("is there already, in line {}", first.line));
                continue;
            }
            known.push(key);
            if key.merges {
                continue;
            }
            let line = if matches!(node.kind, Kind::Scalar(_)) { node.line } else { key.line };
            values.push((key.text.as_str(), self.child(line, name, node)));
        }
        values
    }

    /// The values of a list; where nothing stands, as in `[~]`, there is none, as in Go.
    pub(super) fn list(&self) -> Vec<Self> {
        let Kind::Sequence(nodes) = &self.node.kind else {
            self.problem("must be a list ([a, b])");
            return Vec::new();
        };
        let filled = nodes.iter().enumerate().filter(|(_, node)| !node.is_null());
        filled.map(|(n, node)| self.child(node.line, format!("{}[{n}]", self.key), node)).collect()
    }

    fn scalar(&self, wanted: &str) -> Option<&'a Scalar> {
        match &self.node.kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Sequence(_) | Kind::Mapping(_) => {
                self.problem(format!("must be {wanted}"));
                None
            }
        }
    }

    /// Text: any scalar, as it is written; nothing is an empty text.
    pub(super) fn text(&self) -> Option<&'a str> {
        let scalar = self.scalar("text")?;
        match &scalar.binary {
            None => Some(if scalar.is_null() { "" } else { scalar.text.as_str() }),
            Some(unpacked) => {
                let text = std::str::from_utf8(self.unpacked(unpacked)?);
                self.noted(text.map_err(|_| "is tagged !!binary, and what it packs is not text"))
            }
        }
    }

    /// Bytes: text, or `!!binary` and base64.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        match &self.scalar("text, or !!binary and base64")?.binary {
            None => self.text().map(|text| Bytes::copy_from_slice(text.as_bytes())),
            Some(unpacked) => self.unpacked(unpacked).cloned(),
        }
    }

    fn unpacked(&self, unpacked: &'a Result<Bytes, NotBase64>) -> Option<&'a Bytes> {
        self.noted(unpacked.as_ref().map_err(|NotBase64| "is tagged !!binary and is not base64"))
    }

    /// Whether nothing stands there.
    pub(super) fn is_null(&self) -> bool {
        self.node.is_null()
    }

    /// Whether the value is tagged `!!binary`.
    pub(super) fn is_binary(&self) -> bool {
        matches!(&self.node.kind, Kind::Scalar(scalar) if scalar.binary.is_some())
    }

    /// A truth value, by the words of YAML 1.1. Quotes are Go's yaml.v3: they make `true` a text, and leave `yes` what it is.
    pub(super) fn boolean(&self) -> Option<bool> {
        const WANTED: &str = "true or false (without quotes)";
        let scalar = self.scalar(WANTED)?;
        match (scalar.text.as_str(), scalar.plain) {
            ("true" | "True" | "TRUE", true) => Some(true),
            ("false" | "False" | "FALSE", true) => Some(false),
            ("y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON", _) => Some(true),
            ("n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF", _) => Some(false),
            _ => {
                self.problem(format!("must be {WANTED}"));
                None
            }
        }
    }

    /// A whole number in a range; also `0x10` and `1_000`.
    pub(super) fn integer<T: TryFrom<i128>>(&self, least: i128, most: i128) -> Option<T> {
        let wanted = format!("a whole number from {least} to {most}");
        let scalar = self.scalar(&wanted)?;
        let number = scalar.plain.then(|| whole_number(&scalar.text)).flatten();
        let value = number.filter(|number| (least..=most).contains(number)).and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            let digits = scalar.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
            let octal = scalar.plain && number.is_none() && digits && scalar.text.starts_with("0");
            let hint = if octal { "; with a 0 before it, it is octal to some: write 0o17 or 17" } else { "" };
            self.problem(format!("must be {wanted}{hint}"));
        }
        value
    }

    /// A duration. `0` is a number and not a duration to Go, and so it is not one here; `"0"` is.
    pub(super) fn duration(&self) -> Option<Duration> {
        let scalar = self.scalar("a duration (5s, 1m30s)")?;
        if scalar.plain && scalar.text == "0" {
            self.problem("has no unit; a duration is a number and a unit (0s, 5s, 1m30s)");
            return None;
        }
        self.noted(parse_duration(self.text()?))
    }

    /// A size in bytes.
    pub(super) fn byte_size(&self) -> Option<u64> {
        self.scalar("a size (10MB)")?;
        self.noted(parse_byte_size(self.text()?))
    }

    /// A duration of at least a millisecond.
    pub(super) fn pause(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration < Duration::from_millis(1) {
            self.problem("must be 1ms or more");
            return None;
        }
        Some(duration)
    }

    /// One of a closed list of words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(format!("{text:?} is not known; known: {}", words.join(", ")));
        }
        found
    }

    /// Something that parses, such as an address.
    pub(super) fn parsed<T: FromStr>(&self, what: &str) -> Option<T> {
        self.scalar(what)?;
        let text = self.text()?;
        self.noted(text.parse().map_err(|_| format!("{text:?} is not {what}")))
    }

    /// A regular expression.
    pub(super) fn regex(&self) -> Option<Regex> {
        let text = self.text()?;
        self.noted(Regex::new(text).map_err(|error| format!("is not a regular expression: {error}")))
    }

    /// The value as JSON: plain words of YAML 1.2 are what they mean, all else is text.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.node.kind {
            Kind::Scalar(scalar) if scalar.is_null() => serde_json::Value::Null,
            Kind::Scalar(scalar) => {
                let plain = scalar.text.parse::<f64>().ok().and(serde_json::from_str(&scalar.text).ok());
                let truth = scalar.text.parse::<bool>().ok().map(Into::into);
                plain.or(truth).filter(|_| scalar.plain).unwrap_or_else(|| scalar.text.clone().into())
            }
            Kind::Sequence(nodes) => {
                nodes.iter().map(|node| self.child(node.line, self.key.clone(), node).json()).collect()
            }
            Kind::Mapping(_) => self.entries().iter().map(|(key, value)| ((*key).to_owned(), value.json())).collect(),
        }
    }

    /// The bytes of a file; its path is meant from the folder of the configuration, or, where that has none of its own (standard input, a
    /// shell's `<(…)`), from the working directory.
    pub(super) fn file(&self) -> Option<Vec<u8>> {
        let path = self.text()?;
        let configuration = Path::new(&self.problems.file);
        let of_descriptor = ["/dev", "/proc"].iter().any(|folder| configuration.starts_with(folder));
        let folder = configuration.parent().filter(|_| !of_descriptor).map(PathBuf::from).unwrap_or_default();
        self.noted(
            self.problems.files.read(&folder.join(path)).map_err(|error| format!("{path:?} cannot be read: {error}")),
        )
    }
}

/// The fields of a section. What is asked for is known; `finish` tells what is not.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    of: Value<'a>,
    entries: Vec<(&'a str, Value<'a>)>,
    /// Whether nothing stands there, not even an empty section.
    pub(super) is_bare: bool,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// A field; nothing where it is not there, or is there and empty.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let (_, value) = self.entries.iter().find(|(name, _)| *name == key)?;
        (!value.node.is_null()).then(|| value.clone())
    }

    /// A field of text; nothing where it is not there, or is an empty text, which to Go is the same.
    pub(super) fn filled(&self, key: &'static str) -> Option<Value<'a>> {
        let is_empty = |value: &Value<'_>| matches!(&value.node.kind, Kind::Scalar(scalar) if scalar.text.is_empty());
        self.get(key).filter(|value| !is_empty(value))
    }

    /// Whether there is no field that is not empty.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(|(_, value)| value.node.is_null())
    }

    /// The fields of a section; none where it is not there.
    pub(super) fn section(&self, key: &'static str) -> Self {
        match self.get(key) {
            Some(value) => value.fields(),
            None => {
                let mut of = self.of.clone();
                of.key = of.child_key(key);
                Self { of, entries: Vec::new(), is_bare: true, asked: RefCell::default() }
            }
        }
    }

    /// A truth value, or what it is by default.
    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        self.get(key).and_then(|value| value.boolean()).unwrap_or(default)
    }

    /// A whole number in a range, or what it is by default.
    pub(super) fn integer<T: TryFrom<i128>>(&self, key: &'static str, least: i128, most: i128, default: T) -> T {
        self.get(key).and_then(|value| value.integer(least, most)).unwrap_or(default)
    }

    /// Tells why a key is not taken that is known elsewhere. `false` switches nothing on, and will do.
    pub(super) fn refuse(&mut self, key: &str, why: &str) {
        if let Some(at) = self.entries.iter().position(|(name, _)| *name == key) {
            let (_, value) = self.entries.remove(at);
            let off = matches!(&value.node.kind, Kind::Scalar(scalar) if scalar.plain && scalar.text == "false");
            if !off && !value.node.is_null() {
                value.problem(why);
            }
        }
    }

    /// Something is wrong with the section as a whole.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.of.problem(message);
    }

    /// Tells of the keys that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for (name, value) in &self.entries {
            if !asked.contains(name) {
                value.problem(format!("unknown key; known keys: {}", asked.join(", ")));
            }
        }
    }
}

/// A whole number as YAML writes it, also `1e3`. One that begins with 0 is octal to some and decimal to others, so it is neither.
fn whole_number(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (prefix, rest) = digits.split_at_checked(2).unwrap_or(("", digits));
    let number = match prefix {
        "0x" | "0X" => unsigned(rest, 16)?,
        "0o" | "0O" => unsigned(rest, 8)?,
        "0b" | "0B" => unsigned(rest, 2)?,
        _ if digits.len() > 1 && digits.starts_with('0') && !digits.contains('.') => return None,
        _ if digits.starts_with('_') => return None,
        _ => unsigned(digits, 10).or_else(|| whole_float(digits))?,
    };
    Some(if negative { -number } else { number })
}

/// `1e3`, `5.0`: what has a fraction is no whole number, though Go cuts it off.
fn whole_float(text: &str) -> Option<i128> {
    let number: f64 = text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()?;
    (number.fract() == 0.0 && number < 1e18).then_some(number as i128)
}

fn unsigned(digits: &str, radix: u32) -> Option<i128> {
    let digits = digits.replace('_', "");
    // from_str_radix would take a second sign.
    digits.starts_with(|c: char| c.is_digit(radix)).then(|| i128::from_str_radix(&digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::whole_number;

    #[test]
    fn whole_numbers_are_those_of_yaml() {
        let cases = [
            ("5", Some(5)),
            ("-5", Some(-5)),
            ("0", Some(0)),
            ("0x65", Some(101)),
            ("1_000", Some(1000)),
            ("0o17", Some(15)),
            ("017", None),
            ("5.0", Some(5)),
            ("1e3", Some(1000)),
            ("0.0", Some(0)),
            ("5.7", None),
            ("1e99", None),
            ("inf", None),
            ("0b101", Some(5)),
            ("0X1F", Some(31)),
            ("_1", None),
            ("1_", Some(1)),
            ("", None),
            ("+-5", None),
            ("0x", None),
            ("_", None),
        ];
        for (text, number) in cases {
            assert_eq!(whole_number(text), number, "{text}");
        }
    }
}
