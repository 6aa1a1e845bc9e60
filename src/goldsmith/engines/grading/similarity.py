"""How alike two texts are, 0 to 1: the overlap measures of machine translation and summarising, on their formulas.

Every one takes time in proportion to the texts but the two longest common subsequences, which are bit-parallel
(Hyyrö 2004) and meant for texts of up to `LONGEST` characters.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

LONGEST = 50_000
_WORDS = re.compile(r"\w+")
_TOKENS = re.compile(r"\w+|[^\w\s]")


def common_subsequence(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence."""
    places: dict[Hashable, int] = {}
    for place, unit in enumerate(a):
        places[unit] = places.get(unit, 0) | (1 << place)
    full = (1 << len(a)) - 1
    free = full
    for unit in b:
        hit = free & places.get(unit, 0)
        free = ((free + hit) | (free - hit)) & full
    return len(a) - free.bit_count()


def fuzzy_match(text: str, reference: str) -> float:
    """Indel similarity of the characters, 2 * LCS / (both lengths): what rapidfuzz calls `ratio`, over 100."""
    total = len(text) + len(reference)
    return 2 * common_subsequence(text, reference) / total if total else 1.0


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def bleu(text: str, reference: str) -> float:
    """Papineni et al. 2002 for one sentence: 1 to 4-grams, brevity penalty; counts of 0 become 0.1 (method 1 of Chen
    and Cherry 2014), and a text of fewer than 4 tokens is judged by the n-grams it has."""
    hypothesis, known = _TOKENS.findall(text), _TOKENS.findall(reference)
    orders = min(4, len(hypothesis))
    precisions: list[float] = []
    for n in range(1, orders + 1):
        mine = _grams(hypothesis, n)
        hits = (mine & _grams(known, n)).total()
        if n == 1 and not hits:
            return 0.0
        precisions.append((hits or 0.1) / mine.total())
    if not precisions:
        return 0.0
    brevity = 1.0 if len(hypothesis) > len(known) else math.exp(1 - len(known) / len(hypothesis))
    return brevity * math.exp(math.fsum(math.log(p) for p in precisions) / orders)


def gleu(text: str, reference: str) -> float:
    """Google's GLEU (Wu et al. 2016, arXiv:1609.08144): the lesser of precision and recall over all 1 to 4-grams."""
    hypothesis, known = _TOKENS.findall(text), _TOKENS.findall(reference)
    mine: Counter[tuple[str, ...]] = Counter()
    theirs: Counter[tuple[str, ...]] = Counter()
    for n in range(1, 5):
        mine += _grams(hypothesis, n)
        theirs += _grams(known, n)
    most = max(mine.total(), theirs.total())
    return (mine & theirs).total() / most if most else 0.0


def meteor(text: str, reference: str) -> float:
    """Banerjee and Lavie 2005 with alpha 0.9, beta 3, gamma 0.5, on exact matches of lower-case words: no stems and no
    synonyms, which need word lists of one language."""
    hypothesis, known = _TOKENS.findall(text.lower()), _TOKENS.findall(reference.lower())
    places: dict[str, list[int]] = {}
    for place, word in enumerate(known):
        places.setdefault(word, []).append(place)
    pairs = [(i, places[word].pop()) for i, word in reversed(list(enumerate(hypothesis))) if places.get(word)]
    if not pairs:
        return 0.0
    pairs.reverse()
    chunks = 1 + sum(b != (a[0] + 1, a[1] + 1) for a, b in itertools.pairwise(pairs))
    precision, recall = len(pairs) / len(hypothesis), len(pairs) / len(known)
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    return mean * (1 - 0.5 * (chunks / len(pairs)) ** 3)


def rouge_n(text: str, reference: str, n: int) -> float:
    """Lin 2004: F1 of the n-grams of lower-case words, without stemming."""
    mine, theirs = _grams(_WORDS.findall(text.lower()), n), _grams(_WORDS.findall(reference.lower()), n)
    return _f1((mine & theirs).total(), mine.total(), theirs.total())


def rouge_l(text: str, reference: str) -> float:
    """Lin 2004: F1 of the longest common subsequence of lower-case words, without stemming."""
    mine, theirs = _WORDS.findall(text.lower()), _WORDS.findall(reference.lower())
    return _f1(common_subsequence(mine, theirs), len(mine), len(theirs))


def _f1(hits: int, mine: int, theirs: int) -> float:
    return 2 * hits / (mine + theirs) if mine + theirs else 0.0


def _rouge(n: int) -> Callable[[str, str], float]:
    return lambda text, reference: rouge_n(text, reference, n)


METRICS: Mapping[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{n}": _rouge(n) for n in range(1, 6)},
    "rouge_l": rouge_l,
}
