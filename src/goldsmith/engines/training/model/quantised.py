"""A base in four bits under an adapter (QLoRA; Dettmers et al. 2023, arXiv:2305.14314)."""

from typing import Any

import torch

from goldsmith.types.errors import Unavailable


def require_four_bits(device: str) -> None:
    """Raises Unavailable where four bits cannot be computed with, saying what is missing."""
    from importlib.util import find_spec

    missing = []
    if find_spec("bitsandbytes") is None:
        missing.append("the package bitsandbytes (pip install 'goldsmith[qlora]')")
    if not device.startswith("cuda"):
        missing.append(f"a CUDA device (this run is on {device!r})")
    if missing:
        raise Unavailable(
            "adapter.kind qlora cannot run here",
            where="adapter.kind",
            found="missing: " + "; ".join(missing),
            allowed="bitsandbytes on a CUDA device",
            next_step="train on such a machine, or set adapter.kind to lora",
        )


def four_bits() -> Any:
    """How weights are stored: NormalFloat4 with quantised scales, computed with in bfloat16."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def make_trainable(model: Any, *, activation_checkpointing: bool) -> Any:
    """Freeze the quantised base and keep what is not quantised in float32, as peft prescribes."""
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]
        model,
        use_gradient_checkpointing=activation_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
