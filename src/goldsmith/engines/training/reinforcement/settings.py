"""What all methods that learn from rewards share."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from goldsmith.engines.training.settings import Count, Positive, Share, TrainingSettings
from goldsmith.types.artifact import Frozen, Real
from goldsmith.types.asking import Asked
from goldsmith.types.errors import BadInput
from goldsmith.types.reward import Reward

WORLD = "tools"
"""What the eval that answers calls is asked for as."""


class RewardEntry(Frozen):
    """One reward by its name, with its settings. A reward of weight 0 is only watched: a judge held out."""

    reward: str
    name: str | None = None
    weight: Real = 1.0
    settings: dict[str, Any] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """What logs call it."""
        return self.name or self.reward


class Tools(Frozen):
    """What answers a model's calls while it learns: never anything real."""

    kind: Literal["recorded", "eval"]
    """`recorded`: the results that the row itself holds, for the calls that it made; any other call gets an error text.
    `eval`: the world that an eval sets its tasks in; the row's field `expected` is what the eval puts into its own."""
    eval: str | None = None
    """The eval's name, or a dotted path."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The eval's settings."""
    seconds_at_most: Positive = 30.0
    """What one call may take; an episode with a longer one counts as failed, neither good nor bad."""

    @model_validator(mode="after")
    def _which(self) -> "Tools":
        if (self.kind == "eval") != (self.eval is not None):
            raise ValueError("tools of kind eval need an `eval`, and those of kind recorded have none")
        return self


class Generating(Frozen):
    """What writes the answers."""

    engine: Literal["builtin", "vllm"] = "builtin"
    """`builtin`: the model under training itself. `vllm`: an engine beside it, which is handed the adapter before every
    round (the extra `goldsmith[vllm]`; adapters of kind lora)."""
    memory_share: Annotated[Real, Field(gt=0, lt=1)] = 0.3
    """Of the device's memory that vLLM may take for the base and its cache."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `vllm.LLM`, as they are."""

    @model_validator(mode="after")
    def _meant(self) -> "Generating":
        if self.engine == "builtin" and self.model_fields_set - {"engine"}:
            raise ValueError("memory_share and options belong to engine vllm")
        return self


class OnlineSettings(TrainingSettings):
    """The model answers prompts of the release itself, and learns from what its answers are worth.

    A step is a round: `batch_size` x `gradient_accumulation` prompts, `group_size` answers to each, and
    `minibatches` x `inner_epochs` updates on them. The last assistant turn of a conversation is taken away and is what
    a reward may compare with.
    """

    rewards: Annotated[tuple[RewardEntry, ...], Field(min_length=1)]
    """What answers are worth: the weighted sum of these."""
    group_size: Annotated[int, Field(ge=1)] = 8
    """Answers to each prompt."""
    max_new_tokens: Count = 256
    """Tokens an answer may have; of several turns, each."""
    turns: Count = 1
    """Turns an answer may have: with more than one the model may call tools, is given their answers and goes on."""
    tools: Tools | None = None
    """What answers its calls, where there are several turns."""
    episode_tokens: Count | None = None
    """Tokens that the turns of an answer and the tools' answers may have together; None: what fits the model."""
    generate: Generating = Generating()
    """What writes the answers."""
    temperature: Positive = 1.0
    top_p: Annotated[Real, Field(gt=0, le=1)] = 1.0
    minibatches: Count = 1
    """Updates into which the answers of a round are dealt out."""
    inner_epochs: Count = 1
    """Times that the answers of a round are learned from."""
    mask_unfinished: bool = False
    """Answers that were cut off teach nothing."""
    kl_at_most: Annotated[Real, Field(gt=0)] | None = None
    """Training stops before the model is so far from where it began: mean nats per token over a round."""
    logprob_gap_at_most: Annotated[Real, Field(gt=0)] | None = 0.2
    """Training stops where sampler and trainer disagree about the sampled tokens: mean nats per token."""
    unrewarded_at_most: Share = 0.5
    """Share of a round's answers whose reward could not be told, above which training stops."""
    stop_on: tuple[Literal["length", "repetition", "held_out"], ...] = ()
    """Signs of a gamed reward at which training stops; all of them are warned of: the reward rises together with the
    answers' length or their repetitions, or while a reward of weight 0, a judge held out, falls."""
    validation_group: Count = 1
    """Answers to each validation prompt."""

    @model_validator(mode="after")
    def _rewarding(self) -> "OnlineSettings":
        labels = [entry.label for entry in self.rewards]
        if len(set(labels)) < len(labels):
            raise ValueError("two rewards have one name: give each a `name` of its own")
        if not any(entry.weight for entry in self.rewards):
            raise ValueError("at least one reward needs a weight other than 0")
        if (self.turns > 1) != (self.tools is not None):
            raise ValueError("turns above 1 and tools go together: set both or neither")
        if WORLD in labels:
            raise ValueError(f"no reward can be named {WORLD}: give it another `name`")
        if self.neftune_alpha:
            raise ValueError(
                "neftune_alpha does not go with learning from rewards: answers are sampled and compared without noise"
            )
        return self

    _handed: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    def asks(self) -> Mapping[str, Asked]:
        """Its rewards, by label, and the eval whose world it plays in."""
        asked = {entry.label: Asked("rewards", entry.reward, entry.settings) for entry in self.rewards}
        if self.tools is not None and self.tools.eval is not None:
            asked[WORLD] = Asked("evals", self.tools.eval, self.tools.settings)
        return asked

    def given(self, handed: Mapping[str, Any]) -> Self:
        """The same method with its rewards."""
        new = self.model_copy()
        new._handed = dict(handed)
        return new

    def judge(self, label: str) -> Reward:
        """The reward of this label. Raises BadInput where nobody handed it over."""
        if label not in self._handed:
            raise BadInput(
                "the method was not handed its rewards",
                where="rewards",
                found=label,
                next_step="build it with plugins.build, or hand them over with given()",
            )
        reward: Reward = self._handed[label]
        return reward

    @property
    def world(self) -> Any:
        """The eval whose world answers the calls; None where the rows' own records do. Raises BadInput: not handed."""
        if self.tools is None or self.tools.eval is None:
            return None
        if not hasattr(self._handed.get(WORLD), "environment"):
            raise BadInput(
                "the method was not handed a world that answers calls",
                where="tools",
                found=self.tools.eval,
                allowed="an eval that sets tasks",
                next_step="build the method with plugins.build, or name another eval",
            )
        return self._handed[WORLD]

    @property
    def plays_episodes(self) -> bool:
        """Whether an answer may have several turns."""
        return int(self.turns) > 1

    @property
    def longest_answer(self) -> int:
        """Tokens that the model may write for one answer."""
        return int(self.max_new_tokens) * int(self.turns)

    @property
    def held_out(self) -> list[str]:
        """Rewards that are only watched."""
        return [entry.label for entry in self.rewards if not entry.weight]

    @property
    def optimizer_steps_per_step(self) -> int:
        """Updates of one round."""
        return int(self.minibatches) * int(self.inner_epochs)
