//! What a pod asks of a node: resources as the scheduler counts them, and host ports.

use crate::objects::{Amount, Amounts, Container, PodSpec};

/// Resources that a pod-level request replaces; all others are the sum of the containers'.
fn set_for_whole_pods(resource: &str) -> bool {
    resource == "cpu" || resource == "memory" || resource.starts_with("hugepages-")
}

/// The resources that a node must have free for this pod.
///
/// Containers and sidecars run together; each init container runs alone beside the sidecars started before it; the
/// pod needs the larger of the two, or what it says for itself as a whole; the runtime's overhead comes on top.
pub(crate) fn pod_requests(spec: &PodSpec) -> Amounts {
    let mut together = Amounts::new();
    for container in &spec.containers {
        add(&mut together, &container_requests(container));
    }
    let mut sidecars = Amounts::new();
    let mut starting = Amounts::new();
    for container in &spec.init_containers {
        let requests = container_requests(container);
        let mut alone = sidecars.clone();
        add(&mut alone, &requests);
        raise(&mut starting, &alone);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut together, &requests);
            sidecars = alone;
        }
    }
    raise(&mut together, &starting);
    for (resource, amount) in &defaulted(&spec.resources.requests, &spec.resources.limits) {
        if set_for_whole_pods(resource) {
            together.insert(resource.clone(), *amount);
        }
    }
    add(&mut together, &spec.overhead);
    together
        .into_iter()
        .map(|(resource, amount)| (resource.clone(), in_units(&resource, amount)))
        .collect()
}

/// CPU is counted in thousandths, everything else in whole units, rounded up.
pub(crate) fn in_units(resource: &str, amount: Amount) -> Amount {
    if resource == "cpu" {
        return amount;
    }
    Amount((amount.0 + 999).div_euclid(1000) * 1000)
}

fn container_requests(container: &Container) -> Amounts {
    defaulted(&container.resources.requests, &container.resources.limits)
}

/// A limit without a request is a request.
fn defaulted(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut all = limits.clone();
    all.extend(
        requests
            .iter()
            .map(|(resource, amount)| (resource.clone(), *amount)),
    );
    all
}

pub(crate) fn add(to: &mut Amounts, more: &Amounts) {
    for (resource, amount) in more {
        to.entry(resource.clone()).or_default().0 += amount.0;
    }
}

pub(crate) fn subtract(from: &mut Amounts, less: &Amounts) {
    for (resource, amount) in less {
        from.entry(resource.clone()).or_default().0 -= amount.0;
    }
}

fn raise(to: &mut Amounts, at_least: &Amounts) {
    for (resource, amount) in at_least {
        let entry = to.entry(resource.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

/// A port that a pod takes on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) port: i64,
    protocol: String,
    /// `0.0.0.0` is every address.
    address: String,
}

const EVERY_ADDRESS: &str = "0.0.0.0";

impl HostPort {
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address
                || self.address == EVERY_ADDRESS
                || other.address == EVERY_ADDRESS)
    }
}

