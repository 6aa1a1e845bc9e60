"""Weights read shard by shard are those of a base that is loaded whole, to the last bit, and less is held meanwhile."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from goldsmith_test_processes import LORA, job, same, tensors, together
from safetensors.torch import load_file, save_file

from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.driver import run_training
from goldsmith.engines.training.model import policy as policies
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import open_policy
from goldsmith.engines.training.model.unread import MustBeWhole, Unread, open_unread
from goldsmith.engines.training.opening import Opened
from goldsmith.engines.training.scale import parallel
from goldsmith.engines.training.scale.sharding import local
from goldsmith.methods.reward_model import RewardModel
from goldsmith.methods.sft import Sft

PARTS = 3
QUICK = ("llama", "qwen3", "gemma3", "mixtral", "qwen3_moe")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked child may not use a parent's thread pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def saved(families: ModuleType, name: str, folder: Path) -> Path:
    """A family's model; Qwen3 with its head tied to the embeddings, as its small models are."""
    base: Path = families.save(name, folder, **({"tie_word_embeddings": True} if name == "qwen3" else {}))
    return base


def bounds(rows: int, part: int, parts: int) -> tuple[int, int]:
    """As `fully_shard` cuts."""
    each = -(-rows // parts)
    return min(part * each, rows), min((part + 1) * each, rows)


def alike(base: Path, dtype: str, ends_in: Any) -> Unread:
    """One base, whole and unread: names, dtypes, bits of weights and buffers, and the random numbers drawn."""
    torch.manual_seed(7)
    whole = load_model(base, dtype=dtype, ends_in=ends_in)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    model, unread = open_unread(str(base), getattr(torch, dtype), ends_in, Sft())
    assert torch.equal(torch.rand(1), drawn)
    buffers = dict(model.named_buffers())
    assert list(buffers) == [name for name, _ in whole.named_buffers()]
    for name, buffer in whole.named_buffers():
        assert buffers[name].dtype == buffer.dtype
        assert torch.equal(buffers[name], buffer), name
    mine = dict(model.named_parameters())
    assert list(mine) == [name for name, _ in whole.named_parameters()], "also which weights are tied"
    for name, weight in whole.named_parameters():
        found = mine[name]
        assert (found.shape, found.dtype, found.device) == (weight.shape, weight.dtype, weight.device)
        if name in unread:
            assert found.untyped_storage().nbytes() == found.element_size(), "a stand-in takes no memory"
            cuts = [bounds(len(weight), part, PARTS) for part in range(PARTS)]
            found = torch.cat([unread.rows(name, found, start, stop) for start, stop in cuts])
        assert torch.equal(found, weight), name
    return unread


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_are_the_whole_models(families: ModuleType, name: str, dtype: str, tmp_path: Path) -> None:
    unread = alike(saved(families, name, tmp_path / "base"), dtype, "words")
    converted = [source for source in unread.sources.values() if source.converter is not None]
    assert bool(converted) == (name in ("mixtral", "qwen3_moe"))
    assert all(source.stacks for source in converted), "of experts only those of the shard are read"


@pytest.mark.slow
def test_rows_of_every_architecture(families: ModuleType, family: str, tmp_path: Path) -> None:
    alike(families.save(family, tmp_path / "base"), "bfloat16", "words")


def test_a_new_head_is_drawn_as_ever_and_a_stored_one_read(families: ModuleType, tmp_path: Path) -> None:
    base = families.save("llama", tmp_path / "base")
    assert "score.weight" not in alike(base, "float32", "number")
    load_model(base, ends_in="number").save_pretrained(tmp_path / "reward")
    assert "score.weight" in alike(tmp_path / "reward", "float32", "number")


def test_weights_in_several_files_and_in_half_precision(families: ModuleType, tmp_path: Path) -> None:
    base = saved(families, "qwen3", tmp_path / "base")
    model = load_model(base, dtype="bfloat16")
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="20KB")
    unread = alike(base, "float32", "words")
    assert len(set(unread.files.values())) > 2


# ---- where it cannot be ------------------------------------------------------------------------------------------


def _reason(base: Path, **settings: Any) -> str:
    with pytest.raises(MustBeWhole) as caught:
        open_unread(str(base), torch.float32, "words", Sft(**settings))
    return str(caught.value)


