"""An update of the real engine on tensors without contents, for any architecture, from its config alone.

The model is built from its config on the meta device, adapters and all; `following` runs its forwards and backward
passes and counts. Of layers that are alike (`layers`) not all are followed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from goldsmith.engines.fit import four_bits
from goldsmith.engines.fit.following import EDGES, Followed, Reads, follow
from goldsmith.engines.fit.layers import continued, may_be_shortened, shortened
from goldsmith.engines.training.data.batches import Batch, flat_batch
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.model.adapters import choose_weights, put_adapter
from goldsmith.engines.training.model.meta import meta_plain
from goldsmith.engines.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters: all, trained, those that a token goes through (a mixture's other experts left out), and those of
    embeddings and head. `vocabulary`: logits of a label, 0 for a model that ends in a number. `layers` to `head_dim`
    are the cache's dimensions; `widest`: the longer side of the largest matrix of a layer."""

    parameters: int
    trained: int
    active: int
    embeddings: int
    vocabulary: int
    hidden: int
    layers: int
    kv_heads: int
    head_dim: int
    widest: int = 0


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
    """The model with its adapter, as training opens it, without contents. Errors: as `meta_plain`."""
    model = meta_plain(config, settings)
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
        widest=max(
            (max(p.shape[-2:]) for p in unique if p.ndim > 1 and p is not inside and p is not outside), default=0
        ),
    )


def simulate(
    config: Any,
    settings: TrainingSettings,
    batches: Sequence[Batch],
    *,
    device: str,
    reads: Reads,
    every_layer: bool = False,
) -> Simulated:
    """An update after the first one of the same forwards. Where layers are alike three and four of them are followed,
    and the rest worked out, which gives the same as `every_layer`.

    Errors: BadInput where the architecture cannot be run so.
    """
    layers = int(config.get_text_config().num_hidden_layers)
    if every_layer or layers <= len(EDGES) or not may_be_shortened(meta_plain(config, settings), settings):
        return _simulated(*_followed(config, settings, batches, device, reads), settings, device)
    fewer, more = (
        _followed(shortened(config, short), settings, batches, device, reads) for short in (len(EDGES) - 1, len(EDGES))
    )
    beyond = layers - len(EDGES)
    counts = Counts(**continued(asdict(fewer[0]), asdict(more[0]), beyond))
    return _simulated(counts, Followed(**continued(asdict(fewer[1]), asdict(more[1]), beyond)), settings, device)


def _followed(
    config: Any, settings: TrainingSettings, batches: Sequence[Batch], device: str, reads: Reads
) -> tuple[Counts, Followed]:
    model = meta_model(config, settings)
    return count(model), follow(model, settings, batches, device=device, reads=reads)


def _simulated(counts: Counts, found: Followed, settings: TrainingSettings, device: str) -> Simulated:
    less, kept, away = int(found.quantised), max(found.kept), 0
    if settings.activation_offload and device == "cuda":  # two layers' inputs are on the GPU at a time
        away = max(0, kept - 2 * kept // max(1, counts.layers))
    peak = max(found.peaks.values()) - less + found.copied - away
    units = (found.layer, found.rest, found.layer_gradients, found.rest_gradients)
    return Simulated(counts, found.static - less, found.gradients, found.optimiser, kept - away, peak, *units)


def stated_rows(prompt: int, answer: int, branches: int, number: int) -> list[Row]:
    """Rows of a stated length: a prompt of so many tokens and `branches` answers after it (0: one path)."""
    ids, mask = np.zeros(prompt + answer, np.int32), np.zeros(prompt + answer, np.bool_)
    mask[prompt:] = True
    if branches == 0:
        return [Row((Node(ids, mask),), f"row {n}", str(n)) for n in range(number)]
    root = Node(ids[:prompt], mask[:prompt])
    leaves = tuple(Node(ids[prompt:], mask[prompt:], 0) for _ in range(branches))
    return [Row((root, *leaves), f"row {n}", str(n)) for n in range(number)]


def answered(
    prompts: Sequence[Row], group: int, answer: int, capacity: int, own: int | None = None
) -> tuple[list[Row], list[list[int]]]:
    """Prompts with `group` answers of `answer` tokens each, of which `own` are learned (None: all), in as many rows as
    a forward of `capacity` tokens asks for (0: one); and each prompt's rows."""
    ids, mask = np.zeros(answer, np.int32), np.arange(answer) < (answer if own is None else own)
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
