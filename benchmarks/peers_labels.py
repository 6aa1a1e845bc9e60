"""Label errors: 5 % of the labels turned round; ours beside cleanlab on TF-IDF and logistic regression."""

import json
import random
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import clean_sets
import numpy as np
import results

from goldsmith import plugins
from goldsmith.engines import screening
from goldsmith.engines.planting import edit
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Message, Origin, Rating, Record, Role, TextPart

SHARE = 0.05
SETS = ("pandalm", "hh", "oasst", "dpo-en", "sst2")


def sentences(data: Path) -> list[Row]:
    """Film reviews by sentence, praise rated good and blame rated bad."""
    rows = []
    for name in ("clean_dev.jsonl", "clean_test.jsonl"):
        for line in (data / "sst2-hiddenkiller" / name).open(encoding="utf-8"):
            one = json.loads(line)
            said = [
                (Message(role=role, parts=(TextPart(text=text),)),)
                for role, text in ((Role.USER, "Say something kind about the film."), (Role.ASSISTANT, one["sentence"]))
            ]
            content = Rating(prompt=said[0], answer=said[1], label=bool(one["label"]))
            rows.append(Row(len(rows) + 1, Record(content=content, origin=Origin(source="sst2", batch="b1"))))
    return rows


def turned(row: Row) -> Row:
    """The other label."""
    content: Any = row.record.content
    other = (
        content.model_copy(update={"label": not content.label})
        if isinstance(content, Rating)
        else edit.swapped(content)
    )
    return Row(row.line, row.record.model_copy(update={"content": other}))


def cleanlab_alone(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """How suspect each row's label is, and whether `find_label_issues` names it, as cleanlab's own text tutorial does
    it (TF-IDF in the place of its sentence encoder). Pairs: the difference of both sides, which side first by turns.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    columns = project(rows).columns
    good, bad = ([text or "" for text in side] for side in (columns.answer, columns.rejected))
    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    if isinstance(rows[0].record.content, Rating):
        features = vectors.fit_transform([a or b for a, b in zip(good, bad, strict=True)])
        labels = np.array([bool(text) for text in good]).astype(int)
    else:
        vectors.fit([*good, *bad])
        labels = np.arange(len(rows)) % 2
        difference = vectors.transform(good) - vectors.transform(bad)
        features = difference.multiply(np.where(labels == 1, 1.0, -1.0)[:, None]).tocsr()
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    told = cross_val_predict(
        LogisticRegression(C=10.0, max_iter=400), features, labels, cv=folds, method="predict_proba"
    )
    return 1.0 - get_label_quality_scores(labels, told), find_label_issues(labels, told)


def figures(score: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Average precision, and the share of errors above the 99th percentile of the rest."""
    from sklearn.metrics import average_precision_score

    return {
        "average precision": float(average_precision_score(wrong, score)),
        "TPR at 1 % FPR": float((score[wrong] > np.quantile(score[~wrong], 0.99)).mean()),
    }


def rows(data: Path, repeats: int) -> list[dict[str, Any]]:
    """Each set and measure: `label_noise` alone, as shipped and asked to speak sooner; all checks; cleanlab."""
    version = f"cleanlab {metadata.version('cleanlab')}"
    battery: Any = [plugins.build("checks", name) for name in plugins.names("checks")]
    alone: dict[str, Any] = {
        "label_noise": plugins.build("checks", "label_noise"),
        "label_noise, least_accuracy 0.55": plugins.build("checks", "label_noise", {"least_accuracy": 0.55}),
    }
    out = []
    for name in SETS:
        clean = sentences(data) if name == "sst2" else clean_sets.clean_rows(data, [name])
        found: dict[str, dict[str, list[float]]] = {}
        for draw in range(repeats):
            wrong = np.zeros(len(clean), bool)
            wrong[random.Random(draw).sample(range(len(clean)), round(SHARE * len(clean)))] = True
            mixed = [turned(row) if bad else row for row, bad in zip(clean, wrong.tolist(), strict=True)]
            for tool in (*alone, "all checks", "cleanlab"):
                started = time.process_time()
                if tool == "cleanlab":
                    score, _ = cleanlab_alone(mixed)
                elif tool in alone:
                    score = np.array([s or 0.0 for s in alone[tool](mixed, CheckContext()).scores or ()])
                else:
                    score = np.asarray(screening.screen(mixed, battery, CheckContext()).combined)
                told = {**figures(score, wrong), "CPU": time.process_time() - started}
                for what, value in told.items():
                    found.setdefault(what, {}).setdefault(tool, []).append(value)
        for what, by_tool in found.items():
            for tool in (*alone, "all checks"):
                unit = "CPU-s" if what == "CPU" else "share"
                title = f"labels, {name} ({len(clean)}), {tool}: {what}"
                out.append(results.row(title, by_tool[tool], by_tool["cleanlab"], unit, peer_version=version))
    return out
