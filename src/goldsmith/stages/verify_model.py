"""A model by folder, hub id or name in a workspace -> whether it can be trained, merged and served here."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from goldsmith.engines import model_files
from goldsmith.engines.evidence import find_model
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from goldsmith.engines.verifying import Result


def verify_model(model: str, *, ws: Workspace | None = None, device: str = "cpu") -> Iterator["Result"]:
    """Each test's result. `ws`: where a model that is neither here nor the built-in one is looked for first, by name or
    digest; an adapter of it is merged with its base, for the tests alone.

    Errors: Unavailable where there is no such model, with the workspace's own models; BadInput for an adapter's folder;
    Tampered.
    """
    with tempfile.TemporaryDirectory() as place:
        yield from _verified(_located(model, ws, Path(place)), device)


def _located(model: str, ws: Workspace | None, place: Path) -> Path:
    if ws is None or model_files.is_here(model):
        return model_files.locate_base(model)
    try:
        digest, _ = find_model(ws, model)
    except BadInput as in_workspace:
        try:
            return model_files.locate_base(model)
        except Unavailable as nowhere:
            nowhere.allowed = f"{nowhere.allowed}; of the workspace {in_workspace.where}, {in_workspace.allowed}"
            raise nowhere from in_workspace
    folder, adapter = model_files.answerer_paths(ws, digest)
    if adapter is None:
        return folder
    from goldsmith.engines.training.model.saving import merge

    return merge(adapter, place / "merged", base=folder)


def _verified(folder: Path, device: str) -> Iterator["Result"]:
    from goldsmith.engines import verifying

    if (folder / "adapter_config.json").is_file():
        raise BadInput(
            "this is an adapter, not a whole model",
            where=str(folder),
            next_step="verify its base; goldsmith export merged compares the adapter with what it merges to",
        )
    yield from verifying.verify_model(folder, device=device)
