"""A reward model on this machine that gives answers numbers: one for each, or one for each step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from goldsmith.engines.chat import Encoded, open_chat
from goldsmith.engines.reward_form import not_a_writer, reward_form
from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.training.data.steps import split_steps
from goldsmith.engines.training.model.loading import load_model
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, Role, ToolSchema
from goldsmith.types.trajectory import Answer, AnswerLogprob

Item = tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]
"""Prompt, answer, tools on offer."""
_TOKENS = 16_384
"""Tokens of a forward, padding included."""


class RewardScorer:
    """Scores with a reward model: a folder that Goldsmith trained (whole or adapter), or any sequence classifier with
    one output, by folder or hub id. `form` says which kind; `base`: where an adapter's base is now, if it has moved.

    Raises:
        Unavailable: no model there. BadInput: one that writes instead, or that has several outputs.
    """

    def __init__(self, model: str | Path, *, base: str | Path | None = None, device: str = "cpu") -> None:
        self.form = reward_form(model) or ("reward_model" if not Path(model).is_dir() else None)
        if self.form is None:
            raise BadInput(
                "this is no reward model",
                where=str(model),
                found="a language model",
                allowed="a model that the method reward_model or process_reward made, or a sequence classifier",
            )
        self.model: Any = load_model(model, adapter_base=base, device=device, ends_in="number")
        outputs = int(self.model.score.weight.shape[0]) if hasattr(self.model, "score") else 0
        if outputs != 1:
            raise BadInput(
                "a reward model must end in one number, in a layer called `score`",
                where=str(model),
                found=f"{outputs} outputs",
            )
        self.chat = open_chat(model)
        self.device = next(self.model.parameters()).device
        config = self.model.config.get_text_config()
        self.longest: int | None = getattr(config, "max_position_embeddings", None)

    def encode(self, item: Item) -> tuple[Encoded, int]:
        """Tokens and the place at which the answer ends. Raises BadInput where it cannot be written, or is too long."""
        prompt, answer, tools = item
        encoded = self.chat.encode_continuation(prompt, answer, tools)
        end = int(np.flatnonzero(encoded.trained)[-1])
        if self.longest is not None and end >= self.longest:
            raise BadInput("longer than the model's context", found=f"{end + 1} tokens", allowed=str(self.longest))
        return encoded, end

    def encode_steps(self, item: Item, delimiter: str) -> tuple[np.ndarray, list[int]]:
        """Token ids, and the place at which each step of the last assistant turn ends. Raises BadInput as `encode`."""
        prompt, answer, tools = item
        if not answer or answer[-1].role is not Role.ASSISTANT:
            raise BadInput("the answer does not end in an assistant turn")
        texts = split_steps(answer[-1], delimiter)
        ids, ends, _ = self.chat.encode_steps((*prompt, *answer[:-1]), answer[-1], tools, texts)
        if not ends:
            raise BadInput("the answer has no step")
        if self.longest is not None and len(ids) > self.longest:
            raise BadInput("longer than the model's context", found=f"{len(ids)} tokens", allowed=str(self.longest))
        return ids, ends

    def scores(self, encoded: Sequence[tuple[np.ndarray, Sequence[int]]]) -> list[list[float]]:
        """For each sequence of token ids, the numbers at these of its places."""
        found: list[list[float]] = [[] for _ in encoded]
        order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i][0]), i))
        batch: list[int] = []
        for row in order:
            if batch and (len(batch) + 1) * len(encoded[row][0]) > _TOKENS:
                self._forward(encoded, batch, found)
                batch = []
            batch.append(row)
        if batch:
            self._forward(encoded, batch, found)
        return found

    @torch.no_grad()
    def _forward(
        self, encoded: Sequence[tuple[np.ndarray, Sequence[int]]], batch: Sequence[int], found: list[list[float]]
    ) -> None:
        width = max(len(encoded[row][0]) for row in batch)
        ids_BT = torch.full((len(batch), width), self.chat.pad_id, dtype=torch.long)
        mask_BT = torch.zeros((len(batch), width), dtype=torch.long)
        for place, row in enumerate(batch):
            ids = torch.from_numpy(encoded[row][0].astype(np.int64))
            ids_BT[place, : len(ids)], mask_BT[place, : len(ids)] = ids, 1
        states_BTH = self.model.get_decoder()(
            input_ids=ids_BT.to(self.device), attention_mask=mask_BT.to(self.device), use_cache=False
        ).last_hidden_state
        for place, row in enumerate(batch):
            asked = torch.tensor(list(encoded[row][1]), dtype=torch.long, device=self.device)
            found[row] = self.model.score(states_BTH[place, asked]).squeeze(-1).float().tolist()


def probabilities(numbers: Sequence[float]) -> list[float]:
    """What a process reward model's numbers say of steps: how likely each is right."""
    right: list[float] = (1.0 / (1.0 + np.exp(-np.asarray(numbers, dtype=np.float64)))).tolist()
    return right


