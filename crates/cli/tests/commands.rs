//! The binary from outside: what it prints, where, and how it ends.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

const INFLATE: &str = include_str!("../../../examples/inflate.yaml");
const DEVICES: &str = include_str!("../../../examples/devices.yaml");

/// A NodePool whose budget asks for more than there is.
const BAD_BUDGET: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}
      requirements: []
  disruption:
    budgets: [{nodes: \"120%\"}]
";

const HUGE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: huge}
spec:
  containers:
  - {name: main, image: pause, resources: {requests: {memory: 3000Gi}}}
";

const BAD_QUANTITY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: odd}
spec:
  containers:
  - {name: main, image: pause, resources: {requests: {memory: lots}}}
";

/// A folder of files that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path =
            std::env::temp_dir().join(format!("karpenter-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a command ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(folder: &Folder, arguments: &[&str], input: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_karpenter"))
        .args(arguments)
        .current_dir(&folder.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command and checks its exit code and a part of each stream.
fn check(folder: &Folder, arguments: &[&str], code: i32, out: &str, err: &str) {
    let ended = run(folder, arguments, "");
    let told = format!(
        "{arguments:?} ended {}\n{}\n{}",
        ended.code, ended.out, ended.err
    );
    assert_eq!(ended.code, code, "{told}");
    assert!(
        ended.out.contains(out),
        "no {out:?} on standard output: {told}"
    );
    assert!(
        ended.err.contains(err),
        "no {err:?} on standard error: {told}"
    );
    if code == 2 {
        assert_eq!(ended.out, "", "wrong use prints no data: {told}");
    }
    assert!(!ended.err.contains("panicked"), "{told}");
}

/// Runs the controller, which tells its log on standard output, and checks why it does not start.
fn check_controller(folder: &Folder, arguments: &[&str], why: &str) {
    let ended = run(folder, arguments, "");
    let told = format!(
        "{arguments:?} ended {}\n{}\n{}",
        ended.code, ended.out, ended.err
    );
    assert_eq!(ended.code, 2, "{told}");
    assert!(ended.err.contains(why), "{told}");
}

fn json(folder: &Folder, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&run(folder, arguments, "").out).unwrap()
}

#[test]
fn wrong_use_is_one_clear_line_and_code_two() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = Folder::new(
        "wrong",
        &[
            ("inflate.yaml", INFLATE),
            ("odd.yaml", "a: [\n"),
            ("list.yaml", "[1, 2]\n"),
            ("types.json", "{\"name\": 1}"),
        ],
    );
    check(
        &folder,
        &["plan", "-f", "nope.yaml"],
        2,
        "",
        "nope.yaml: No such file",
    );
    check(
        &folder,
        &["plan", "-f", "odd.yaml"],
        2,
        "",
        "odd.yaml#1: not YAML",
    );
    check(
        &folder,
        &["plan", "-f", "list.yaml"],
        2,
        "",
        "list.yaml#1: not an object",
    );
    check(&folder, &["plan"], 2, "", "--filename");
    check(
        &folder,
        &["plan", "-f", "inflate.yaml", "--now", "noon"],
        2,
        "",
        "noon",
    );
    check(
        &folder,
        &["plan", "-f", "inflate.yaml", "--bogus"],
        2,
        "",
        "--bogus",
    );
    check(
        &folder,
        &["types", "--provider", "aws"],
        2,
        "",
        "no AWS provider",
    );
    // The controller, with its name and without; its AWS flags are not the first complaint.
    for line in [
        &["controller"][..],
        &[],
        &["-log-level=debug"],
        &["--cluster-name", "x"],
        &["controller", "--provider", "aws"],
    ] {
        check(&folder, line, 2, "", "`--provider kwok`");
    }
    for (line, why) in [
        (&["--log-level=warn"][..], "invalid LOG_LEVEL \"warn\""),
        (&["--enable-profiling=T"], "true or false"),
        (&["--batch-idle-duration=abc"], "--batch-idle-duration"),
        (&["--cluster-name=x"], "--cluster-name"),
        (
            &[
                "--kubeconfig=nope.yaml",
                "--metrics-port=0",
                "--health-probe-port=0",
            ],
            "nope.yaml",
        ),
        (&["--log-output-paths=no/such/folder"], "no/such/folder"),
        (
            &["--metrics-port", &port],
            "choose another with --metrics-port",
        ),
        (
            &["--health-probe-port", &port, "--metrics-port=0"],
            "choose another with --health-probe-port",
        ),
    ] {
        let line = [&["-provider=kwok"], line].concat();
        check_controller(&folder, &line, why);
    }
    check(
        &folder,
        &["types", "--instance-types", "types.json"],
        2,
        "",
        "types.json",
    );
    check(
        &folder,
        &["types", "--instance-types-file-path", "gone.json"],
        2,
        "",
        "gone.json",
    );
    check(&folder, &["types", "-l", "zone"], 2, "", "key=value");
    check(
        &folder,
        &["plan", "-f", "inflate.yaml", "--min-values-policy", "Lax"],
        2,
        "",
        "invalid MIN_VALUES_POLICY \"Lax\"",
    );
    check(
        &folder,
        &["local", "--port", &port],
        2,
        "",
        &format!("127.0.0.1:{port}"),
    );
    check(
        &folder,
        &["local", "--timeout", "soon"],
        2,
        "",
        "--timeout \"soon\"",
    );
    check(
        &folder,
        &["explain", "pod", "default/x", "-f", "inflate.yaml"],
        2,
        "",
        "default/x",
    );
}

