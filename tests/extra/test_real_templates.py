"""Real models' chat templates (as TRL ships them for training): what they mark as generated is what is trained, but for
white space after the stop token, which generation never reaches."""

from pathlib import Path
from typing import Any

import pytest
from goldsmith_test_records import said
from transformers.utils.chat_template_utils import render_jinja_template

from goldsmith.engines.chat import Chat
from goldsmith.engines.chat_messages import template_messages
from goldsmith.types.errors import BadInput

trl = pytest.importorskip("trl")
FOLDER = Path(trl.__file__).parent / "chat_templates"
STOPS = {
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "qwen3_instruct_2507": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "gemma3": "<end_of_turn>",
    "phi3": "<|end|>",
    "phi3_5": "<|end|>",
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "lfm2": "<|im_end|>",
    "nemotron_3_nano": "<|im_end|>",
}


@pytest.mark.parametrize("name", sorted(STOPS))
def test_trained_text_is_what_the_template_marks(tiny: Any, name: str) -> None:
    path = FOLDER / f"{name}_training.jinja"
    if not path.is_file():
        pytest.skip(f"this TRL has no {name} template")
    tokenizer = tiny.tokenizer(path.read_text("utf-8"))
    tokenizer.add_special_tokens({"eos_token": STOPS[name], "bos_token": "<bos>"})
    chat = Chat(tokenizer)
    messages = (
        said("user", "two plus two"),
        said("assistant", "four"),
        said("user", "more"),
        said("assistant", "five"),
    )
    texts, marks = render_jinja_template(
        conversations=[template_messages(messages)],
        chat_template=chat.template,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
        **chat.renderer.arguments,
    )
    plan, _ = chat.renderer.plan(messages, (), 0)
    assert plan.text == texts[0]
    assert len(plan.spans) == 2
    for (start, end), (low, high) in zip(plan.spans, marks[0][:2], strict=True):  # phi3 marks the text's end as well
        assert low <= start < high  # some mark what serving hands to the model: a line break, an empty thought
        assert plan.text[start:end] == texts[0][start:high].rstrip()
        assert plan.text[start:end].endswith(STOPS[name])


def _chat(tiny: Any, name: str, stop: str) -> Chat:
    tokenizer = tiny.tokenizer((FOLDER / f"{name}_training.jinja").read_text("utf-8"))
    tokenizer.add_special_tokens({"eos_token": stop, "bos_token": "<bos>"})
    return Chat(tokenizer)


def test_reasoning_templates_are_told_not_to_think(tiny: Any) -> None:
    """Their generation prompt opens a thought that their finished turns do not hold."""
    chat = _chat(tiny, "nemotron_3_nano", "<|im_end|>")
    assert chat.facts["template_enable_thinking"] == "false"


def test_a_template_that_always_opens_a_thought_is_refused(tiny: Any) -> None:
    chat = _chat(tiny, "deepseekv3", "<｜end▁of▁sentence｜>")
    with pytest.raises(BadInput, match="rewrites earlier text"):
        chat.renderer.plan((said("user", "two"), said("assistant", "four")), (), 0)
