"""Models as files in the store: taking a folder in, and laying it out again, every byte checked on the way."""

import os
import shutil
from pathlib import Path

from goldsmith import nano
from goldsmith.engines.reward_form import form_of, not_a_writer
from goldsmith.engines.weight_files import require_own_weights
from goldsmith.trust import canonical, durable
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Tampered, Unavailable
from goldsmith.types.lineage import Model, WeightFile

BUILT_IN = "goldsmith-nano"
KEPT = (".json", ".safetensors", ".jinja", ".model", ".txt", ".tiktoken")
"""What belongs to a model; pickles and code are never taken in."""
STORED_BYTES_AT_MOST = 2 * 1024**3
"""Larger base models stay where they are; their digests are stored and checked before every use."""


def locate_base(base: str) -> Path:
    """The folder of a base model: the built-in one, a folder, or a hub id through the hub's own cache.

    Errors: Unavailable if it is neither here nor can be fetched. BadInput if the folder is no model, holds pickled
    weights only, or sends a reader of its weights elsewhere.
    """
    if base == BUILT_IN:
        return nano.model_path()
    folder = Path(base).expanduser()
    if not folder.is_dir():
        folder = _from_hub(base)
    _kept(folder)
    return folder


def is_here(base: str) -> bool:
    """Whether a base is the built-in one or a folder of this machine."""
    return base == BUILT_IN or Path(base).expanduser().is_dir()


def _from_hub(base: str) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(base, allow_patterns=[f"*{suffix}" for suffix in KEPT]))
    except Exception as error:  # the hub's client raises a dozen unrelated types
        raise Unavailable(
            "the base model is neither a folder here nor could it be fetched from the hub",
            found=f"{base!r} ({type(error).__name__})",
            allowed=f"{BUILT_IN}, a folder with config.json and safetensors, or a hub id",
            next_step="check the spelling, or download it first and give its folder",
        ) from error


def take_in(
    ws: Workspace,
    folder: Path,
    *,
    name: str,
    form: str,
    base: Digest | None,
    run: Digest | None,
    keep: bool = True,
) -> tuple[Model, Path]:
    """Store a model folder's files and say what they are. With `keep=False` only their digests are taken.

    Errors: BadInput if the folder is no model or holds pickled weights only.
    """
    paths = _kept(folder)
    put = ws.store.put_file if keep else canonical.file_digest
    files = tuple(WeightFile(path=p.name, digest=put(p), size=p.stat().st_size) for p in paths)
    by_name = {one.path: one.digest for one in files}
    tokenizer = by_name.get("tokenizer.json") or by_name.get("tokenizer.model")
    if tokenizer is None:
        raise BadInput("this model folder has no tokenizer", where=str(folder), allowed="tokenizer.json")
    template = by_name.get("chat_template.jinja") or by_name.get("tokenizer_config.json") or tokenizer
    model = Model.model_validate(
        {
            "name": name,
            "files": files,
            "form": form,
            "base": base,
            "tokenizer": tokenizer,
            "chat_template": template,
            "run": run,
        }
    )
    return model, folder


def _kept(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in KEPT)
    if not any(p.suffix == ".safetensors" for p in paths):
        raise BadInput(
            "this folder holds no safetensors weights",
            where=str(folder),
            found=", ".join(sorted(p.name for p in folder.iterdir()))[:200] or "nothing",
            allowed="config.json, *.safetensors, a tokenizer and a chat template",
            next_step="convert pickled weights (*.bin, *.pt) to safetensors first; Goldsmith never unpickles",
        )
    require_own_weights(folder)
    return paths


def total_bytes(folder: Path) -> int:
    """Size of what would be taken in."""
    return sum(p.stat().st_size for p in folder.iterdir() if p.is_file() and p.suffix in KEPT)


def lay_out(ws: Workspace, digest: Digest) -> Path:
    """The model's files in a folder under `scratch/models`, each checked against its digest now.

    Errors: Tampered naming the file; Unavailable if an external base model's folder is gone, or on a full disk.
    """
    model = ws.store.get_artifact(digest, Model)
    folder = ws.scratch / "models" / digest[7:23]
    with durable.storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    external = _external_folder(ws, digest)
    for one in model.files:
        target = folder / one.path
        if target.is_file() and target.stat().st_size == one.size and canonical.file_digest(target) == one.digest:
            continue
        if external is not None:
            _check_external(external / one.path, one)
            target.unlink(missing_ok=True)
            target.symlink_to((external / one.path).resolve())
            continue
        _copy(ws.store.path(one.digest), target)
    return folder


def require_writer(ws: Workspace, digest: Digest) -> None:
    """Errors: BadInput for a reward model, which answers nobody."""
    model = ws.store.get_artifact(digest, Model)
    stored = {one.path: ws.store.path(one.digest) for one in model.files}

    def read(name: str) -> bytes | None:
        path = stored.get(name)
        return path.read_bytes() if path is not None and path.is_file() else None

    form = form_of(read)
    if form is not None:
        raise not_a_writer(f"{model.name}, {digest}", form)


def _copy(source: Path, target: Path) -> None:
    """Errors: Unavailable on a full disk, with nothing left at `target`."""
    partial = target.with_name(target.name + ".partial")
    with durable.storage_errors(target):
        try:
            shutil.copyfile(source, partial)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def _external_folder(ws: Workspace, digest: Digest) -> Path | None:
    for statement in ws.about(digest, "model"):
        if statement.predicate.get("weights") == "external":
            return Path(str(statement.predicate["folder"]))
    return None


def _check_external(path: Path, expected: WeightFile) -> None:
    if not path.is_file():
        raise Unavailable(
            "a base model's file is gone",
            where=str(path),
            next_step="put the model back, or take a new one in",
        )
    found = canonical.file_digest(path)
    if found != expected.digest:
        raise Tampered(
            "a base model's file has changed since it was taken in",
            where=str(path),
            found=found,
            allowed=expected.digest,
        )


def answerer_paths(ws: Workspace, digest: Digest) -> tuple[Path, Path | None]:
    """(model folder, adapter folder or None): what a sampler needs to run the model, laid out and checked.

    An adapter on an adapter is not served as a stack: training merges its base first, so the base of an
    adapter is always a whole model.
    """
    model = ws.store.get_artifact(digest, Model)
    if model.form == "full":
        return lay_out(ws, digest), None
    if model.base is None:
        raise Tampered("an adapter without a base model", found=digest)
    return lay_out(ws, model.base), lay_out(ws, digest)
