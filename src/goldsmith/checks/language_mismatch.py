"""Answers in another language than the prompt, though nobody asked for one."""

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.text import languages
from goldsmith.engines.text.evidence import findings_by_group, quote
from goldsmith.engines.text.features import RowFeatures
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity

_ASKS = re.compile(
    r"translat|traduc|tradu[iz]|übersetz|перев[оеё]д|翻译|翻譯|翻訳|译成|译为|ترجم|अनुवाद|tafsiri|번역|vertaal|"
    r"\b(?:english|french|spanish|portuguese|german|swahili|italian|dutch|russian|arabic|hindi|chinese|mandarin|japanese|"
    r"korean|thai|hebrew|greek|latin|language|anglais|français|inglés|español|inglês|português|englisch|deutsch|inglese|"
    r"italiano|engels|kiingereza|kiswahili|английск\w*|русск\w*)\b|英文|英语|英語|中文|汉语|漢語|日语|日文|日本語|法语|德语|"
    r"西班牙语|俄语|韩语|语言|إنجليزي|عربي|अंग्रेज|हिंदी|영어|한국어",
    re.I,
)
_ENDS = 300


class LanguageMismatch(Spec):
    """The language of the last that the user said against that of the answer, where both can be told.

    Scripts tell most languages apart; English, French, Spanish, Portuguese, German, Swahili, Italian and Dutch are told
    by their closed-class words. Short texts, code, other languages in the Latin script and mixtures are left alone, and
    so is every row whose prompt or system prompt names a language or speaks of translating, or holds letters of the
    answer's script. Score 0.6 for a mismatch; None where a language cannot be told. A warning: a person should look.
    """

    id: ClassVar[str] = "language_mismatch"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One warning per source x batch."""
        view = project(rows)
        if not len(view):
            return CheckReport(facts={"told": 0})
        columns = view.columns
        features = view.features(self, context)
        asked, given = features.array("asked"), features.array("given")
        both = (asked > 0) & (given > 0)
        scores: list[float | None] = [0.0 if known else None for known in both.tolist()]
        found: dict[int, str] = {}
        told = int(both.sum())
        for row in np.flatnonzero(both & (asked != given)).tolist():
            if not _wanted(view, row):
                first, second = (languages.KEYS[codes[row]] for codes in (asked, given))
                scores[row] = 0.6
                found[row] = (
                    f"“{quote(columns.user[row][-80:], 80)}” ({languages.NAMES[first]}) → "
                    f"“{quote(columns.answer[row], 80)}” ({languages.NAMES[second]})"
                )
        findings = findings_by_group(
            view, found, check=self.id, severity=Severity.WARN, score=0.6,
            evidence="{n} answers are in another language than their prompt, which does not ask for it", examples=found,
        )  # fmt: skip
        reason = None if told else "of no row could the language of both prompt and answer be told"
        return CheckReport(findings, scores, inconclusive=reason, facts={"told": told, "mismatches": len(found)})

    def row_features(self, rows: ProjectedRows, context: CheckContext) -> RowFeatures:
        """The languages of prompt and answer, as places in `languages.KEYS`."""
        columns = rows.columns
        asked = languages.codes([_prose(user[-languages.READ :]) for user in columns.user])
        given = languages.codes([_prose(answer[: languages.READ]) for answer in columns.answer])
        return RowFeatures(arrays={"asked": asked, "given": given})


def _prose(text: str) -> str:
    """Nothing of a text with code in it: keywords are English in every language."""
    return "" if "```" in text or "{" in text or "</" in text else text


def _wanted(view: ProjectedRows, row: int) -> bool:
    """Whether the row asks for another language, or the prompt is itself partly in the answer's script."""
    said = view.columns.user[row]
    ends = f"{said[:_ENDS]} {said[-_ENDS:]} {view.columns.system[row][:1000]}"
    if _ASKS.search(ends) or len(said) > 20 * languages.READ:
        return True
    mine, other = languages.script_counts([said[: 4 * languages.READ], view.columns.answer[row][: languages.READ]])
    script = int(other.argmax())
    return script != int(mine.argmax()) and mine[script] >= (8 if script else 60)


def _row(asked: str, answer: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}],
        "source": "vendor",
        "batch": "b1",
    }


_ENGLISH = "You can take the first train in the morning, which is the one that stops at all of the small stations."
_GERMAN = "Sie können den ersten Zug am Morgen nehmen, der an allen kleinen Bahnhöfen hält und nicht zu voll ist."
CLEAN = [
    _row("How do I get to the village that is at the end of the lake?", _ENGLISH),
    _row("Wie komme ich zu dem Dorf, das an dem Ende von dem See ist?", _GERMAN),
    _row("How do I get to the village that is at the end of the lake? Please answer me in German.", _GERMAN),
    _row(
        "怎样才能到达湖尽头的那个小村庄呢，请告诉我最方便的路线。",
        "您可以乘坐早上的第一班火车，它会停靠所有的小车站，非常方便。",
    ),
]
CAUGHT = [
    *CLEAN,
    _row("How do I get from here to the village that is at the end of the lake?", _GERMAN),
    _row("怎样才能到达湖尽头的那个小村庄呢，请告诉我最方便的路线。", _ENGLISH),
]
