"""How alike are a text and its reference? OpenAI's `text_similarity` grader."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from goldsmith.engines.grading.comparing import Comparing
from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.similarity import LONGEST, METRICS
from goldsmith.engines.grading.templates import Unfilled
from goldsmith.engines.text.embeddings import embedder


class TextSimilarity(Comparing):
    """0 to 1 by `evaluation_metric`; OpenAI's grader of this name.

    fuzzy_match (rapidfuzz's ratio), gleu and rouge_1 to rouge_5 and rouge_l (F1, no stemming) are on their published
    formulas; bleu is for one sentence, smoothed; meteor matches whole words only (no stems, no synonyms). `cosine`
    wants a sentence-transformers model (`embedding_model`, `goldsmith[embeddings]`); below 0 counts as 0.
    """

    id: ClassVar[str] = "text_similarity"
    version: ClassVar[int] = 1

    evaluation_metric: Literal[
        "fuzzy_match", "bleu", "gleu", "meteor", "cosine", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5",
        "rouge_l",
    ] = "fuzzy_match"  # fmt: skip
    embedding_model: str | None = None
    """For cosine: a folder or hub id."""

    @model_validator(mode="after")
    def _model_fits(self) -> "TextSimilarity":
        if (self.evaluation_metric == "cosine") != (self.embedding_model is not None):
            raise ValueError("embedding_model belongs to the metric cosine, which needs it")
        return self

    def compare(self, text: str, reference: str) -> float:
        """The reward."""
        if not reference.strip():
            raise Unfilled("the reference is empty")
        if max(len(text), len(reference)) > LONGEST:
            raise Unfilled(f"a text is longer than {LONGEST} characters")
        if self.evaluation_metric != "cosine":
            return METRICS[self.evaluation_metric](text, reference)
        a, b = embedder(self.embedding_model)([text, reference]).astype(np.float64)
        return float(np.clip(a @ b, 0.0, 1.0))


_GOLD = "the quick brown fox jumps over the lazy dog"
EXAMPLES: tuple[Example, ...] = tuple(
    (
        {"evaluation_metric": metric},
        [said("a quick brown fox jumps over the lazy cat", reference_answer=_GOLD)],
        [said("lazy over brown", reference_answer=_GOLD), said("", reference_answer=_GOLD)],
    )
    for metric in METRICS
)
