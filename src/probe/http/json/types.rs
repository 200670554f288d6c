//! The types of a condition, as far as they are known before any JSON has come. What can never be told is refused when it is loaded, as by
//! cel-go, and so is what is no condition.
//!
//! The rules and the functions are those of the CEL language definition (cel-spec, "Gradual type checking" and "Standard definitions").

use std::fmt;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};

/// The JSON's name.
const BODY: &str = "body";

/// A type of CEL.
#[derive(Debug, Clone, PartialEq)]
enum Type {
    /// Any, as the JSON is.
    Dyn,
    /// What an empty list or map has is not known yet.
    Open,
    /// One without parts, by its name.
    Plain(&'static str),
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// Any, but the same wherever an overload has it.
    Parameter(char),
}

const BOOL: Type = Type::Plain("bool");
const INT: Type = Type::Plain("int");
const NULL: Type = Type::Plain("null");
const TYPE: Type = Type::Plain("type");

/// Types that are also expressions.
const TYPE_NAMES: [&str; 10] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// Compare numbers of one type, and within comprehensions of any, which is a slip of cel-go's.
const COMPARISONS: [&str; 4] = ["_<_", "_<=_", "_>_", "_>=_"];

/// Takes a key.
const INDEX: &str = "_[_]";

/// A function a line: its name, after a dot where it is called upon its first argument, and what it takes and makes of that, each way
/// behind a semicolon.
const FUNCTIONS: &str = "
_?_:_; bool A A: A
_&&_; bool bool: bool
_||_; bool bool: bool
!_; bool: bool
@not_strictly_false; bool: bool
_==_; A A: bool
_!=_; A A: bool
_<_; bool bool: bool; int int: bool; uint uint: bool; double double: bool; string string: bool; bytes bytes: bool; timestamp timestamp: bool; duration duration: bool
_<=_; bool bool: bool; int int: bool; uint uint: bool; double double: bool; string string: bool; bytes bytes: bool; timestamp timestamp: bool; duration duration: bool
_>_; bool bool: bool; int int: bool; uint uint: bool; double double: bool; string string: bool; bytes bytes: bool; timestamp timestamp: bool; duration duration: bool
_>=_; bool bool: bool; int int: bool; uint uint: bool; double double: bool; string string: bool; bytes bytes: bool; timestamp timestamp: bool; duration duration: bool
_+_; int int: int; uint uint: uint; double double: double; string string: string; bytes bytes: bytes; [A] [A]: [A]; timestamp duration: timestamp; duration timestamp: timestamp; duration duration: duration
_-_; int int: int; uint uint: uint; double double: double; timestamp timestamp: duration; timestamp duration: timestamp; duration duration: duration
_*_; int int: int; uint uint: uint; double double: double
_/_; int int: int; uint uint: uint; double double: double
_%_; int int: int; uint uint: uint
-_; int: int; double: double
_[_]; [A] int: A; {A,B} A: B
@in; A [A]: bool; A {A,B}: bool
size; string: int; bytes: int; [A]: int; {A,B}: int
.size; string: int; bytes: int; [A]: int; {A,B}: int
type; A: type
dyn; A: dyn
bool; bool: bool; string: bool
bytes; bytes: bytes; string: bytes
double; double: double; int: double; uint: double; string: double
int; int: int; uint: int; double: int; string: int; timestamp: int; duration: int
uint; uint: uint; int: uint; double: uint; string: uint
string; string: string; bool: string; int: string; uint: string; double: string; bytes: string; timestamp: string; duration: string
timestamp; timestamp: timestamp; int: timestamp; string: timestamp
duration; duration: duration; int: duration; string: duration
matches; string string: bool
.matches; string string: bool
.contains; string string: bool
.startsWith; string string: bool
.endsWith; string string: bool
.getFullYear; timestamp: int; timestamp string: int
.getMonth; timestamp: int; timestamp string: int
.getDate; timestamp: int; timestamp string: int
.getDayOfMonth; timestamp: int; timestamp string: int
.getDayOfWeek; timestamp: int; timestamp string: int
.getDayOfYear; timestamp: int; timestamp string: int
.getHours; timestamp: int; timestamp string: int; duration: int
.getMinutes; timestamp: int; timestamp string: int; duration: int
.getSeconds; timestamp: int; timestamp string: int; duration: int
.getMilliseconds; timestamp: int; timestamp string: int; duration: int
";

/// Says why an expression is no condition, or one that can never be told.
///
/// # Errors
/// That, in one line.
pub(super) fn check(expression: &IdedExpr) -> Result<(), String> {
    match of(expression, &mut Vec::new())? {
        Type::Dyn | Type::Open | BOOL => Ok(()),
        other => Err(format!("it is no condition but a {other}")),
    }
}

/// The variables that an expression may name beside the JSON, the innermost last.
type Scope = Vec<(String, Type)>;

fn of(expression: &IdedExpr, scope: &mut Scope) -> Result<Type, String> {
    match &expression.expr {
        Expr::Literal(literal) => Ok(of_literal(literal)),
        Expr::Ident(name) => of_name(name, scope),
        Expr::Select(select) => of_field(select, scope),
        Expr::Call(call) => of_call(call, scope),
        Expr::List(list) => Ok(Type::List(Box::new(of_all(list.elements.iter(), scope)?))),
        Expr::Map(map) => {
            let entries: Vec<_> = map
                .entries
                .iter()
                .filter_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Some(entry),
                    EntryExpr::StructField(_) => None,
                })
                .collect();
            let keys = of_all(entries.iter().map(|entry| &entry.key), scope)?;
            let values = of_all(entries.iter().map(|entry| &entry.value), scope)?;
            Ok(Type::Map(Box::new(keys), Box::new(values)))
        }
        Expr::Comprehension(comprehension) => of_comprehension(comprehension, scope),
        Expr::Struct(message) => Err(format!("{} is not known; there are no messages", message.type_name)),
        Expr::Unspecified => Ok(Type::Dyn),
    }
}

