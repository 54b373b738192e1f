//! JSON patch and merge patch; strategic merge is in `strategic`, server-side apply in `apply`.

use serde_json::Value;

use crate::{
    apply::{self, Applier},
    convert,
    error::{ApiError, Result},
    object, schema,
    store::{Key, Route, State, Stored},
    strategic,
    write::{Part, WriteOptions, Written},
};

/// The four kinds of patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    /// From a content type.
    pub(crate) fn parse(content_type: &str) -> Result<PatchType> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(PatchType::Json),
            "application/merge-patch+json" => Ok(PatchType::Merge),
            "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(PatchType::Apply),
            _ => Err(ApiError::unsupported_media(
                "application/json-patch+json, application/merge-patch+json, \
                 application/strategic-merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

/// Apply a JSON patch.
pub(crate) fn json(target: &mut Value, patch: &Value) -> Result<()> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    json_patch::patch(target, &operations).map_err(|_| {
        ApiError::unprocessable("the server rejected our request due to an error in our request")
    })
}

/// Apply a merge patch.
pub(crate) fn merge(target: &mut Value, patch: &Value) -> Result<()> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("the merge patch is not an object"));
    }
    json_patch::merge(target, patch);
    Ok(())
}

impl State {
    /// Patch an object; server-side apply may create it.
    pub(crate) fn patch(
        &mut self,
        route: &Route,
        key: &Key,
        (patch_type, patch): (PatchType, &Value),
        part: Part,
        options: &WriteOptions,
    ) -> Result<Written> {
        let kind = self.collection(route.id).kind.clone();
        if patch_type == PatchType::Apply {
            return self.apply(route, key, patch, part, options);
        }
        let Some(current) = self.get(route.id, key).cloned() else {
            return Err(ApiError::not_found(&kind, &key.name));
        };
        let old = current.value();
        let mut new = convert::shown(route, old.clone());
        match patch_type {
            PatchType::Json => json(&mut new, patch)?,
            PatchType::Merge | PatchType::Apply => merge(&mut new, patch)?,
            PatchType::Strategic if kind.builtin => match schema::of(&kind) {
                Some(schema) => strategic::merge(&schema, &mut new, patch),
                None => merge(&mut new, patch)?,
            },
            PatchType::Strategic => {
                return Err(ApiError::unsupported_media(
                    "application/json-patch+json, application/merge-patch+json, \
                     application/apply-patch+yaml",
                ));
            }
        }
        self.finish_patch(route, (&current, &old), new, part, options)
    }

    fn apply(
        &mut self,
        route: &Route,
        key: &Key,
        patch: &Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Written> {
        let kind = self.collection(route.id).kind.clone();
        if options.manager.is_empty() {
            return Err(ApiError::unprocessable(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is \
                 required for apply patch",
            ));
        }
        let time = object::timestamp(self.now());
        let api_version = route.shown.api_version(route.version);
        let applier = Applier {
            manager: &options.manager,
            api_version: &api_version,
            subresource: (part == Part::Status).then_some("status"),
            time: &time,
        };
        let schema = schema::of(&kind);
        match self.get(route.id, key).cloned() {
            Some(current) => {
                let old = current.value();
                let new = apply::apply(schema.as_deref(), &old, patch, &applier);
                self.finish_patch(route, (&current, &old), new, part, options)
            }
            None if part == Part::Main => {
                let mut new = apply::apply(schema.as_deref(), patch, patch, &applier);
                object::meta_mut(&mut new).insert("name".to_owned(), Value::from(&*key.name));
                self.create(route, &key.namespace, new, options)
            }
            None => Err(ApiError::not_found(&kind, &key.name)),
        }
    }

    fn finish_patch(
        &mut self,
        route: &Route,
        (current, old): (&Stored, &Value),
        mut new: Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Written> {
        let kind = self.collection(route.id).kind.clone();
        let key = &current.meta.key;
        if object::meta(&new, "name") != Some(&*key.name) {
            return Err(ApiError::bad_request(
                "the patch may not change metadata.name; make a new object instead",
            ));
        }
        convert::to_stored(route, &mut new);
        let warnings = schema::prepare(&kind, &mut new, options.strictness)?;
        let mut written = self.replace(route.id, current, old, new, part, options)?;
        written.warnings.splice(0..0, warnings);
        Ok(written)
    }
}
