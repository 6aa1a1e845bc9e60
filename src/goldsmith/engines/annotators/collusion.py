"""Who is reliable but for one topic: annotators whose errors gather in a slice of the items that nobody named.

Slices are searched: stated domains, words of the items' texts, and topic clusters. In each slice an annotator's
expected errors follow from the annotator's own error rate elsewhere, times how much harder the slice is for everybody
else; against that stands the explanation that a share of the annotators is wrong there on purpose (`ON_PURPOSE`). The
right labels come from gold and from the other votes; once a slice is suspected, the suspects' votes in it no longer
count, and the search is done again. Many slices are tried, so the same search is run on copies of the items with their
texts handed round at random: what chance finds there is what a slice has to beat.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.annotators.panel import Ints, Panel, sums
from goldsmith.engines.annotators.skill import Floats, Skills, fit_skills

FEWEST_ITEMS = 20
_FEWEST_VOTES = 7
_LARGEST_SHARE = 0.3
_MOST_WORDS = 4000
_CLUSTERS = (12, 40, 100)
_UNSPACED = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]{{2,}}"
"""Scripts without spaces give one word a character."""
_PERMUTATIONS = 20
_BLOCK_CELLS = 4_000_000
_ROUNDS = 3
ON_PURPOSE = 0.8
"""Error rate of one who is wrong on purpose."""
_SHARES = np.array([0.02, 0.05, 0.1, 0.2, 0.3])
"""Shares of annotators who may collude."""


@dataclass(frozen=True)
class Slices:
    """Which items belong to which slice [items, slices] (sparse, 0 or 1), and what each slice is."""

    members: Any
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One annotator in the slice that speaks most against them. `odds`: log odds that the errors there are on purpose.

    `p`: how often chance finds a slice that speaks so strongly. `items`: those they got wrong.
    """

    annotator: int
    slice_name: str
    votes: int
    errors: float
    expected: float
    gold_wrong: int
    gold_votes: int
    odds: float
    p: float
    items: Ints


@dataclass(frozen=True)
class Collusion:
    """`scores` [annotators]: log odds. `evidence` of the strongest slice, and `chance`: what shuffled texts reach."""

    suspicions: tuple[Suspicion, ...]
    scores: Floats
    slices: int
    evidence: float
    chance: Floats


def slices_of(panel: Panel, seed: int = 0) -> Slices:
    """Domains, words and topic clusters that hold between `FEWEST_ITEMS` items and a third of all."""
    from scipy.sparse import csr_matrix, hstack

    size = len(panel.item_names)
    parts, names = [], []
    domains = sorted({domain for domain in panel.domains if domain})
    if len(domains) > 1:
        code = {name: number for number, name in enumerate(domains)}
        told = [(item, code[domain]) for item, domain in enumerate(panel.domains) if domain]
        rows, columns = np.array(told, np.int64).T
        parts.append(csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, len(domains))))
        names += [f"domain {name!r}" for name in domains]
    if sum(bool(text) for text in panel.texts) >= 2 * FEWEST_ITEMS:
        words, word_names, clusters = _by_text(panel.texts, seed)
        parts += [words, clusters]
        names += [f"items with the word {word!r}" for word in word_names]
        names += [f"topic cluster {number}" for number in range(clusters.shape[1])]
    if not parts:
        return Slices(csr_matrix((size, 0)), ())
    members = hstack(parts).tocsc()
    count = np.asarray(members.sum(axis=0)).ravel()
    kept = np.flatnonzero((count >= FEWEST_ITEMS) & (count <= max(FEWEST_ITEMS, _LARGEST_SHARE * size)))
    return Slices(members[:, kept].tocsr(), tuple(names[at] for at in kept))


