"""A base in four bits (QLoRA), where bitsandbytes is not there: what its weights take and what its layers compute in.

After `bitsandbytes.nn.Linear4bit` and peft's `prepare_model_for_kbit_training`: linear layers but the head are NF4 with
double quantisation, everything else (embeddings, head, norms) is in float32, so that hidden states are too; a layer
casts its input to bfloat16, makes bfloat16 weights of its own for the product, and casts its output back.
"""

from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F

BYTES_PER_WEIGHT: Final = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""Four bits, a one-byte scale for 64 weights, a float32 scale for 256 of those (Dettmers et al. 2023, section 3)."""
BYTES_PER_LAYER: Final = 4 * (16 + 256 + 1)
"""Both tables of values, and the scales' mean."""
_MARK = "in_four_bits"


def prepare(model: Any) -> None:
    """Make a bfloat16 model on any device compute as its quantised self does; weights stay bfloat16 for the time."""
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head and module is not getattr(model, "score", None):
            setattr(module, _MARK, True)
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
    marked = {id(module.weight) for module in model.modules() if getattr(module, _MARK, False)}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if id(parameter) not in marked:
            parameter.data = parameter.data.float()


def _forward(module: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x.to(torch.bfloat16), module.weight).to(x.dtype)


def saved(model: Any) -> tuple[float, int]:
    """Bytes that quantised weights take less than bfloat16 ones, and what one layer's bfloat16 copy takes for a
    product. The first is exact: all numbers are multiples of 1/4096."""
    sizes = [module.weight.numel() for module in model.modules() if getattr(module, _MARK, False)]
    quantised = sum(size * BYTES_PER_WEIGHT + BYTES_PER_LAYER for size in sizes)
    return 2 * sum(sizes) - quantised, 2 * max(sizes, default=0)
