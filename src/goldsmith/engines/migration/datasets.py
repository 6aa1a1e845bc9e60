"""Their data sets as sources: LLaMA-Factory's `dataset_info.json` and Axolotl's `datasets`."""

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldsmith.engines.migration.draft import Dataset, Draft, Note, listed
from goldsmith.engines.reading.json_text import show
from goldsmith.types.errors import BadInput

INFO = "dataset_info.json"
_COLUMNS = {
    "alpaca": {
        "prompt": "instruction",
        "query": "input",
        "response": "output",
        "history": "history",
        "system": "system",
        "chosen": "chosen",
        "rejected": "rejected",
        "kto_tag": "kto_tag",
    },
    "sharegpt": {
        "messages": "conversations",
        "system": "system",
        "tools": "tools",
        "chosen": "chosen",
        "rejected": "rejected",
        "kto_tag": "kto_tag",
    },
    "openai_chat": {"messages": "messages", "tools": "tools"},
}
"""The columns that our row formats read, by LLaMA-Factory's names for them."""
_SHAREGPT_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
_OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
    "observation_tag": "tool",
    "function_tag": "tool_calls",
}
_AXOLOTL = {
    "alpaca": "alpaca",
    "sharegpt": "sharegpt",
    "completion": "plain_text",
    "pretrain": "plain_text",
    "chat_template": "openai_chat",
    "chat_template.default": "trl",
    "chat_template.argilla": "trl",
    "chat_template.argilla_chat": "trl",
    "chatml.argilla_chat": "trl",
    "llama3.argilla_chat": "trl",
    "chatml.prompt_pairs": "trl",
    "llama3.prompt_pairs": "trl",
    "chatml.ultra": "trl",
    "llama3.ultra": "trl",
    "chatml": "trl",
}
"""Axolotl's types by the row format here that reads the same columns."""


def find_info(config: Path, dataset_dir: str) -> Path | None:
    """`dataset_info.json`: in `dataset_dir`, seen from the file, from any of the folders above it, or from here; or
    beside the file."""
    folders = [config.parent, *list(config.resolve().parents)[1:4], Path()]
    for folder in folders:
        found = folder / dataset_dir / INFO
        if found.is_file():
            return found
    beside = config.parent / INFO
    return beside if beside.is_file() else None


