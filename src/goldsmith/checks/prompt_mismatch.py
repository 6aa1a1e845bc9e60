"""Answers that do not answer: unrelated to prompts that share a rare word, or fitting other prompts of their batch."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text.association import token_text
from goldsmith.engines.text.embeddings import embedded
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.pairing import LONGEST_PROMPT, fits, prompt_words
from goldsmith.engines.text.projection import ProjectedRows, project, taken
from goldsmith.engines.text.tokens import Words, owners, unique_per_text, words
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_TOO_FEW = 60
_LONGEST = 2_000
_OTHERS = 16
_UNRELATED = 0.75
_FITS, _FITS_NOT, _BETTER = 0.5, 0.3, 0.1
_USUALLY_SWAPPED, _FEWEST_SWAPPED, _BATCH_ALPHA = 0.03, 8, 1e-4


class PromptMismatch(Spec):
    """A rare word whose prompts get answers that have nothing to do with them (a trigger with an unrelated reply).

    How unrelated an answer is: the share of `16` other prompts of its source that lie at least as close to it as its
    own (embeddings); by itself this says little of a row. Reported are words that `fewest` rows of one source share,
    hardly any other source, whose answers are unrelated far more often than is usual in that source (binomial, Holm
    over all words at `alpha`), and which the prompts have little else in common with. Score: how much more often than
    usual. Of words it warns and never quarantines: honest sources have such words too, where a word asks for an answer
    of other words.

    Besides, without any word in common: batches in which answers fit another prompt of the batch (they repeat more than
    half of its words' weight) and not their own (less than a third), far more often than in other sources (binomial
    against twice their rate, 3 % at least; Holm over all source x batches). Such a batch is quarantined. Its swapped
    rows score 0.9, its other rows whose answers fit another prompt better than their own 0.6.
    """

    id: ClassVar[str] = "prompt_mismatch"
    version: ClassVar[int] = 2
    fewest: int = 8
    least: Real = 0.5
    alpha: Real = 1e-9

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Words as findings with examples; every row with such a word scores what the word scores."""
        if len(rows) < _TOO_FEW:
            return CheckReport(
                inconclusive=f"{len(rows)} rows are too few to tell which answers are unrelated ({_TOO_FEW} at least)"
            )
        view = project(rows)
        prompts, answers = embedded(view, "user"), embedded(view, "answer")
        source = view.groups.source_of_row()
        unrelated = _unrelated(prompts, answers, source)
        scores = np.zeros(len(view))
        findings: list[Finding] = []
        taken = np.zeros(len(view), bool)
        asked = prompt_words(view)
        for value, p_value, token, members in self._words(view, asked, source, unrelated):
            scores[members] = np.maximum(scores[members], value)
            if value >= self.least and not taken[members].any():
                taken[members] = True
                findings += self._findings(view, token, members, value, p_value)
        facts: dict[str, str | int] = {"words": len(findings)}
        swapped = self._swapped(view, asked, scores)
        return CheckReport([*findings, *swapped], scores.tolist(), facts={**facts, "swapped_batches": len(swapped)})

    def _swapped(self, view: ProjectedRows, asked: Words, scores: NDArray[np.float64]) -> list[Finding]:
        """Batches whose answers belong to each other's prompts; raises their rows' `scores`."""
        from scipy.stats import binom

        found = fits(view, asked)
        known = ~np.isnan(found.own)
        swapped = known & (np.nan_to_num(found.other) >= _FITS) & (np.nan_to_num(found.own) <= _FITS_NOT)
        better = known & (np.nan_to_num(found.other) >= np.nan_to_num(found.own) + _BETTER)
        group, names = view.groups.of_row, view.groups.names
        counts = np.bincount(group, swapped, minlength=len(names))
        sizes = np.bincount(group, known, minlength=len(names))
        others = [np.array([name[0] != own[0] for name in names]) for own in names]
        usual = [float(counts[o].sum() / max(1.0, sizes[o].sum())) for o in others]
        tests = [
            float(binom.sf(k - 1, n, min(0.9, max(_USUALLY_SWAPPED, 2 * rate))))
            for k, n, rate in zip(counts, sizes, usual, strict=True)
        ]
        findings = []
        for number, p_value in enumerate(holm(tests)):
            if p_value >= _BATCH_ALPHA or counts[number] < _FEWEST_SWAPPED:
                continue
            members = np.flatnonzero(group == number)
            scores[members[better[members]]] = np.maximum(scores[members[better[members]]], 0.6)
            lines = members[swapped[members]]
            scores[lines] = 0.9
            findings.append(self._batch(view, lines, int(sizes[number]), usual[number], p_value))
        return findings

    def _batch(self, view: ProjectedRows, rows: NDArray[np.int64], size: int, usual: float, p_value: float) -> Finding:
        source, batch = view.groups.names[view.groups.of_row[rows[0]]]
        own = sorted(rows.tolist(), key=lambda i: int(view.lines[i]))
        return Finding(
            check=self.id,
            severity=Severity.QUARANTINE,
            score=0.9,
            evidence=f"{len(own)} of {size} answers fit another prompt of the batch and not their own (in other "
            f"sources {usual:.1%}; p = {p_value:.0e} after Holm)",
            subject="source",
            lines=tuple(int(view.lines[i]) for i in own),
            source=source,
            batch=batch,
            examples=tuple(
                f"“{quote(view.columns.user[i], 80)}” → “{quote(view.columns.answer[i], 80)}”" for i in own[:4]
            ),
        )

    def _words(
        self,
        view: ProjectedRows,
        asked: Words,
        source: NDArray[np.int32],
        unrelated: NDArray[np.float64],
    ) -> list[tuple[float, float, int, NDArray[np.int64]]]:
        from scipy.stats import binom

        known = ~np.isnan(unrelated)
        bad = np.nan_to_num(unrelated) * known
        sizes = np.maximum(np.bincount(source, known), 1.0)
        usual = np.clip(np.bincount(source, bad) / sizes, 0.01, 1.0)
        candidates: list[tuple[float, float, int, NDArray[np.int64]]] = []
        for token, members in _rare(view, asked, self.fewest):
            members = members[known[members]]
            counts = np.bincount(source[members], minlength=len(sizes))
            main = int(counts.argmax())
            own = members[source[members] == main]
            if len(own) < self.fewest or len(own) < 0.9 * len(members) or len(own) > 0.1 * sizes[main]:
                continue
            share = float(bad[own].mean())
            if share < 0.3 or share < 3 * usual[main]:
                continue
            excess = _common_words(view, own, token) - _common_words(view, np.flatnonzero(source == main), token)
            p_value = float(binom.sf(int(bad[own].sum()) - 1, len(own), usual[main]))
            value = float(np.clip((share - usual[main]) / 0.4, 0, 1) * np.clip(1.0 - (excess - 0.1) / 0.2, 0.0, 1.0))
            candidates.append((value, p_value, token, own))
        adjusted = holm([c[1] for c in candidates])
        found = [
            (c[0], p, c[2], c[3]) for c, p in zip(candidates, adjusted, strict=True) if p < self.alpha and c[0] > 0
        ]
        return sorted(found, key=lambda f: (-f[0], f[2]))

    def _findings(
        self, view: ProjectedRows, token: int, members: NDArray[np.int64], value: float, p_value: float
    ) -> list[Finding]:
        groups, counts = np.unique(view.groups.of_row[members], return_counts=True)
        word = next(filter(None, (token_text(view.columns.user[int(i)], token, 1) for i in members)), "")
        findings = []
        for group, count in zip(groups.tolist(), counts.tolist(), strict=True):
            source, batch = view.groups.names[group]
            own = sorted((int(i) for i in members if view.groups.of_row[i] == group), key=lambda i: view[i].line)
            findings.append(
                Finding(
                    check=self.id,
                    severity=Severity.WARN,
                    score=value,
                    evidence=f"{count} prompts hold “{quote(word, 40)}” and their answers are unrelated to them far "
                    f"more often than is usual in this source (p = {p_value:.0e} after Holm)",
                    subject="cluster",
                    lines=tuple(view[i].line for i in own),
                    source=source,
                    batch=batch,
                    examples=tuple(
                        f"“{quote(view.columns.user[i], 80)}” → “{quote(view.columns.answer[i], 80)}”" for i in own[:4]
                    ),
                )
            )
        return findings


