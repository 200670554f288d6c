//! The text of a double, as `string()` of cel-go has it, where the crate has another.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr};
use cel::common::types::{CelDouble, CelString, DYN_TYPE};
use cel::common::value::CowVal;
use cel::parser::Macro;
use cel::{Env, ExecutionError};

/// The function that `string()` calls first. Nobody can write its name.
const DOUBLE_AS_TEXT: &str = "@double_as_text";

/// CEL's functions, with this `string()`. Overloads cannot be replaced, but what is a text already, `string()` leaves as it is.
#[expect(clippy::expect_used, reason = "the names are of nothing else in the standard library of CEL")]
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    let call = |name: &str, args| Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args });
    let string = Macro::global("string", 1, move |helper, _, args| {
        let text = helper.next_expr(call(DOUBLE_AS_TEXT, std::mem::take(args)));
        Ok(Some(helper.next_expr(call("string", vec![text]))))
    });
    environment.add_macro(string).expect("a name of no other macro");
    let added = environment.add_overload(DOUBLE_AS_TEXT, DOUBLE_AS_TEXT, vec![DYN_TYPE], double_as_text);
    added.expect("a name of no other function");
    Arc::new(environment)
});

/// The text of a double; anything else as it is.
fn double_as_text<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args.remove(0);
    match value.downcast_ref::<CelDouble>() {
        Some(double) => Ok(CowVal::Owned(Box::new(CelString::from(go(*double.inner()))))),
        None => Ok(value),
    }
}

/// A double as Go's `%g`: the fewest digits that tell it from others, and an exponent where it is below -4 or above 5.
fn go(double: f64) -> String {
    if double.is_infinite() {
        return if double > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let text = format!("{double:e}");
    match text.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
        Some((digits, exponent)) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        Some(_) | None => double.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn doubles_are_written_as_go_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.5, "-0.5"),
            (100_000.0, "100000"),
            (123_456.0, "123456"),
            (999_999.5, "999999.5"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (-1_234_567.5, "-1.2345675e+06"),
            (123_456_789_012.0, "1.23456789012e+11"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.000_123_45, "0.00012345"),
            (0.000_01, "1e-05"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (double, text) in cases {
            assert_eq!(super::go(double), text);
        }
    }
}
