//! Claims of devices that a cluster would make with the pods: from the templates that the pods name, where
//! the pods do not say already which claims were made.

use serde_json::{Value, json};

/// Makes the claims and writes their names into the status of the pods. The name of a claim is that of the
/// pod and of the entry, as far as a cluster does not add to it.
pub(super) fn from_templates(
    pods: &mut [(String, Value)],
    templates: &[(String, Value)],
) -> Vec<(String, Value)> {
    let mut claims = Vec::new();
    for (origin, pod) in pods {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, namespace) = (
            text(&pod["metadata"]["name"]),
            text(&pod["metadata"]["namespace"]),
        );
        if !pod["status"]["resourceClaimStatuses"].is_null() {
            continue;
        }
        let entries = pod["spec"]["resourceClaims"].as_array().cloned();
        let mut statuses = Vec::new();
        for entry in entries.into_iter().flatten() {
            let named = |template: &&(String, Value)| {
                let metadata = &template.1["metadata"];
                metadata["name"] == entry["resourceClaimTemplateName"]
                    && text(&metadata["namespace"]) == namespace
            };
            let Some((_, template)) = templates.iter().find(named) else {
                continue;
            };
            let claim = format!("{name}-{}", text(&entry["name"]));
            statuses.push(json!({"name": entry["name"], "resourceClaimName": claim}));
            let object = json!({
                "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
                "metadata": {"name": claim, "namespace": namespace, "uid": claim},
                "spec": template["spec"]["spec"],
            });
            claims.push((origin.clone(), object));
        }
        if !statuses.is_empty() {
            pod["status"]["resourceClaimStatuses"] = Value::Array(statuses);
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_the_claims_of_their_templates() {
        let template = json!({
            "metadata": {"name": "gpu", "namespace": "default"},
            "spec": {"spec": {"devices": {"requests": [{"name": "one"}]}}},
        });
        let pod = |name: &str, status: Value| {
            let entry = json!({"name": "card", "resourceClaimTemplateName": "gpu"});
            let pod = json!({
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"resourceClaims": [entry]}, "status": status,
            });
            (String::new(), pod)
        };
        let told = json!({"resourceClaimStatuses": [{"name": "card"}]});
        let mut pods = [pod("a", json!({})), pod("b", told.clone())];
        let claims = from_templates(&mut pods, &[(String::new(), template)]);
        let names: Vec<&Value> = claims
            .iter()
            .map(|(_, claim)| &claim["metadata"]["name"])
            .collect();
        assert_eq!(names, ["a-card"]);
        assert_eq!(claims[0].1["spec"]["devices"]["requests"][0]["name"], "one");
        let status = json!({"resourceClaimStatuses": [
            {"name": "card", "resourceClaimName": "a-card"},
        ]});
        assert_eq!(pods[0].1["status"], status);
        assert_eq!(pods[1].1["status"], told);
    }
}
