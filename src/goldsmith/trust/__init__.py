"""Level 2: canonical bytes, Merkle trees, keys, attestations, store, ledger. No torch, no web framework."""
