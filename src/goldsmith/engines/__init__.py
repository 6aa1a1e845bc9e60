"""Level 3: heavy machinery behind small functions. Torch is imported here, inside functions or torch-only modules."""
