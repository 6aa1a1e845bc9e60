"""Goldsmith: trustworthy fine-tuning and alignment, with proof of what taught each model."""

__version__ = "0.1.0"
