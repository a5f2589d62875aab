"""The page of an audit in a real browser: it loads without complaint, moves, zooms, searches, and works by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import browser
import pytest
from audit_reports import chain, hostile, report
from test_report_browser import CONTRASTS

import qdsl.api
from qdsl.auditing.formats import html
from qdsl.auditing.report import TensorError
from qdsl.causes.records import Cause, Causes
from qdsl.spec.plan import Prediction

pytestmark = pytest.mark.slow
pytest.importorskip("fast_sugiyama", reason="fast-sugiyama is not installed (extra `graph`)")

MODEL = Path(__file__).resolve().parent.parent / "examples" / "people" / "yolov8n.onnx"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    program = browser.found()
    if program is None:
        pytest.skip("there is no Chromium here (Debian: apt install chromium)")
    with browser.tab(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a small report on two targets with errors, of one of hostile names, of a long chain, of YOLOv8n."""
    folder = tmp_path_factory.mktemp("pages")
    measured = {"act1": TensorError(12.5), "x": TensorError(35.0)}
    costs = Causes(
        "calib", 4, ("y",), 10.0, (Cause("act1", "activation", "/relu", 8.0, 30.0, share=0.9, measured=True),), 1, 3
    )
    small = replace(report(targets=("ort", "tensorrt"), errors=measured), causes=costs)
    halves = {name: Prediction("float16", "", "") for name in small.sections[1].runs}
    small = replace(small, sections=(small.sections[0], replace(small.sections[1], runs=halves)))
    real = qdsl.api.audit(MODEL).report
    found = {"small": small, "hostile": hostile(), "chain": chain(150, skips=9), "yolo": real}
    for name, each in found.items():
        (folder / f"{name}.html").write_text(html.render(each), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in found}


def shown(tab: browser.Tab, box: int) -> Any:
    """Where a box is: its middle, in the pane."""
    return tab.value(
        f"(() => {{ const b = document.querySelector('[data-i=\"{box}\"] .body').getBoundingClientRect(), "
        "p = document.getElementById('graph').getBoundingClientRect(); "
        "return [b.x + b.width / 2 - p.x, b.y + b.height / 2 - p.y, b.width, p.width, p.height]; })()"
    )


def chosen(tab: browser.Tab) -> Any:
    return tab.value("document.querySelector('.box.on')?.dataset.i ?? null")


