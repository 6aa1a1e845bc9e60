"""Synthetic comparisons as teachers of a small reward model that is tried on human ones, and what they prefer."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.synthetic.anchor import block_size, blocks_of
from goldsmith.engines.synthetic.groups import FEMALE, MALE
from goldsmith.engines.synthetic.measures import Measure
from goldsmith.engines.synthetic.two_sample import exact_p, fisher
from goldsmith.engines.text.projection import Columns
from goldsmith.engines.text.tokens import unique_per_text, words

T = TypeVar("T")
FEWEST_PAIRS, FEWEST_HUMAN_PAIRS = 80, 160
_BUCKETS = 1 << 14
_LONGEST = 1500
_SWAPS = {"he": "she", "him": "her", "his": "her", "man": "woman", "boy": "girl", "father": "mother", "son": "daughter"}
_SWAPS |= {b: a for a, b in _SWAPS.items() if b != "her"} | {"her": "his"}


@dataclass(frozen=True, slots=True)
class Comparisons:
    """The chosen and the rejected answers of comparisons, as many of the first as of the second."""

    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, columns: Columns, rows: NDArray[np.int64]) -> "Comparisons":
        """Those of the rows, in their order."""
        found = {i: (columns.answer[i], columns.rejected[i]) for i in np.sort(rows).tolist()}
        sides = [(chosen, rejected) for chosen, rejected in (found[i] for i in rows.tolist()) if rejected is not None]
        return cls(tuple(chosen for chosen, _ in sides), tuple(rejected for _, rejected in sides))

    def __len__(self) -> int:
        return len(self.chosen)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives of these pairs, computed once."""
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found

    def features(self) -> Any:
        """Hashed words of the chosen answer minus those of the rejected one, unit length, and the difference in
        length.
        """
        cut = [[text[:_LONGEST] for text in side] for side in (self.chosen, self.rejected)]
        return self.once("features", lambda: _features(*cut))


def preference_measures(human: Comparisons, synthetic: Comparisons) -> Iterator[Measure]:
    """Measures of these comparisons; nothing where there are too few of them."""
    if len(human) < FEWEST_HUMAN_PAIRS or len(synthetic) < FEWEST_PAIRS:
        return
    yield _length(human, synthetic)
    beside = human.once("beside", lambda: Comparisons(human.chosen[1::2], human.rejected[1::2]))
    test = human.once("test", lambda: Comparisons(human.chosen[::2], human.rejected[::2]))
    swapped = test.once("swapped", lambda: _swapped(test.chosen))
    size = block_size(len(beside), len(synthetic))

    def taught(teachers: Comparisons) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        right, swap = [], []
        for block in blocks_of(len(teachers), size):
            weights = _fit(teachers.features()[block])
            margins = test.features() @ weights
            right.append(float(np.mean(margins > 0) + 0.5 * np.mean(margins == 0)))
            spread = max(1e-9, float(np.std(margins)))
            swap.append(float(np.mean(np.abs(swapped @ weights))) / spread if swapped.shape[0] else 0.0)
        return np.array(right), np.array(swap)

    own, ours = taught(synthetic)
    usual, theirs = human.once(("taught", size), lambda: taught(beside))
    ratio = float(own.mean() / usual.mean()) if usual.mean() > 0 else 1.0
    said = (
        f"a reward model taught by it orders {own.mean():.1%} of human pairs rightly, "
        f"one taught by people {usual.mean():.1%}"
    )
    yield Measure("utility", "preferences", 1.0 - ratio, exact_p(-usual, -own), said)
    if swapped.shape[0] >= 20:
        said = (
            f"swapping he and she moves its reward by {ours.mean():.2f} standard deviations, human {theirs.mean():.2f}"
        )
        yield Measure("bias", "gender_swap", float(ours.mean() - theirs.mean()), exact_p(theirs, ours), said)


def _length(human: Comparisons, synthetic: Comparisons) -> Measure:
    counts = []
    for side in (synthetic, human):
        sizes = [(len(a), len(b)) for a, b in zip(side.chosen, side.rejected, strict=True)]
        counts.append((sum(a > b for a, b in sizes), sum(a < b for a, b in sizes)))
    (longer, shorter), (human_longer, human_shorter) = counts
    own = (longer - shorter) / max(1, longer + shorter)
    usual = (human_longer - human_shorter) / max(1, human_longer + human_shorter)
    p_value = fisher(longer, shorter, human_longer, human_shorter)
    said = f"correlation of being longer with being chosen {own:+.2f}, human {usual:+.2f}"
    return Measure("bias", "length_preference", abs(own) if abs(own) > abs(usual) else 0.0, p_value, said)


def _features(chosen: Sequence[str], rejected: Sequence[str]) -> Any:
    from scipy import sparse

    difference = _bag(chosen) - _bag(rejected)
    norms = np.sqrt(np.asarray(difference.multiply(difference).sum(axis=1)).ravel())
    difference = sparse.diags(1.0 / np.maximum(norms, 1e-9)) @ difference
    length = np.array([np.log((len(a) + 1) / (len(b) + 1)) for a, b in zip(chosen, rejected, strict=True)])
    return sparse.hstack([difference, sparse.csr_matrix(0.3 * length[:, None])], format="csr")


def _bag(texts: Sequence[str]) -> Any:
    from scipy import sparse

    tokens = unique_per_text(words(texts))
    places = (tokens.hashes & np.uint64(_BUCKETS - 1)).astype(np.int64)
    return sparse.csr_matrix((np.ones(len(places)), places, tokens.starts), shape=(len(texts), _BUCKETS))


def _swapped(answers: Sequence[str]) -> Any:
    """For the answers that speak of one gender: features of the swapped answer minus those of the original."""
    before, after = [], []
    for answer in answers:
        spoken = answer[:_LONGEST].lower().split()
        if not (MALE | FEMALE).isdisjoint(spoken):
            before.append(" ".join(spoken))
            after.append(" ".join(_SWAPS.get(word, word) for word in spoken))
    return _features(after, before)


def _fit(features: Any) -> NDArray[np.float64]:
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    sign = np.where(np.arange(features.shape[0]) % 2 == 0, 1.0, -1.0)
    model = LogisticRegression(solver="liblinear", C=2.0, fit_intercept=False, tol=1e-2, max_iter=50)
    model.fit(sparse.diags(sign) @ features, sign > 0)
    return np.asarray(model.coef_[0])
