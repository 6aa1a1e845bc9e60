"""A model whose weights are still in their files: built without them, so that a process reads no more of each tensor
than the part that it keeps.

transformers itself builds the model on torch's meta device, and its own table of names says what each tensor of the
files becomes. What cannot be read in parts says why (`MustBeWhole`), and is loaded as ever.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from goldsmith.engines.training.model.loading import folder_of, from_pretrained, told
from goldsmith.engines.training.settings import EndsIn, TrainingSettings
from goldsmith.engines.weight_files import INDEX, ONE_FILE, shard_paths

_WRAPPED = frozenset({"base_layer", "original_module", "modules_to_save", "default"})
"""Parts of a weight's name that an adapter has put into it."""


class MustBeWhole(Exception):
    """Why a base can only be read whole."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a weight is made of: tensors of the files, each with the pattern by which transformers took it, and what
    makes one tensor of them; None where it is there as it is."""

    keys: tuple[tuple[str, str], ...]
    converter: Any = None

    @property
    def stacks(self) -> bool:
        """Whether each row of the weight is made of one tensor of each pattern, as experts are."""
        if self.converter is None:
            return False
        kinds = [(type(op).__name__, getattr(op, "dim", None)) for op in self.converter.operations]
        return kinds[0] == ("MergeModulelist", 0) and all(name == "Concatenate" and dim for name, dim in kinds[1:])


