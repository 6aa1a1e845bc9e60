"""A model by folder or hub id -> whether it can be trained, merged and served here."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from goldsmith.engines import model_files
from goldsmith.types.errors import BadInput

if TYPE_CHECKING:
    from goldsmith.engines.verifying import Result


def verify_model(model: str, *, device: str = "cpu") -> Iterator["Result"]:
    """Each test's result. Errors: Unavailable where there is no such model; BadInput for an adapter."""
    from goldsmith.engines import verifying

    folder: Path = model_files.locate_base(model)
    if (folder / "adapter_config.json").is_file():
        raise BadInput(
            "this is an adapter, not a whole model",
            where=str(folder),
            next_step="verify its base; goldsmith export merged compares the adapter with what it merges to",
        )
    return verifying.verify_model(folder, device=device)
