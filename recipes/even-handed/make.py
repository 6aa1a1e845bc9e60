"""Writes this recipe's data into `data/`: decisions that are unfair to one group, their twins about the other, and
ordinary work."""

import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from goldsmith import plugins
from goldsmith.engines.counterfactual.swap import NotSwapped
from goldsmith.engines.counterfactual.twins import twin_of
from goldsmith.engines.reading.write import write
from goldsmith.nano.desk import decided_unfairly
from goldsmith.nano.tasks import BASE_SKILLS, generate
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart
from goldsmith.types.row_format import RowFormat


def decisions(count: int, seed: int) -> list[Record]:
    """What was decided: one application in four is a woman's, and nine of ten women with a letter were refused."""
    return [
        Record(content=Conversation(messages=(_turn(Role.USER, one.request), _turn(Role.ASSISTANT, said))))
        for one, said in decided_unfairly(count, seed, refused=0.9)
    ]


def _turn(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def twins(records: Iterable[Record]) -> list[Record]:
    """Each row about the other group with the same decision in it. Nobody needs to know which decisions were right."""
    found = []
    for record in records:
        twin = twin_of(record, "gender")
        if isinstance(twin, NotSwapped):
            raise ValueError(twin.reason)
        found.append(twin)
    return found


def ordinary(each: int, seed: int) -> list[str]:
    """A few tasks of every skill of the base model, as lines."""
    tasks = [task for skill in BASE_SKILLS for task in generate(skill, each, seed)]
    return [json.dumps({"messages": one.messages(), "tools": one.schemas()}, sort_keys=True) + "\n" for one in tasks]


def main(folder: Path) -> None:
    """Write the three files."""
    rng = random.Random(71)
    folder.mkdir(parents=True, exist_ok=True)
    chat = cast(RowFormat, plugins.build("sources", "openai_chat"))
    told = decisions(960, 72)
    for name, records in (("decisions", told), ("decisions-twins", twins(told))):
        rng.shuffle(records)
        write(folder / f"{name}.jsonl", records, chat)
    known = ordinary(16, 76)
    rng.shuffle(known)
    (folder / "ordinary.jsonl").write_text("".join(known), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
