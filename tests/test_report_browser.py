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
@pytest.mark.parametrize("width", [360, 1280])
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
