"""Training on torch, transformers and peft.

A job is opened (`opening`), run (`driver`, with a method's own loop and `updating` around its loss), watched
(`watching`) and kept (`keeping`). What it is made of: `data` (rows and batches), `model`, `attention`, `losses`,
`reinforcement`, `guards`, `memory`, `checkpointing`, and `scale` for several processes.
"""