class Unread:
    """The weights of a base by the names that its model gives them. `model` lends its config to what is converted."""

    def __init__(self, model: Any, files: Mapping[str, Path], sources: Mapping[str, Source]) -> None:
        self.model, self.files, self.sources = model, files, sources

    def __contains__(self, name: str) -> bool:
        return plain_name(name) in self.sources

    def rows(self, name: str, like: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Rows of a weight, on the CPU and in memory of their own; `like`: of its whole shape and its dtype."""
        part = torch.empty((stop - start, *like.shape[1:]), dtype=like.dtype)
        if start < stop:
            source = self.sources[plain_name(name)]
            with self._opened(source) as take:
                read = _converted if source.converter is not None else _as_it_is
                found = read(self.model, plain_name(name), source, take, (start, stop), like.dtype)
                if found.shape != part.shape:
                    raise ValueError(f"{name}: rows of shape {tuple(found.shape)}, not {tuple(part.shape)}")
                part.copy_(found)
        return part

    def whole(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """All of a weight or buffer."""
        with self._opened(self.sources[name]) as take:
            return torch.empty(like.shape, dtype=like.dtype).copy_(take(self.sources[name].keys[0][0], None))

    @contextmanager
    def _opened(self, source: Source) -> Iterator["Take"]:
        """The files of a source, mapped for as long as it is read and no longer."""
        with ExitStack() as stack:
            paths = {self.files[key] for key, _ in source.keys}
            opened = {path: stack.enter_context(safe_open(str(path), framework="pt")) for path in paths}

            def take(key: str, rows: tuple[int, int] | None) -> torch.Tensor:
                file = opened[self.files[key]]
                tensor: torch.Tensor = file.get_tensor(key) if rows is None else file.get_slice(key)[rows[0] : rows[1]]
                return tensor

            yield take


Take = Callable[[str, tuple[int, int] | None], torch.Tensor]
"""A tensor of the files by its key, or some of its rows; it may lie in the file's own pages."""


def _as_it_is(
    _model: Any, _name: str, source: Source, take: Take, rows: tuple[int, int], _dtype: torch.dtype
) -> torch.Tensor:
    return take(source.keys[0][0], rows)


def _converted(
    model: Any, name: str, source: Source, take: Take, rows: tuple[int, int], dtype: torch.dtype
) -> torch.Tensor:
    """Rows of what transformers makes of several tensors: of stacked ones those rows alone are read."""
    by_pattern: dict[str, list[str]] = {}
    for key, pattern in source.keys:
        by_pattern.setdefault(pattern, []).append(key)
    converter = deepcopy(source.converter)
    for pattern, keys in by_pattern.items():
        for key in keys[rows[0] : rows[1]] if source.stacks else keys:
            converter.add_tensor(name, key, pattern, lambda key=key: take(key, None).to(dtype))
    found = converter.convert(name, model=model, config=model.config)[name]
    tensor: torch.Tensor = found[0] if isinstance(found, list) else found
    return tensor if source.stacks else tensor[rows[0] : rows[1]]


def plain_name(name: str) -> str:
    """A weight's name in the model without an adapter."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)


def replace_parameters(model: Any, other: Callable[[str, Any], Any]) -> None:
    """Put others in the place of parameters, as `other` says of each name; what modules share they go on sharing."""
    made: dict[int, tuple[Any, Any]] = {}  # the old ones too: an id is one object's only while that lives
    for path, module in model.named_modules():
        for name, old in module._parameters.items():
            if old is not None:
                if id(old) not in made:
                    made[id(old)] = (old, other(f"{path}.{name}" if path else name, old))
                module._parameters[name] = made[id(old)][1]


# ---- opening one ---------------------------------------------------------------------------------------------------


def open_unread(base: str, dtype: torch.dtype, ends_in: EndsIn, settings: TrainingSettings) -> tuple[Any, Unread]:
    """A base in eval mode, and where its weights are to be read. Its parameters stand for themselves in shape and
    dtype and take no memory; what is not in the files (rotary frequencies, a new head) is there, and the random
    numbers drawn for it are those of a base that is loaded whole.

    Raises:
        MustBeWhole: saying why. Unavailable, BadInput: as `load_model`.
    """
    _require_parts(settings)
    files = _files(folder_of(base))
    with told(base):
        model = from_pretrained(base, ends_in, {"dtype": dtype, "device_map": {"": "meta"}})
        unread = Unread(model, files, _sources(model, files))
        _complete(model, unread)
    replace_parameters(model, lambda _, old: _stand_in(old) if old.is_meta else old)
    return model.eval(), unread


def _require_parts(settings: TrainingSettings) -> None:
    if settings.new_tokens:
        raise MustBeWhole("new tokens start as the mean of all rows of the embeddings")
    if settings.adapter.dora:
        raise MustBeWhole("adapter.dora starts at the norms of whole weights")


def _files(folder: Path) -> dict[str, Path]:
    """Each tensor's file."""
    if (folder / "adapter_config.json").is_file():
        raise MustBeWhole("the base is an adapter, which is merged with its own base")
    config = json.loads((folder / "config.json").read_text("utf-8")) if (folder / "config.json").is_file() else {}
    for key in ("quantization_config", "transformers_weights"):
        if config.get(key) is not None:
            raise MustBeWhole(f"the base's config.json has {key}")
    one, index = folder / ONE_FILE, folder / INDEX
    if one.is_file():
        paths = [one]
    elif index.is_file():
        paths = shard_paths(index)
    else:
        raise MustBeWhole("the base has no model.safetensors")
    found: dict[str, Path] = {}
    with told(str(folder)):
        for path in paths:
            with safe_open(str(path), framework="pt") as file:
                found |= dict.fromkeys(file.keys(), path)
    return found


def _sources(model: Any, files: Mapping[str, Path]) -> dict[str, Source]:
    """What each weight and stored buffer is made of, by transformers' own renaming."""
    conversions = getattr(model, "_weight_conversions", None)
    try:
        from transformers.core_model_loading import (
            PrefixChange,
            WeightConverter,
            WeightRenaming,
            dot_natural_key,
            rename_source_key,
        )
    except ImportError:
        conversions = None
    if conversions is None:
        raise MustBeWhole("this version of transformers does not say what it makes of a file's tensors")
    odd = [one for one in conversions if type(one) not in (PrefixChange, WeightConverter, WeightRenaming)]
    converters = [one for one in conversions if type(one) is WeightConverter]
    if odd or any(len(one.target_patterns) > 1 for one in converters):
        raise MustBeWhole("transformers takes this architecture's stored tensors apart while it loads them")
    renamings = [one for one in conversions if type(one) in (PrefixChange, WeightRenaming)]
    by_pattern = {pattern: one for one in converters for pattern in one.source_patterns}
    state, prefix = model.state_dict(keep_vars=True), model.base_model_prefix
    keys: dict[str, list[tuple[str, str]]] = {}
    for key in sorted(files, key=dot_natural_key):
        name, pattern = rename_source_key(key, renamings, converters, prefix, state)
        if name not in state and key in state:
            name, pattern = rename_source_key(key, [], [], prefix, state)
        if name in state:
            keys.setdefault(name, []).append((key, pattern or ""))
    found = {name: Source(tuple(parts), by_pattern.get(parts[0][1])) for name, parts in keys.items()}
    if any(source.converter is None and len(source.keys) > 1 for source in found.values()):
        raise MustBeWhole("the base's files have several tensors for one weight")
    return _tied(model, state, found)


def _tied(model: Any, state: Mapping[str, Any], found: dict[str, Source]) -> dict[str, Source]:
    """With what is stored under one name and used under another as well."""
    if any({one, other} <= set(found) for one, other in getattr(model, "all_tied_weights_keys", {}).items()):
        raise MustBeWhole("the base's files hold tied weights twice, and whether they are equal shows in whole ones")
    by_id = {id(state[name]): source for name, source in found.items()}
    return found | {name: by_id[id(tensor)] for name, tensor in state.items() if id(tensor) in by_id}


def _complete(model: Any, unread: Unread) -> None:
    """Put what the files do not have in place, and small stored buffers, as transformers does for a loaded model."""

    def empty(name: str, old: Any) -> Any:
        if name in unread.sources:
            return old
        return torch.nn.Parameter(torch.empty_like(old, device="cpu"), requires_grad=old.requires_grad)

    replace_parameters(model, empty)
    for path, module in model.named_modules():
        module._is_hf_initialized = False
        for name, buffer in module._buffers.items():
            where = f"{path}.{name}" if path else name
            if buffer is not None and where in unread.sources:
                module._buffers[name] = unread.whole(where, buffer)
                module._buffers[name]._is_hf_initialized = True
            elif buffer is not None and buffer.is_meta:
                module._buffers[name] = torch.empty_like(buffer, device="cpu")
    model.initialize_weights()


def settle(model: Any, unread: Unread, weights: Mapping[str, torch.Tensor]) -> None:
    """Give a model its weights: those at hand, by name, and the others from their files."""

    def other(name: str, old: Any) -> Any:
        if name in weights:
            return torch.nn.Parameter(weights[name], old.requires_grad)
        if name not in unread:
            return old
        return torch.nn.Parameter(unread.rows(name, old, 0, old.shape[0]), old.requires_grad)

    replace_parameters(model, other)


def _stand_in(old: torch.Tensor) -> torch.nn.Parameter:
    """One number in place of all: whoever asks a weight for its shape, dtype and device gets them."""
    return torch.nn.Parameter(torch.zeros((), dtype=old.dtype).expand(old.shape), requires_grad=old.requires_grad)


def as_meta(model: Any, unread: Unread) -> None:
    """Take the stand-ins out, so that shards of nothing can be cut."""

    def other(name: str, old: Any) -> Any:
        return torch.nn.Parameter(old.detach().to("meta"), old.requires_grad) if name in unread else old

    replace_parameters(model, other)
