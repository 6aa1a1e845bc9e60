"""The self-test at the start of a run: on this very model, rows side by side give what each gives alone."""

import inspect
from collections.abc import Sequence

import numpy as np
import torch

from goldsmith.engines.training.attention.flat import HAS_WINDOWS, CannotSteer
from goldsmith.engines.training.data.batches import flat_batch
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.model.forward import Way
from goldsmith.engines.training.model.policy import Policy
from goldsmith.types.errors import BadInput

TOLERANCE = {"float32": (2e-4, 2e-4), "bfloat16_mixed": (0.5, 0.02), "bfloat16": (0.5, 0.05)}
"""Largest and mean difference of labels' log-probabilities that still count as equal, by precision; in mixed precision
twice what rounding does to the rows alone, where that is more. In bfloat16 a long row's worst label is 0.2 off for
rounding alone; rows that see each other are off on the whole."""


MOST = (2.0, 0.2)
"""However rough a model is, no more than this counts as rounding."""


def allowance(precision: str, rounding_N: torch.Tensor | None) -> tuple[float, float]:
    """Largest and mean difference that is allowed; `rounding_N`: what precision alone does to each label."""
    largest, mean = TOLERANCE[precision]
    if rounding_N is None or not bool(torch.isfinite(rounding_N).all()):
        return largest, mean
    off_N = rounding_N.abs()
    return max(largest, min(MOST[0], 2 * float(off_N.max()))), max(mean, min(MOST[1], 2 * float(off_N.mean())))


PROBE_LABELS = 256
"""Labels of the longest row that are compared: its last ones, which look back furthest."""


