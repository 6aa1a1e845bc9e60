"""Models whose layers are alike: three and four of them say all about any number.

What is alive in a part of a pass (`Followed.peaks`) then grows by the same number of bytes with every layer that the
model has more, and so does each count of parameters: a straight line through two points.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any, Final

from goldsmith.engines.training.settings import TrainingSettings

_ONE_LAYER: Final = re.compile(r"(?:^|\.)\d+(?:\.|$)")
_NUMBERED: Final = frozenset({"layer_idx"})


def may_be_shortened(plain: Any, settings: TrainingSettings) -> bool:
    """Whether the layers of a `plain` model, which may be on the meta device, are alike and `settings` treat them so.
    In doubt they are not."""
    adapter = settings.adapter
    named = (*adapter.targets, *adapter.exclude, *adapter.parameters)
    if adapter.last_layers is not None or adapter.only or any(_ONE_LAYER.search(name) for name in named):
        return False
    layers = list(getattr(plain.get_decoder(), "layers", None) or [])
    config = plain.config.get_text_config()
    lists = [found for found in vars(config).values() if isinstance(found, list) and len(found) == len(layers)]
    return (
        len(layers) == int(config.num_hidden_layers)
        and all(found == [found[0]] * len(found) for found in lists)
        and len({_kind(layer) for layer in layers}) == 1
    )


def _kind(layer: Any) -> tuple[object, ...]:
    """What a layer is made of and how it is set: every module's class, plain attributes and tensors."""
    found: list[object] = []
    for name, module in layer.named_modules():
        plain = {key: value for key, value in vars(module).items() if key not in _NUMBERED}
        told = sorted((key, value) for key, value in plain.items() if isinstance(value, (bool, int, float, str)))
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        shapes = [(key, tuple(one.shape), one.dtype) for key, one in tensors]
        found.append((name, type(module), tuple(told), tuple(shapes)))
    return tuple(found)


def shortened(config: Any, layers: int) -> Any:
    """The same model with fewer layers."""
    short = copy.deepcopy(config)
    text = short.get_text_config()
    before = int(text.num_hidden_layers)
    for name, found in vars(text).items():
        if isinstance(found, list) and len(found) == before:
            setattr(text, name, found[:layers])
    text.num_hidden_layers = layers
    return short


def continued(fewer: Any, more: Any, beyond: int) -> Any:
    """The line through what is found of one layer `fewer` and `more`, `beyond` the latter: of numbers, and of each in a
    mapping or a tuple."""
    if isinstance(more, Mapping):
        if fewer.keys() != more.keys():
            raise ValueError("three layers and four have not the same parts")
        return {key: continued(fewer[key], more[key], beyond) for key in more}
    if isinstance(more, tuple):
        return tuple(continued(a, b, beyond) for a, b in zip(fewer, more, strict=True))
    return more + beyond * (more - fewer)
