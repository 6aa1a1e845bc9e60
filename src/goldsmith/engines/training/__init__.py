"""Training on torch, transformers and peft: rows, batches, attention, losses, the policy, the driver."""
