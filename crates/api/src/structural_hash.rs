//! The hash of a value's structure, bit for bit as the reference computes it over its Go structs.
//!
//! Drift is found by comparing hashes that may have been written by the reference, so the scheme is data:
//! 64-bit FNV-1 over little-endian bytes; maps and lists are sets; a structure is its type's name and, in
//! order, each field that differs from Go's zero value. Equal elements of a list cancel in pairs, which is a
//! weakness of the scheme and is kept.
//!
//! A field's hash is an `Option` here: `None` is a field that Go would find zero and leave out.

/// The start value of FNV-1 with 64 bits.
const OFFSET: u64 = 14_695_981_039_346_656_037;
/// The multiplier of FNV-1 with 64 bits.
const PRIME: u64 = 1_099_511_628_211;

/// FNV-1: multiply first, then xor.
fn bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(OFFSET, |hash, byte| {
        hash.wrapping_mul(PRIME) ^ u64::from(*byte)
    })
}

/// The hash of a text.
pub(crate) fn string(text: &str) -> u64 {
    bytes(text.as_bytes())
}

/// The hash of a 64-bit integer, and of a duration in nanoseconds.
pub(crate) fn int64(value: i64) -> u64 {
    bytes(&value.to_le_bytes())
}

/// The ordered combination of two hashes.
fn pair(first: u64, second: u64) -> u64 {
    let mut both = [0; 16];
    both[..8].copy_from_slice(&first.to_le_bytes());
    both[8..].copy_from_slice(&second.to_le_bytes());
    bytes(&both)
}

/// What ends an unordered combination, so that it does not cancel out with its surroundings.
fn finish(hash: u64) -> u64 {
    bytes(&hash.to_le_bytes())
}

/// The hash of a map, from the hashes of its keys and values.
pub(crate) fn map(entries: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    finish(
        entries
            .into_iter()
            .fold(0, |hash, (key, value)| hash ^ pair(key, value)),
    )
}

/// The hash of a list, from the hashes of its elements, in any order.
pub(crate) fn list(elements: impl IntoIterator<Item = u64>) -> u64 {
    elements.into_iter().fold(0, |hash, element| hash ^ element)
}

/// The hash of a structure in the making: its fields must be added in Go's order of declaration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Structure(u64);

impl Structure {
    /// Starts with the name of the Go type.
    pub(crate) fn named(type_name: &str) -> Self {
        Self(string(type_name))
    }

    /// Adds a field under its Go name, unless it is Go's zero value.
    pub(crate) fn field(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => Self(finish(self.0 ^ pair(string(name), value))),
            None => self,
        }
    }

    /// Adds a text field, unless it is empty.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.field(name, (!value.is_empty()).then(|| string(value)))
    }

    /// The hash.
    pub(crate) fn hash(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_1_not_1a() {
        // Published vectors of the 64-bit FNV-1 hash.
        assert_eq!(string(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(string("a"), 0xaf63_bd4c_8601_b7be);
        assert_eq!(string("foobar"), 0x340d_8765_a4dd_a9c2);
    }

    #[test]
    fn lists_are_sets_whose_equal_elements_cancel() {
        assert_eq!(list([1, 2, 3]), list([3, 1, 2]));
        assert_eq!(list([7, 7]), list([]));
    }

    #[test]
    fn an_empty_map_is_not_nothing() {
        assert_ne!(map([]), 0);
    }
}
