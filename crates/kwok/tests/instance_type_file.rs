//! Files of instance types: what is read from them, and what is said about the ones that are wrong.
#![allow(clippy::unwrap_used)]

use karpenter_kwok::{describe, file};
use serde_json::{Value, json};

/// A well-formed element, changed by each row in one place.
fn element() -> Value {
    json!({
        "name": "demo.large",
        "architecture": "amd64",
        "operatingSystems": ["linux"],
        "resources": {"cpu": "2", "memory": "8Gi", "pods": "29", "ephemeral-storage": "20Gi"},
        "offerings": [{
            "Price": 0.1,
            "Available": true,
            "ReservationCapacity": 0,
            "Requirements": [
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone-1"]},
            ],
        }],
    })
}

/// The element with the value at a JSON pointer set, or removed for `null`.
fn with(pointer: &str, value: Value) -> Value {
    let mut element = element();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = element.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(fields) if value.is_null() => _ = fields.remove(last),
        Value::Object(fields) => _ = fields.insert(last.to_owned(), value),
        Value::Array(elements) => elements[last.parse::<usize>().unwrap()] = value,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            panic!("{pointer} leads into {parent}")
        }
    }
    element
}

/// The one type of a file, at a JSON pointer of its description.
fn check(row: &str, element: &Value, pointer: &str, expected: &Value) {
    let text = json!([element]).to_string();
    let parsed =
        file::parse("types.json", text.as_bytes()).unwrap_or_else(|error| panic!("{row}: {error}"));
    let shown = serde_json::to_value(describe(&parsed.types)).unwrap();
    assert_eq!(
        shown[0].pointer(pointer),
        Some(expected),
        "{row}: {pointer}"
    );
}

const SIZE: &str = "/labels/karpenter.kwok.sh~1instance-size";
const FAMILY: &str = "/labels/karpenter.kwok.sh~1instance-family";

#[test]
fn what_a_file_says_is_what_the_type_has() {
    check(
        "as written",
        &element(),
        "/capacity",
        &element()["resources"],
    );
    check(
        "as written",
        &element(),
        "/allocatable/cpu",
        &json!("1900m"),
    );
    check(
        "as written",
        &element(),
        "/allocatable/memory",
        &json!("8182Mi"),
    );
    check(
        "as written",
        &element(),
        "/offerings/0/zone",
        &json!("zone-1"),
    );
    check(
        "as written",
        &element(),
        "/offerings/0/capacityType",
        &json!("on-demand"),
    );
    check(
        "as written",
        &element(),
        "/offerings/0/pricePerHour",
        &json!(0.1),
    );
    check(
        "as written",
        &element(),
        "/labels/kubernetes.io~1arch",
        &json!("amd64"),
    );
    check(
        "as written",
        &element(),
        "/labels/karpenter.kwok.sh~1instance-memory",
        &json!("8Gi"),
    );

    let unavailable = with("/offerings/0/Available", json!(false));
    check(
        "operations/O57",
        &unavailable,
        "/offerings/0/available",
        &json!(true),
    );
    check(
        "operations/O58",
        &with("/name", json!("t3.large")),
        SIZE,
        &json!("large"),
    );
    check(
        "operations/O58",
        &with("/name", json!("t3.large")),
        FAMILY,
        &json!("t3"),
    );
    check(
        "operations/O58",
        &with("/name", json!("foo")),
        SIZE,
        &json!("2"),
    );
    check(
        "operations/O58",
        &with("/name", json!("foo")),
        FAMILY,
        &json!("f"),
    );

    check(
        "pods default",
        &with("/resources/pods", Value::Null),
        "/capacity/pods",
        &json!("110"),
    );
    check(
        "a number",
        &with("/resources/cpu", json!(1.5)),
        "/capacity/cpu",
        &json!("1500m"),
    );
    check(
        "no price",
        &with("/offerings/0/Price", Value::Null),
        "/offerings/0/pricePerHour",
        &json!(0.0),
    );
    check(
        "price to the last decimal",
        &with("/offerings/0/Price", json!(0.019_003_238_553_6)),
        "/offerings/0/pricePerHour",
        &json!(0.019_003_238_553_6),
    );
    check(
        "no offerings",
        &with("/offerings", Value::Null),
        "/offerings",
        &json!([]),
    );
    check(
        "unknown fields",
        &with("/vendor", json!({"a": [1]})),
        "/name",
        &json!("demo.large"),
    );
    check(
        "two systems",
        &with("/operatingSystems", json!(["linux", "windows"])),
        "/labels/kubernetes.io~1os",
        &json!("linux,windows"),
    );
    check(
        "any resource",
        &with(
            "/resources",
            json!({"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": 4}),
        ),
        "/allocatable/nvidia.com~1gpu",
        &json!("4"),
    );
}

