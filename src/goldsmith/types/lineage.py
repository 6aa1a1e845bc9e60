"""What each stage leaves behind. Only its stage makes it; everything may read it. All are stored by digest."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Literal

from pydantic import field_validator

from goldsmith.types.artifact import Digest, Frozen, Real, SafeInt
from goldsmith.types.finding import SourceVerdict
from goldsmith.types.score import MetricResult


def is_plain_name(name: object) -> bool:
    """Whether this is a file's name and no path, on any system."""
    if not isinstance(name, str) or name in ("", ".", "..") or "\0" in name:
        return False
    return PurePosixPath(name).name == name and PureWindowsPath(name).name == name


class Delivery(Frozen):
    """What a source signs: these bytes are mine, number `sequence` of this source, meant for `audience`.

    `previous` is the digest of the source's delivery before this one (None for the first): replays and
    reorderings show. `expires_at` and `issued_at` are RFC 3339 in UTC.
    """

    kind: Literal["delivery"] = "delivery"
    source: str
    batch: str
    sequence: SafeInt
    previous: Digest | None
    file: Digest
    file_name: str
    records: SafeInt
    merkle_root: Digest
    audience: str
    issued_at: str
    expires_at: str
    nonce: str


class Collection(Frozen):
    """Records as delivered. `records` is a stored blob of canonical JSON lines, in the file's order."""

    kind: Literal["collection"] = "collection"
    delivery: Digest
    source: str
    batch: str
    format: str
    records: Digest
    count: SafeInt
    faulty: SafeInt
    merkle_root: Digest
    places: Digest
    """A stored blob: each record's line in the delivered file, and the faulty lines with their faults."""


class LeftOut(Frozen):
    """A record that was delivered and is not in the release, and why."""

    record: Digest
    source: str
    batch: str
    line: SafeInt
    reason: str


class Release(Frozen):
    """A frozen dataset. `records` and `left_out` are stored blobs of canonical JSON lines; the Merkle leaves are the
    record digests, sorted."""

    kind: Literal["release"] = "release"
    name: str
    collections: tuple[Digest, ...]
    records: Digest
    count: SafeInt
    merkle_root: Digest
    left_out: Digest
    left_out_count: SafeInt
    findings: Digest
    sources: tuple[SourceVerdict, ...]
    policy: Digest
    checked: bool = True


class WeightFile(Frozen):
    """A file of a model. `path`: its name in the model's folder, never a way out of it."""

    path: str
    digest: Digest
    size: SafeInt

    @field_validator("path")
    @classmethod
    def _is_a_name(cls, path: str) -> str:
        if not is_plain_name(path):
            raise ValueError("a model's file is named by its name alone, without folders")
        return path


class Model(Frozen):
    """Weights and all that is needed to run them. `base` is the model an adapter sits on; of a whole model the adapter
    that was merged into it, or None."""

    kind: Literal["model"] = "model"
    name: str
    files: tuple[WeightFile, ...]
    form: Literal["full", "adapter"]
    base: Digest | None
    tokenizer: Digest
    chat_template: Digest
    run: Digest | None = None


class Run(Frozen):
    """A training run, measured by the trainer itself. `settings` is the method's canonical JSON text."""

    kind: Literal["run"] = "run"
    method: str
    settings: str
    release: Digest
    base: Digest
    recipe: Digest
    seed: SafeInt
    records_used: SafeInt
    validation_records: SafeInt
    rows_cut: SafeInt
    rows_dropped: SafeInt
    steps: SafeInt
    tokens: SafeInt
    stop: str
    final_loss: Real
    best_validation_loss: Real | None
    metrics: Digest
    code: str
    environment: str


class Examination(Frozen):
    """Evals run on a model and on its base; `items`: stored JSON lines, every item, score and trajectory."""

    kind: Literal["examination"] = "examination"
    model: Digest
    base: Digest | None
    evals: str
    results: tuple[MetricResult, ...]
    items: Digest
    seed: SafeInt
