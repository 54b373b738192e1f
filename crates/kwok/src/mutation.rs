//! No file of instance types, however broken, may bring the program down.
//!
//! Thousands of broken files are made from a good one, bytewise and in structure, the same ones every
//! time. Each must be refused with a message that names the file, or give types that every later step
//! can work with.

use karpenter_api::NodeClaim;
use serde_json::{Map, Value, json};

use crate::{
    describe::describe,
    file::{FileError, parse},
    seed::Seed,
    select::Selector,
    table::table,
};

/// Mutations of each kind.
const ROUNDS: usize = 2_000;

/// A source of numbers that never changes between runs.
struct Dice {
    round: usize,
    thrown: u32,
}

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.thrown += 1;
        let drawn = Seed(11).draw("mutation", &format!("{} {}", self.round, self.thrown));
        usize::try_from(drawn % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// Runs what a file goes through after it was named on the command line.
fn digest(text: &[u8]) -> bool {
    let parsed = match parse("types.json", text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.starts_with("types.json: "), "{shown}");
            // Positions and remedies, not whole documents.
            assert!(shown.chars().count() < 2_000, "{shown}");
            assert!(!matches!(error, FileError::Read { .. }));
            return false;
        }
    };
    let described = describe(&parsed.types);
    assert_eq!(table(&described).len(), parsed.types.len() + 1);
    serde_json::to_string(&described).unwrap();
    for one in parsed.types.iter().flat_map(|one| &one.offerings) {
        assert!(one.available && one.price.0 >= 0 && one.reservation_capacity >= 0);
    }
    let names: Vec<&str> = parsed.types.iter().map(|one| one.name.as_str()).collect();
    let claim: NodeClaim = serde_json::from_value(json!({
        "metadata": {"name": "test"},
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "spec": {
            "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
            "requirements":
                [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": names}],
        },
    }))
    .unwrap();
    let selector = Selector::new(parsed.types.into());
    if let Ok(choice) = selector.choose(&claim, "test", Seed(1)) {
        let blueprint = crate::node::Blueprint::new(&claim, &choice, "test", Seed(1));
        serde_json::to_string(&blueprint.node()).unwrap();
    }
    true
}

fn original() -> Vec<u8> {
    let whole: Value =
        serde_json::from_slice(include_bytes!("../tests/fixtures/instance-types.json")).unwrap();
    let mut elements = whole.as_array().unwrap()[..2].to_vec();
    for element in &mut elements {
        element["offerings"].as_array_mut().unwrap().truncate(2);
    }
    serde_json::to_vec(&elements).unwrap()
}

#[test]
fn bytes_may_be_anything() {
    let original = original();
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let mut dice = Dice { round, thrown: 0 };
        let mut text = original.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(text.len());
            match dice.below(5) {
                0 => text[at] = u8::try_from(dice.below(256)).unwrap(),
                1 => text[at] ^= 1 << dice.below(8),
                2 => _ = text.remove(at),
                3 => text.insert(at, *dice.pick(b"{}[]\",:0-9eE.\\un \n\xff\0")),
                _ => {
                    let end = (at + dice.below(40)).min(text.len());
                    let piece = text[at..end].to_vec();
                    let to = dice.below(text.len());
                    text.splice(to..to, piece);
                }
            }
            if text.is_empty() {
                text.push(b'[');
            }
        }
        accepted += usize::from(digest(&text));
    }
    // Both outcomes must occur, or the mutations are too wild or too tame to test anything.
    assert!((50..ROUNDS - 50).contains(&accepted), "{accepted}");
}

#[test]
fn every_beginning_of_a_file_is_survived() {
    let original = original();
    for end in 0..original.len() {
        assert!(!digest(&original[..end]), "{end}");
    }
    assert!(digest(&original));
}

/// Everything that may stand where something else was expected.
fn hostile() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(-0.0),
        json!(5e-324),
        json!(""),
        json!("-"),
        json!("In"),
        json!("NotIn"),
        json!("Gt"),
        json!("DoesNotExist"),
        json!("9223372036854775807"),
        json!("999999999999999999999999999999999999999999Ei"),
        json!("1e999999999999"),
        json!("1e-999999999999"),
        json!("0.0000000000000000000000000000001Ki"),
        json!("é"),
        json!("\u{0}"),
        json!("a".repeat(5_000)),
        json!([]),
        json!([[]]),
        json!([null]),
        json!(["9223372036854775807"]),
        json!({}),
        json!({"key": "a", "operator": "Exists"}),
        json!({"": ""}),
    ]
}

/// Changes one place below a value.
fn mutate(value: &mut Value, dice: &mut Dice, hostile: &[Value]) {
    let deeper = dice.below(4) > 0;
    match value {
        Value::Array(elements) if deeper && !elements.is_empty() => {
            let at = dice.below(elements.len());
            match dice.below(8) {
                0 => _ = elements.remove(at),
                1 => elements.insert(at, elements[at].clone()),
                _ => mutate(&mut elements[at], dice, hostile),
            }
        }
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let key = dice.pick(&keys);
            match dice.below(8) {
                0 => _ = fields.remove(key),
                1 => rename(fields, key, key.to_uppercase()),
                2 => rename(fields, key, format!("{key}é")),
                _ => mutate(&mut fields[key.as_str()], dice, hostile),
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => *value = dice.pick(hostile).clone(),
    }
}

fn rename(fields: &mut Map<String, Value>, from: &str, to: String) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to, value);
    }
}

#[test]
fn structure_may_be_anything() {
    let original: Value = serde_json::from_slice(&original()).unwrap();
    let hostile = hostile();
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let mut dice = Dice {
            round,
            thrown: 1_000,
        };
        let mut value = original.clone();
        for _ in 0..=dice.below(2) {
            mutate(&mut value, &mut dice, &hostile);
        }
        accepted += usize::from(digest(&serde_json::to_vec(&value).unwrap()));
    }
    assert!((50..ROUNDS - 50).contains(&accepted), "{accepted}");
}
