"""Embeddings: what is alike lies close, the order of rows changes nothing, and a missing extra is named."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.text.embeddings import (
    LatentSemantic,
    SentenceTransformerModel,
    embedded,
    embedder,
    sample_by_content,
)
from goldsmith.engines.text.projection import project
from goldsmith.types.check import Row
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart

_WORDS = {
    "cooking": "lentils onion garlic simmer pan soup salt pepper oven bake flour butter recipe",
    "sailing": "harbour wind mast rope anchor deck tide sail keel rudder storm coast island",
    "chess": "pawn knight bishop rook queen castle opening endgame check board move sacrifice draw",
}
TOPICS = {topic: words.split() for topic, words in _WORDS.items()}


def texts_on(topic: str, count: int, seed: int) -> list[str]:
    rng = random.Random(f"{topic}/{seed}")
    return [" ".join(rng.sample(TOPICS[topic], 7)) for _ in range(count)]


def row(line: int, user: str, answer: str) -> Row:
    turns = (
        Message(role=Role.USER, parts=(TextPart(text=user),)),
        Message(role=Role.ASSISTANT, parts=(TextPart(text=answer),)),
    )
    return Row(line, Record(content=Conversation(messages=turns)))


def test_texts_on_one_topic_lie_closer_than_texts_on_two() -> None:
    texts = [text for topic in TOPICS for text in texts_on(topic, 60, 0)]
    vectors = LatentSemantic().fit(texts)(texts)
    assert vectors.shape == (180, 64)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    near = vectors @ vectors.T
    topic = np.repeat(np.arange(3), 60)
    same = topic[:, None] == topic[None, :]
    assert near[same].mean() > near[~same].mean() + 0.3
    np.fill_diagonal(near, -1.0)
    assert (topic[near.argmax(axis=1)] == topic).mean() > 0.95


def test_scripts_without_spaces_are_told_apart() -> None:
    topics = ("红烧肉的家常做法", "股票市场的投资风险")
    texts = [
        a + topic + b
        for topic in topics
        for a in ("如何", "怎么", "请问", "我想知道")
        for b in ("？", "谢谢", "多久？")
    ]
    vectors = LatentSemantic().fit(texts)(texts)
    near = vectors @ vectors.T
    assert near[:12, :12].mean() > near[:12, 12:].mean() + 0.3


def test_the_order_of_rows_changes_nothing_and_columns_are_computed_once() -> None:
    rows = [
        row(i, user, answer)
        for i, (user, answer) in enumerate(
            zip(texts_on("chess", 80, 1) + texts_on("sailing", 80, 1), texts_on("chess", 80, 2) * 2, strict=True), 1
        )
    ]
    first = project(rows)
    vectors = embedded(first, "answer")
    assert embedded(first, "answer") is vectors
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1.0
    order = list(range(len(rows)))
    random.Random(3).shuffle(order)
    moved = project([rows[i] for i in order])
    np.testing.assert_allclose(embedded(moved, "answer"), vectors[order], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_any_texts_give_finite_unit_or_zero_vectors(texts: list[str]) -> None:
    vectors = LatentSemantic(width=8).fit(texts)(texts)
    assert vectors.shape == (len(texts), 8)
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(lengths - 1.0) < 1e-4) | (lengths < 1e-4))


def test_the_sample_depends_on_what_texts_say() -> None:
    texts = [f"text number {i % 70}" for i in range(100)]
    chosen = [texts[i] for i in sample_by_content(texts, 20)]
    assert len(set(chosen)) == 20
    shuffled = texts[::-1]
    assert [shuffled[i] for i in sample_by_content(shuffled, 20)] == chosen


def test_an_unfitted_embedder_says_so() -> None:
    with pytest.raises(BadInput, match="before it was fitted"):
        LatentSemantic()(["a"])


def test_a_sentence_transformers_model_from_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(0)
    words = [f"{w}" for topic in TOPICS.values() for w in topic]
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    folder = tmp_path / "bert"
    config = BertConfig(
        vocab_size=len(words) + 5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(str(vocabulary)).save_pretrained(folder)
    SentenceTransformer(
        modules=[
            transformer := models.Transformer(str(folder)),
            models.Pooling(transformer.get_word_embedding_dimension()),
        ]
    ).save(str(tmp_path / "st"))
    view = project([row(1, "pawn knight", "bishop rook"), row(2, "tide sail", "")])
    vectors = embedded(view, "answer", embedder(str(tmp_path / "st")))
    assert vectors.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1.0, 0.0], atol=1e-5)
    own = SentenceTransformer(str(tmp_path / "st"), device="cpu").encode(["bishop rook"], normalize_embeddings=True)
    np.testing.assert_allclose(vectors[:1], own, atol=1e-5)


def test_a_missing_extra_or_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="could not be loaded"):
        SentenceTransformerModel(str(tmp_path / "nothing"))(["a"])
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(Unavailable, match=r"goldsmith\[embeddings\]"):
        SentenceTransformerModel("any")(["a"])
