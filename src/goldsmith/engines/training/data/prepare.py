"""From records to training and validation rows: encoded once, fitted to the length, split; every row accounted for."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.mixing import MAIN
from goldsmith.engines.training.data.rows import Row, fit, split
from goldsmith.engines.training.data.token_cache import TokenCache
from goldsmith.engines.training.guards.overfitting import FEWEST
from goldsmith.engines.training.method import Method
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.trust.records import record_digest
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Record

FORWARD_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Tokens of a packed forward where the settings name none, by device; any other device counts as a CPU."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows to train and to validate on, and what became of the records that are in neither.

    `other_kind` counts records the method does not train on; `cut` and `dropped` name over-long rows.
    """

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    cut: tuple[str, ...]
    dropped: tuple[str, ...]
    other_kind: int
    cache_damaged: int

    @property
    def digest(self) -> str:
        """Of the rows' content and order, and of which are validated on."""
        total = hashlib.sha256()
        for part in (self.train, self.validation):
            for row in part:
                total.update(row.key.encode() + b"\n" + row.part.encode())
                total.update(b"" if row.weight == 1.0 else repr(row.weight).encode())
            total.update(b"\n")
        return "sha256:" + total.hexdigest()


def _encode(
    method: Method,
    settings: TrainingSettings,
    chat: Chat,
    records: Sequence[Record],
    names: Sequence[str],
    cache: TokenCache,
    trust: Mapping[Digest, float] | None = None,
) -> tuple[list[Row], int]:
    rows: list[Row] = []
    fresh: list[Row] = []
    other = 0
    for record, name in zip(records, names, strict=True):
        if not method.accepts(record):
            other += 1
            continue
        key = settings.row_key(record)
        row = cache.get(key, name)
        if row is None:
            try:
                row = method.encode(chat, record, name, key)
            except BadInput as error:
                raise BadInput(
                    error.what,
                    where=name if error.where is None else f"{name}, {error.where}",
                    found=error.found,
                    allowed=error.allowed,
                    next_step=error.next_step,
                ) from error
            fresh.append(row)
        part, weight = settings.part_of(record), 1.0
        if trust and settings.trust_weighting:
            weight = max(float(settings.lowest_weight), trust.get(record_digest(record), 1.0))
        rows.append(row if part == MAIN and weight == 1.0 else replace(row, part=part, weight=weight))
    cache.add(fresh)
    return rows, other


def _require_parts(settings: TrainingSettings, rows: Sequence[Row], records: Sequence[Record]) -> None:
    """Every part of the mix has rows to train on, and so has what it is mixed into."""
    present = {row.part for row in rows}
    wanted = [("the data itself", MAIN, ""), *((one.part, one.part, ", ".join(one.sources)) for one in settings.mix)]
    for name, part, sources in wanted:
        if settings.mix and part not in present:
            raise BadInput(
                f"the mix has no row of {name} to train on",
                where="mix",
                found=f"no row of {sources}" if sources else "every row is of a source that is mixed in",
                allowed="sources of the rows: " + ", ".join(sorted({str(r.origin.source) for r in records})),
            )


def _require_aside(settings: TrainingSettings, rows: int) -> None:
    """What would stop a run by its validation has rows to do so."""
    wanted = [("early_stopping_patience", "early stopping", 1)] if settings.early_stopping_patience else []
    wanted += [("overfit, act", "stopping where a run overfits", FEWEST)] if settings.overfit.act == "stop" else []
    for where, what, fewest in wanted:
        if rows < fewest:
            raise BadInput(
                f"{what} needs validation rows",
                where=where,
                found=str(rows) if rows else "none",
                allowed=f"at least {fewest}",
                next_step="set validation_share, or give validation records",
            )


def prepare_data(
    method: Method,
    settings: TrainingSettings,
    chat: Chat,
    records: Sequence[Record],
    validation: Sequence[Record] | None,
    names: Sequence[str] | None,
    cache_dir: Path,
    trust: Mapping[Digest, float] | None = None,
    *,
    validation_names: Sequence[str] | None = None,
    context: int | None = None,
) -> TrainingData:
    """Encode, fit and split. `trust`: by record digest, what a row counts for; 1 where it says nothing. `context`:
    tokens that the base was made for; no longer row is advised.

    Raises:
        BadInput: naming the row that cannot be trained; no row of the method's kind; over-long rows where the settings
            refuse them; an early-stopping patience without validation rows.
    """
    identity: dict[str, object] = {
        "method": method.id,
        "version": method.version,
        "tokenizer": chat.tokenizer_digest,
        "template": chat.template_digest,
        "stop": sorted(chat.stop_ids),
    }
    if settings.encoding:
        identity["encoding"] = settings.encoding
    cache = TokenCache(cache_dir, identity)
    names = [f"record {i + 1}" for i in range(len(records))] if names is None else names
    rows, other = _encode(method, settings, chat, records, names, cache, trust)
    if not rows:
        raise BadInput(
            f"none of the {len(records)} records can be trained on by {method.id}",
            found=", ".join(sorted({record.content.kind for record in records})) or "no records",
            next_step="see how the rows are read (goldsmith show rows FILE); goldsmith show capabilities methods tells "
            "what each method learns from",
        )
    fitted = fit(rows, settings.max_length, settings.over_long, context=context)
    if validation is None:
        parts = split(fitted.rows, float(settings.validation_share))
        train, aside, cut, dropped = parts.train, parts.validation, fitted.cut, fitted.dropped
    else:
        called = names_aside(validation) if validation_names is None else validation_names
        more, other_validation = _encode(method, settings, chat, validation, called, cache)
        length, over_long = settings.max_length, settings.over_long
        kept = fit(more, length, over_long, may_be_empty=True, context=context) if more else None
        train, aside = fitted.rows, kept.rows if kept else ()
        cut, dropped = fitted.cut + (kept.cut if kept else ()), fitted.dropped + (kept.dropped if kept else ())
        other += other_validation
    _require_parts(settings, train, records)
    _require_aside(settings, sum(row.part == MAIN for row in aside))
    return TrainingData(train, aside, cut, dropped, other, cache.ignored)


def names_aside(validation: Sequence[Record]) -> list[str]:
    """What validation records are called where nobody named them."""
    return [f"validation record {i + 1}" for i in range(len(validation))]


def plan_of(settings: TrainingSettings, rows: Sequence[Row], seed: int, *, device: str, share: bool) -> Plan:
    """Which rows meet in which update and forward. `device`: its type; `share`: whether the model shares prompts."""
    per_update = settings.batch_size * settings.gradient_accumulation
    tokens = settings.forward_tokens or FORWARD_TOKENS.get(device, FORWARD_TOKENS["cpu"])
    mix = tuple((one.part, float(one.share)) for one in settings.mix)
    packed = tokens if settings.packing == "best_fit" else 0
    plan = Plan(tuple(rows), seed, per_update, 1, packed, settings.batch_size, share=share, mix=mix)
    passes = max(1, round(float(settings.epochs) * plan.steps_per_epoch))
    return replace(plan, steps=settings.max_steps if settings.max_steps is not None else passes)
