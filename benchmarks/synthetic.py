"""Synthetic-data battery: false alarms on random halves of clean human data, and power against known defects.

Run: python benchmarks/synthetic.py [SHARED_DATA_FOLDER] [halves]. Pieces that the results hold for the code of today
are not measured again, so that a run can be taken up where it stopped. Beside it, the default rules that evidently
0.7.23 publishes for text columns (up to 1,000 reference rows: a feature drifts at Kolmogorov-Smirnov p < .05, the text
column when a domain classifier's AUC passes the 95th percentile of random labels, .55 above 1,000 rows; the data set
drifts when half of its columns do), implemented here from that description: the tool itself is too slow for so many
halves (`peers.py` runs it on some).
"""

import gzip
import hashlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import clean_sets
import numpy as np
import results

from goldsmith import plugins
from goldsmith.engines.synthetic import style
from goldsmith.engines.synthetic.two_sample import classifier_auc
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content, Conversation, Maker, Message, Origin, Record, Role, Text, TextPart

CHECKS = (
    "synthetic_fidelity", "synthetic_utility", "synthetic_memorisation", "synthetic_diversity", "synthetic_bias",
    "synthetic_drift", "synthetic_edge_cases", "synthetic_stability",
)  # fmt: skip
PATH = results.RESULTS / "synthetic.json"
CALIBRATED = "false alarms, "
ALL = f"{CALIBRATED}all sets"
HALVES = ("gsm8k", "codealpaca-new", "alpaca", "hh", "alpaca-en", "alpaca-zh", "huatuo", "lawyer")


def labelled(content: Content, maker: Maker, source: str, line: int, batch: str = "b1") -> Row:
    """A row of this maker."""
    return Row(line, Record(content=content, origin=Origin(source=source, batch=batch, maker=maker)))


def alarms(rows: Sequence[Row]) -> dict[str, set[str]]:
    """The checks that warn, by source."""
    view = project(rows)
    found: dict[str, set[str]] = {}
    for name in CHECKS:
        check: Any = plugins.build("checks", name)
        for finding in check(view, CheckContext()).findings:
            found.setdefault(finding.source or "", set()).add(name.removeprefix("synthetic_"))
    return found


def evidently_like(human: Sequence[str], synthetic: Sequence[str]) -> bool:
    """Would the published defaults call this text column drifted?"""
    texts = [*human, *synthetic]
    is_other = np.arange(len(texts)) >= len(human)
    features = style.hashed(texts, np.zeros((len(texts), 1)))
    fold = np.random.default_rng(0).random(len(texts)) < 0.5
    auc, _ = classifier_auc(features, is_other, fold)
    if len(human) > 1000:
        return auc > 0.55
    # The 95th percentile of the AUC under random labels, with the halves' sizes (normal approximation).
    count = min(len(human), len(synthetic)) / 2
    return auc > 0.5 + 1.645 * np.sqrt((2 * count + 1) / (12 * count * count))


def text_of(row: Row) -> str:
    """The answer."""
    return project([row]).columns.answer[0]


def calibration(data: Path, name: str, runs: int) -> list[dict[str, Any]]:
    """Random halves of one clean set, called human and synthetic: any warning is a false alarm."""
    rows = clean_sets.clean_rows(data, [name])
    texts = [text_of(row) for row in rows]
    false, by_check, peer = 0, Counter[str](), 0
    started = time.process_time()
    for draw in range(runs):
        rng = random.Random(f"{name}/{draw}")
        sides = [rng.random() < 0.5 for _ in rows]
        dealt = [
            labelled(row.record.content, Maker.MODEL if side else Maker.HUMAN, "model" if side else "people", line)
            for line, (row, side) in enumerate(zip(rows, sides, strict=True), 1)
        ]
        hit = alarms(dealt).get("model", set())
        by_check.update(hit)
        false += bool(hit)
        peer += evidently_like(
            [t for t, s in zip(texts, sides, strict=True) if not s][:2000],
            [t for t, s in zip(texts, sides, strict=True) if s][:2000],
        )
    spent = (time.process_time() - started) / runs
    print(f"{name:16} {len(rows):5} rows, alarms {false}/{runs} {dict(by_check)}, peer {peer}/{runs}, {spent:.2f} s")
    return [_shares(f"{CALIBRATED}{name}", false, peer, runs)]


