"""The page of an audit: what is drawn, that no name acts in it, and that large graphs are drawn in bounded time."""

from __future__ import annotations

import json
import math
import random
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from audit_reports import FINDINGS, HOSTILE, chain, finding, hostile, node, report, tensor

from qdsl.auditing.formats import html
from qdsl.auditing.formats.drawing import draw
from qdsl.auditing.formats.layout import MOST_WORK, lay_out
from qdsl.auditing.formats.wiring import Wiring
from qdsl.auditing.report import TensorError
from qdsl.causes.records import Cause, Causes, Cure

pytest.importorskip("fast_sugiyama", reason="fast-sugiyama is not installed (extra `graph`)")


class Page(HTMLParser):
    """Elements with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.elements if name in (attrs.get("class") or "").split()]

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


@pytest.fixture(scope="module")
def small() -> Page:
    return Page(html.render(report()))


def test_every_operator_input_and_output_is_a_box(small: Page) -> None:
    boxes = small.facts["boxes"]
    assert [(box["kind"], box["name"]) for box in boxes] == [
        ("input", "x"),
        ("node", "/conv1"),
        ("node", "/relu"),
        ("node", "/conv2"),
        ("output", "y"),
    ]
    assert len(small.of_class("box")) == 5
    assert [box["below"] for box in boxes] == [[1], [2], [3], [4], []]
    assert len(small.of_class("line")) == 4
    assert [attrs["data-b"] for attrs in small.of_class("integers")] == ["1", "3"]


def test_boxes_say_what_runs_and_which_tensors_they_hold(small: Page) -> None:
    conv = small.facts["boxes"][1]
    assert conv["runs"] == [["integer", "QLinearConv", "ort_cpu.toml, row conv", "its row says so"]]
    assert ["MACs", "1,000"] in conv["facts"]
    told = [dict(map(tuple, small.facts["tensors"][str(number)])) for number in conv["tensors"]]
    assert [each.get("weight") or each.get("activation") for each in told] == ["x", "w1"]
    assert told[1]["scale"] == "0.02" and told[1]["asked by"] == "quantize static, line 16"
    assert "r-integer" in (small.of_class("box")[1]["class"] or "")


def test_findings_lead_to_their_boxes(small: Page) -> None:
    leads = [attrs["data-boxes"] for tag, attrs in small.elements if tag == "li" and "data-boxes" in attrs]
    # the first as told, the waived one last; the file itself has no box
    assert leads == ["1", "3", "2 3", "2", "", "2"]
    assert len(leads) == len(FINDINGS)
    assert sum(tag == "g" and "mark" in (attrs.get("class") or "") for tag, attrs in small.elements) == 3


def test_the_page_loads_nothing_and_runs_only_its_own_script() -> None:
    text = html.render(report())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None and policy[1].startswith("default-src &#x27;none&#x27;")
    page = Page(text)
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "object", "img", "form")
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "style", "href")] or (
            tag == "a" and attrs["href"] == "#graph"
        )


def test_no_name_of_a_file_is_markup() -> None:
    page, plain = Page(html.render(hostile())), Page(html.render(report()))
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements}
    assert len(page.scripts) == len(plain.scripts) == 2
    assert page.scripts[1] == plain.scripts[1]
    names = [box["name"] for box in page.facts["boxes"]]
    assert sum("<script>" in name for name in names) >= 2
    assert all(name.isprintable() for name in names)
    raw = html.render(hostile())
    assert all(name not in raw for name in HOSTILE if "<" in name)


def test_the_same_report_gives_the_same_page() -> None:
    assert html.render(chain(80, skips=7)) == html.render(chain(80, skips=7))


def test_errors_are_shown_where_they_were_measured() -> None:
    assert "by error" not in html.render(report())
    measured = report(errors={"act1": TensorError(12.5, 30.0), "w1": TensorError(38.0)})
    text = html.render(measured)
    page = Page(text)
    assert '<option value="error">by error</option>' in text
    classes = [(attrs["class"] or "").split() for attrs in page.of_class("box")]
    assert [[name for name in names if re.fullmatch(r"h\d", name)] for names in classes] == [[], ["h0"], ["h6"], [], []]
    assert "12.5 dB" in text
    assert ["error that arrives", "30.0 dB"] in page.facts["boxes"][2]["facts"]


def test_an_error_of_nothing_is_none() -> None:
    text = html.render(report(errors={"act1": TensorError(math.inf, math.inf), "x": TensorError(-math.inf)}))
    classes = [(attrs["class"] or "").split()[-1] for attrs in Page(text).of_class("box")]
    assert classes[:3] == ["h9", "h9", "h0"]
    assert ">no error<" in text


def test_causes_lead_to_their_boxes() -> None:
    assert "Where the error comes from" not in html.render(report())
    cure = Cure(('keep "/relu" in float32',), "in this file", 30.0, 12.25)
    worst = Cause("act1", "activation", "/relu", 8.0, 30.0, ("x",), 9.0, 22.0, 12.0, 0.98, measured=True, cure=cure)
    weight = Cause("w1", "weight", "/conv1", 40.0, None, alone_db=35.0, share=-math.inf, measured=True)
    inside = Cause("gone", "activation", "", 50.0, 50.0)
    found = Causes("calib", 4, ("y",), 10.0, (worst, weight, inside), 2, 5, (), ("no float model is known",))
    page = Page(html.render(replace(report(), causes=found)))
    leads = [attrs["data-boxes"] for tag, attrs in page.elements if tag == "li" and "data-boxes" in attrs]
    assert leads[:2] == ["2", "1"] and len(leads) == 2 + len(FINDINGS)
    text = html.render(replace(report(), causes=found))
    assert "activation act1 and 1 more" in text and "98 % of the noise at the outputs" in text
    assert "inf %" not in text
    classes = [(attrs["class"] or "").split() for attrs in page.of_class("box")]
    assert [[name for name in names if re.fullmatch(r"k\d", name)] for names in classes] == [[], [], ["k9"], [], []]
    assert "Recipe: keep &quot;/relu&quot; in float32" in text and "tried in this file: +12.2 dB" in text


def test_targets_can_be_chosen() -> None:
    text = html.render(report(targets=("ort", "tensorrt")))
    assert '<option value="1">tensorrt</option>' in text
    page = Page(text)
    assert page.facts["targets"] == ["ort", "tensorrt"]
    assert [sum(map(bool, box["runs"])) for box in page.facts["boxes"]] == [0, 2, 2, 2, 0]


def test_a_graph_that_is_too_large_is_drawn_around_its_findings() -> None:
    found = chain(400)
    drawing = draw(Wiring(replace(found, sections=(replace(found.sections[0], findings=()),))), most=50)
    assert [box.name for box in drawing.boxes[:2]] == ["x", "/conv0"]
    assert (len(drawing.boxes), drawing.left_out) == (50, 352)
    one = report(found.nodes, found.tensors, [finding("a_rule", "/conv200")], outputs=found.outputs)
    near = draw(Wiring(one), most=21)
    assert [box.name for box in near.boxes] == [f"/conv{number}" for number in range(190, 211)]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "most"), [(2000, 10.0), (20000, 20.0)])
def test_large_graphs_do_not_hang(count: int, most: float) -> None:
    found = chain(count, skips=13)
    begun = time.monotonic()
    text = html.render(found)
    assert time.monotonic() - begun < most
    assert ("would be too many for a browser" in text) == (count > 3000)
    assert len(text) < 8 << 20


# --- layout -----------------------------------------------------------------------------------------------------------


def at_random(count: int, edges: int) -> list[tuple[int, int]]:
    draws = random.Random(7)
    pairs = (sorted(draws.sample(range(count), 2)) for _ in range(edges))
    return sorted({(one, two) for one, two in pairs})


GRAPHS: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "chain": (300, [(at, at + 1) for at in range(299)]),
    "diamond": (4, [(0, 1), (0, 2), (1, 3), (2, 3)]),
    "mask": (200, [(at, at + 1) for at in range(199)] + [(0, at) for at in range(2, 200)]),
    "dense": (100, [(one, two) for two in range(100) for one in range(max(0, two - 20), two)]),
    "hub": (1000, [(0, at) for at in range(1, 999)] + [(at, 999) for at in range(1, 999)]),
    "full": (100, [(10 * a + i, 10 * a + 10 + j) for a in range(9) for i in range(10) for j in range(10)]),
    "alone": (30, []),
    "parts": (40, [(at, at + 1) for at in range(0, 40, 2)]),
    "random": (500, at_random(500, 1500)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_stand_apart_and_below_what_they_read(name: str) -> None:
    count, edges = GRAPHS[name]
    begun = time.monotonic()
    layout = lay_out(count, edges)
    assert time.monotonic() - begun < 10
    assert len(layout.places) == count
    rows: dict[float, list[float]] = {}
    for x, y in layout.places:
        rows.setdefault(round(y, 3), []).append(x)
    for row in rows.values():
        row.sort()
        assert all(two - one > 0.95 for one, two in pairwise(row))
    for source, target in layout.ways:
        assert layout.places[source][1] < layout.places[target][1]
    assert set(layout.ways) <= set(edges)
    assert lay_out(count, edges) == layout


def test_a_long_edge_goes_around_what_lies_between() -> None:
    layout = lay_out(6, [(at, at + 1) for at in range(5)] + [(0, 5)])
    assert len(layout.ways[0, 5]) == 4
    assert all(abs(x - layout.places[number][0]) > 0.5 for number, (x, _) in enumerate(layout.ways[0, 5], start=1))


def test_what_would_take_too_long_to_order_stands_in_graph_order() -> None:
    wide = 150
    edges = [(wide * a + i, wide * a + wide + j) for a in range(3) for i in range(wide) for j in range(wide)]
    assert len(edges) * wide > MOST_WORK
    layout = lay_out(4 * wide, edges)
    assert layout.places[:3] == ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))


def test_a_name_of_any_length_fits() -> None:
    long = "n" * 100_000
    nodes = [node(long, long, ("x",), (long,))]
    assert len(html.render(report(nodes, [tensor(long, [("", -1)])], (), outputs=(long,)))) < 200_000


def test_a_tensor_that_several_pairs_hold_has_a_chip_of_each_type() -> None:
    nodes = [node("/a", "Relu", ("x",), ("a",)), node("/b", "Relu", ("a",), ("b",)), node("/c", "Relu", ("a",), ("y",))]
    tensors = [tensor("a", [("/b", 0)]), tensor("a", [("/c", 0)], element="int16", quantizers=("other",))]
    text = html.render(report(nodes, tensors, ()))
    assert len(Page(text).of_class("chip-body")) == 2 and ">int16<" in text
