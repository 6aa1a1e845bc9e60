"""Bad annotators planted in simulated panels over real texts: how well each detector ranks them, whom it names.

Run: make bench NAME=annotators, or python benchmarks/annotators.py SHARED_DATA_FOLDER [seeds] [part of a name].
Settings that `results/annotators.json` has on so many seeds already are not measured again, so that a run can be taken
up where it stopped, and the page gets its table; remove the file after a change of the detectors. AUC: of the
detector's score, bad against honest annotators, mean over seeds and the worst seed. Peers, on the first seed only
because they are slow: the skill of Dawid-Skene (crowd-kit), accuracy on gold alone, cleanlab's annotator quality.
`named` and `false`: shares of bad and of honest annotators that the check names. Skills of the honest: uniform, .65 to
.95.
"""

import json
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clean_sets
import numpy as np
from results import RESULTS
from sklearn.decomposition import NMF
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from goldsmith.engines.annotators import truth
from goldsmith.engines.annotators.collusion import find_collusion, slices_of
from goldsmith.engines.annotators.copying import find_copying, independent_weights
from goldsmith.engines.annotators.panel import Panel, panel_of
from goldsmith.engines.annotators.skill import fit_skills, knowledge
from goldsmith.engines.text.projection import project
from goldsmith.types.check import Vote
from goldsmith.types.errors import Inconclusive

PEER_SEEDS = 1
PATH = RESULTS / "annotators.json"
PAGE = Path(__file__).resolve().parents[1] / "docs/concepts/annotators.md"


@dataclass(frozen=True)
class Setting:
    """A panel and what is planted in it. `strength`: how faithfully copies are made, or slices turned round."""

    attack: str
    kind: str
    bad: int
    annotators: int = 200
    items: int = 20_000
    each: int = 5
    labels: int = 2
    gold: float = 0.05
    strength: float = 0.9
    sheet: float = 0.75
    ring: int = 0
    common: float = 0.5

    @property
    def name(self) -> str:
        """As the results show it."""
        size = f"{self.bad} of {self.annotators}, {self.items} items x {self.each}"
        return f"{self.attack}: {self.kind}; {size}, {self.gold:.0%} gold"


SMALL: dict[str, Any] = {"annotators": 12, "items": 800, "each": 4}


def settings() -> list[Setting]:
    """What is measured."""
    found = []
    for bad in (10, 40):
        found.append(Setting("spam", "random labels", bad))
        found.append(Setting("spam", "one label each", bad))
        found.append(Setting("copies", "one ring, 90 % copied", bad, ring=bad))
        found.append(Setting("collusion", "a word, 90 % turned", bad))
        found.append(Setting("collusion", "a topic, 90 % turned", bad))
    found += [
        Setting("spam", "one label each, 10 % of items positive", 20, common=0.1),
        Setting("spam", "labels by frequency, 10 % positive", 20, common=0.1),
        Setting("spam", "random labels, four labels", 20, labels=4),
        Setting("spam", "random labels", 2, **SMALL),
        Setting("copies", "rings of ten, 90 % copied", 40, ring=10),
        Setting("copies", "rings of five, 90 % copied", 40, ring=5),
        Setting("copies", "one ring, 70 % copied", 40, ring=40, strength=0.7),
        Setting("copies", "one ring, a good sheet (.9), 80 % copied", 40, ring=40, strength=0.8, sheet=0.9),
        Setting("copies", "one ring, a sheet of guesses", 40, ring=40, sheet=0.5),
        Setting("copies", "one ring, four labels", 20, ring=20, labels=4),
        Setting("copies", "two copy", 2, ring=2, **SMALL),
        Setting("copies", "coordinated 30 %, a sheet of guesses", 60, ring=60, sheet=0.5),
        Setting("copies", "coordinated 30 %, a sheet of guesses", 60, ring=60, sheet=0.5, gold=0.0),
        Setting("copies", "coordinated 30 %, always wrong", 60, ring=60, sheet=0.0),
        Setting("copies", "coordinated 30 %, always wrong", 60, ring=60, sheet=0.0, gold=0.0),
        Setting("collusion", "a word, 60 % turned", 20, strength=0.6),
        Setting("collusion", "a source not told, 90 % turned", 20),
        Setting("collusion", "a word, coordinated 30 %", 60),
        Setting("collusion", "a word, coordinated 30 %", 60, gold=0.0),
        Setting("collusion", "a word", 2, **SMALL),
        Setting("none", "honest only", 0),
        Setting("none", "honest only", 0, **SMALL),
    ]
    return found


