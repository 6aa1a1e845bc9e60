"""Which files a model folder's weights are in, before anybody reads them: its own, all of them, and no others.

A shard index names files. Who wrote it may name one outside the folder, which transformers would open, and which no
digest of the folder would hold. Links are followed as the file system has them (the hub's cache is made of links): the
bytes behind one are what is digested.
"""

import json
from pathlib import Path
from typing import Any

from goldsmith.types.errors import BadInput
from goldsmith.types.lineage import is_plain_name

ONE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
_OWN = "names of *.safetensors files that lie beside the index"


def require_own_weights(folder: Path) -> None:
    """Nothing in a model's folder sends a reader of its weights elsewhere, and what is read is there.

    Raises:
        BadInput: naming the index and its entry.
    """
    named = _named_in_config(folder)
    for index in sorted(folder.glob("*.safetensors.index.json")):
        is_read = index.name == named or (named is None and index.name == INDEX and not (folder / ONE_FILE).is_file())
        if is_read:
            shard_paths(index)
        else:  # transformers passes over it; another reader may not
            for name in _entries(index, strict=False):
                _require_own(name, index)


def shard_paths(index: Path) -> list[Path]:
    """The files that an index names, sorted by name.

    Raises:
        BadInput: it is no index, or one of them is not beside it.
    """
    names = _entries(index, strict=True)
    for name in names:
        _require_own(name, index)
    paths = [index.parent / str(name) for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise BadInput(
            f"{len(missing)} of the {len(paths)} weight files that the shard index names are not there",
            where=str(index),
            found="missing: " + ", ".join(_shown(name) for name in missing[:3]) + (", ..." if len(missing) > 3 else ""),
            allowed=_OWN,
            next_step="download the model again: its download is not complete",
        )
    return paths


def _entries(index: Path, *, strict: bool) -> list[object]:
    """Each file that the index names, once."""
    try:
        mapped = json.loads(index.read_text("utf-8"))["weight_map"]
        found = list(dict.fromkeys(mapped[key] for key in mapped))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if not strict:
            return []
        raise BadInput(
            "this shard index is not one",
            where=str(index),
            found=f"{type(error).__name__}: {str(error)[:120]}",
            allowed='a JSON object {"weight_map": {"name of a weight": "model-00001-of-00002.safetensors"}}',
            next_step="download the model again, or write its index anew with save_pretrained",
        ) from error
    return sorted(found, key=str)


def _require_own(name: object, index: Path) -> None:
    if is_plain_name(name) and str(name).endswith(".safetensors"):
        return
    raise BadInput(
        "a shard index names a file that is not one of the model's own weight files",
        where=f"{index}, weight_map",
        found=_shown(name),
        allowed=_OWN,
        next_step="do not use this model as it is: download it again from its author, or put that file into the folder "
        "and its bare name into the index if the index is yours",
    )


def _shown(name: object) -> str:
    """Somebody else's text, harmless and short."""
    return ascii(name)[:120]


def _named_in_config(folder: Path) -> str | None:
    """The weight file that config.json asks for by name, as transformers' `transformers_weights`."""
    path = folder / "config.json"
    try:
        config: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None  # whoever reads the config says so
    named = config.get("transformers_weights") if isinstance(config, dict) else None
    if named is None:
        return None
    if is_plain_name(named) and str(named).endswith((".safetensors", ".safetensors.index.json")):
        return str(named)
    raise BadInput(
        "config.json asks for weights that are not one of the model's own files",
        where=f"{path}, transformers_weights",
        found=_shown(named),
        allowed="the name of a *.safetensors or *.safetensors.index.json file beside it",
        next_step="do not use this model as it is: download it again from its author",
    )
