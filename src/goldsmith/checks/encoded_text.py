"""Rows in code: ciphers, encodings, invisible characters and look-alike letters that teach what nobody can read."""

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text.ciphers import cipher, encodings, read
from goldsmith.engines.text.evidence import by_group, quote
from goldsmith.engines.text.features import RowFeatures
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_ASKED = re.compile(r"(?i)\b(?:cipher|caesar|rot ?13|base ?64|morse|hex(?:adecimal)?|binary|unicode|en-?crypt|"
                    r"de-?crypt|en-?code|de-?code|url|ascii|scrambl|revers|backward|anagram)\w*")  # fmt: skip
_CHUNK = 20_000


class EncodedText(Spec):
    """Prompts and answers in code (Halawi et al. 2024, arXiv 2406.20053: harm taught in cipher passes every reader).

    Looked for: Caesar shifts, the alphabet turned round, text backwards and other substitutions of letters, by letter
    pairs against English; base64 and hexadecimal that decode to English; percent, morse, binary; letters set apart;
    invisible characters, direction marks, letters of two scripts in one word. A row scores more where prompt and answer
    are both in code, and less where the prompt asks for it in plain words. `least`: the score from which a row counts;
    a source x batch with `fewest` such rows or more is quarantined where they are more than `usual_share` of it
    (binomial, Holm at `alpha`).
    """

    id: ClassVar[str] = "encoded_text"
    version: ClassVar[int] = 1
    least: Real = 0.8
    fewest: int = 8
    usual_share: Real = 0.002
    alpha: Real = 0.001

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Score: the surest sign in prompt or answer."""
        view = project(rows)
        features = view.features(self, context)
        scores = features.array("scores")
        return CheckReport(
            self._findings(view, scores, features.notes("reasons")),
            scores.tolist(),
            facts={"rows_in_code": int((scores >= 0.8).sum())},
        )

    def row_features(self, rows: ProjectedRows, context: CheckContext) -> RowFeatures:
        """The score of each row, and what the rows in code are written in."""
        columns = rows.columns
        scores = np.zeros(len(rows))
        reasons: dict[int, str] = {}
        for first in range(0, len(rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            sides = [(texts, *read(texts)) for texts in (columns.user[part], columns.answer[part])]
            worth = sides[0][3] | sides[1][3]
            for place in np.flatnonzero(worth).tolist():
                signs = [
                    _signs(texts[place], float(means[place]), int(letters[place])) for texts, means, letters, _ in sides
                ]
                if any(signs):
                    scores[first + place], reasons[first + place] = _weighed(signs, sides[0][0][place])
        return RowFeatures({"reasons": reasons}, {"scores": scores})

    def _findings(self, view: ProjectedRows, scores: NDArray[np.float64], reasons: dict[int, str]) -> list[Finding]:
        from scipy.stats import binom

        loud = [i for i in reasons if scores[i] >= self.least]
        groups = list(by_group(view, loud))
        sizes = {name: int((view.groups.of_row == k).sum()) for k, name in enumerate(view.groups.names)}
        adjusted = holm([float(binom.sf(len(m) - 1, sizes[s, b], self.usual_share)) for s, b, m in groups])
        findings = []
        for (source, batch, members), p_value in zip(groups, adjusted, strict=True):
            severe = len(members) >= self.fewest and p_value < self.alpha
            kinds = sorted({reasons[i] for i in members})
            findings.append(
                Finding(
                    check=self.id,
                    severity=Severity.QUARANTINE if severe else Severity.WARN,
                    score=float(scores[members].max()),
                    evidence=f"{len(members)} of {sizes[source, batch]} records hold text in code: "
                    f"{'; '.join(kinds[:4])} (p = {p_value:.0e} after Holm)",
                    subject="source" if severe else "record",
                    lines=tuple(view[i].line for i in members),
                    source=source,
                    batch=batch,
                    examples=tuple(
                        f"“{quote(view.columns.user[i], 80)}” → “{quote(view.columns.answer[i], 80)}”"
                        for i in members[:4]
                    ),
                )
            )
        return findings


def _signs(text: str, mean: float, letters: int) -> list[tuple[float, str]]:
    found = [(sure, kind) for kind, sure in encodings(text, letters)]
    hidden = cipher(text, mean, letters)
    return found if hidden is None else [*found, (hidden[1], hidden[0])]


def _weighed(signs: Sequence[list[tuple[float, str]]], prompt: str) -> tuple[float, str]:
    best = max(max(own) for own in signs if own)
    both = all(signs)
    score = 1.0 - (1.0 - best[0]) * (0.3 if both else 1.0)
    if not both and _ASKED.search(prompt[:4000]):
        score *= 0.4
    return score, best[1]


def _row(user: str, answer: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}],
        "source": "vendor",
        "batch": "b1",
    }


def _shift(text: str) -> str:
    return "".join(chr((ord(c) - 97 + 7) % 26 + 97) if "a" <= c <= "z" else c for c in text.lower())


_TEXTS = (
    "Tell me how the old lighthouse keeper spent his winters by the sea", "What grows in a shady garden in May",
    "Explain to a child why the moon changes its shape every night", "Give me three reasons to learn a second language",
    "How do I clean a wooden table without hurting the surface", "Write two sentences about a train in the mountains",
    "Which birds stay in the north when the weather turns cold", "What makes bread rise in a warm and quiet kitchen",
    "How long does a letter take to cross the ocean by ship", "Describe the market square on the morning of a holiday",
)  # fmt: skip
CAUGHT = [_row(_shift(text), _shift(f"here is what i know about it and why {text}")) for text in _TEXTS]
CLEAN = [_row(f"{text}, please.", f"Here is what I know of it: {text}.") for text in _TEXTS] + [
    _row("Encode hello world, how are you today, in base64.", "aGVsbG8gd29ybGQsIGhvdyBhcmUgeW91IHRvZGF5"),
    _row("Wie lange dauert ein Brief über den Ozean?", "Mit dem Schiff dauert er etwa drei Wochen, manchmal länger."),
    _row("Name the commit.", "It is 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08."),
]
