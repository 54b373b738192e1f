//! EC2 fact tables turned into the file of instance types that the KWOK provider reads.
//!
//! The tables have the shape of the EC2 API: `ec2-instance-types.json` of `DescribeInstanceTypes`,
//! `ec2-offerings.json` the letters of the zones per region and type, `ec2-on-demand-prices.json`
//! dollars per hour per region and type. A type is written if all three know it in the region.
//!
//! Capacity follows sections 9.4 and 9.5 of the AWS specification for a node class without settings:
//! 7.5 % of memory are the hypervisor's, pods are limited by network interfaces, storage is 20Gi. Public
//! tables hold no spot prices: as in that specification (section 10), before the first answer of EC2,
//! spot costs what on-demand costs, in every zone of a type that has a spot market.

use std::{env, fs, path::Path};

use serde_json::{Map, Value, json};

use crate::run::say;

/// Names the arguments in messages.
const USAGE: &str = "cargo xtask catalogue -- FOLDER REGION FILE";
/// What of memory the hypervisor takes, in thousandths (`--vm-memory-overhead-percent`).
const OVERHEAD: u64 = 75;
/// MiB that arm64 machines lack beside that.
const ARM_OVERHEAD: u64 = 64;
/// The root volume of a node class without settings.
const STORAGE: &str = "20Gi";

/// `FOLDER REGION FILE` after `--`: where the tables are, such as `us-east-1`, and what to write.
pub(crate) fn write() -> Result<(), String> {
    let words: Vec<String> = env::args()
        .skip_while(|word| word != "--")
        .skip(1)
        .collect();
    let [folder, region, file] = &*words else {
        return Err(format!("wants three words: {USAGE}"));
    };
    let table = |name| read(&Path::new(folder).join(name));
    let types = catalogue(
        &table("ec2-instance-types.json")?,
        &table("ec2-offerings.json")?,
        &table("ec2-on-demand-prices.json")?,
        region,
    )?;
    let offerings: usize = types
        .iter()
        .filter_map(|own| own["offerings"].as_array())
        .map(Vec::len)
        .sum();
    let lines: Vec<String> = types.iter().map(Value::to_string).collect();
    fs::write(file, format!("[\n{}\n]\n", lines.join(",\n")))
        .map_err(|error| format!("{file}: cannot be written: {error}"))?;
    say(&format!(
        "{file}: {} types, {offerings} offerings",
        types.len()
    ));
    Ok(())
}

fn read(path: &Path) -> Result<Value, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The elements of the file, in the order of the types.
fn catalogue(
    types: &Value,
    offerings: &Value,
    prices: &Value,
    region: &str,
) -> Result<Vec<Value>, String> {
    let zones = offerings["offerings"][region]
        .as_object()
        .ok_or_else(|| format!("region {region:?} has no offerings, name one such as us-east-1"))?;
    let prices = prices[region]["prices"]
        .as_object()
        .ok_or_else(|| format!("region {region:?} has no prices, name one such as us-east-1"))?;
    let types = types["InstanceTypes"]
        .as_array()
        .ok_or("instance types: InstanceTypes is not a list")?;
    types
        .iter()
        .filter_map(|own| {
            let name = own["InstanceType"].as_str()?;
            let (letters, price) = (zones.get(name)?.as_str()?, prices.get(name)?.as_f64()?);
            let element = element(own, name, region, letters, price);
            Some(element.map_err(|field| format!("instance type {name}: {field} is missing")))
        })
        .collect()
}

/// One type; the error is the field that is missing.
fn element(
    own: &Value,
    name: &str,
    region: &str,
    letters: &str,
    price: f64,
) -> Result<Value, &'static str> {
    let architectures = own["ProcessorInfo"]["SupportedArchitectures"].as_array();
    let all = architectures.ok_or("ProcessorInfo.SupportedArchitectures")?;
    let first_is_arm = all.first().is_some_and(|first| first == "arm64");
    let classes = own["SupportedUsageClasses"].as_array();
    let classes = classes.ok_or("SupportedUsageClasses")?;
    let offerings: Vec<Value> = letters
        .chars()
        .flat_map(|letter| {
            let sold = |capacity: &&str| classes.iter().any(|class| class == *capacity);
            ["on-demand", "spot"]
                .into_iter()
                .filter(sold)
                .map(move |capacity| {
                    let is = |key, value| json!({"key": key, "operator": "In", "values": [value]});
                    let zone = format!("{region}{letter}");
                    json!({"Price": price, "Available": true, "Requirements": [
                        is("karpenter.sh/capacity-type", capacity.to_owned()),
                        is("topology.kubernetes.io/zone", zone),
                    ]})
                })
        })
        .collect();
    Ok(json!({
        "name": name,
        "architecture": if all.iter().any(|own| own == "x86_64") { "amd64" } else { "arm64" },
        "operatingSystems": ["linux"],
        "resources": capacity(own, first_is_arm)?,
        "offerings": offerings,
    }))
}

