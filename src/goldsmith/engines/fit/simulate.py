"""An update of the real engine on tensors without contents: which bytes are alive when, for any architecture.

The model is built from its config on the meta device, adapters and all, and its forward and backward pass run through
`Policy` and its losses as in training, on fake tensors (torch's FakeTensorMode). Nothing is computed or allocated.
"""

import copy
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch

from goldsmith.engines.fit import four_bits, gpu
from goldsmith.engines.fit.ledger import Ledger
from goldsmith.engines.training.data.batches import Batch, flat_batch
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.model.adapters import choose_weights, put_adapter
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput

Reads = Literal["tokens", "answers", "scores"]
"""What a loss reads: cross-entropy of tokens (SFT), log-probabilities of answers (DPO and its kin, RL), or numbers of a
model that ends in one (reward models)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters: all, trained, those that a token goes through (a mixture's other experts left out), and those of
    embeddings and head. `vocabulary`: logits of a label, 0 for a model that ends in a number. `layers` to `head_dim`
    are the cache's dimensions."""

    parameters: int
    trained: int
    active: int
    embeddings: int
    vocabulary: int
    hidden: int
    layers: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class Simulated:
    """Bytes of two updates. `peak`: all tensors that are alive at the worst moment; `activations`: what the decoder
    keeps for the backward pass of the largest forward. `layer`, `rest`: weights, and in `..._gradients` those that
    are trained, of the largest decoder layer and of what is in none."""

    counts: Counts
    weights: int
    gradients: int
    optimiser: int
    activations: int
    peak: int
    layer: int = 0
    rest: int = 0
    layer_gradients: int = 0
    rest_gradients: int = 0