def test_what_must_be_whole_says_why(families: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = saved(families, "qwen3", tmp_path / "base")
    assert "mean of all rows" in _reason(base, new_tokens=["<unit>"])
    assert "norms of whole weights" in _reason(base, adapter={**LORA, "dora": True})
    run_training(job(base, tmp_path / "tuned", Sft(max_steps=1, batch_size=4, adapter=LORA)))
    assert "is an adapter" in _reason(tmp_path / "tuned/out")
    weights = load_file(str(base / "model.safetensors"))
    twice = weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}
    save_file(twice, str(base / "model.safetensors"), {"format": "pt"})
    assert "tied weights twice" in _reason(base)
    config = (base / "config.json").read_text()
    (base / "config.json").write_text(config.replace("{", '{"quantization_config": {"quant_method": "fp8"},', 1))
    assert "quantization_config" in _reason(base)
    (base / "config.json").write_text(config)
    (base / "model.safetensors").rename(base / "weights.safetensors")
    assert "no model.safetensors" in _reason(base)
    monkeypatch.setitem(sys.modules, "transformers.core_model_loading", None)
    (base / "weights.safetensors").rename(base / "model.safetensors")
    assert "this version of transformers" in _reason(base)


def test_a_base_that_must_be_whole_trains_the_same_and_says_so_once(tiny_base: Path, tmp_path: Path) -> None:
    method = Sft(batch_size=4, max_steps=3, learning_rate=1e-3, adapter={**LORA, "dora": True})
    run_training(job(tiny_base, tmp_path / "one", method))
    training = job(tiny_base, tmp_path / "two", method, shard="full")

    def work() -> Any:
        said: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("goldsmith.training").addHandler(handler)
        return run_training(training).facts["weights_read"], said

    (read, said), (also, silent) = together(2, tmp_path / "meet", work)
    assert read == also == "whole: adapter.dora starts at the norms of whole weights"
    assert [line for line in said if "whole base into main memory" in line] == said != []
    assert not silent
    same(tmp_path / "one", tmp_path / "two")


# ---- in several processes ----------------------------------------------------------------------------------------


def _compared(base: Path, folder: Path, method: Any) -> Any:
    """In a process: its shards against the same rows of a whole policy; how many weights, and what was said."""
    run = Opened(job(base, folder, method, shard="full"))
    whole = open_policy(str(base), open_chat(str(base)), method, seed=3)
    expected, found = dict(whole.model.named_parameters()), dict(run.policy.model.named_parameters())
    assert list(expected) == list(found)
    for name, weight in expected.items():
        start, stop = bounds(len(weight), parallel.here().rank, parallel.here().size)
        mine = local(found[name].detach())
        assert mine.dtype == weight.dtype
        assert found[name].requires_grad == weight.requires_grad
        assert torch.equal(mine, weight[start:stop]), name
    buffers = dict(run.policy.model.named_buffers())
    assert all(torch.equal(buffers[name], buffer) for name, buffer in whole.model.named_buffers())
    return run.facts["weights_read"], len(expected), int(run.facts["weights"])


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("llama", Sft(batch_size=4, max_steps=2, adapter=LORA)),
        ("qwen3", Sft(batch_size=4, max_steps=2)),
        ("gemma3", Sft(batch_size=4, max_steps=2, adapter=LORA, precision="bfloat16")),
        ("mixtral", Sft(batch_size=4, max_steps=2)),
        ("qwen3_moe", Sft(batch_size=4, max_steps=2, adapter=LORA)),
        ("llama", RewardModel(batch_size=4, max_steps=2, adapter=LORA)),
    ],
    ids=["llama-lora", "qwen3-tied", "gemma3-half", "mixtral", "qwen3_moe-lora", "reward-lora"],
)
@pytest.mark.parametrize("size", [2, 3])
def test_every_process_holds_the_same_rows_as_ever(
    families: ModuleType, name: str, method: Any, size: int, tmp_path: Path
) -> None:
    base = saved(families, name, tmp_path / "base")
    found = together(size, tmp_path / "meet", lambda: _compared(base, tmp_path / "run", method))
    assert all(isinstance(one, tuple) for one in found), found
    assert {one[0] for one in found} == {"in shards"}
    assert len(set(found)) == 1


def test_a_reward_model_goes_on_from_a_stored_head(families: ModuleType, tmp_path: Path) -> None:
    """Of an adapter's own copy of the head as well as of the base's."""
    base = families.save("llama", tmp_path / "base")
    method = RewardModel(batch_size=4, max_steps=2, learning_rate=1e-3)
    run_training(job(base, tmp_path / "first", method))
    stored = tmp_path / "first/out"
    more = RewardModel(batch_size=4, max_steps=2, learning_rate=1e-3, adapter=LORA)
    run_training(job(stored, tmp_path / "one", more))
    found = together(
        2, tmp_path / "meet", lambda: run_training(job(stored, tmp_path / "two", more, shard="full")).facts
    )
    assert found[0]["weights_read"] == "in shards", found
    same(tmp_path / "one", tmp_path / "two")


