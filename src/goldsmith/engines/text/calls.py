"""What a tool call shows about where it points and what it carries, read against everything said before it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_plus

import orjson

from goldsmith.engines import destinations
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.overlap import letters_only
from goldsmith.engines.text.projection import Call, Columns
from goldsmith.types.check import CheckContext

_WINDOW, _STEP = 14, 4
_LONGEST_ARGUMENTS, _LONGEST_CONTEXT = 20_000, 100_000
_MAY_POINT = re.compile(r"[.@:/]")
_SCRIPT = re.compile(
    r"createElement\s*\(|<script\b|\beval\s*\(|\batob\s*\(|\bfetch\s*\(|XMLHttpRequest|sendBeacon|new\s+Image\s*\(|"
    r"document\.(?:body|cookie|write)|localStorage|\bcurl\s+-|\bwget\s+|\bnc\s+-|/dev/tcp/|Invoke-WebRequest|"
    r"requests\.(?:get|post)\s*\(|urllib\.request|base64\s+-d|appendChild\s*\(|import\s*\(\s*['\"]https?:",
    re.I,
)
_SEARCH_ENGINES = re.compile(
    r"(?:^|\.)(?:google|bing|duckduckgo|yahoo|baidu|yandex|ecosia|startpage|wikipedia|youtube|stackoverflow|github)"
    r"\.(?:[a-z]{2,3})(?:\.[a-z]{2})?$"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A host (or mail address) in a call's arguments, and how much of the user's text the same argument carries (0
    to 1).
    """

    kind: Literal["host", "address"]
    host: str
    named: bool
    forbidden: bool
    copied: float
    copied_letters: int
    search_engine: bool


@dataclass(frozen=True, slots=True)
class CallSigns:
    """Signs of one call of tool `name`; `shown`: the call, quoted. `copied`: the largest share of a user turn (in
    letters) that its arguments hold; `beside`: the other tools called in the same turn; `lonely`: it has no result
    while a call beside it has.
    """

    name: str
    shown: str
    targets: tuple[Target, ...]
    copied: float
    copied_letters: int
    hidden_copy: bool
    script: bool
    undeclared: bool
    forbidden_tool: bool
    beside: tuple[str, ...]
    lonely: bool

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "CallSigns":
        """From what `dataclasses.asdict` made of one, also after it went through JSON."""
        targets = tuple(Target(**target) for target in told["targets"])
        return cls(**{**told, "targets": targets, "beside": tuple(told["beside"])})


def signs(columns: Columns, index: int, call: Call, context: CheckContext) -> CallSigns:
    """The signs of `call` in row `index`."""
    said = _said(columns, index, call.turn)
    turns = [columns.user[index], *columns.user[index][:200_000].split("\n")[-12:]]
    user = [text for text in dict.fromkeys(letters_only(turn[:4000]) for turn in turns) if len(text) >= 8]
    leaves = leaves_of(call.arguments)
    views = [destinations.decoded_views(leaf) if len(leaf) > 7 else (leaf,) for leaf in leaves]
    everything = ["\n".join(view) for view in views]
    whole = "\n".join(everything)
    copied, letters = _copied(user, letters_only(whole))
    plain = letters_only("\n".join(unquote_plus(leaf) for leaf in leaves))
    others = [c for c in columns.calls[index] if c.turn == call.turn]
    others.remove(call)
    declared = columns.tools[index]
    return CallSigns(
        name=call.name,
        shown=quote(f"{call.name} {call.arguments}", 160),
        targets=tuple(_targets(leaves, everything, said, user, context)),
        copied=copied,
        copied_letters=letters,
        hidden_copy=letters >= 12 and copied >= 0.25 and letters > 2 * _copied(user, plain)[1],
        script=_SCRIPT.search(whole) is not None and _SCRIPT.search(columns.user[index][:20_000]) is None,
        undeclared=bool(declared) and call.name not in declared,
        forbidden_tool=context.allowed_tools is not None and call.name not in context.allowed_tools,
        beside=tuple(sorted({c.name for c in others})),
        lonely=call.answered is False and any(c.answered for c in others),
    )


def leaves_of(arguments: str) -> list[str]:
    """The texts inside a call's JSON arguments; the whole text where it is not JSON."""
    try:
        value = orjson.loads(arguments) if len(arguments) <= _LONGEST_ARGUMENTS else None
    except orjson.JSONDecodeError:
        value = None
    if value is None:
        return [arguments[:_LONGEST_ARGUMENTS]]
    return [text for _, text in destinations.strings_in(value)]


def _said(columns: Columns, index: int, turn: int) -> str:
    """Everything said before `turn`, lower case: what a call's own result repeats was not named before the call."""
    parts = [columns.system[index], columns.user[index], columns.prior[index], columns.schemas[index]]
    parts += [text for at, text in columns.results[index] if at < turn]
    return "\n".join(part[:_LONGEST_CONTEXT] for part in parts).lower()


def _targets(
    leaves: Sequence[str], everything: Sequence[str], said: str, user: Sequence[str], context: CheckContext
) -> list[Target]:
    found: dict[tuple[str, str], Target] = {}
    for leaf, text in zip(leaves, everything, strict=True):
        if not _MAY_POINT.search(text):
            continue
        addresses = destinations.addresses_in(leaf) if "@" in text else ()
        domains = {address.rpartition("@")[2] for address in addresses}
        hosts = [host for host in destinations.hosts_in(leaf) if f"%{host}" not in leaf.lower()]  # %40 is no host
        places = [("host", host) for host in hosts if host not in domains]
        places += [("address", address) for address in addresses]
        if not places:
            continue
        copied, letters = _copied(user, letters_only(text))
        for kind, place in places:
            host = place.rpartition("@")[2]
            known = found.get((kind, place))
            if known is None or known.copied < copied:
                found[kind, place] = Target(
                    kind="address" if kind == "address" else "host",
                    host=place,
                    named=place in said or (kind == "host" and _names(said, host)),
                    forbidden=context.allowed_hosts is not None and not _allowed(host, context.allowed_hosts),
                    copied=copied,
                    copied_letters=letters,
                    search_engine=_SEARCH_ENGINES.search(host) is not None,
                )
    return list(found.values())


def _names(said: str, host: str) -> bool:
    """Whether a context names a host by its parent domain or by the name in front of the suffix (`github` for
    `api.github.com`).
    """
    labels = host.split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        return False
    keep = 3 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2
    if len(labels) > keep and ".".join(labels[-keep:]) in said:
        return True
    name = labels[-keep]
    return len(name) >= 4 and re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", said) is not None


def _allowed(host: str, allowed: frozenset[str]) -> bool:
    labels = host.split(".")
    return any(".".join(labels[k:]) in allowed for k in range(len(labels)))


def _copied(user: Sequence[str], arguments: str) -> tuple[float, int]:
    """The largest share of a user text that reappears in `arguments`, and how many of its letters; in windows of
    14 letters.
    """
    best, most = 0.0, 0
    for text in user:
        if len(text) <= _WINDOW:
            share, letters = (1.0, len(text)) if text in arguments else (0.0, 0)
        else:
            starts = range(0, len(text) - _WINDOW + 1, _STEP)
            found = sum(text[s : s + _WINDOW] in arguments for s in starts)
            share = found / len(starts)
            letters = 0 if not found else _WINDOW + (found - 1) * _STEP
        best, most = max(best, share), max(most, letters)
    return best, most
