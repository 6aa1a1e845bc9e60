"""Presidio's pattern recognisers behind our kinds of personal data (`pip install 'goldsmith[presidio]'`).

They are run without a language model: what is covered is what Presidio finds by pattern and check digit (mail
addresses, phone numbers, cards, bank accounts, IP addresses, national numbers). Its recognition of names, places and
dates, and its raising of scores by context words, need a spaCy model and are not used. Nothing is fetched from the
network.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from goldsmith.types.errors import Unavailable

_KINDS: Final = {
    "EMAIL_ADDRESS": "email address",
    "PHONE_NUMBER": "phone number",
    "CREDIT_CARD": "payment card",
    "IBAN_CODE": "bank account",
    "IP_ADDRESS": "IP address",
    "US_SSN": "national id",
    "US_ITIN": "national id",
    "UK_NHS": "national id",
    "UK_NINO": "national id",
    "ES_NIF": "national id",
    "ES_NIE": "national id",
    "IT_FISCAL_CODE": "national id",
    "IN_AADHAAR": "national id",
    "SG_NRIC_FIN": "national id",
    "AU_TFN": "national id",
    "PL_PESEL": "national id",
    "FI_PERSONAL_IDENTITY_CODE": "national id",
}
_LONGEST = 20_000


def presidio_data(text: str, least_score: float) -> Iterator[tuple[str, str]]:
    """(kind, value) of what Presidio's patterns find with at least this score, the surer of two that overlap.

    Only the first 20,000 characters are read: some patterns are slow on long runs. Raises Unavailable without Presidio.
    """
    text = text[:_LONGEST]
    hits = [
        hit
        for recogniser in _recognisers()
        for hit in recogniser.analyze(text, recogniser.supported_entities, None)
        if hit.entity_type in _KINDS and hit.score >= least_score
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.start, -hit.end, hit.entity_type))
    taken: list[tuple[int, int]] = []
    for hit in hits:
        if all(hit.end <= start or hit.start >= end for start, end in taken):
            taken.append((hit.start, hit.end))
            yield _KINDS[hit.entity_type], text[hit.start : hit.end]


@cache
def _recognisers() -> tuple[Any, ...]:
    try:
        import tldextract
        from presidio_analyzer import RecognizerRegistry
    except ImportError as error:
        raise Unavailable(
            "Presidio is not installed",
            where="check personal_data, engine: presidio",
            next_step="pip install 'goldsmith[presidio]', or leave `engine` out to use the built-in recognisers",
        ) from error
    # The list of top-level domains that comes with the package, instead of a download.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    return tuple(one for one in registry.recognizers if not _KINDS.keys().isdisjoint(one.supported_entities))