#[test]
fn field_names_match_whatever_their_case() {
    let element = json!({
        "NAME": "demo.large",
        "Architecture": "amd64",
        "operatingsystems": ["linux"],
        "Resources": {"cpu": "2", "memory": "8Gi"},
        "OFFERINGS": [{
            "price": 0.25,
            "requirements": [
                {"Key": "karpenter.sh/capacity-type", "OPERATOR": "In", "Values": ["spot"]},
            ],
        }],
    });
    check("case", &element, "/name", &json!("demo.large"));
    check("case", &element, "/offerings/0/pricePerHour", &json!(0.25));
    check(
        "case",
        &element,
        "/offerings/0/capacityType",
        &json!("spot"),
    );
    // Names of resources are not field names.
    let error = refusal(&with("/resources", json!({"CPU": "2", "memory": "8Gi"})));
    assert!(error.contains("[0].resources.cpu"), "{error}");
}

#[test]
fn warnings_name_what_can_never_match() {
    let warnings = |element: Value| {
        file::parse("types.json", json!([element]).to_string().as_bytes())
            .unwrap()
            .warnings
    };
    assert_eq!(warnings(element()), [""; 0]);
    // The older shape of offerings: it parses, but says nothing that is read.
    let older = json!([{"capacityType": "spot", "zone": "zone-1", "price": 0.1}]);
    assert_eq!(
        warnings(with("/offerings", older)),
        [
            "[0].offerings[0] of \"demo.large\" never matches, add to its Requirements an In for \
          topology.kubernetes.io/zone and for karpenter.sh/capacity-type"
        ]
    );
    assert_eq!(
        warnings(with("/offerings", json!([]))),
        ["demo.large has no offerings, so nothing can be launched as it"]
    );
}

#[test]
fn the_sample_file_is_read() {
    let parsed = file::parse("sample", include_bytes!("fixtures/instance-types.json")).unwrap();
    let mut names: Vec<&str> = parsed.types.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "acc.2xlarge",
            "arm.xlarge",
            "big.4xlarge",
            "cpu.xlarge",
            "mem.xlarge",
            "std.2xlarge",
            "std.large",
            "std.xlarge",
        ]
    );
    assert_eq!(parsed.warnings, [""; 0]);
    let from_disk = file::read(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/instance-types.json"),
    );
    assert_eq!(from_disk.unwrap(), parsed);
}

