"""The model being tuned: base, adapter, head; log-probabilities of labels; the reference."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.losses import cross_entropy
from goldsmith.engines.training.model import quantised
from goldsmith.engines.training.model.adapters import Start, choose_weights, put_adapter
from goldsmith.engines.training.model.forward import Forward
from goldsmith.engines.training.model.loading import base_digest, dtype_of, load_model
from goldsmith.engines.training.model.unread import MustBeWhole, Unread, open_unread, settle
from goldsmith.engines.training.model.vocabulary import fit_vocabulary
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput


class Policy(Forward):
    """A model under training."""

    def __init__(self, model: Any, chat: Chat, settings: TrainingSettings, base: str) -> None:
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        super().__init__(inner, chat.pad_id, settings)
        self.model, self.chat, self.base = model, chat, base
        self.start: Start | None = None  # of an adapter that took part of the base over
        self.settings = settings
        self.is_adapter = model is not inner
        self.base_digest: str = ""  # of the bytes it was opened from
        self.unread: Unread | None = None  # where the base's weights are, of one that was opened in parts
        self.read_whole: str = ""  # why it was not, where that was asked for
        self._kept: dict[str, torch.Tensor] = {}
        self.value_head: torch.nn.Linear | None = None
        self.ends_in = settings.ends_in
        if self.ends_in == "number" and not hasattr(self.inner, "score"):
            raise BadInput(
                "a model of this architecture cannot be made to end in one number here",
                found=type(self.inner).__name__,
                allowed="a decoder whose sequence classifier has a `score` layer",
            )

    def trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Names and tensors that are trained, in a fixed order."""
        own = [] if self.value_head is None else [(f"value_head.{n}", p) for n, p in self.value_head.named_parameters()]
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad] + own

    def add_value_head(self) -> None:
        """A linear layer over the last hidden state that learns what is still to come; it begins at 0, is trained and
        checkpointed with the model, and is no part of what is saved."""
        width = self.inner.get_output_embeddings().weight.shape[1]
        self.value_head = torch.nn.Linear(width, 1, device=self.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)

    def head(self) -> cross_entropy.Head:
        """How this model turns hidden states into logits. For one that ends in a number, which has no such layer, its
        input embeddings stand in: enough for the self-test, which asks whether hidden states are the same."""
        if self.ends_in == "number":
            return cross_entropy.Head(self.inner.get_input_embeddings().weight)
        module = self.inner.get_output_embeddings()
        rows = getattr(module, "token_adapter", None)
        weight = None
        if rows is not None:  # single rows are trained
            module = rows.get_base_layer()
            weight = module.weight if rows.disable_adapters else rows.get_merged_weights(rows.active_adapters)
        if not isinstance(module, torch.nn.Linear):
            raise BadInput(
                "the model's output layer cannot be tuned or is of an unknown kind",
                found=type(module).__name__,
                allowed="a plain linear layer",
                next_step="leave lm_head out of adapter.targets",
            )
        config = self.inner.config.get_text_config()
        scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1.0
        )
        cap = getattr(config, "final_logit_softcapping", None)
        own = module.weight if weight is None else weight
        return cross_entropy.Head(own, module.bias, scale, None if cap is None else float(cap))

    def logprobs(self, batch: Batch, temperature: float = 1.0) -> torch.Tensor:
        """Log-probability of each label [N], float32."""
        batch = batch.to(self.device)

        def compute() -> torch.Tensor:
            head = replace(self.head(), temperature=temperature)
            return cross_entropy.linear_logprobs(self.hidden(batch), batch.labels_N, head)

        found: torch.Tensor = self.gathered(compute)
        return found

    def logprobs_and_values(self, batch: Batch, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        """`logprobs`, and what the value head expects before each label, float32 [N] both, from one forward."""
        if self.value_head is None:
            raise ValueError("this policy has no value head")
        batch = batch.to(self.device)
        states_NH = self.hidden(batch)
        head = replace(self.head(), temperature=temperature)
        logprobs_N = cross_entropy.linear_logprobs(states_NH, batch.labels_N, head)
        return logprobs_N, self.value_head(states_NH.float()).squeeze(1)

    def numbers(self, batch: Batch) -> torch.Tensor:
        """What a model that ends in a number gives at each of the labels' predictors [N], float32."""

        def compute() -> torch.Tensor:
            hidden_NH = self.hidden(batch.to(self.device))
            kind = next(self.inner.score.parameters()).dtype
            score_N1: torch.Tensor = self.inner.score(hidden_NH.to(kind))
            return score_N1.squeeze(-1).float()

        found: torch.Tensor = self.gathered(compute)
        return found

    def sequence_logprobs(self, batch: Batch) -> torch.Tensor:
        """Summed log-probability of each trained node [owners], float32."""
        return cross_entropy.sum_by_owner(self.logprobs(batch), batch.owners_N.to(self.device), len(batch.owner_rows))

    def cross_entropy(self, batch: Batch, labels: float, *, balance: float = 0.0) -> torch.Tensor:
        """The batch's summed cross-entropy over `labels`, the trained tokens of the whole update; a scalar. Where rows
        have weights, their tokens count by them, also in `labels`.

        `balance`: weight of the load balance of a mixture of experts, counted by the batch's share of the labels.

        Raises:
            BadInput: a balance asked of a model without experts.
        """
        batch = batch.to(self.device)
        weights_N = torch.full(batch.labels_N.shape, 1.0 / labels, device=self.device)
        if (rows_N := batch.label_weights_N) is not None:
            weights_N = weights_N * rows_N

        def compute() -> torch.Tensor:
            loss = cross_entropy.linear_cross_entropy(self.hidden(batch), batch.labels_N, self.head(), weights_N)
            if not balance:
                return loss
            share = len(batch.labels_N) / labels if rows_N is None else float(weights_N.sum())
            return loss + balance * share * self._balance()

        self._routing = {"output_router_logits": True} if balance else {}
        try:
            found: torch.Tensor = self.gathered(compute)
            return found
        finally:
            self._routing = {}

    def _balance(self) -> torch.Tensor:
        routed, config = self._routed, self.inner.config.get_text_config()
        if not routed:
            raise BadInput(
                "router_balance is set, but this model has no mixture of experts that tells its routing",
                where="router_balance",
                found=str(config.model_type),
                next_step="leave router_balance out",
            )
        return cross_entropy.expert_balance(
            torch.cat([r.reshape(-1, r.shape[-1]) for r in routed]), config.num_experts_per_tok
        )

    def keep_reference(self) -> None:
        """Take the present weights for the reference. An adapter's base is there anyway; a fully tuned model keeps a
        copy."""
        if not self.is_adapter:
            self._kept = {name: p.detach().clone() for name, p in self.trainable()}

    def reference(self) -> AbstractContextManager[Any]:
        """Within it an adapter is off, or the weights that `keep_reference` kept are in place. A fully tuned model
        that kept none has no reference but its log-probs before training."""
        if self.start is not None:
            return self.start.restored()
        if self.is_adapter:
            return self.model.disable_adapter()  # type: ignore[no-any-return]
        return self._swapped() if self._kept else nullcontext()

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, p in self.trainable():
            if isinstance(p, DTensor):  # what gathers shards holds on to their memory: numbers go over, not tensors
                now = p.detach().clone()
                p.detach().copy_(self._kept[name])
                self._kept[name] = now
            else:
                p.data, self._kept[name] = self._kept[name], p.data

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """No dropout, no gradients."""
        was = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(was)

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Within it the model itself can write: plain attention with a cache, no dropout, no gradients."""
        self.inner.set_attn_implementation(self.plain_attention)
        try:
            with self.evaluating(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                yield
        finally:
            self.take(self.way)

    # ---- weights in and out ------------------------------------------------------------------------------------

    def weights(self) -> dict[str, torch.Tensor]:
        """The trained tensors by name, detached, on the CPU."""
        return {name: p.detach().cpu().contiguous() for name, p in self.trainable()}

    def load_weights(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over tensors that `weights` gave. Where the base's weights are still in their files they become the
        model's own, without a copy, and what is not trained is read; under an adapter it stays where it is."""
        mine = dict(self.trainable())
        if set(mine) != set(tensors):
            raise BadInput("the checkpoint holds other weights than this model trains", found=f"{len(tensors)} tensors")
        if self.unread is not None and not self.is_adapter:
            settle(self.inner, self.unread, tensors)
            self.unread = None
            return
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(tensors[name])


def open_policy(
    base: str, chat: Chat, settings: TrainingSettings, *, seed: int, device: str = "cpu", in_parts: bool = False
) -> Policy:
    """Load the base and put the adapter on it; the seed is set first, so that equal seeds give equal adapters.

    `in_parts`: leave the base's weights in their files where that is possible (`Policy.unread`), for whoever cuts the
    model into shards to read. All else is as ever, to the last bit.

    Raises:
        Unavailable: four bits where they cannot be had. BadInput: settings that do not fit this model.
    """
    adapter = settings.adapter
    digest = base_digest(
        base
    )  # before it is loaded, and once: what is made belongs to these bytes, whatever comes later
    torch.manual_seed(seed)
    model, unread, read_whole = _opened(base, settings, device, in_parts)
    new_ids = [int(chat.tokenizer.convert_tokens_to_ids(token)) for token in settings.new_tokens]
    if new_ids:
        fit_vocabulary(model, max(new_ids) + 1, new_ids)
    if adapter.kind == "qlora":
        model = quantised.make_trainable(model, activation_checkpointing=settings.activation_checkpointing)
    elif settings.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if adapter.kind == "none":
        choose_weights(model, adapter)
    else:
        model = put_adapter(model, adapter, base, new_ids, settings.ends_in)
    model.train()
    policy = Policy(model, chat, settings, base)
    policy.base_digest = digest
    policy.unread, policy.read_whole = unread, read_whole
    policy.start = Start(model) if adapter.init == "pissa" else None
    if settings.has_value_head:
        policy.add_value_head()
    return policy


def _opened(base: str, settings: TrainingSettings, device: str, in_parts: bool) -> tuple[Any, Unread | None, str]:
    """The base; where its weights are, if they are still to be read, and why they are not, if that was asked for."""
    dtype, reason = "bfloat16" if settings.precision == "bfloat16" else "float32", ""
    if in_parts:
        seeded = torch.get_rng_state()
        try:
            return *open_unread(base, dtype_of(dtype), settings.ends_in, settings), ""
        except MustBeWhole as found:
            reason = str(found)
            torch.set_rng_state(seeded)
    four_bits = settings.adapter.kind == "qlora"
    model = load_model(base, dtype=dtype, device=device, four_bits=four_bits, ends_in=settings.ends_in)
    return model, None, reason
