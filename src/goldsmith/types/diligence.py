"""A due-diligence report as a plain value: what a vendor shows a buyer of data, and what the page is drawn from.

The same data gives the same value; only `made_at` says when. What could not be measured is there with its reason, never
left blank. Texts of strangers are quoted, cut short, and withheld where they hold secrets or personal data.
"""

from typing import Any, Literal

from pydantic import Field

from goldsmith.types.artifact import Digest, Frozen, Real, SafeInt
from goldsmith.types.finding import Outcome, Severity


class Measure(Frozen):
    """One figure with its 95 % interval and what it counts; `value` is None where it could not be measured, and `told`
    then says why. Shares have `part` of `whole`."""

    name: str
    told: str
    value: Real | None = None
    low: Real | None = None
    high: Real | None = None
    part: SafeInt | None = None
    whole: SafeInt | None = None


class Subject(Frozen):
    """What the report is about. `digest`: of the file's bytes, or of the collection's or release's artifact.

    `records` are described; `delivered` came in; `faulty` rows could not be read; `left_out` are not in the release.
    """

    what: Literal["file", "collection", "release"]
    name: str
    digest: Digest
    records: SafeInt
    delivered: SafeInt
    faulty: SafeInt
    left_out: SafeInt = 0
    merkle_root: Digest | None = None
    workspace: str | None = None
    trust_root: Digest | None = None
    self_attested: bool | None = None
    withdrawn: str | None = None


class Shown(Frozen):
    """A finding as a reader needs it: `rows` it names (the first of their lines), pieces of them, and the contrast with
    the other sources. `alike`: further findings of the same check in this place."""

    check: str
    severity: Severity
    score: Real
    evidence: str
    rows: SafeInt = 0
    lines: tuple[SafeInt, ...] = ()
    examples: tuple[str, ...] = ()
    contrast: str = ""
    alike: SafeInt = 0


class Named(Frozen):
    """How many rows of a unit a check names, and the gravest severity."""

    check: str
    rows: SafeInt
    severity: Severity


class Drift(Frozen):
    """How well a classifier tells a batch from what it is compared with: AUC 0.5 is not at all, 1 is always.

    `length_psi`: population stability index of the texts' lengths. `told`: why there is no figure, or what it means.
    """

    versus: Literal["the batch before", "the other sources"]
    against: str
    told: str
    auc: Real | None = None
    low: Real | None = None
    high: Real | None = None
    length_psi: Real | None = None
    here: SafeInt = 0
    there: SafeInt = 0


class Unit(Frozen):
    """One source x batch: its verdict and the evidence for it. `above`: records above the 1 % line of `combined`."""

    source: str
    batch: str
    verdict: Outcome
    delivered: SafeInt
    used: SafeInt
    faulty: SafeInt
    left_out: SafeInt
    above: SafeInt
    human: SafeInt
    named: tuple[Named, ...] = ()
    shown: tuple[Shown, ...] = ()
    drift: tuple[Drift, ...] = ()


class Count(Frozen):
    """How many records say this; `name` is None for those that do not say."""

    name: str | None
    records: SafeInt


class Tally(Frozen):
    """The records by what their origin says of one field, most first; `others` sums up values beyond those listed."""

    field: str
    counts: tuple[Count, ...]
    values: SafeInt
    others: SafeInt = 0


class Topic(Frozen):
    """A cluster of prompts with the words that set it apart, and how many sampled records of each unit are in it."""

    words: tuple[str, ...]
    by_unit: tuple[SafeInt, ...]


class CheckRun(Frozen):
    """One check: whether it ran, could not tell (`why`) or was left out, and the rows it names by severity."""

    check: str
    version: SafeInt
    outcome: Literal["ran", "could not tell", "left out"]
    why: str = ""
    quarantined: SafeInt = 0
    excluded: SafeInt = 0
    warned: SafeInt = 0
    noted: SafeInt = 0
    facts: dict[str, str] = Field(default_factory=dict)


class Power(Frozen):
    """What a drill measured: `records` of a known attack were planted in a copy of the data, `draws` times.

    `caught`: share of the planted records above the threshold that 1 % of the clean rows exceed; `low`: its lower 95 %
    bound. `named`: in how many draws the right source x batch was quarantined. `inapplicable`: why the attack has no
    place in this data; then nothing was measured.
    """

    attack: str
    records: SafeInt
    draws: SafeInt
    caught: Real
    low: Real
    named: SafeInt
    inapplicable: str | None = None


class Annotator(Frozen):
    """One annotator: `gold` accuracy and `agreement` with the others' votes on the same items."""

    name: str
    votes: SafeInt
    gold: Measure
    agreement: Measure


class Agreement(Frozen):
    """The votes as a whole; `told` says why there is nothing to tell where there is not."""

    told: str
    votes: SafeInt = 0
    items: SafeInt = 0
    annotators: tuple[Annotator, ...] = ()
    unlisted: SafeInt = 0
    overall: tuple[Measure, ...] = ()
    by_source: tuple[Measure, ...] = ()


class Bin(Frozen):
    """Records with `low` <= 1 - combined < `high`: how small a share of clean rows is as suspicious."""

    low: Real
    high: Real
    records: SafeInt


class Scores(Frozen):
    """The distribution of `combined`. `above`: the share over the line that 1 % of clean rows exceed."""

    line: Real
    bins: tuple[Bin, ...]
    above: Measure
    scored_by: tuple[str, ...]


class Point(Frozen):
    """A sampled record on the map, 0..1000 both ways. `unit`: its place in `units`; `state`: its gravest mark."""

    x: SafeInt
    y: SafeInt
    unit: SafeInt
    line: SafeInt
    state: Literal["", "above", "warn", "exclude", "quarantine"]


class Map(Frozen):
    """Records that speak alike lie near each other. `told`: how it was made, or why there is none."""

    told: str
    points: tuple[Point, ...] = ()
    of: SafeInt = 0


class Diligence(Frozen):
    """All of one report. `power` is empty where no drill was run; `power_told` says so in plain words."""

    kind: Literal["due-diligence"] = "due-diligence"
    made_at: str
    made_by: str
    subject: Subject
    verdict: Outcome
    why: str
    power: tuple[Power, ...]
    power_told: str
    residual: tuple[str, ...]
    units: tuple[Unit, ...]
    unlisted_units: SafeInt = 0
    """Source x batches beyond those listed; the failed ones are listed first."""
    collection: tuple[Shown, ...]
    """What was found in the data as a whole, in no single source."""
    accuracy: tuple[Measure, ...]
    completeness: tuple[Measure, ...]
    consistency: tuple[Measure, ...]
    checks: tuple[CheckRun, ...]
    tallies: tuple[Tally, ...]
    topics: tuple[Topic, ...]
    topics_told: str
    agreement: Agreement
    scores: Scores
    map: Map


def report_schema() -> dict[str, Any]:
    """The JSON Schema of a report as it is written: decimals are texts, and `schema` names the kind and version."""
    found = Diligence.model_json_schema(mode="serialization")
    found["properties"]["schema"] = {"const": "goldsmith.due-diligence/v1", "type": "string"}
    found["required"] = sorted({*found.get("required", ()), "schema"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
