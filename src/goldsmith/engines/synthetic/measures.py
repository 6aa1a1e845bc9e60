"""The tests of one synthetic sample against the human anchor. Each gives measures: how large, and how surprising."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.synthetic import diversity, style
from goldsmith.engines.synthetic.anchor import (
    Anchor,
    Reading,
    block_size,
    blocks_of,
    flat,
    smallest,
    tail_rows,
    trial_words,
    words_at,
)
from goldsmith.engines.synthetic.language_model import Trial, bits_per_word
from goldsmith.engines.synthetic.two_sample import (
    classifier_auc,
    exact_p,
    mean_discrepancies,
    rank_auc,
    shift,
    stability_index,
)
from goldsmith.engines.text.tokens import ngrams

Floats = NDArray[np.float64]
_BLEU_TEXTS = 30


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of one test. `size` is what a limit is held against (larger is worse); `p_value` says how surprising
    it would be if both sides came from one distribution; `said` puts it in words.
    """

    test: str
    name: str
    size: float
    p_value: float
    said: str


def fidelity(anchor: Anchor, synthetic: Reading) -> Iterator[Measure]:
    """Classifier two-sample test on the answers, and the features of style that moved furthest."""
    auc, p_value = domain_auc(anchor, synthetic)
    yield Measure(
        "fidelity", "classifier_auc", auc, p_value, f"a classifier tells it from human text with AUC {auc:.3f}"
    )
    human = np.vstack([anchor.yardstick.looks, anchor.beside.looks])
    shifts = [shift(human[:, k], synthetic.looks[:, k]) for k in range(human.shape[1])]
    k = max(range(len(shifts)), key=lambda i: (shifts[i].js, -shifts[i].ks_p))
    p_value = min(1.0, min(one.ks_p for one in shifts) * len(shifts))
    said = (
        f"{style.NAMES[k]} moved most: Jensen-Shannon {shifts[k].js:.2f}, "
        f"Wasserstein {shifts[k].wasserstein:.2f} standard deviations"
    )
    yield Measure("fidelity", "feature_distance", shifts[k].js, p_value, said)


def domain_auc(anchor: Anchor, synthetic: Reading) -> tuple[float, float]:
    """Held-out AUC of human answers against synthetic ones, and its p-value; prompts never straddle the folds."""
    beside = anchor.beside.sample
    human = beside if len(beside) >= 0.5 * len(synthetic) else anchor.yardstick.sample
    most = max(200, 2 * len(synthetic))
    keys = np.concatenate([human.prompt_keys[:most], synthetic.sample.prompt_keys])
    answers = [*human.answers[:most], *synthetic.sample.answers]
    looks = np.vstack([(anchor.beside if human is beside else anchor.yardstick).looks[:most], synthetic.looks])
    is_other = np.arange(len(keys)) >= min(most, len(human))
    return classifier_auc(style.hashed(answers, looks), is_other, (keys >> np.uint64(7)) & np.uint64(1) == 1)


def drift(anchor: Anchor, synthetic: Reading, test: str = "drift") -> Iterator[Measure]:
    """Population stability of topics and style, and the kernel mean discrepancy of prompt and answer together."""
    topics, p_value = stability_index(anchor.topics(anchor.beside.whole), anchor.topics(synthetic.whole))
    yield Measure(test, "topics_psi", topics, p_value, f"topics moved: PSI {topics:.2f}")
    human = anchor.beside.looks
    shifts = [shift(human[:, k], synthetic.looks[:, k]) for k in range(human.shape[1])]
    k = max(range(len(shifts)), key=lambda i: shifts[i].psi)
    p_value = min(1.0, min(one.psi_p for one in shifts) * len(shifts))
    yield Measure(test, "style_psi", shifts[k].psi, p_value, f"{style.NAMES[k]} moved: PSI {shifts[k].psi:.2f}")
    size = block_size(len(anchor.beside), len(synthetic))
    yard = anchor.yardstick.whole[:500]

    def away(reading: Reading) -> list[float]:
        return mean_discrepancies(yard, [reading.whole[block] for block in blocks_of(len(reading), size)], anchor.width)

    own, usual = away(synthetic), anchor.beside.sample.once(("away", size), lambda: away(anchor.beside))
    ratio = sum(own) / max(sum(usual), 1e-12)
    said = f"kernel mean discrepancy {ratio:.1f} times that of human text"
    yield Measure(test, "discrepancy", ratio, exact_p(usual, own), said)


def memorisation(anchor: Anchor, synthetic: Reading) -> Iterator[Measure]:
    """Are synthetic answers nearer to human ones than human answers are to each other?"""
    yard = anchor.yardstick.answer
    own = (synthetic.answer @ yard.T).max(axis=1)
    usual = anchor.beside.sample.once("nearest", lambda: (anchor.beside.answer @ yard.T).max(axis=1))
    auc, p_value = rank_auc(usual, own)
    said = f"nearer to a human answer than other human answers are in {auc:.1%} of the comparisons (50 % is ideal)"
    yield Measure("memorisation", "closer_share", auc, p_value, said)


