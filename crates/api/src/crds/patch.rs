//! What the derived schemas cannot say, corrected in this one place.
//!
//! Each correction names the trap it avoids. Everything else about the CRDs is on the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::{Value, json};

/// Applies what every kind needs.
pub(super) fn common(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    let root = root(&mut crd);
    visit(root, &mut |schema| {
        // Every `Option` derives `nullable`. The API server would then keep `expireAfter: null` instead of
        // dropping and defaulting it.
        schema.nullable = None;
        schema.title = None;
        // A doc comment's line breaks are those of the source.
        if let Some(description) = &mut schema.description {
            *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    });
    let properties = root.properties.get_or_insert_default();
    let text = |description: &str| JSONSchemaProps {
        type_: Some("string".to_owned()),
        description: Some(description.to_owned()),
        ..JSONSchemaProps::default()
    };
    properties.insert(
        "apiVersion".to_owned(),
        text("The API group and version of the object."),
    );
    properties.insert("kind".to_owned(), text("The kind of the object."));
    let metadata = JSONSchemaProps {
        type_: Some("object".to_owned()),
        ..JSONSchemaProps::default()
    };
    properties.insert("metadata".to_owned(), metadata);
    crd
}

/// Makes the conditions a map by type, with reason and message required; `lax` leaves both optional and
/// allows an empty reason, as NodeClaims do.
pub(super) fn conditions(crd: &mut CustomResourceDefinition, lax: bool, list_map: bool) {
    let conditions = status(crd, "conditions");
    if list_map {
        conditions.x_kubernetes_list_type = Some("map".to_owned());
        conditions.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
    }
    let Some(JSONSchemaPropsOrArray::Schema(condition)) = &mut conditions.items else {
        unreachable!("conditions are a list");
    };
    let required: &[&str] = if lax {
        &["lastTransitionTime", "status", "type"]
    } else {
        &["lastTransitionTime", "message", "reason", "status", "type"]
    };
    condition.required = Some(required.iter().map(ToString::to_string).collect());
    let fields = condition.properties.get_or_insert_default();
    for (name, field) in fields {
        // serde's defaults serve decoding; the API server must not fill them in.
        field.default = None;
        if name == "reason" {
            field.min_length = (!lax).then_some(1);
            if lax {
                field.pattern = Some("^([A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?)?$".to_owned());
            }
        }
    }
}

/// Lets `spec` be absent, which a derived root cannot.
pub(super) fn optional_spec(crd: &mut CustomResourceDefinition) {
    root(crd).required = None;
}

/// Makes every new object ready: nothing else ever does.
pub(super) fn ready_by_default(crd: &mut CustomResourceDefinition) {
    let ready = json!({"conditions": [{
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "lastTransitionTime": "2024-01-01T01:01:01Z",
    }]});
    property(root(crd), "status").default = Some(json_value(ready));
}

/// Gives a status field a default, where an `Option` cannot derive one.
pub(super) fn status_default(crd: &mut CustomResourceDefinition, field: &str, value: Value) {
    status(crd, field).default = Some(json_value(value));
}

fn json_value(
    value: Value,
) -> k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON {
    k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON(value)
}

fn root(crd: &mut CustomResourceDefinition) -> &mut JSONSchemaProps {
    crd.spec
        .versions
        .first_mut()
        .and_then(|version| version.schema.as_mut())
        .and_then(|validation| validation.open_api_v3_schema.as_mut())
        .expect("a derived CRD has one version with a schema because the derive writes it")
}

fn status<'a>(crd: &'a mut CustomResourceDefinition, field: &str) -> &'a mut JSONSchemaProps {
    property(property(root(crd), "status"), field)
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> &'a mut JSONSchemaProps {
    schema
        .properties
        .as_mut()
        .and_then(|properties| properties.get_mut(name))
        .unwrap_or_else(|| unreachable!("the types have a field {name}"))
}

/// Visits a schema and everything in it that an API server would visit.
fn visit(schema: &mut JSONSchemaProps, action: &mut impl FnMut(&mut JSONSchemaProps)) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool;
    action(schema);
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        visit(property, action);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        visit(items, action);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        visit(values, action);
    }
}
