//! What there is, told to clients.

use ::http::StatusCode;
use bytes::Bytes;
use serde_json::json;

use crate::{
    error::{ApiError, Result},
    route::Answer,
    store::State,
};

/// Whether the path is about the API itself.
pub(crate) fn is_discovery(parts: &[&str]) -> bool {
    match parts {
        [] | ["version" | "openapi", ..] | ["api" | "apis"] => true,
        ["api", _] | ["apis", _] | ["apis", _, _] => true,
        _ => false,
    }
}

pub(crate) fn answer(_state: &State, parts: &[&str], _accept: &str) -> Result<Answer> {
    match parts {
        ["version"] => Ok(Answer::Bytes(
            StatusCode::OK,
            Bytes::from(json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3"}).to_string()),
            Vec::new(),
        )),
        _ => Err(ApiError::no_such_path()),
    }
}
