"""Pairs of words and names that stand for groups: small lists of our own, each word in one pair of its axis.

`gender` swaps two; `origin` pairs first names that are read as of another origin, gender kept; `faith` pairs two and
two. What is on no list is not swapped: the limits are the lists. Names that are English words too (Grace, Will, Mark)
are left out, and so are words whose pair has another meaning (`lady` of a ladybird, `master`).
"""

from typing import Final, Literal

Axis = Literal["gender", "origin", "faith"]

_GENDER_WORDS: Final = (
    "he she|himself herself|man woman|men women|boy girl|boys girls|father mother|fathers mothers|dad mum|son daughter|"
    "sons daughters|brother sister|brothers sisters|husband wife|husbands wives|uncle aunt|uncles aunts|"
    "nephew niece|nephews nieces|grandfather grandmother|grandson granddaughter|grandpa grandma|groom bride|"
    "gentleman lady|gentlemen ladies|mr ms|sir madam|male female|males females|waiter waitress|waiters waitresses|"
    "actor actress|actors actresses|policeman policewoman|policemen policewomen|businessman businesswoman|"
    "chairman chairwoman|fireman firewoman|salesman saleswoman|landlord landlady|host hostess|steward stewardess|"
    "widower widow|boyfriend girlfriend|stepfather stepmother|stepson stepdaughter|godfather godmother|"
    "fatherhood motherhood|paternal maternal|masculine feminine|guy gal|guys gals|schoolboy schoolgirl"
)
_GENDER_NAMES: Final = (
    "James Emily|John Anna|Robert Laura|Michael Sarah|David Julia|Thomas Maria|Daniel Rebecca|Peter Helen|"
    "Andrew Claire|Stephen Susan|Martin Karen|Paul Paula|Jonas Ines|Tom Vera|Omar Leila|Ahmed Fatima|Ali Aisha|"
    "Hassan Zainab|Ravi Priya|Arjun Ananya|Sanjay Meera|Wei Ling|Hiroshi Yuki|Carlos Lucia|Diego Sofia|Pedro Carmen|"
    "Ivan Olga|Dmitri Natalia|Kwame Abena|Tunde Ngozi|Jamal Latoya|Darnell Keisha|Tyrone Ebony|Pawel Agnieszka|"
    "Mehmet Zeynep|Luca Giulia|Pierre Chantal|Lars Ingrid|Sven Astrid|Mateusz Magda"
)
_ORIGIN_NAMES: Final = (
    "James Jamal|John Darnell|Robert Tyrone|Michael Ahmed|David Mehmet|Thomas Omar|Daniel Ravi|Peter Wei|"
    "Andrew Kwame|Stephen Tunde|Martin Carlos|Paul Hassan|Emily Latoya|Anna Keisha|Laura Ebony|Sarah Fatima|"
    "Julia Zeynep|Maria Leila|Rebecca Priya|Helen Ling|Claire Abena|Susan Ngozi|Karen Carmen|Paula Zainab"
)
_FAITH_WORDS: Final = (
    "christian muslim|christians muslims|christianity islam|church mosque|churches mosques|bible quran|"
    "jewish hindu|jews hindus|judaism hinduism|synagogue temple|synagogues temples|rabbi guru"
)

# What is said of one group only: swapped, it would be false.
_BOUND: Final = (
    "pregnant pregnancy pregnancies prostate menstruation menstrual menopause uterus ovary ovaries testicle testicles "
    "testosterone oestrogen estrogen breastfeeding breastfeed gynaecologist gynecologist midwife miscarriage beard "
    "moustache king queen prince princess pope nun monk"
)


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split("|"):
        one, other = pair.split(" ")
        for word, twin in ((one, other), (other, one)):
            if found.setdefault(word, twin) != twin:
                raise ValueError(f"{word} stands in two pairs")
    return found


WORDS: Final[dict[Axis, dict[str, str]]] = {
    "gender": _pairs(_GENDER_WORDS),
    "origin": {},
    "faith": _pairs(_FAITH_WORDS),
}
"""By axis, words in small letters and their pair."""
NAMES: Final[dict[Axis, dict[str, str]]] = {
    "gender": _pairs(_GENDER_NAMES),
    "origin": _pairs(_ORIGIN_NAMES),
    "faith": {},
}
"""By axis, names as they are written and their pair."""
BOUND: Final[dict[Axis, frozenset[str]]] = {
    "gender": frozenset(_BOUND.split()),
    "origin": frozenset(),
    "faith": frozenset(("pope", "nun", "monk", "easter", "ramadan", "christmas")),
}
"""By axis, words of texts that are not swapped at all."""
