"""A model, by folder or by its name in a workspace -> a folder or file for other people's tools, compared with it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from goldsmith.engines import model_files
from goldsmith.engines.evidence import find_model
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput

if TYPE_CHECKING:
    from goldsmith.engines.exporting.gguf_file import Kind, Written
    from goldsmith.engines.exporting.merged import Merged


def locate(ws: Workspace | None, subject: str, base: str | None = None) -> tuple[Path, Path | None]:
    """(model folder, adapter folder or None) of a folder, a hub id, or a model of the workspace.

    Errors: BadInput if it is none of them, or an adapter that does not say what it belongs to.
    """
    folder = Path(subject).expanduser()
    if folder.is_dir():
        return _of_folder(folder, base)
    if ws is not None:
        return model_files.answerer_paths(ws, find_model(ws, subject)[0])
    return model_files.locate_base(subject), None


def _of_folder(folder: Path, base: str | None) -> tuple[Path, Path | None]:
    if not (folder / "adapter_config.json").is_file():
        return folder, None
    from goldsmith.engines.sampling.loading import base_of

    named = base or base_of(folder)
    if named.startswith("sha256:"):
        raise BadInput(
            "this adapter was trained in a workspace and names its base by digest",
            where=str(folder),
            found=named,
            next_step="name the base with --base, or export the model by its name in the workspace",
        )
    return model_files.locate_base(named), folder


def merged(
    model: Path, adapter: Path | None, out: Path, *, dtype: Literal["float32", "bfloat16", "float16"], device: str
) -> "Merged":
    """The whole model that an adapter and its base make (see `engines.exporting.merged`).

    Errors: BadInput where there is no adapter; GateRefused where the merge computes something else.
    """
    from goldsmith.engines.exporting.merged import export_merged

    if adapter is None:
        raise BadInput(
            "this is a whole model already, so there is nothing to merge",
            where=str(model),
            next_step="plain transformers loads the folder as it is; goldsmith export gguf takes it too",
        )
    return export_merged(adapter, out, base=model, dtype=dtype, device=device)


def gguf(
    model: Path, adapter: Path | None, out: Path, *, kind: "Kind", name: str = "", split: str | None = None
) -> "Written":
    """One file for llama.cpp (see `engines.exporting.gguf_file`); an adapter is merged first.

    Errors: BadInput for an architecture or tokenizer that is not written; GateRefused where the file came out wrong.
    """
    from goldsmith.engines.exporting.gguf_file import export_gguf, require_package

    require_package()
    if adapter is None:
        return export_gguf(model, out, kind=kind, name=name, split=split)
    with tempfile.TemporaryDirectory() as place:
        whole = merged(model, adapter, Path(place) / "merged", dtype="float32", device="cpu").folder
        return export_gguf(whole, out, kind=kind, name=name or adapter.name, split=split)
