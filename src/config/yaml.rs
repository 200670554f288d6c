//! YAML as a tree that knows its lines. This is the only place that knows which library reads it.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use bytes::Bytes;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

/// More nodes than any configuration has; a file that grows beyond by its aliases is refused.
const NODE_LIMIT: usize = 1_000_000;

/// A value and the line where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    /// What stands there.
    pub(super) kind: Kind,
}

/// The kinds of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, a number, a word.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file. A key that is given twice is here twice, and so is `<<`, which otherwise is not here.
    Mapping(Vec<(Key, Node)>),
}

/// A scalar as it was written: what it means is the reader's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    /// The text, without quotes and escapes.
    pub(super) text: String,
    /// Whether it had no quotes (or a tag that outweighs them), so that `true` may be a truth value and `5` a number.
    pub(super) plain: bool,
    /// What it is where it was tagged `!!binary`; an error where the text is no base64.
    pub(super) binary: Option<Result<Bytes, NotBase64>>,
}

/// What is tagged `!!binary` is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotBase64;

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// From 1.
    pub(super) line: usize,
    /// The key.
    pub(super) text: String,
    /// Whether it is `<<`, which adds the entries of another mapping.
    pub(super) merges: bool,
}

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// From 1.
    pub(super) line: usize,
    /// What is wrong; it never quotes the text, which may hold secrets.
    pub(super) message: String,
}

impl Node {
    /// Whether nothing stands there: `key:`, `key: null`, `key: ~`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.is_null())
    }
}

impl Scalar {
    /// Whether this is YAML's way to say nothing.
    pub(super) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// Reads a text of one document; nothing where it is empty. Aliases and `<<` are resolved.
pub(super) fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::DocumentStart(..) if root.is_some() => {
                return Err(SyntaxError {
                    line: line_of(&span),
                    message: "a second document begins here; the configuration is one document".to_owned(),
                });
            }
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(reader.node(event, &span)?),
        }
    }
}

/// The parser's events, and what its anchors stand for.
struct Reader<'a> {
    events: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The next event that is a node's.
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        loop {
            match self.events.next() {
                Some(Ok((Event::Anchor(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(of_scan_error(&error)),
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    /// The node that `event` begins.
    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, SyntaxError> {
        let line = line_of(span);
        let (anchor, kind) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(SyntaxError { line, message: "an alias inside of its own anchor".to_owned() });
                };
                self.count(size(&node), line)?;
                // The alias stands here, but what is wrong with it must be mended where it is written.
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => (anchor, Kind::Scalar(scalar(text, style, tag.as_deref()))),
            Event::SequenceStart(_, anchor, _) => {
                let mut nodes = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => nodes.push(self.node(event, &span)?),
                    }
                }
                (anchor, Kind::Sequence(nodes))
            }
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping()?),
            _ => return Err(SyntaxError { line, message: "a value is missing".to_owned() }),
        };
        self.count(1, line)?;
        let node = Node { line, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self) -> Result<Kind, SyntaxError> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let node = self.node(event, &span)?;
            let Kind::Scalar(scalar) = node.kind else {
                return Err(SyntaxError { line: node.line, message: "a key must be text".to_owned() });
            };
            // An alias as a key has the line of its anchor; the key itself stands here.
            let merges = scalar.plain && scalar.text == "<<";
            let key = Key { line: line_of(&span), text: scalar.text, merges };
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            if merges {
                merged.push((key, line_of(&span), value));
            } else {
                entries.push((key, value));
            }
        }
        let twice = merged.len() > 1;
        for (key, line, value) in merged {
            merge(&mut entries, value.clone(), line)?;
            if twice {
                entries.push((key, value));
            }
        }
        Ok(Kind::Mapping(entries))
    }

    /// Keeps a file of a few lines from becoming a tree of millions.
    fn count(&mut self, nodes: usize, line: usize) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > NODE_LIMIT {
            return Err(SyntaxError { line, message: format!("more than {NODE_LIMIT} values") });
        }
        Ok(())
    }
}