fn of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => BOOL,
        LiteralValue::Bytes(_) => Type::Plain("bytes"),
        LiteralValue::Double(_) => Type::Plain("double"),
        LiteralValue::Int(_) => INT,
        LiteralValue::Null => NULL,
        LiteralValue::String(_) => Type::Plain("string"),
        LiteralValue::UInt(_) => Type::Plain("uint"),
    }
}

fn of_name(name: &str, scope: &Scope) -> Result<Type, String> {
    match scope.iter().rev().find(|(known, _)| known == name) {
        Some((_, ty)) => Ok(ty.clone()),
        None if name == BODY => Ok(Type::Dyn),
        None if TYPE_NAMES.contains(&name) => Ok(TYPE),
        None => Err(format!("{name} is not known; the JSON is called {BODY}")),
    }
}

fn of_field(select: &SelectExpr, scope: &mut Scope) -> Result<Type, String> {
    let field = match of(&select.operand, scope)? {
        Type::Dyn | Type::Open => Type::Dyn,
        Type::Map(_, value) => *value,
        other => return Err(format!("a {other} has no fields, nor a field {}", select.field)),
    };
    Ok(if select.test { BOOL } else { field })
}

/// The type that all of some expressions have.
fn of_all<'a>(expressions: impl Iterator<Item = &'a IdedExpr>, scope: &mut Scope) -> Result<Type, String> {
    let mut all = None;
    for expression in expressions {
        let ty = of(expression, scope)?;
        all = Some(match all {
            None => ty,
            Some(known) if known == ty => known,
            Some(_) => Type::Dyn,
        });
    }
    Ok(all.unwrap_or(Type::Open))
}

fn of_call(call: &CallExpr, scope: &mut Scope) -> Result<Type, String> {
    let mut arguments = Vec::new();
    for argument in call.target.as_deref().into_iter().chain(&call.args) {
        arguments.push(of(argument, scope)?);
    }
    let is_number = |ty: &Type| matches!(ty, Type::Plain("int" | "uint" | "double"));
    if !scope.is_empty() && COMPARISONS.contains(&call.func_name.as_str()) && arguments.iter().all(is_number) {
        return Ok(BOOL);
    }
    if let (INDEX, [_, key]) = (call.func_name.as_str(), &*call.args)
        && (matches!(&key.expr, Expr::Literal(LiteralValue::Null | LiteralValue::Bytes(_)))
            || matches!(&key.expr, Expr::Ident(_) if arguments.last() == Some(&TYPE)))
    {
        return Err("nothing has a key of null, of bytes, or a type".to_owned());
    }
    let name = if call.target.is_some() { format!(".{}", call.func_name) } else { call.func_name.clone() };
    let mut functions = FUNCTIONS.lines().filter_map(|line| line.split_once("; "));
    let Some((_, overloads)) = functions.find(|(known, _)| *known == name) else {
        return Err(format!("{} is not known as a function", call.func_name));
    };
    let mut results = overloads.split("; ").filter_map(|overload| result(overload, &arguments));
    let Some(first) = results.next() else {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        return Err(format!("{} does not take ({})", call.func_name, arguments.join(", ")));
    };
    Ok(if results.all(|other| other == first) { first } else { Type::Dyn })
}

