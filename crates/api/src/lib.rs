//! Karpenter's API types, labels, quantities, hashes and CRDs.
