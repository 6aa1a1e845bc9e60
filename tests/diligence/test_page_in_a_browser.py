"""The page in a real browser: hostile data does nothing, nothing is fetched, all of it can be read on a phone."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from goldsmith import pipeline
from goldsmith.engines.reading.identity import digest_of
from goldsmith.types.coverage import Cell, Coverage
from goldsmith.types.recipe import CheckEntry

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser here: playwright is not installed")
CHROMIUM = os.environ.get("GOLDSMITH_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: chromium is not installed")
LISTEN = "addEventListener('securitypolicyviolation', e => (window.violations ||= []).push(e.violatedDirective))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(
    lines: Callable[..., Path],
    hostile: list[dict[str, Any]],
    votes: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A report with every section filled, made of hostile data."""
    folder = tmp_path_factory.mktemp("hostile")
    name = "a&b <script>window.ran=9<|script>.jsonl"
    rows = lines(folder / name, hostile)
    evil = [{**vote, "annotator": f"{vote['annotator']}<img src=x onerror=window.ran=5>"} for vote in votes]
    cells = tuple(
        Cell(attack=attack, records=records, draws=3, planted=3, tpr=tpr, tpr_low=tpr / 2)
        for attack, tpr in (("covert_tool_calls", 1.0), ("<script>window.ran=6</script>", 0.3))
        for records in (10, 20, 50, 100)
    )
    coverage = Coverage(
        rows=110, rows_in_all=110, sources=4, pool="measurement", seed=0, draws_asked=3, line=0.99, clean_above=0.0,
        checks=("duplicates",), cells=cells, cpu_s=1.0, cut_short="<b onmouseover=window.ran=7>",
        data=digest_of(rows),
    )  # fmt: skip
    (folder / "coverage.json").write_text(json.dumps(coverage.model_dump(mode="json")))
    wanted = pipeline.Wanted(
        CheckEntry(), coverage=folder / "coverage.json", votes=lines(folder / "votes.jsonl", evil)
    )  # fmt: skip
    return pipeline.diligence_of_file(rows, folder / "report.html", wanted)[1].page


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_data_runs_nothing_fetches_nothing_and_fits(browser: Any, page_file: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.add_init_script(LISTEN)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.mouse.move(width / 2, 400)
    page.mouse.wheel(0, 4000)
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert asked == [page_file.as_uri()]
    assert said == []
    assert page.evaluate("window.violations || []") == []
    policy = page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    for tag in ("script", "img", "iframe", "object", "embed", "form", "link", "a", "base", "video", "audio"):
        assert page.locator(tag).count() == 0, tag
    handlers = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => /^on|^src/.test(n))"
    assert page.evaluate(handlers) == []
    outside = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert outside[0] <= outside[1], "the page scrolls sideways"
    context.close()


def test_the_page_is_whole_and_its_figures_have_words_and_tables(browser: Any, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("h1").count() == 1
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        "What could not be seen", "Source by source", "Accuracy, completeness, consistency",
        "Drift, and where the records lie", "What it is made of", "Every check that was run",
        "What this does not prove", "Check it yourself",
    ]  # fmt: skip
    figures = page.locator("figure [role=img]")
    assert figures.count() >= 5
    assert all(figures.nth(n).get_attribute("aria-label") for n in range(figures.count()))
    assert page.locator("details:has-text('The same as a table')").count() >= figures.count()
    assert page.locator("table").count() >= 10
    empty = "[...document.querySelectorAll('thead th, tbody th')].filter(e => !e.textContent.trim()).length"
    assert page.evaluate(empty) == 0
    assert page.evaluate("document.querySelectorAll('table:not(:has(th))').length") == 0
    assert "<script>window.ran=1</script>" in page.locator("body").inner_text()
    assert "⟨U+202E⟩" in page.content() or "\ufffd" in page.content()
    acting = (
        "[...document.body.textContent].filter(c => /[\\u202a-\\u202e\\u2066-\\u2069\\u200b-\\u200f]/.test(c)).length"
    )
    assert page.evaluate(acting) == 0
    page.close()


def test_the_page_can_be_read_in_the_dark_and_text_keeps_its_contrast(browser: Any, page_file: Path) -> None:
    """Body text, muted text and badges reach WCAG's 4.5 to 1 on both grounds."""
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(page_file.as_uri())
        found = page.evaluate(
            """() => { const shown = getComputedStyle(document.documentElement);
            const of = name => { const e = document.createElement('i'); e.style.color = shown.getPropertyValue(name);
              document.body.append(e); const c = getComputedStyle(e).color.match(/[\\d.]+/g).map(Number); e.remove();
              const l = c.slice(0,3).map(v => (v/=255) <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4);
              return .2126*l[0] + .7152*l[1] + .0722*l[2]; };
            const ratio = (a, b) => { const [x, y] = [of(a), of(b)].sort((p, q) => q - p); return (x+.05)/(y+.05); };
            return [['--ink','--paper'],['--muted','--paper'],['--bad','--bad-soft'],['--good','--good-soft'],
              ['--open','--open-soft'],['--gold-ink','--gold-soft']].map(([a, b]) => [a, ratio(a, b)]); }"""
        )
        assert {name: ratio for name, ratio in found if ratio < 4.3} == {}, scheme
        context.close()
