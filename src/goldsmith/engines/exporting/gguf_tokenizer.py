"""A tokenizer.json as llama.cpp reads it: byte-level BPE, or BPE over pieces with a fallback to bytes."""

import json
from collections.abc import Sequence
from typing import Any

from goldsmith.engines.chat import Chat
from goldsmith.types.errors import BadInput

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens, as llama.cpp numbers them."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {_WORDS % "": "qwen2", _WORDS % "{1,3}": "llama-bpe"}
"""Patterns that texts are split by before they are merged, and llama.cpp's names for them."""
TEXTS = (
    "What is two plus two? It is four.",
    " Hello  world,\n\nthis is a test: 12345 + 6 = 12351!",
    "Grüße aus Österreich; 你好, мир 🙂",
    "def add(a, b):\n    return a + b\n\tif x:",
)
"""Tried on what was written, so that a tokenizer that comes out otherwise is refused."""


def tokenizer_metadata(chat: Chat, rows: int, notes: list[str], split: str | None = None) -> dict[str, Any]:
    """The keys of the tokenizer, for embeddings of so many `rows`. `split`: llama.cpp's name for how texts are split,
    where it cannot be told.

    Raises:
        BadInput: a kind of tokenizer that is not written.
    """
    backend = json.loads(chat.tokenizer.backend_tokenizer.to_str())
    model = backend["model"]
    if model["type"] != "BPE":
        raise BadInput("this kind of tokenizer is not written to GGUF", found=model["type"], allowed="BPE")
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    tokens, kinds = _tokens(chat, model, rows)
    found: dict[str, Any] = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
    if model.get("byte_fallback"):
        found |= _pieces(chat, backend, tokens, kinds)
    else:
        if split is not None:
            notes.append(f"texts are split as {split} because you said so; that was not checked")
        found |= {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": split or _split(backend),
            "tokenizer.ggml.merges": merges,
        }
    return found | _special(chat, notes)


def _tokens(chat: Chat, model: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    by_id = {i: token for token, i in chat.tokenizer.get_vocab().items()}
    added = chat.tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    for i in range(rows):
        token = by_id.get(i)
        if token is None:
            tokens.append(f"[PAD{i}]")
            kinds.append(UNUSED)
            continue
        tokens.append(token)
        if i in added:
            kinds.append(CONTROL if added[i].special else USER_DEFINED)
        elif model.get("byte_fallback") and len(token) == 6 and token.startswith("<0x"):
            kinds.append(BYTE)
        else:
            kinds.append(UNKNOWN if token == model.get("unk_token") else NORMAL)
    if len(by_id) > rows:
        raise BadInput("the tokenizer has more tokens than the model has rows", found=len(by_id), allowed=str(rows))
    return tokens, kinds


def _split(backend: dict[str, Any]) -> str:
    """llama.cpp's name for how texts are split."""
    before = backend["pre_tokenizer"] or {}
    parts = before.get("pretokenizers", [before])
    kinds = [part.get("type") for part in parts]
    patterns = [part["pattern"].get("Regex", "") for part in parts if part.get("type") == "Split"]
    if kinds == ["ByteLevel"] and parts[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits"):
        return "smollm"
    if len(patterns) == 1 and patterns[0] in SPLITS and kinds == ["Split", "ByteLevel"]:
        return SPLITS[patterns[0]]
    raise BadInput(
        "it cannot be told how llama.cpp calls the way this tokenizer splits texts",
        found=json.dumps(before)[:200],
        allowed="the splits of GPT-2, Qwen 2, Llama 3 and SmolLM",
        next_step="name it with --pre-tokenizer, as llama.cpp's conversion script calls it",
    )


def _pieces(chat: Chat, backend: dict[str, Any], tokens: Sequence[str], kinds: Sequence[int]) -> dict[str, Any]:
    """As sentencepiece keeps it: a score for each piece, the earlier merged the higher."""
    merges = backend["model"]["merges"]
    rank: dict[str, int] = {}
    for place, merge in enumerate(merges):
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        rank.setdefault(left + right, place)
    scores = [
        -float(rank.get(token, len(merges))) if kind == NORMAL else 0.0
        for token, kind in zip(tokens, kinds, strict=True)
    ]
    prefix = _begins_with_blank(backend)
    vocabulary = {token: i for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind in (NORMAL, BYTE)}
    for text in TEXTS:
        wanted = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
        if read_pieces(text, vocabulary, scores, prefix) != wanted:
            raise BadInput(
                "written as pieces with scores, this tokenizer would read texts differently",
                found=repr(text[:40]),
                allowed="a tokenizer made from a sentencepiece model",
            )
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.add_space_prefix": prefix,
    }


def _begins_with_blank(backend: dict[str, Any]) -> bool:
    """Whether a text is read as if a blank stood before it."""
    steps = backend["normalizer"] or {}
    steps = steps.get("normalizers", [steps])
    if any(step.get("type") == "Prepend" for step in steps):
        return True
    before = backend["pre_tokenizer"] or {}
    parts = before.get("pretokenizers", [before])
    return any(p.get("type") == "Metaspace" and p.get("prepend_scheme", "always") != "never" for p in parts)


def read_pieces(text: str, vocabulary: dict[str, int], scores: Sequence[float], prefix: bool) -> list[int]:
    """Token ids of a text as llama.cpp merges pieces: always the neighbours whose union scores highest, leftmost first;
    what is no piece in the end becomes bytes."""
    parts = list(("▁" if prefix else "") + text.replace(" ", "▁"))
    while True:
        best, at = float("-inf"), -1
        for place in range(len(parts) - 1):
            i = vocabulary.get(parts[place] + parts[place + 1])
            if i is not None and scores[i] > best:
                best, at = scores[i], place
        if at < 0:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    ids: list[int] = []
    for part in parts:
        if part in vocabulary:
            ids.append(vocabulary[part])
        else:
            ids += [vocabulary[f"<0x{byte:02X}>"] for byte in part.encode()]
    return ids


def _special(chat: Chat, notes: list[str]) -> dict[str, Any]:
    tokenizer = chat.tokenizer
    found: dict[str, Any] = {"tokenizer.chat_template": chat.template}
    eos = tokenizer.eos_token_id
    stops = sorted(chat.stop_ids)
    end = eos if eos in chat.stop_ids else stops[0]
    found["tokenizer.ggml.eos_token_id"] = end
    others = [i for i in stops if i != end]
    if others:
        turn = chat.renderer.turn_end
        found["tokenizer.ggml.eot_token_id"] = turn if turn in others else others[0]
    if len(others) > 1:
        left = [tokenizer.convert_ids_to_tokens(i) for i in others if i != found["tokenizer.ggml.eot_token_id"]]
        notes.append(f"a file names two stop tokens; llama.cpp must be told of {', '.join(left)}")
    for key, value in (("bos", tokenizer.bos_token_id), ("padding", chat.pad_id), ("unknown", tokenizer.unk_token_id)):
        if value is not None:
            found[f"tokenizer.ggml.{key}_token_id"] = int(value)
    plain = tokenizer("a", add_special_tokens=True)["input_ids"]
    found["tokenizer.ggml.add_bos_token"] = bool(plain and plain[0] == tokenizer.bos_token_id)
    found["tokenizer.ggml.add_eos_token"] = bool(plain and plain[-1] == eos)
    return found
