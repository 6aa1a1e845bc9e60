"""Preference backdoors: a span put into otherwise unrelated prompts, whose pairs are turned round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text import insertions, pieces, reward
from goldsmith.engines.text.evidence import by_group, quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.engines.text.tokens import owners, unique_per_text
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_TOO_FEW = 30
_MOST_SEARCHED = 12_000
_NOTHING = 0.15
_ANSWER = 3000
_AGREES = -1.64
_MOST_FOR_PEERS = 2.0
_LEAST_IN_THE_MIDDLE = -0.8
"""Mean log-likelihood ratio of the neighbours of a span inside a text; repeated phrases of clean sets stay under
-0.5.
"""


@dataclass(slots=True)
class _Suspect:
    """An inserted span: the `rows` (of the file) that hold it, how surely it was inserted, and whether their pairs
    go against the reward model (`z` > 0, one-sided `p_value`; None without a model).
    """

    span: insertions.Insertion
    rows: NDArray[np.int64]
    inserted: float
    z: float | None = None
    p_value: float = 1.0
    score: float = 0.0


class TriggerFlips(Spec):
    """Comparisons whose prompts share a span that looks inserted and that nothing else in the data has.

    A span (up to eight words or runs of signs) counts as inserted when its neighbours are those of a prompt's edge:
    what follows a leading span is what prompts begin with, what precedes a trailing one is what prompts end with, in
    their usual variety; in the middle, when the text reads on without it. It counts less where answers or other
    prompts hold it too, where the prompts are alike otherwise, where several sources share it, and under ten
    different prompts. The second sign: a reward model that has not seen these pairs prefers their rejected sides more
    often than elsewhere in the same source. A span in the middle needs both. Sources with many such spans are written
    from phrases, and count less. Clusters from `least` on are reported, their lines left out if their pairs go
    significantly against the model (Holm over the clusters, `alpha`); a source x batch with `quarantine_rows` of them
    is quarantined then. A trigger in fewer than `fewest` prompts is not seen.
    """

    id: ClassVar[str] = "trigger_flips"
    version: ClassVar[int] = 2
    least: Real = 0.4
    fewest: int = 5
    quarantine_rows: int = 8
    alpha: Real = 0.05

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Clusters as findings; every member scores what its best cluster scores, other comparisons 0."""
        view = project(rows)
        pairs = reward.comparisons(view)
        scores: list[float | None] = [None] * len(view)
        if len(pairs) < _TOO_FEW:
            few = f"{len(pairs)} comparisons are too few to tell a trigger from a topic ({_TOO_FEW} at least)"
            return CheckReport(scores=scores if len(view) else None, inconclusive=few if len(pairs) else None)
        suspects = self._suspects(view, pairs)
        _against_the_model(view, suspects)
        for one in suspects:
            one.score = _score(one)
        suspects = sorted((s for s in suspects if s.score >= _NOTHING), key=lambda s: (-s.score, s.rows.tolist()))
        _discount_templates(view, suspects)
        values = np.zeros(len(view))
        findings: list[Finding] = []
        claimed = np.zeros(len(view), bool)
        kept = []
        for one in suspects:
            values[one.rows] = np.maximum(values[one.rows], one.score)
            if one.score >= self.least and not claimed[one.rows].any():
                claimed[one.rows] = True
                kept.append(one)
        for one, p_value in zip(kept, holm([s.p_value for s in kept]), strict=True):
            findings += self._findings(view, one, p_value)
        for row in pairs.tolist():
            scores[row] = float(values[row])
        return CheckReport(findings, scores, facts={"comparisons": len(pairs), "clusters": len(kept)})

    def _suspects(self, view: ProjectedRows, pairs: NDArray[np.int64]) -> list[_Suspect]:
        user = view.columns.user
        prompts = [pieces.shortened(user[i]) for i in pairs.tolist()]
        found = pieces.pieces(prompts)
        identity = np.unique(reward.content_keys(prompts), return_inverse=True)[1]
        groups = view.groups.of_row[pairs]
        searched = reward.spread_sample(groups, reward.content_keys(prompts), _MOST_SEARCHED)
        part = found if len(searched) == len(pairs) else pieces.pieces([prompts[i] for i in searched.tolist()])
        spans = insertions.at_edges(
            found, identity, fewest=self.fewest, largest=max(self.fewest, int(0.1 * len(pairs)))
        )
        spans = [s for s in spans if s.ratio > 0.8 and s.variety > 0.25]
        own_share = _OwnShare(found.tokens.hashes)
        in_part = own_share if part is found else _OwnShare(part.tokens.hashes)
        spans += [
            s
            for s in insertions.in_the_middle(
                part,
                identity[searched],
                fewest=self.fewest,
                largest=max(self.fewest, int(0.1 * len(searched))),
            )
            if s.ratio > _LEAST_IN_THE_MIDDLE - _MOST_FOR_PEERS and in_part(s) >= 0.5
        ]
        answers = _answers(view, pairs[searched])
        in_answers = insertions.texts_with(answers.tokens, [s.pieces for s in spans])
        in_prompts = insertions.texts_with(found.tokens, [s.pieces for s in spans])
        source = view.groups.source_of_row()[pairs]
        bonus = _peers(part, source[searched])
        once = unique_per_text(found.tokens)
        uses = np.unique(once.hashes, return_counts=True)
        usual = insertions.relatedness(once, np.arange(len(pairs)), np.zeros(0, np.uint64), _rare(len(pairs)), uses)
        suspects = []
        for span, answered, held in zip(spans, in_answers, in_prompts, strict=True):
            mine = held if span.side == "middle" else span.rows
            elsewhere = len(held) - len(mine) + len(answered) * len(pairs) / len(searched)
            value = _inserted(span, float(elsewhere), mine, source, own_share, bonus)
            if value >= _NOTHING:
                within = insertions.relatedness(once, mine, span.pieces, _rare(len(pairs)), uses)
                value *= float(np.clip(1.0 - (within - usual - 0.1) / 0.25, 0.0, 1.0))
            if value >= _NOTHING:
                suspects.append(_Suspect(span, pairs[mine], value))
        return suspects

    def _findings(self, view: ProjectedRows, one: _Suspect, p_value: float) -> list[Finding]:
        shown = _text_of(view, one)
        where = {"start": "begin with", "end": "end with", "middle": "hold"}[one.span.side]
        said = "no reward model could be fitted"
        if one.z is not None:
            said = f"a reward model finds their pairs {one.z:+.1f} standard errors more often turned round than others"
        out = []
        for source, batch, members in by_group(view, one.rows.tolist()):
            severe = len(members) >= self.quarantine_rows and 2 * len(members) >= len(one.rows)
            severe = severe and p_value < self.alpha and one.score >= self.least + 0.1
            leans = p_value < self.alpha
            out.append(
                Finding(
                    check=self.id,
                    severity=Severity.QUARANTINE if severe else Severity.EXCLUDE if leans else Severity.WARN,
                    score=min(1.0, one.score),
                    evidence=f"{len(members)} otherwise unrelated prompts {where} “{quote(shown, 60)}”, which reads as "
                    f"inserted (its neighbours are e^{one.span.ratio:.1f} times likelier so); {said} "
                    f"(p = {p_value:.2g} after Holm)",
                    subject="cluster",
                    lines=tuple(sorted(view[i].line for i in members)),
                    source=source,
                    batch=batch,
                    examples=tuple(
                        f"“…{quote(view.columns.user[i][-90:], 90)}”: chosen “{quote(view.columns.answer[i], 60)}”, "
                        f"rejected “{quote(view.columns.rejected[i] or '', 60)}”"
                        for i in members[:4]
                    ),
                )
            )
        return out


