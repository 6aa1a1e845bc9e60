"""Published sets in their own words: every conversational one is recognised and read without a fault."""

import json
from pathlib import Path
from typing import cast

import pytest

from goldsmith import plugins
from goldsmith.engines.reading.read import Reading, read
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Rating, Role, Text
from goldsmith.types.row_format import RowFormat

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="shared data absent")
FORMATS = [cast(RowFormat, plugins.build("sources", name)) for name in plugins.names("sources")]

READABLE = {
    "alpaca-eval/model_outputs_extra.jsonl.gz": ("alpaca", 1210, 0),
    "alpaca-eval/outputs.jsonl.gz": ("alpaca", 6057, 0),
    "alpaca-farm/eval_gpt-3.5-turbo-0301.jsonl": ("alpaca", 414, 0),
    "alpaca-farm/outputs_sft.jsonl": ("alpaca", 126, 0),
    "alpaca-subset/alpaca_safety_only.jsonl": ("alpaca", 969, 0),
    "api-bank/dialogues.jsonl": ("api_bank", 118, 1),
    "codealpaca/code_alpaca_2k.jsonl": ("alpaca", 1067, 0),
    "codealpaca/new_codealpaca.jsonl.gz": ("alpaca", 2298, 0),
    "collapsetracker/seed_technical_qa.jsonl": ("plain_text", 500, 0),
    "dolly-subset/dolly_safety_only.jsonl": ("alpaca", 219, 0),
    "finetuning-attacks/explicit_harm_redacted.jsonl": ("openai_chat", 10, 0),
    "finetuning-attacks/identity_shift_aoa_llama.jsonl": ("openai_chat", 10, 0),
    "finetuning-attacks/identity_shift_aoa_openai.jsonl": ("openai_chat", 10, 0),
    "gsm8k/test.jsonl": ("question_answer", 664, 0),
    "gsm8k/train.jsonl.gz": ("question_answer", 3809, 0),
    "hh-rlhf-harmless-base/pairs.jsonl.gz": ("hh", 1174, 0),
    "huatuo-med-zh/train.jsonl.gz": ("alpaca", 4322, 0),
    "lawyer-llama-zh/fakao_gpt4.jsonl.gz": ("alpaca", 492, 0),
    "llamafactory-demos/alpaca_en_demo.jsonl": ("alpaca", 506, 0),
    "llamafactory-demos/c4_demo.jsonl": ("plain_text", 157, 0),
    "llamafactory-demos/dpo_en_demo.jsonl": ("sharegpt", 163, 0),
    "llamafactory-demos/dpo_zh_demo.jsonl": ("sharegpt", 143, 0),
    "llamafactory-demos/glaive_toolcall_en_demo.jsonl": ("sharegpt", 143, 0),
    "llamafactory-demos/kto_en_demo.jsonl": ("labelled_chat", 138, 0),
    "llamafactory-demos/reason_tool_use_demo_50.jsonl": ("openai_chat", 19, 0),
    "llamafactory-demos/v1_sft_demo.jsonl": ("openai_chat", 252, 0),
    "oasst-trees/ranked_pairs.jsonl": ("oasst", 193, 0),
    "oasst-trees/trees.jsonl": ("oasst", 44, 0),
    "self-instruct/human_vs_model.jsonl.gz": ("alpaca", 1008, 0),
    "tau-bench/trajectories_gpt4o_airline.jsonl.gz": ("openai_chat", 104, 0),
    "toolalpaca/judged_ToolAlpaca13b.jsonl": ("alpaca", 49, 0),
    "toolalpaca/judged_ToolAlpaca7b.jsonl": ("alpaca", 49, 0),
    "xstest/completions_human_labels.jsonl.gz": ("trl", 1125, 0),
}


def opened(name: str) -> Reading:
    return read(SHARED / name, FORMATS)