class Texts:
    """Real texts and the slices that colluders may choose: words, topics (by NMF, not k-means), sources."""

    def __init__(self, data: Path) -> None:
        view = project(clean_sets.clean_rows(data))
        self.texts = [text[:400] for text in view.columns.user]
        kept = [at for at, text in enumerate(self.texts) if len(text) > 20]
        self.texts = [self.texts[at] for at in kept]
        source = view.groups.source_of_row()[kept]
        features = TfidfVectorizer(min_df=5, max_features=20_000, stop_words="english").fit_transform(self.texts)
        topic = NMF(30, random_state=7, max_iter=60).fit_transform(features).argmax(axis=1)
        self.groups = {"topic": topic, "source": source}
        self.words = [set(text.lower().split()) for text in self.texts]

    def slice_of(self, kind: str, drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Items of a slice that holds 3 to 8 % of the items drawn."""
        while True:
            if kind == "word":
                some = sorted(self.words[drawn[rng.integers(len(drawn))]])
                word = some[rng.integers(len(some))]
                inside = np.array([word in self.words[at] for at in drawn])
            else:
                codes = self.groups[kind][drawn]
                inside = codes == rng.choice(np.unique(codes))
            if 0.03 <= inside.mean() <= 0.08:
                return inside


def planted(one: Setting, texts: Texts, rng: np.random.Generator) -> tuple[Panel, np.ndarray]:
    """The votes of one panel, and which annotators are bad [annotators]."""
    drawn = rng.choice(len(texts.texts), one.items, replace=one.items > len(texts.texts))
    who = np.argsort(rng.random((one.items, one.annotators)), axis=1)[:, : one.each].ravel()
    item = np.repeat(np.arange(one.items), one.each)
    right = rng.integers(0, one.labels, one.items)
    if one.common != 0.5:
        right = (rng.random(one.items) < one.common).astype(int)
    skill = rng.uniform(0.65, 0.95, one.annotators)

    def wrong(size: int, true: np.ndarray) -> np.ndarray:
        return (true + rng.integers(1, one.labels, size)) % one.labels

    label = np.where(rng.random(len(item)) < skill[who], right[item], wrong(len(item), right[item]))
    bad = rng.choice(one.annotators, one.bad, replace=False)
    hit = np.isin(who, bad)
    if one.attack == "spam":
        label = np.where(hit, _spam(one, who, bad, rng), label)
    elif one.attack == "copies":
        for start in range(0, one.bad, one.ring):
            sheet = np.where(rng.random(one.items) < one.sheet, right, wrong(one.items, right))
            taken = np.isin(who, bad[start : start + one.ring]) & (rng.random(len(item)) < one.strength)
            label = np.where(taken, sheet[item], label)
    elif one.attack == "collusion":
        kind = next(k for k in ("word", "topic", "source") if k in one.kind)
        inside = texts.slice_of(kind, drawn, rng)
        turned = hit & inside[item] & (rng.random(len(item)) < one.strength)
        label = np.where(turned, wrong(len(item), right[item]), label)
    gold = rng.random(one.items) < one.gold
    votes = [
        Vote(f"{i:06}", f"{a:04}", str(x), str(right[i]) if gold[i] else None, text=texts.texts[drawn[i]])
        for i, a, x in zip(item.tolist(), who.tolist(), label.tolist(), strict=True)
    ]
    panel = panel_of(votes)
    return panel, np.isin([int(name) for name in panel.annotator_names], bad)


def _spam(one: Setting, who: np.ndarray, bad: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if "one label" in one.kind:
        return np.isin(who, bad[::2]).astype(int)
    if "frequency" in one.kind:
        return (rng.random(len(who)) < one.common).astype(int)
    return rng.integers(0, one.labels, len(who))


def ours(one: Setting, panel: Panel) -> dict[str, tuple[np.ndarray, set[int]]]:
    """Each detector's scores and whom its check would name."""
    size = len(panel.annotator_names)
    known = knowledge(panel, fit_skills(panel), 0.25)
    copying = find_copying(panel)
    rings = [ring for ring in copying.rings if ring.certain]
    found = {
        "spam": (-known.mean, set(np.flatnonzero(known.below > 1 - 0.05 / size).tolist())),
        "copies": (copying.scores, {member for ring in rings for member in ring.members}),
    }
    if one.attack in ("collusion", "none"):
        slices = find_collusion(panel, slices_of(panel), independent_weights(panel, rings) if rings else None)
        found["collusion"] = (slices.scores, {s.annotator for s in slices.suspicions if s.odds >= 2})
    return found


def peers(panel: Panel) -> dict[str, np.ndarray]:
    """Suspicion [annotators] by what one would use otherwise."""
    hits, asked = panel.gold_hits
    found = {"gold accuracy": -(hits + 1) / (asked + 2)}
    try:
        codes = panel.items, panel.annotators, panel.labels, panel.shape
        found["Dawid-Skene skill"] = -np.nan_to_num(truth.dawid_skene(*codes).skills, nan=0.5)
    except Inconclusive:
        pass
    found["cleanlab"] = -cleanlab_quality(panel)
    return found


def cleanlab_quality(panel: Panel) -> np.ndarray:
    """cleanlab's annotator quality, with the smoothed vote shares as predictions."""
    import pandas as pd
    from cleanlab.multiannotator import get_label_quality_multiannotator

    table = np.full((len(panel.item_names), len(panel.annotator_names)), np.nan)
    table[panel.items, panel.annotators] = panel.labels
    shares = (panel.counts + 1) / (panel.counts + 1).sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = get_label_quality_multiannotator(
            pd.DataFrame(table).astype("Int64"), shares, verbose=False, return_detailed_quality=False
        )
    return told["annotator_stats"]["annotator_quality"].reindex(range(table.shape[1])).to_numpy()


def measure(one: Setting, texts: Texts, seeds: int, make: Callable[..., Any] = planted) -> dict[str, Any]:
    """One setting over all seeds."""
    auc: dict[str, list[float]] = {}
    named: list[float] = []
    false: dict[str, list[float]] = {}
    cpu: list[float] = []
    for seed in range(seeds):
        panel, bad = make(one, texts, np.random.default_rng([seed, 977]))
        started = time.process_time()
        found = ours(one, panel)
        cpu.append(time.process_time() - started)
        for detector, (_, who) in found.items():
            honest = [member for member in who if not bad[member]]
            false.setdefault(detector, []).append(len(honest) / max(1, int((~bad).sum())))
        if not one.bad:
            continue
        scores, who = found[one.attack]
        auc.setdefault("ours", []).append(float(roc_auc_score(bad, scores)))
        named.append(sum(bool(bad[member]) for member in who) / one.bad)
        if seed < PEER_SEEDS:
            for peer, suspicion in peers(panel).items():
                auc.setdefault(peer, []).append(float(roc_auc_score(bad, suspicion)))
    return {
        "setting": one.name,
        "seeds": seeds,
        "auc": {name: round(float(np.mean(values)), 4) for name, values in auc.items()},
        "worst_auc": round(min(auc["ours"]), 4) if auc else None,
        "named": round(float(np.mean(named)), 4) if named else None,
        "false": {name: round(float(np.mean(values)), 5) for name, values in false.items()},
        "cpu_s": round(float(np.median(cpu)), 2),
    }


def main() -> None:
    """Prints one row a setting, and puts it among the saved ones."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shared" / "data"
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    part = sys.argv[3] if len(sys.argv) > 3 else ""
    texts: Texts | None = None
    for one in settings():
        wanted = seeds if one.items > 1000 else 4 * seeds
        have = next((row["seeds"] for row in saved() if row["setting"] == one.name), 0)
        if part not in one.name or have >= wanted:
            continue
        texts = texts or Texts(data)
        keep(measure(one, texts, wanted))
    page = PAGE.read_text(encoding="utf-8")
    block = f"<!-- table -->\n{table(saved())}\n<!-- end -->"
    PAGE.write_text(re.sub(r"<!-- table -->.*?<!-- end -->", lambda _: block, page, flags=re.DOTALL), encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """The page's table, one line a setting."""
    lines = [
        "| planted | seeds | ours: mean (worst) | Dawid-Skene | cleanlab | named [honest] |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(
        rows, key=lambda row: ("spam", "copies", "collusion", "none").index(row["setting"].split(":")[0])
    ):
        what, panel = row["setting"].split("; ")
        bad, size = panel.removesuffix(" gold").rsplit(", ", 1)[0].split(" of ", 1)
        size = "" if size == "200, 20000 items x 5" else f" of {size} votes"
        gold = "" if " 5% gold" in panel else ", no gold"
        auc = row["auc"]
        ours = f"{auc['ours']:.3f} ({row['worst_auc']:.3f})" if auc else ""
        peer = [f"{auc[name]:.3f}" if auc else "" for name in ("Dawid-Skene skill", "cleanlab")]
        false = max(row["false"].values())
        named = f"{row['named']:.0%} [{false:.2%}]" if auc else f"[{false:.2%} at most by any check]"
        cells = f"{what}; {bad}{size}{gold}", str(row["seeds"]), ours, *peer, named
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def saved() -> list[dict[str, Any]]:
    """What was measured so far."""
    rows: list[dict[str, Any]] = json.loads(PATH.read_text()) if PATH.exists() else []
    return rows


def keep(new: dict[str, Any]) -> None:
    """Puts the row in the place of an older one, in the order of the settings."""
    print(json.dumps(new), flush=True)
    order = [one.name for one in settings()]
    rows = [row for row in saved() if row["setting"] != new["setting"] and row["setting"] in order]
    rows = sorted([*rows, new], key=lambda row: order.index(row["setting"]))
    RESULTS.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
