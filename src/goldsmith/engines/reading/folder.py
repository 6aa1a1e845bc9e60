"""Folders: what `datasets` saves to disk, and folders of data files. Rows are numbered through the whole folder."""

import json
from collections.abc import Iterator
from pathlib import Path

from goldsmith.engines.reading.arrow import arrow
from goldsmith.engines.reading.container import ALLOWED, RawRow
from goldsmith.engines.reading.json_text import Refused, decode
from goldsmith.types.errors import BadInput

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")


def is_saved_dataset(path: Path) -> bool:
    """Whether `datasets` wrote this folder (`Dataset.save_to_disk`)."""
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


def shards(path: Path) -> list[Path]:
    """The Arrow files of a saved dataset, in order. Errors: BadInput where its state is broken or a file is missing."""
    state = path / "state.json"
    try:
        told = decode(state.read_text(encoding="utf-8"))
        names = [item["filename"] for item in told["_data_files"]]
    except (Refused, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BadInput("the state of this saved dataset cannot be read", where=str(state), found=error) from error
    if told.get("_indices_data_files"):
        raise BadInput(
            "this saved dataset has an index apart", where=str(state), next_step="save it with flatten_indices()"
        )
    files = []
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (path / name).is_file():
            raise BadInput("a file of this saved dataset is missing", where=str(state), found=json.dumps(name)[:80])
        files.append(path / name)
    return files


def saved_dataset(path: Path) -> Iterator[tuple[Path, Iterator[RawRow]]]:
    """Each Arrow file of a saved dataset with its rows."""
    for shard in shards(path):
        yield shard, arrow(shard)


def data_files(path: Path) -> tuple[list[Path], list[str]]:
    """The data files of a folder, by name, and the names of all else in it.

    Errors: BadInput for an empty folder and for one that holds several saved splits.
    """
    if (path / "dataset_dict.json").is_file():
        splits = sorted(p.name for p in path.iterdir() if is_saved_dataset(p))
        if len(splits) == 1:
            return [path / splits[0]], []
        raise BadInput(
            f"{path.name} holds several splits of a dataset",
            where=str(path),
            found=", ".join(splits) or "none",
            next_step=f"name one, such as {path / splits[0] if splits else path}",
        )
    files, others = [], []
    for entry in sorted(path.iterdir()):
        stem = entry.name.lower().removesuffix(".gz")
        if entry.is_file() and stem.endswith(_SUFFIXES) and not entry.name.startswith("."):
            files.append(entry)
        else:
            others.append(entry.name)
    if not files:
        raise BadInput(
            f"{path.name} holds no data files",
            where=str(path),
            found=", ".join(others[:8]) or "nothing",
            allowed=ALLOWED,
        )
    return files, others
