//! Reading one value of a document, or saying where and why it cannot be read.
//!
//! Nothing here knows what the values are for.

use std::{fmt, str::FromStr as _};

use karpenter_api::Quantity;
use serde_json::{Map, Value};

/// Something wrong at a place of the document.
pub(super) struct Fault {
    /// The path from the top.
    pub(super) place: String,
    /// What is wrong and what to write.
    pub(super) message: String,
}

/// A value, or what is wrong with it.
pub(super) type Checked<T> = Result<T, Fault>;

/// An error about a place.
pub(super) fn fault<T>(place: impl fmt::Display, message: impl fmt::Display) -> Checked<T> {
    Err(Fault {
        place: place.to_string(),
        message: message.to_string(),
    })
}

/// A field by its name in any case; the exact spelling wins if there are several.
pub(super) fn field<'a>(object: Option<&'a Map<String, Value>>, name: &str) -> Option<&'a Value> {
    let object = object?;
    object.get(name).or_else(|| {
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// A text that must be there.
pub(super) fn required_text(
    object: &Map<String, Value>,
    place: &str,
    name: &str,
) -> Checked<String> {
    match field(Some(object), name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => fault(
            format_args!("{place}.{name}"),
            "is missing or empty, write a text",
        ),
        Some(value) => fault(
            format_args!("{place}.{name}"),
            format_args!("{} is not a text, put it in quotes", shortened(value)),
        ),
    }
}

/// A list that may be absent.
pub(super) fn list<'a>(
    object: &'a Map<String, Value>,
    place: &str,
    name: &str,
) -> Checked<&'a [Value]> {
    match field(Some(object), name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(elements)) => Ok(elements),
        Some(value) => fault(
            format_args!("{place}.{name}"),
            format_args!("{} is not a list, put it in brackets", shortened(value)),
        ),
    }
}

/// A list of texts that may be absent.
pub(super) fn texts(object: &Map<String, Value>, place: &str, name: &str) -> Checked<Vec<String>> {
    let mut texts = Vec::new();
    for (number, value) in list(object, place, name)?.iter().enumerate() {
        match value {
            Value::String(text) => texts.push(text.clone()),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                return fault(
                    format_args!("{place}.{name}[{number}]"),
                    format_args!("{} is not a text, put it in quotes", shortened(value)),
                );
            }
        }
    }
    for text in &texts {
        label_value(&format!("{place}.{name}"), text)?;
    }
    Ok(texts)
}

/// A value as JSON, cut where it would flood the message.
pub(super) fn shortened(value: &Value) -> String {
    const LONGEST: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What every part of a label must be like, and how long at most.
fn is_word(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= longest
        && bytes.iter().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

/// Whether a text is a label key: a name of up to 63 characters, perhaps after a domain.
pub(super) fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        None => is_word(key, 63),
        Some((domain, name)) => {
            let lower = |byte: u8| !byte.is_ascii_uppercase() && byte != b'_';
            is_word(domain, 253) && domain.bytes().all(lower) && is_word(name, 63)
        }
    }
}

/// Refuses what no label could have as its value; the empty text is one.
pub(super) fn label_value(place: &str, text: &str) -> Checked<()> {
    if text.is_empty() || is_word(text, 63) {
        return Ok(());
    }
    let shown = shortened(&Value::String(text.to_owned()));
    fault(
        place,
        format_args!(
            "{shown} cannot be a label's value, use up to 63 letters, digits, -, _ or . with a letter or digit at both ends"
        ),
    )
}

/// An amount of at least zero.
pub(super) fn quantity(place: &str, value: &Value) -> Checked<Quantity> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return fault(
                place,
                "is not a quantity, write a text such as \"500m\" or \"8Gi\"",
            );
        }
    };
    match Quantity::from_str(text.trim()) {
        Ok(amount) if amount.is_negative() => fault(
            place,
            format_args!("{text} is below zero, write zero or more"),
        ),
        Ok(amount) => Ok(amount),
        Err(error) => fault(place, error),
    }
}
