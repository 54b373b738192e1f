//! Choices without randomness.
//!
//! Where upstream rolls dice (a zone among equally cheap ones, the random part of a node's name),
//! this provider takes a digest of the seed, the purpose and the claim. So one choice never shifts
//! another, the order in which claims arrive plays no part, and launching a claim again chooses the
//! same again.

/// The root of all choices of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// A well-mixed number that depends on seed, purpose and subject and on nothing else.
    pub(crate) fn draw(self, purpose: &str, subject: &str) -> u64 {
        // FNV-1a over the parts, each closed by a byte that UTF-8 never contains, so that ("ab", "c")
        // and ("a", "bc") differ; then the finalizer of SplitMix64, since FNV's high bits are weak.
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut digest = 0xcbf2_9ce4_8422_2325_u64;
        let parts = [
            &self.0.to_le_bytes()[..],
            purpose.as_bytes(),
            subject.as_bytes(),
        ];
        for byte in parts
            .into_iter()
            .flat_map(|part| part.iter().copied().chain([0xff]))
        {
            digest = (digest ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        digest = (digest ^ (digest >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        digest = (digest ^ (digest >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        digest ^ (digest >> 31)
    }

    /// One of several equally good things; nothing if there are none.
    pub(crate) fn choose<'a, T>(
        self,
        purpose: &str,
        subject: &str,
        among: &'a [T],
    ) -> Option<&'a T> {
        let count = u64::try_from(among.len()).ok().filter(|count| *count > 0)?;
        among.get(usize::try_from(self.draw(purpose, subject) % count).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn every_part_matters() {
        let base = Seed(1).draw("zone", "claim");
        assert_eq!(base, Seed(1).draw("zone", "claim"));
        for other in [
            Seed(2).draw("zone", "claim"),
            Seed(1).draw("name", "claim"),
            Seed(1).draw("zone", "claimx"),
            Seed(1).draw("zonec", "laim"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn choices_reach_everything_and_only_that() {
        let among = ["a", "b", "c", "d"];
        let mut seen = std::collections::BTreeSet::<&str>::new();
        for index in 0..100 {
            seen.extend(Seed(7).choose("zone", &format!("claim-{index}"), &among));
        }
        assert_eq!(seen.len(), among.len());
        assert_eq!(Seed(7).choose::<u8>("zone", "claim", &[]), None);
    }
}