#[test]
fn a_manifest_that_a_server_would_refuse_is_named_by_file_document_and_field() {
    let folder = Folder::new(
        "refused",
        &[
            ("pools.yaml", BAD_BUDGET),
            ("odd.yaml", BAD_QUANTITY),
            ("inflate.yaml", INFLATE),
        ],
    );
    check(
        &folder,
        &["plan", "-f", "pools.yaml"],
        1,
        "",
        "pools.yaml#2 spec.disruption.budgets[0].nodes: ",
    );
    // The rest goes on.
    check(
        &folder,
        &["plan", "-f", "odd.yaml", "-f", "inflate.yaml"],
        1,
        "5 pods: 5 scheduled",
        "odd.yaml#1",
    );
}

#[test]
fn plan_answers_what_would_be_launched() {
    let folder = Folder::new("plan", &[("inflate.yaml", INFLATE), ("huge.yaml", HUGE)]);
    let answer = json(&folder, &["plan", "-f", "inflate.yaml", "-o", "json"]);
    assert_eq!(answer["apiVersion"], "plan.karpenter.sh/v1");
    assert_eq!(answer["summary"]["scheduled"], 5);
    let claim = &answer["newNodeClaims"][0];
    assert_eq!(claim["name"], "default-1");
    assert_eq!(claim["pods"].as_array().unwrap().len(), 5);
    // Five pods of one CPU and 1500Mi ask for 5 CPU: the smallest type with room has eight.
    assert_eq!(claim["cheapest"]["capacityType"], "spot");
    assert_eq!(claim["requests"]["cpu"], "5");
    assert_eq!(claim["instanceTypes"][0], claim["cheapest"]["instanceType"]);
    check(
        &folder,
        &["plan", "-f", "inflate.yaml"],
        0,
        "5 pods: 5 scheduled",
        "",
    );
    check(
        &folder,
        &["plan", "-f", "huge.yaml", "-f", "inflate.yaml"],
        1,
        "default/huge has no home",
        "",
    );
    let same = [
        "plan",
        "-f",
        "inflate.yaml",
        "-o",
        "json",
        "--now",
        "2026-01-01T00:00:00Z",
    ];
    assert_eq!(run(&folder, &same, "").out, run(&folder, &same, "").out);
}

