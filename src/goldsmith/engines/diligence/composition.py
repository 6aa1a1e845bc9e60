"""What the records are made of, as their origins say, and what of it they do not say: completeness."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from goldsmith.engines.diligence.measures import share, unmeasured
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.diligence import Count, Measure, Subject, Tally
from goldsmith.types.record import Maker

LISTED = 30
"""Values of a field that are listed one by one; a field of free text could have a million."""
_UNKNOWN = "unknown"


def tallies(view: ProjectedRows) -> tuple[Tally, ...]:
    """How the records divide by kind, maker, generation depth, generator, licence, domain, language and project."""
    origins = view.origins
    return (
        tally("kind", view.columns.kind),
        tally("maker", (None if maker is Maker.UNKNOWN else maker.value for maker in origins.maker)),
        tally("generation depth", (None if depth is None else str(depth) for depth in origins.generation_depth)),
        tally("generator", origins.generator),
        tally("licence", origins.licence),
        tally("domain", origins.domain),
        tally("language", origins.language),
        tally("project", origins.project),
    )


def tally(field: str, values: Iterable[str | None]) -> Tally:
    """Counts of the values, most first; equal counts by name, those that say nothing last."""
    counts = Counter(values)
    ranked = sorted(counts.items(), key=lambda item: (item[0] is None, -item[1], item[0] or ""))
    named = [(value, count) for value, count in ranked if value is not None]
    listed = [Count(name=value, records=count) for value, count in named[:LISTED]]
    listed += [Count(name=None, records=count) for value, count in ranked if value is None]
    return Tally(
        field=field,
        counts=tuple(listed),
        values=len(named),
        others=sum(count for _, count in named[LISTED:]),
    )


def completeness(view: ProjectedRows, subject: Subject) -> tuple[Measure, ...]:
    """Whether every row could be read and answers something, and how many records say where they come from."""
    columns, origins, count = view.columns, view.origins, len(view)
    answered = sum(
        bool(answer.strip() or calls or (rejected and rejected.strip()))
        for answer, calls, rejected in zip(columns.answer, columns.calls, columns.rejected, strict=True)
    )
    read = subject.delivered
    made = [maker in (Maker.MODEL, Maker.MIXED) for maker in origins.maker]
    of_model = sum(made)
    synthetic = "no record says that a model had a part in it"
    named = [view.groups.names[group] for group in view.groups.of_row.tolist()] if count else []
    return (
        share(
            "rows that could be read", read, read + subject.faulty, "the others are listed as faulty rows",
            missing="there are no rows",
        ),
        share("records with an answer", answered, count, "an answer, a rating or a tool call that is not empty"),
        share("records that name their source", sum(s != _UNKNOWN for s, _ in named), count, "origin: source"),
        share("records that name their batch", sum(b != _UNKNOWN for _, b in named), count, "origin: batch"),
        stated("licence", origins.licence, count),
        share(
            "records that say who wrote them",
            count - origins.maker.count(Maker.UNKNOWN), count, "origin: human, model or mixed",
        ),
        share(
            "model-made records that name the model",
            sum(bool(g) for g, m in zip(origins.generator, made, strict=True) if m), of_model, "origin: generator",
            missing=synthetic,
        ),
        share(
            "model-made records that say their generation depth",
            sum(d is not None for d, m in zip(origins.generation_depth, made, strict=True) if m), of_model,
            "synthetic generations since the last human text", missing=synthetic,
        ),
        stated("domain", origins.domain, count),
        stated("language", origins.language, count),
        stated("annotator", origins.annotator, count),
        unmeasured(
            "rubric questions answered, rationales given", "rows of these formats have no field for either"
        ),
    )  # fmt: skip


def stated(name: str, values: Sequence[str | None], count: int) -> Measure:
    """The share of records whose origin says this."""
    article = "an" if name[0] in "aeiou" else "a"
    return share(f"records that name {article} {name}", sum(bool(v) for v in values), count, f"origin: {name}")


def human_by_group(view: ProjectedRows) -> list[int]:
    """Records that people wrote, by group; a mixed record is not among them."""
    counts = [0] * len(view.groups.names)
    for group, maker in zip(view.groups.of_row.tolist(), view.origins.maker, strict=True):
        counts[group] += maker is Maker.HUMAN
    return counts


def matrix(view: ProjectedRows, field: Callable[[ProjectedRows], Sequence[str | None]]) -> Counter[tuple[int, str]]:
    """(group, value) of a field -> records; those that do not say are left out."""
    groups = view.groups.of_row.tolist()
    return Counter((group, value) for group, value in zip(groups, field(view), strict=True) if value)
