//! What built-in kinds refuse beyond the types of their fields.

use serde_json::Value;

use crate::{
    error::{ApiError, FieldError, Result},
    kinds::Kind,
    object,
};

/// Judge an object about to be created.
pub(crate) fn new_object(kind: &Kind, value: &Value) -> Result<()> {
    let name = object::meta(value, "name").unwrap_or_default();
    if name.is_empty() {
        let error = FieldError::required("metadata.name", "name or generateName is required");
        return Err(ApiError::invalid(kind, name, &[error]));
    }
    Ok(())
}

/// Judge a change.
pub(crate) fn changed_object(_kind: &Kind, _old: &Value, _new: &Value) -> Result<()> {
    Ok(())
}
