//! The fields behind `/scale`, which the server reads whatever the schema says of them.

use serde_json::{Value, json};

use crate::{error::FieldError, kinds::ScalePaths, write::Part};

/// What reading the counts has against an object.
pub(super) fn faults(paths: &ScalePaths, value: &Value, part: Part) -> Vec<FieldError> {
    let wanted = (part == Part::Main).then_some(&paths.replicas);
    wanted
        .into_iter()
        .chain([&paths.status_replicas])
        .filter_map(|path| fault(path, value))
        .collect()
}

fn fault(path: &[String], value: &Value) -> Option<FieldError> {
    let count = path.iter().try_fold(value, |found, name| found.get(name))?;
    let field = format!(".{}", path.join("."));
    match count.as_i64() {
        Some(count) if count >= 0 => None,
        Some(_) => Some(FieldError::invalid(
            field,
            count,
            "should be a non-negative integer",
        )),
        None => {
            let (shown, kind) = match count {
                Value::String(text) => (text.clone(), "string"),
                Value::Bool(_) => (count.to_string(), "bool"),
                Value::Number(_) => (count.to_string(), "float64"),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            let what =
                format!("{field} accessor error: {shown} is of the type {kind}, expected int64");
            Some(FieldError::invalid(field, &json!(0), &what))
        }
    }
}
