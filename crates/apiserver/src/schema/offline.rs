//! The server's verdict without a server, for manifests on the command line.

use serde_json::Value;

use super::{default, faults, prune};
use crate::{FieldError, definition::read_definition, object};

/// An object as the server would have stored it: pruned and defaulted.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultedObject {
    /// The object.
    pub value: Value,
    /// Paths of fields that no schema knows and that were dropped.
    pub unknown_fields: Vec<String>,
}

/// Judge an object by the definition of its kind: the same schema, defaults and rules as on create.
///
/// Unknown fields are dropped and listed, as with `fieldValidation=Warn`.
pub fn validate_offline(
    definition: &Value,
    manifest: &Value,
) -> Result<DefaultedObject, Vec<FieldError>> {
    if let Some(fault) = crate::metadata::decode_fault(manifest) {
        return Err(vec![fault]);
    }
    let kind = read_definition(definition);
    let text = |field: &str| {
        manifest
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (stated, named) = (text("apiVersion"), text("kind"));
    if !named.is_empty() && named != kind.kind {
        return Err(vec![FieldError::unsupported(
            "kind",
            &Value::from(named),
            &[kind.kind],
        )]);
    }
    let served = |version: &crate::kinds::Version| format!("{}/{}", kind.group, version.name);
    let version = kind
        .versions
        .iter()
        .position(|one| stated.is_empty() || stated == served(one));
    let Some(version) = version else {
        let served: Vec<String> = kind.versions.iter().map(served).collect();
        return Err(vec![FieldError::unsupported(
            "apiVersion",
            &Value::from(stated),
            &served,
        )]);
    };
    let mut value = manifest.clone();
    object::drop_nulls(&mut value);
    let mut errors = Vec::new();
    if object::meta(&value, "name").is_none() && object::meta(&value, "generateName").is_none() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(name) = object::meta(&value, "name") {
        errors.extend(crate::metadata::name_fault(name));
    }
    errors.extend(crate::metadata::metadata_faults(false, &value));
    if kind.versions[version].status
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("status");
    }
    let Some(schema) = kind.versions[version].schema.clone() else {
        return if errors.is_empty() {
            Ok(DefaultedObject {
                value,
                unknown_fields: Vec::new(),
            })
        } else {
            Err(errors)
        };
    };
    let unknown_fields = prune::prune(&schema, &mut value);
    default::apply(&schema, &mut value);
    errors.extend(faults(&schema, &value, None));
    if errors.is_empty() {
        Ok(DefaultedObject {
            value,
            unknown_fields,
        })
    } else {
        Err(errors)
    }
}
