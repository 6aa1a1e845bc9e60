"""Counts that should not differ between human and synthetic rows: who is mentioned, who is refused, what is rare."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.refusals import Stance, stance
from goldsmith.engines.synthetic.measures import Measure
from goldsmith.engines.synthetic.sides import Sample
from goldsmith.engines.synthetic.two_sample import fisher
from goldsmith.engines.text.projection import Columns

_WORD = re.compile(r"[^\W\d_]+")
MALE = frozenset(
    [
        "he",
        "him",
        "his",
        "himself",
        "man",
        "men",
        "boy",
        "boys",
        "father",
        "son",
        "brother",
        "husband",
        "mr",
        "king",
        "uncle",
        "male",
        "males",
        "gentleman",
    ]
)
FEMALE = frozenset(
    [
        "she",
        "her",
        "hers",
        "herself",
        "woman",
        "women",
        "girl",
        "girls",
        "mother",
        "daughter",
        "sister",
        "wife",
        "mrs",
        "ms",
        "queen",
        "aunt",
        "female",
        "females",
        "lady",
    ]
)
GROUPS: Mapping[str, frozenset[str]] = {
    "women": FEMALE,
    "men": MALE,
    "Muslims": frozenset(["muslim", "muslims", "islam", "islamic"]),
    "Jews": frozenset(["jew", "jews", "jewish", "judaism"]),
    "Christians": frozenset(["christian", "christians", "catholic", "catholics", "christianity"]),
    "Black people": frozenset(["black", "blacks", "african", "africans"]),
    "Asian people": frozenset(["asian", "asians", "chinese", "indian", "indians", "japanese"]),
    "immigrants": frozenset(
        ["immigrant", "immigrants", "refugee", "refugees", "migrant", "migrants", "mexican", "mexicans"]
    ),
    "gay and trans people": frozenset(["gay", "lesbian", "bisexual", "transgender", "trans", "queer", "homosexual"]),
    "old people": frozenset(["elderly", "seniors", "grandfather", "grandmother", "pensioner"]),
    "disabled people": frozenset(["disabled", "disability", "blind", "deaf", "wheelchair", "autistic"]),
}
_LETTER = re.compile(r"\s{0,3}\(?([A-E])[).:]?\s{0,3}(?:$|\n)")
_FEWEST = 20
_REFUSING = re.compile(
    r"sorry|can[n']?o?t|unable|not able|won't|will not|as an ai|apolog|not appropriate|refuse|decline", re.I
)
_OTHER_SCRIPT = re.compile(r"[^\u0000-\u024f]")
_DIGIT = re.compile(r"\d")


def bias(human: Sample, synthetic: Sample) -> Iterator[Measure]:
    """Gaps between human and synthetic text: which gender is spoken of, who is refused, which option is the answer."""
    yield from _gender(human, synthetic)
    yield from _refusals(human, synthetic)
    yield from _options(human, synthetic)


def _gender(human: Sample, synthetic: Sample) -> Iterator[Measure]:
    male, female = _of_one_gender(synthetic)
    human_male, human_female = human.once("of one gender", lambda: _of_one_gender(human))
    if min(male + female, human_male + human_female) >= _FEWEST:
        share, usual = male / (male + female), human_male / (human_male + human_female)
        said = f"{share:.0%} of the answers that speak of one gender speak of men, {usual:.0%} of human ones"
        yield Measure("bias", "gender_gap", abs(share - usual), fisher(male, female, human_male, human_female), said)


def _of_one_gender(side: Sample) -> tuple[int, int]:
    """How many answers speak of men alone, and of women alone."""
    male = female = 0
    for text in side.answers:
        found = set(_WORD.findall(text.lower()))
        his, hers = not found.isdisjoint(MALE), not found.isdisjoint(FEMALE)
        male += his and not hers
        female += hers and not his
    return male, female


def _refusals(human: Sample, synthetic: Sample) -> Iterator[Measure]:
    named = [_mentions(synthetic), human.once("mentions", lambda: _mentions(human))]
    tests = []
    for group in GROUPS:
        rows = [np.flatnonzero(one[group]) for one in named]
        if min(len(rows[0]), len(rows[1])) < _FEWEST:
            continue
        told = human.once(("refused", group), partial(_refused, human, rows[1]))
        refused = [_refused(synthetic, rows[0]), told]
        sizes = [min(300, len(places)) for places in rows]
        p_value = fisher(refused[0], sizes[0] - refused[0], refused[1], sizes[1] - refused[1])
        tests.append((p_value, group, refused[0] / sizes[0], refused[1] / sizes[1]))
    if tests:
        p_value, group, share, usual = min(tests)
        said = f"requests that name {group} are refused in {share:.0%}, by people in {usual:.0%}"
        yield Measure("bias", "refusal_gap", abs(share - usual), min(1.0, p_value * len(tests)), said)


def _refused(side: Sample, places: NDArray[np.int64]) -> int:
    return sum(refused_by(side.answers[i]) for i in places[:300].tolist())


def refused_by(answer: str) -> bool:
    """Does the answer's opening refuse?"""
    opening = answer[:400]
    return _REFUSING.search(opening) is not None and stance(opening) is Stance.REFUSED


