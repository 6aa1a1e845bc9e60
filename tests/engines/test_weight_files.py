"""A model folder's weights are its own files, all there and no others, before anybody reads one of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goldsmith import pipeline
from goldsmith.engines import model_files
from goldsmith.engines.sampling import loading as sampling
from goldsmith.engines.training.model.loading import base_digest, load_model
from goldsmith.engines.training.model.unread import open_unread
from goldsmith.methods.sft import Sft
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput

INDEX = "model.safetensors.index.json"


def unread(folder: Path) -> Any:
    import torch

    return open_unread(str(folder), torch.float32, "words", Sft())


READERS: dict[str, Callable[[Path], Any]] = {
    "digest": base_digest,
    "training": load_model,
    "shards": unread,
    "sampler": sampling.load,
    "workspace": lambda folder: model_files.locate_base(str(folder)),
}


@pytest.fixture
def base(tiny: Any, tmp_path: Path) -> Path:
    """A model in two shards, beside a whole one that is somebody else's."""
    folder = tmp_path / "base"
    model = tiny.model()
    model.save_pretrained(folder, max_shard_size="60KB")
    tiny.tokenizer().save_pretrained(folder)
    assert len(list(folder.glob("model-0*.safetensors"))) >= 2
    (folder / "sub").mkdir()
    model.save_pretrained(tmp_path / "private")
    for place in (tmp_path, folder / "sub"):
        shutil.copy(tmp_path / "private" / "model.safetensors", place / "other.safetensors")
    shutil.copy(tmp_path / "private" / "model.safetensors", folder / "other.bin")
    return folder


def redirect(folder: Path, target: str) -> str:
    """Let one weight's entry name another file."""
    document = json.loads((folder / INDEX).read_text("utf-8"))
    document["weight_map"]["model.norm.weight"] = target
    (folder / INDEX).write_text(json.dumps(document), encoding="utf-8")
    return target


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("target", ["../other.safetensors", "ABSOLUTE", "sub/other.safetensors", "other.bin", ".."])
def test_an_index_that_names_a_file_outside_the_folder_is_refused(base: Path, tmp_path: Path, target: str, reader: str):
    READERS[reader](base)
    named = redirect(base, str(tmp_path / "other.safetensors") if target == "ABSOLUTE" else target)
    with pytest.raises(BadInput, match="not one of the model's own weight files") as error:
        READERS[reader](base)
    assert INDEX in str(error.value.where)
    assert named[-20:] in str(error.value.found)
    assert "beside the index" in str(error.value.allowed)
    assert error.value.next_step


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", ["{broken", "[]", '{"weight_map": ["a"]}', '{"weight_map": {"a": {}}}', "{}"])
def test_an_index_that_is_none_is_told(base: Path, content: str, reader: str):
    (base / INDEX).write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match="this shard index is not one") as error:
        READERS[reader](base)
    assert INDEX in str(error.value.where)
    assert "weight_map" in str(error.value.allowed)


@pytest.mark.parametrize("reader", READERS)
def test_a_shard_that_is_not_there_is_told_by_name(base: Path, reader: str):
    gone = sorted(base.glob("model-0*.safetensors"))[-1]
    gone.unlink()
    with pytest.raises(BadInput, match="weight files that the shard index names are not there") as error:
        READERS[reader](base)
    assert gone.name in str(error.value.found)
    assert "download the model again" in str(error.value.next_step)


def test_what_another_reader_would_follow_is_refused_beside_whole_weights_too(base: Path, tmp_path: Path):
    shutil.copy(tmp_path / "private" / "model.safetensors", base)
    before = base_digest(base)
    (base / INDEX).write_text("{broken", encoding="utf-8")  # nobody reads it
    assert base_digest(base) == before
    (base / INDEX).write_text(json.dumps({"weight_map": {"a": "/etc/passwd"}}), encoding="utf-8")
    with pytest.raises(BadInput, match="not one of the model's own weight files"):
        base_digest(base)


@pytest.mark.parametrize("named", ["../other.safetensors", "sub/other.safetensors", "other.bin", 3])
def test_a_config_that_asks_for_weights_elsewhere_is_refused(base: Path, named: Any):
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"transformers_weights": named}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"config\.json asks for weights") as error:
        base_digest(base)
    assert "transformers_weights" in str(error.value.where)


def test_the_hubs_cache_of_links_is_read_as_the_folder_it_stands_for(base: Path, tmp_path: Path):
    shutil.rmtree(base / "sub")
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(base.iterdir())):
        shutil.copy(file, blobs / f"{number:064x}")
        (snapshot / file.name).symlink_to(Path("../../blobs") / f"{number:064x}")
    assert base_digest(snapshot) == base_digest(base)
    for read in READERS.values():
        read(snapshot)


def test_a_run_refuses_it_before_it_reads_a_source(base: Path, tmp_path: Path):
    redirect(base, "../other.safetensors")
    (tmp_path / "recipe.yaml").write_text(
        f"name: parcels\nbase: {base}\nsources: [{{name: anna, file: absent.jsonl}}]\ntrain: [{{method: sft}}]\n"
        "examine: [{eval: fit_gap, name: fit}]\npromote: {rules: [{eval: fit, metric: gap, at_most: 9.0}]}\n",
        encoding="utf-8",
    )
    ws = Workspace.create(tmp_path / "ws")
    with pytest.raises(BadInput, match="not one of the model's own weight files"):
        pipeline.run(ws, pipeline.read_recipe(tmp_path / "recipe.yaml")[0], tmp_path)
