"""Texts with `{{ item.x }}` and `{{ sample.y }}` in them, in OpenAI's grader syntax, filled in for one sampled answer.

What is filled in is never read as a template again, so an answer cannot reach other fields by writing braces.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from goldsmith.engines.grading.samples import namespace
from goldsmith.types.reward import Sampled

_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"(item|sample)((?:\.\w+|\[\d+\])+)", re.ASCII)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]", re.ASCII)
SAMPLE_FIELDS = ("output_text", "output_json", "output_tools", "choices")


class Unfilled(ValueError):
    """A template cannot be filled in for this sample; the message is the reason, in a few words."""


def _checked(text: str) -> str:
    for hole in _HOLE.findall(text):
        path = hole.strip()
        if not _PATH.fullmatch(path):
            raise ValueError(f"{{{{{hole}}}}} is no {{{{ item.field }}}} or {{{{ sample.field }}}}")
        space, first = path.split(".", 1)[0], re.split(r"[.\[]", path.split(".", 1)[-1])[0]
        if space == "sample" and first not in SAMPLE_FIELDS:
            raise ValueError(f"there is no sample.{first}; a sample has {', '.join(SAMPLE_FIELDS)}")
    return text


Template = Annotated[str, AfterValidator(_checked)]
"""A text in grader syntax, checked when it is set."""


def reads_item(*templates: str) -> bool:
    """Whether any of the texts reads a field of the row."""
    return any(hole.strip().startswith("item") for text in templates for hole in _HOLE.findall(text))


@dataclass(slots=True)
class Filling:
    """The namespaces of one sample; worked out once for all its templates."""

    spaces: Mapping[str, Mapping[str, Any]]

    def fill(self, template: str) -> str:
        """The text with every hole filled: texts as they are, other values as JSON.

        Raises:
            Unfilled: a field is not there, or is null.
        """
        return _HOLE.sub(lambda hole: self._text(hole.group(1).strip()), template)

    def value(self, path: str) -> Any:
        """The value at `item.a.b[0]`. Raises Unfilled."""
        space, rest = path.split(".", 1)
        found: Any = self.spaces[space]
        for name, place in _STEP.findall("." + rest):
            if name and isinstance(found, Mapping) and name in found:
                found = found[name]
            elif place and isinstance(found, list | tuple) and int(place) < len(found):
                found = found[int(place)]
            else:
                raise Unfilled(f"there is no {path}")
        if found is None:
            raise Unfilled(f"{path} is null")
        return found

    def _text(self, path: str) -> str:
        value = self.value(path)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def filling(sampled: Sampled) -> Filling:
    """What templates may say about this sample."""
    return Filling({"item": sampled.item, "sample": namespace(sampled)})
