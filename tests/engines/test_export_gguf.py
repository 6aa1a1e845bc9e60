"""GGUF files: read by transformers' own reader they compute what the model did; what llama.cpp would compute
otherwise is refused."""

import sys
from pathlib import Path
from typing import Any

import goldsmith_test_families as families
import pytest
import torch

from goldsmith.engines.exporting import gguf_file
from goldsmith.engines.exporting.gguf_file import export_gguf
from goldsmith.types.errors import BadInput, GateRefused, Unavailable

gguf = pytest.importorskip("gguf")
WINDOW = {"sliding_window": 8}
CHANGES: dict[str, dict[str, Any]] = {
    "gemma3": {"num_hidden_layers": 6, "layer_types": ["sliding_attention"] * 5 + ["full_attention"], **WINDOW},
    "smollm3": {"num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0]},
    "mistral": {"sliding_window": None},
    "qwen3_moe": {"norm_topk_prob": True},
}


def saved(name: str, folder: Path, **changes: Any) -> Path:
    wide = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "query_pre_attn_scalar": 16}
    if name in ("gemma2", "gemma3"):
        changes = {**wide, **changes}
    found: Path = families.save(name, folder, **(CHANGES.get(name, {}) | changes))
    return found


def logits(model: Any, vocabulary: int) -> torch.Tensor:
    ids = torch.randint(4, vocabulary, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out: torch.Tensor = model.eval()(ids).logits
    return out


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3", "phi3"])
def test_another_reader_computes_the_same(tmp_path: Path, name: str) -> None:
    """transformers undoes llama.cpp's layout by code of its own: rotary pairs, norms, stacked experts, names."""
    from transformers import AutoModelForCausalLM

    base = saved(name, tmp_path / "base")
    done = export_gguf(base, tmp_path / "m.gguf", kind="f32")
    assert done.size == (tmp_path / "m.gguf").stat().st_size > 0
    model = AutoModelForCausalLM.from_pretrained(base)
    # its config reader knows less than the file says of these
    config = None if name in ("llama", "mistral", "qwen2") else model.config
    again = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", config=config)
    rows = model.config.vocab_size
    torch.testing.assert_close(logits(again, rows), logits(model, rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["olmo2", "granite", "smollm3", "mixtral"])
def test_files_without_another_reader_hold_what_the_model_does(tmp_path: Path, name: str) -> None:
    base = saved(name, tmp_path / "base")
    done = export_gguf(base, tmp_path / "m.gguf", kind="f32")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    weights = sum(int(t.n_elements) for t in reader.tensors)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    assert weights == sum(p.numel() for p in model.parameters())
    assert done.tensors == len(reader.tensors)
    if name == "granite":
        assert reader.get_field("granite.logit_scale").contents() == 4.0


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
def test_smaller_kinds_are_close(tmp_path: Path, kind: Any) -> None:
    from transformers import AutoModelForCausalLM

    base = saved("llama", tmp_path / "base", hidden_size=64, intermediate_size=96, head_dim=16)
    export_gguf(base, tmp_path / "m.gguf", kind=kind)
    model = AutoModelForCausalLM.from_pretrained(base)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf")
    a, b = (logits(m, model.config.vocab_size) for m in (model, again))
    assert 0 < (a - b).abs().mean() < 0.1 * a.std()


def test_the_tokenizer_and_the_stops_are_in_the_file(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    base = saved("gemma2", tmp_path / "base")
    done = export_gguf(base, tmp_path / "m.gguf", kind="f32", name="tiny")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert reader.get_field("general.name").contents() == "tiny"
    assert reader.get_field("tokenizer.chat_template").contents() == tokenizer.chat_template
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    assert tokens == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert reader.get_field("tokenizer.ggml.eos_token_id").contents() == tokenizer.eos_token_id
    turn = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert reader.get_field("tokenizer.ggml.eot_token_id").contents() == turn
    assert reader.get_field("tokenizer.ggml.pre").contents() == "gpt-2"
    assert done.notes == ()
    many = export_gguf(saved("mixtral", tmp_path / "x", sliding_window=16), tmp_path / "x.gguf", kind="f32")
    assert "sliding window of 16" in many.notes[0]


def test_pieces_get_scores_that_read_alike(tmp_path: Path) -> None:
    """A tokenizer of sentencepiece's kind: every two neighbours whose union is a piece may merge."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["It", "is", "two", "plus", "What", "▁is", "▁two", "▁plus"]
    chars = sorted({c for text in [*words, "▁"] for c in text})
    pieces = list(dict.fromkeys(w[:n] for w in words for n in range(2, len(w) + 1)))
    pieces.sort(key=lambda p: (len(p), p))
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    vocabulary = {t: i for i, t in enumerate([*special, *[f"<0x{b:02X}>" for b in range(256)], *chars, *pieces])}
    merges = [(p[:i], p[i:]) for p in pieces for i in range(1, len(p)) if p[:i] in vocabulary and p[i:] in vocabulary]
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = families.MIXTRAL
    model = families.model_of(families.FAMILIES["llama"], tokenizer)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    export_gguf(tmp_path / "base", tmp_path / "m.gguf", kind="f32")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert reader.get_field("tokenizer.ggml.model").contents() == "llama"
    assert reader.get_field("tokenizer.ggml.add_space_prefix").contents() is True
    scores = reader.get_field("tokenizer.ggml.scores").contents()
    assert scores[vocabulary["is"]] > scores[vocabulary["▁plus"]]
    kinds = reader.get_field("tokenizer.ggml.token_type").contents()
    assert kinds[vocabulary["<0x41>"]] == 6
    assert kinds[vocabulary["</s>"]] == 3


# ---- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("glm4", {}, "GGUF files of this architecture are not written"),
        ("gpt_oss", {}, "allowed: +gemma2, gemma3_text"),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 1]}, "which layers have no positions"),
        ("gemma2", {"query_pre_attn_scalar": 3}, "how attention is scaled"),
        ("gemma3", {"layer_types": ["full_attention"] * 6}, "which layers have a window"),
        ("qwen3_moe", {"norm_topk_prob": False}, "weights sum to one"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    tmp_path: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        export_gguf(saved(name, tmp_path / "base", **changes), tmp_path / "m.gguf", kind="f32")
    assert not (tmp_path / "m.gguf").exists()


def test_a_file_that_came_out_wrong_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = saved("qwen3", tmp_path / "base")
    original = gguf_file._encoded

    def spoilt(*args: Any) -> Any:
        for name, data, kind in original(*args):
            yield name, (data[::-1].copy() if name == "blk.0.ffn_up.weight" else data), kind

    with monkeypatch.context() as patch:
        patch.setattr(gguf_file, "_encoded", spoilt)
        with pytest.raises(GateRefused, match=r"blk\.0\.ffn_up\.weight"):
            export_gguf(base, tmp_path / "m.gguf", kind="f32")
    assert [p.name for p in tmp_path.iterdir()] == ["base"]
    (tmp_path / "m.gguf").touch()
    with pytest.raises(BadInput, match="there is a file already"):
        export_gguf(base, tmp_path / "m.gguf")


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(Unavailable, match=r"goldsmith\[gguf\]"):
        export_gguf(tmp_path, tmp_path / "m.gguf")


def test_a_split_llama_cpp_has_no_name_for_is_refused_unless_named(tmp_path: Path) -> None:
    """goldsmith-nano, real weights: its tokenizer splits texts in a way of its own."""
    from goldsmith import nano

    with pytest.raises(BadInput, match="--pre-tokenizer"):
        export_gguf(nano.model_path(), tmp_path / "nano.gguf", kind="q8_0")
    done = export_gguf(nano.model_path(), tmp_path / "nano.gguf", kind="q8_0", split="gpt-2")
    assert done.tensors > 10
    assert "gpt-2" in done.notes[0]