class _Judge:
    """A model that judges where an eval expects one that answers. `adapter`: of the reward model, where `folder` is its
    base. Errors: as `RewardScorer`, and BadInput for one of the other form."""

    form: ClassVar[str]
    judges: ClassVar[str]

    def __init__(self, folder: str | Path, adapter: str | Path | None = None, *, device: str = "cpu") -> None:
        self.name = str(adapter or folder)
        self.scorer = RewardScorer(self.name, base=None if adapter is None else folder, device=device)
        if self.scorer.form != self.form:
            raise BadInput(
                f"this model does not score {self.judges}", where=self.name, found=self.scorer.form, allowed=self.form
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self.scorer

    def answer(
        self, prompts: Sequence[tuple[Sequence[Message], Sequence[ToolSchema]]], *, max_new_tokens: int = 256
    ) -> list[Answer]:
        """Never. Raises BadInput."""
        raise not_a_writer(self.name, f"{self.form}, asked for {len(prompts)} answers of {max_new_tokens} tokens")

    def logprobs(self, items: Sequence[Item]) -> list[AnswerLogprob]:
        """Never. Raises BadInput."""
        raise not_a_writer(self.name, f"{self.form}, asked how likely it would write {len(items)} answers")


class RewardAnswerer(_Judge):
    """A reward model: it says what answers are worth and writes none."""

    form: ClassVar[str] = "reward_model"
    judges: ClassVar[str] = "whole answers"

    def worths(self, items: Sequence[Item]) -> list[float]:
        """Each answer's score, read at its end. Raises BadInput where one cannot be written."""
        encoded = [self.scorer.encode(item) for item in items]
        return [found[0] for found in self.scorer.scores([(one.input_ids, [end]) for one, end in encoded])]


class StepAnswerer(_Judge):
    """A process reward model: it says which steps of an answer are right and writes none."""

    form: ClassVar[str] = "process_reward"
    judges: ClassVar[str] = "the steps of an answer"

    def steps(self, items: Sequence[Item], *, delimiter: str = "\n\n") -> list[list[float]]:
        """Each step's probability of being right, read at its end. Raises BadInput where one cannot be written."""
        encoded = [self.scorer.encode_steps(item, delimiter) for item in items]
        return [probabilities(numbers) for numbers in self.scorer.scores(encoded)]


AnyAnswerer = LocalAnswerer | RewardAnswerer | StepAnswerer


def open_answerer(folder: str | Path, adapter: str | Path | None = None) -> AnyAnswerer:
    """The model as what it is: one that writes answers, or one that scores them or their steps."""
    form = reward_form(adapter or folder)
    if form == RewardAnswerer.form:
        return RewardAnswerer(folder, adapter)
    return StepAnswerer(folder, adapter) if form == StepAnswerer.form else LocalAnswerer(folder, adapter)
