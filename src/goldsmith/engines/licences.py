"""What a licence allows, from its SPDX identifier or its common name.

The table restates published texts: Creative Commons legal codes 2.0 to 4.0, the SPDX licence list 3.27, ODC-BY and ODbL
1.0, CDLA 1.0 and 2.0, OpenRAIL-M, the Llama and Gemma community licences, OpenAI's terms of use (no models that
compete). It is no legal advice: where a text leaves room, the answer is `ask`, never `yes`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

Use = Literal["train", "commercial", "research", "redistribution"]
Answer = Literal["yes", "ask", "no"]
USES: Final[tuple[Use, ...]] = ("train", "commercial", "research", "redistribution")
_ORDER: Final[dict[Answer, int]] = {"yes": 0, "ask": 1, "no": 2}


@dataclass(frozen=True, slots=True)
class Terms:
    """What one licence says to each use; `why` names the clause where an answer is not yes."""

    name: str
    train: Answer = "yes"
    commercial: Answer = "yes"
    research: Answer = "yes"
    redistribution: Answer = "yes"
    why: str = ""

    def answer(self, use: Use) -> Answer:
        """What the licence says to this use."""
        found: Answer = getattr(self, use)
        return found


_FREE: Final = frozenset(
    [
        "mit",
        "mit-0",
        "apache-2.0",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "isc",
        "cc0-1.0",
        "unlicense",
        "0bsd",
        "zlib",
        "bsl-1.0",
        "postgresql",
        "python-2.0",
        "psf-2.0",
        "ms-pl",
        "wtfpl",
        "odc-by-1.0",
        "pddl-1.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "public-domain",
        "us-pd",
        "ncsa",
        "upl-1.0",
        "afl-3.0",
        "ecl-2.0",
        "etalab-2.0",
        "ogl-uk-3.0",
        "dl-de-by-2.0",
        "dl-de-zero-2.0",
        "artistic-2.0",
    ]
)
_SHARE_ALIKE: Final = frozenset(
    [
        "gpl-2.0",
        "gpl-3.0",
        "lgpl-2.1",
        "lgpl-3.0",
        "agpl-3.0",
        "mpl-2.0",
        "epl-2.0",
        "eupl-1.2",
        "odbl-1.0",
        "cdla-sharing-1.0",
        "gfdl-1.3",
        "cecill-2.1",
        "osl-3.0",
    ]
)
_SA = "share-alike: what is derived from it goes out under the same licence"
_OTHERS: Final[dict[str, Terms]] = {
    "openrail": Terms(
        "OpenRAIL", train="ask", commercial="ask", why="use restrictions are passed on (OpenRAIL-M, annex A)"
    ),
    "llama": Terms(
        "Llama community licence",
        train="ask",
        commercial="ask",
        redistribution="ask",
        why="above 700 million users a licence is needed; models made with its output carry the name and the terms",
    ),
    "gemma": Terms(
        "Gemma terms of use", train="ask", redistribution="ask", why="models made with its output are derivatives"
    ),
    "openai": Terms(
        "OpenAI terms of use",
        train="no",
        redistribution="ask",
        why="output may not train models that compete with OpenAI",
    ),
    "anthropic": Terms(
        "Anthropic terms", train="no", redistribution="ask", why="output may not train competing models"
    ),
    "research": Terms(
        "research only", train="ask", commercial="no", redistribution="ask", why="research or academic use only"
    ),
    "noncommercial": Terms("non-commercial", commercial="no", why="non-commercial use only"),
    "notrain": Terms("no training", train="no", why="training on it is not allowed"),
    "proprietary": Terms(
        "all rights reserved",
        train="ask",
        commercial="ask",
        research="ask",
        redistribution="no",
        why="all rights reserved: what is allowed stands in a contract",
    ),
}
_ALIASES: Final[dict[str, str]] = {
    "apache": "apache-2.0",
    "apache 2": "apache-2.0",
    "apache 2.0": "apache-2.0",
    "apache2": "apache-2.0",
    "asl 2.0": "apache-2.0",
    "expat": "mit",
    "x11": "mit",
    "bsd": "bsd-3-clause",
    "new bsd": "bsd-3-clause",
    "simplified bsd": "bsd-2-clause",
    "cc0": "cc0-1.0",
    "cc zero": "cc0-1.0",
    "public domain": "public-domain",
    "pd": "public-domain",
    "pddl": "pddl-1.0",
    "odc-by": "odc-by-1.0",
    "odc by": "odc-by-1.0",
    "odbl": "odbl-1.0",
    "gpl": "gpl-3.0",
    "gplv3": "gpl-3.0",
    "gplv2": "gpl-2.0",
    "gpl v3": "gpl-3.0",
    "gpl v2": "gpl-2.0",
    "lgpl": "lgpl-3.0",
    "agpl": "agpl-3.0",
    "agplv3": "agpl-3.0",
    "mpl": "mpl-2.0",
    "gfdl": "gfdl-1.3",
    "un public document": "public-domain",
    "us government work": "us-pd",
    "cdla-permissive": "cdla-permissive-2.0",
}
_NO_TRAINING = re.compile(
    r"\bno[- ]?(?:ai[- ]?)?(?:model[- ]?)?train|not (?:be )?(?:used )?(?:for|to) (?:ai |model )?train"
    r"|no-?compete|no ai\b|\bnoai\b|eval(?:uation)?[- ]only"
)
_NON_COMMERCIAL = re.compile(r"non-? ?commercial|\bnc\b|not for commercial")
_RESEARCH = re.compile(r"(?:research|academic)[\w ,/-]{0,24}(?:only|purpose)|only (?:for )?(?:research|academic)")


def terms_of(licence: str) -> Terms | None:
    """The terms of an SPDX identifier, SPDX expression (`OR`: the freest counts; `AND`, `WITH`: all count) or common
    name; None for one that is not known. A clause added in words (`MIT, no training`) counts beside the name.
    """
    text = " ".join(licence.strip().lower().split())[:300]
    if not text:
        return None
    if re.search(r"\bor\b", text) and (found := [terms_of(part) for part in re.split(r"\bor\b", text)]):
        known = [one for one in found if one is not None]
        return min(known, key=_burden) if known else None
    parts = [part.strip(" ()") for part in re.split(r"\band\b|\bwith\b|[;,+&]", text) if part.strip(" ()")]
    if len(parts) > 1:
        named = [_single(part) for part in parts]
        clauses = [one for one in (*named, *_clauses(text)) if one is not None]
        return _joined(licence.strip()[:80], clauses) if any(one is not None for one in named) else None
    return _single(text.strip("() "))


def _single(text: str) -> Terms | None:
    plain = re.sub(r"\b(?:the|licen[cs]ed?|version|under|only|or-later)\b|-(?:only|or-later)$", " ", text)
    plain = " ".join(plain.replace("_", "-").split()).strip(" -.+")
    plain = re.sub(r"\bv(?=\d)", "", plain)
    name = _ALIASES.get(plain, plain.replace(" ", "-"))
    found: Terms | None = None
    if name in _FREE or re.fullmatch(r"mit\b.{0,20}|apache-?2(?:\.0)?", name):
        found = Terms(text)
    elif name in _SHARE_ALIKE or re.fullmatch(r"[al]?gpl-?v?[123](?:\.\d)?\+?", name):
        found = Terms(text, redistribution="ask", why=_SA)
    elif re.match(r"(?:cc|creative[- ]commons)\b", name):
        found = _creative_commons(text, name)
    else:
        for key, sign in (
            ("openrail", r"rail\b"),
            ("llama", r"\bllama"),
            ("gemma", r"\bgemma"),
            ("openai", r"\bopenai|chatgpt|gpt-4"),
            ("anthropic", r"\banthropic|claude"),
            ("proprietary", r"proprietary|all rights reserved|confidential|\bcommercial$"),
        ):
            if re.search(sign, text):
                found = _OTHERS[key]
                break
    extra = [] if found is not None and "commons" in found.name else _clauses(text)
    if found is None:
        return _joined(text, extra) if extra else None
    return _joined(text, [found, *extra])


def _creative_commons(text: str, name: str) -> Terms | None:
    words = re.split(r"[^a-z]+", name)
    if "zero" in words or ("cc" in words and re.match(r"cc-?0", name)):
        return Terms(text)
    nc = "nc" in words or "noncommercial" in words or ("commercial" in words and "non" in words)
    nd = "nd" in words or "noderivatives" in words or "noderivs" in words
    sa = "sa" in words or "sharealike" in words or "alike" in words
    if not ("by" in words or "attribution" in words or nc or nd or sa):
        return None
    why = [
        *(["non-commercial use only (CC 4.0, section 1.i)"] if nc else []),
        *(["no derivatives may be shared (CC 4.0, section 2.a.1)"] if nd else []),
        *([_SA] if sa else []),
    ]
    return Terms(
        text,
        train="ask" if nd else "yes",
        commercial="no" if nc else "yes",
        redistribution="no" if nd else "ask" if sa or nc else "yes",
        why="; ".join(why),
    )


def _clauses(text: str) -> list[Terms]:
    found = []
    if _NO_TRAINING.search(text):
        found.append(_OTHERS["notrain"])
    if _NON_COMMERCIAL.search(text):
        found.append(_OTHERS["noncommercial"])
    if _RESEARCH.search(text):
        found.append(_OTHERS["research"])
    return found


def _joined(name: str, parts: list[Terms]) -> Terms:
    def strictest(use: Use) -> Answer:
        return max((one.answer(use) for one in parts), key=_ORDER.__getitem__)

    return Terms(
        name,
        strictest("train"),
        strictest("commercial"),
        strictest("research"),
        strictest("redistribution"),
        "; ".join(dict.fromkeys(one.why for one in parts if one.why)),
    )


def _burden(terms: Terms) -> int:
    return sum(_ORDER[terms.answer(use)] for use in USES)
