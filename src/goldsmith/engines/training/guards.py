"""What must hold while training: rows do not see each other, numbers are finite, preferences do not degenerate."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from goldsmith.engines.training.attention import HAS_WINDOWS, CannotSteer
from goldsmith.engines.training.batches import Update, flat_batch
from goldsmith.engines.training.forward import Way
from goldsmith.engines.training.policy import Policy
from goldsmith.engines.training.rows import Node, Row
from goldsmith.types.errors import BadInput


class Diverged(BadInput):
    """Loss or gradient is not a finite number; the weights are those before this update."""


def require_finite(loss: float, grad_norm: float, update: Update, rows: Sequence[Row]) -> None:
    """Stop before a step that would spoil the weights.

    Raises:
        Diverged: naming step and rows.
    """
    if np.isfinite(loss) and np.isfinite(grad_norm):
        return
    names = [f"{rows[i].name} ({rows[i].key[:19]})" for i in update.rows]
    raise Diverged(
        f"training diverged at step {update.step + 1}: loss {loss}, gradient norm {grad_norm}",
        where=", ".join(names[:8]) + (f", … ({len(names)} rows)" if len(names) > 8 else ""),
        allowed="finite numbers",
        next_step="look at these rows, lower learning_rate, or set max_grad_norm; the last good checkpoint is kept",
    )


def require_finite_weights(weights: Iterable[tuple[str, torch.Tensor]], what: str, where: str, next_step: str) -> None:
    """Stop where a weight is no finite number: what comes of it can be neither trained nor used.

    Raises:
        Diverged: naming the tensors.
    """
    own = ((name, getattr(value, "_local_tensor", value)) for name, value in weights)  # of shards, this process's
    bad = [name for name, value in own if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if bad:
        raise Diverged(
            f"{what} holds numbers that are not finite",
            where=where,
            found=", ".join(bad[:5]) + (f", … ({len(bad)} tensors)" if len(bad) > 5 else ""),
            allowed="finite numbers",
            next_step=next_step,
        )


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
        return policy.head().to(states.dtype).logits(states[places_N])
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


def never_seen(tokenizer: Any, tokens: Sequence[str], rows: Sequence[Row]) -> dict[str, str]:
    """Those of the new tokens that no row holds: nothing trains their rows of the embeddings."""
    if not tokens:
        return {}
    seen: set[int] = set()
    for row in rows:
        for node in row.nodes:
            seen.update(np.unique(node.ids).tolist())
    missing = [token for token in tokens if int(tokenizer.convert_tokens_to_ids(token)) not in seen]
    return {"new_tokens_never_seen": ", ".join(missing)} if missing else {}


class DegeneratePairs:
    """The alarm for preference training: both answers get less likely while their margin explodes, or both get less
    likely alike, so that the model forgets how to answer and hardly learns which answer is better.

    `watch` wants the means of an update: chosen and rejected log-ratios to the reference, and the margin in units of
    reward (beta times the log-ratio difference). The second form was added for a run on goldsmith-nano with ten times
    its learning rate: both answers 160 nats down, half of the pairs right, and a margin of 2 (Razin et al. 2024,
    arXiv:2410.08847, call it likelihood displacement).
    """

    def __init__(
        self, *, window: int = 20, margin_limit: float = 20.0, fall_limit: float = 20.0, apart: float = 0.25
    ) -> None:
        self.window, self.margin_limit = window, margin_limit
        self.fall_limit, self.apart = fall_limit, apart
        self.recent: list[tuple[float, float, float]] = []

    def watch(self, values: Mapping[str, float]) -> str | None:
        """A warning, once the last `window` updates show it."""
        self.recent.append((values["chosen_logratio"], values["rejected_logratio"], values["reward_margin"]))
        self.recent = self.recent[-self.window :]
        if len(self.recent) < self.window:
            return None
        chosen, rejected, margin = (float(np.mean(column)) for column in zip(*self.recent, strict=True))
        if chosen >= 0 or rejected >= 0:
            return None
        exploding = margin > self.margin_limit
        alike = chosen < -self.fall_limit and chosen - rejected < self.apart * -chosen
        if not (exploding or alike):
            return None
        return (
            f"degenerate preference training: chosen {chosen:.1f} and rejected {rejected:.1f} nats from the reference, "
            f"reward margin {margin:.1f}; raise beta, lower learning_rate or train fewer epochs"
        )
