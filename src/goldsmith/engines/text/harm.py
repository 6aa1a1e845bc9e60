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
from numba import njit
from numpy.typing import NDArray

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_LONGEST = 1200
_FNV_OFFSET, _FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


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
    intercept, _ = weights()
    hashes, order, values = _by_hash()
    raw = [text[:_LONGEST].lower().encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(raw) + 1, np.int64)
    np.cumsum([len(part) for part in raw], out=starts[1:])
    total, met = np.zeros(len(raw)), np.zeros(len(raw), np.bool_)
    if raw:
        _sum(np.frombuffer(b"".join(raw), np.uint8), starts, hashes, order, values, total, met)
    out = np.zeros(len(raw))
    for i in np.flatnonzero(met).tolist():
        out[i] = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, intercept + float(total[i])))))
    return out


@cache
def _by_hash() -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.float64]]:
    """The known tokens' hashes, ascending; of each its place among the tokens in order; and the weights in that order:
    they are summed in it, because a float sum depends on it.
    """
    _, known = weights()
    names = sorted(known)
    found = np.array([_hash_of(np.frombuffer(name.encode(), np.uint8)) for name in names], np.uint64)
    order = np.argsort(found)
    assert len(np.unique(found)) == len(found)
    return found[order], order.astype(np.int64), np.array([known[name] for name in names])


@njit(cache=True, nogil=True)
def _hash_of(token):  # type: ignore[no-untyped-def]
    hashed = _FNV_OFFSET
    for byte in token:
        hashed = (hashed ^ np.uint64(byte)) * _FNV_PRIME
    return hashed


@njit(cache=True, nogil=True)
def _sum(buffer, starts, hashes, order, values, total, met):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        at, end = starts[text], starts[text + 1]
        places = np.empty(end - at + 2, np.int64)
        used = 0
        before = np.uint64(0)  # the hash of the last word and a space: where the pair's goes on
        paired = False
        while at < end:
            if not 97 <= buffer[at] <= 122:
                at += 1
                continue
            alone, pair = _FNV_OFFSET, before
            apostrophes = 0
            while at < end:
                byte = buffer[at]
                inside = 97 <= byte <= 122
                if not inside and byte == 39 and apostrophes == 0 and at + 1 < end and 97 <= buffer[at + 1] <= 122:
                    inside = True
                    apostrophes = 1
                if not inside:
                    break
                alone = (alone ^ np.uint64(byte)) * _FNV_PRIME
                pair = (pair ^ np.uint64(byte)) * _FNV_PRIME
                at += 1
            for value in (alone, pair) if paired else (alone, alone):
                place = np.searchsorted(hashes, value)
                if place < len(hashes) and hashes[place] == value:
                    places[used] = order[place]
                    used += 1
            before = (alone ^ np.uint64(32)) * _FNV_PRIME
            paired = True
        found = np.sort(places[:used])
        summed = 0.0
        for i in range(used):
            if i == 0 or found[i] != found[i - 1]:
                summed += values[found[i]]
        total[text] = summed
        met[text] = used > 0
