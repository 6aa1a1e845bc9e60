"""Tools on offer: OpenAI function objects in the forms that sets use, to `ToolSchema` and back."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from goldsmith.engines.reading.fields import unfolded
from goldsmith.engines.reading.json_text import decode, encode, show
from goldsmith.types.record import ToolSchema
from goldsmith.types.row_format import RowProblem

_ALLOWED = 'a list of {"type": "function", "function": {"name": ..., "parameters": ...}} or of bare function objects'


def tool_schemas(value: Any, path: str) -> tuple[ToolSchema, ...]:
    """The tools of a row's `tools` or `functions` field: a list, or JSON text of one; null and "" mean none.

    A bare function object is put inside `{"type": "function", "function": ...}`; its own text stays as it is.
    Errors: RowProblem where a tool has no name.
    """
    if value is None or value == "" or value == []:
        return ()
    return _read(value if isinstance(value, str) else encode(value), path)


@lru_cache(maxsize=512)  # most sets offer the same tools in every row
def _read(text: str, path: str) -> tuple[ToolSchema, ...]:
    value = unfolded(text, path)
    if value is None:
        return ()
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise RowProblem(f"{path} must be a list of tools", where=path, found=show(value), allowed=_ALLOWED)
    return tuple([_schema(tool, f"{path}[{position}]") for position, tool in enumerate(value)])


def _schema(tool: Any, path: str) -> ToolSchema:
    tool = unfolded(tool, path)
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise RowProblem("a tool without a name", where=path, found=show(tool), allowed=_ALLOWED)
    text = encode(tool)
    bare = function is tool
    return ToolSchema(name=name, definition=f'{{"type":"function","function":{text}}}' if bare else text)


def render_tools(tools: Sequence[ToolSchema]) -> list[Any]:
    """The tools as OpenAI function objects, numbers as delivered."""
    return [decode(tool.definition) for tool in tools]
