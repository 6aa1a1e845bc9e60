"""Setting validation records aside: which ones follows from their content alone."""

import hashlib
from collections.abc import Sequence

from goldsmith.types.record import Comparison, Conversation, Rating, Record, Role


def prompt_key(record: Record) -> str:
    """A digest of what the model is asked in this record; records with equal prompts belong together."""
    content = record.content
    if isinstance(content, Conversation):
        asked = [m.text for m in content.messages if m.role is Role.USER]
    elif isinstance(content, Comparison | Rating):
        asked = [m.text for m in content.prompt if m.role is Role.USER]
    else:
        asked = [content.text]
    return hashlib.sha256("\x1f".join(asked).encode("utf-8", "surrogatepass")).hexdigest()


def split_records(records: Sequence[Record], share: float) -> tuple[list[Record], list[Record]]:
    """(train, validation): about `share` of the records aside, those with one prompt together.

    The same records give the same split whatever their order; with `share` 0 or a single prompt nothing is set aside.
    """
    keys = [prompt_key(record) for record in records]
    groups: dict[str, int] = {}
    for key in keys:
        groups[key] = groups.get(key, 0) + 1
    wanted = round(share * len(records))
    aside: set[str] = set()
    taken = 0
    for key in sorted(groups):
        if taken >= wanted or len(aside) == len(groups) - 1:
            break
        aside.add(key)
        taken += groups[key]
    train = [record for record, key in zip(records, keys, strict=True) if key not in aside]
    validation = [record for record, key in zip(records, keys, strict=True) if key in aside]
    return train, validation


def carve_records(
    everything: Sequence[Record], wanted: Sequence[Record], held_share: float, share: float
) -> tuple[list[Record], list[Record]]:
    """(train, validation) of the `wanted` ones that neither an examination nor a training run sets aside.

    Whatever `split_records(..., held_share)` puts aside, of `everything` or of the wanted alone, is in neither part,
    nor is any other record with such a prompt.
    """
    held = {prompt_key(record) for part in (everything, wanted) for record in split_records(part, held_share)[1]}
    return split_records([record for record in wanted if prompt_key(record) not in held], share)
