"""Reports in a real browser: they load without complaint, sort, filter, change colours, and fit a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from device_tools import written
from test_evaluate import coloured, compiled, write
from test_report import COLOURS, EVALUATE, STEPS, tilted

import qdsl

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    program = browser.found()
    if program is None:
        pytest.skip("there is no Chromium here (Debian: apt install chromium)")
    with browser.tab(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of one build, that of two, and that of one with what devices measured."""
    builds = []
    for name in ("one", "two"):
        folder = tmp_path_factory.mktemp(name)
        coloured(folder)
        builds.append(compiled(write(folder, tilted(), EVALUATE, COLOURS, STEPS)).directory)
    both = qdsl.report(*builds, out=builds[0].parent / "both.html").path
    measured = Path(shutil.copytree(builds[1], builds[1].parent / "measured"))
    added = [written(measured, measured.parent / f"{ms}.json", board=f"Board {ms}", ms=ms) for ms in (2.0, 3.0)]
    qdsl.report(measured, add=added)
    return {"one": builds[0] / "report.html", "both": both, "device": measured / "report.html"}


@pytest.mark.parametrize("name", ["one", "both", "device"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_it_loads_without_complaint_and_never_scrolls_sideways(
    name: str, width: int, tab: browser.Tab, pages: dict[str, Path]
) -> None:
    tab.errors.clear()
    tab.open(pages[name], width)
    assert tab.value("document.querySelectorAll('section').length") >= 4
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.errors == []
    wide = "[...document.querySelectorAll('svg')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    assert tab.value(wide) == 0


# What is wider than its place: only the layers, of which there are many, and builds side by side may be scrolled.
CUT = """[...document.querySelectorAll('body *')].filter(e => !(e instanceof SVGElement) && e.clientWidth
  && e.scrollWidth > e.clientWidth + 1).map(e => e.getAttribute('aria-label') || e.className || e.tagName)"""


@pytest.mark.parametrize(("width", "scrolled"), [(390, {"Layers"}), (1280, {"Builds"})])
def test_nothing_is_cut(width: int, scrolled: set[str], tab: browser.Tab, pages: dict[str, Path]) -> None:
    for page in pages.values():
        tab.open(page, width)
        assert set(tab.value(CUT)) <= scrolled


@pytest.mark.parametrize("width", [390, 1280])
def test_headings_of_one_level_look_alike(width: int, tab: browser.Tab, pages: dict[str, Path]) -> None:
    for page in pages.values():
        tab.open(page, width)
        sizes = "[...new Set([...document.querySelectorAll('h2')].map(e => getComputedStyle(e).fontSize))]"
        assert len(tab.value(sizes)) == 1


def test_on_a_phone_a_figure_stands_behind_its_name(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["one"], 390)
    table = "document.querySelector('[aria-label=\"Budgets\"] table')"
    names = tab.value(f"[...{table}.tHead.rows[0].cells].map(e => e.textContent)")
    shown = f"[...{table}.tBodies[0].rows[0].querySelectorAll('td')].map(e => getComputedStyle(e, '::before').content)"
    assert names[:3] == ["budget", "verdict", "value"]
    assert tab.value(shown) == [f'"{name}"' for name in names[1:]]
    sqnr = "document.querySelector('#layers-ort').tBodies[0].rows[0].cells[1].getBoundingClientRect().right"
    assert tab.value("document.querySelector('#layers-ort').tHead.rows[0].cells[1].textContent") == "SQNR"
    assert tab.value(sqnr) < 390


# Each text with the contrast to what it stands on (WCAG 2.2, 1.4.3); pictures and decoration are left out.
CONTRASTS = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { const layers = [];
    for (let at = e; at; at = at.parentElement) { const c = rgb(getComputedStyle(at).backgroundColor);
      layers.push(c); if ((c[3] ?? 1) === 1) break; }
    return layers.reverse().reduce((below, [r, g, b, a = 1]) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a)),
      [255, 255, 255]); };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.getClientRects().length || e.closest('script, .told, .skip')) continue;
    const style = getComputedStyle(e), ink = rgb(e instanceof SVGElement ? style.fill : style.color);
    const pair = [light(ink), light(behind(e))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), e.textContent.trim().slice(0, 30)]);
  }
  return found;
})()"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "both", "device"])
def test_every_text_can_be_read(name: str, theme: str, tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages[name], 1280)
    tab.value(f"document.documentElement.dataset.theme = '{theme}'; 0")
    found = tab.value(CONTRASTS)
    assert len(found) > 60
    assert [text for contrast, text in found if contrast < 4.5] == []


def test_tables_sort_from_the_keyboard(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["one"], 1280)
    tab.value("window.t = document.querySelector('#layers-ort'); window.h = t.tHead.rows[0].cells[3]; 0")
    values = "[...t.tBodies[0].rows].map(r => r.cells[3].dataset.v).map(v => v === '' ? null : Number(v))"
    rows = tab.value(values)
    for times, wanted in ((1, "ascending"), (2, "descending")):
        tab.value("h.querySelector('button').focus(); 0")
        tab.press("Enter")
        assert tab.value("h.getAttribute('aria-sort')") == wanted
        found = tab.value(values)
        known = [value for value in found if value is not None]
        assert known == sorted(known, reverse=times == 2)
        assert found[len(known) :] == [None] * (len(found) - len(known))
        assert sorted(known) == sorted(value for value in rows if value is not None)


def test_figures_of_a_device_are_there_and_sort(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.errors.clear()
    tab.open(pages["device"], 1280)
    assert tab.value("document.querySelectorAll('#device h3').length") == 2
    assert tab.value("document.querySelector('nav a[href=\"#device\"]').textContent") == "On the device"
    tab.value("window.t = document.querySelector('#device table.sortable'); 0")
    values = "[...t.tBodies[0].rows].map(r => Number(r.cells[1].dataset.v))"
    before = tab.value(values)
    for reverse in (False, True):
        tab.value("t.tHead.rows[0].cells[1].querySelector('button').click(); 0")
        assert tab.value(values) == sorted(before, reverse=reverse)
    assert len(before) == 4 and len(set(before)) > 2 and tab.errors == []


def test_layers_are_filtered_while_one_types(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["one"], 1280)
    whole = tab.value("document.querySelectorAll('#layers-ort tbody tr').length")
    tab.value("document.querySelector('input[data-filter]').focus(); 0")
    for key in "conv1":
        tab.press(key)
    left = tab.value("document.querySelectorAll('#layers-ort tbody tr:not([hidden])').length")
    assert 0 < left < whole
    assert tab.value("document.querySelector('output').textContent") == f"{left} of {whole} layers"


def test_colours_change_with_the_switch(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["one"], 1280)
    colour = "getComputedStyle(document.body).backgroundColor"
    before = tab.value(colour)
    tab.value("document.querySelector('#theme').click(); 0")
    assert tab.value(colour) != before
    assert tab.value("document.querySelector('#theme').getAttribute('aria-pressed')") in ("true", "false")


def test_pictures_are_drawn(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["one"], 1280)
    boxes = "[...document.querySelectorAll('#samples svg')].map(e => e.getBoundingClientRect().width)"
    assert min(tab.value(boxes)) > 50