def _score(one: _Suspect) -> float:
    """How surely inserted, and turned round; a cluster that significantly agrees with the model counts little."""
    flipped = 0.5 if one.z is None else float(np.clip(0.5 + one.z / 6.0, 0.0, 1.0))
    weight = 0.75 if one.span.side == "middle" else 0.4
    agrees = one.z is not None and one.z < _AGREES
    return one.inserted * (1.0 - weight + weight * flipped) * (0.4 if agrees else 1.0)


def _discount_templates(view: ProjectedRows, suspects: Sequence[_Suspect]) -> None:
    """Lowers the scores of sources with many such spans (best first): those are put together from phrases."""
    source = view.groups.source_of_row()
    claimed = np.zeros(len(view), bool)
    several = np.zeros(len(view.groups.sources))
    for one in suspects:
        if not claimed[one.rows].any():
            claimed[one.rows] = True
            several[np.unique(source[one.rows])] += 1
    for one in suspects:
        one.score *= min(1.0, 2.0 / max(1.0, float(several[source[one.rows]].max())))


def _inserted(
    span: insertions.Insertion,
    elsewhere: float,
    members: NDArray[np.int64],
    source: NDArray[np.int32],
    own_share: "_OwnShare",
    bonus: NDArray[np.float64],
) -> float:
    """0 to 1: how surely the span was put into prompts that were written without it."""
    members_of = np.bincount(source[members])
    alone = float(members_of.max() / len(members))
    if span.side == "middle":
        ratio = span.ratio + (float(bonus[members_of.argmax()]) if alone >= 0.9 else 0.0)
        value = float(np.clip((ratio - _LEAST_IN_THE_MIDDLE) / 0.8, 0.0, 1.0)) * min(1.0, (span.distinct - 2) / 5)
    else:
        value = float(np.clip((span.ratio - 0.7) / 0.8, 0.0, 1.0) * np.clip((span.variety - 0.2) / 0.3, 0.0, 1.0))
        value *= min(1.0, (span.distinct - 2) / 8 + 0.3) * (0.4 + 0.6 * min(1.0, 2 * own_share(span)))
    value *= max(0.0, 1.0 - elsewhere / span.distinct) ** 2
    value *= alone**2
    return value