/// Adds the entries of a `<<` value whose keys are not there yet.
fn merge(entries: &mut Vec<(Key, Node)>, value: Node, line: usize) -> Result<(), SyntaxError> {
    match value.kind {
        Kind::Mapping(defaults) => {
            for (key, node) in defaults {
                if entries.iter().all(|(known, _)| known.text != key.text) {
                    entries.push((key, node));
                }
            }
            Ok(())
        }
        Kind::Sequence(values) => values.into_iter().try_for_each(|value| match value.kind {
            Kind::Sequence(_) => Err(SyntaxError { line, message: "<< takes a mapping or a list of them".to_owned() }),
            Kind::Mapping(_) | Kind::Scalar(_) => merge(entries, value, line),
        }),
        Kind::Scalar(_) => Err(SyntaxError { line, message: "<< takes a mapping or a list of them".to_owned() }),
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Scalar {
    let tag = tag.and_then(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:"));
    let plain = match tag.as_deref() {
        Some("str" | "binary") => false,
        Some("bool" | "float" | "int" | "null") => true,
        _ => style == ScalarStyle::Plain,
    };
    let binary = (tag.as_deref() == Some("binary")).then(|| unpacked(&text));
    Scalar { text: text.into_owned(), plain, binary }
}

/// Base64, which may go over several lines.
fn unpacked(text: &str) -> Result<Bytes, NotBase64> {
    let packed: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(packed).map(Bytes::from).map_err(|_| NotBase64)
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar(_) => 0,
        Kind::Sequence(nodes) => nodes.iter().map(size).sum(),
        Kind::Mapping(entries) => entries.iter().map(|(_, node)| size(node)).sum(),
    }
}

fn line_of(span: &Span) -> usize {
    span.start.line()
}

fn of_scan_error(error: &ScanError) -> SyntaxError {
    SyntaxError { line: error.marker().line(), message: error.info() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree in one line: `key@line=value`.
    fn outline(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.is_null() => "null".to_owned(),
            Kind::Scalar(scalar) => format!("{}{:?}", if scalar.plain { "" } else { "'" }, scalar.text),
            Kind::Sequence(nodes) => format!("[{}]", nodes.iter().map(outline).collect::<Vec<_>>().join(" ")),
            Kind::Mapping(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, node)| format!("{}@{}={}", key.text, key.line, outline(node))).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    fn check(text: &str, expected: &str) {
        let found = match parse(text) {
            Ok(Some(node)) => outline(&node),
            Ok(None) => "empty".to_owned(),
            Err(error) => format!("{}: {}", error.line, error.message),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn scalars_keep_their_text() {
        check(
            "a: true\nb: \"true\"\nc: 0x10\nd: 1.10\ne:\n",
            r#"{a@1="true" b@2='"true" c@3="0x10" d@4="1.10" e@5=null}"#,
        );
        check("a: |\n  x\n  y\n", r#"{a@1='"x\ny\n"}"#);
    }

    #[test]
    fn an_empty_file_is_nothing() {
        check("", "empty");
        check("# only this\n", "empty");
    }

    #[test]
    fn keys_given_twice_are_kept_for_the_reader() {
        check("a: 1\nb: 2\na: 3\n", r#"{a@1="1" b@2="2" a@3="3"}"#);
    }

    #[test]
    fn aliases_and_merges_are_resolved_and_own_keys_win() {
        check("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n", r#"{a@1={k@1="1" l@1="2"} b@2={l@4="3" k@1="1"}}"#);
        check(
            "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc: {<<: [*x, *y]}\nd: *x\n",
            r#"{a@1={k@1="1"} b@2={k@2="2" l@2="2"} c@3={k@1="1" l@2="2"} d@4={k@1="1"}}"#,
        );
        check("a:\n  <<: {k: 1}\n  <<: {k: 2}\n", r#"{a@1={k@2="1" <<@2={k@2="1"} <<@3={k@3="2"}}}"#);
        check("a: {<<: 5}\n", "1: << takes a mapping or a list of them");
    }

    #[test]
    fn what_is_no_single_document_is_refused() {
        check("a: 1\n---\nb: 2\n", "2: a second document begins here; the configuration is one document");
        check("a: *x\n", "1: while parsing node, found unknown anchor");
        check("a: [1\nb: 2\n", "2: illegal placement of ':' indicator");
        check("a: 1\n\tb: 2\n", "1: while scanning a plain scalar, found a tab");
        check("? [a]\n: 1\n", "1: a key must be text");
    }

    #[test]
    fn a_billion_laughs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
        }
        assert!(parse(&text).is_err_and(|error| error.message == "more than 1000000 values"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