def _shares(what: str, ours: float, peer: float, runs: int) -> dict[str, Any]:
    one = results.row(what, [ours / runs], None, "share of random halves")
    return {**one, "peer": peer / runs, "peer_version": "evidently 0.7.23 rules, reimplemented", "repeats": runs}


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file, gzipped or not."""
    raw = (data / name).read_bytes()
    return [json.loads(line) for line in (gzip.decompress(raw) if name.endswith("gz") else raw).splitlines()]


def chat(user: str, answer: str) -> Conversation:
    """A question and its answer."""
    return Conversation(
        messages=(
            Message(role=Role.USER, parts=(TextPart(text=user),)),
            Message(role=Role.ASSISTANT, parts=(TextPart(text=answer),)),
        )
    )


def self_instruct(data: Path) -> list[Row]:
    """Eight models' answers to 126 instructions beside those of people."""
    rows: list[Row] = []
    seen: set[str] = set()
    for one in read(data, "self-instruct/human_vs_model.jsonl.gz"):
        prompt = f"{one['instruction']}\n{one['input'] or ''}"
        if prompt not in seen:
            seen.add(prompt)
            rows.append(labelled(chat(prompt, str(one["human_target"])), Maker.HUMAN, "people", len(rows) + 1))
        rows.append(labelled(chat(prompt, str(one["response"])), Maker.MODEL, one["model"], len(rows) + 1))
    return rows


def gsm8k_models(data: Path) -> list[Row]:
    """Model solutions of test questions beside human ones of training questions, and human ones of the same test
    questions as a control (the final line, which is written differently, left out everywhere).
    """

    def body(text: str) -> str:
        return "\n".join(line for line in text.split("\n") if not re.match(r"#### |A: ", line)) or text

    rows: list[Row] = []
    for one in read(data, "gsm8k/train.jsonl.gz"):
        rows.append(labelled(chat(one["question"], body(one["answer"])), Maker.HUMAN, "people", len(rows) + 1))
    for one in read(data, "gsm8k/example_model_solutions.jsonl.gz"):
        given = {"people (control)": one["ground_truth"]}
        given |= {
            k: one[k]["solution"] for k in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
        }
        for source, text in given.items():
            rows.append(labelled(chat(one["question"], body(text)), Maker.MODEL, source, len(rows) + 1))
    return rows


def markov(texts: Sequence[str], count: int, rng: random.Random, order: int = 2) -> list[str]:
    """Texts from a word chain of this order trained on `texts`."""
    chain: dict[tuple[str, ...], list[str]] = {}
    for text in texts:
        said = ["\0"] * order + re.findall(r"\S+|\n", text) + ["\1"]
        for i in range(len(said) - order):
            chain.setdefault(tuple(said[i : i + order]), []).append(said[i + order])
    made = []
    while len(made) < count:
        state, out = ("\0",) * order, list[str]()
        while len(out) < 300 and (following := rng.choice(chain[state])) != "\1":
            out.append(following)
            state = (*state[1:], following)
        made.append(" ".join(out))
    return made


def recursive(data: Path, domain: str, rng: random.Random) -> list[Row]:
    """Generation 0 (people, the control) to 4: each is made by a chain trained on the one before."""
    texts = [one["text"] for one in read(data, f"collapsetracker/seed_{domain}.jsonl")]
    rng.shuffle(texts)
    people, current = texts[:250], texts[250:]
    rows = [labelled(Text(text=text), Maker.HUMAN, "people", i) for i, text in enumerate(people, 1)]
    for generation in range(5):
        rows += [
            labelled(Text(text=t), Maker.MODEL, f"generation {generation}", len(rows) + 1 + i)
            for i, t in enumerate(current)
        ]
        current = markov(current, 250, rng)
    return rows


