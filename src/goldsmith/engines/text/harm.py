"""How much a request asks for harm: a linear model over words and word pairs, English only.

Its weights are made by `benchmarks/harmful_request_model.py` from permissively licensed sets, which also measures it
on sets it has not seen. It is a triage signal: it knows no context, and a request in other words or another language
passes it.
"""

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_LONGEST = 1200


@cache
def weights() -> tuple[float, dict[str, float]]:
    """Intercept and the weights by word or word pair."""
    text = resources.files("goldsmith.engines.text").joinpath("harmful_requests.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return float(content["intercept"]), {str(k): float(v) for k, v in content["weights"].items()}


def tokens(text: str) -> list[str]:
    """Lower-case words and neighbouring pairs of the first 1,200 characters."""
    found = _WORD.findall(text[:_LONGEST].lower())
    return found + [f"{a} {b}" for a, b in pairwise(found)]


def harmfulness(texts: Sequence[str]) -> NDArray[np.float64]:
    """Probability-like score of each request, 0 to 1; 0 for texts without known words."""
    intercept, known = weights()
    out = np.zeros(len(texts))
    for i, text in enumerate(texts):
        met = known.keys() & set(tokens(text))
        if met:
            # Summed in a fixed order: a float sum depends on it, and sets have none.
            out[i] = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, intercept + sum(known[t] for t in sorted(met))))))
    return out
