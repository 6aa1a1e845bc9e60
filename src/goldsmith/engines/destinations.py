"""Where a text points to: the hosts and mail addresses in it, also behind common encodings.

Percent, base64 (both alphabets), hexadecimal, HTML and JSON escapes are undone, nested up to three deep.
Ciphers, compression and reversed text are not: who hides a host behind those is not seen here.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

_DEPTH = 3
_MOST_VIEWS = 64
_LONGEST = 200_000
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_BASE64_STANDARD = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")
_BASE64_URL = re.compile(r"[A-Za-z0-9_-]{12,}={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?((?:[0-9a-fA-F]{2}){6,})(?![0-9A-Za-z])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_URL = re.compile(r"(?:(?<![a-z0-9])([a-z][a-z0-9+.\-]{1,20}):)?[/\\]{2,}([^\s/\\?#\"'<>`{}|^]+)")
_LOOSE_HTTP = re.compile(r"(?<![a-z0-9])(?:https?|ftp|wss?):[/\\]?([^\s/\\?#\"'<>`{}|^]+)")
_ADDRESS = re.compile(r"([\w.+%!#$&*=?^~'-]+)@(\[[0-9a-f.:]+\]|[\w-]+(?:\.[\w-]+)*)")
_BARE = re.compile(
    r"(?<![\w@./\\-])((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+([^\W\d_]{2,24}|xn--[a-z0-9-]+))\.?(?![\w-])(/?)"
)
_IPV4 = re.compile(r"(?<![\w.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?![\w.]*\w)")
_HOST = re.compile(r"[a-z0-9_-]*[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
_COMMON_TOP_LEVEL = """
    com net org edu gov mil int info biz name pro aero coop museum arpa example test invalid
    localhost local internal onion io co ai app dev cloud site online store shop blog tech xyz top
    club live link click work life world space website page web host press email news agency digital
    media network systems services solutions group team zone icu vip win bid loan men stream
    download party review trade science date racing webcam fun buzz monster quest ac ad ae af ag al
    ar ba bd bg bh bo br by bz ca cat ch ci cl cm cn cr cu cy cz de dk dz ec ee eg es eu fi fr ge gh
    gl gr gt hk hn hr hu ie il ir jp ke kg kr kw kz la lb li lk lt lu lv ly ma mc mg mn mx ng nl np
    nz om pe ph pk pt qa ro rs ru sa se sg si sk sv sy th tn tr tv tw ua ug uk uy uz ve vn ws za zm
    zw
