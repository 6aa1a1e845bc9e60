"""Which architectures a GGUF file can hold, and what llama.cpp must be told of each.

Names of tensors come from llama.cpp's own `gguf` package. What its loader takes for granted (which layers have a
window, how attention is scaled) is compared with the model's config here; where they differ the model is refused,
because the file would load and compute something else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from goldsmith.types.errors import BadInput

Metadata = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """`arch`: a member of `gguf.MODEL_ARCH`. `interleaved`: rotary pairs lie side by side in the file, not in halves.
    `norm_from_one`: norms are kept as their distance from one, and written whole. `more`: keys of this architecture."""

    arch: str
    interleaved: bool = False
    norm_from_one: bool = False
    more: Callable[[Any, list[str]], Metadata] = field(default=lambda _config, _notes: {})


def _refuse(what: str, found: object, allowed: str) -> BadInput:
    return BadInput(f"llama.cpp takes {what} for granted, and this model's is another", found=found, allowed=allowed)


def _mistral(config: Any, notes: list[str]) -> Metadata:
    window = getattr(config, "sliding_window", None)
    if window is not None and window < config.max_position_embeddings:
        notes.append(f"the sliding window of {window} tokens is not in the file: llama.cpp looks back over everything")
    if getattr(config, "num_local_experts", None):
        return {"expert_count": config.num_local_experts, "expert_used_count": config.num_experts_per_tok}
    return {}


def _qwen3_moe(config: Any, _notes: list[str]) -> Metadata:
    if not config.norm_topk_prob:
        raise _refuse("that chosen experts' weights sum to one", "norm_topk_prob false", "norm_topk_prob true")
    if getattr(config, "mlp_only_layers", None) or getattr(config, "decoder_sparse_step", 1) != 1:
        raise _refuse("that every layer is a mixture", "layers without experts", "mlp_only_layers empty")
    return {
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
    }


def _windows(config: Any, every: int) -> None:
    wanted = [
        "full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(config.num_hidden_layers)
    ]
    if list(config.layer_types) != wanted:
        raise _refuse("which layers have a window", config.layer_types, f"every {every}th layer without one")
    if config.query_pre_attn_scalar != config.head_dim:
        raise _refuse("how attention is scaled", config.query_pre_attn_scalar, f"head_dim ({config.head_dim})")


def _gemma2(config: Any, _notes: list[str]) -> Metadata:
    _windows(config, 2)
    return {
        "attn_logit_softcapping": float(config.attn_logit_softcapping),
        "final_logit_softcapping": float(config.final_logit_softcapping),
        "attention.sliding_window": config.sliding_window,
    }


def _gemma3(config: Any, _notes: list[str]) -> Metadata:
    _windows(config, 6)
    near = config.rope_parameters["sliding_attention"]
    return {"attention.sliding_window": config.sliding_window, "rope.freq_base_swa": float(near["rope_theta"])}


def _phi3(config: Any, _notes: list[str]) -> Metadata:
    found: Metadata = {"rope.scaling.original_context_length": config.original_max_position_embeddings}
    window = getattr(config, "sliding_window", None)
    return found | ({} if window is None else {"attention.sliding_window": window})


def _granite(config: Any, _notes: list[str]) -> Metadata:
    return {
        "attention.scale": float(config.attention_multiplier),
        "embedding_scale": float(config.embedding_multiplier),
        "residual_scale": float(config.residual_multiplier),
        "logit_scale": float(config.logits_scaling),
    }


def _smollm3(config: Any, _notes: list[str]) -> Metadata:
    wanted = [int((i + 1) % 4 != 0) for i in range(config.num_hidden_layers)]
    if list(config.no_rope_layers) != wanted:
        raise _refuse("which layers have no positions", config.no_rope_layers, "every fourth")
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        raise _refuse("that no layer has a window", "sliding_attention", "full_attention")
    return {}


FORMS: dict[str, Form] = {
    "llama": Form("LLAMA", interleaved=True),
    "mistral": Form("LLAMA", interleaved=True, more=_mistral),
    "mixtral": Form("LLAMA", interleaved=True, more=_mistral),
    "qwen2": Form("QWEN2"),
    "qwen3": Form("QWEN3"),
    "qwen3_moe": Form("QWEN3MOE", more=_qwen3_moe),
    "gemma2": Form("GEMMA2", norm_from_one=True, more=_gemma2),
    "gemma3_text": Form("GEMMA3", norm_from_one=True, more=_gemma3),
    "phi3": Form("PHI3", more=_phi3),
    "olmo2": Form("OLMO2"),
    "granite": Form("GRANITE", interleaved=True, more=_granite),
    "smollm3": Form("SMOLLM3", interleaved=True, more=_smollm3),
}
"""By `model_type` of the config."""


def form_of(config: Any) -> Form:
    """Raises BadInput for an architecture that is not in the table, naming those that are."""
    if config.model_type in FORMS:
        return FORMS[config.model_type]
    raise BadInput(
        "GGUF files of this architecture are not written",
        found=config.model_type,
        allowed=", ".join(sorted(FORMS)),
        next_step="export the plain folder (goldsmith export merged) and convert it with llama.cpp's own script",
    )


def metadata_of(config: Any, arch: str, notes: list[str]) -> Metadata:
    """What the loader must know of the model, by full key.

    Raises:
        BadInput: something llama.cpp would compute otherwise.
    """
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    found: Metadata = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": int(head * float(_rope(config).get("partial_rotary_factor") or 1.0)),
        "rope.freq_base": float(_rope(config)["rope_theta"]),
    }
    found |= _scaling(_rope(config)) | form_of(config).more(config, notes)
    if config.vocab_size:
        found["vocab_size"] = config.vocab_size
    return {f"{arch}.{key}": value for key, value in found.items()}


def _rope(config: Any) -> dict[str, Any]:
    rope: dict[str, Any] = config.rope_parameters
    far: dict[str, Any] = rope.get("full_attention", rope)
    return far


def _scaling(rope: dict[str, Any]) -> Metadata:
    kind = rope.get("rope_type", "default")
    if kind in ("default", "llama3"):
        return {}  # llama3: in a tensor, see `rope_factors`
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn":
        return {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(rope["factor"]),
            "rope.scaling.original_context_length": int(rope["original_max_position_embeddings"]),
        }
    raise BadInput(
        "positions scaled in this way are not written to GGUF", found=kind, allowed="default, linear, llama3, yarn"
    )


def rope_factors(config: Any) -> torch.Tensor | None:
    """Llama 3's scaling of each rotary frequency, float32 [head_dim / 2]: what llama.cpp divides by."""
    rope = _rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    speed = 1.0 / (rope["rope_theta"] ** (torch.arange(0, head, 2).double() / head))
    length = 2 * torch.pi / speed
    low, high, factor = (float(rope[k]) for k in ("low_freq_factor", "high_freq_factor", "factor"))
    context = float(rope["original_max_position_embeddings"])
    smooth = ((context / length - low) / (high - low)).clamp(0, 1)
    between = 1 / ((1 - smooth) / factor + smooth)
    found = torch.where(length < context / high, torch.ones_like(length), between)
    return torch.where(length > context / low, torch.full_like(length, factor), found).float()