fn refusal(element: &Value) -> String {
    file::parse("types.json", json!([element]).to_string().as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn refusals_name_file_element_field_and_remedy() {
    let of = "of \"demo.large\"";
    let rows = [
        (with("/name", Value::Null), "[0].name: is missing or empty, write a text".to_owned()),
        (with("/name", json!("")), "[0].name of \"\": is missing or empty, write a text".to_owned()),
        (with("/name", json!(7)), "[0].name: 7 is not a text, put it in quotes".to_owned()),
        (
            with("/name", json!("a b")),
            "[0].name of \"a b\": \"a b\" cannot be a label's value, use up to 63 letters, digits, -, _ or . \
             with a letter or digit at both ends".to_owned(),
        ),
        (with("/architecture", Value::Null), format!("[0].architecture {of}: is missing or empty, write a text")),
        (
            with("/operatingSystems", json!([])),
            format!("[0].operatingSystems {of}: is missing or empty, write a list such as [\"linux\"]"),
        ),
        (
            with("/operatingSystems", json!("linux")),
            format!("[0].operatingSystems {of}: \"linux\" is not a list, put it in brackets"),
        ),
        (
            with("/operatingSystems/0", json!(1)),
            format!("[0].operatingSystems[0] {of}: 1 is not a text, put it in quotes"),
        ),
        (
            with("/resources", json!([])),
            format!("[0].resources {of}: is not an object, write {{\"cpu\": \"2\", …}}"),
        ),
        (
            with("/resources", Value::Null),
            format!("[0].resources.cpu {of}: is missing or zero, write an amount such as \"2\""),
        ),
        (
            with("/resources/memory", json!("0")),
            format!("[0].resources.memory {of}: is missing or zero, write an amount such as \"8Gi\""),
        ),
        (
            with("/resources/cpu", json!("two")),
            format!("[0].resources.cpu {of}: \"two\" is not a quantity, write a number with an optional suffix such as 500m or 2Gi"),
        ),
        (
            with("/resources/cpu", json!(true)),
            format!("[0].resources.cpu {of}: is not a quantity, write a text such as \"500m\" or \"8Gi\""),
        ),
        (
            with("/resources/pods", json!("-1")),
            format!("[0].resources.pods {of}: -1 is below zero, write zero or more"),
        ),
        (
            with("/resources/a b", json!("1")),
            format!("[0].resources.a b {of}: is not the name of a resource, write one such as cpu"),
        ),
        (
            with("/offerings", json!({})),
            format!("[0].offerings {of}: {{}} is not a list, put it in brackets"),
        ),
        (
            with("/offerings/0", json!(0.1)),
            format!("[0].offerings[0] {of}: is not an object, write {{\"Price\": …, \"Requirements\": […]}}"),
        ),
        (
            with("/offerings/0/Price", json!(-0.1)),
            format!("[0].offerings[0].Price {of}: -0.1 is not a price, write dollars per hour between 0 and 900000"),
        ),
        (
            with("/offerings/0/Price", json!("0.1")),
            format!("[0].offerings[0].Price {of}: \"0.1\" is not a price, write dollars per hour between 0 and 900000"),
        ),
        (
            with("/offerings/0/Available", json!("yes")),
            format!("[0].offerings[0].Available {of}: is not a boolean, write true"),
        ),
        (
            with("/offerings/0/ReservationCapacity", json!(1.5)),
            format!("[0].offerings[0].ReservationCapacity {of}: 1.5 is not a number of instances, write an integer of at least 0"),
        ),
        (
            with("/offerings/0/Requirements/0/operator", json!("Near")),
            format!(
                "[0].offerings[0].Requirements[0].operator {of}: \"Near\" is no operator, write In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte or Lte"
            ),
        ),
        (
            with("/offerings/0/Requirements/0/key", json!("a/b/c")),
            format!("[0].offerings[0].Requirements[0].key {of}: \"a/b/c\" is not a label key, write one such as topology.kubernetes.io/zone"),
        ),
        (
            with("/offerings/0/Requirements/1/values", json!([])),
            format!("[0].offerings[0].Requirements[1].values {of}: is missing or empty, write what In allows"),
        ),
        (
            with("/offerings/0/Requirements/1", json!({"key": "a", "operator": "Gt", "values": ["x"]})),
            format!("[0].offerings[0].Requirements[1].values {of}: is not one integer, which is what Gt compares with"),
        ),
        (
            with("/offerings/0/Requirements/1", json!({"key": "a", "operator": "Exists", "values": ["x"]})),
            format!("[0].offerings[0].Requirements[1].values {of}: is not empty, Exists takes none"),
        ),
        (json!("demo.large"), "[0]: is not an object, write {\"name\": …}".to_owned()),
    ];
    for (element, expected) in rows {
        assert_eq!(refusal(&element), format!("types.json: {expected}"));
    }
}

#[test]
fn whole_files_can_be_wrong_too() {
    let twice = json!([element(), element()]).to_string();
    let deep = "[".repeat(100_000);
    let rows: [(&[u8], &str); 6] = [
        (
            b"",
            "types.json: is not JSON, correct it at the place named: EOF while parsing a value at line 1 column 0",
        ),
        (
            b"\xff",
            "types.json: is not JSON, correct it at the place named: expected value at line 1 column 1",
        ),
        (
            b"[{\"name\": }]",
            "types.json: is not JSON, correct it at the place named: expected value at line 1 column 11",
        ),
        (
            b"{}",
            "types.json: top level: is not a list, write the types as [{\u{2026}}, {\u{2026}}]",
        ),
        (
            twice.as_bytes(),
            "types.json: [1].name: \"demo.large\" is taken, give every type its own",
        ),
        (
            deep.as_bytes(),
            "types.json: is not JSON, correct it at the place named: recursion limit exceeded at line 1 column 128",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(
            file::parse("types.json", text).unwrap_err().to_string(),
            expected
        );
    }
    let missing = file::read(std::path::Path::new("/nonexistent/types.json")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "/nonexistent/types.json: cannot be read, name a readable file of instance types: \
         No such file or directory (os error 2)"
    );
}
