"""The picture of a microcontroller's memory: plain data that says where everything lies, and what is drawn of it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from xml.etree import ElementTree

import memory_nets
import pytest

from qdsl.report import arena as drawn
from qdsl.spec.arena import Arena, Held
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode
from qdsl.targets.stm32.c.records import Wish
from qdsl.targets.stm32.memory.picture import picture
from qdsl.targets.stm32.memory.planning import plan


def arena(wish: str = "ram") -> Arena:
    net = memory_nets.Net()
    image = net.image("image", 8, 8, 4)
    x = net.conv(net.conv(net.conv(image, "expand", 24, kernel=1, scratch=16), "mid", 24), "project", 4, kernel=1)
    x = net.add(image, x, "sum")
    net.outputs.append(net.plane([x], "logits", (1, 2)))
    return picture(net.graph(), plan(net.graph(), net.calls, Wish("ram" if wish == "ram" else "speed")))


def test_everything_is_there_with_its_place_and_time() -> None:
    found = arena()
    assert found.steps == (("expand", "mid", "project", "sum"), ("logits",))
    assert found.pipelines == 1
    held = {each.name: each for each in found.held}
    assert {name: each.kind for name, each in held.items()} == {
        "image": "input",
        "sum": "tensor",
        "logits": "output",
        **dict.fromkeys(["expand", "mid", "project"], "ring"),
        "scratch of sum": "scratch",
    }
    assert [(held[name].first, held[name].last) for name in ("image", "expand", "sum", "logits")] == [
        *((-1, 0), (0, 0), (0, 1)),
        (1, 2),
    ]
    assert (held["expand"].rows, held["expand"].size) == (3, 3 * 8 * 24)
    assert held["image"].at == held["sum"].at
    assert found.size == max(each.at + each.size for each in found.held)


def test_single_steps_have_no_rings() -> None:
    found = arena("speed")
    assert found.pipelines == 0
    assert {each.kind for each in found.held} == {"input", "tensor", "output", "scratch"}


def test_it_is_plain_data() -> None:
    found = arena()
    data = json.loads(json.dumps(asdict(found)))
    assert decode(Arena, data) == found
    data["held"][0]["at"] = found.size
    with pytest.raises(UnfitError, match="expected all of 'image' in"):
        decode(Arena, data)
    data = json.loads(json.dumps(asdict(found)))
    data["held"][-1]["last"] = 9
    with pytest.raises(UnfitError, match="expected steps of 'logits' from -1 to 2"):
        decode(Arena, data)


def rectangles(found: Arena) -> dict[str, dict[str, str]]:
    """The drawn boxes, by what their tooltips begin with."""
    (svg,) = re.findall(r"<svg.*?</svg>", drawn.arena(found), re.S)
    boxes = ElementTree.fromstring(svg).iter("rect")
    return {(box.findtext("title") or "").split(":")[0]: box.attrib for box in boxes}


def test_boxes_stand_where_bytes_and_steps_say() -> None:
    found = arena()
    boxes = rectangles(found)
    assert set(boxes) == {each.name for each in found.held}
    ends = {name: float(box["x"]) + float(box["width"]) for name, box in boxes.items()}
    column = (872 - 64) / (len(found.steps) + 2)
    assert float(boxes["image"]["x"]) == pytest.approx(64)
    assert ends["image"] == pytest.approx(64 + 2 * column)
    assert ends["logits"] == pytest.approx(872)
    unit = float(boxes["image"]["height"]) / 256
    for each in found.held:
        top, high = float(boxes[each.name]["y"]), float(boxes[each.name]["height"])
        assert high == pytest.approx(max(0.5, each.size * unit), abs=0.02)
        assert 346 - top == pytest.approx((each.at + each.size) * unit, abs=1)
    assert boxes["expand"]["class"] != boxes["image"]["class"] != boxes["scratch of sum"]["class"]


def test_it_is_told_whether_less_is_possible() -> None:
    found = arena()
    assert f"{found.size:,} bytes for 2 steps, 1 pipeline among them; no plan takes fewer" in drawn.arena(found)
    loose = replace(found, bound=found.size - 1000)
    assert f"a plan may take 1,000 fewer, but none takes fewer than {found.size - 1000:,}" in drawn.arena(loose)


def test_names_are_escaped() -> None:
    evil = "</title></svg><script>alert(1)</script>"
    found = Arena(64, 64, ((evil,),), (Held(evil, "tensor", 0, 64, 0, 0),))
    shown = drawn.arena(found)
    assert "<script" not in shown
    assert shown.count("</svg>") == 1
    assert evil.replace("<", "&lt;").replace(">", "&gt;") in shown