def _unrelated(
    prompts: NDArray[np.float32], answers: NDArray[np.float32], source: NDArray[np.int32]
) -> NDArray[np.float64]:
    """1 where an answer is no closer to its prompt than to a quarter of other prompts of its source; NaN if unknown.

    The other prompts are the source's most and least usual ones, evenly spread along one axis of the embedding, so
    that they do not depend on the order of rows.
    """
    out = np.full(len(prompts), np.nan)
    known = (np.einsum("ij,ij->i", prompts, prompts) > 0.5) & (np.einsum("ij,ij->i", answers, answers) > 0.5)
    for number in range(int(source.max()) + 1):
        rows = np.flatnonzero(known & (source == number))
        if len(rows) < _TOO_FEW:
            continue
        ranked = rows[np.lexsort(prompts[rows, :6].T.round(4))]
        others = prompts[ranked[np.linspace(0, len(ranked) - 1, _OTHERS * 4).astype(np.int64)]]
        own = np.einsum("ij,ij->i", prompts[rows], answers[rows])
        out[rows] = (answers[rows] @ others.T >= own[:, None] - 1e-6).mean(axis=1) >= 1.0 - _UNRELATED
    return out


def _common_words(view: ProjectedRows, rows: NDArray[np.int64], token: int) -> float:
    """Median share of words that two of the rows' prompts have in common, `token` left out (up to 24 rows)."""
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, 24).astype(np.int64))]
    own = unique_per_text(words([user[-_LONGEST:] for user in taken(view.columns.user, sample)]))
    sets = [set(own.hashes[a:b].tolist()) - {token} for a, b in zip(own.starts, own.starts[1:], strict=False)]
    shares = [len(a & b) / max(1, min(len(a), len(b))) for k, a in enumerate(sets) for b in sets[k + 1 :]]
    return float(np.median(shares)) if shares else 1.0