/// What a way to call a function makes of its arguments; nothing where it does not take them.
fn result(overload: &'static str, arguments: &[Type]) -> Option<Type> {
    let (parameters, result) = overload.split_once(": ")?;
    let parameters: Vec<Type> = parameters.split(' ').map(Type::read).collect();
    let mut bound = Vec::new();
    let fits = parameters.len() == arguments.len()
        && parameters.iter().zip(arguments).all(|(parameter, argument)| parameter.takes(argument, &mut bound));
    fits.then(|| Type::read(result).with(&bound))
}

fn of_comprehension(comprehension: &ComprehensionExpr, scope: &mut Scope) -> Result<Type, String> {
    let ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, accu_init, loop_cond, loop_step, result } =
        comprehension;
    let element = match of(iter_range, scope)? {
        Type::Dyn | Type::Open => Type::Dyn,
        Type::List(element) | Type::Map(element, _) => *element,
        other => return Err(format!("a {other} has no elements")),
    };
    let initial = of(accu_init, scope)?;
    let outside = scope.len();
    scope.push((accu_var.clone(), initial.clone()));
    scope.push((iter_var.clone(), element));
    scope.extend(iter_var2.iter().map(|name| (name.clone(), Type::Dyn)));
    for (expression, wanted) in [(loop_cond, BOOL), (loop_step, initial)] {
        let ty = of(expression, scope)?;
        if !wanted.takes(&ty, &mut Vec::new()) {
            return Err(format!("what is done with each element is a {ty}, not a {wanted}"));
        }
        // What an empty list gathers is known only now.
        if matches!(wanted, Type::List(_)) {
            scope[outside].1 = ty;
        }
    }
    scope.truncate(outside + 1);
    let ty = of(result, scope);
    scope.truncate(outside);
    ty
}

impl Type {
    /// Reads what stands in the list of functions.
    fn read(text: &'static str) -> Self {
        let within = |open, close| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(element) = within('[', ']') {
            return Self::List(Box::new(Self::read(element)));
        }
        if let Some((key, value)) = within('{', '}').and_then(|entry| entry.split_once(',')) {
            return Self::Map(Box::new(Self::read(key)), Box::new(Self::read(value)));
        }
        match text {
            "dyn" => Self::Dyn,
            "A" | "B" => text.chars().next().map_or(Self::Dyn, Self::Parameter),
            name => Self::Plain(name),
        }
    }

    /// Whether a value of another type may stand where this one is wanted; `bound` says what parameters are.
    fn takes(&self, other: &Self, bound: &mut Vec<(char, Self)>) -> bool {
        match (self, other) {
            (Self::Parameter(name), _) => match bound.iter_mut().find(|(known, _)| known == name) {
                Some((_, ty)) => {
                    let known = ty.clone();
                    if *other == Self::Dyn || known.is_open() {
                        *ty = other.clone();
                    }
                    known.takes(other, bound)
                }
                None => {
                    bound.push((*name, other.clone()));
                    true
                }
            },
            (Self::Dyn | Self::Open, _) | (_, Self::Dyn | Self::Open) => true,
            (Self::List(element), Self::List(of_other)) => element.takes(of_other, bound),
            (Self::Map(key, value), Self::Map(of_key, of_value)) => {
                key.takes(of_key, bound) && value.takes(of_value, bound)
            }
            (Self::Plain("timestamp" | "duration"), Self::Plain("null"))
            | (Self::Plain("null"), Self::Plain("timestamp" | "duration")) => true,
            (this, other) => this == other,
        }
    }

    /// Whether a part of it is not known yet.
    fn is_open(&self) -> bool {
        match self {
            Self::Open => true,
            Self::List(element) => element.is_open(),
            Self::Map(key, value) => key.is_open() || value.is_open(),
            Self::Dyn | Self::Plain(_) | Self::Parameter(_) => false,
        }
    }

    /// The type with its parameters as they were found.
    fn with(self, bound: &[(char, Self)]) -> Self {
        match self {
            Self::Parameter(name) => {
                bound.iter().find(|(known, _)| *known == name).map_or(Self::Dyn, |(_, ty)| ty.clone())
            }
            Self::List(element) => Self::List(Box::new(element.with(bound))),
            Self::Map(key, value) => Self::Map(Box::new(key.with(bound)), Box::new(value.with(bound))),
            Self::Dyn | Self::Open | Self::Plain(_) => self,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn | Self::Open | Self::Parameter(_) => f.write_str("dyn"),
            Self::Plain(name) => f.write_str(name),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
        }
    }
}