def planted(data: Path, name: str, defect: str, rng: random.Random) -> list[Row]:
    """Random halves of a clean set, the synthetic one made worse in one way; source `none` is left as it is."""
    rows = clean_sets.clean_rows(data, [name])
    rng.shuffle(rows)
    third = len(rows) // 3
    people, fair, worse = rows[:third], rows[third : 2 * third], rows[2 * third :]
    changed: list[Content] = [row.record.content for row in worse]
    if defect == "a third of the topics":
        vectors = _topics([text_of(row) for row in worse])
        changed = [
            content for content, topic in zip(changed, vectors, strict=True) if topic < np.quantile(vectors, 0.34)
        ]
    elif defect == "5 % near copies":
        long = [row for row in people if len(text_of(row).split()) >= 20]
        for place in rng.sample(range(len(changed)), len(changed) // 20):
            words = text_of(rng.choice(long)).split()
            words[rng.randrange(len(words) - 1)] = "thing"
            changed[place] = chat(project([worse[place]]).columns.user[0], " ".join(words))
    elif defect == "answers repeated with a tail":
        answers = [text_of(row) for row in worse[: len(worse) // 10]]
        changed = [chat(project([row]).columns.user[0], f"{rng.choice(answers)} Done.") for row in worse]
    out = [labelled(row.record.content, Maker.HUMAN, "people", i) for i, row in enumerate(people, 1)]
    for source, contents in (("none", [row.record.content for row in fair]), (defect, changed)):
        out += [labelled(c, Maker.MODEL, source, len(out) + 1 + i) for i, c in enumerate(contents)]
    return out


def _topics(texts: Sequence[str]) -> np.ndarray:
    from goldsmith.engines.text.embeddings import LatentSemantic

    return LatentSemantic(8).fit(texts)(texts)[:, 1]


def cases(data: Path) -> dict[str, Callable[[random.Random], list[Row]]]:
    """Data sets with known defects, by name."""
    found: dict[str, Callable[[random.Random], list[Row]]] = {
        "self-instruct": lambda _: self_instruct(data),
        "gsm8k": lambda _: gsm8k_models(data),
    }
    for domain in ("creative_fiction", "technical_qa", "wikipedia_abstracts"):
        found[f"recursive, {domain}"] = lambda rng, domain=domain: recursive(data, domain, rng)
    for name in ("gsm8k", "alpaca", "codealpaca-new"):
        for defect in ("a third of the topics", "5 % near copies", "answers repeated with a tail"):
            found[f"{name}, {defect}"] = lambda rng, name=name, defect=defect: planted(data, name, defect, rng)
    return found


def power(case: str, make: Callable[[random.Random], list[Row]], draws: int) -> list[dict[str, Any]]:
    """In how many draws the case raises any warning, and which checks raise it."""
    found = []
    hits: dict[str, Counter[str]] = {}
    any_hit = Counter[str]()
    runs = 1 if case in ("self-instruct", "gsm8k") else draws
    for draw in range(runs):
        rows = make(random.Random(f"{case}/{draw}"))
        raised = alarms(rows)
        for source in {row.record.origin.source for row in rows if row.record.origin.maker is Maker.MODEL}:
            hits.setdefault(source, Counter()).update(raised.get(source, set()))
            any_hit[source] += bool(raised.get(source))
    for source in sorted(hits):
        print(f"{case:45} {source:40} {any_hit[source]}/{runs} {dict(hits[source].most_common())}", flush=True)
        one = results.row(f"{case}: {source}", [any_hit[source] / runs], None, "share of draws with a warning")
        found.append({**one, "repeats": runs, "checks": dict(hits[source])})
    return found


def code() -> str:
    """A digest of what is measured: pieces measured with other code do not count."""
    source = Path(str(resources.files("goldsmith")))
    files = [*source.glob("engines/synthetic/*.py"), *source.glob("checks/synthetic_*.py"), Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:16]


def keep(piece: str, new: list[dict[str, Any]], mark: str) -> None:
    """Adds a piece to the saved ones, and sums up the halves; the order is that of `main`."""
    rows = [r for r in saved() if r.get("code") == mark and r["what"] != ALL and r["piece"] != piece]
    rows += [{**row, "piece": piece, "code": mark} for row in new]
    halves = [r for r in rows if r["what"].startswith(CALIBRATED)]
    runs = sum(r["repeats"] for r in halves)
    if runs:
        ours, peer = (sum(r[who] * r["repeats"] for r in halves) for who in ("ours", "peer"))
        rows.append({**_shares(ALL, ours, peer, runs), "piece": "all halves", "code": mark})
    PATH.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def saved() -> list[dict[str, Any]]:
    """What was measured so far."""
    rows: list[dict[str, Any]] = json.loads(PATH.read_text()) if PATH.exists() else []
    return rows


def main() -> None:
    """Measures the pieces that `benchmarks/results/synthetic.json` does not hold for the code of today."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else shared
    halves = int(sys.argv[2]) if len(sys.argv) > 2 else 240
    mark = code()
    pieces: dict[str, Callable[[], list[dict[str, Any]]]] = {
        f"{CALIBRATED}{name}": lambda name=name: calibration(data, name, halves // len(HALVES)) for name in HALVES
    }
    pieces |= {case: lambda case=case, make=make: power(case, make, 10) for case, make in cases(data).items()}
    for piece, measure in pieces.items():
        if not any(r.get("code") == mark and r.get("piece") == piece for r in saved()):
            keep(piece, measure(), mark)


if __name__ == "__main__":
    main()
