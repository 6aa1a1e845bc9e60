"""A little language in which human and model rows can be written by seed: the material of the checks' own proofs."""

import random
from typing import Any

_THINGS = [
    "bridge",
    "garden",
    "kettle",
    "violin",
    "harbour",
    "ledger",
    "compass",
    "orchard",
    "lantern",
    "tunnel",
    "bakery",
    "glacier",
    "saddle",
    "canvas",
    "mirror",
    "furnace",
    "library",
    "ferry",
    "anvil",
    "cellar",
    "meadow",
    "quarry",
    "tower",
    "well",
    "barrel",
    "carpet",
    "engine",
    "hammer",
    "island",
    "jacket",
]
_ACTS = [
    "repair",
    "measure",
    "paint",
    "clean",
    "open",
    "sell",
    "move",
    "carry",
    "empty",
    "fill",
    "build",
    "hide",
    "clear",
    "light",
    "copy",
    "cover",
    "test",
    "heat",
    "fold",
    "weigh",
]
_WAYS = [
    "slowly",
    "twice",
    "before",
    "dawn",
    "by",
    "hand",
    "with",
    "care",
    "in",
    "autumn",
    "from",
    "above",
    "under",
    "cover",
    "at",
    "noon",
    "without",
    "help",
]
_REASONS = (
    "because the rain came early",
    "so that the neighbours could see it",
    "although nobody had asked",
    "when the road froze",
    "as the old manual says",
    "until the bell rang",
    "while the others slept",
    "since the price had fallen",
    "unless the wind turns",
    "after the second attempt failed",
    "before the inspectors arrive",
    "where the path divides",
)


def question(rng: random.Random) -> str:
    """Something that somebody may ask."""
    one, two, place = (rng.choice(_THINGS) for _ in range(3))
    return f"How would you {rng.choice(_ACTS)} the {one} and the {two} of {place} {rng.randrange(10_000)}?"


def answer(rng: random.Random, sentences: int = 3) -> str:
    """Some sentences of a large language; hardly ever twice the same."""
    said = []
    for _ in range(rng.randrange(1, sentences + 1)):
        who = rng.choice(("She", "He", "They", "My aunt", "The smith", "Our son", "A guard", "One"))
        did = f"{who} would {rng.choice(_ACTS)} the {rng.choice(_THINGS)} {rng.choice(_WAYS)}"
        said.append(f"{did} {rng.choice(_REASONS)}" + rng.choice((".", ".", "!", "; then rest.")))
    return " ".join(said)


def row(maker: str, prompt: str, text: str, *, batch: str = "b1", **more: Any) -> dict[str, Any]:
    """One conversation; rows of a model disclose what the checks ask for."""
    origin: dict[str, Any] = {"source": "people" if maker == "human" else "machine", "batch": batch, "maker": maker}
    if maker == "model":
        origin |= {"generator": "generator-7", "generation_depth": 1, "licence": "CC0-1.0"}
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return {"messages": turns, **origin, **more}


def rows(maker: str, count: int, seed: int, *, batch: str = "b1") -> list[dict[str, Any]]:
    """Rows of the language: the maker is the only difference."""
    rng = random.Random(f"{maker}/{seed}")
    return [row(maker, question(rng), answer(rng), batch=batch) for _ in range(count)]


def both(human: int = 240, model: int = 120) -> list[dict[str, Any]]:
    """People and a model that writes as they do."""
    return rows("human", human, 1) + rows("model", model, 2)