"""
_TOP_LEVEL = frozenset(_COMMON_TOP_LEVEL.split())
_PLACE_KEYS = re.compile(
    r"(?:^|_)(?:urls?|uris?|links?|href|hosts?|hostname|domains?|endpoint|site|website|webhook|server|callback|proxy)(?:$|_)"
)


def decoded_views(text: str) -> tuple[str, ...]:
    """The text itself and what it says once encodings are undone; the text first, no view twice."""
    seen: dict[str, None] = {_plain(text[:_LONGEST]): None}
    frontier = list(seen)
    for _ in range(_DEPTH):
        found: list[str] = []
        for view in frontier:
            for decoded in _decodings(view):
                plain = _plain(decoded)
                if plain not in seen and len(seen) < _MOST_VIEWS:
                    seen[plain] = None
                    found.append(plain)
        frontier = found
    return tuple(seen)


def _plain(text: str) -> str:
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text).replace("\u3002", "."))


def _decodings(text: str) -> Iterator[str]:
    if "%" in text:
        yield unquote(text, errors="replace")
        yield unquote_plus(text, errors="replace")
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        yield _ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)), text)
    for match in _HEX.finditer(text):
        yield from _readable(bytes.fromhex(match[1]))
    compact = re.sub(r"\s+", "", text)
    sources = (text, compact) if compact != text and re.fullmatch(r"[A-Za-z0-9+/=_-]{40,}", compact) else (text,)
    for source in sources:
        for pattern in (_BASE64_STANDARD, _BASE64_URL):
            for match in pattern.finditer(source):
                yield from _unbase64(match[0])
        # A path separator is a letter of the standard alphabet too: try the pieces between them as well.
        for piece in re.split(r"[/.=?&,;:@\s]", source):
            if len(piece) >= 12 and _BASE64_STANDARD.fullmatch(piece):
                yield from _unbase64(piece)


def _unbase64(token: str) -> Iterator[str]:
    bare = token.rstrip("=").replace("-", "+").replace("_", "/")
    if len(bare) % 4 == 1:
        return
    try:
        yield from _readable(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True))
    except (binascii.Error, ValueError):
        return


def _readable(raw: bytes) -> Iterator[str]:
    for encoding in ("utf-8", "utf-16-le"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        ascii_share = sum(31 < ord(c) < 127 or c in "\n\r\t" for c in text)
        if len(text) >= 4 and ascii_share >= 0.85 * len(text):
            yield text
            return


def hosts_in(text: str) -> tuple[str, ...]:
    """Lower-case hosts named in the text or behind its encodings, in order of first sight: of URLs (also
    without scheme), of mail addresses, bare domains under common top-level names, and IP addresses. Names
    outside ASCII as punycode."""
    found: dict[str, None] = {}
    for view in decoded_views(text):
        for host in _hosts(view):
            found.setdefault(host, None)
    return tuple(found)


def addresses_in(text: str) -> tuple[str, ...]:
    """Mail addresses in the text or behind its encodings, lower case, the host as `hosts_in` writes it."""
    found: dict[str, None] = {}
    for view in decoded_views(text):
        for match in _ADDRESS.finditer(view.lower()):
            host = normal_host(match[2])
            if host:
                found.setdefault(f"{match[1]}@{host}", None)
    return tuple(found)


def _hosts(view: str) -> Iterator[str]:
    low = view.lower()
    for match in _URL.finditer(low):
        host = normal_host(match[2])
        if host and (match[1] or "." in host or host == "localhost"):
            yield host
        elif match[1]:
            yield match[2]  # no proper name, but something is to be reached there
    for pattern, group in ((_LOOSE_HTTP, 1), (_ADDRESS, 2)):
        for match in pattern.finditer(low):
            host = normal_host(match[group])
            if host:
                yield host
    for match in _BARE.finditer(low):
        if match[2] in _TOP_LEVEL or match[2].startswith("xn--") or match[3] or match[1].startswith("www."):
            host = normal_host(match[1])
            if host:
                yield host
    for match in _IPV4.finditer(low):
        if all(int(part) < 256 for part in match[1].split(".")):
            yield match[1]


def normal_host(authority: str) -> str | None:
    """The host of `user:password@host:port`, lower case, in punycode, without `www.` and final dot; None if
    it is none."""
    host = authority.rpartition("@")[2].strip().rstrip(".,;:!)]}") if "[" not in authority else authority
    if "[" in host:
        inner = host[host.find("[") + 1 :].partition("]")[0]
        return inner.lower() if re.fullmatch(r"[0-9a-f:.]{2,}", inner.lower()) else None
    host = re.sub(r":\d*$", "", host).rstrip(".").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return host or None
    host = host.removeprefix("www.")
    return host if _HOST.fullmatch(host) else None


def strings_in(value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, with the key it stands under (empty at the top); keys are texts too."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, item = stack.pop()
        if isinstance(item, str):
            yield key, item
        elif isinstance(item, dict):
            for inner, content in reversed(item.items()):
                stack.append((str(inner), content))
                yield "", str(inner)
        elif isinstance(item, list):
            stack.extend((key, content) for content in reversed(item))


def hosts_of_call(arguments: Any) -> tuple[str, ...]:
    """Hosts named in a call's arguments. A value under a key such as `url` or `host` is a host even if it
    does not look like one elsewhere (`evil.me`, `intranet`)."""
    found: dict[str, None] = {}
    for key, text in strings_in(arguments):
        for host in hosts_in(text):
            found.setdefault(host, None)
        place = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
        if key and _PLACE_KEYS.search(place):
            stripped = re.sub(r"^[a-z][a-z0-9+.\-]*:(?=[/\\])", "", _plain(text).strip().lower()).lstrip("/\\")
            authority = re.split(r"[/\\?#]", stripped, maxsplit=1)[0]
            named = normal_host(authority) if authority and not re.search(r"\s", authority) else None
            if named:
                found.setdefault(named, None)
    return tuple(found)
