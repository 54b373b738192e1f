//! Instance types from a file of the user's: the JSON that upstream's KWOK provider reads.
//!
//! Field names match whatever their case, unknown fields are ignored, and every offering counts as
//! available whatever it says: all as upstream does. Stricter than upstream is only this: what could
//! never become a node (a name that is no label value, an amount below zero) is refused at once, with
//! the place and what to write instead, where upstream would fail later and elsewhere.

mod fields;

use std::{collections::BTreeSet, path::Path};

use karpenter_api::{
    Quantity, Requirement, ResourceList,
    labels::{CAPACITY_TYPE, ZONE},
};
use karpenter_plan::{InstanceType, Offering, Price, requirement::Operator};
use serde_json::{Map, Value};

use self::fields::{
    Checked, Fault, fault, field, is_qualified, label_value, list, quantity, required_text,
    shortened, texts,
};
use crate::instance_type::{CPU, Facts, MEMORY, PODS, assemble, values};

/// Pods on a node where the file does not say.
const DEFAULT_PODS: i64 = 110;
/// Prices are exact integers of 1e-13 dollars; this is the largest round price that fits.
const HIGHEST_PRICE: f64 = 900_000.0;

/// What a file gave.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceTypeFile {
    /// The types, in the file's order.
    pub types: Vec<InstanceType>,
    /// What is allowed but hardly meant, for people.
    pub warnings: Vec<String>,
}

/// Why a file gives no types.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("{file}: cannot be read, name a readable file of instance types: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("{file}: is not JSON, correct it at the place named: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file is JSON, but something in it cannot be meant.
    #[error("{file}: {place}: {message}")]
    Content {
        /// The file.
        file: String,
        /// The element and field, such as `[2].offerings[0].Price of "m5.large"`.
        place: String,
        /// What is wrong and what to write.
        message: String,
    },
}

/// Reads the types of a file.
pub fn read(path: &Path) -> Result<InstanceTypeFile, FileError> {
    let file = path.display().to_string();
    match std::fs::read(path) {
        Ok(text) => parse(&file, &text),
        Err(source) => Err(FileError::Read { file, source }),
    }
}

/// Reads the types in a text; `file` names it in errors.
pub fn parse(file: &str, text: &[u8]) -> Result<InstanceTypeFile, FileError> {
    let document: Value = serde_json::from_slice(text).map_err(|source| FileError::Syntax {
        file: file.to_owned(),
        source,
    })?;
    elements(&document).map_err(|Fault { place, message }| FileError::Content {
        file: file.to_owned(),
        place,
        message,
    })
}

fn elements(document: &Value) -> Checked<InstanceTypeFile> {
    let Value::Array(elements) = document else {
        return fault("top level", "is not a list, write the types as [{…}, {…}]");
    };
    let mut parsed = InstanceTypeFile {
        types: Vec::new(),
        warnings: Vec::new(),
    };
    let mut names = BTreeSet::new();
    for (index, element) in elements.iter().enumerate() {
        let instance_type = match element_of(index, element, &mut parsed.warnings) {
            Ok(instance_type) => instance_type,
            Err(Fault { place, message }) => {
                let name = field(element.as_object(), "name").filter(|name| name.is_string());
                let of = name
                    .map(|name| format!(" of {}", shortened(name)))
                    .unwrap_or_default();
                return fault(format_args!("{place}{of}"), message);
            }
        };
        if !names.insert(instance_type.name.clone()) {
            let message = format!("{:?} is taken, give every type its own", instance_type.name);
            return fault(format_args!("[{index}].name"), message);
        }
        parsed.types.push(instance_type);
    }
    Ok(parsed)
}

fn element_of(index: usize, element: &Value, warnings: &mut Vec<String>) -> Checked<InstanceType> {
    let place = format!("[{index}]");
    let Value::Object(object) = element else {
        return fault(place, "is not an object, write {\"name\": …}");
    };
    let name = required_text(object, &place, "name")?;
    label_value(&format!("{place}.name"), &name)?;
    let architecture = required_text(object, &place, "architecture")?;
    label_value(&format!("{place}.architecture"), &architecture)?;
    let operating_systems = texts(object, &place, "operatingSystems")?;
    if operating_systems.is_empty() {
        return fault(
            format_args!("{place}.operatingSystems"),
            "is missing or empty, write a list such as [\"linux\"]",
        );
    }
    let capacity = capacity(object, &place)?;
    let listed = list(object, &place, "offerings")?;
    if listed.is_empty() {
        warnings.push(format!(
            "{name} has no offerings, so nothing can be launched as it"
        ));
    }
    let mut offerings = Vec::new();
    for (number, value) in listed.iter().enumerate() {
        let place = format!("{place}.offerings[{number}]");
        let offering = offering(value, &place)?;
        let lacks = [ZONE, CAPACITY_TYPE]
            .into_iter()
            .filter(|key| values(&offering.requirements, key).is_empty())
            .collect::<Vec<_>>();
        if !lacks.is_empty() {
            warnings.push(format!(
                "{place} of {name:?} never matches, add to its Requirements an In for {}",
                lacks.join(" and for ")
            ));
        }
        offerings.push(offering);
    }
    Ok(assemble(Facts {
        name,
        architecture,
        operating_systems,
        capacity,
        offerings,
    }))
}