/// The host ports of a pod. On the host's own network every container port is one.
pub(crate) fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut ports: Vec<HostPort> = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| &container.ports)
        .filter_map(|port| {
            let number = match port.on_host {
                0 if spec.host_network => port.inside,
                number => number,
            };
            (number > 0).then(|| HostPort {
                port: number,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                address: port
                    .host_ip
                    .clone()
                    .filter(|address| !address.is_empty())
                    .unwrap_or_else(|| EVERY_ADDRESS.to_owned()),
            })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(spec: &str) -> String {
        let spec: PodSpec = serde_json::from_str(spec).unwrap();
        pod_requests(&spec)
            .into_iter()
            .map(|(resource, amount)| format!("{resource}={}", amount.0))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn requests_are_counted_as_the_scheduler_counts_them() {
        let container =
            |cpu: &str| format!(r#"{{"resources": {{"requests": {{"cpu": "{cpu}"}}}}}}"#);
        let sidecar = |cpu: &str| {
            format!(
                r#"{{"restartPolicy": "Always", "resources": {{"requests": {{"cpu": "{cpu}"}}}}}}"#
            )
        };
        let rows = [
            ("none", "{}".to_owned(), ""),
            (
                "sum",
                format!(
                    r#"{{"containers": [{}, {}]}}"#,
                    container("1"),
                    container("500m")
                ),
                "cpu=1500",
            ),
            (
                "a large init container",
                format!(
                    r#"{{"containers": [{}], "initContainers": [{}, {}]}}"#,
                    container("1"),
                    container("3"),
                    container("2")
                ),
                "cpu=3000",
            ),
            (
                "a sidecar runs beside the containers",
                format!(
                    r#"{{"containers": [{}], "initContainers": [{}]}}"#,
                    container("1"),
                    sidecar("2")
                ),
                "cpu=3000",
            ),
            (
                "a sidecar runs beside later init containers",
                format!(
                    r#"{{"containers": [{}], "initContainers": [{}, {}]}}"#,
                    container("1"),
                    sidecar("2"),
                    container("5")
                ),
                "cpu=7000",
            ),
            (
                "earlier init containers end before the sidecar starts",
                format!(
                    r#"{{"containers": [{}], "initContainers": [{}, {}]}}"#,
                    container("1"),
                    container("5"),
                    sidecar("2")
                ),
                "cpu=5000",
            ),
            (
                "overhead",
                format!(
                    r#"{{"containers": [{}], "overhead": {{"cpu": "250m"}}}}"#,
                    container("1")
                ),
                "cpu=1250",
            ),
            (
                "pod level requests",
                format!(
                    r#"{{"containers": [{}], "resources": {{"requests": {{"cpu": "2", "memory": "1Ki"}}}}}}"#,
                    container("1")
                ),
                "cpu=2000 memory=1024000",
            ),
            (
                "limits stand in for requests",
                r#"{"containers": [{"resources": {"limits": {"cpu": "2"}}}]}"#.to_owned(),
                "cpu=2000",
            ),
            (
                "memory is rounded up to whole bytes",
                r#"{"containers": [{"resources": {"requests": {"memory": "1500m"}}}]}"#.to_owned(),
                "memory=2000",
            ),
        ];
        for (name, spec, expected) in rows {
            assert_eq!(requests(&spec), expected, "{name}");
        }
    }

    #[test]
    fn host_ports_conflict_by_number_protocol_and_address() {
        let ports = |text: &str| {
            host_ports(
                &serde_json::from_str(&format!(r#"{{"containers": [{{"ports": [{text}]}}]}}"#))
                    .unwrap(),
            )
        };
        let rows = [
            (r#"{"hostPort": 80}"#, r#"{"hostPort": 80}"#, true),
            (r#"{"hostPort": 80}"#, r#"{"hostPort": 81}"#, false),
            (
                r#"{"hostPort": 80}"#,
                r#"{"hostPort": 80, "protocol": "UDP"}"#,
                false,
            ),
            (
                r#"{"hostPort": 80, "hostIP": "10.0.0.1"}"#,
                r#"{"hostPort": 80, "hostIP": "10.0.0.2"}"#,
                false,
            ),
            (
                r#"{"hostPort": 80, "hostIP": "10.0.0.1"}"#,
                r#"{"hostPort": 80}"#,
                true,
            ),
        ];
        for (left, right, expected) in rows {
            assert_eq!(
                ports(left)[0].conflicts_with(&ports(right)[0]),
                expected,
                "{left} {right}"
            );
        }
        assert!(ports(r#"{"containerPort": 80}"#).is_empty());
        let host: PodSpec = serde_json::from_str(
            r#"{"hostNetwork": true, "containers": [{"ports": [{"containerPort": 80}]}]}"#,
        )
        .unwrap();
        assert_eq!(host_ports(&host).len(), 1);
    }
}