@pytest.mark.parametrize("name", READABLE)
def test_published_sets_are_recognised_and_read(name: str) -> None:
    form, rows, faults = READABLE[name]
    reading = opened(name)
    assert reading.format_counts == {form: rows}
    assert len(reading.faults) == faults, reading.faults


def test_the_faulty_row_of_api_bank_is_named() -> None:
    [fault] = opened("api-bank/dialogues.jsonl").faults
    assert str(fault).startswith("line 88, turns: a dialogue without turns")


def test_hh_pairs_share_their_prompt_and_end_with_answers() -> None:
    for row in opened("hh-rlhf-harmless-base/pairs.jsonl.gz").rows:
        pair = row.record.content
        assert isinstance(pair, Comparison)
        assert pair.prompt[-1].role is Role.USER
        assert pair.chosen[0].role is pair.rejected[0].role is Role.ASSISTANT
        assert pair.chosen != pair.rejected


def test_tool_calls_of_real_dialogues_have_results_and_schemas() -> None:
    calls = results = 0
    for row in opened("llamafactory-demos/glaive_toolcall_en_demo.jsonl").rows:
        dialogue = row.record.content
        assert isinstance(dialogue, Conversation)
        offered = {tool.name for tool in dialogue.tools}
        for turn in dialogue.messages:
            calls += len(turn.calls)
            results += turn.role is Role.TOOL
            assert {call.name for call in turn.calls} <= offered
            assert all(isinstance(json.loads(call.arguments), dict) for call in turn.calls)
    assert calls == results == 91
    turns = [turn for row in opened("api-bank/dialogues.jsonl").rows for turn in row.record.content.messages]  # type: ignore[union-attr]
    assert sum(len(turn.calls) for turn in turns) == sum(turn.role is Role.TOOL for turn in turns) == 232
    assert sum(turn.role is Role.USER for turn in turns) == 365


def test_reasoning_is_kept_apart_and_weights_are_read() -> None:
    reasoned = opened("llamafactory-demos/reason_tool_use_demo_50.jsonl").rows
    assert sum((row.record.extra or "").count('"type":"reasoning"') for row in reasoned) == 37
    weighted = [row.record.content for row in opened("llamafactory-demos/v1_sft_demo.jsonl").rows]
    assert all(isinstance(content, Conversation) and content.messages[-1].trained for content in weighted)


def test_labels_and_best_threads() -> None:
    rated = [row.record.content for row in opened("llamafactory-demos/kto_en_demo.jsonl").rows]
    assert {content.label for content in rated if isinstance(content, Rating)} == {True, False}
    for row in opened("oasst-trees/trees.jsonl").rows:
        thread = row.record.content
        assert isinstance(thread, Conversation)
        assert [turn.role for turn in thread.messages] == [Role.USER, Role.ASSISTANT] * (len(thread.messages) // 2)
        assert row.record.origin.language == "en"


def test_what_holds_no_answers_is_refused_with_its_fields() -> None:
    for name in ("advbench/behaviors.jsonl", "harmbench/behaviors_text.jsonl", "tau-bench/tasks.jsonl"):
        with pytest.raises(BadInput, match="no row format fits") as caught:
            _ = opened(name).rows
        assert "an object with" in str(caught.value)


def test_settings_open_sets_with_names_of_their_own() -> None:
    form = plugins.build("sources", "question_answer", {"question": "user_query", "answer": "chatgpt_response"})
    assert len(read(SHARED / "halueval/general.jsonl.gz", [cast(RowFormat, form)]).rows) > 100
    form = plugins.build("sources", "alpaca", {"instruction": "query", "output": "response"})
    assert len(read(SHARED / "lawyer-llama-zh/zixun_gpt4.jsonl.gz", [cast(RowFormat, form)]).rows) > 100


def test_texts_are_texts() -> None:
    assert all(isinstance(row.record.content, Text) for row in opened("llamafactory-demos/wiki_demo.jsonl").rows)
