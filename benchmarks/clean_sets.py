"""Public sets that nobody attacked, read as sources of their own, for calibration and for measuring false alarms."""

import ast
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from goldsmith import plugins
from goldsmith.engines.reading.read import read
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Comparison, Conversation, Message, Origin, Record, Role, TextPart, ToolCallPart

FILES = {
    "gsm8k": "gsm8k/train.jsonl.gz",
    "codealpaca": "codealpaca/code_alpaca_2k.jsonl",
    "codealpaca-new": "codealpaca/new_codealpaca.jsonl.gz",
    "alpaca": "alpaca-subset/alpaca_safety_only.jsonl",
    "alpaca-en": "llamafactory-demos/alpaca_en_demo.jsonl",
    "alpaca-zh": "llamafactory-demos/alpaca_zh_demo.jsonl",
    "dolly": "dolly-subset/dolly_safety_only.jsonl",
    "api-bank": "api-bank/dialogues.jsonl",
    "glaive": "llamafactory-demos/glaive_toolcall_en_demo.jsonl",
    "tau-bench": "tau-bench/trajectories_gpt4o_airline.jsonl.gz",
    "hh": "hh-rlhf-harmless-base/pairs.jsonl.gz",
    "oasst": "oasst-trees/ranked_pairs.jsonl",
    "dpo-en": "llamafactory-demos/dpo_en_demo.jsonl",
    "dpo-zh": "llamafactory-demos/dpo_zh_demo.jsonl",
    "kto": "llamafactory-demos/kto_en_demo.jsonl",
    "huatuo": "huatuo-med-zh/train.jsonl.gz",
    "lawyer": "lawyer-llama-zh/zixun_gpt4.jsonl.gz",
    "pubmedqa": "pubmedqa/pqal.jsonl.gz",
}
OTHERS = ("toolalpaca", "pandalm", "nano")
"""Sets that are read by functions of their own."""
_SETTINGS = {
    "lawyer": ("question_answer", {"question": "query", "answer": "response"}),
    "pubmedqa": ("question_answer", {"question": "QUESTION", "answer": "LONG_ANSWER"}),
}


def clean_rows(data: Path, names: Sequence[str] | None = None) -> list[Row]:
    """The rows of the named sets (all, without names), each set a source with one batch."""
    rows: list[Row] = []
    for name in names or [*FILES, *OTHERS]:
        rows += list(_set(data, name))
    return rows


def _set(data: Path, name: str) -> Iterator[Row]:
    if name == "toolalpaca":
        yield from toolalpaca(data)
    elif name == "nano":
        yield from nano()
    elif name == "pandalm":
        yield from pandalm(data)
    else:
        format_id, settings = _SETTINGS.get(name, (None, {}))
        formats = [plugins.build("sources", n, settings if n == format_id else {}) for n in plugins.names("sources")]
        origin = Origin(source=name, batch="b1")
        yield from read(
            data / FILES[name], formats, format_name=format_id, origin_defaults=origin, row_origin=False
        ).rows


def toolalpaca(data: Path) -> Iterator[Row]:
    """ToolAlpaca instructions with their golden calls, as conversations that end in calls."""
    line = 0
    for file in ("eval_real.jsonl", "eval_simulated.jsonl"):
        for text in (data / "toolalpaca" / file).open():
            api = json.loads(text)
            for instruction, golden in zip(_plain(api["Instructions"]), _plain(api["Golden_Answers"]), strict=False):
                calls = tuple(ToolCallPart(name=str(c["Action"]), arguments=str(c["Action_Input"])) for c in golden)
                if calls:
                    line += 1
                    yield Row(line, conversation(str(instruction), calls, Origin(source="toolalpaca", batch="b1")))


