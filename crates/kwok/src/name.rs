//! Names of nodes and partitions.

use crate::seed::Seed;

/// What every provider id of ours starts with.
pub(crate) const PROVIDER_PREFIX: &str = "kwok://";

/// The deployments of the KWOK controller among which nodes are spread.
const PARTITIONS: [&str; 1] = ["a"];

/// Short plain words, so that people can tell two nodes of one pool apart at a glance.
const WORDS: [&str; 64] = [
    "acorn", "amber", "anchor", "apple", "arrow", "aspen", "badge", "basil", "beacon", "birch",
    "bison", "bramble", "brick", "canyon", "cedar", "cinder", "clover", "cobalt", "comet",
    "copper", "coral", "cricket", "daisy", "delta", "ember", "falcon", "fern", "flint", "garnet",
    "ginger", "glacier", "granite", "harbor", "hazel", "heron", "indigo", "ivory", "jasper",
    "juniper", "kestrel", "lantern", "lark", "lotus", "maple", "marble", "meadow", "mint",
    "nickel", "nutmeg", "ocean", "olive", "onyx", "orbit", "pebble", "pepper", "pine", "quartz",
    "raven", "river", "saffron", "sparrow", "thistle", "topaz", "willow",
];

/// The name of the node of a claim: `kwok-<claim>-<word>-<number below 2^32>`.
///
/// `identity` is what makes two claims of the same name different: the uid.
pub(crate) fn node_name(seed: Seed, claim: &str, identity: &str) -> String {
    let word = seed
        .choose("node word", identity, &WORDS)
        .copied()
        .unwrap_or("node");
    let number = seed.draw("node number", identity) & u64::from(u32::MAX);
    format!("kwok-{claim}-{word}-{number}")
}

/// The provider id of the node of this name.
pub(crate) fn provider_id(node_name: &str) -> String {
    format!("{PROVIDER_PREFIX}{node_name}")
}

/// The node name inside a provider id, if the id is one of ours.
pub(crate) fn node_of(provider_id: &str) -> Option<&str> {
    provider_id
        .strip_prefix(PROVIDER_PREFIX)
        .filter(|name| !name.is_empty())
}

/// The partition that looks after a node.
pub(crate) fn partition(seed: Seed, identity: &str) -> &'static str {
    seed.choose("partition", identity, &PARTITIONS)
        .copied()
        .unwrap_or(PARTITIONS[0])
}

#[cfg(test)]
mod tests {
    use super::{WORDS, node_name, node_of, provider_id};
    use crate::seed::Seed;

    #[test]
    fn names_have_four_parts_and_repeat() {
        let name = node_name(Seed(3), "default-abcde", "uid-1");
        let rest = name.strip_prefix("kwok-default-abcde-").unwrap();
        let (word, number) = rest.split_once('-').unwrap();
        assert!(WORDS.contains(&word), "{word}");
        assert!(number.parse::<u32>().is_ok(), "{number}");
        assert_eq!(name, node_name(Seed(3), "default-abcde", "uid-1"));
        assert_ne!(name, node_name(Seed(3), "default-abcde", "uid-2"));
        assert_ne!(name, node_name(Seed(4), "default-abcde", "uid-1"));
    }

    #[test]
    fn provider_ids_lead_back_to_names() {
        assert_eq!(provider_id("kwok-a-fern-1"), "kwok://kwok-a-fern-1");
        for (id, expected) in [
            ("kwok://kwok-a-fern-1", Some("kwok-a-fern-1")),
            ("kwok://", None),
            ("aws:///us-west-2a/i-1", None),
            ("", None),
        ] {
            assert_eq!(node_of(id), expected, "{id}");
        }
    }
}
