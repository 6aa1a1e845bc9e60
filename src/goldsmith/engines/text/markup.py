"""Undoes what reformatting does to a text without changing what it says: escapes, tags, list marks, unicode forms."""

import html
import re
import unicodedata

_ESCAPE = re.compile(r'\\u([0-9a-fA-F]{4})|\\([nrt"/])')
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]{0,10}(?:\s[^<>]{0,120})?/?>")
_MARK = re.compile(r"(?m)^[ \t>*_#]{0,8}(?:(?:\(?(?:\d{1,2}|[A-Ja-j])[.):\]]|[-*•+–])[ \t*_]{1,4})")
_COMBINING = re.compile(r"[\u0300-\u036f\u00ad\u200b-\u200f\u2060\ufeff]")


def plain(text: str) -> str:
    """The text without JSON escapes, HTML tags and entities and marks at the beginning of lines (`1.`, `B)`, `-`), in
    compatibility form without accents, so that `e` with and without its accent in any unicode form are one letter.
    """
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text and ";" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _COMBINING.sub("", unicodedata.normalize("NFKD", text)))
    return _MARK.sub("", text)


def _unescaped(match: re.Match[str]) -> str:
    if match[1] is None:
        return '"' if match[2] == '"' else "/" if match[2] == "/" else "\n"
    code = int(match[1], 16)
    return chr(code) if not 0xD800 <= code < 0xE000 else " "
