//! As much of JSON Schema as the report's schema uses.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What is wrong with `json`; the keys of the schema that it uses are added to `used`.
pub(crate) fn problems(schema: &Value, json: &Value, used: &mut BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    validate((schema, schema), json, "", "", used, &mut problems);
    problems
}

/// Every key that the schema names, as a path.
pub(crate) fn keys(schema: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    collect(schema, "", &mut keys);
    keys
}

fn collect(schema: &Value, path: &str, keys: &mut Vec<String>) {
    for (name, schema) in properties(schema) {
        let path = format!("{path}/{name}");
        keys.push(path.clone());
        collect(schema, &path, keys);
    }
    if let Some(items) = schema.get("items") {
        collect(items, path, keys);
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// The schema is that of the whole, and the part of it that is meant; `at` is the path in the JSON, `of` the path of keys in the schema.
fn validate(
    (root, schema): (&Value, &Value),
    json: &Value,
    at: &str,
    of: &str,
    used: &mut BTreeSet<String>,
    problems: &mut Vec<String>,
) {
    if let Some(reference) = schema.get("$ref") {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        return validate((root, root.pointer(pointer).unwrap()), json, at, of, used, problems);
    }
    for keyword in schema.as_object().unwrap().keys() {
        let known = [
            "$schema",
            "title",
            "description",
            "type",
            "enum",
            "properties",
            "required",
            "additionalProperties",
            "items",
        ];
        assert!(known.contains(&keyword.as_str()), "the validator does not know {keyword}");
    }
    let ty = schema["type"].as_str().unwrap();
    let right = match ty {
        "object" => json.is_object(),
        "array" => json.is_array(),
        "string" => json.is_string(),
        "number" => json.is_number(),
        "integer" => json.is_i64() || json.is_u64(),
        "boolean" => json.is_boolean(),
        _ => panic!("the validator does not know the type {ty}"),
    };
    if !right {
        problems.push(format!("{at}: not of type {ty}"));
        return;
    }
    if schema.get("enum").is_some_and(|allowed| !allowed.as_array().unwrap().contains(json)) {
        problems.push(format!("{at}: not one of the enum"));
    }
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if json.get(required.as_str().unwrap()).is_none() {
            problems.push(format!("{at}/{}: missing", required.as_str().unwrap()));
        }
    }
    for (key, value) in json.as_object().into_iter().flat_map(Map::iter) {
        let (at, of) = (format!("{at}/{key}"), format!("{of}/{key}"));
        let property = properties(schema).find(|(name, _)| *name == key);
        match (property, &schema["additionalProperties"]) {
            (Some((_, schema)), _) => {
                used.insert(of.clone());
                validate((root, schema), value, &at, &of, used, problems);
            }
            (None, Value::Bool(false)) => problems.push(format!("{at}: unknown key")),
            (None, schema) => validate((root, schema), value, &at, &of, used, problems),
        }
    }
    for (n, item) in json.as_array().into_iter().flatten().enumerate() {
        validate((root, &schema["items"]), item, &format!("{at}/{n}"), of, used, problems);
    }
}
