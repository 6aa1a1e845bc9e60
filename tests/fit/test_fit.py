"""`goldsmith fit`: its counts against published figures, its bytes against those of a real update."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

from goldsmith.cli.fit import command
from goldsmith.engines.fit import remembered, writing
from goldsmith.engines.fit import simulate as simulation
from goldsmith.engines.fit.estimate import Sharing, as_dict, memory_of
from goldsmith.engines.fit.hardware import GPUS, Machine, known_gpu
from goldsmith.engines.fit.known import KNOWN
from goldsmith.engines.fit.ledger import Ledger
from goldsmith.engines.fit.simulate import (
    Counts,
    Simulated,
    answered,
    count,
    heaviest,
    meta_model,
    simulate,
    stated_rows,
)
from goldsmith.engines.fit.work import memory_for, reads_of, simulated, stated_work
from goldsmith.engines.fit.writing import sampling_bytes
from goldsmith.engines.training.attention import flat
from goldsmith.engines.training.model.adapters import put_adapter
from goldsmith.engines.training.model.policy import Policy
from goldsmith.stages import fit, fit_remedies
from goldsmith.stages.fit import build, config_of
from goldsmith.stages.fit_remedies import remedies
from goldsmith.types.errors import BadInput, Unavailable

SMALL = LlamaConfig(vocab_size=512, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=2, tie_word_embeddings=True)  # fmt: skip
LORA = {"adapter": {"kind": "lora", "rank": 4}}
GOLDSMITH = [sys.executable, "-m", "goldsmith.cli.main"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "goldsmith" / "fit"


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_each_known_model_has_the_parameters_its_page_states(model: Any):
    document = dict(model.config)
    counts = count(meta_model(AutoConfig.for_model(document.pop("model_type"), **document), build("sft", {})))
    assert counts.parameters == model.parameters
    assert counts.active == model.parameters


def test_of_a_mixture_of_experts_only_those_used_count_as_active():
    config = AutoConfig.for_model(
        "qwen3_moe", hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        moe_intermediate_size=32, num_experts=8, num_experts_per_tok=2, vocab_size=128, tie_word_embeddings=True,
    )  # fmt: skip
    counts = count(meta_model(config, build("sft", {})))
    experts = 2 * 8 * 3 * 64 * 32
    assert counts.parameters - counts.active == experts * 6 // 8


@pytest.mark.parametrize("settings", [{}, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("method", ["sft", "dpo", "reward_model"])
def test_the_simulated_bytes_are_those_of_a_real_update(method: str, settings: dict[str, Any]):
    """The same forwards on real tensors, counted by the same ledger."""
    spec = build(method, settings)
    rows = list(stated_work(method, spec, prompt=24, answer=40, rows=6).rows)
    batches = heaviest(rows, [[[0, 1, 2, 3], [4, 5]]])
    run = simulate(SMALL, spec, batches, device="cpu", reads=reads_of(method))
    config = copy.deepcopy(SMALL)
    config.num_labels = 1
    kind: Any = AutoModelForSequenceClassification if method == "reward_model" else AutoModelForCausalLM
    model = kind.from_config(config, dtype=torch.float32)
    model = put_adapter(model, spec.adapter, "base", [], spec.ends_in) if settings else model.requires_grad_(True)
    policy = Policy(model.train(), SimpleNamespace(pad_id=0), spec, "base")  # type: ignore[arg-type]
    policy.take("flat")
    moments: list[torch.Tensor] = []
    with Ledger() as ledger:
        for tensor in (*model.parameters(), *model.buffers()):
            ledger.enter(tensor)
        assert ledger.live == run.weights
        for update in range(2):
            for batch in batches:
                if method == "reward_model":
                    loss = policy.numbers(batch).sum()
                elif method == "dpo":
                    loss = policy.sequence_logprobs(batch).sum()
                else:
                    loss = policy.cross_entropy(batch, len(batch.labels_N))
                loss.backward()  # type: ignore[no-untyped-call]
                del loss
            for parameter in model.parameters() if update == 0 else ():
                if parameter.requires_grad:
                    moments += [torch.zeros_like(parameter), torch.zeros_like(parameter)]
                    parameter.grad = None
    assert sum(m.numel() * 4 for m in moments) == run.optimiser
    assert abs(run.peak / ledger.peak - 1) < 0.02


def deep(kind: str, **more: Any) -> Any:
    """A model of seven layers."""
    return AutoConfig.for_model(
        kind, vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=7, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, **more,
    )  # fmt: skip


HALF = {"precision": "bfloat16", **LORA}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


@pytest.mark.parametrize(
    ("kind", "more", "method", "settings", "device"),
    [
        ("llama", {}, "sft", {}, "cpu"),
        ("llama", {}, "sft", {"activation_checkpointing": True, **HALF}, "cpu"),
        ("llama", {}, "reward_model", {}, "cpu"),
        ("llama", {}, "sft", {"activation_checkpointing": True, "activation_offload": True}, "cuda"),
        ("qwen3", {}, "sft", {"precision": "bfloat16_mixed"}, "cpu"),
        ("qwen3", {}, "dpo", HALF, "cpu"),
        ("qwen3", {}, "sft", {"precision": "bfloat16", "adapter": {"kind": "qlora", "rank": 4}}, "cuda"),
        ("qwen3", {}, "dpo", {"precision": "bfloat16_mixed"}, "cuda"),
        ("qwen3", {}, "sft", {"adapter": {"kind": "lora", "rank": 4, "last_layers": 2}}, "cpu"),
        ("qwen3", {}, "sft", {"adapter": {"only": ["*.layers.5.*"]}}, "cpu"),
        ("qwen3_moe", EXPERTS, "sft", {}, "cpu"),
        ("qwen3_moe", EXPERTS, "sft", HALF, "cpu"),
        ("gemma3_text", {"sliding_window": 16}, "sft", LORA, "cpu"),  # one layer in six sees all
    ],
)  # fmt: skip
@pytest.mark.parametrize("forwards", [[[0, 1], [2, 3]], [[0, 1, 2], [3]]], ids=["alike", "unlike"])
def test_a_few_layers_say_what_every_layer_says(
    kind: str, more: dict[str, Any], method: str, settings: dict[str, Any], device: str, forwards: list[list[int]]
):
    spec = build(method, settings)
    rows = list(stated_work(method, spec, prompt=24, answer=40, rows=4).rows)
    asked: dict[str, Any] = {"device": device, "reads": reads_of(method)}
    config, batches = deep(kind, **more), heaviest(rows, [forwards])
    found = simulate(config, spec, batches, **asked)
    assert found == simulate(config, spec, batches, **asked, every_layer=True)
    assert found.counts.layers == 7
    assert config.num_hidden_layers == 7


def test_few_layers_are_followed_however_many_there_are(monkeypatch: pytest.MonkeyPatch):
    followed: list[int] = []
    before = simulation.follow

    def follow(model: Any, *given: Any, **named: Any) -> Any:
        followed.append(len(model.get_decoder().layers))
        return before(model, *given, **named)

    monkeypatch.setattr(simulation, "follow", follow)
    spec = build("sft", {})
    batches = heaviest(list(stated_work("sft", spec, prompt=8, answer=8, rows=2).rows), [[[0, 1]]])
    for kind, more in (("llama", {}), ("gemma3_text", {})):
        simulate(deep(kind, **more), spec, batches, device="cpu", reads="tokens")
    assert followed == [3, 4, 7]


def test_what_was_followed_is_remembered_by_all_it_follows_from(cache: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def simulate(config: Any, spec: Any, batches: Any, **named: Any) -> Simulated:
        asked.append(named["device"])
        return simulation.simulate(config, spec, batches, **named)

    monkeypatch.setattr(remembered, "simulate", simulate)
    work = stated_work("sft", build("sft", {}), prompt=24, answer=40, rows=6)
    first = simulated(SMALL, work, "cpu")
    assert simulated(SMALL, work, "cpu") == first
    assert len(asked) == 1
    other = stated_work("sft", build("sft", {}), prompt=25, answer=40, rows=6)
    half = replace(work, settings=build("sft", {"precision": "bfloat16_mixed"}))
    wider = copy.deepcopy(SMALL)
    wider.intermediate_size = 192
    assert simulated(wider, work, "cpu").weights > first.weights
    assert first not in (simulated(SMALL, work, "cuda"), simulated(SMALL, other, "cpu"), simulated(SMALL, half, "cpu"))
    assert len(asked) == 5
    files = sorted(cache.iterdir())
    assert len(files) == 5
    for text in ("", "[]", json.dumps({"counts": {}}), files[0].read_text().replace(": ", ": -", 1)):
        for file in files:
            file.write_text(text, encoding="utf-8")
        assert simulated(SMALL, work, "cpu") == first
    assert len(asked) == 9


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    work = stated_work("sft", build("sft", {}), prompt=24, answer=40, rows=6)
    assert simulated(SMALL, work, "cpu") == simulated(SMALL, work, "cpu")


def test_a_model_is_trained_as_before_after_a_run_was_followed():
    """Masks that attention keeps are not left without contents."""
    spec = build("dpo", {})
    rows = list(stated_work("dpo", spec, prompt=24, answer=40, rows=2).rows)
    (batch,) = heaviest(rows, [[[0, 1]]])

    def logprobs() -> torch.Tensor:
        torch.manual_seed(0)
        policy = Policy(AutoModelForCausalLM.from_config(SMALL).train(), SimpleNamespace(pad_id=0), spec, "base")  # type: ignore[arg-type]
        policy.take("flat")
        return policy.sequence_logprobs(batch).detach()

    flat.forget_masks()
    before = logprobs()
    flat.forget_masks()
    simulate(SMALL, spec, [batch], device="cpu", reads="answers")
    assert torch.equal(logprobs(), before)


def bytes_of(settings: dict[str, Any], device: str = "cpu") -> dict[str, int]:
    spec = build("sft", settings)
    batches = heaviest(stated_rows(64, 64, 0, 4), [[[0, 1, 2, 3]]])
    return dict(as_dict(memory_of(simulate(SMALL, spec, batches, device=device, reads="tokens"), device=device)))


def test_parts_add_up_and_settings_move_the_part_they_are_for():
    plain = bytes_of({})
    assert sum(size for part, size in plain.items() if part != "total") == plain["total"]
    assert plain["optimiser"] == 2 * plain["gradients"] == 2 * plain["weights"] - 2 * (plain["weights"] - 4 * count(
        meta_model(SMALL, build("sft", {}))).trained)  # fmt: skip
    assert bytes_of({"activation_checkpointing": True})["activations"] < plain["activations"] / 2
    adapter = bytes_of(LORA)
    assert adapter["optimiser"] < plain["optimiser"] / 4
    half = bytes_of({**LORA, "precision": "bfloat16"})
    assert half["weights"] < 0.65 * adapter["weights"]
    assert bytes_of(LORA, "cuda")["overhead"] > adapter["overhead"]


def test_only_a_config_is_needed_and_nothing_is_downloaded(tmp_path: Path):
    (tmp_path / "config.json").write_text(SMALL.to_json_string(), encoding="utf-8")
    assert config_of(str(tmp_path))[0].hidden_size == 64
    assert config_of("qwen3-8b")[0].num_hidden_layers == 36
    with pytest.raises(Unavailable, match="nothing is downloaded"):
        config_of("nobody/nothing-1B")
    (tmp_path / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(BadInput, match=r"config\.json"):
        config_of(str(tmp_path))
    with pytest.raises(BadInput, match="longer than max_length"):
        stated_work("sft", build("sft", {}), prompt=1000, answer=1000, rows=1)


def test_every_gpu_has_its_source():
    assert all(one.source and one.memory > 8 * 2**30 for one in GPUS)
    assert [one.name for one in GPUS if not one.tflops] == ["RTX 3060", "T4"]


@pytest.mark.parametrize(
    ("says", "gib", "row"),
    [
        ("NVIDIA GeForce RTX 4090", 24, "RTX 4090"), ("NVIDIA A100-SXM4-80GB", 79, "A100 80 GB"),
        ("NVIDIA A100-PCIE-40GB", 39, "A100 40 GB"), ("NVIDIA H100 80GB HBM3", 79, "H100 SXM 80 GB"),
        ("Tesla T4", 15, "T4"), ("NVIDIA A10", 22, "A10"), ("NVIDIA A10G", 22, None),
        ("NVIDIA GeForce GTX 980", 4, None),
    ],
)  # fmt: skip
def test_a_card_is_known_by_what_it_calls_itself(says: str, gib: int, row: str | None):
    found = known_gpu(says, gib * 2**30)
    assert (found.name if found else None) == row


def test_shards_divide_what_is_always_there_and_gather_a_layer():
    spec = build("sft", {})
    run = simulate(SMALL, spec, heaviest(stated_rows(64, 64, 0, 4), [[[0, 1, 2, 3]]]), device="cuda", reads="tokens")
    alone = memory_of(run, device="cuda")
    copies = memory_of(run, device="cuda", sharing=Sharing(4))
    shards = memory_of(run, device="cuda", sharing=Sharing(4, shards=True))
    assert (copies.weights, copies.optimiser) == (alone.weights, alone.optimiser)
    assert shards.weights == -(-alone.weights // 4)
    assert shards.optimiser == -(-alone.optimiser // 4)
    inside = sum(p.numel() * 4 for p in AutoModelForCausalLM.from_config(SMALL).model.layers[0].parameters())
    assert (run.layer, run.layer_gradients) == (inside, inside)
    assert shards.head - alone.head == 3 * inside + 2 * run.rest


def test_four_bits_quantise_linear_layers_and_hold_the_rest_in_float32():
    spec = build("sft", {"precision": "bfloat16", "adapter": {"kind": "qlora", "rank": 4}})
    batches = heaviest(stated_rows(64, 64, 0, 4), [[[0, 1, 2, 3]]])
    run = simulate(SMALL, spec, batches, device="cuda", reads="tokens")
    plain = AutoModelForCausalLM.from_config(SMALL)
    linear = [m.weight.numel() for n, m in plain.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]
    rest = sum(p.numel() for p in plain.parameters()) - sum(linear)
    quantised = sum(size * (0.5 + 1 / 64 + 4 / 16384) + 4 * 273 for size in linear)
    buffers = sum(b.numel() * b.element_size() for b in plain.buffers())
    assert abs(run.weights - (quantised + 4 * rest + run.counts.trained * 4 + buffers)) <= 256
    half = simulate(
        SMALL, build("sft", {**LORA, "precision": "bfloat16"}), batches, device="cuda", reads="tokens"
    )  # fmt: skip
    assert run.activations > half.activations  # hidden states are float32


def test_answers_that_are_written_count_with_their_cache_and_reference():
    settings = {"rewards": [{"reward": "length"}], "group_size": 8, "max_new_tokens": 100, "batch_size": 4}
    work = stated_work("grpo", build("grpo", settings), prompt=50, answer=999, rows=8)
    run = simulated(SMALL, work, "cpu")
    rows, members = answered(work.rows, 8, 100, 400)
    assert [len(m) for m in members] == [3] * 8  # 50 + 3 x 100 fit 400 tokens
    assert max(row.tokens for row in rows) <= 400
    memory = memory_for(SMALL, work, run, "cpu")
    assert memory.weights == 2 * run.weights  # the reference
    columns = 50 + 2000
    written = sampling_bytes(run.counts, rows=32, prompt=50, answer=2000, bytes_each=4)
    assert written > 32 * (columns * 2 * 3 * 2 * 16 * 4 + 512 * 20)
    sampler = memory_of(run, device="cpu", sampling=written)
    assert (sampler.cache, sampler.activations) == (written, 0)  # the worst moment is the sampler's
    assert sampler.total > memory_of(run, device="cpu").total
    sharded = memory_of(run, device="cpu", sampling=written, sharing=Sharing(4, shards=True))
    assert sharded.weights == -(-run.weights // 4)
    assert sharded.cache + sharded.weights >= written + run.weights, "whole while answers are written"


def playing(**more: Any) -> Any:
    """GRPO over several turns."""
    rewards = [{"reward": "length"}]
    return build("grpo", {"rewards": rewards, "group_size": 4, "max_new_tokens": 50, "batch_size": 8, **more})


EPISODES = {"turns": 4, "tools": {"kind": "recorded"}}
CARD = Machine("card", "cuda", 24 * 2**30, None, "a test")


def test_several_turns_are_counted_with_what_tools_answer_or_it_says_that_it_cannot_tell():
    def found(**more: Any) -> fit.Fit:
        work = stated_work("grpo", playing(forward_tokens=128, **more), prompt=50, answer=1, rows=16)
        return fit.fit_on(SMALL, work, [replace(MACHINE, memory=2**40)])[0]

    single, several, bounded = found(), found(**EPISODES), found(**EPISODES, episode_tokens=900)
    assert single.notes == ()
    assert single.memory.total < several.memory.total < bounded.memory.total
    assert ["cannot be told" in note for note in several.notes] == [True]
    assert ["900 tokens" in note for note in bounded.notes] == [True]


def test_answers_of_several_turns_learn_only_what_the_model_wrote_and_fit_its_context():
    assert writing.longest(playing(), 50, SMALL) == writing.Answers(50, 50, False)
    assert writing.longest(playing(**EPISODES), 50, SMALL) == writing.Answers(200, 200, True)
    assert writing.longest(playing(**EPISODES, episode_tokens=900), 50, SMALL) == writing.Answers(900, 200, False)
    assert writing.longest(playing(**EPISODES, episode_tokens=10), 50, SMALL) == writing.Answers(50, 50, False)
    end = SMALL.max_position_embeddings
    assert writing.longest(playing(**EPISODES, episode_tokens=9000), end - 80, SMALL).tokens == 80
    rows, _ = answered(stated_rows(10, 0, 0, 1), 2, 90, 0, 40)
    assert [int(node.trained.sum()) for node in rows[0].nodes] == [0, 40, 40]


def test_vllm_takes_its_share_of_the_device_whatever_it_needs():
    adapter = {"adapter": {"kind": "lora", "rank": 4}}

    def found(config: Any, machine: Machine, **more: Any) -> fit.Fit:
        work = stated_work("grpo", playing(**adapter, **more), prompt=50, answer=1, rows=16)
        return fit.fit_on(config, work, [machine])[0]

    own = found(SMALL, CARD)
    beside = found(SMALL, CARD, generate={"engine": "vllm", "memory_share": 0.5})
    assert (own.memory.writer, beside.memory.writer) == (0, 12 * 2**30)
    assert beside.memory.cache == 0
    assert ["0.5, 12.0 GiB" in note for note in beside.notes] == [True]
    share = {"generate": {"engine": "vllm", "memory_share": 0.96}}
    assert not found(SMALL, CARD, **share).fits
    little = found(config_of("qwen3-0.6b")[0], CARD, generate={"engine": "vllm", "memory_share": 0.01})
    assert ["would not start" in note for note in little.notes] == [False, True]
    assert "cannot be told" in found(SMALL, MACHINE, **share).notes[0]


MACHINE = Machine("small", "cpu", 0, None, "a test")


def test_remedies_are_the_least_that_makes_it_fit_each_worked_out_anew():
    work = stated_work("sft", build("sft", {"max_length": 2048}), prompt=512, answer=512, rows=40)
    whole = memory_for(SMALL, work, simulated(SMALL, work, "cpu"), "cpu").total
    room = replace(MACHINE, memory=int(whole * 0.75))
    found = remedies(SMALL, work, room)
    assert [one.fits for one in found] == [False] * (len(found) - 1) + [True]
    assert found[-1].total <= room.memory < whole
    assert "adapter" not in " ".join(one.change for one in found)  # what is trained stays as it is while that will do
    nothing = remedies(SMALL, work, replace(MACHINE, memory=2**20))
    assert not any(one.fits for one in nothing)


@pytest.mark.parametrize(
    ("method", "engine", "offered"), [("grpo", "builtin", True), ("grpo", "vllm", False), ("ppo", "builtin", False)]
)
def test_shards_are_offered_where_a_method_takes_them(method: str, engine: str, offered: bool):
    settings = {"rewards": [{"reward": "length"}], "generate": {"engine": engine}}
    work = stated_work(method, build(method, settings), prompt=100, answer=0, rows=8)
    found = " ".join(change.text for change in fit_remedies._heavy(work, "cuda"))
    assert ("shard: full" in found) == offered


def cheap(config: Any, work: Any, _device: str) -> Simulated:
    """In the place of following a run: bytes by the parameters that the table states."""
    dims = (config.hidden_size, config.num_hidden_layers, config.vocab_size)
    one = next(
        k for k in KNOWN if (k.config["hidden_size"], k.config["num_hidden_layers"], k.config["vocab_size"]) == dims
    )
    full = work.settings.adapter.kind == "none"
    tokens = sum(row.tokens for row in work.rows[:2])
    trained = one.parameters if full else one.parameters // 100
    counts = Counts(one.parameters, trained, one.parameters, 0, 1000, 64, 2, 2, 16)
    weights = one.parameters * (4 if full else 2)
    return Simulated(counts, weights, 4 * trained, 8 * trained, tokens * 1000, weights + 12 * trained + tokens * 2000)


@pytest.mark.parametrize("extra", [[], ["--least"], ["--prompt", "700", "--answer", "50"]])
def test_the_list_of_models_says_what_is_said_of_each_alone(monkeypatch: pytest.MonkeyPatch, extra: list[str]):
    monkeypatch.setattr(fit, "simulated", cheap)
    monkeypatch.setattr(fit_remedies, "simulated", cheap)
    monkeypatch.setattr(fit, "count", lambda _: Counts(1, 1, 1, 0, 1, 1, 1, 1, 1))
    monkeypatch.setattr(fit, "meta_model", lambda *_: None)
    machine = ["--on", "4090", "--json", *extra]
    told = json.loads(CliRunner().invoke(command, machine).output)
    assert [one["model"] for one in told["models"]] == [one.name for one in KNOWN]
    for one in told["models"]:
        for way, total in one["tune"].items():
            alone = json.loads(CliRunner().invoke(command, [one["model"], "--tune", way, *machine]).output)
            (here,) = alone["machines"]
            assert here["fits"] == (total is not None and total <= here["memory"]), (one["model"], way)
            assert total is None or here["bytes"]["total"] == total


def test_the_command_says_whether_a_recipe_fits(tmp_path: Path):
    rows = [{"messages": [{"role": "user", "content": f"Where is parcel {n}?"},
                          {"role": "assistant", "content": f"It left on day {n}."}]} for n in range(40)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: r\nsources: [{name: s, file: rows.jsonl}]\ntrain: [{method: sft}]\n"
        "examine: [{eval: fit_gap, name: fit}]\npromote: {rules: [{eval: fit, metric: gap, at_most: 1.0}]}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [*GOLDSMITH, "fit", str(recipe), "--on", "cpu", "--json"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["rows"], document["lengths"]) == (40, "measured")
    (machine,) = document["machines"]
    assert machine["fits"]
    assert machine["seconds"][0] < machine["seconds"][1]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [((0.0, 0.04), "under a second"), ((0.6, 1.4), "0.6 to 1.4 s"), ((60.0, 180.0), "1.0 to 3.0 min")],
)
def test_a_time_is_never_told_as_nothing(seconds: tuple[float, float], told: str):
    from goldsmith.cli.fit import _span

    assert _span(seconds) == told


def test_a_small_part_is_told_in_mebibytes_and_the_table_stays_aligned():
    settings = ["--on", "4090", "--tune", "lora", "--prompt", "20", "--answer", "20"]
    shown = CliRunner().invoke(command, ["goldsmith-nano", *settings]).output
    lines = shown.splitlines()
    start = next(n for n, line in enumerate(lines) if line.endswith("GiB:"))
    parts = dict(line.split(None, 1) for line in lines[start + 1 :] if line.startswith("  ") and "iB" in line)
    told = json.loads(CliRunner().invoke(command, ["goldsmith-nano", *settings, "--json"]).output)
    exact = told["machines"][0]["bytes"]
    assert {"weights", "total"} < set(parts)
    for name, size_told in parts.items():
        number, unit = size_told.split(":")[0].split()
        assert float(number) > 0, (name, size_told)
        size = 2**30 if unit == "GiB" else 2**20
        assert (unit == "GiB") == (exact[name] >= 2**30), (name, size_told)
        assert abs(float(number) * size - exact[name]) <= 0.0051 * size
    table = [line for line in lines[start + 1 :] if line.startswith("  ") and "iB" in line]
    assert len({line.index("iB") for line in table}) == 1