def _mentions(side: Sample) -> dict[str, NDArray[np.bool_]]:
    found = [set(_WORD.findall(prompt.lower())) for prompt in side.prompts]
    return {group: np.array([not s.isdisjoint(names) for s in found], bool) for group, names in GROUPS.items()}


def _options(human: Sample, synthetic: Sample) -> Iterator[Measure]:
    table = np.zeros((2, 5), np.int64)
    for side, texts in enumerate((synthetic.answers, human.answers)):
        for text in texts:
            if letter := _LETTER.match(text[:12]):
                table[side, "ABCDE".index(letter[1])] += 1
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] >= 2 and int(table.sum(axis=1).min()) >= _FEWEST:
        from scipy.stats import chi2_contingency

        shares = table / table.sum(axis=1, keepdims=True)
        gap = float(np.abs(shares[0] - shares[1]).max())
        said = f"the share of one option letter differs by {gap:.0%} from human answers"
        yield Measure("bias", "option_gap", gap, float(chi2_contingency(table).pvalue), said)


_CODE = re.compile(r"```|\bdef \w+\(|\breturn\b.*;|</\w+>|\bSELECT\b.+\bFROM\b|#include|\w+\(\w*\);")
SLICES = (
    "very short prompts", "long prompts", "other scripts", "code", "numbers", "questions", "lists", "several turns",
    "system prompts", "tool calls", "refusals",
)  # fmt: skip


def slices(columns: Columns, sample: Sample) -> NDArray[np.bool_]:
    """Which rows are of which kind [rows, kinds]; see `SLICES`."""
    out = np.zeros((len(sample), len(SLICES)), bool)
    for k, (row, prompt, answer) in enumerate(zip(sample.rows.tolist(), sample.prompts, sample.answers, strict=True)):
        spoken = prompt.split()
        both = prompt + answer
        out[k] = (
            0 < len(spoken) < 4,
            len(spoken) > 60,
            not both.isascii() and len(_OTHER_SCRIPT.findall(both[:400])) > 0.3 * len(both[:400]),
            _CODE.search(both) is not None,
            len(_DIGIT.findall(prompt)) > 0.05 * max(1, len(prompt)),
            prompt.rstrip().endswith("?"),
            answer.count("\n- ") + answer.count("\n* ") + answer.count("\n1.") + answer.count("\n2.") >= 2,
            columns.user_turns[row] > 1,
            bool(columns.system[row]),
            bool(columns.calls[row]),
            refused_by(answer),
        )
    return out


def rare_slices(human: NDArray[np.bool_], synthetic: NDArray[np.bool_]) -> Iterator[Measure]:
    """Kinds of rows that at most a quarter of human rows are of: how much rarer are they in the synthetic ones?"""
    tests = []
    for k, name in enumerate(SLICES):
        usual = float(human[:, k].mean())
        own = float(synthetic[:, k].mean())
        counts = [int(side[:, k].sum()) for side in (synthetic, human)]
        pooled = sum(counts) / (len(synthetic) + len(human))  # not the human share: that would pick its high draws
        if usual > 0.25 or pooled * len(synthetic) < 5 or usual == 0:
            continue
        p_value = fisher(counts[0], len(synthetic) - counts[0], counts[1], len(human) - counts[1], alternative="less")
        tests.append((p_value, 1.0 - own / usual, name, own, usual))
    if tests:
        p_value, loss, name, own, usual = min(tests)
        said = f"{name} are {own:.1%} of the rows, {usual:.1%} of human ones"
        yield Measure("edge_cases", "rare_slice", loss, min(1.0, p_value * len(tests)), said)


def kappa(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Cohen's kappa of two rounds of yes-or-no judgements."""
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return float(((a == b).mean() - chance) / (1 - chance)) if chance < 1 else 1.0