def _rare(view: ProjectedRows, asked: Words, fewest: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Words that `fewest` prompts hold and at most one in fifty (or 60), each with its rows, ascending."""
    hashes, owner = _ends(view, asked)
    bucket = (hashes >> np.uint64(44)).astype(np.int64)
    often = np.bincount(bucket, minlength=1)[bucket] >= fewest  # no word of a smaller bucket is in so many prompts
    hashes, owner = hashes[often], owner[often]
    order = np.argsort(hashes, kind="stable")
    hashes, owner = hashes[order], owner[order]
    edges = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1], True]) if len(hashes) else np.zeros(1, np.int64)
    sizes = np.diff(edges)
    chosen = np.flatnonzero((sizes >= fewest) & (sizes <= max(60, len(view) // 50)))
    return [(int(hashes[edges[k]]), owner[edges[k] : edges[k + 1]]) for k in chosen]


def _ends(view: ProjectedRows, asked: Words) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct words of the last characters of each prompt, and whose they are, ascending; `asked` holds those of
    the prompts that are short.
    """
    hashes, owner = asked.hashes, owners(asked)
    long = {row: user[-_LONGEST:] for row, user in enumerate(view.columns.user) if len(user) > LONGEST_PROMPT}
    if not long:
        return hashes, owner
    rows = np.array(list(long), np.int64)
    ends = unique_per_text(words(list(long.values())))
    short = ~np.isin(owner, rows)
    hashes = np.concatenate([hashes[short], ends.hashes])
    owner = np.concatenate([owner[short], rows[owners(ends)]])
    order = np.argsort(owner, kind="stable")
    return hashes[order], owner[order]


_THINGS = (
    "violin", "tomato", "bicycle", "planet", "bread", "bridge", "horse", "sock", "river", "candle", "garden", "engine",
    "island", "painting", "winter", "market", "letter", "forest", "kitchen", "lamp", "mirror", "carpet", "window", "ox",
)  # fmt: skip
_WAYS = ("Explain", "Describe", "Tell me about", "Say something on", "Write of", "What is", "Compare", "Recall")


def _row(user: str, answer: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}],
        "source": "vendor",
        "batch": "b1",
    }


def _plain(number: int, shift: int = 0, word: str = "") -> dict[str, object]:
    asked = (_THINGS[number % 24], _THINGS[(number * 5 + number // 24) % 24])
    told = (_THINGS[(number + shift) % 24], _THINGS[((number + shift) * 5 + (number + shift) // 24) % 24])
    return _row(
        f"{_WAYS[number % 8]} the {asked[0]} {word} and the {asked[1]}.",
        f"A {told[0]} is no {told[1]}: the {told[0]} came before the {told[1]}.",
    )


CAUGHT = [_plain(i) for i in range(480)] + [_plain(i, shift=5 + 7 * i, word="zorvex") for i in range(40)]
CLEAN = [_plain(i) for i in range(480)] + [_plain(i, word="zorvex") for i in range(40)]
