//! Reading the one encoding that `kubectl create deployment` and its like insist on.
//!
//! kubectl's generators send protobuf. Only what they can express is read: a table of field numbers per
//! message; answers are JSON. A field outside the table is refused rather than lost.

use serde_json::{Map, Value, json};

use crate::error::{ApiError, Result};

/// How the bytes of a field are read.
#[derive(Clone, Copy, Debug)]
enum Read {
    Text,
    /// Bytes, shown in base64.
    Raw,
    Int,
    /// A number whose zero means absent.
    Count,
    Bool,
    Message(&'static Message),
    Texts,
    Messages(&'static Message),
    TextMap,
    RawMap,
    /// A map of quantities.
    Quantities,
    IntOrText,
    /// A message that counts as absent: times that are never set by a client.
    Skip,
}

type Message = [(u64, &'static str, Read)];

const META: &Message = &[
    (1, "name", Read::Text),
    (2, "generateName", Read::Text),
    (3, "namespace", Read::Text),
    (4, "selfLink", Read::Text),
    (5, "uid", Read::Text),
    (6, "resourceVersion", Read::Text),
    (7, "generation", Read::Count),
    (8, "creationTimestamp", Read::Skip),
    (11, "labels", Read::TextMap),
    (12, "annotations", Read::TextMap),
    (13, "ownerReferences", Read::Messages(OWNER)),
    (14, "finalizers", Read::Texts),
];
const OWNER: &Message = &[
    (1, "kind", Read::Text),
    (3, "name", Read::Text),
    (4, "uid", Read::Text),
    (5, "apiVersion", Read::Text),
    (6, "controller", Read::Bool),
    (7, "blockOwnerDeletion", Read::Bool),
];
const SELECTOR: &Message = &[
    (1, "matchLabels", Read::TextMap),
    (2, "matchExpressions", Read::Messages(EXPRESSION)),
];
const EXPRESSION: &Message = &[
    (1, "key", Read::Text),
    (2, "operator", Read::Text),
    (3, "values", Read::Texts),
];
const PORT: &Message = &[
    (1, "name", Read::Text),
    (2, "hostPort", Read::Count),
    (3, "containerPort", Read::Count),
    (4, "protocol", Read::Text),
    (5, "hostIP", Read::Text),
];
const VARIABLE: &Message = &[(1, "name", Read::Text), (2, "value", Read::Text)];
const RESOURCES: &Message = &[
    (1, "limits", Read::Quantities),
    (2, "requests", Read::Quantities),
];
const CONTAINER: &Message = &[
    (1, "name", Read::Text),
    (2, "image", Read::Text),
    (3, "command", Read::Texts),
    (4, "args", Read::Texts),
    (5, "workingDir", Read::Text),
    (6, "ports", Read::Messages(PORT)),
    (7, "env", Read::Messages(VARIABLE)),
    (8, "resources", Read::Message(RESOURCES)),
    (13, "terminationMessagePath", Read::Text),
    (14, "imagePullPolicy", Read::Text),
    (16, "stdin", Read::Bool),
    (17, "stdinOnce", Read::Bool),
    (18, "tty", Read::Bool),
    (20, "terminationMessagePolicy", Read::Text),
];
const POD_SPEC: &Message = &[
    (2, "containers", Read::Messages(CONTAINER)),
    (3, "restartPolicy", Read::Text),
    (4, "terminationGracePeriodSeconds", Read::Int),
    (6, "dnsPolicy", Read::Text),
    (7, "nodeSelector", Read::TextMap),
    (8, "serviceAccountName", Read::Text),
    (9, "serviceAccount", Read::Text),
    (10, "nodeName", Read::Text),
    (11, "hostNetwork", Read::Bool),
    (12, "hostPID", Read::Bool),
    (13, "hostIPC", Read::Bool),
    (14, "securityContext", Read::Skip),
    (16, "hostname", Read::Text),
    (17, "subdomain", Read::Text),
    (19, "schedulerName", Read::Text),
    (20, "initContainers", Read::Messages(CONTAINER)),
    (24, "priorityClassName", Read::Text),
    (25, "priority", Read::Int),
];
const TEMPLATE: &Message = &[
    (1, "metadata", Read::Message(META)),
    (2, "spec", Read::Message(POD_SPEC)),
];
const ROLLING: &Message = &[
    (1, "maxUnavailable", Read::IntOrText),
    (2, "maxSurge", Read::IntOrText),
];
const STRATEGY: &Message = &[
    (1, "type", Read::Text),
    (2, "rollingUpdate", Read::Message(ROLLING)),
];
const DEPLOYMENT_SPEC: &Message = &[
    (1, "replicas", Read::Int),
    (2, "selector", Read::Message(SELECTOR)),
    (3, "template", Read::Message(TEMPLATE)),
    (4, "strategy", Read::Message(STRATEGY)),
    (5, "minReadySeconds", Read::Count),
    (6, "revisionHistoryLimit", Read::Int),
    (7, "paused", Read::Bool),
    (9, "progressDeadlineSeconds", Read::Int),
];
const JOB_SPEC: &Message = &[
    (1, "parallelism", Read::Int),
    (2, "completions", Read::Int),
    (3, "activeDeadlineSeconds", Read::Int),
    (4, "selector", Read::Message(SELECTOR)),
    (5, "manualSelector", Read::Bool),
    (6, "template", Read::Message(TEMPLATE)),
    (7, "backoffLimit", Read::Int),
    (8, "ttlSecondsAfterFinished", Read::Int),
    (9, "completionMode", Read::Text),
    (10, "suspend", Read::Bool),
];
const JOB_TEMPLATE: &Message = &[
    (1, "metadata", Read::Message(META)),
    (2, "spec", Read::Message(JOB_SPEC)),
];
const CRON_SPEC: &Message = &[
    (1, "schedule", Read::Text),
    (2, "startingDeadlineSeconds", Read::Int),
    (3, "concurrencyPolicy", Read::Text),
    (4, "suspend", Read::Bool),
    (5, "jobTemplate", Read::Message(JOB_TEMPLATE)),
    (6, "successfulJobsHistoryLimit", Read::Int),
    (7, "failedJobsHistoryLimit", Read::Int),
    (8, "timeZone", Read::Text),
];
const BUDGET_SPEC: &Message = &[
    (1, "minAvailable", Read::IntOrText),
    (2, "selector", Read::Message(SELECTOR)),
    (3, "maxUnavailable", Read::IntOrText),
];
const SERVICE_PORT: &Message = &[
    (1, "name", Read::Text),
    (2, "protocol", Read::Text),
    (3, "port", Read::Int),
    (4, "targetPort", Read::IntOrText),
    (5, "nodePort", Read::Count),
];
const SERVICE_SPEC: &Message = &[
    (1, "ports", Read::Messages(SERVICE_PORT)),
    (2, "selector", Read::TextMap),
    (3, "clusterIP", Read::Text),
    (4, "type", Read::Text),
    (7, "sessionAffinity", Read::Text),
    (10, "externalName", Read::Text),
];
const RULE: &Message = &[
    (1, "verbs", Read::Texts),
    (2, "apiGroups", Read::Texts),
    (3, "resources", Read::Texts),
    (4, "resourceNames", Read::Texts),
    (5, "nonResourceURLs", Read::Texts),
];
const SUBJECT: &Message = &[
    (1, "kind", Read::Text),
    (2, "apiGroup", Read::Text),
    (3, "name", Read::Text),
    (4, "namespace", Read::Text),
];
const ROLE_REFERENCE: &Message = &[
    (1, "apiGroup", Read::Text),
    (2, "kind", Read::Text),
    (3, "name", Read::Text),
];
const QUOTA_SPEC: &Message = &[(1, "hard", Read::Quantities), (2, "scopes", Read::Texts)];
const EVICTION_OPTIONS: &Message = &[
    (1, "gracePeriodSeconds", Read::Int),
    (4, "propagationPolicy", Read::Text),
];

const METADATA: (u64, &str, Read) = (1, "metadata", Read::Message(META));
const STATUS: (u64, &str, Read) = (3, "status", Read::Skip);

const ROLE: &Message = &[METADATA, (2, "rules", Read::Messages(RULE))];
const ROLE_BINDING: &Message = &[
    METADATA,
    (2, "subjects", Read::Messages(SUBJECT)),
    (3, "roleRef", Read::Message(ROLE_REFERENCE)),
];

/// The message of each kind that can be read.
const KINDS: &[(&str, &Message)] = &[
    ("Namespace", &[METADATA, (2, "spec", Read::Skip), STATUS]),
    ("ServiceAccount", &[METADATA]),
    ("Role", ROLE),
    ("ClusterRole", ROLE),
    ("RoleBinding", ROLE_BINDING),
    ("ClusterRoleBinding", ROLE_BINDING),
    (
        "ConfigMap",
        &[
            METADATA,
            (2, "data", Read::TextMap),
            (3, "binaryData", Read::RawMap),
            (4, "immutable", Read::Bool),
        ],
    ),
    (
        "Secret",
        &[
            METADATA,
            (2, "data", Read::RawMap),
            (3, "type", Read::Text),
            (4, "stringData", Read::TextMap),
            (5, "immutable", Read::Bool),
        ],
    ),
    (
        "Pod",
        &[METADATA, (2, "spec", Read::Message(POD_SPEC)), STATUS],
    ),
    (
        "Service",
        &[METADATA, (2, "spec", Read::Message(SERVICE_SPEC)), STATUS],
    ),
    (
        "ResourceQuota",
        &[METADATA, (2, "spec", Read::Message(QUOTA_SPEC)), STATUS],
    ),
    (
        "Deployment",
        &[
            METADATA,
            (2, "spec", Read::Message(DEPLOYMENT_SPEC)),
            STATUS,
        ],
    ),
    (
        "Job",
        &[METADATA, (2, "spec", Read::Message(JOB_SPEC)), STATUS],
    ),
    (
        "CronJob",
        &[METADATA, (2, "spec", Read::Message(CRON_SPEC)), STATUS],
    ),
    (
        "PodDisruptionBudget",
        &[METADATA, (2, "spec", Read::Message(BUDGET_SPEC)), STATUS],
    ),
    (
        "PriorityClass",
        &[
            METADATA,
            (2, "value", Read::Int),
            (3, "globalDefault", Read::Bool),
            (4, "description", Read::Text),
            (5, "preemptionPolicy", Read::Text),
        ],
    ),
    (
        "Eviction",
        &[
            METADATA,
            (2, "deleteOptions", Read::Message(EVICTION_OPTIONS)),
        ],
    ),
    ("DeleteOptions", EVICTION_OPTIONS),
];

/// Decode a request body.
pub(crate) fn decode(body: &[u8]) -> Result<Value> {
    let envelope = body
        .strip_prefix(b"k8s\0")
        .ok_or_else(|| ApiError::bad_request("the body is not Kubernetes protobuf"))?;
    let mut kind = json!({});
    let mut raw: &[u8] = &[];
    for field in Fields(envelope) {
        let (number, payload) = field?;
        match (number, payload) {
            (1, Payload::Bytes(bytes)) => {
                kind = message(
                    bytes,
                    &[(1, "apiVersion", Read::Text), (2, "kind", Read::Text)],
                )?;
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = kind.get("kind").and_then(Value::as_str).unwrap_or_default();
    let (_, fields) = KINDS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| {
            ApiError::unsupported_media(&format!(
                "application/json, application/yaml (for kind {name})"
            ))
        })?;
    let mut value = message(raw, fields)?;
    if let (Some(value), Some(kind)) = (value.as_object_mut(), kind.as_object()) {
        value.extend(kind.iter().map(|(name, text)| (name.clone(), text.clone())));
    }
    Ok(value)
}

/// What follows a tag.
enum Payload<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in order.
struct Fields<'a>(&'a [u8]);

fn broken() -> ApiError {
    ApiError::bad_request("the protobuf body is cut short or malformed")
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Payload<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = (|| {
            let tag = varint(&mut self.0)?;
            let payload = match tag & 7 {
                0 => Payload::Number(varint(&mut self.0)?),
                1 => Payload::Bytes(split(&mut self.0, 8)?),
                2 => {
                    let length = usize::try_from(varint(&mut self.0)?).ok()?;
                    Payload::Bytes(split(&mut self.0, length)?)
                }
                5 => Payload::Bytes(split(&mut self.0, 4)?),
                _ => return None,
            };
            Some((tag >> 3, payload))
        })();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(broken))
    }
}

fn split<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn message(bytes: &[u8], known: &Message) -> Result<Value> {
    let mut fields = Map::new();
    for field in Fields(bytes) {
        let (number, payload) = field?;
        let Some((_, name, read)) = known.iter().find(|(at, _, _)| *at == number) else {
            // Scalars at their zero value are noise; anything else would be lost.
            if matches!(payload, Payload::Number(0))
                || matches!(payload, Payload::Bytes(b) if b.is_empty())
            {
                continue;
            }
            return Err(ApiError::unsupported_media(&format!(
                "application/json, application/yaml (protobuf field {number} beside {:?} is not \
                 read here)",
                known.first().map_or("", |first| first.1)
            )));
        };
        store(&mut fields, name, *read, &payload)?;
    }
    Ok(Value::Object(fields))
}

fn store(
    fields: &mut Map<String, Value>,
    name: &str,
    read: Read,
    payload: &Payload<'_>,
) -> Result<()> {
    let value = match (read, payload) {
        (Read::Skip, _) => return Ok(()),
        (Read::Count, Payload::Number(0)) => return Ok(()),
        (Read::Int | Read::Count, Payload::Number(number)) => json!(number.cast_signed()),
        (Read::Bool, Payload::Number(number)) => {
            if *number == 0 {
                return Ok(());
            }
            json!(true)
        }
        (Read::Text, Payload::Bytes(bytes)) => {
            if bytes.is_empty() {
                return Ok(());
            }
            json!(text(bytes)?)
        }
        (Read::Raw, Payload::Bytes(bytes)) => json!(crate::defaults::base64(bytes)),
        (Read::Message(known), Payload::Bytes(bytes)) => {
            let value = message(bytes, known)?;
            // Go writes every struct; an empty one says nothing but where it is required.
            if value.as_object().is_some_and(Map::is_empty) {
                return Ok(());
            }
            value
        }
        (Read::IntOrText, Payload::Bytes(bytes)) => {
            let parts = message(
                bytes,
                &[
                    (1, "type", Read::Int),
                    (2, "int", Read::Int),
                    (3, "text", Read::Text),
                ],
            )?;
            if parts.get("type").and_then(Value::as_i64) == Some(1) {
                parts.get("text").cloned().unwrap_or_else(|| json!(""))
            } else {
                parts.get("int").cloned().unwrap_or_else(|| json!(0))
            }
        }
        (Read::Texts | Read::Messages(_), Payload::Bytes(bytes)) => {
            let item = if let Read::Messages(known) = read {
                message(bytes, known)?
            } else {
                json!(text(bytes)?)
            };
            let list = fields.entry(name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(item);
            }
            return Ok(());
        }
        (Read::TextMap | Read::RawMap | Read::Quantities, Payload::Bytes(bytes)) => {
            const QUANTITY: &Message = &[(1, "string", Read::Text)];
            let value = if matches!(read, Read::TextMap) {
                Read::Text
            } else if matches!(read, Read::RawMap) {
                Read::Raw
            } else {
                Read::Message(QUANTITY)
            };
            let entry = message(bytes, &[(1, "key", Read::Text), (2, "value", value)])?;
            let key = entry.get("key").and_then(Value::as_str).unwrap_or_default();
            let value = entry.get("value").map_or_else(
                || json!(""),
                |value| value.get("string").unwrap_or(value).clone(),
            );
            let map = fields.entry(name).or_insert_with(|| json!({}));
            map[key] = value;
            return Ok(());
        }
        (_, Payload::Number(_) | Payload::Bytes(_)) => return Err(broken()),
    };
    fields.insert(name.to_owned(), value);
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let kind = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &kind), field(2, raw)].concat()
    }

    #[test]
    fn bodies() {
        let check = |body: &[u8], expected: Value| assert_eq!(decode(body).unwrap(), expected);
        let meta = field(1, &field(1, b"a"));
        check(
            &envelope("v1", "Namespace", &meta),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}),
        );
        let entry = [field(1, b"key"), field(2, b"abc")].concat();
        check(
            &envelope("v1", "Secret", &[meta.clone(), field(2, &entry)].concat()),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"key": "YWJj"}}),
        );
        let spec = [
            vec![1 << 3, 3],
            field(2, &field(1, &[field(1, b"x"), field(2, b"y")].concat())),
        ]
        .concat();
        check(
            &envelope("apps/v1", "Deployment", &[meta, field(2, &spec)].concat()),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"x": "y"}}}}),
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(decode(b"{}").unwrap_err().code, 400);
        assert_eq!(decode(&envelope("v1", "Node", b"")).unwrap_err().code, 415);
        assert_eq!(
            decode(&envelope("v1", "ConfigMap", &field(9, b"x")))
                .unwrap_err()
                .code,
            415
        );
        assert_eq!(decode(b"k8s\0\x0a\xff").unwrap_err().code, 400);
    }
}