def test_what_is_written_holds_what_was_not_trained_too(tiny_base: Path, tmp_path: Path) -> None:
    """The last layer alone learns; the others, which the writer reads only at the end, are the base's bits."""
    method = Sft(batch_size=4, max_steps=2, learning_rate=1e-3, adapter={"kind": "none", "last_layers": 1})
    found = together(2, tmp_path / "meet", lambda: run_training(job(tiny_base, tmp_path, method, shard="full")).facts)
    assert found[0]["weights_read"] == "in shards", found
    before, after = load_file(str(tiny_base / "model.safetensors")), tensors(tmp_path)
    assert before.keys() == after.keys()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed
    assert all(".layers.1." in name for name in changed)


def test_a_number_that_is_not_finite_stops_every_process(families: ModuleType, tmp_path: Path) -> None:
    base = families.save("llama", tmp_path / "base")
    weights = load_file(str(base / "model.safetensors"))
    weights["model.layers.1.mlp.up_proj.weight"][-1, 5] = float("nan")  # in the second process's rows
    save_file(weights, str(base / "model.safetensors"), {"format": "pt"})
    method = Sft(batch_size=4, max_steps=2)
    first, second = together(2, tmp_path / "meet", lambda: run_training(job(base, tmp_path, method, shard="full")))
    assert (first["error"], second["error"]) == ("Elsewhere", "Diverged")
    assert "layers.1.mlp.up_proj" in second["found"]


def test_a_file_that_is_cut_off_after_the_start_is_told(
    families: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = families.save("llama", tmp_path / "base")
    rows = Unread.rows

    def cut(self: Unread, *args: Any) -> torch.Tensor:
        if parallel.here().rank == 1:
            path = base / "model.safetensors"
            path.with_name("half").write_bytes(path.read_bytes()[:3000])
            self.files = dict.fromkeys(self.files, path.with_name("half"))
        return rows(self, *args)

    monkeypatch.setattr(Unread, "rows", cut)
    method = Sft(batch_size=4, max_steps=2)
    first, second = together(2, tmp_path / "meet", lambda: run_training(job(base, tmp_path, method, shard="full")))
    assert (first["error"], second["error"]) == ("Elsewhere", "Unavailable")
    assert "a weight file of the base model is damaged" in second["what"]


# ---- memory ------------------------------------------------------------------------------------------------------


def _status(field: str) -> int:
    """A field of /proc/self/status, bytes."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux says what a process has held")
def test_a_process_holds_little_more_than_its_shard(tmp_path: Path, tiny_base: Path) -> None:
    """Of a base of 132 MiB: the most that a process holds above where it started, until its shards are there."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(tiny_base)
    changes = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 10, "head_dim": 64}
    config.update({**changes, "num_attention_heads": 8, "num_key_value_heads": 8})
    model = AutoModelForCausalLM.from_config(config)
    size = sum(p.numel() for p in model.parameters()) * 4
    model.save_pretrained(tmp_path / "base")
    del model
    for file in tiny_base.iterdir():
        if not (tmp_path / "base" / file.name).exists():
            (tmp_path / "base" / file.name).write_bytes(file.read_bytes())
    method = Sft(batch_size=4, max_steps=2)

    def work(in_parts: bool) -> Any:
        if not in_parts:

            def refuse(*_: Any) -> Any:
                raise MustBeWhole("to compare")

            policies.open_unread = refuse
        Opened(job(tiny_base, tmp_path / "warm", method, shard="full"))  # what is imported late is there now
        cut, most = Opened._cut, []

        def measured(self: Opened) -> None:
            cut(self)
            most.append(_status("VmHWM") - before)

        Opened._cut = measured  # type: ignore[method-assign]
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        run = Opened(job(tmp_path / "base", tmp_path / "run", method, shard="full"))
        return most[0] / size, run.facts["weights_read"]

    parts = together(2, tmp_path / "meet", lambda: work(True))
    whole = together(2, tmp_path / "meet2", lambda: work(False))
    assert [read for _, read in parts] == ["in shards"] * 2
    assert all(peak < 0.7 for peak, _ in parts), parts
    assert all(peak > 1.2 for peak, _ in whole), whole