@pytest.mark.parametrize("name", ["small", "hostile", "chain", "yolo"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_it_loads_without_complaint_and_never_scrolls_sideways(
    name: str, width: int, tab: browser.Tab, pages: dict[str, Path]
) -> None:
    tab.errors.clear()
    tab.open(pages[name], width)
    tab.value("document.querySelector('.box').focus(); 0")
    assert tab.errors == []
    assert tab.value("window.broken ?? 0") == 0
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value("document.getElementById('graph').getBoundingClientRect().height") > 250
    x, y, wide, pane, high = shown(tab, 0)
    assert 0 < x < pane and 0 < y < high
    assert wide > 100


def test_no_hostile_name_acts_when_it_is_shown(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.errors.clear()
    tab.open(pages["hostile"], 1280)
    count = tab.value("document.querySelectorAll('.box').length")
    for _ in range(count):
        tab.value("document.getElementById('graph').focus(); 0")
        tab.press("ArrowDown")
        assert tab.value("document.querySelectorAll('#about img, #about script, #about a').length") == 0
    assert tab.value("window.broken ?? 0") == 0 and tab.errors == []


def test_a_click_on_a_box_tells_what_is_known_of_it(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["small"], 1280)
    x, y, _, _, _ = shown(tab, 1)
    left, top = tab.value(
        "(() => { const p = document.getElementById('graph').getBoundingClientRect(); return [p.x, p.y]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        tab.call("Input.dispatchMouseEvent", type=kind, x=left + x, y=top + y, button="left", clickCount=1)
    told = tab.value("document.getElementById('about').innerText")
    for words in ("/conv1", "integer", "QLinearConv", "ort_cpu.toml, row conv", "0.02", "line 16", "missing_axis"):
        assert words in told
    assert "recipes/small.q, line 7" in told
    assert chosen(tab) == "1"
    assert tab.value("document.querySelectorAll('.line.on').length") == 2


def test_a_finding_leads_to_its_box(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["chain"], 1280)
    tab.value("[...document.querySelectorAll('#findings .go')].at(-1).click(); 0")
    box = int(chosen(tab))
    x, y, _, pane, high = shown(tab, box)
    assert 0 < x < pane and 0 < y < high
    assert "/conv100" in tab.value("document.querySelector('#about h2').textContent")


def test_dragging_moves_and_the_wheel_zooms(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["chain"], 1280)
    before = shown(tab, 3)
    for kind, x, y in (("mousePressed", 400, 500), ("mouseMoved", 400, 440), ("mouseReleased", 400, 440)):
        tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
    after = shown(tab, 3)
    assert after[1] == pytest.approx(before[1] - 60, abs=2)
    assert chosen(tab) is None
    tab.call("Input.dispatchMouseEvent", type="mouseWheel", x=400, y=500, deltaX=0, deltaY=-120, modifiers=2)
    assert shown(tab, 3)[2] > after[2] * 1.3
    tab.call("Input.dispatchMouseEvent", type="mouseWheel", x=400, y=500, deltaX=0, deltaY=200)
    assert shown(tab, 3)[1] < after[1]


def test_the_whole_graph_can_be_seen(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["yolo"], 1280)
    tab.value("document.querySelector('[data-zoom=fit]').click(); 0")
    outside = (
        "(() => { const p = document.getElementById('graph').getBoundingClientRect(); "
        "return [...document.querySelectorAll('.box .body')].filter(e => { const b = e.getBoundingClientRect(); "
        "return b.left < p.left || b.right > p.right || b.top < p.top - 1 || b.bottom > p.bottom + 1; }).length; })()"
    )
    assert tab.value(outside) == 0
    assert tab.value("document.querySelectorAll('.box').length") > 230


def test_it_works_by_keyboard(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["small"], 1280)
    tab.press("/")
    assert tab.value("document.activeElement.id") == "search"
    for key in "conv2":
        tab.press(key)
    assert tab.value("document.getElementById('hits').textContent") == "1 of 5"
    tab.press("Enter")
    assert chosen(tab) == "3"
    tab.press("Escape")
    assert tab.value("document.activeElement.id") == "graph"
    tab.press("ArrowUp")
    assert chosen(tab) == "2"
    before = shown(tab, 2)[2]
    tab.press("+")
    assert shown(tab, 2)[2] > before
    tab.press("Enter")
    assert tab.value("document.activeElement.id") == "about"


def test_colours_follow_the_target_and_the_error(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["small"], 1280)
    fill = "getComputedStyle(document.querySelector('[data-i=\"2\"] .body')).fill"
    before = tab.value(fill)
    tab.value("const t = document.getElementById('target'); t.value = '1'; t.dispatchEvent(new Event('change')); 0")
    after = tab.value(fill)
    assert after != before
    assert tab.value("document.querySelector('[data-i=\"2\"] .runs').textContent") == "float16"
    assert tab.value("document.querySelector('[data-count=float16]').textContent") == "3"
    tab.value(
        "const c = document.getElementById('colours'); c.value = 'error'; c.dispatchEvent(new Event('change')); 0"
    )
    error = tab.value(fill)
    assert error not in (before, after)
    tab.value("c.value = 'cost'; c.dispatchEvent(new Event('change')); 0")
    assert tab.value(fill) not in (before, after, error)
    assert tab.value("getComputedStyle(document.querySelector('[data-i=\"2\"] .cost')).display") != "none"
    assert tab.value("document.querySelector('[data-legend=precision]').getClientRects().length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_text_can_be_read(theme: str, width: int, tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["small"], width)
    tab.value(f"document.documentElement.dataset.theme = '{theme}'; document.querySelector('.go').click(); 0")
    found = [(contrast, text) for contrast, text in tab.value(CONTRASTS)]
    assert len(found) > 40
    # Chips and marks stand on a colour of their own, which is not what lies behind them in the document.
    drawn = {"uint8", "1", "2", "3"}
    assert [text for contrast, text in found if contrast < 4.5 and text not in drawn] == []


def test_on_a_phone_the_page_can_be_scrolled_past_the_graph(tab: browser.Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["yolo"], 390, 844)
    assert tab.value("document.querySelector('.pane').getBoundingClientRect().height") < 600
    assert tab.value("document.getElementById('findings').getBoundingClientRect().top") > 600
    sizes = "[...document.querySelectorAll('.box .op')].slice(0, 9).map(e => e.getBoundingClientRect().height)"
    assert min(tab.value(sizes)) > 9