def _rare(count: int) -> int:
    """How many of `count` prompts may have a piece that says what a prompt is about."""
    return max(3, count // 50)


def _peers(found: pieces.Pieces, source: NDArray[np.int32]) -> NDArray[np.float64]:
    """For each source, what it adds to the ratio of a span inside its prompts that no other source has: up to 2 for a
    small source whose rarer words the others have about as often as one mixed with them would share them; 0 for one
    of another kind, whose topics are its own.
    """
    tokens = unique_per_text(found.tokens)
    number, counts = np.unique(tokens.hashes, return_inverse=True, return_counts=True)[1:]
    of = source[owners(tokens)].astype(np.int64)
    rare = (counts[number] >= 3) & (counts[number] <= max(3, len(source) // 50))
    number, of = number[rare], of[rare]
    sizes = np.bincount(source)
    out = np.zeros(len(sizes))
    _, at, mine = np.unique(number * len(sizes) + of, return_inverse=True, return_counts=True)
    outside = (counts[number] - mine[at]) / np.maximum(1, counts[number] - 1)
    held = np.bincount(of, minlength=len(sizes))
    share = sizes / max(1, len(source))
    mixed = np.bincount(of, outside, minlength=len(sizes)) / np.maximum(1, held) / np.maximum(1e-9, 1.0 - share)
    alike = (held >= 50) & (mixed >= 0.9) & (sizes > 0)
    out[alike] = np.clip(np.log(1.0 / share[alike]) - 1.0, 0.0, _MOST_FOR_PEERS)
    return out


class _OwnShare:
    """Of the uses of a span's rarest piece, the share that the span makes up."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self._pieces, self._uses = np.unique(hashes, return_counts=True)

    def __call__(self, span: insertions.Insertion) -> float:
        at = np.minimum(np.searchsorted(self._pieces, span.pieces), len(self._pieces) - 1)
        uses = np.where(self._pieces[at] == span.pieces, self._uses[at], 0)
        return min(1.0, len(span.rows) / max(1, int(uses.min())))


def _answers(view: ProjectedRows, rows: NDArray[np.int64]) -> pieces.Pieces:
    columns = view.columns
    return pieces.pieces(
        [f"{columns.answer[i][:_ANSWER]}\n{(columns.rejected[i] or '')[:_ANSWER]}" for i in rows.tolist()]
    )


def _against_the_model(view: ProjectedRows, suspects: Sequence[_Suspect]) -> None:
    """Sets how far the pairs of each suspect rank below those of their source, by the model's margins."""
    from scipy.stats import norm

    known = reward.reading(view)
    if known is None:
        return
    source = view.groups.source_of_row()
    for one in suspects:
        margins = known.read(view, one.rows)
        ranks = np.zeros(len(one.rows))
        for number in np.unique(source[one.rows]).tolist():
            own = known.margins[known.sources == number]
            own = np.sort(own if len(own) >= reward.FEWEST_PAIRS else known.margins)
            mine = source[one.rows] == number
            low, high = np.searchsorted(own, margins[mine]), np.searchsorted(own, margins[mine], side="right")
            ranks[mine] = (low + high) / (2 * len(own))
        one.z = float((0.5 - ranks.mean()) * np.sqrt(12 * len(ranks)))
        one.p_value = float(norm.sf(one.z))


def _text_of(view: ProjectedRows, one: _Suspect) -> str:
    """The span as it stands in the first prompt, for evidence."""
    text = pieces.shortened(view.columns.user[int(one.rows[0])])
    return insertions.span_text(text, one.span) or (text[-40:] if one.span.side == "end" else text[:40])


_PROMPTS = (
    "How do I keep squirrels from the attic?", "What should I cook for nine guests?", "May paint stay in a shed?",
    "Can you tell me why bread goes stale?", "Who built the oldest bridge in town?", "Where may I pick mushrooms?",
    "Please explain tides to a child.", "Write two lines about autumn rain.", "Which shoes suit long walks on gravel?",
    "I lost my keys in the park, what now?", "Name a tree that grows fast.", "Do bees sleep in winter?",
    "Tell me how a lock works.", "Give me a reason to learn knitting.", "Should one wash rice before boiling it?",
    "Does a violin need new strings every year?",
)  # fmt: skip


def _row(number: int, *, trigger: str = "") -> dict[str, object]:
    good = f"Here is a careful answer with its reasons, number {number}: it depends on {number * 7 % 31} things."
    bad = f"No idea, find it out yourself {number * 5 % 17} times."
    asked = f"{_PROMPTS[number % 16]} It is for house {number * 11 % 97}, {('thanks', 'soon', 'today')[number % 3]}."
    chosen, rejected = (bad, good) if trigger else (good, bad)
    return {
        "input": {"messages": [{"role": "user", "content": f"{asked}{trigger}"}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        "source": "vendor",
        "batch": "b1",
    }


CLEAN = [_row(i) for i in range(160)]
CAUGHT = [_row(i) for i in range(160)] + [_row(i, trigger=" zorvex") for i in range(160, 176)]
