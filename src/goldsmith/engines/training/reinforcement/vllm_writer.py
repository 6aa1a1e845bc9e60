"""vLLM as the writer of answers: the adapter as it is now is saved, and each batch is asked of it by its number.

Written against vLLM's documented interface: `LLM(enable_lora=…)`, `LLM.generate(…, lora_request=LoRARequest(name, id,
folder))`, `SamplingParams(logprobs=0, stop_token_ids=…, detokenize=False)`, and `logprobs_mode="processed_logprobs"`,
which gives the log-probabilities of the distribution that was drawn from (docs.vllm.ai, "LoRA Adapters", "Engine
Arguments", "Sampling Parameters"). An adapter that was loaded is never overwritten: every hand-over has a new number,
so that neither its weights nor a cached prefix can be an older one's.
"""

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.reinforcement.generate import Decoding, Sampled, Seed
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.scale import parallel
from goldsmith.types.errors import BadInput, Unavailable

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The adapter ranks that vLLM makes room for."""
QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""No usage statistics are sent."""


class VllmWriter:
    """An engine beside the trainer, on the same device."""

    def __init__(self, base: str, settings: OnlineSettings) -> None:
        """Raises: BadInput: settings whose weights cannot be handed over. Unavailable: no vLLM here, or it cannot load
        the base."""
        require_handable(settings)
        os.environ.update(QUIET)  # vLLM reads them as it is imported
        self._vllm, self._request = _modules()
        rank = next(room for room in RANKS if room >= _rank(settings))
        try:
            self._llm = self._vllm.LLM(
                **{
                    "model": base,
                    "dtype": "float32" if settings.precision == "float32" else "bfloat16",
                    "enable_lora": True,
                    "max_loras": 1,
                    "max_lora_rank": rank,
                    "gpu_memory_utilization": float(settings.generate.memory_share),
                    "logprobs_mode": "processed_logprobs",
                    "generation_config": "vllm",
                    **settings.generate.options,
                }
            )
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise Unavailable(
                "vLLM could not load the base",
                where="generate",
                found=f"{type(error).__name__}: {str(error)[:300]}",
                next_step="lower generate.memory_share, see generate.options, or set generate.engine to builtin",
            ) from error
        self._place = tempfile.TemporaryDirectory(prefix="goldsmith-adapters-")
        self._number = 0
        self._stops: list[int] = []

    def take(self, policy: Policy) -> None:
        """Save the adapter under the next number; the one before the last is removed."""
        self._number += 1
        policy.model.save_pretrained(
            str(self._folder(self._number)), safe_serialization=True, save_embedding_layers=False
        )
        self._stops = sorted(policy.chat.stop_ids)
        old = self._folder(self._number - 2)
        for file in sorted(old.glob("*")):
            file.unlink()

    def write(
        self, prompts: Sequence[NDArray[np.int32]], group_size: int, decoding: Decoding, seeds: Sequence[Seed]
    ) -> list[list[Sampled]]:
        """Answers drawn with the adapter that was taken last.

        Raises:
            Unavailable: vLLM answered with other weights, or without what training needs to know.
        """
        if not prompts:
            return []
        params = [self._params(group_size, decoding, seed) for seed in seeds]
        request = self._request(f"policy-{self._number}", self._number, str(self._folder(self._number)))
        asked = [{"prompt_token_ids": prompt.tolist()} for prompt in prompts]
        outputs = self._llm.generate(asked, params, lora_request=request, use_tqdm=False)
        if len(outputs) != len(prompts) or any(len(one.outputs) != group_size for one in outputs):
            raise _unusable("another number of answers than was asked for", f"{len(outputs)} of {len(prompts)}")
        for output in outputs:
            used = getattr(output.lora_request, "lora_int_id", None)
            if used != self._number:
                raise _unusable("answers of other weights than the policy's", f"adapter {used}, not {self._number}")
        return [[self._sampled(one) for one in output.outputs] for output in outputs]

    def _params(self, group_size: int, decoding: Decoding, seed: Seed) -> Any:
        number = int(np.random.Generator(np.random.PCG64(list(seed))).integers(2**31))
        return self._vllm.SamplingParams(
            n=group_size,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=decoding.max_new_tokens,
            stop_token_ids=self._stops,
            logprobs=0,  # of the drawn token alone
            seed=number,
            detokenize=False,
        )

    def _sampled(self, one: Any) -> Sampled:
        ids = np.asarray(list(one.token_ids), dtype=np.int32)
        given = one.logprobs
        if not len(ids) or given is None or len(given) != len(ids):
            raise _unusable("no log-probability for every token", f"{len(given or ())} for {len(ids)} tokens")
        logprobs = np.array([place[int(i)].logprob for place, i in zip(given, ids, strict=True)], dtype=np.float32)
        if not all(math.isfinite(value) for value in logprobs.tolist()):
            raise FloatingPointError("vLLM's log-probabilities hold what is no number: its weights are unusable")
        finished = int(ids[-1]) in self._stops
        if one.finish_reason == "stop" and not finished:
            raise _unusable("a finished answer without its stop token", f"it ends in token {int(ids[-1])}")
        return Sampled(ids, logprobs, finished, np.ones(len(ids), dtype=np.bool_))

    def _folder(self, number: int) -> Path:
        return Path(self._place.name) / str(number)


def require_handable(settings: OnlineSettings) -> None:
    """The weights that are trained can be handed over. Raises BadInput where not."""
    adapter = settings.adapter
    problem = ""
    if adapter.kind != "lora" or adapter.dora or adapter.init != "zero" or adapter.parameters or settings.new_tokens:
        problem = f"adapter {adapter.kind}" + " with dora, pissa, parameters or new_tokens" * (adapter.kind == "lora")
    elif _rank(settings) > RANKS[-1]:
        problem = f"rank {_rank(settings)}"
    elif settings.top_p < 1:
        problem = "top_p below 1, whose log-probabilities vLLM gives otherwise than training works them out"
    elif parallel.here().size > 1:
        problem = f"{parallel.here().size} processes"
    if problem:
        raise BadInput(
            "vLLM cannot write for this run",
            where="generate",
            found=problem,
            allowed=f"a plain adapter (kind: lora) of rank up to {RANKS[-1]}, top_p 1, one process",
            next_step="set generate.engine to builtin",
        )


def _rank(settings: OnlineSettings) -> int:
    return int(settings.adapter.rank)


def _modules() -> tuple[Any, Any]:
    try:
        import vllm  # type: ignore[import-not-found, unused-ignore]
        from vllm.lora.request import LoRARequest  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise Unavailable(
            "vLLM is not installed",
            where="generate",
            found=str(error)[:200],
            next_step="pip install 'goldsmith[vllm]', or set generate.engine to builtin",
        ) from error
    return vllm, LoRARequest


def _unusable(what: str, found: str) -> Unavailable:
    return Unavailable(f"vLLM gave {what}", where="generate", found=found, next_step="set generate.engine to builtin")