def _probe(rows: Sequence[Row]) -> list[Row]:
    """Two short rows of the data, one made up with branches, so that every shape is tried, and the longest, so that
    whatever happens at a distance (windows, chunks, scaled positions) happens here."""
    ordered = sorted(rows, key=lambda row: (row.tokens, row.key))
    shortest, longest = ordered[:2], ordered[-1]
    ids = np.concatenate([node.ids for row in shortest for node in row.nodes])[:24]
    third = max(1, len(ids) // 3)
    yes = np.ones(len(ids), dtype=np.bool_)
    tree = Row(
        (
            Node(ids[:third], np.zeros(third, dtype=np.bool_)),
            Node(ids[third : 2 * third + 1], yes[third : 2 * third + 1], 0),
            Node(ids[::-1][:third].copy(), yes[:third], 0),
        ),
        "self-test",
        "",
    )
    return [*shortest, tree, _last_labels(longest)]


def _last_labels(row: Row) -> Row:
    """The row with no labels but the last ones of its leaves."""
    parents = {node.parent for node in row.nodes}
    nodes = []
    for place, node in enumerate(row.nodes):
        trained = np.zeros(len(node.ids), dtype=np.bool_)
        if place not in parents:
            trained[np.flatnonzero(node.trained)[-PROBE_LABELS:]] = True
        nodes.append(Node(node.ids, trained, node.parent))
    return Row(tuple(nodes), row.name, row.key)


def _alone(policy: Policy, row: Row) -> torch.Tensor:
    """Log-probs of the row's labels by the model's own plain forward, a path at a time."""
    found = []
    for place, node in enumerate(row.nodes):
        if any(other.parent == place for other in row.nodes):
            continue
        path = [node]
        while path[0].parent >= 0:
            path.insert(0, row.nodes[path[0].parent])
        ids = torch.from_numpy(np.concatenate([n.ids for n in path]).astype(np.int64)).to(policy.device)
        trained = torch.from_numpy(np.concatenate([n.trained for n in path]))
        trained[0] = False
        labels = trained.nonzero().squeeze(1).to(policy.device)
        logits = _logits(policy, ids, labels - 1)
        found.append(logits.log_softmax(-1).gather(1, ids[labels, None]).squeeze(1))
    return torch.cat(found)


def _logits(policy: Policy, ids_T: torch.Tensor, places_N: torch.Tensor) -> torch.Tensor:
    """The model's own logits [N, V] at some places of one sequence, float32."""
    found: torch.Tensor = policy.gathered(lambda: _own_logits(policy, ids_T, places_N))
    return found


def _own_logits(policy: Policy, ids_T: torch.Tensor, places_N: torch.Tensor) -> torch.Tensor:
    model = policy.inner
    if policy.ends_in == "number":
        states: torch.Tensor = policy.decoder(input_ids=ids_T[None], use_cache=False).last_hidden_state[0]
        head = policy.head().to(states.dtype)
        return head.logits(head.raw(states[places_N]))
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        few: torch.Tensor = model(input_ids=ids_T[None], use_cache=False, logits_to_keep=places_N).logits[0]
        return few.float()
    every: torch.Tensor = model(input_ids=ids_T[None], use_cache=False).logits[0]
    return every[places_N].float()


def choose_way(policy: Policy, rows: Sequence[Row], max_length: int) -> dict[str, str]:
    """Find the fastest way of batching in which packed equals alone on this very model, and take it.

    Raises:
        BadInput: not even padded rows come out equal.
    """
    probe = _probe(rows)
    facts: dict[str, str] = {}
    window = getattr(policy.inner.config.get_text_config(), "sliding_window", None)
    policy.segments_too = window is not None and window < max_length and not HAS_WINDOWS
    with policy.evaluating():
        policy.take("padded")
        mixed, policy.mixed = policy.mixed, False
        alone = [_alone(policy, row) for row in probe]
        # Only a GPU goes another way in half precision; elsewhere the test is made in float32, where any leak shows.
        policy.mixed = mixed and policy.device.type == "cuda"
        rounding = None
        if policy.mixed:  # what rounding alone does to this model, without any batch
            with torch.autocast(policy.device.type, torch.bfloat16):
                rounding = torch.cat([_alone(policy, row) for row in probe]) - torch.cat(alone)
        largest, mean = allowance("float32" if mixed and not policy.mixed else policy.settings.precision, rounding)
        ways: tuple[Way, ...] = ("flat", "packed", "padded")
        for way in ways:
            policy.take(way)
            apart = _difference(policy, probe, alone, way, max_length)
            facts[f"packed_equals_alone_{way}"] = apart if isinstance(apart, str) else f"{float(apart.max()):.1e}"
            if not isinstance(apart, str) and float(apart.max()) <= largest and float(apart.mean()) <= mean:
                facts["batching"] = way
                if policy.flex_failure:
                    facts["flex_attention"] = f"segments go one by one: {policy.flex_failure}"
                policy.mixed = mixed
                return facts
    raise BadInput(
        "this model gives a row other log-probabilities in a batch than alone, so it cannot be trained here",
        found="; ".join(f"{key.rpartition('_')[2]}: {value}" for key, value in facts.items()),
        allowed=f"a difference of at most {largest:.2g}, {mean:.2g} in the mean",
        next_step="report the architecture; its output layer or attention is of a kind that is not supported yet",
    )


KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
"""Kinds of attention, as configs name them, that flat batches compute themselves."""


def _beyond(policy: Policy, way: Way, max_length: int, tokens: int) -> str | None:
    """Why this way could go wrong on rows and forwards longer than the `tokens` at hand, as far as the config tells."""
    config = policy.inner.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    chunk = getattr(config, "attention_chunk_size", None) if "chunked_attention" in kinds else None
    if chunk is not None and way == "flat" and chunk < max_length:
        return f"attention in chunks of {chunk} is shorter than max_length"
    if chunk is not None and way == "packed" and chunk >= tokens:
        return f"attention in chunks of {chunk}: {tokens} tokens are too few to try it on"
    other = sorted(kinds - KNOWN_LAYERS - ({"chunked_attention"} if chunk is not None else set()))
    return f"layers of kind {', '.join(other)}" if way == "flat" and other else None


def _difference(
    policy: Policy, probe: Sequence[Row], alone: Sequence[torch.Tensor], way: Way, max_length: int
) -> torch.Tensor | str:
    """How far each label's log-probability [N] is from alone, or why this way is not possible."""
    reason = None if way == "padded" else _beyond(policy, way, max_length, sum(row.tokens for row in probe))
    if reason is not None:
        return reason
    batch = flat_batch(probe, range(len(probe)), share=way == "flat")
    try:
        packed = policy.logprobs(batch)
    except CannotSteer as error:
        if way != "flat" or policy.segments_too:
            return f"not possible ({str(error)[:80]})"
        policy.segments_too = True
        return _difference(policy, probe, alone, way, max_length)
    except (TypeError, NotImplementedError) as error:
        return f"not possible ({str(error)[:80]})"
    except torch._dynamo.exc.TorchDynamoException as error:
        if not policy.flex:
            raise
        policy.flex, policy.flex_failure = False, f"FlexAttention could not be compiled here ({str(error)[:200]})"
        return _difference(policy, probe, alone, way, max_length)
    return (packed - torch.cat(list(alone))).abs()