def meta_model(config: Any, settings: TrainingSettings) -> Any:
    """The model with its adapter, as training opens it, without contents. Errors: BadInput for an unknown kind."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    dtype = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    kind: Any = AutoModelForCausalLM
    if settings.ends_in == "number":
        config = copy.deepcopy(config)
        config.num_labels, kind = 1, AutoModelForSequenceClassification
    try:
        with torch.device("meta"):
            model = kind.from_config(config, dtype=dtype)
    except (ValueError, KeyError, ImportError, AttributeError) as error:
        named = getattr(config, "model_type", "?")
        what = "causal language" if settings.ends_in == "words" else "reward"
        raise BadInput(f"no {what} model can be built from this config", found=f"{named}: {error}") from error
    if settings.adapter.kind == "none":
        choose_weights(model, settings.adapter)
    else:
        if settings.adapter.kind == "qlora":
            four_bits.prepare(model)
        model = put_adapter(model, settings.adapter.model_copy(update={"init": "zero"}), "base", [], settings.ends_in)
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def count(model: Any) -> Counts:
    """Parameters by what they are for."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config.get_text_config()
    unique = {id(p): p for p in model.parameters()}.values()
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) or 0
    used = getattr(config, "num_experts_per_tok", None) or experts
    total = sum(p.numel() for p in unique)
    stacked = sum(p.numel() for p in unique if experts and p.ndim >= 2 and p.shape[0] == experts)
    stacked -= sum(p.numel() for p in unique if experts and p.ndim == 2 and p.shape == (experts, config.hidden_size))
    inside, head = inner.get_input_embeddings().weight, inner.get_output_embeddings()
    outside = inside if head is None else head.weight
    heads = config.num_attention_heads
    return Counts(
        parameters=total,
        trained=sum(p.numel() for p in unique if p.requires_grad),
        active=total - (stacked - stacked * used // experts if experts else 0),
        embeddings=sum(p.numel() for p in {id(inside): inside, id(outside): outside}.values()),
        vocabulary=0 if head is None else int(outside.shape[0]),
        hidden=int(outside.shape[1]),
        layers=int(config.num_hidden_layers),
        kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
    )


def _hollow(model: Any) -> None:
    """Put fake tensors in the place of the meta ones; tied weights stay tied."""
    made: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, old in module._parameters.items():
            if old is not None:
                if id(old) not in made:
                    fresh = torch.empty(old.shape, dtype=old.dtype)
                    made[id(old)] = torch.nn.Parameter(fresh, requires_grad=old.requires_grad)
                module._parameters[name] = made[id(old)]
        for name, old in module._buffers.items():
            if old is not None:
                module._buffers[name] = torch.empty(old.shape, dtype=old.dtype)


def simulate(
    config: Any, settings: TrainingSettings, batches: Sequence[Batch], *, device: str, reads: Reads
) -> Simulated:
    """Two updates of the same forwards.

    Errors: BadInput where the architecture cannot be run so.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    model = meta_model(config, settings)
    counts = count(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        _hollow(model)
        policy = Policy(model, SimpleNamespace(pad_id=0), settings, "base")  # type: ignore[arg-type]
        policy.take("flat")
        ledger = Ledger()
        with gpu.kernels(policy) if device == "cuda" else nullcontext(), ledger:
            for tensor in (*model.parameters(), *model.buffers()):
                ledger.enter(tensor)
            static = ledger.live
            decoded: list[int] = []
            policy.decoder.register_forward_hook(lambda *_: decoded.append(ledger.live))
            try:
                moments, kept = [], [0]
                for update in range(2):
                    for batch in batches:
                        before = ledger.live
                        _once(policy, batch, reads)
                        kept.append(decoded[-1] - before)
                    for parameter in model.parameters() if update == 0 else ():
                        if parameter.requires_grad:
                            moments += [torch.zeros_like(parameter), torch.zeros_like(parameter)]
                            parameter.grad = None
            except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
                raise BadInput(
                    "this architecture's forward pass could not be followed",
                    found=f"{type(error).__name__}: {str(error)[:160]}",
                    next_step="measure it: train a few steps with max_steps, and look at the memory",
                ) from error
            optimiser = sum(moment.numel() * moment.element_size() for moment in moments)
    less, more = four_bits.saved(model) if settings.adapter.kind == "qlora" else (0, 0)
    gradients = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    away = 0
    if settings.activation_offload and device == "cuda":  # two layers' inputs are on the GPU at a time
        away = max(0, max(kept) - 2 * max(kept) // max(1, counts.layers))
    peak = ledger.peak - less + more - away
    return Simulated(counts, static - less, gradients, optimiser, max(kept) - away, peak, *_units(policy))


def _units(policy: Policy) -> tuple[int, int, int, int]:
    """Bytes of the largest decoder layer and of what is in none, then of their gradients."""
    layers = list(getattr(policy.decoder, "layers", None) or [])
    inside = {id(p) for layer in layers for p in layer.parameters()}
    rest = [p for p in policy.model.parameters() if id(p) not in inside]
    sizes = [(_bytes(layer.parameters()), _bytes(layer.parameters(), trained=True)) for layer in layers]
    layer, gradients = max(sizes, default=(0, 0))
    return layer, _bytes(rest), gradients, _bytes(rest, trained=True)


def _bytes(parameters: Iterable[torch.Tensor], *, trained: bool = False) -> int:
    return sum(p.numel() * p.element_size() for p in parameters if p.requires_grad or not trained)


def _once(policy: Policy, batch: Batch, reads: Reads) -> None:
    if reads == "scores":
        loss = policy.numbers(batch).sum()
    elif reads == "answers":
        loss = policy.sequence_logprobs(batch).sum()
    else:
        loss = policy.cross_entropy(batch, max(1, int(batch.labels_N.numel())))
    loss.backward()  # type: ignore[no-untyped-call]


def stated_rows(prompt: int, answer: int, branches: int, number: int) -> list[Row]:
    """Rows of a stated length: a prompt of so many tokens and `branches` answers after it (0: one path)."""
    ids, mask = np.zeros(prompt + answer, np.int32), np.zeros(prompt + answer, np.bool_)
    mask[prompt:] = True
    if branches == 0:
        return [Row((Node(ids, mask),), f"row {n}", str(n)) for n in range(number)]
    root = Node(ids[:prompt], mask[:prompt])
    leaves = tuple(Node(ids[prompt:], mask[prompt:], 0) for _ in range(branches))
    return [Row((root, *leaves), f"row {n}", str(n)) for n in range(number)]


def answered(prompts: Sequence[Row], group: int, answer: int, capacity: int) -> tuple[list[Row], list[list[int]]]:
    """Prompts with `group` answers of `answer` tokens each, in as many rows as a forward of `capacity` tokens asks for
    (0: one); and each prompt's rows."""
    ids, mask = np.zeros(answer, np.int32), np.ones(answer, np.bool_)
    rows: list[Row] = []
    members: list[list[int]] = []
    for prompt in prompts:
        root = Node(prompt.nodes[0].ids, np.zeros(len(prompt.nodes[0].ids), np.bool_))
        at_once = max(1, (capacity - len(root.ids)) // answer) if capacity else group
        members.append([])
        for low in range(0, group, at_once):
            leaves = (Node(ids, mask, 0),) * min(at_once, group - low)
            members[-1].append(len(rows))
            rows.append(Row((root, *leaves), prompt.name, prompt.key))
    return rows, members


def heaviest(rows: Sequence[Row], updates: Sequence[Sequence[Sequence[int]]]) -> list[Batch]:
    """Of the update with the largest forward that one, and the largest of those that come with gradients waiting."""

    def size(members: Sequence[int]) -> tuple[int, int]:
        nodes = [node for i in members for node in rows[i].nodes]
        return sum(len(n.ids) for n in nodes), sum(int(n.trained.sum()) for n in nodes)

    update = max(updates, key=lambda forwards: max(size(members) for members in forwards))
    rest = update[1:]
    chosen = [update[0], max(rest, key=size)] if rest else [update[0]]
    return [flat_batch(rows, members) for members in chosen]
