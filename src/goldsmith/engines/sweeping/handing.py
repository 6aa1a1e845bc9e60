"""Models that a step names by their digest, by the folders where a sweep's processes find them."""

from collections.abc import Callable, Mapping

from goldsmith.types.artifact import Digest
from goldsmith.types.asking import Asked


def handing(models: Mapping[Digest, str]) -> Callable[[Asked], str | None]:
    """Hands out a model's folder by its digest; None for anything else, which is then built or found by its name."""

    def hand(asked: Asked) -> str | None:
        return models.get(asked.name) if asked.kind == "models" else None

    return hand
