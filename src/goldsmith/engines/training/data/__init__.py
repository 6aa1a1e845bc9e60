"""Records become rows, rows become batches: encoded once, shared prompts kept once, every row accounted for."""
