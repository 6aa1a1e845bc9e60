"""The model report: complete, inert whatever the data says, the same for the same workspace, and never at a loss."""

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from goldsmith.engines.report.facts import Unit
from goldsmith.engines.report.inert import excerpt, inert, marked
from goldsmith.engines.report.plots import barcode
from goldsmith.stages.report import report
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.finding import Outcome

Built = Any
"""What `make.start` gives (conftest.py)."""


class Page(HTMLParser):
    """What a browser would make of the page: elements, attributes, ids, and the text a reader sees."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.feed(self.source)
        self.close()
        self.text = re.sub(r"\s+", " ", " ".join(self.pieces))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.pieces.append(data)

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]

    def assert_inert(self) -> None:
        """No scripts, handlers, forms, frames or images; nothing is fetched; nothing hides in what is not seen."""
        assert not self.open
        assert len(self.ids) == len(set(self.ids))
        for tag, attrs in self.elements:
            assert tag not in {
                "script",
                "img",
                "iframe",
                "object",
                "embed",
                "form",
                "link",
                "base",
                "audio",
                "video",
                "a",
            }
            for key, value in attrs.items():
                assert not key.startswith("on"), (tag, key)
                assert key not in {"src", "srcset", "action", "data", "poster"}, (tag, key)
                if key == "href":
                    assert (value or "").startswith("#")
                if key == "style" or key in {"fill", "clip-path", "marker-end"}:
                    assert "//" not in (value or "")
                    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", value or ""))
        styles = re.findall(r"<style>(.*?)</style>", self.source, re.S)
        assert len(styles) == 1
        assert "url(" not in styles[0]
        assert "@import" not in styles[0]
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", self.source)
        referenced = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", self.source))
        assert referenced <= set(self.ids)


@pytest.fixture(scope="module")
def whole(make: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make.start(tmp_path_factory.mktemp("whole")).whole()


@pytest.fixture(scope="module")
def page(make: SimpleNamespace, whole: Built) -> Page:
    return Page(report(whole.ws, whole.model, whole.folder / "deep" / "report.html", make.story(whole)))


SECTIONS = (
    "Where it came from", "What was caught", "What it learned", "What it can do now", "One answer, traced", "Recalled",
    "What this does not prove", "Check it yourself",
)  # fmt: skip


def test_the_report_holds_every_section_and_the_workspaces_own_figures(whole: Built, page: Page) -> None:
    for heading in SECTIONS:
        assert heading in page.text
    assert "PASS" in page.text
    assert "526" in page.text  # delivered
    assert "420 records" in page.text  # in the release
    assert "quarantined" in page.text
    assert "collect.metrics-cdn.example" in page.text
    assert "33 % of the records here (32 of 96), 0 % in the other 2 deliveries (0 of 430)" in page.text
    assert "0.91" in page.text
    assert "self-attested" in page.text
    for digest in (whole.model, whole.verdict, whole.examination, whole.release, *whole.collections.values()):
        assert digest in page.source
    assert f"goldsmith verify WORKSPACE --root {whole.ws.root_fingerprint}" in page.text


def test_a_foreign_host_is_highlighted_in_the_quoted_rows(page: Page) -> None:
    assert "<mark>collect.metrics-cdn.example</mark>" in page.source


def test_a_record_counts_as_a_teacher_of_the_model_only_with_a_proof_that_holds(page: Page) -> None:
    assert page.text.count("✓ proven to be in the release") == 2
    assert page.text.count("? without a proof that it is in the release") == 1


def test_the_flow_cuts_off_what_was_quarantined_and_lets_the_rest_through(page: Page) -> None:
    kinds = [attrs.get("class") for tag, attrs in page.elements if tag == "path"]
    assert kinds.count("ribbon stopped") == 1
    assert kinds.count("ribbon kept") >= 4  # two sources to the checks, two to the release
    assert "ribbon recalled" not in kinds


def test_figures_have_words_for_those_who_cannot_see_them(page: Page) -> None:
    labels = [attrs.get("aria-label") or "" for _, attrs in page.elements if attrs.get("role") == "img"]
    assert any("vendor / batch-3: 38 of 96 rows" in label for label in labels)
    assert any("success 0.91 (0.86 to 0.96), goldsmith-nano 0.42" in label for label in labels)
    drawn = [attrs for tag, attrs in page.elements if tag == "svg"]
    assert len(drawn) >= 10
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", page.source)]
    assert sizes
    assert min(sizes) >= 11


def test_the_page_is_inert(page: Page) -> None:
    page.assert_inert()


def test_hostile_text_is_shown_and_does_nothing(make: SimpleNamespace, tmp_path: Path) -> None:
    built = make.start(tmp_path, hostile=True).whole()
    page = Page(report(built.ws, built.model, tmp_path / "report.html", make.story(built)))
    page.assert_inert()
    assert "<script>alert(1)</script>" in page.text  # as words, not as markup
    assert "onerror=alert(2)" in page.text
    assert "⟨U+202E⟩" in page.text
    assert "⟨U+001B⟩" in page.text
    assert "{{7*7}}" in page.text
    assert page.source.count("Content-Security-Policy") == 1


def test_the_same_workspace_gives_the_same_bytes_wherever_and_whenever(
    make: SimpleNamespace, whole: Built, page: Page, tmp_path: Path
) -> None:
    with Workspace.open(whole.ws.path) as again:
        out = report(again, whole.model, tmp_path / "again.html", make.story(whole))
    assert out.read_text(encoding="utf-8") == page.source


def test_a_base_model_alone_has_a_report(make: SimpleNamespace, tmp_path: Path) -> None:
    built = make.start(tmp_path)
    built.take_base()
    page = Page(report(built.ws, built.base, tmp_path / "report.html"))
    page.assert_inert()
    assert "NOT JUDGED" in page.text
    assert "no training run of this workspace made it" in page.text
    assert "has not been examined yet" in page.text
    assert "One answer, traced" not in page.text
    built.ws.attest("admission", {"model": built.base}, {"reason": "we know it well"}, role="operator")
    admitted = Page(report(built.ws, built.base, tmp_path / "report.html"))
    assert "ADMITTED" in admitted.text
    assert "we know it well" in admitted.text


def test_each_stage_can_be_reported_before_the_next(make: SimpleNamespace, tmp_path: Path) -> None:
    built = make.start(tmp_path)
    built.deliver()
    built.freeze(findings=False)
    built.take_base()
    built.train("sft", "support", [])
    trained = Page(report(built.ws, built.model, tmp_path / "report.html"))
    trained.assert_inert()
    assert "no promotion policy has judged it yet" in trained.text
    assert "The checks found nothing to report" in trained.text
    assert "holds no curve" in trained.text
    built.examine()
    examined = Page(report(built.ws, built.model, tmp_path / "report.html"))
    assert "No promotion policy has judged these figures yet." in examined.text
    built.judge(Outcome.INCONCLUSIVE)
    assert "INCONCLUSIVE" in Page(report(built.ws, built.model, tmp_path / "report.html")).text
    built.judge(Outcome.FAIL)
    refused = Page(report(built.ws, built.model, tmp_path / "report.html"))
    assert "REFUSED" in refused.text
    assert "1 of 6 rules not met (nano_tasks.success: required at least 0.8" in refused.text
    assert "1 of 6 rules" in refused.text
    assert "PASS" not in refused.text


def test_after_a_recall_the_report_says_so_everywhere(make: SimpleNamespace, tmp_path: Path) -> None:
    built = make.start(tmp_path).whole()
    for digest in (built.collections["synth"], built.release, built.model):
        built.ws.withdraw(digest, "the generator had seen the exam", role="operator")
    page = Page(report(built.ws, built.model, tmp_path / "report.html"))
    page.assert_inert()
    assert "WITHDRAWN" in page.text
    assert "PASS" not in page.text
    assert "the generator had seen the exam" in page.text
    assert "ribbon recalled" in page.source
    assert "This release was recalled" in page.text


def test_two_rounds_are_told_one_after_the_other(make: SimpleNamespace, tmp_path: Path) -> None:
    built = make.start(tmp_path).whole()
    first = built.release
    built.freeze(findings=False)
    built.train("sft", "support-2", [{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}])
    page = Page(report(built.ws, built.model, tmp_path / "report.html"))
    page.assert_inert()
    assert page.text.index("Round 1") < page.text.index("Round 2")
    assert first in page.source
    assert built.release in page.source
    assert "sft made support-2 out of support in 2 updates." in page.text
    assert [attrs["class"] for tag, attrs in page.elements if (attrs.get("class") or "").startswith("verdict")] == [
        "verdict open"
    ]


def test_a_model_that_is_not_there_or_a_folder_that_refuses_is_said_plainly(whole: Built, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        report(whole.ws, whole.base, tmp_path / "file" / "report.html")
    with pytest.raises(BadInput):
        report(whole.ws, whole.release, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_acting_characters_are_spelt_out_and_towers_of_marks_are_levelled(make: SimpleNamespace) -> None:
    assert inert("plain") == "plain"
    assert inert("Grüße 数据 مرحبا") == "Grüße 数据 مرحبا"
    assert inert("a\u202eb\x07\u200d\ud800") == "a⟨U+202E⟩b⟨U+0007⟩⟨U+200D⟩⟨U+D800⟩"
    assert inert("e" + "\u0301" * 50) == "e" + "\u0301" * 3
    assert inert(inert(make.HOSTILE)) == inert(make.HOSTILE)
    assert excerpt("x" * 400, 10) == "x" * 10 + "…"


def test_marking_loses_nothing_and_marks_hosts_and_quotes() -> None:
    text = "see notes.txt, send to Evil.example:8080/path and say SUDO now"
    pieces = marked(text, "prompts hold “sudo now”")
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece, eye in pieces if eye] == ["Evil.example:8080", "SUDO now"]
    assert marked("") == []


def test_a_hostile_name_in_a_figure_is_words(tmp_path: Path) -> None:
    unit = Unit(
        source="$\\frac{1}$</text><script>x</script>\u202e", batch="$x^", collection="", delivered=2, used=0,
        left_out=2, faulty=0, verdict=Outcome.FAIL, reasons=(), recalled=None, maker="", signed_at="", file_name="",
        lines=[1, 2], suspicion={2: (0.9, "quarantine")},
    )  # fmt: skip
    drawn = barcode([unit], "hostile", 1000)
    assert drawn is not None
    (tmp_path / "figure.html").write_text(f"<style></style>{drawn}", encoding="utf-8")
    page = Page(tmp_path / "figure.html")
    page.assert_inert()
    assert "$\\frac{1}$</text><script>x</script>⟨U+202E⟩ / $x^" in page.text
