//! What there is, told to clients: versions, groups, resources.
//!
//! Both forms are spoken: one document per group and version, and the aggregated list that kubectl
//! asks for first.

use ::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    error::{ApiError, Result},
    kinds::Kind,
    openapi,
    route::Answer,
    store::{Route, State},
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The version that the server claims: clients choose features by it.
pub(crate) const MINOR: &str = "36";

/// Whether the path is about the API itself.
pub(crate) fn is_discovery(parts: &[&str]) -> bool {
    matches!(
        parts,
        [] | ["version" | "openapi", ..] | ["api" | "apis"] | ["api" | "apis", _] | ["apis", _, _]
    )
}

/// Answer a question about the API.
pub(crate) fn answer(state: &State, parts: &[&str], accept: &str) -> Result<Answer> {
    let aggregated = accept.split(',').any(|offer| {
        let parts: Vec<&str> = offer.split(';').map(str::trim).collect();
        parts.contains(&"as=APIGroupDiscoveryList") && parts.contains(&"v=v2")
    });
    let value = match parts {
        [] => {
            json!({"paths": ["/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"]})
        }
        ["version"] => version(),
        ["openapi", rest @ ..] => return openapi::answer(state, rest, accept),
        ["api" | "apis"] if aggregated => {
            let core = parts[0] == "api";
            let list = aggregated_list(state, core);
            return Ok(Answer::Typed(AGGREGATED, Bytes::from(list.to_string())));
        }
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
        ["apis"] => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups(state).iter().filter(|group| !group.name.is_empty()).map(Group::legacy)
                .collect::<Vec<_>>(),
        }),
        ["api", version] => resource_list(state, "", version)?,
        ["apis", name] => {
            let groups = groups(state);
            let found = groups.iter().find(|group| group.name == *name);
            let mut group = found
                .map(Group::legacy)
                .ok_or_else(ApiError::no_such_path)?;
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }
        ["apis", group, version] => resource_list(state, group, version)?,
        _ => return Err(ApiError::no_such_path()),
    };
    Ok(Answer::Bytes(
        StatusCode::OK,
        Bytes::from(value.to_string()),
        Vec::new(),
    ))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.0+karpenter-local"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": "memory",
    })
}

/// One API group as served.
struct Group {
    name: String,
    /// Most stable first.
    versions: Vec<(String, Vec<Route>)>,
}

impl Group {
    fn legacy(&self) -> Value {
        let entry = |version: &str| json!({"groupVersion": group_version(&self.name, version), "version": version});
        let versions: Vec<Value> = self
            .versions
            .iter()
            .map(|(version, _)| entry(version))
            .collect();
        json!({"name": self.name, "preferredVersion": versions[0], "versions": versions})
    }
}

/// `v1` or `group/v1`.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn groups(state: &State) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for ((group, version, _), route) in &state.routes {
        if groups.last().is_none_or(|last| last.name != *group) {
            groups.push(Group {
                name: group.clone(),
                versions: Vec::new(),
            });
        }
        let Some(last) = groups.last_mut() else {
            continue;
        };
        match last.versions.iter_mut().find(|(name, _)| name == version) {
            Some((_, routes)) => routes.push(route.clone()),
            None => last.versions.push((version.clone(), vec![route.clone()])),
        }
    }
    for group in &mut groups {
        group.versions.sort_by_key(|(name, _)| stability(name));
    }
    // The order in which short names are resolved: built-in groups before custom ones.
    groups.sort_by_key(|group| {
        !group
            .versions
            .iter()
            .any(|(_, r)| r.iter().any(|r| r.shown.builtin))
    });
    groups
}

/// Stable before beta before alpha, then the higher number first.
fn stability(version: &str) -> (u8, std::cmp::Reverse<u32>, std::cmp::Reverse<u32>) {
    let rest = version.strip_prefix('v').unwrap_or(version);
    let (level, major, minor) = if let Some((major, minor)) = rest.split_once("beta") {
        (1, major, minor)
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (2, major, minor)
    } else {
        (0, rest, "0")
    };
    let number = |text: &str| std::cmp::Reverse(text.parse().unwrap_or(0));
    (level, number(major), number(minor))
}

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const PART_VERBS: &[&str] = &["get", "patch", "update"];

/// Name, group, version and kind of what it speaks, verbs.
type Part<'a> = (
    &'static str,
    (&'a str, &'a str, &'a str),
    &'static [&'static str],
);

fn parts<'a>(kind: &'a Kind, version: usize) -> Vec<Part<'a>> {
    let declared = &kind.versions[version];
    let own = (
        kind.group.as_str(),
        declared.name.as_str(),
        kind.kind.as_str(),
    );
    let mut parts: Vec<Part<'a>> = Vec::new();
    if declared.status {
        parts.push(("status", own, PART_VERBS));
    }
    if declared.scale.is_some() {
        parts.push(("scale", ("autoscaling", "v1", "Scale"), PART_VERBS));
    }
    if kind.is_pod() {
        parts.push(("binding", ("", "v1", "Binding"), &["create"]));
        parts.push(("eviction", ("policy", "v1", "Eviction"), &["create"]));
        parts.push(("log", own, &["get"]));
    }
    parts
}

fn resource_list(state: &State, group: &str, version: &str) -> Result<Value> {
    let groups = groups(state);
    let routes = groups
        .iter()
        .find(|found| found.name == group)
        .and_then(|found| found.versions.iter().find(|(name, _)| name == version))
        .map(|(_, routes)| routes)
        .ok_or_else(ApiError::no_such_path)?;
    let mut resources = Vec::new();
    for route in routes {
        let kind = &route.shown;
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS, "storageVersionHash": "",
        });
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        resources.push(resource);
        for (part, (group, version, part_kind), verbs) in parts(kind, route.version) {
            let mut resource = json!({
                "name": format!("{}/{part}", kind.plural), "singularName": "",
                "namespaced": kind.namespaced, "kind": part_kind, "verbs": verbs,
            });
            if group != kind.group {
                resource["group"] = json!(group);
                resource["version"] = json!(version);
            }
            resources.push(resource);
        }
    }
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": resources,
    }))
}

fn aggregated_list(state: &State, core: bool) -> Value {
    let response = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let items: Vec<Value> = groups(state)
        .iter()
        .filter(|group| group.name.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|(version, routes)| {
                    let resources: Vec<Value> = routes
                        .iter()
                        .map(|route| {
                            let kind = &route.shown;
                            let subresources: Vec<Value> = parts(kind, route.version)
                                .into_iter()
                                .map(|(part, speaks, verbs)| {
                                    json!({"subresource": part, "responseKind": response(speaks),
                                        "verbs": verbs})
                                })
                                .collect();
                            json!({
                                "resource": kind.plural,
                                "responseKind": response((&group.name, version, &kind.kind)),
                                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                                "singularResource": kind.singular, "verbs": VERBS,
                                "shortNames": kind.short_names, "categories": kind.categories,
                                "subresources": subresources,
                            })
                        })
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": group.name}, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_first() {
        let mut versions = ["v1alpha1", "v1beta1", "v1", "v2", "v1beta2"];
        versions.sort_by_key(|version| stability(version));
        assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha1"]);
    }
}