# ---- tensors -----------------------------------------------------------------------------------------------------


def tensors_of(model: Any, form: Form) -> Iterator[tuple[str, torch.Tensor]]:
    """The model's tensors by their names in the file, as the file lays them out.

    Raises:
        BadInput: a tensor that has no place in a file of this architecture.
    """
    import gguf

    config = model.config
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, form.arch), config.num_hidden_layers)
    factors = rope_factors(config)
    if factors is not None:
        yield "rope_freqs.weight", factors
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if ".experts." in name:
            yield from _experts(name, tensor)
            continue
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise BadInput("a tensor has no place in a GGUF file of this architecture", found=name, where=form.arch)
        if form.norm_from_one and name.endswith("norm.weight"):
            tensor = tensor.float() + 1
        if form.interleaved and ".self_attn." in name and (".q_proj." in name or ".k_proj." in name):
            heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
            tensor = _interleave(tensor, heads)
        yield new, tensor


def _interleave(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from halves to pairs: transformers rotates i with i + d/2, llama.cpp 2i with 2i + 1."""
    rest = tensor.shape[1:]
    return tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *rest).transpose(1, 2).reshape(tensor.shape)


def _experts(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    block = name.split(".layers.")[1].split(".")[0]
    if name.endswith("gate_up_proj"):
        gate, up = tensor.chunk(2, dim=1)
        yield f"blk.{block}.ffn_gate_exps.weight", gate
        yield f"blk.{block}.ffn_up_exps.weight", up
    elif name.endswith("down_proj"):
        yield f"blk.{block}.ffn_down_exps.weight", tensor
    else:
        raise BadInput("an expert's tensor has no place in a GGUF file", found=name)
