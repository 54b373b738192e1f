//! Cases put to a server.

use anyhow::{Context, Result, bail};
use http::{Method, Request, header::CONTENT_TYPE};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, Error, api::PostParams};
use serde_json::{Map, Value, json};

use super::{Case, Refusal, Verb, Verdict};

/// Creates our CRDs and waits until their kinds are served.
pub async fn install_definitions(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in karpenter_api::crds::all() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        match definitions
            .create(&PostParams::default(), &definition)
            .await
        {
            Ok(_) => {}
            Err(Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error).context(name),
        }
        loop {
            let known = definitions.get(&name).await?;
            let conditions = known.status.and_then(|status| status.conditions);
            let holds = |type_: &str| {
                conditions
                    .iter()
                    .flatten()
                    .any(|condition| condition.type_ == type_ && condition.status == "True")
            };
            if holds("NonStructuralSchema") {
                bail!("{name} is not structural");
            }
            if holds("Established") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Asks a server about a case, and leaves it as it was.
pub async fn ask(client: &Client, case: &Case) -> Result<Verdict> {
    let collection = match case.object["kind"].as_str() {
        Some("NodePool") => "/apis/karpenter.sh/v1/nodepools",
        Some("NodeClaim") => "/apis/karpenter.sh/v1/nodeclaims",
        Some("KWOKNodeClass") => "/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses",
        other => bail!("{}: no kind {other:?}", case.name),
    };
    let strict = if case.verb == Verb::Strict {
        "?fieldValidation=Strict"
    } else {
        ""
    };
    let created = send(
        client,
        Method::POST,
        &format!("{collection}{strict}"),
        &case.object,
    )
    .await;
    let name = case.object["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{collection}/{name}");
    let verdict = match (&case.patch, created) {
        (None, answer) => verdict(&case.object, answer),
        (Some(patch), Ok(stored)) => {
            let place = match case.verb {
                Verb::Status => format!("{path}/status"),
                Verb::Create | Verb::Strict | Verb::Update => path.clone(),
            };
            verdict(&stored, send(client, Method::PATCH, &place, patch).await)
        }
        (Some(_), Err(error)) => Err(error).context("the object to change"),
    };
    let verdict = verdict.with_context(|| case.name.clone())?;
    if case.patch.is_some() || matches!(verdict, Verdict::Accepted(_)) {
        // Finalizers that a case is about would hold it.
        let free = json!({"metadata": {"finalizers": null}});
        send(client, Method::PATCH, &path, &free).await?;
        send(client, Method::DELETE, &path, &json!({})).await?;
    }
    Ok(verdict)
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
    let kind = if method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, kind)
        .body(serde_json::to_vec(body).map_err(Error::SerdeError)?)
        .map_err(Error::HttpError)?;
    client.request(request).await
}

fn verdict(before: &Value, answer: Result<Value, Error>) -> Result<Verdict> {
    match answer {
        Ok(mut after) => {
            let mut before = before.clone();
            for object in [&mut before, &mut after] {
                forget_identity(object);
            }
            Ok(Verdict::Accepted(
                difference(&before, &after).unwrap_or_else(|| json!({})),
            ))
        }
        Err(Error::Api(status)) => {
            let mut causes: Vec<String> = status
                .details
                .iter()
                .flat_map(|details| &details.causes)
                .map(|cause| format!("{}: {}: {}", cause.field, cause.reason, cause.message))
                .collect();
            causes.sort();
            Ok(Verdict::Refused(Refusal {
                code: status.code,
                reason: status.reason,
                message: if causes.is_empty() {
                    status.message
                } else {
                    String::new()
                },
                causes,
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes away what a server makes up anew each time.
fn forget_identity(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for made_up in [
            "creationTimestamp",
            "managedFields",
            "resourceVersion",
            "uid",
        ] {
            metadata.remove(made_up);
        }
    }
}

/// The merge patch that leads from one value to another; none when they are equal.
fn difference(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return Some(to.clone());
    };
    let gone = old
        .keys()
        .filter(|name| !new.contains_key(*name))
        .map(|name| (name.clone(), Value::Null));
    let changed = new.iter().filter_map(|(name, value)| {
        let difference = match old.get(name) {
            Some(known) => difference(known, value)?,
            None => value.clone(),
        };
        Some((name.clone(), difference))
    });
    Some(Value::Object(gone.chain(changed).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_merge_patch() {
        for (from, to, expected) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1}), json!({"a": 2}), Some(json!({"a": 2}))),
            (json!({"a": 1}), json!({}), Some(json!({"a": null}))),
            (
                json!({"a": {"b": [1], "c": 1}}),
                json!({"a": {"b": [2], "c": 1}, "d": {}}),
                Some(json!({"a": {"b": [2]}, "d": {}})),
            ),
        ] {
            assert_eq!(difference(&from, &to), expected);
        }
    }
}