/// An empty node that has been quiet, and one that its owner protects.
fn empty_nodes() -> String {
    let mut text = String::from(INFLATE.split("---\napiVersion: apps/v1").next().unwrap());
    for (name, annotations) in [
        ("idle", "{}"),
        ("kept", "{karpenter.sh/do-not-disrupt: \"true\"}"),
    ] {
        let _ = write!(
            text,
            "---
apiVersion: karpenter.sh/v1
kind: NodeClaim
metadata: {{name: {name}, labels: {{karpenter.sh/nodepool: default}}}}
spec:
  nodeClassRef: {{group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}}
  requirements: []
status:
  providerID: kwok://{name}
  conditions:
  - {{type: Initialized, status: \"True\", reason: Initialized, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}
  - {{type: Consolidatable, status: \"True\", reason: Consolidatable, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}
---
apiVersion: v1
kind: Node
metadata:
  name: {name}
  annotations: {annotations}
  labels:
    karpenter.sh/nodepool: default
    karpenter.sh/registered: \"true\"
    karpenter.sh/initialized: \"true\"
    karpenter.sh/capacity-type: spot
    topology.kubernetes.io/zone: test-zone-a
    node.kubernetes.io/instance-type: c-4x-amd64-linux
spec: {{providerID: 'kwok://{name}'}}
status:
  allocatable: {{cpu: '4', memory: 8Gi, pods: '64'}}
  conditions: [{{type: Ready, status: \"True\"}}]
"
        );
    }
    text
}

#[test]
fn plan_looks_at_devices_when_told_to() {
    let folder = Folder::new("devices", &[("devices.yaml", DEVICES)]);
    check(
        &folder,
        &["plan", "-f", "devices.yaml"],
        1,
        "pod has Dynamic Resource Allocation requirements that are not yet supported",
        "",
    );
    let honoring = ["plan", "-f", "devices.yaml", "--ignore-dra-requests=false"];
    let answer = json(&folder, &[&honoring[..], &["-o", "json"]].concat());
    // There are two devices for three pods, and both are in one zone.
    assert_eq!(answer["summary"]["scheduled"], 2, "{answer:#}");
    let claim = &answer["newNodeClaims"][0];
    assert_eq!(claim["pods"].as_array().unwrap().len(), 2, "{claim:#}");
    assert_eq!(claim["cheapest"]["zone"], "test-zone-b");
    check(
        &folder,
        &honoring,
        1,
        "allocating dynamic resources, no instance type can satisfy the allocation",
        "",
    );
}

#[test]
fn plan_says_which_nodes_would_be_disrupted_and_which_stay() {
    let folder = Folder::new("disrupt", &[("nodes.yaml", &empty_nodes())]);
    let answer = json(
        &folder,
        &["plan", "-f", "nodes.yaml", "--disrupt", "-o", "json"],
    );
    let command = &answer["disruptions"][0];
    assert_eq!(command["reason"], "Empty", "{answer:#}");
    assert_eq!(command["decision"], "delete");
    assert_eq!(command["nodes"], serde_json::json!(["idle"]));
    assert_eq!(command["replacements"], serde_json::json!([]));
    // What a c-4x costs on the spot market.
    assert_eq!(command["savingsPerHour"], 0.076_012_954);
    assert_eq!(answer["blocked"][0]["node"], "kept");
    // Without the flag nobody is asked.
    let answer = json(&folder, &["plan", "-f", "nodes.yaml", "-o", "json"]);
    assert_eq!(answer["disruptions"], serde_json::json!([]));
    check(
        &folder,
        &["plan", "-f", "nodes.yaml", "--disrupt"],
        0,
        "delete idle",
        "",
    );
    check(
        &folder,
        &["plan", "-f", "nodes.yaml", "--ignore-consolidate-after"],
        2,
        "",
        "--disrupt",
    );
}

#[test]
fn a_budget_that_cannot_be_read_is_the_reason_everywhere() {
    // The cluster's schema takes it, and so did a server before it was read.
    let budgets =
        "    budgets:\n      - {nodes: \"1\", schedule: \"0 0 * * tue-mon\", duration: 8h}\n";
    let nodes = empty_nodes().replace("    budgets:\n", budgets);
    let folder = Folder::new("faulty", &[("nodes.yaml", &nodes)]);
    let fault = "nodepool default is not disrupted before it is put right: spec.disruption.budgets[0]: schedule: \
                 \"tue-mon\" runs backwards: write the smaller end first";
    check(
        &folder,
        &["plan", "-f", "nodes.yaml", "--disrupt"],
        0,
        &format!("idle stays: {fault} (Emptiness)"),
        "",
    );
    check(
        &folder,
        &["explain", "node", "idle", "-f", "nodes.yaml"],
        0,
        &format!("blocked by NodePool default: {fault}"),
        "",
    );
}

#[test]
fn explain_gives_every_constraint_its_own_verdict() {
    let folder = Folder::new("explain", &[("inflate.yaml", INFLATE), ("huge.yaml", HUGE)]);
    let files = ["-f", "inflate.yaml", "-f", "huge.yaml", "-o", "json"];
    let arguments: Vec<&str> = ["explain", "pod", "default/huge"]
        .into_iter()
        .chain(files)
        .collect();
    let ended = run(&folder, &arguments, "");
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let answer: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["verdict"], "unschedulable");
    let constraints = answer["nodePools"][0]["constraints"].as_array().unwrap();
    let memory = constraints
        .iter()
        .find(|row| row["constraint"] == "resources.memory")
        .unwrap();
    assert_eq!(memory["passing"], 0);
    assert_eq!(memory["asked"], "3000Gi");
    let arguments: Vec<&str> = ["explain", "pod", "default/inflate-1"]
        .into_iter()
        .chain(files)
        .collect();
    let ended = run(&folder, &arguments, "");
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let answer: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["verdict"], "new-node");
}

/// Two nodes with room, and a pool of small nodes.
const ROOM: &str = "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: spare}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}
      requirements:
      - {key: kubernetes.io/os, operator: In, values: [linux]}
      - {key: karpenter.kwok.sh/instance-family, operator: In, values: [c]}
---
apiVersion: v1
kind: Node
metadata: {name: one, labels: {kubernetes.io/hostname: one}}
status:
  allocatable: {cpu: \"8\", memory: 32Gi, pods: \"20\"}
  conditions: [{type: Ready, status: \"True\"}]
---
apiVersion: v1
kind: Node
metadata: {name: two, labels: {kubernetes.io/hostname: two}}
status:
  allocatable: {cpu: \"8\", memory: 32Gi, pods: \"20\"}
  conditions: [{type: Ready, status: \"True\"}]
---
apiVersion: v1
kind: Pod
metadata: {name: small}
spec:
  containers:
  - {name: main, image: pause, resources: {requests: {cpu: 100m}}}
";

#[test]
fn explain_says_where_else_a_pod_could_go() {
    let folder = Folder::new("alternatives", &[("room.yaml", ROOM)]);
    let arguments = ["explain", "pod", "default/small", "-f", "room.yaml"];
    let answer = json(&folder, &[&arguments[..], &["-o", "json"]].concat());
    assert_eq!(answer["verdict"], "existing-node", "{answer}");
    let alternatives = answer["alternatives"].as_array().unwrap();
    let [node, pool] = &alternatives[..] else {
        panic!("{alternatives:?}");
    };
    assert_eq!(node, "node two");
    // There are so many types of that family for Linux; a pod so small fits the smallest.
    let pool = pool.as_str().unwrap();
    let expected = "nodepool spare: 24 instance types, cheapest c-1x-";
    assert!(pool.starts_with(expected), "{pool}");
    check(&folder, &arguments, 0, "possible: node two", "");
}

#[test]
fn types_and_definitions_are_listed() {
    let folder = Folder::new("types", &[("inflate.yaml", INFLATE)]);
    let all = json(&folder, &["types", "-o", "json"]);
    assert_eq!(all.as_array().unwrap().len(), 144);
    let small = json(
        &folder,
        &[
            "types",
            "-o",
            "json",
            "-l",
            "kubernetes.io/os=linux,karpenter.kwok.sh/instance-family=c",
        ],
    );
    assert_eq!(small.as_array().unwrap().len(), 24);
    // The example's NodePool takes Linux only.
    let pools = json(&folder, &["types", "-o", "json", "-f", "inflate.yaml"]);
    assert_eq!(pools.as_array().unwrap().len(), 72);
    check(&folder, &["types"], 0, "c-1x-amd64-linux", "");
    check(&folder, &["crds"], 0, "name: nodepools.karpenter.sh", "");
    check(
        &folder,
        &["crds", "-o", "table"],
        0,
        "kwoknodeclasses.karpenter.kwok.sh",
        "",
    );
}
