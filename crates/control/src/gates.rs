//! Feature gates: what may be switched on or off by name, under upstream's names and defaults.

use std::{fmt, str::FromStr};

/// Which features are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    /// Reserved offerings.
    pub reserved_capacity: bool,
    /// Spot nodes may be replaced by cheaper spot.
    pub spot_to_spot_consolidation: bool,
    /// Unhealthy nodes are replaced.
    pub node_repair: bool,
    /// NodeOverlays change prices and capacity.
    pub node_overlay: bool,
    /// NodePools may ask for a fixed number of nodes.
    pub static_capacity: bool,
    /// CapacityBuffers keep room for pods to come.
    pub capacity_buffer: bool,
}

impl Default for FeatureGates {
    fn default() -> Self {
        Self {
            reserved_capacity: true,
            spot_to_spot_consolidation: false,
            node_repair: false,
            node_overlay: false,
            static_capacity: false,
            capacity_buffer: false,
        }
    }
}

/// A text that is not a list of gates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not `Name=true` or `Name=false`")]
pub struct ParseGatesError(String);

impl FeatureGates {
    /// Every gate by its name.
    pub fn by_name(&self) -> [(&'static str, bool); 6] {
        [
            ("ReservedCapacity", self.reserved_capacity),
            ("SpotToSpotConsolidation", self.spot_to_spot_consolidation),
            ("NodeRepair", self.node_repair),
            ("NodeOverlay", self.node_overlay),
            ("StaticCapacity", self.static_capacity),
            ("CapacityBuffer", self.capacity_buffer),
        ]
    }

    /// Unknown names are ignored, as upstream does: they may be of another release.
    fn set(&mut self, name: &str, on: bool) {
        match name {
            "ReservedCapacity" => self.reserved_capacity = on,
            "SpotToSpotConsolidation" => self.spot_to_spot_consolidation = on,
            "NodeRepair" => self.node_repair = on,
            "NodeOverlay" => self.node_overlay = on,
            "StaticCapacity" => self.static_capacity = on,
            "CapacityBuffer" => self.capacity_buffer = on,
            _ => {}
        }
    }
}

impl FromStr for FeatureGates {
    type Err = ParseGatesError;

    /// Reads `Name=true,Other=false`; gates that are not named keep their defaults.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut gates = Self::default();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let malformed = || ParseGatesError(pair.trim().to_owned());
            let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
            let on = parse_bool(value.trim()).ok_or_else(malformed)?;
            gates.set(name.trim(), on);
        }
        Ok(gates)
    }
}

impl fmt::Display for FeatureGates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, on)) in self.by_name().into_iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(formatter, "{comma}{name}={on}")?;
        }
        Ok(())
    }
}

/// The spellings of a boolean that Go's library reads.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = "ReservedCapacity=true,SpotToSpotConsolidation=false,NodeRepair=false,\
                            NodeOverlay=false,StaticCapacity=false,CapacityBuffer=false";

    fn check(text: &str, changed: &[(&str, &str)]) {
        let mut expected = DEFAULTS.to_owned();
        for (from, to) in changed {
            expected = expected.replace(from, to);
        }
        assert_eq!(
            text.parse::<FeatureGates>().unwrap().to_string(),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn gates_are_read_leniently_but_not_guessed() {
        check("", &[]);
        check(DEFAULTS, &[]);
        let repair = ("NodeRepair=false", "NodeRepair=true");
        check("NodeRepair=true", &[repair]);
        check(" NodeRepair = T , Unknown=true", &[repair]);
        check("NodeRepair=true,,", &[repair]);
        check(
            "ReservedCapacity=0",
            &[("ReservedCapacity=true", "ReservedCapacity=false")],
        );
        check(
            "StaticCapacity=false,StaticCapacity=true",
            &[("StaticCapacity=false", "StaticCapacity=true")],
        );
        for malformed in [
            "NodeRepair",
            "NodeRepair=yes",
            "NodeRepair=true, ",
            "=",
            "a=b=c",
        ] {
            assert!(malformed.parse::<FeatureGates>().is_err(), "{malformed:?}");
        }
    }
}
