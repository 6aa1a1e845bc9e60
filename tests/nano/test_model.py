"""The shipped model: its files, its template, its tokenizer, and a few greedy runs."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from goldsmith.nano import model_path
from goldsmith.nano.episode import run
from goldsmith.nano.tasks import SKILLS, generate

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(model_path())


@pytest.fixture(scope="module")
def model() -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(model_path()).eval()


def test_the_files_are_those_that_were_measured() -> None:
    lines = (model_path() / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    assert {line.split()[1] for line in lines} >= {"model.safetensors", "tokenizer.json", "config.json"}
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256((model_path() / name).read_bytes()).hexdigest() == digest, name
    assert sum(file.stat().st_size for file in model_path().iterdir()) <= 25_000_000


@pytest.mark.parametrize("skill", SKILLS)
def test_each_prompt_is_a_prefix_and_the_mask_covers_what_the_assistant_says(skill: str, tokenizer: Any) -> None:
    for task in generate(skill, 5, 8):
        messages, tools = task.messages(), task.schemas() or None
        whole = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
        said = []
        for place in range(1, len(messages)):
            message = messages[place]
            head = tokenizer.apply_chat_template(
                messages[:place], tools=tools, tokenize=False, add_generation_prompt=message["role"] == "assistant"
            )
            assert whole.startswith(head)
            if message["role"] == "assistant":
                rest = whole[len(head) :]
                said.append(rest[: rest.index("<|end|>") + len("<|end|>")])
        coded = tokenizer.apply_chat_template(
            messages, tools=tools, return_dict=True, return_assistant_tokens_mask=True
        )
        pairs = zip(coded["input_ids"], coded["assistant_masks"], strict=True)
        assert tokenizer.decode([token for token, on in pairs if on]) == "".join(said)
        assert len(coded["input_ids"]) <= 1024


def test_arguments_as_text_and_as_object_render_alike(tokenizer: Any) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": "ä", "n": 2}'}}
    text = {"role": "assistant", "content": None, "tool_calls": [call]}
    made = {**call, "function": {"name": "f", "arguments": {"x": "ä", "n": 2}}}
    both = [
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}, message], tokenize=False)
        for message in (text, {**text, "tool_calls": [made]})
    ]
    assert both[0] == both[1]
    assert both[0].endswith('<|call|>{"name": "f", "arguments": {"x": "ä", "n": 2}}<|end|>')


TEXTS = (
    "",
    " ",
    "  two  blanks\n\ttab\r\n",
    "Zażółć gęślą jaźń",
    "漢字かな",
    "🙂",
    "a\u0301 \u200b ½",
    '{"x": [1, 2.5e-3]}',
)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_from_the_tokenizer(text: str, tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_stop_and_pad_are_distinct_and_known_to_generation(tokenizer: Any, model: Any) -> None:
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize("skill", ["order_get", "refuse", "weather_get"])
def test_the_model_does_heldout_base_tasks(skill: str, tokenizer: Any, model: Any) -> None:
    def respond(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        text = tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            out = model.generate(ids, max_new_tokens=120, do_sample=False)
        return str(tokenizer.decode(out[0, ids.shape[1] :]))

    verdicts = [run(task, respond) for task in generate(skill, 4, 31, "heldout")]
    assert sum(verdict.ok for verdict in verdicts) >= 3, verdicts
