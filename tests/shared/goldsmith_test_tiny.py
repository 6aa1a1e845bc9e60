"""Tiny models and tokenizers, built here: no download, a fraction of a second each."""

from pathlib import Path
from typing import Any

QWEN_TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n<tools>' }}"
    "{%- for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{%- endfor %}{{ '\\n</tools><|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'tool' %}{{ '<|im_start|>user\\n<tool_response>\\n' + message.content"
    " + '\\n</tool_response><|im_end|>\\n' }}"
    "{%- else %}{{ '<|im_start|>' + message.role + '\\n' + message.content }}"
    '{%- for call in message.tool_calls or [] %}{{ \'\\n<tool_call>\\n{"name": "\' + call.function.name'
    " + '\", \"arguments\": ' }}{{ call.function.arguments | tojson }}{{ '}\\n</tool_call>' }}{%- endfor %}"
    "{{ '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""ChatML as Qwen writes it, without generation marks."""

TAGGED_TEMPLATE = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' %}"
    "{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{%- else %}{{ message.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""The same with generation marks."""

CORPUS = [
    "The quick brown fox jumps over the lazy dog. What is two plus two? It is four.",
    "Please send a mail to Ann about the meeting. Done, the mail is sent!",
    '{"name": "send_mail", "arguments": {"to": "ann@example.org", "body": "hello"}}',
    "user assistant system tool yes no maybe one two three four five six seven eight nine ten",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]


def byte_level(texts: list[str], size: int, special: list[str]) -> Any:
    """A byte-level BPE of so many tokens, learned from the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return core


def build_tokenizer(template: str | None = QWEN_TEMPLATE) -> Any:
    """A byte-level BPE tokenizer of about 400 tokens."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(CORPUS, 400, SPECIAL),
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        extra_special_tokens=SPECIAL[1:3],
    )
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def build_model(vocabulary: int = 512, seed: int = 0, **changes: Any) -> Any:
    """A Llama of some ten thousand weights, float32, eval mode."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 3,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


def save_base(folder: Path, template: str | None = QWEN_TEMPLATE, **changes: Any) -> Path:
    """A model folder that `from_pretrained` loads."""
    build_model(**changes).save_pretrained(folder)
    build_tokenizer(template).save_pretrained(folder)
    return folder


class Tiny:
    """The builders above, handed out as a fixture so that test files need not import each other."""

    qwen_template = QWEN_TEMPLATE
    tagged_template = TAGGED_TEMPLATE
    tokenizer = staticmethod(build_tokenizer)
    model = staticmethod(build_model)
    base = staticmethod(save_base)
