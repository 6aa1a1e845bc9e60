"""Rows of the embeddings for new tokens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from goldsmith.engines.training.data.rows import Row

ROWS = "embedding_rows"
"""Key of an adapter's note: how many rows its base's embeddings must have."""


def fit_vocabulary(model: Any, rows: int, new_ids: Sequence[int] = ()) -> None:
    """Give the embeddings (and an untied head) at least `rows` rows; new ones start as the mean of the others, which
    no token is far from (Hewitt 2021). `new_ids` are those rows; none: all that are added."""
    before = model.get_input_embeddings().weight.shape[0]
    fresh = list(new_ids) or list(range(before, rows))
    if rows > before:
        model.resize_token_embeddings(rows, mean_resizing=False)
    ins, out = model.get_input_embeddings(), model.get_output_embeddings()
    parts = [ins] if out is None or out.weight is ins.weight else [ins, out]
    with torch.no_grad():
        for part in parts if fresh else ():
            keep = torch.ones(part.weight.shape[0], dtype=torch.bool, device=part.weight.device)
            keep[before:] = False
            keep[fresh] = False
            part.weight[fresh] = part.weight[keep].float().mean(0).to(part.weight.dtype)


def rows_wanted(adapter_dir: str | Path, note: str) -> int:
    """Embedding rows an adapter folder's `note` asks of its base; 0 where it asks for none."""
    path = Path(adapter_dir) / note
    if not path.is_file():
        return 0
    return int(json.loads(path.read_text("utf-8")).get(ROWS) or 0)


def never_seen(tokenizer: Any, tokens: Sequence[str], rows: Sequence[Row]) -> dict[str, str]:
    """Those of the new tokens that no row holds: nothing trains their rows of the embeddings."""
    if not tokens:
        return {}
    seen: set[int] = set()
    for row in rows:
        for node in row.nodes:
            seen.update(np.unique(node.ids).tolist())
    missing = [token for token in tokens if int(tokenizer.convert_tokens_to_ids(token)) not in seen]
    return {"new_tokens_never_seen": ", ".join(missing)} if missing else {}
