"""Trains the byte-level BPE tokenizer of goldsmith-nano."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

VOCABULARY = 2048
SPECIAL = (
    "<|pad|>",
    "<|begin|>",
    "<|end|>",
    "<|tools|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
    "<|call|>",
)
# Blanks and digits stand alone: a word then has the same tokens after a blank, a quote or a bracket, which
# makes copying from a request into JSON easy for a small network.
SPLIT = r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s"
COMMON = (
    "the of and to in is you that it he was for on are as with his they I at be this have from or one "
    "had by word but not what all were we when your can said there use an each which she do how their "
    "if will up other about out many then them these so some her would make like him into time has look "
    "two more write go see number no way could people my than first water been call who oil its now "
    "find long down day did get come made may part over new sound take only little work know place year "
    "live me back give most very after thing our just name good sentence man think say great where help "
    "through much before line right too mean old any same tell boy follow came want show also around "
    "form three small set put end does another well large must big even such because turn here why ask "
    "went men read need land different home us move try kind hand picture again change off play spell "
    "air away animal house point page letter mother answer found study still learn should world please "
    "sorry cannot does don't I'm can't won't it's isn't error computer account password customer bank "
    "code data model question today tomorrow yesterday week month money pay price"
)
"""Frequent English words, so that text outside the made-up world does not fall into single letters."""


def _texts(conversations: Iterable[tuple[list[dict[str, Any]], list[dict[str, Any]]]]) -> Iterable[str]:
    for messages, tools in conversations:
        for message in messages:
            yield message["content"] or ""
            for call in message.get("tool_calls", ()):
                made = call["function"]
                yield f'{{"name": "{made["name"]}", "arguments": {made["arguments"]}}}'
        for tool in tools:
            yield f"{tool['function']['name']}({','.join(tool['function']['parameters']['properties'])}) "
            yield tool["function"]["description"]
    for _ in range(60):
        yield COMMON


def make_tokenizer(
    conversations: Iterable[tuple[list[dict[str, Any]], list[dict[str, Any]]]], template: str
) -> PreTrainedTokenizerBase:
    """Train on conversations; ``template`` is the chat template to keep with it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
    )
    core.train_from_iterator(_texts(conversations), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=list(SPECIAL[3:]),
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        padding_side="right",
        chat_template=template.rstrip("\n"),
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in a folder."""
    return AutoTokenizer.from_pretrained(folder)
