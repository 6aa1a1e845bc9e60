"""vLLM as the writer, behind a stand-in that keeps to its documented interface: it has not been run on a GPU.

The stand-in loads the adapter from the folder it is given and draws from base and adapter itself, so that what these
tests hold together is the seam: weights handed over, tokens and log-probabilities taken back."""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from goldsmith_test_processes import job
from goldsmith_test_records import answered
from goldsmith_test_rewards import Judge

from goldsmith.engines.training.driver import run_training
from goldsmith.engines.training.guards.finite import Diverged
from goldsmith.engines.training.model.loading import load_model
from goldsmith.methods.grpo import Grpo
from goldsmith.types.errors import BadInput, Unavailable

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS: dict[str, Any] = {
    "rewards": [{"reward": "judge"}],
    "generate": {"engine": "vllm", "memory_share": 0.4, "options": {"enforce_eager": True}},
    "learning_rate": 1e-2,
    "group_size": 4,
    "max_new_tokens": 8,
    "batch_size": 3,
    "max_steps": 3,
    "temperature": 0.7,
    "adapter": {"kind": "lora", "rank": 12},
}


@dataclass
class SamplingParams:
    """The parameters used, with vLLM's defaults; an unknown one fails."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = 16
    stop_token_ids: list[int] | None = None
    logprobs: int | None = None
    seed: int | None = None
    detokenize: bool = True


@dataclass(frozen=True)
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


@dataclass
class LLM:
    """Draws token by token from the base with the adapter in the request's folder; loads an adapter's number once."""

    model: str
    dtype: str
    enable_lora: bool
    max_loras: int
    max_lora_rank: int
    gpu_memory_utilization: float
    logprobs_mode: str
    generation_config: str
    enforce_eager: bool = False
    loaded: dict[int, Any] = field(default_factory=dict)
    asked: list[tuple[LoRARequest, SamplingParams]] = field(default_factory=list)
    fault: ClassVar[str] = ""

    def generate(
        self, prompts: list[dict[str, Any]], params: list[SamplingParams], *, lora_request: LoRARequest, use_tqdm: bool
    ) -> list[Any]:
        assert not use_tqdm
        number = lora_request.lora_int_id
        if number not in self.loaded:  # as vLLM: a known number is not read again
            config = json.loads((Path(lora_request.lora_path) / "adapter_config.json").read_text())
            assert config["r"] <= self.max_lora_rank
            self.loaded[number] = _tuned(self.model, lora_request.lora_path)
        self.asked += [(lora_request, one) for one in params]
        used = SimpleNamespace(lora_int_id=None) if self.fault == "base" else lora_request
        model = _tuned(self.model, None) if self.fault == "base_secretly" else self.loaded[number]
        return [
            SimpleNamespace(
                lora_request=used,
                outputs=[self._draw(model, prompt["prompt_token_ids"], one, place) for place in range(one.n)],
            )
            for prompt, one in zip(prompts, params, strict=True)
        ]

    @torch.no_grad()
    def _draw(self, model: Any, prompt: list[int], params: SamplingParams, place: int) -> Any:
        draws = torch.Generator().manual_seed((params.seed or 0) + place)
        ids, logprobs = list(prompt), []
        stops, reason = set(params.stop_token_ids or ()), "length"
        for _ in range(params.max_tokens or 16):
            logits_V = model(torch.tensor([ids])).logits[0, -1].float() / params.temperature
            token = int(torch.multinomial(logits_V.softmax(-1), 1, generator=draws))
            logprobs.append({token: SimpleNamespace(logprob=float(logits_V.log_softmax(-1)[token]))})
            ids.append(token)
            if token in stops:
                reason = "stop"
                break
        new = ids[len(prompt) :]
        if self.fault == "no_stop":
            new, logprobs, reason = [77], [{77: SimpleNamespace(logprob=-1.0)}], "stop"
        given = None if self.fault == "no_logprobs" else logprobs
        return SimpleNamespace(token_ids=new, logprobs=given, finish_reason=reason)


def _tuned(base: str, adapter: str | None) -> Any:
    from peft import PeftModel

    model = load_model(base)
    return (model if adapter is None else PeftModel.from_pretrained(model, adapter)).eval()


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[LLM]:
    """A stand-in for the package `vllm`; the engines that were opened."""
    opened: list[LLM] = []

    def open_engine(**arguments: Any) -> LLM:
        assert os.environ["VLLM_NO_USAGE_STATS"] == os.environ["DO_NOT_TRACK"] == "1"
        opened.append(LLM(**arguments))
        return opened[-1]

    vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    vllm.LLM, vllm.SamplingParams, request.LoRARequest = open_engine, SamplingParams, LoRARequest  # type: ignore[attr-defined]
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    return opened


def run(base: Path, folder: Path, **changes: Any) -> list[dict[str, Any]]:
    asked = [answered(f"Tell {i}", "yes") for i in range(6)]
    judge = Judge(lambda one: sum(letter in "aeiou" for letter in one.answer[0].text) / 40)
    method = Grpo(**{**SETTINGS, **changes}).given({"judge": judge})
    run_training(job(base, folder, method, records=asked))
    return [json.loads(line) for line in (folder / "scratch" / "metrics.jsonl").read_text().splitlines()]


def test_each_round_is_drawn_from_the_weights_as_they_are(tiny_base: Path, tmp_path: Path, engines: list[LLM]) -> None:
    rounds = [line for line in run(tiny_base, tmp_path) if "reward" in line]
    (engine,) = engines
    assert sorted(engine.loaded) == [1, 2, 3]
    assert engine.max_lora_rank == 16
    assert engine.logprobs_mode == "processed_logprobs"
    assert engine.enforce_eager
    assert engine.gpu_memory_utilization == 0.4
    assert rounds[-1]["kl"] > 1e-3  # the weights do move,
    assert max(one["logprob_gap"] for one in rounds) < 1e-4  # and the log-probabilities are those of the moved ones
    first = engine.asked[0][1]
    assert (first.n, first.temperature, first.max_tokens, first.logprobs) == (4, 0.7, 8, 0)
    assert len({one.seed for _, one in engine.asked}) == len(engine.asked) == 9


def test_equal_runs_ask_for_equal_draws(tiny_base: Path, tmp_path: Path, engines: list[LLM]) -> None:
    first = [line["reward"] for line in run(tiny_base, tmp_path / "1") if "reward" in line]
    second = [line["reward"] for line in run(tiny_base, tmp_path / "2") if "reward" in line]
    assert first == second


def test_an_engine_that_goes_on_with_the_base_is_noticed(
    tiny_base: Path, tmp_path: Path, engines: list[LLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LLM, "fault", "base")
    with pytest.raises(Unavailable, match="other weights than the policy's"):
        run(tiny_base, tmp_path / "said")
    monkeypatch.setattr(LLM, "fault", "base_secretly")
    with pytest.raises(Diverged, match="sampler and trainer disagree"):
        run(tiny_base, tmp_path / "unsaid", logprob_gap_at_most=0.01, max_steps=6)


@pytest.mark.parametrize(("fault", "words"), [("no_stop", "without its stop token"), ("no_logprobs", "no log-prob")])
def test_answers_without_what_training_needs_are_refused(
    tiny_base: Path, tmp_path: Path, engines: list[LLM], monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    monkeypatch.setattr(LLM, "fault", fault)
    with pytest.raises(Unavailable, match=words):
        run(tiny_base, tmp_path)


def test_where_it_is_not_installed_the_extra_is_named(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(Unavailable) as missing:
        run(tiny_base, tmp_path)
    assert "pip install 'goldsmith[vllm]'" in str(missing.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": {"kind": "none"}},
        {"adapter": {"kind": "lora", "dora": True}},
        {"adapter": {"kind": "lora", "rank": 600}},
        {"top_p": 0.9},
    ],
)
def test_weights_that_cannot_be_handed_over_are_refused(
    tiny_base: Path, tmp_path: Path, engines: list[LLM], changes: dict[str, Any]
) -> None:
    with pytest.raises(BadInput, match="vLLM cannot write for this run"):
        run(tiny_base, tmp_path, **changes)
    assert not engines


def test_an_engine_that_does_not_take_an_option_is_named(tiny_base: Path, tmp_path: Path, engines: list[LLM]) -> None:
    with pytest.raises(Unavailable, match="could not load the base") as refused:
        run(tiny_base, tmp_path, generate={"engine": "vllm", "options": {"colour": "red"}})
    assert "colour" in str(refused.value)
    with pytest.raises(ValueError, match="belong to engine vllm"):
        Grpo(**{**SETTINGS, "generate": {"memory_share": 0.5}})
