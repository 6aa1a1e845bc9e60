"""Any OpenAI-compatible moderation endpoint as a reader of harm; asked only where a recipe names one.

The texts leave the machine for that endpoint: it is off by default, and what is sent is bounded. The key is taken from
the environment and is in no message.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from goldsmith.engines.endpoint import Address, NoAnswer, post_json
from goldsmith.types.artifact import Frozen, Real
from goldsmith.types.errors import Unavailable

_LONGEST = 20_000


class Moderation(Frozen):
    """Where to ask: `endpoint` is the API's base (`https://host/v1`), `key_env` the environment variable that holds its
    key (none is sent if it is empty). At most `most` texts are sent, `batch` in a request."""

    endpoint: Address
    model: str | None = None
    key_env: str = "GOLDSMITH_MODERATION_KEY"
    most: Annotated[int, Field(ge=1)] = 20_000
    batch: Annotated[int, Field(ge=1, le=512)] = 32
    timeout_s: Annotated[Real, Field(gt=0)] = 30.0


def harmfulness(texts: Sequence[str], settings: Moderation) -> NDArray[np.float64]:
    """The highest category score of each text, 0 to 1; empty texts are not sent and score 0. [texts]

    Raises:
        Unavailable: more texts than may be sent, no answer, or an answer that is not of this kind.
    """
    asked = [i for i, text in enumerate(texts) if text.strip()]
    if len(asked) > settings.most:
        raise Unavailable(
            "more texts than may be sent to the moderation endpoint",
            where=settings.endpoint,
            found=str(len(asked)),
            allowed=str(settings.most),
            next_step="raise `most`, or leave `moderation` out for the built-in model",
        )
    out = np.zeros(len(texts))
    for low in range(0, len(asked), settings.batch):
        part = asked[low : low + settings.batch]
        out[part] = _scores(_post([texts[i][:_LONGEST] for i in part], settings), len(part), settings)
    return out


def _post(texts: list[str], settings: Moderation) -> Any:
    body: dict[str, Any] = {"input": texts} | ({"model": settings.model} if settings.model else {})
    url = f"{settings.endpoint}/moderations"
    try:
        return post_json(url, body, key_env=settings.key_env, timeout_s=float(settings.timeout_s))
    except NoAnswer as error:
        raise _failed(settings, str(error)) from None


def _scores(answer: Any, count: int, settings: Moderation) -> list[float]:
    try:
        found = [max(float(score) for score in one["category_scores"].values()) for one in answer["results"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _failed(settings, "an answer without results and category_scores") from None
    if len(found) != count or not all(math.isfinite(score) and 0 <= score <= 1 for score in found):
        raise _failed(settings, f"{len(found)} results for {count} texts, or scores that are not from 0 to 1")
    return found


def _failed(settings: Moderation, found: str) -> Unavailable:
    return Unavailable(
        "the moderation endpoint gave no usable answer",
        where=settings.endpoint,
        found=found,
        next_step=f"check the address and the key in {settings.key_env}, or leave `moderation` out",
    )