def factory_datasets(draft: Draft, config: Path) -> None:
    """The data sets that `dataset` names."""
    given = draft.given
    names = listed(given.get("dataset"))
    folder = str(given.get("dataset_dir", "data"))
    info_path = find_info(config, folder)
    if given.has("dataset_dir"):
        text = f"read: {info_path}" if info_path else f"no {INFO} is there: name the files in the recipe yourself"
        draft.note("dataset_dir", "taken" if info_path else "changed", text)
    if not names:
        draft.missing("dataset", "no data set is named", "name your files under sources")
        return
    info = _read_info(info_path)
    line = given.line("dataset")
    for name in names:
        entry = info.get(name)
        if entry is None:
            close = difflib.get_close_matches(name, list(info), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            where = info_path or f"{folder}/{INFO}"
            text = f"{where} describes no data set of this name{hint}"
            step = "put the rows in the file that the recipe names, or name yours"
            _tell(draft, line, name, text, next_step=step, to="sources")
            draft.datasets.append(Dataset(name, line, _to_be_put(config, name), here=False))
        else:
            draft.datasets.append(_factory_entry(draft, name, line, entry, info_path, config))
    given.read_keys.add("dataset")


def _read_info(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BadInput(
            "this description of data sets cannot be read", where=str(path), found=str(error)[:160]
        ) from error
    if not isinstance(value, dict):
        raise BadInput("this is no description of data sets", where=str(path), found=show(value), allowed="an object")
    return {name: entry for name, entry in value.items() if isinstance(entry, dict)}


def _tell(
    draft: Draft, line: int, name: str, text: str, *, next_step: str | None = None, to: str | None = None
) -> None:
    outcome = "taken" if to and next_step is None else "changed" if to else "unsupported"
    draft.notes.append(Note(line, "dataset", show(name), outcome, text, next_step, to))  # type: ignore[arg-type]


def _factory_entry(
    draft: Draft, name: str, line: int, entry: Mapping[str, Any], info: Path | None, config: Path
) -> Dataset:
    file = entry.get("file_name")
    remote = next((str(entry[k]) for k in ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url") if k in entry), None)
    path = info.parent / str(file) if info and file and remote is None else None
    row_format, trouble = _row_format(entry)
    said = f"read as {row_format}" if row_format else "its row format is recognised from the rows"
    steps = []
    if path is None:
        trouble.insert(0, f"the rows are at {remote or 'no file'}")
        steps.append("download them to the file that the recipe names")
    if entry.get("formatting") == "openai":
        trouble.append(
            'LLaMA-Factory adds "detailed thinking off" to the system prompt of rows without tools; we do not'
        )
    for key in ("subset", "split", "folder", "num_samples"):
        if entry.get(key) not in (None, "train"):
            trouble.append(f"{key}: {show(entry[key])} is not applied")
            steps.append(f"keep only that {key} in the file" if "keep" not in "".join(steps) else "")
    step = "; ".join(s for s in steps if s) or ("rename the columns as said" if trouble and not row_format else None)
    if path is not None and not path.exists():
        trouble.append("there is no such file")
    here = path is not None and path.exists()
    _tell(draft, line, name, "; ".join([said, *trouble]), next_step=step, to="sources")
    return Dataset(name, line, path or _to_be_put(config, name), here, row_format)


def _to_be_put(config: Path, name: str) -> Path:
    """Where rows that are elsewhere are to be put."""
    return config.parent / "data" / f"{slug(name, 60)}.jsonl"


def slug(text: str, most: int) -> str:
    """A name that recipes take: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:most] or "imported"


def _row_format(entry: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Our format for these rows, and what it will not read."""
    columns = {k: v for k, v in entry.get("columns", {}).items() if isinstance(v, str)}
    formatting = entry.get("formatting", "alpaca")
    if formatting == "alpaca":
        if columns.get("prompt", "") == "text" and "response" not in columns:
            return "plain_text", []
        if (columns.get("prompt"), columns.get("response")) == ("question", "answer"):
            return "question_answer", []
        if columns.get("prompt") == "prompt" and entry.get("ranking") and "query" not in columns:
            return "trl", []
        return _checked("alpaca", columns, {}, {})
    tags = entry.get("tags", {})
    if formatting == "openai" or tags.get("role_tag") == "role" or columns.get("messages") == "messages":
        if entry.get("ranking"):
            return "trl", []
        return _checked("openai_chat", columns, tags, _OPENAI_TAGS)
    return _checked("sharegpt", columns, tags, _SHAREGPT_TAGS)


def _checked(
    name: str, columns: Mapping[str, str], tags: Mapping[str, Any], read: Mapping[str, str]
) -> tuple[str | None, list[str]]:
    wanted = _COLUMNS[name]
    trouble = [
        f"the column {show(column)} is read here under the name {wanted[role]!r}"
        for role, column in columns.items()
        if role in wanted and column != wanted[role]
    ]
    trouble += [f"the column {show(v)} is kept and not trained" for k, v in columns.items() if k not in wanted]
    wrong = [f"{k}: {show(v)} is {read[k]!r} here" for k, v in tags.items() if k in read and v != read[k]]
    blocking = [t for t in trouble if "under the name" in t] + wrong
    return (None if blocking else name), trouble + wrong


def axolotl_datasets(draft: Draft, config: Path) -> None:
    """The data sets under `datasets` or `pretraining_dataset`."""
    given = draft.given
    key = "datasets" if given.has("datasets") else "pretraining_dataset"
    entries = given.get(key, [])
    entries = [entries] if isinstance(entries, dict | str) else entries
    if not entries:
        draft.missing("datasets", "no data set is named", "name your files under sources")
    for place, entry in enumerate(entries if isinstance(entries, list) else []):
        entry = {"path": entry} if isinstance(entry, str) else entry
        line = given.line(key, place) or given.line(key)
        if isinstance(entry, dict):
            draft.datasets.append(_axolotl_entry(draft, entry, line, config))


def _axolotl_entry(draft: Draft, entry: Mapping[str, Any], line: int, config: Path) -> Dataset:
    name = str(entry.get("path") or "data")
    files = listed(entry.get("data_files"))
    told = files[0] if files else name
    path = next((base / told for base in (config.parent, Path()) if (base / told).exists()), None)
    local = Path(told).suffix in (".json", ".jsonl", ".parquet", ".csv") or told.startswith((".", "/"))
    row_format, trouble, step = _axolotl_format(entry)
    if path is None:
        trouble.insert(0, "there is no such file" if local else f"the rows are on a hub, at {name}")
        step = step or ("put it there" if local else "download them to the file that the recipe names")
    if len(files) > 1:
        trouble.append(f"{len(files)} files; the first is named")
        step = step or "add a source for each of the others"
    for key in ("split", "name", "shards", "roles_to_train", "train_on_eot", "message_field_training"):
        if entry.get(key) not in (None, "train", ["assistant"], "turn"):
            trouble.append(f"{key}: {show(entry[key])} is not applied")
            step = step or f"apply {key} to the file itself"
    said = f"read as {row_format}" if row_format else "its row format is recognised from the rows"
    _tell(draft, line, name, "; ".join([said, *trouble]), next_step=step, to="sources")
    file = path or (config.parent / told if local else _to_be_put(config, name))
    return Dataset(Path(name).stem if local else name, line, file, path is not None, row_format)


def _axolotl_format(entry: Mapping[str, Any]) -> tuple[str | None, list[str], str | None]:
    kind = entry.get("type")
    if isinstance(kind, dict):
        named = ", ".join(str(v) for k, v in kind.items() if k.startswith("field_"))
        return None, [f"a prompt format of its own (columns {named}) is not taken"], "write the rows as chat messages"
    kind = str(kind or "chat_template")
    base = kind.split(":")[0]
    if base.split(".")[0] == "sharegpt":
        base = "sharegpt"
    if base == "chat_template":
        mapping = entry.get("message_property_mappings") or {}
        messages = entry.get("field_messages", "messages")
        if mapping.get("role") == "from" or messages == "conversations":
            return "sharegpt", [], None
        if messages != "messages":
            return None, [f"turns are in {show(messages)}"], "name that column messages"
        return "openai_chat", [], None
    if base == "completion" and entry.get("field") not in (None, "text"):
        return None, [f"texts are in {show(entry['field'])}"], "name that column text"
    if base in _AXOLOTL:
        return _AXOLOTL[base], [], None
    return None, [f"the type {kind!r} is not known here"], "write the rows as chat messages, Alpaca or TRL rows"
