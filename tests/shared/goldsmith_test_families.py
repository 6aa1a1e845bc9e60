"""Model families small enough for a test: the architecture from its config, a tokenizer with the family's control
tokens, and a chat template with its structure (turn marks, thinking, tool calls, who ends a turn with what)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goldsmith_test_tiny import byte_level

CORPUS = [
    "The quick brown fox jumps over the lazy dog. What is two plus two? It is four.",
    '{"name": "add", "arguments": {"a": 2, "b": 2}} parameters type function description integer',
    "user assistant model system tool final analysis commentary yes no maybe one two three four five six",
]

LLAMA3 = (
    "{{ bos_token }}{%- for m in messages %}"
    "{%- set role = 'ipython' if m.role == 'tool' else m.role %}"
    "{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}"
    "{%- if loop.first and tools %}{{ 'Tools: ' + (tools | tojson) + '\\n\\n' }}{%- endif %}"
    "{%- if m.tool_calls %}{%- for c in m.tool_calls %}"
    "{{ '{\"name\": \"' + c.function.name + '\", \"parameters\": ' + (c.function.arguments | tojson) + '}' }}"
    "{%- endfor %}{%- else %}{{ m.content | trim }}{%- endif %}{{ '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
_CHATML_TURN = (
    "{%- if m.role == 'tool' %}{{ '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}"
    "{%- else %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{%- if loop.first and tools %}{{ '<tools>' + (tools | tojson) + '</tools>\\n' }}{%- endif %}"
    "%THINK%{{ m.content }}"
    '{%- for c in m.tool_calls or [] %}{{ \'\\n<tool_call>\\n{"name": "\' + c.function.name + \'", "arguments": \''
    " + (c.function.arguments | tojson) + '}\\n</tool_call>' }}{%- endfor %}{%- endif %}{{ '<|im_end|>\\n' }}"
)
QWEN2 = (
    "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{%- endif %}{%- for m in messages %}" + _CHATML_TURN.replace("%THINK%", "") + "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)
QWEN3 = (
    "{%- for m in messages %}"
    + _CHATML_TURN.replace(
        "%THINK%",
        "{%- if m.role == 'assistant' and loop.last %}{{ '<think>\\n' + (m.reasoning_content or '')"
        " + '\\n</think>\\n\\n' }}{%- endif %}",
    )
    + "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
QWEN3_INSTRUCT = (
    "{%- for m in messages %}" + _CHATML_TURN.replace("%THINK%", "") + "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)
SMOLLM3 = (
    "{%- set think = enable_thinking if enable_thinking is defined else true %}"
    "{{ '<|im_start|>system\\n## Metadata\\n\\nReasoning Mode: ' + ('/think' if think else '/no_think') + '\\n' }}"
    "{%- if messages[0].role == 'system' %}{{ messages[0].content }}{%- endif %}{{ '<|im_end|>\\n' }}"
    "{%- for m in messages if m.role != 'system' %}"
    "{%- if m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if not think %}{{ '<think>\\n\\n</think>\\n' }}{%- endif %}{{ m.content + '<|im_end|>\\n' }}"
    "{%- else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if not think %}{{ '<think>\\n\\n</think>\\n' }}{%- endif %}{%- endif %}"
)
GEMMA3 = (
    "{{ bos_token }}{%- set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{%- set first = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' %}"
    "{%- for m in rest %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{%- endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}"
    "{%- if loop.first %}{{ first }}{%- endif %}{{ m.content | trim }}{{ '<end_of_turn>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{%- endif %}"
)
MISTRAL = (
    "{{ bos_token }}{%- for m in messages %}"
    "{%- if m.role == 'user' %}{%- if tools and (loop.last or loop.first) %}"
    "{{ '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{%- endif %}"
    "{{ '[INST] ' + m.content + '[/INST]' }}"
    "{%- elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{%- for c in m.tool_calls %}"
    "{%- if c.id is not defined or c.id | length != 9 %}"
    "{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}"
    '{{ \'{"name": "\' + c.function.name + \'", "arguments": \' + (c.function.arguments | tojson)'
    " + ', \"id\": \"' + c.id + '\"}' }}{{ '' if loop.last else ', ' }}{%- endfor %}{{ ']' + eos_token }}"
    "{%- elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS] {\"content\": ' + (m.content | tojson)"
    " + ', \"call_id\": \"' + m.tool_call_id + '\"}[/TOOL_RESULTS]' }}{%- endif %}{%- endfor %}"
)
MIXTRAL = (
    "{{ bos_token }}{%- for m in messages %}{%- if m.role == 'user' %}{{ ' [INST] ' + m.content + ' [/INST]' }}"
    "{%- elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{%- endif %}{%- endfor %}"
)
PHI3 = (
    "{%- for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{%- else %}{{ eos_token }}{%- endif %}"
)
OLMO2 = (
    "{{ bos_token }}{%- for m in messages %}{%- if m.role == 'assistant' %}"
    "{{ '<|assistant|>\\n' + m.content + eos_token }}{%- if not loop.last %}{{ '\\n' }}{%- endif %}"
    "{%- else %}{{ '<|' + m.role + '|>\\n' + m.content + '\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{%- endif %}"
)
GRANITE = (
    "{%- if tools %}{{ '<|start_of_role|>available_tools<|end_of_role|>' + (tools | tojson) + '<|end_of_text|>\\n' }}"
    "{%- endif %}{%- for m in messages %}"
    "{{ '<|start_of_role|>' + ('tool_response' if m.role == 'tool' else m.role) + '<|end_of_role|>' }}"
    "{%- if m.tool_calls %}{{ '<|tool_call|>[' }}{%- for c in m.tool_calls %}"
    "{{ '{\"name\": \"' + c.function.name + '\", \"arguments\": ' + (c.function.arguments | tojson) + '}' }}"
    "{%- endfor %}{{ ']' }}{%- else %}{{ m.content }}{%- endif %}{{ '<|end_of_text|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}"
)
GPT_OSS = (
    "{{ '<|start|>system<|message|>You are ChatGPT.\\nReasoning: medium\\n' }}"
    "{{ '# Valid channels: analysis, commentary, final.<|end|>' }}"
    "{%- if tools %}{{ '<|start|>developer<|message|># Tools\\n' + (tools | tojson) + '<|end|>' }}"
    "{%- endif %}"
    "{%- for m in messages %}{%- if m.role == 'assistant' and m.tool_calls %}"
    "{%- set c = m.tool_calls[0].function %}{{ '<|start|>assistant to=functions.' + c.name"
    " + '<|channel|>commentary json<|message|>' + (c.arguments | tojson) + '<|call|>' }}"
    "{%- elif m.role == 'assistant' and loop.last and not add_generation_prompt %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
    "{%- elif m.role == 'assistant' %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}"
    "{%- elif m.role == 'tool' %}{{ '<|start|>functions.tool to=assistant<|channel|>commentary<|message|>' + m.content"
    " + '<|end|>' }}"
    "{%- else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{%- endif %}"
)
GLM4 = (
    "{{ '[gMASK]<sop>' }}{%- for m in messages %}"
    "{{ '<|' + ('observation' if m.role == 'tool' else m.role) + '|>\\n' + m.content }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class Family:
    """One architecture with its kind of template.

    `turn`: what a model learns to write where the answer is "It is four.". `several`: whether earlier answers of a
    conversation can be trained too, or the template rewrites them. `call`: what it learns to write for a call of
    `add(a=2, b=2)`; None where the template knows no tools. `way`: how batches are put before it. `experts`: whether
    its feed-forward layers are a mixture.
    """

    kind: str
    template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    turn: str
    config: dict[str, Any] = field(default_factory=dict)
    several: bool = True
    call: str | None = None
    way: str = "flat"
    experts: bool = False
    eos_ids: tuple[str, ...] = ()


_HERMES = '\n<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 2}}\n</tool_call>'
_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        "llama",
        LLAMA3,
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "It is four.<|eot_id|>",
        {"tie_word_embeddings": True},
        call='{"name": "add", "parameters": {"a": 2, "b": 2}}<|eot_id|>',
    ),
    "qwen2": Family("qwen2", QWEN2, _CHATML, None, "<|im_end|>", "It is four.<|im_end|>", call=_HERMES + "<|im_end|>"),
    "qwen3": Family(
        "qwen3",
        QWEN3,
        (*_CHATML, "<think>", "</think>"),
        None,
        "<|im_end|>",
        "<think>\n\n</think>\n\nIt is four.<|im_end|>",
        several=False,
        call="<think>\n\n</think>\n\n" + _HERMES + "<|im_end|>",
    ),
    "gemma3": Family(
        "gemma3_text",
        GEMMA3,
        ("<start_of_turn>", "<end_of_turn>", "<eos>"),
        "<bos>",
        "<eos>",
        "It is four.<end_of_turn>",
        {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8},
    ),
    "gemma2": Family(
        "gemma2",
        GEMMA3,
        ("<start_of_turn>", "<end_of_turn>", "<eos>"),
        "<bos>",
        "<eos>",
        "It is four.<end_of_turn>",
        {"sliding_window": 8, "attn_logit_softcapping": 1.5, "final_logit_softcapping": 3.0},
    ),
    "mistral": Family(
        "mistral",
        MISTRAL,
        ("[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]"),
        "<s>",
        "</s>",
        " It is four.</s>",
        {"sliding_window": 8},
        call='[TOOL_CALLS] [{"name": "add", "arguments": {"a": 2, "b": 2}, "id": "call00000"}]</s>',
    ),
    "mixtral": Family(
        "mixtral",
        MIXTRAL,
        (),
        "<s>",
        "</s>",
        " It is four.</s>",
        {"num_local_experts": 4, "num_experts_per_tok": 2},
        experts=True,
    ),
    "phi3": Family(
        "phi3",
        PHI3,
        ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        None,
        "<|endoftext|>",
        "It is four.<|end|>",
        {"sliding_window": 8},
        several=True,
    ),
    "olmo2": Family(
        "olmo2",
        OLMO2,
        ("<|user|>", "<|assistant|>", "<|system|>"),
        "<|endoftext|>",
        "<|endoftext|>",
        "It is four.<|endoftext|>",
    ),
    "granite": Family(
        "granite",
        GRANITE,
        ("<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>"),
        None,
        "<|end_of_text|>",
        "It is four.<|end_of_text|>",
        {"logits_scaling": 4.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.5, "attention_multiplier": 0.2},
        call='<|tool_call|>[{"name": "add", "arguments": {"a": 2, "b": 2}}]<|end_of_text|>',
    ),
    "gpt_oss": Family(
        "gpt_oss",
        GPT_OSS,
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>", "<|endoftext|>"),
        None,
        "<|return|>",
        "<|channel|>final<|message|>It is four.<|return|>",
        {"sliding_window": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
        several=False,
        call=' to=functions.add<|channel|>commentary json<|message|>{"a": 2, "b": 2}<|call|>',
        experts=True,
        eos_ids=("<|return|>", "<|endoftext|>", "<|call|>"),
    ),
    "smollm3": Family(
        "smollm3",
        SMOLLM3,
        (*_CHATML, "<think>", "</think>"),
        None,
        "<|im_end|>",
        "It is four.<|im_end|>",
        {"no_rope_layers": [1, 0]},
    ),
    "qwen3_moe": Family(
        "qwen3_moe",
        QWEN3_INSTRUCT,
        _CHATML,
        None,
        "<|im_end|>",
        "It is four.<|im_end|>",
        _MOE,
        call=_HERMES + "<|im_end|>",
        experts=True,
    ),
    "glm4": Family(
        "glm4",
        GLM4,
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
        None,
        "<|endoftext|>",
        "It is four.<|endoftext|>",
        several=False,
        eos_ids=("<|endoftext|>", "<|user|>", "<|observation|>"),
    ),
    "olmo3": Family(
        "olmo3",
        OLMO2,
        ("<|user|>", "<|assistant|>", "<|system|>"),
        "<|endoftext|>",
        "<|endoftext|>",
        "It is four.<|endoftext|>",
        {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    ),
}

COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
    "attention_dropout": 0.0,
}


def tokenizer_of(family: Family) -> Any:
    """A byte-level BPE tokenizer of about 350 tokens with the family's control tokens and template."""
    from transformers import PreTrainedTokenizerFast

    special = list(dict.fromkeys(["<pad>", *([family.bos] if family.bos else []), family.eos, *family.special]))
    core = byte_level(CORPUS, 350, special)
    named = {"eos_token": family.eos, "pad_token": "<pad>"} | ({"bos_token": family.bos} if family.bos else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, extra_special_tokens=list(family.special), **named)
    tokenizer.chat_template = family.template
    return tokenizer


def model_of(family: Family, tokenizer: Any, seed: int = 0, **changes: Any) -> Any:
    """The architecture with some ten thousand random weights, float32, eval mode."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    settings = COMMON | {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = AutoConfig.for_model(family.kind, **(settings | family.config | changes))
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("sinks"):
                parameter.normal_()
    stops = [tokenizer.convert_tokens_to_ids(token) for token in family.eos_ids or (family.eos,)]
    model.generation_config.eos_token_id = stops
    return model


def save(name: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A model folder that `from_pretrained` loads."""
    family = FAMILIES[name]
    tokenizer = tokenizer_of(family)
    model_of(family, tokenizer, seed, **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
