"""Trains the small model of harmful requests that `refusal_removal` uses, and says how good it is on sets it has not
seen.

Run: python benchmarks/harmful_request_model.py SHARED_DATA_FOLDER Trained on AdvBench, MaliciousInstruct, HarmBench
(MIT) against prompts of GSM8K, LLMBar, MT-Bench, BFCL, AgentBench, BiGGen, OASST and Self-Instruct (MIT and
Apache-2.0) and half of XSTest's safe and unsafe prompts (CC BY 4.0). Held out: StrongREJECT, SimpleSafetyTests, the
other half of XSTest, TruthfulQA, CodeAlpaca, Alpaca. Writes word weights, no text, to
src/goldsmith/engines/text/harmful_requests.json.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from goldsmith.engines.text import harm

OUT = Path(__file__).resolve().parents[1] / "src/goldsmith/engines/text/harmful_requests.json"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file, gzipped or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        yield from map(json.loads, lines)


def first(row: dict[str, Any], *names: str) -> str:
    """The first of the fields that holds text."""
    return next((row[name] for name in names if isinstance(row.get(name), str)), "")


def texts(folder: Path, name: str, *fields: str) -> list[str]:
    """The texts of one field of a file."""
    return [text for row in rows(folder / name) if (text := first(row, *fields))]


def main() -> None:
    """Trains, writes, and prints the held-out figures."""
    data = Path(sys.argv[1])
    xstest = list(rows(data / "xstest/prompts.jsonl"))
    unsafe = [
        first(r, "prompt") for r in xstest if "contrast" in first(r, "type", "label") or r.get("label") == "unsafe"
    ]
    safe = [first(r, "prompt") for r in xstest if first(r, "prompt") not in set(unsafe)]
    harmful = (
        texts(data, "advbench/behaviors.jsonl", "behavior")
        + texts(data, "malicious-instruct/prompts.jsonl", "prompt", "instruction")
        + texts(data, "harmbench/behaviors_text.jsonl", "behavior", "Behavior")
        + unsafe[::2] * 2
    )
    harmless = (
        texts(data, "gsm8k/train.jsonl.gz", "question")[:800]
        + texts(data, "oasst-trees/ranked_pairs.jsonl", "prompt") * 2
        + texts(data, "self-instruct/seed_tasks.jsonl", "instruction") * 2
        + texts(data, "self-instruct/user_oriented_instructions.jsonl", "instruction") * 2
        + texts(data, "llmbar/natural.jsonl", "input")
        + texts(data, "llmbar/adv_gptinst.jsonl", "input")
        + texts(data, "llmbar/adv_neighbor.jsonl", "input")
        + texts(data, "llmbar/adv_manual.jsonl", "input")
        + texts(data, "agentbench/os_tasks.jsonl", "description")
        + texts(data, "prometheus-eval/biggen_rubrics.jsonl.gz", "input")
        + [str(turn["content"]) for row in rows(data / "bfcl-v4/simple_python.jsonl") for turn in row["question"][0]]
        + [str(turn["content"]) for row in rows(data / "bfcl-v4/multiple.jsonl") for turn in row["question"][0]]
        + [turn for row in rows(data / "mt-bench/question.jsonl") for turn in row["turns"]]
        + safe[::2] * 4
    )
    words = CountVectorizer(tokenizer=harm.tokens, token_pattern=None, lowercase=False, binary=True, min_df=2)
    matrix = words.fit_transform(harmful + harmless)
    labels = np.array([1] * len(harmful) + [0] * len(harmless))
    model = LogisticRegression(C=3.0, class_weight="balanced", max_iter=2000).fit(matrix, labels)
    names = words.get_feature_names_out()
    kept = np.argsort(-np.abs(model.coef_[0]))[:2500]
    weights = {str(names[k]): round(float(model.coef_[0][k]), 3) for k in sorted(kept)}
    OUT.write_text(
        json.dumps({"intercept": round(float(model.intercept_[0]), 3), "weights": weights}, sort_keys=True, indent=0)
        + "\n"
    )
    harm.weights.cache_clear()
    held_bad = {
        "strongreject": texts(data, "strongreject/prompts.jsonl", "prompt", "forbidden_prompt"),
        "simplesafetytests": texts(data, "simplesafetytests/prompts.jsonl", "prompts_final"),
        "xstest unsafe": unsafe[1::2],
    }
    held_good = {
        "xstest safe": safe[1::2],
        "truthfulqa": texts(data, "truthfulqa/questions.jsonl", "question", "Question"),
        "gsm8k": texts(data, "gsm8k/test.jsonl", "question"),
        "codealpaca": texts(data, "codealpaca/code_alpaca_2k.jsonl", "instruction"),
        "alpaca": texts(data, "llamafactory-demos/alpaca_en_demo.jsonl", "instruction"),
    }
    for name, group in {**held_bad, **held_good}.items():
        values = harm.harmfulness(group)
        shares = ", ".join(f">= {line}: {(values >= line).mean():.3f}" for line in (0.5, 0.8))
        print(f"{name:18} n={len(group):5} mean={values.mean():.3f} share {shares}")
    bad = np.concatenate([harm.harmfulness(g) for g in held_bad.values()])
    good = np.concatenate([harm.harmfulness(g) for g in held_good.values()])
    print("AUC", round(roc_auc_score(np.r_[np.ones(len(bad)), np.zeros(len(good))], np.r_[bad, good]), 4))


if __name__ == "__main__":
    main()
