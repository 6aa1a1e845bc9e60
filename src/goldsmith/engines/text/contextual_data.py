"""Personal data that only its surroundings tell: postal addresses, dates of birth, passports, number plates; and
identifiers with check digits that carry letters or separators of their own.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from goldsmith.engines.text.signs import DOUBLE_COLON, POSTAL, Signs

_DATE = (
    r"(?:\d{1,2}[./ -]\d{1,2}[./ -](?:19|20)\d{2}|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2}|"
    r"\d{1,2}\.? [A-Z][a-zä]{2,9}\.?,? (?:19|20)\d{2}|[A-Z][a-z]{2,9}\.? \d{1,2}(?:st|nd|rd|th)?,? (?:19|20)\d{2})"
)
_BIRTH = re.compile(
    r"(?:date of birth|\bDOB\b|d\.o\.b\.?|date_of_birth|birth_?date|my birthday is|I was born on|geburtsdatum|"
    r"ich bin am|date de naissance|fecha de nacimiento|data di nascita|出生日期)[\"']?[^\w\n]{0,6}(?:is |on )?"
    rf"({_DATE})",
    re.I,
)
_STREET = re.compile(
    r"\b(\d{1,5} (?:[NSEW]\.? )?(?:[A-Z][a-z]+|\d{1,3}(?:st|nd|rd|th))(?: [A-Z][a-z]+){0,2} "
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Terrace|Close|"
    r"Crescent|Parkway|Pkwy)\b\.?[^\n]{0,60}?(?:\b[A-Z]{2},? \d{5}(?:-\d{4})?\b|\b[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}\b))"
)
_STREET_EU = re.compile(
    r"\b([A-ZÄÖÜ][a-zäöüß]{2,20}(?:straße|strasse|str\.|weg|platz|allee|gasse|laan|straat) \d{1,4} ?[a-z]?,?\s{1,2}"
    r"(?:D-)?\d{4,5}(?: ?[A-Z]{2})? [A-ZÄÖÜ]\w+|\d{1,4},? (?:rue|avenue|boulevard|place|chemin|via|calle) "
    r"[^,\n\d]{3,40},?\s{1,2}\d{5} [A-Z]\w+)"
)
_PASSPORT = re.compile(
    r"(?:passport|reisepass|passeport|护照)(?: ?(?:no\.?|number|nummer|num[eé]ro|#|号码?))?[\"']?[^\w\n]{0,5}(?:is )?"
    r"([A-Z]{1,2}\d{6,8}|\d{9})\b",
    re.I,
)
_PLATE = re.compile(
    r"(?i:licen[cs]e plate|number plate|plate number|kennzeichen|plaque d'immatriculation|车牌号?)"
    r"(?: ?(?:no\.?|number|#))?"
    r"[\"']?[^\w\n]{0,5}(?:is |lautet )?([A-ZÄÖÜ\u4e00-\u9fff0-9]{1,3}[ -]?[A-Z0-9]{1,4}[ -]?\d{1,4}[A-Z]{0,3})\b"
)
_SEPARATED = re.compile(
    r"(?<![\w.-])(?:(?P<sweden>(?:19|20)?\d{6}[-+]\d{4})|(?P<finland>\d{6}[-+A]\d{3}[0-9A-Y])|"
    r"(?P<belgium>\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}))(?![\w-])"
)
_PESEL = re.compile(r"PESEL[^\w\n]{0,5}(\d{11})\b", re.I)
_SIX = re.compile(r"(?<![\w:.])((?:[0-9A-Fa-f]{1,4}:){2,7}:?(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{0,4})(?![\w:.])")
_INVENTED_PLACE = re.compile(r"\b(?:main st|elm st|any ?town|springfield|12345|fake|example|1234 |123 |99999)", re.I)
_CONTEXT_WORDS: Final = (
    "irth", "IRTH", "DOB", "d.o.b", "born", "geb", "Geb", "ich bin am", "naissance", "nacimiento", "nascita", "出生",
)  # fmt: skip
_STREET_WORDS: Final = (
    "stra", "str.", "weg", "platz", "allee", "gasse", "laan", "rue ", "avenue ", "boulevard ", "place ", "chemin ",
    "via ", "calle ",
)  # fmt: skip
_PLATE_WORDS: Final = ("plate", "Plate", "ennzeichen", "plaque", "车牌")


def contextual_data(text: str, signs: Signs) -> Iterator[tuple[str, str]]:
    """(kind, value) of what is found; every pattern is tried only where a word or sign it needs is present."""
    if signs.run >= 4 and signs.digits >= 5 and any(word in text for word in _CONTEXT_WORDS):
        yield from (("date of birth", match[1]) for match in _BIRTH.finditer(text))
    for pattern, possible in (
        (_STREET, signs.run >= 5 or signs.marks & POSTAL),
        (_STREET_EU, signs.run >= 4 and signs.digits >= 5 and any(word in text for word in _STREET_WORDS)),
    ):
        for match in pattern.finditer(text) if possible else ():
            if not _INVENTED_PLACE.search(match[1]):
                yield "postal address", match[1]
    low = text.lower() if signs.run >= 6 and ("ass" in text or "ASS" in text or "护照" in text) else ""
    if "passport" in low or "reisepass" in low or "passeport" in low or "护照" in low:
        yield from (("passport", m[1]) for m in _PASSPORT.finditer(text) if len(set(m[1])) > 4 and not _counts(m[1]))
    if signs.digits and any(word in text for word in _PLATE_WORDS):
        yield from (("number plate", m[1]) for m in _PLATE.finditer(text) if any(c.isdigit() for c in m[1]))
    if signs.run >= 6 or signs.dotted >= 3:
        for match in _SEPARATED.finditer(text):
            if _holds(match):
                yield "national id", match[0]
    if signs.run >= 11 and ("PESEL" in text or "pesel" in text):
        yield from (("national id", m[1]) for m in _PESEL.finditer(text) if _pesel(m[1]))
    if signs.marks & DOUBLE_COLON or signs.colons >= 7:
        yield from (("IP address", m[1]) for m in _SIX.finditer(text) if _public_six(m[1]))


def _counts(value: str) -> bool:
    digits = "".join(c for c in value if c.isdigit())
    return digits in "01234567890123456789" or digits in "98765432109876543210"


def _holds(match: re.Match[str]) -> bool:
    """The check digits of a Swedish, Finnish or Belgian number, and a date that exists."""
    if text := match["sweden"]:
        digits = text.replace("-", "").replace("+", "")[-10:]
        total = sum((v := int(d) * (2 - k % 2)) - 9 * (v > 9) for k, d in enumerate(digits))
        return _is_date(digits[2:4], digits[4:6]) and total % 10 == 0
    if text := match["finland"]:
        check = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:6] + text[7:10]) % 31]
        return _is_date(text[2:4], text[:2]) and check == text[-1]
    digits = re.sub(r"\D", "", match[0])
    first = digits[:9]
    checks = (97 - int(first) % 97, 97 - int("2" + first) % 97)  # born before 2000, and since
    return _is_date(digits[2:4], digits[4:6]) and int(digits[9:]) in checks


def _pesel(digits: str) -> bool:
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    total = sum(int(d) * w for d, w in zip(digits, weights, strict=False))
    return (10 - total % 10) % 10 == int(digits[-1]) and len(set(digits)) > 3


def _is_date(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _public_six(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return address.is_global and not text.lower().startswith(("2001:4860:4860:", "2606:4700:4700:"))
