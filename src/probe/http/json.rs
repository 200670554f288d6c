//! Conditions on the JSON of a body, in the Common Expression Language (cel.dev), as blackbox_exporter has them.

mod text;
mod types;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Program, ResolveResult, Value};

/// A condition on `body`, the JSON of a response's body.
pub struct Condition {
    program: Program,
    text: String,
    forbids: bool,
}

impl Condition {
    /// Compiles an expression; `forbids`: whether it is a failure that it holds, otherwise that it does not.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(text: &str, forbids: bool) -> Result<Self, String> {
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.to_string()).unwrap_or_default();
            first.lines().next().unwrap_or("a syntax error").to_owned()
        })?;
        types::check(program.expression())?;
        let program = text::ENVIRONMENT.compile(text).map_err(|error| error.to_string())?;
        Ok(Self { program, text: text.to_owned(), forbids })
    }

    /// Says why a body is not as it must be: no JSON, or the condition holds, or does not, or cannot be told, which may be for want of time:
    /// nobody wants to know it after `end`.
    pub(super) fn check(&self, body: &[u8], end: Instant) -> Result<(), String> {
        let json = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        match run(&self.program, value(json), end) {
            Ok(Value::Bool(true)) if self.forbids => {
                Err(format!("the body's JSON is as it must not be: {}", self.text))
            }
            Ok(Value::Bool(false)) if !self.forbids => {
                Err(format!("the body's JSON is not as it must be: {}", self.text))
            }
            Ok(Value::Bool(_)) => Ok(()),
            Ok(other) => Err(format!("{} is no truth value but {:?}", self.text, other.type_of())),
            Err(error) => Err(format!("{} cannot be told: {error}", self.text)),
        }
    }
}

/// What an expression is of a body.
fn run(program: &Program, body: Value, end: Instant) -> ResolveResult {
    let body = Body { value: body.try_into()?, end };
    let mut context = Context::with_env(Arc::clone(&text::ENVIRONMENT));
    context.set_variable_resolver(&body);
    program.execute(&context)
}

/// The body, which is there until `end`: an expression that looks at all of it for each of its parts could go on for days, and cannot be
/// ended otherwise.
struct Body {
    value: Box<dyn Val>,
    end: Instant,
}

impl VariableResolver for Body {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        (name == "body" && Instant::now() < self.end).then(|| CowVal::Borrowed(self.value.as_ref()))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("text", &self.text).field("forbids", &self.forbids).finish_non_exhaustive()
    }
}

/// JSON as CEL sees it in blackbox_exporter, where every number is a double.
fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(truth),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::String(Arc::new(text)),
        serde_json::Value::Array(values) => Value::List(Arc::new(values.into_iter().map(value).collect())),
        serde_json::Value::Object(entries) => {
            let entries: std::collections::HashMap<String, Value> =
                entries.into_iter().map(|(key, json)| (key, value(json))).collect();
            Value::Map(entries.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BODY: &str =
        r#"{"status": "ok", "n": 5, "half": 2.5, "list": [1, 2, {"a": "x"}], "none": null, "deep": {"up": true}}"#;

    #[test]
    fn conditions_are_told_as_cel_has_them() {
        let cases = [
            ("body.status == 'ok'", true),
            ("body.status == \"down\"", false),
            ("body.n > 4", true),
            ("body.n == 5", true),
            ("5 == body.n", true),
            ("body.n + 1.5 < 7.0", true),
            ("body.half * 2.0 == body.n", true),
            ("size(body.list) == 3", true),
            ("body.list.size() == 3", true),
            ("body.list[2].a == 'x'", true),
            ("body.list.exists(e, e == 2)", true),
            ("has(body.missing)", false),
            ("has(body.deep.up) && body.deep.up", true),
            ("body.none == null", true),
            ("body.status.startsWith('o') && body.status.matches('^o.$')", true),
            ("'status' in body", true),
            ("body['status'] in ['ok', 'fine']", true),
            ("body.n > 1 ? body.deep.up : false", true),
        ];
        for (text, holds) in cases {
            let wanted = Condition::new(text, false).unwrap().check(BODY.as_bytes(), soon());
            let unwanted = Condition::new(text, true).unwrap().check(BODY.as_bytes(), soon());
            assert_eq!((wanted.is_ok(), unwanted.is_ok()), (holds, !holds), "{text}: {wanted:?} {unwanted:?}");
        }
    }

    /// The end of more time than any of these needs.
    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_would_go_on_for_days_ends_when_nobody_waits_for_it() {
        let condition = Condition::new("body.all(x, body.all(y, body.all(z, x != y + z + 1.0)))", false).unwrap();
        let body = format!("[{}0]", "2,".repeat(5_000));
        let begun = Instant::now();
        assert!(condition.check(body.as_bytes(), begun + Duration::from_millis(100)).is_err());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_cannot_be_told_is_a_failure_either_way() {
        let cases =
            [("body.missing == 1", BODY), ("body.status", BODY), ("body.n", "<html>"), ("body.n + 'x' == 'y'", BODY)];
        for (text, body) in cases {
            for forbids in [false, true] {
                assert!(Condition::new(text, forbids).unwrap().check(body.as_bytes(), soon()).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn an_expression_that_is_none_is_refused() {
        for (text, wrong) in [
            ("", ""),
            ("body.", ""),
            ("boddy.n == 1", "boddy is not known"),
            ("body.n == ", ""),
            ("nope(body)", "nope is not known"),
            ("false && nope(body)", "nope is not known"),
            ("size(body.list) == '3'", "_==_ does not take (int, string)"),
            ("body.list.map(x, x > 1)", "no condition but a list(bool)"),
            ("size(body.list)", "it is no condition but a int"),
        ] {
            let error = Condition::new(text, false).map(drop).unwrap_err();
            assert!(error.contains(wrong) && !error.is_empty() && !error.contains('\n'), "{text}: {error}");
        }
    }
}