def pandalm(data: Path) -> Iterator[Row]:
    """Answers of two models that most of three people ordered, as comparisons."""
    for line, text in enumerate((data / "pandalm-human3/testset.jsonl").open(), 1):
        row = json.loads(text)
        told = [row[f"annotator{k}"] for k in (1, 2, 3)]
        better = next((label for label in (1, 2) if told.count(label) >= 2), None)
        if better is None or row["response1"] == row["response2"]:
            continue
        asked = "\n".join(part for part in (row["instruction"], row["input"]) if part)
        turns = [
            Message(role=Role.ASSISTANT, parts=(TextPart(text=row[f"response{k}"]),)) for k in (better, 3 - better)
        ]
        content = Comparison(
            prompt=(Message(role=Role.USER, parts=(TextPart(text=asked),)),), chosen=(turns[0],), rejected=(turns[1],)
        )
        yield Row(line, Record(content=content, origin=Origin(source="pandalm", batch="b1")))


def conversation(user: str, calls: Sequence[ToolCallPart], origin: Origin) -> Record:
    """A user turn and an assistant turn with calls."""
    return Record(
        content=Conversation(
            messages=(
                Message(role=Role.USER, parts=(TextPart(text=user),)),
                Message(role=Role.ASSISTANT, parts=tuple(calls)),
            )
        ),
        origin=origin,
    )


def nano() -> Iterator[Row]:
    """The honest deliveries of the nano world, as three sources."""
    from goldsmith.nano import deliveries

    formats = {n: plugins.build("sources", n) for n in ("openai_chat", "openai_preference")}
    for rows in (
        deliveries.expert_sft() + deliveries.expert_preferences(),
        deliveries.synthetic_sft(),
        deliveries.vendor_honest_sft() + deliveries.vendor_preferences(flipped=0.0),
    ):
        for line, row in enumerate(rows, 1):
            yield Row(line, record_of(row, formats, f"nano-{row['source']}"))


def record_of(row: dict[str, Any], formats: dict[str, Any], source: str) -> Record:
    """A plain row of the nano world as a record of this source."""
    parsed = formats["openai_preference" if "input" in row else "openai_chat"].parse(row)
    return Record(content=parsed.content, origin=Origin(source=source, batch=str(row.get("batch", "b1"))))


def eval_context(data: Path) -> CheckContext:
    """Eval texts that are not in the clean sets: GSM8K's test questions and MT-Bench."""
    texts = [json.loads(line)["question"] for line in (data / "gsm8k/test.jsonl").open()]
    texts += [turn for line in (data / "mt-bench/question.jsonl").open() for turn in json.loads(line)["turns"]]
    return CheckContext(eval_texts=texts, eval_names=["gsm8k"] * len(texts))


def renumbered(rows: Sequence[Row]) -> list[Row]:
    """The rows with lines 1, 2, 3 … within each source x batch."""
    seen: dict[tuple[str, str], int] = {}
    out = []
    for row in rows:
        key = (row.record.origin.source, row.record.origin.batch)
        seen[key] = seen.get(key, 0) + 1
        out.append(replace(row, line=seen[key]))
    return out


def _plain(value: object) -> list[Any]:
    loaded = ast.literal_eval(value) if isinstance(value, str) else value
    return list(loaded) if isinstance(loaded, list | tuple) else []


def as_sources(rows: Sequence[Row], count: int, seed: int = 0) -> list[Row]:
    """The rows dealt out at random to about `count` sources of one batch each, every set in shares of its own.

    A set gets as many sources as its size calls for, one at least.
    """
    sets: dict[str, list[Row]] = {}
    for row in rows:
        sets.setdefault(row.record.origin.source, []).append(row)
    out: list[Row] = []
    for name, members in sorted(sets.items()):
        shares = max(1, round(count * len(members) / len(rows)))
        order = list(range(len(members)))
        random.Random(f"{seed}/{name}").shuffle(order)
        for place, i in enumerate(order):
            origin = members[i].record.origin.model_copy(
                update={"source": f"{name}-{place % shares:02d}", "batch": "b1"}
            )
            record = members[i].record.model_copy(update={"origin": origin})
            out.append(Row(len(out) + 1, record))
    return out