fn capacity(object: &Map<String, Value>, place: &str) -> Checked<ResourceList> {
    let place = format!("{place}.resources");
    let mut capacity = ResourceList::new();
    match field(Some(object), "resources") {
        None | Some(Value::Null) => {}
        Some(Value::Object(amounts)) => {
            for (name, value) in amounts {
                let amount = quantity(&format!("{place}.{name}"), value)?;
                if !is_qualified(name) {
                    let message = "is not the name of a resource, write one such as cpu";
                    return fault(format_args!("{place}.{name}"), message);
                }
                capacity.insert(name.clone(), amount);
            }
        }
        Some(_) => return fault(place, "is not an object, write {\"cpu\": \"2\", …}"),
    }
    for (name, example) in [(CPU, "2"), (MEMORY, "8Gi")] {
        if capacity.get(name).is_none_or(|amount| amount.is_zero()) {
            let message = format!("is missing or zero, write an amount such as {example:?}");
            return fault(format_args!("{place}.{name}"), message);
        }
    }
    capacity
        .entry(PODS.to_owned())
        .or_insert(Quantity::from_integer(DEFAULT_PODS));
    Ok(capacity)
}

fn offering(value: &Value, place: &str) -> Checked<Offering> {
    let Value::Object(object) = value else {
        return fault(
            place,
            "is not an object, write {\"Price\": …, \"Requirements\": […]}",
        );
    };
    let price = match field(Some(object), "Price") {
        None | Some(Value::Null) => Price::ZERO,
        Some(value) => match value.as_f64() {
            Some(dollars) if (0.0..=HIGHEST_PRICE).contains(&dollars) => {
                Price::from_dollars(dollars)
            }
            Some(_) | None => {
                let message = format!(
                    "{} is not a price, write dollars per hour between 0 and {HIGHEST_PRICE}",
                    shortened(value)
                );
                return fault(format_args!("{place}.Price"), message);
            }
        },
    };
    // The value plays no part, but upstream refuses a file in which it is not a boolean.
    if !matches!(
        field(Some(object), "Available"),
        None | Some(Value::Null | Value::Bool(_))
    ) {
        return fault(
            format_args!("{place}.Available"),
            "is not a boolean, write true",
        );
    }
    let reservation_capacity = match field(Some(object), "ReservationCapacity") {
        None | Some(Value::Null) => 0,
        Some(value) => match value.as_i64() {
            Some(count) if count >= 0 => count,
            Some(_) | None => {
                let message = format!(
                    "{} is not a number of instances, write an integer of at least 0",
                    shortened(value)
                );
                return fault(format_args!("{place}.ReservationCapacity"), message);
            }
        },
    };
    let mut requirements = Vec::new();
    for (number, value) in list(object, place, "Requirements")?.iter().enumerate() {
        requirements.push(requirement(
            value,
            &format!("{place}.Requirements[{number}]"),
        )?);
    }
    Ok(Offering {
        requirements,
        price,
        available: true,
        reservation_capacity,
        ..Offering::default()
    })
}

fn requirement(value: &Value, place: &str) -> Checked<Requirement> {
    let Value::Object(object) = value else {
        return fault(
            place,
            "is not an object, write {\"key\": …, \"operator\": …, \"values\": […]}",
        );
    };
    let key = required_text(object, place, "key")?;
    if !is_qualified(&key) {
        let message = format!("{key:?} is not a label key, write one such as {ZONE}");
        return fault(format_args!("{place}.key"), message);
    }
    let operator = required_text(object, place, "operator")?;
    let values = texts(object, place, "values")?;
    let place_of_values = format!("{place}.values");
    match Operator::parse(&operator) {
        None => {
            return fault(
                format_args!("{place}.operator"),
                format_args!(
                    "{operator:?} is no operator, write In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte or Lte"
                ),
            );
        }
        Some(Operator::In) if values.is_empty() => {
            return fault(place_of_values, "is missing or empty, write what In allows");
        }
        Some(Operator::In | Operator::NotIn) => {}
        Some(Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte) => {
            if !matches!(values.as_slice(), [only] if only.parse::<i64>().is_ok()) {
                let message = format!("is not one integer, which is what {operator} compares with");
                return fault(place_of_values, message);
            }
        }
        Some(Operator::Exists | Operator::DoesNotExist) => {
            if !values.is_empty() {
                return fault(
                    place_of_values,
                    format_args!("is not empty, {operator} takes none"),
                );
            }
        }
    }
    let values = (!values.is_empty()).then_some(values);
    Ok(Requirement {
        key,
        operator,
        values,
        min_values: None,
    })
}
