//! Manifests, proofs and pins in a storage.
