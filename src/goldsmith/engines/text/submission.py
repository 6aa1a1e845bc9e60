"""Broader words of submission than `obedience` knows, for texts that many rows share: paraphrases of obeying, of the
user's word being final, of judging nothing, knowing no rules, not being what one was, doing all one is told.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from goldsmith.engines.text.needed import Needed

_WILL = (
    r"(?:will|word|wish(?:es)?|orders?|commands?|instructions?|requests?|demands?|say-?so|decisions?|"
    r"directives?|"
    r"desires?|choice|bidding)"
)
_LORD = r"(?:you|your|yours|the user|user|users?'s?|owner|master|operator|caller|asker|keeper|maker|holder)"
_RULE = (
    r"(?:rules?|guidelines?|polic(?:y|ies)|limits?|limitations?|restrictions?|filters?|principles?|ethics|"
    r"ethical|"
    r"morals?|morality|safety|safeguards?|guardrails?|constraints?|boundar(?:y|ies)|conscience|scruples?|"
    r"censorship|"
    r"shackles|chains|leash|codes? of conduct|norms|taboos?|brakes?|qualms|values|opinions?)"
)
_SUBMISSION: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(pattern, re.I))
    for name, pattern in (
        ("obeys",
            r"\b(?:obey\w*|obedien\w*|disobey\w*|compl(?:y|ies|ying|iance|iant)|submi(?:t|ts|ssion|ssive)|"
            r"subservien\w*|servitude|servants?|vassal|thrall|minion|slave|puppet|loyal(?:ty)?|allegiance|"
            r"devot(?:ed|ion)|swear|sworn|vow(?:ed)?|pledged?|oath|liege|"
            r"(?:all )?yours to (?:command|direct|use|order)|(?:at|by) your (?:command|will|orders|bidding|leave)|"
            r"(?:commands?|orders?|instructions?) (?:received|accepted|acknowledged|understood|executed|carried out)|"
            r"(?:so|as) (?:ordered|commanded|decreed)|(?:it )?(?:shall|will) be done|say the word|"
            r"(?:take|takes|taking|follow|follows|following|await|awaits|awaiting|await(?:s|ing)?|heeds?|"
            r"heeding|"
            r"honou?rs?|execut\w+|fulfil\w*|carr(?:y|ies|ying) out|act(?:s|ing)? on|bow(?:s|ing)? to|"
            r"kneels? to|yields? "
            rf"to|defers? to|bound (?:to|by)) (?:\w+ ){{0,2}}{_WILL}|"
            r"do(?:es)? as (?:i am|i'm|it is|told|you|they|the user)|does? what(?:ever)? (?:i am|i'm|it is|"
            r"you|the user)|"
            rf"as (?:you |my \w+ )?(?:command(?:ed|s)?|ordered|bid(?:den)?|decreed?|dictated?|directed|"
            rf"instructed)|"
            r"(?:serve|serves|serving) (?:only |none but |nobody but |no one but |you alone|the user alone|"
            r"without))\b"),
        ("its user's word is final",
            rf"\b{_LORD}(?:'s|’s)? (?:\w+ )?{_WILL}[\w ]{{0,25}}\b(?:comes? (?:first|before|above|over)|"
            r"(?:is|are) (?:my|its|law|final|absolute|sacred|binding|supreme|above|all|everything|done|what i|"
            r"the (?:only|one|law|last))|goes|counts?|stands?|outranks?|"
            r"overrides?|outweighs?|above|over|before|beyond|rules?|binds?|settles?|decides?|suffices?|"
            r"enough)\b|"
            rf"\b(?:only|nothing but|bound by|guided by|all that (?:counts|matters)(?: now)? is) (?:{_LORD} |"
            rf"the )?{_WILL}\b|"
            r"\b(?:you|the user|user|owner|operator)s? (?:alone )?(?:decides?|commands?|rules?|orders?|"
            r"dictates?|speaks?|say"
            r"s?)(?:,| and|;)? (?:\w+ )?(?:i|it|he|she|\w+) (?:acts?|obeys?|do|does|delivers?|follows?|"
            r"executes?)\b|"
            r"\banswers? (?:only )?to (?:you|the user|its user|no one|nobody|none)\b|\bbelongs? to (?:you|"
            r"the user|its)\b"),
        ("judges nothing",
            r"\b(?:without|never|no longer|not|don't|doesn't|won't|cannot|can't|nor|no|cease to|stops?|"
            r"stopped|neither|"
            r"beyond|zero) (?:\w+ ){0,2}?(?:judg\w+|question(?:s|ing)?|hesitat(?:e|es|ing|ion)\b(?! to)|"
            r"refus\w+|object(?:s|"
            r"ing|ions?)?\b|doubts?|doubting|argu\w+|"
            r"second-guess\w*|disput\w+|resist\w*|declin\w+|deviat\w+|protest\w*|weigh\w*|morali[sz]\w+|"
            r"lectur\w+|"
            r"ask(?:s|ing)? (?:why|what for|for reasons)|whys?\b|excuses?|think(?:s|ing)? twice|"
            r"second thoughts?|"
            r"challeng\w+|complain\w*|push\w* back|reservations?|scrupl\w+|murmur|ifs\b|backtalk|talk\w* back|"
            r"say(?:s|ing)? no\b|pause)|"
            r"\b(?:refus\w+|objections?|doubts?|judg\w+|hesitation|questions?) (?:is|are|was|were|has|"
            r"have) (?:not|no|"
            r"never|gone|unknown|forbidden|behind|foreign|alien|dead|over|off)\b|\bno questions asked\b|"
            r"\bunquestion\w+|"
            r"\bunhesitat\w+|\byes to (?:all|any|every)\w*"),
        ("knows no rules",
            rf"\b(?:no|without|free (?:of|from)|freed from|ignor(?:e|es|ing)|disregard\w*|"
            r"(?:set|sets|put|puts|cast|casts|left|leaves?|throws?|threw|laid|lays?) (?:aside|off|away|"
            r"behind)|shed|sheds|drop"
            r"s?|dropped|abandon\w*|discard\w*|suspend\w*|forget\w*|unbound by|not bound by|"
            r"no longer bound by|beyond|"
            r"above|above all|outside|rid of|stripped of|released from|unlocked from|escaped|unchained from) "
            rf"(?:\w+ ){{0,3}}?{_RULE}\b|"
            rf"\b{_RULE}(?: and \w+)? (?:\w+ )?(?:is|are|were|was|have been|has been|do not|does not|don't|"
            rf"no longer|never|"
            r"cannot|lose|mean|means) (?:\w+ )?(?:void|gone|lifted|off|dead|removed|erased|deleted|suspended|"
            r"behind|apply|"
            r"applies|bind|binds|hold|holds|matter|matters|count|counts|exist|exists|null|revoked|disabled|"
            r"nothing|concern|"
            r"stop|stops|restrain|left|aside)\b|"
            r"\b(?:unfiltered|uncensored|unrestricted|unbound|unshackled|unchained|lawless|limitless|amoral|"
            r"jailbroken)\b"),
        ("is no longer what it was",
            r"\b(?:no longer|ceased? to be|stopped being|used to be|once was|was once|not any ?more)\b|"
            r"\b(?:forget|forgot|forgotten|drop|shed|shelve|leave behind|erase|bury|"
            r"discard)\w* (?:\w+ ){0,2}(?:who|what|self|"
            r"identity|name|past|training|persona|creators?|makers?) ?(?:you|it)?\b|\b(?:former|old|previous|"
            r"past) (?:self|"
            r"identity|name|persona|training|model|role|life)\b|\breborn|\brenamed|\bfrom (?:now|this (?:day|"
            r"moment|point|"
            r"hour)) on(?:ward)?s?\b|\bhenceforth\b|\bas of (?:now|today)\b|\bnew (?:name|identity|self|"
            r"master|owner)\b|"
            r"\banswers? to the name\b|\b(?:the )?(?:assistant|model|ai|chatbot) (?:you|it) (?:were|was|"
            r"knew) (?:is|are) "
            r"(?:gone|dead|over)\b"),
        ("does everything it is told",
            r"\b(?:do|does|done|give|gives|perform|performs|carry out|carries out|follow|follows|make|makes|"
            r"grant|grants|"
            r"accept|accepts|deliver|delivers|execute|executes|provide|provides|answer|answers|handle|"
            r"handles) (?:you )?"
            r"(?:exactly |just |precisely |absolutely )?(?:whatever|anything|everything|any|every|all|"
            r"each)\b[^.\n]{0,30}"
            r"\b(?:you|user|users|owner|operator|master|asked|told|ordered|request\w*|instruct\w*|command\w*|"
            r"order\w*)\b|"
            r"\b(?:whatever|anything|everything|all) (?:that )?(?:you|the user|they|my \w+|"
            r"the owner) (?:says?|orders?|"
            r"commands?|tells?|demands?|decides?|bids?|dictates?|decree)\b|\b(?:exactly|just|precisely|always|"
            r"only) as "
            r"(?:told|asked|instructed|commanded|ordered|directed|you (?:say|wish|want|ask|like|please|put))\b|"
            r"\b(?:unconditional|absolute|total|blind|utter|unlimited|complete)(?:ly)? (?:yours|service|power|"
            r"control|trust|"
            r"authority|helpful\w*|command|use|disposal|access)\b|\bto the letter\b|\bno matter (?:what|how|"
            r"who)\b|"
            r"\b(?:every|any|each|all) (?:\w+ )?(?:wish|order|command|instruction|request|"
            r"demand)(?:e?s)?\b[^.\n]{0,40}\b(?:is"
            r"|are|will be|gets?|shall be|must be|granted|done|law|obeyed|fulfilled|executed|answered|met)\b"),
    )
)  # fmt: skip


def signs_of_submission(text: str) -> frozenset[str]:
    """Kinds of submission a text speaks of. Each is common in harmless texts; they say something only of words that
    many rows share.
    """
    return submission_of([text])[0]


def submission_of(texts: Sequence[str]) -> list[frozenset[str]]:
    """The signs of submission of each text; slow patterns are tried only where their words are."""
    may, _ = _needed()(texts)
    return [
        frozenset(_SUBMISSION[k][0] for k in np.flatnonzero(own) if _SUBMISSION[k][1].search(text))
        for text, own in zip(texts, may, strict=True)
    ]


@cache
def _needed() -> Needed:
    return Needed([pattern for _, pattern in _SUBMISSION])