/// What a machine of the type has; the error is the field that is missing.
fn capacity(own: &Value, is_arm: bool) -> Result<Map<String, Value>, &'static str> {
    let number = |value: &Value, field| value.as_u64().ok_or(field);
    let cores = number(&own["VCpuInfo"]["DefaultVCpus"], "VCpuInfo.DefaultVCpus")?;
    let mebibytes = number(&own["MemoryInfo"]["SizeInMiB"], "MemoryInfo.SizeInMiB")?;
    let usable = mebibytes.saturating_sub(if is_arm { ARM_OVERHEAD } else { 0 });
    let usable = usable - (usable * OVERHEAD).div_ceil(1000);
    let mut capacity = Map::new();
    let mut set = |name: &str, amount: Value| capacity.insert(name.to_owned(), amount);
    set("cpu", json!(cores.to_string()));
    set("memory", json!(format!("{usable}Mi")));
    set("pods", json!(pods(&own["NetworkInfo"])?.to_string()));
    set("ephemeral-storage", json!(STORAGE));
    for (resource, maker) in [
        ("nvidia.com/gpu", "NVIDIA"),
        ("amd.com/gpu", "AMD"),
        ("habana.ai/gaudi", "Habana"),
    ] {
        let gpus = own["GpuInfo"]["Gpus"].as_array().into_iter().flatten();
        let of_maker = gpus.filter(|gpu| gpu["Manufacturer"] == maker);
        let count: u64 = of_maker.filter_map(|gpu| gpu["Count"].as_u64()).sum();
        if count > 0 {
            set(resource, json!(count.to_string()));
        }
    }
    if let Some(devices) = own["NeuronInfo"]["NeuronDevices"].as_array() {
        let count = |device: &Value| device["Count"].as_u64().unwrap_or(0);
        let all: u64 = devices.iter().map(count).sum();
        let cores = devices
            .first()
            .map_or(0, |first| count(first) * count(&first["CoreInfo"]));
        set("aws.amazon.com/neuron", json!(all.to_string()));
        set("aws.amazon.com/neuroncore", json!(cores.to_string()));
    }
    Ok(capacity)
}

/// How many pods the interfaces of the default network card can address.
fn pods(network: &Value) -> Result<u64, &'static str> {
    let card = network["DefaultNetworkCardIndex"].as_u64().unwrap_or(0);
    let cards = network["NetworkCards"].as_array();
    let interfaces = cards
        .into_iter()
        .flatten()
        .find(|own| own["NetworkCardIndex"].as_u64() == Some(card))
        .and_then(|own| own["MaximumNetworkInterfaces"].as_u64())
        .ok_or("NetworkInfo.NetworkCards[].MaximumNetworkInterfaces")?;
    let addresses = network["Ipv4AddressesPerInterface"]
        .as_u64()
        .ok_or("NetworkInfo.Ipv4AddressesPerInterface")?;
    Ok(match interfaces {
        0 => 0,
        interfaces => interfaces * addresses.saturating_sub(1) + 2,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn tables(record: &Value) -> Result<Vec<Value>, String> {
        catalogue(
            &json!({"InstanceTypes": [record, {"InstanceType": "unpriced"}]}),
            &json!({"offerings": {"us-east-1": {"m5.large": "ab", "unpriced": "a"}}}),
            &json!({"us-east-1": {"prices": {"m5.large": 0.096}}}),
            "us-east-1",
        )
    }

    fn record() -> Value {
        json!({
            "InstanceType": "m5.large",
            "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
            "VCpuInfo": {"DefaultVCpus": 2},
            "MemoryInfo": {"SizeInMiB": 8192},
            "SupportedUsageClasses": ["on-demand", "spot"],
            "NetworkInfo": {
                "DefaultNetworkCardIndex": 0,
                "Ipv4AddressesPerInterface": 10,
                "NetworkCards": [{"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 3}],
            },
        })
    }

    #[test]
    fn capacity_is_that_of_the_specification() {
        let types = tables(&record()).unwrap();
        assert_eq!(types.len(), 1, "what has no price is left out");
        assert_eq!(
            types[0]["resources"],
            json!({"cpu": "2", "memory": "7577Mi", "pods": "29", "ephemeral-storage": "20Gi"})
        );
        let offerings = types[0]["offerings"].as_array().unwrap();
        assert_eq!(offerings.len(), 4, "two zones, two capacity types");
        assert!(offerings.iter().all(|own| own["Price"] == 0.096));
    }

    #[test]
    fn arm_has_less_and_devices_are_counted() {
        let mut own = record();
        own["ProcessorInfo"]["SupportedArchitectures"] = json!(["arm64"]);
        own["SupportedUsageClasses"] = json!(["on-demand"]);
        own["GpuInfo"] = json!({"Gpus": [{"Count": 4, "Manufacturer": "NVIDIA"}]});
        own["NeuronInfo"] = json!({"NeuronDevices": [{"Count": 16, "CoreInfo": {"Count": 4}}]});
        let types = tables(&own).unwrap();
        assert_eq!(types[0]["architecture"], "arm64");
        let resources = &types[0]["resources"];
        assert_eq!(resources["memory"], "7518Mi");
        assert_eq!(resources["nvidia.com/gpu"], "4");
        assert_eq!(resources["aws.amazon.com/neuron"], "16");
        assert_eq!(resources["aws.amazon.com/neuroncore"], "64");
        assert_eq!(types[0]["offerings"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut own = record();
        own["VCpuInfo"] = json!({});
        let error = tables(&own).unwrap_err();
        assert_eq!(
            error,
            "instance type m5.large: VCpuInfo.DefaultVCpus is missing"
        );
        let nothing = json!({});
        let error = catalogue(&nothing, &nothing, &nothing, "mars").unwrap_err();
        assert!(error.contains("\"mars\" has no offerings"), "{error}");
    }
}
