//! Refusals as the API states them: a code, a reason and a `Status` body.
//!
//! Texts follow the API server's, because people and client libraries read them.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::kinds::Kind;

/// The result of everything that may be refused.
pub(crate) type Result<T> = std::result::Result<T, ApiError>;

/// One fault in one field, as the API server words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Exact path, such as `spec.disruption.budgets[0].nodes`; empty for the object as a whole.
    pub field: String,
    /// What is wrong, beginning with the class: `Invalid value: "x": should …`.
    pub message: String,
    /// The machine-readable class, such as `FieldValueInvalid`.
    pub reason: &'static str,
}

impl FieldError {
    /// The value is present but wrong.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, what: &str) -> FieldError {
        FieldError {
            field: field.into(),
            message: format!("Invalid value: {}: {what}", shown(value)),
            reason: "FieldValueInvalid",
        }
    }

    /// The value has the wrong type; `shown_type` is what the server prints in place of the value.
    pub(crate) fn type_invalid(
        field: impl Into<String>,
        shown_type: &str,
        what: &str,
    ) -> FieldError {
        FieldError {
            field: field.into(),
            message: format!("Invalid value: \"{shown_type}\": {what}"),
            reason: "FieldValueTypeInvalid",
        }
    }

    /// The value is missing.
    pub(crate) fn required(field: impl Into<String>, what: &str) -> FieldError {
        let message = if what.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {what}")
        };
        FieldError {
            field: field.into(),
            message,
            reason: "FieldValueRequired",
        }
    }

    /// The value may not be set here.
    pub(crate) fn forbidden(field: impl Into<String>, what: &str) -> FieldError {
        FieldError {
            field: field.into(),
            message: format!("Forbidden: {what}"),
            reason: "FieldValueForbidden",
        }
    }

    /// The value is none of the permitted ones.
    pub(crate) fn unsupported(
        field: impl Into<String>,
        value: &Value,
        supported: &[String],
    ) -> FieldError {
        let quoted: Vec<String> = supported.iter().map(|one| format!("\"{one}\"")).collect();
        FieldError {
            field: field.into(),
            message: format!(
                "Unsupported value: {}: supported values: {}",
                shown(value),
                quoted.join(", ")
            ),
            reason: "FieldValueNotSupported",
        }
    }

    /// The value occurs twice where it must be unique.
    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError {
            field: field.into(),
            message: format!("Duplicate value: {}", shown(value)),
            reason: "FieldValueDuplicate",
        }
    }

    /// More items or bytes than permitted.
    pub(crate) fn too_many(field: impl Into<String>, found: usize, limit: u64) -> FieldError {
        FieldError {
            field: field.into(),
            message: format!("Too many: {found}: must have at most {limit} items"),
            reason: "FieldValueTooMany",
        }
    }

    /// Longer than permitted.
    pub(crate) fn too_long(field: impl Into<String>, limit: u64) -> FieldError {
        FieldError {
            field: field.into(),
            message: format!("Too long: may not be more than {limit} bytes"),
            reason: "FieldValueTooLong",
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            write!(formatter, "{}", self.message)
        } else {
            write!(formatter, "{}: {}", self.field, self.message)
        }
    }
}

/// A value the way the server prints it in messages: scalars bare or quoted, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(mut self, kind: &Kind, name: &str) -> ApiError {
        let mut details = json!({"name": name, "kind": kind.plural});
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        self.details = Some(details);
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> ApiError {
        ApiError::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", kind.qualified()),
        )
        .about(kind, name)
    }

    /// The path itself names nothing.
    pub(crate) fn no_such_path() -> ApiError {
        let mut error = ApiError::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        error.details = Some(json!({}));
        error
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> ApiError {
        ApiError::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", kind.qualified()),
        )
        .about(kind, name)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> ApiError {
        ApiError::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: {why}",
                kind.qualified()
            ),
        )
        .about(kind, name)
    }

    pub(crate) fn stale(kind: &Kind, name: &str) -> ApiError {
        ApiError::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and \
             try again",
        )
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> ApiError {
        ApiError::new(
            403,
            "Forbidden",
            format!("{} {name:?} is forbidden: {why}", kind.qualified()),
        )
        .about(kind, name)
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> ApiError {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let listed = if texts.len() == 1 {
            texts[0].clone()
        } else {
            format!("[{}]", texts.join(", "))
        };
        let subject = if kind.group.is_empty() {
            kind.kind.clone()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| {
                let field = if error.field.is_empty() {
                    "<nil>"
                } else {
                    &error.field
                };
                json!({"reason": error.reason, "message": error.message, "field": field})
            })
            .collect();
        let mut refusal = ApiError::new(
            422,
            "Invalid",
            format!("{subject} {name:?} is invalid: {listed}"),
        );
        let mut details = json!({"name": name, "kind": kind.kind, "causes": causes});
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        refusal.details = Some(details);
        refusal
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> ApiError {
        ApiError::new(422, "Invalid", message)
    }

    pub(crate) fn gone(message: impl Into<String>) -> ApiError {
        ApiError::new(410, "Expired", message)
    }

    pub(crate) fn method_not_allowed() -> ApiError {
        let mut error = ApiError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        error.details = Some(json!({}));
        error
    }

    pub(crate) fn unsupported_media(wanted: &str) -> ApiError {
        ApiError::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 {wanted}"
            ),
        )
    }

    pub(crate) fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(500, "InternalError", message)
    }

    /// What this server leaves out, said in one sentence.
    pub(crate) fn not_implemented(message: impl Into<String>) -> ApiError {
        ApiError::new(501, "NotImplemented", message)
    }

    /// An eviction that a disruption budget forbids for now.
    pub(crate) fn budget(message: &str, cause: &str, retry_after: Option<u32>) -> ApiError {
        let mut error = ApiError::new(429, "TooManyRequests", message);
        let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
        if let Some(seconds) = retry_after {
            details["retryAfterSeconds"] = json!(seconds);
        }
        error.details = Some(details);
        error
    }

    /// The `Status` body.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }

    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(self.status().to_string())
    }
}

/// The `Status` body of a success that has no object to show.
pub(crate) fn success(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind.plural, "uid": uid});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    })
}
