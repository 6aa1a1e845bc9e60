"""A file of LLaMA-Factory or Axolotl to a recipe, with an account of every line."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldsmith.engines.migration.axolotl import read_axolotl
from goldsmith.engines.migration.datasets import axolotl_datasets, factory_datasets, slug
from goldsmith.engines.migration.draft import TITLES, Draft, Given, Note, Targets, Tool
from goldsmith.engines.migration.factory import read_factory
from goldsmith.engines.yaml_file import dump_yaml, read_plain
from goldsmith.types.errors import BadInput

_MARKS: dict[Tool, tuple[str, ...]] = {
    "llamafactory": ("model_name_or_path", "stage", "finetuning_type", "cutoff_len", "template", "dataset_dir",
                     "lora_rank", "lora_target", "do_train", "per_device_train_batch_size", "num_train_epochs"),
    "axolotl": ("base_model", "sequence_len", "sample_packing", "micro_batch_size", "datasets", "adapter", "lora_r",
                "val_set_size", "num_epochs", "load_in_4bit", "pretraining_dataset", "rl"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Migrated:
    """`recipe`: plain data for a recipe; None where the method is not there. `draft` keeps what it was made from."""

    tool: Tool
    recipe: dict[str, Any] | None
    notes: tuple[Note, ...]
    draft: Draft

    def count(self, outcome: str) -> int:
        """How many lines came to this."""
        return sum(note.outcome == outcome for note in self.notes)


def which_tool(values: dict[str, Any], name: str) -> Tool:
    """Whose file it is, from its keys. Errors: BadInput if it looks like neither's, or like both."""
    found = {tool: sum(key in values for key in marks) for tool, marks in _MARKS.items()}
    best = max(found, key=lambda tool: found[tool])
    if found[best] == 0 or len(set(found.values())) == 1:
        raise BadInput(
            "whose configuration this is cannot be told from its keys",
            where=name,
            found=", ".join(list(values)[:8]) or "no key",
            allowed="keys of LLaMA-Factory (model_name_or_path, stage ...) or Axolotl (base_model, sequence_len ...)",
            next_step="say whose it is with --from",
        )
    return best


def migrate(path: Path, targets: Targets, *, tool: Tool | None = None, devices: int = 1) -> Migrated:
    """Read a file and work out the recipe. Errors: BadInput for what is no YAML or nobody's; Unavailable."""
    values, places = read_plain(path)
    if not isinstance(values, dict):
        raise BadInput("this file holds no settings", where=str(path), allowed="key: value")
    whose = tool or which_tool(values, str(path))
    draft = Draft(whose, Given(values, places), targets)
    if whose == "llamafactory":
        factory_datasets(draft, path)
        read_factory(draft, devices, path.parent)
    else:
        axolotl_datasets(draft, path)
        read_axolotl(draft, devices, path.parent)
    return Migrated(whose, None if draft.method is None else _recipe(draft, path), _in_order(draft), draft)


def _in_order(draft: Draft) -> tuple[Note, ...]:
    return tuple(sorted(draft.notes, key=lambda note: (note.line or 10**9, note.key)))


def _recipe(draft: Draft, path: Path) -> dict[str, Any]:
    settings = dict(draft.settings)
    if draft.adapter.get("kind", "none") != "none" or "last_layers" in draft.adapter:
        settings["adapter"] = draft.adapter
    if draft.adapter.get("init") == "pissa" and settings.get("precision") == "bfloat16":
        settings["precision"] = "bfloat16_mixed"
        key = "pissa_init" if draft.tool == "llamafactory" else "peft_init_lora_weights"
        text = "taking the main part out of bfloat16 weights would round them; they stay in float32"
        draft.note(key, "changed", text, to="precision: bfloat16_mixed")
    share = draft.validation_share
    if share is None:
        share = 0.05
        key = "val_size" if draft.tool == "llamafactory" else "val_set_size"
        text = "theirs trains on every row; here 5 % are set aside, because a model is examined before it is promoted"
        draft.note(key, "added", text, to="validation_share: 0.05")
    recipe: dict[str, Any] = {
        "name": slug(path.stem, 64),
        "base": draft.base,
        "seed": draft.seed,
        "sources": _sources(draft, path),
        "validation_share": share,
        "train": [{"method": draft.method, "settings": settings}],
        **_examination(draft),
    }
    if draft.parallel:
        recipe["parallel"] = draft.parallel
    if draft.trackers:
        recipe["trackers"] = draft.trackers
    return recipe


def _sources(draft: Draft, path: Path) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = []
    for one in draft.datasets:
        name = slug(one.name, 60)
        while any(name == other["name"] for other in sources):
            name += "-2"
        sources.append({"name": name, "file": str(one.file), **({"format": one.format} if one.format else {})})
    if not sources:
        sources.append({"name": "mine", "file": str(path.parent / "data" / "mine.jsonl")})
    return sources


def _examination(draft: Draft) -> dict[str, Any]:
    text = "a recipe examines what it trains; change the evals and the bounds to what you need"
    draft.notes.append(
        Note(0, "examine", "not given", "added", text, "goldsmith show capabilities evals", "examine, promote")
    )
    evals: list[dict[str, Any]] = [{"eval": "fit_gap", "name": "fit"}]
    rules: list[dict[str, Any]] = [{"eval": "fit", "metric": "gap", "at_most": 0.5, "min_items": 1}]
    if draft.method in ("dpo", "simpo", "orpo"):
        evals.append({"eval": "preference_accuracy", "name": "preferences"})
        rules.append({"eval": "preferences", "metric": "accuracy", "at_least": 0.5, "min_items": 1})
    return {"examine": evals, "promote": {"rules": rules}}


def as_text(made: Migrated, path: Path, folder: Path) -> str:
    """The recipe as YAML, its files named as seen from `folder`; at its top what has another meaning than in theirs."""
    assert made.recipe is not None
    recipe = dict(made.recipe)
    recipe["sources"] = [{**one, "file": os.path.relpath(one["file"], folder)} for one in recipe["sources"]]
    lines = [f"# From {path.name} ({TITLES[made.tool]}), by goldsmith import-recipe."]
    told = [note for note in made.notes if note.outcome in ("changed", "unsupported", "unknown")]
    for note in told:
        where = f"line {note.line}" if note.line else "default"
        lines.append(f"#   {where}, {_plain(note.key)}: {note.outcome}: {_plain(note.text)}")
    return "\n".join(lines) + "\n" + dump_yaml(recipe)


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)