def membership(anchor: Anchor, synthetic: Reading, seen: Sequence[str], fresh: Sequence[str]) -> Measure:
    """Membership inference by distance: do answers that the generator may have seen lie closer to what it wrote?"""
    near = [(anchor.embed(texts).astype(np.float64) @ synthetic.answer.T).max(axis=1) for texts in (fresh, seen)]
    auc, p_value = rank_auc(near[0], near[1])
    said = f"human answers of the release before lie closer to it than fresh ones do, AUC {auc:.3f}"
    return Measure("memorisation", "membership", auc, p_value, said)


def coverage_and_diversity(anchor: Anchor, synthetic: Reading) -> Iterator[Measure]:
    """What of the human variety the synthetic text has, in equal blocks with equal numbers of words."""
    size = block_size(len(anchor.beside), len(synthetic))
    human = anchor.beside.sample
    yard = anchor.yardstick.whole
    radius = human.once(("radius", size), lambda: diversity.radii(yard, max(5, round(2.3 * len(yard) / max(1, size)))))
    ours = _varied(anchor, synthetic, size, radius)
    theirs = human.once(("varied", size), lambda: _varied(anchor, anchor.beside, size, radius))
    budget = max(1, min(len(one) for one in (*ours.pairs, *theirs.pairs)))
    distinct = [np.array([diversity.distinct(one, budget) for one in side.pairs]) for side in (ours, theirs)]
    words = {
        "distinct_2": "different word pairs",
        "effective_number": "effective number of different answers (Vendi)",
        "tail_words": "share of rarer words",
        "coverage": "human rows with synthetic ones near (coverage)",
        "tail_coverage": "coverage of the rarest tenth of human rows",
    }
    for name in words:
        own, usual = distinct if name == "distinct_2" else (ours.values[name], theirs.values[name])
        ratio = float(own.mean() / usual.mean()) if usual.mean() > 0 else 1.0
        said = f"{words[name]}: {ratio:.0%} of human"
        yield Measure("diversity", name, 1.0 - ratio, exact_p(-usual, -own), said)
    own, usual = ours.values["self_bleu"], theirs.values["self_bleu"]
    said = f"self-BLEU {own.mean():.2f}, human {usual.mean():.2f}"
    yield Measure("diversity", "self_bleu", float(own.mean() - usual.mean()), exact_p(usual, own), said)


@dataclass(frozen=True, slots=True)
class _Varied:
    """A sample dealt into ten blocks: the word pairs of each, and under each name the blocks' values [10]."""

    pairs: list[NDArray[np.uint64]]
    values: dict[str, Floats]


def _varied(anchor: Anchor, reading: Reading, size: int, radius: Floats) -> _Varied:
    deal = blocks_of(len(reading), size)
    texts = [words_at(reading.tokens, block, anchor.typical_words) for block in deal]
    reached = [diversity.covered(anchor.yardstick.whole, radius, reading.whole[block]) for block in deal]
    alone = tail_rows(radius)
    openings = [words_at(reading.tokens, block[:_BLEU_TEXTS], anchor.typical_words) for block in deal]
    values = {
        "effective_number": [diversity.vendi(reading.answer[block]) for block in deal],
        "tail_words": [diversity.tail_mass(one.hashes, anchor.head) for one in texts],
        "coverage": [float(one.mean()) for one in reached],
        "tail_coverage": [float(one[alone].mean()) for one in reached],
        "self_bleu": [diversity.self_bleu(one) for one in openings],
    }
    return _Varied([ngrams(one, 2).hashes for one in texts], {name: np.array(found) for name, found in values.items()})


def utility(anchor: Anchor, synthetic: Reading) -> Iterator[Measure]:
    """Train on synthetic, test on human: bits a word of a bigram model, beside models of as much human text."""
    size = block_size(len(anchor.beside), len(synthetic))
    test = anchor.yardstick.sample.once("trial", lambda: Trial.of(trial_words(anchor)))
    deal = [
        words_at(reading.tokens, block, 4 * anchor.typical_words)
        for reading in (synthetic, anchor.beside)
        for block in blocks_of(len(reading), size)
    ]
    budget = smallest(deal)
    if budget < 20 or not len(test):
        return
    bits = np.array([bits_per_word(flat(one, budget), test) for one in deal])
    own, usual = bits[:10], bits[10:]
    ratio = float(usual.mean() / own.mean())
    said = (
        f"as a teacher of human text it is worth {ratio:.1%} of human text "
        f"({own.mean():.2f} against {usual.mean():.2f} bits a word)"
    )
    yield Measure("utility", "language", 1.0 - ratio, exact_p(usual, own), said)