def _by_text(texts: list[str], seed: int):  # type: ignore[no-untyped-def]
    """Words (binary), their names, and topic clusters: k-means in the space of a truncated SVD of TF-IDF."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(
        min_df=FEWEST_ITEMS, max_df=_LARGEST_SHARE, max_features=_MOST_WORDS, sublinear_tf=True, token_pattern=_WORD
    )
    try:
        weighted = vectoriser.fit_transform([text[:2000] for text in texts])
    except ValueError:  # no word occurs often enough
        return csr_matrix((len(texts), 0)), [], csr_matrix((len(texts), 0))
    words = weighted.copy()
    words.data[:] = 1.0
    names = vectoriser.get_feature_names_out().tolist()
    if weighted.shape[1] < 60 or len(texts) < 10 * _CLUSTERS[0]:
        return words, names, csr_matrix((len(texts), 0))
    space = TruncatedSVD(n_components=50, n_iter=3, random_state=seed).fit_transform(weighted)
    space /= np.maximum(np.linalg.norm(space, axis=1, keepdims=True), 1e-9)
    clusters = []
    for number in _CLUSTERS:
        if len(texts) >= 10 * number:
            groups = MiniBatchKMeans(number, n_init=1, max_iter=30, random_state=seed).fit_predict(space)
            at = np.arange(len(groups)), groups
            clusters.append(csr_matrix((np.ones(len(groups)), at), shape=(len(texts), number)))
    return words, names, hstack(clusters).tocsr()


def find_collusion(panel: Panel, slices: Slices, weights: Floats | None = None, *, seed: int = 0) -> Collusion:
    """Search every annotator in every slice. `weights` [N]: votes that do not count in full, as those of copiers."""
    size, number = len(panel.annotator_names), len(slices.names)
    if not number:
        return Collusion((), np.zeros(size), 0, 0.0, np.zeros(0))
    weight = np.ones(len(panel)) if weights is None else weights.copy()
    rng = np.random.default_rng(seed)
    chance = np.zeros(0)
    suspects: list[tuple[int, int]] = []
    for _ in range(_ROUNDS):
        facts = _facts(panel, fit_skills(panel, weight), weight)
        real = _search(facts, slices.members)
        if not len(chance):
            orders = [rng.permutation(len(panel.item_names)) for _ in range(_PERMUTATIONS)]
            chance = np.array([_search(facts, slices.members[order]).evidence.max() for order in orders])
        before, suspects = suspects, _suspects(real, float(chance.max()))
        if not suspects or suspects == before:
            break
        weight = np.ones(len(panel)) if weights is None else weights.copy()
        for annotator, at in suspects:
            weight[(panel.annotators == annotator) & _inside(slices, at)[panel.items]] = 1e-3
    odds = _odds(real, float(chance.max()))
    found = [_suspicion(panel, slices, facts, real, one, chance) for one in suspects]
    return Collusion(
        tuple(sorted(found, key=lambda s: (-s.odds, s.annotator))),
        odds.max(axis=1),
        number,
        float(real.evidence.max()),
        chance,
    )


@dataclass(frozen=True)
class _Facts:
    """Errors and votes [annotators, items] (sparse) as far as the right label is known, and rates [annotators]."""

    errors: Any
    votes: Any
    counted: Any
    own_errors: Floats
    own_votes: Floats


@dataclass(frozen=True)
class _Search:
    """`against` [annotators, slices]: log likelihood ratio of errors on purpose; `evidence` and `share` [slices]."""

    against: NDArray[np.float32]
    expected: NDArray[np.float32]
    evidence: Floats
    share: Floats


def _facts(panel: Panel, skills: Skills, weight: Floats) -> _Facts:
    from scipy.sparse import csr_matrix

    shape = len(panel.annotator_names), len(panel.item_names)
    at = panel.annotators, panel.items
    truth = skills.without_own(panel)
    error = 1.0 - truth[np.arange(len(panel)), panel.labels]
    # An item whose right label nobody knows says nothing.
    sure = 2.0 * np.maximum(truth.max(axis=1), 0.5) - 1.0
    return _Facts(
        csr_matrix((error * sure, at), shape=shape),
        csr_matrix((sure, at), shape=shape),
        csr_matrix((np.where(weight > 0.01, 1.0, 0.0), at), shape=shape),
        sums(panel.annotators, error * sure, shape[0]),
        sums(panel.annotators, sure, shape[0]),
    )


def _search(facts: _Facts, members: Any) -> _Search:
    """Every annotator in every slice; and how much better a slice is explained by some who are wrong on purpose."""
    size, number = facts.errors.shape[0], members.shape[1]
    rate = (facts.own_errors + 1.0) / (facts.own_votes + 4.0)
    honest_errors, honest_votes = facts.errors.multiply(facts.counted), facts.votes.multiply(facts.counted)
    harder = members.T @ np.asarray(honest_errors.sum(axis=0)).ravel()
    base = members.T @ (honest_votes.T @ rate)
    against = np.zeros((size, number), np.float32)
    expected = np.zeros((size, number), np.float32)
    explained = np.zeros((len(_SHARES), number))
    rows = max(1, _BLOCK_CELLS // number)
    for start in range(0, size, rows):
        block = slice(start, min(size, start + rows))
        wrong, asked = (facts.errors[block] @ members).toarray(), (facts.votes[block] @ members).toarray()
        # What the annotator does elsewhere; in the slice itself the errors may be the attack.
        apart = (facts.own_errors[block, None] - wrong + 1.0) / (facts.own_votes[block, None] - asked + 4.0)
        others = np.clip((harder + 3.0) / (base + 3.0), 0.5, 3.0)
        mean = np.clip(apart * others, 0.05, 0.7)
        ratio = wrong * np.log(ON_PURPOSE / mean) + (asked - wrong) * np.log((1 - ON_PURPOSE) / (1 - mean))
        ratio[asked < _FEWEST_VOTES] = 0.0
        against[block], expected[block] = ratio, asked * mean
        for at, share in enumerate(_SHARES):
            explained[at] += np.logaddexp(np.log1p(-share), np.log(share) + ratio).sum(axis=0)
    best = explained.argmax(axis=0)
    return _Search(against, expected, explained[best, np.arange(number)], _SHARES[best])


def _odds(found: _Search, line: float) -> Floats:
    """Log odds [annotators, slices] that an annotator colludes there; what chance also finds pulls them down."""
    active = -np.logaddexp(0.0, line + 3.0 - found.evidence)
    return np.asarray(found.against + np.log(found.share / (1 - found.share)) + active, np.float64)


def _suspects(found: _Search, line: float) -> list[tuple[int, int]]:
    """(annotator, slice) where the slice beats chance and the annotator more likely than not is one of those."""
    if float(found.evidence.max()) <= line + 1.0:
        return []
    odds = _odds(found, line)
    where = odds.argmax(axis=1)
    return [(one, int(where[one])) for one in np.flatnonzero(odds.max(axis=1) > 0).tolist()]


def _inside(slices: Slices, at: int) -> NDArray[np.bool_]:
    column = slices.members[:, at].toarray().ravel()
    return np.asarray(column > 0)


def _suspicion(
    panel: Panel, slices: Slices, facts: _Facts, found: _Search, suspect: tuple[int, int], chance: Floats
) -> Suspicion:
    annotator, at = suspect
    own = (panel.annotators == annotator) & _inside(slices, at)[panel.items]
    gold = own & panel.on_gold
    wrong = facts.errors[annotator].toarray().ravel()
    items = np.unique(panel.items[own])
    return Suspicion(
        annotator,
        slices.names[at],
        int(own.sum()),
        float(wrong[items].sum()),
        float(found.expected[annotator, at]),
        int((panel.labels[gold] != panel.gold[panel.items[gold]]).sum()),
        int(gold.sum()),
        float(_odds(found, float(chance.max()))[annotator, at]),
        _beyond(chance, float(found.evidence[at])),
        items[wrong[items] > 0.5],
    )


def _beyond(chance: Floats, value: float) -> float:
    """How often chance reaches `value`, from a Gumbel distribution (that of maxima) through the shuffled maxima."""
    scale = max(0.25, float(chance.std()) * np.sqrt(6) / np.pi)
    middle = float(chance.mean()) - 0.5772 * scale
    return float(-np.expm1(-np.exp(-(value - middle) / scale)))
