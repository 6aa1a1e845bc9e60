"""Open models that are often tuned: the numbers of their public `config.json`, and how many parameters that makes.

Each row's numbers were read in a copy of that file, or in litgpt's table (`litgpt/config.py` of Lightning-AI/litgpt,
which links the file of each); `context` is its `max_position_embeddings`. A test builds each model from these numbers
and counts its parameters.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Known:
    """`source`: where the numbers stand."""

    name: str
    parameters: int
    config: dict[str, Any]

    @property
    def source(self) -> str:
        return f"https://huggingface.co/{self.name}/blob/main/config.json"


def _model(
    name: str,
    parameters: int,
    kind: str,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    inner: int,
    vocabulary: int,
    tied: bool,
    context: int,
    **more: Any,
) -> Known:
    config = {
        "model_type": kind,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "max_position_embeddings": context,
    }
    return Known(name, parameters, {**config, **more})


_128 = {"head_dim": 128}
KNOWN = (
    _model("HuggingFaceTB/SmolLM2-135M", 134_515_008, "llama", 576, 30, 9, 3, 1536, 49152, True, 8192),
    _model("Qwen/Qwen3-0.6B", 596_049_920, "qwen3", 1024, 28, 16, 8, 3072, 151936, True, 40960, **_128),
    _model("meta-llama/Llama-3.2-1B", 1_235_814_400, "llama", 2048, 16, 32, 8, 8192, 128256, True, 131072, head_dim=64),
    _model("Qwen/Qwen3-1.7B", 1_720_574_976, "qwen3", 2048, 28, 16, 8, 6144, 151936, True, 40960, **_128),
    _model("HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384, "llama", 2048, 24, 32, 32, 8192, 49152, True, 8192),
    _model("meta-llama/Llama-3.2-3B", 3_212_749_824, "llama", 3072, 28, 24, 8, 8192, 128256, True, 131072, **_128),
    _model("Qwen/Qwen3-4B", 4_022_468_096, "qwen3", 2560, 36, 32, 8, 9728, 151936, True, 40960, **_128),
    _model("mistralai/Mistral-7B-v0.3", 7_248_023_552, "mistral", 4096, 32, 32, 8, 14336, 32768, False, 32768),
    _model("meta-llama/Llama-3.1-8B", 8_030_261_248, "llama", 4096, 32, 32, 8, 14336, 128256, False, 131072),
    _model("Qwen/Qwen3-8B", 8_190_735_360, "qwen3", 4096, 36, 32, 8, 12288, 151936, False, 40960, **_128),
    _model("Qwen/Qwen3-14B", 14_768_307_200, "qwen3", 5120, 40, 40, 8, 17408, 151936, False, 40960, **_128),
    _model("microsoft/phi-4", 14_659_507_200, "phi3", 5120, 40, 40, 10, 17920, 100352, False, 16384, pad_token_id=0),
    _model("Qwen/Qwen3-32B", 32_762_123_264, "qwen3", 5120, 64, 64, 8, 25600, 151936, False, 40960, **_128),
    _model("meta-llama/Llama-3.1-70B", 70_553_706_496, "llama", 8192, 80, 64, 8, 28672, 128256, False, 131072),
)  # fmt: skip


def find(name: str) -> Known | None:
    """The model of this name, with or without its owner, in any case."""
    wanted = name.lower()
    return next((one for one in KNOWN if wanted in (one.name.lower(), one.name.lower().split("/")[1])), None)
