"""goldsmith-nano: a small chat model of the project's own, and the closed world that it acts in.

The model (``model_path``) is a Llama-architecture network of a few million weights that makes real tool
calls on mail, calendar, files, orders and web pages.  ``tasks`` makes requests with known right calls,
``world`` runs the calls, ``episode`` judges an outcome, ``deliveries`` makes feedback data of several
origins for the demo, and ``parse`` reads a generated turn.  Importing this package loads no heavy library.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["model_path"]


def model_path() -> Path:
    """The folder with weights, tokenizer and chat template, for ``from_pretrained``."""
    return Path(__file__).with_name("model")
