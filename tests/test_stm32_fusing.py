"""Pipelines of row kernels: which calls run as one, where their rows lie, and that no row is lost too early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import memory_nets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_nets import Net

from qdsl.targets.stm32.c.records import Placed, Step, Wish
from qdsl.targets.stm32.c.writing import write_c
from qdsl.targets.stm32.memory.check import check
from qdsl.targets.stm32.memory.fusing import Costs, links
from qdsl.targets.stm32.memory.place import place
from qdsl.targets.stm32.memory.planning import plan
from qdsl.targets.stm32.memory.rows import behind
from qdsl.targets.stm32.memory.tensors import computing

RAM, SPEED = Wish("ram"), Wish("speed")


def planned(net: Net, wish: Wish = RAM, room: int | None = None) -> Placed:
    """A plan, checked."""
    placed = plan(net.graph(), net.calls, wish, room)
    assert not check(net.graph(), placed)
    return placed


def piped(placed: Placed) -> list[list[str]]:
    return [[call.op.output for call in step.calls] for step in placed.steps if len(step.calls) > 1]


def pipeline(net: Net) -> Placed:
    """All calls as one."""
    return place(net.graph(), [Step(tuple(net.calls))])


@st.composite
def nets(draw: st.DrawFn) -> Net:
    """Convolutions of all windows on one another, on the image or on two at once, with a plane kernel now and then."""
    net = Net()
    high, wide = draw(st.integers(1, 9)), draw(st.integers(1, 3)) * 4
    made = [net.image("image", high, wide, draw(st.integers(1, 4)))]
    for number in range(draw(st.integers(1, 5))):
        name = f"t{number}"
        source = draw(st.sampled_from([made[-1], made[-1], made[-1], *made]))
        alike = [other for other in made if net.tensors[other].shape == net.tensors[source].shape and other != source]
        how = draw(st.sampled_from(["conv", "conv", "conv", "add", "add", "plane"]))
        scratch = draw(st.sampled_from([0, 0, 20]))
        if how == "add" and alike:
            both = [source, draw(st.sampled_from(alike))]
            made.append(net.add(*draw(st.permutations(both)), name))
        elif how == "plane":
            made.append(net.plane([source], name, net.tensors[source].shape, scratch))
        else:
            window = [draw(st.integers(1, most)) for most in (4, 3, 2)]
            made.append(net.conv(source, name, draw(st.integers(1, 5)), *window, scratch=scratch))
    net.outputs += [made[-1], *draw(st.lists(st.sampled_from(made[1:]), max_size=1))]
    return net


def schedules(net: Net) -> Iterator[list[Step]]:
    """Every way to cut the calls into steps."""
    calls, joined = net.calls, links(net.graph(), net.calls)
    for which in range(1 << (len(calls) - 1)):
        cuts = [at for at in range(len(calls) - 1) if which >> at & 1]
        if all(at in cuts or joined[at] for at in range(len(calls) - 1)):
            edges = [0, *(at + 1 for at in cuts), len(calls)]
            yield [Step(tuple(calls[a:b])) for a, b in pairwise(edges)]


def in_pipelines(steps: list[Step] | tuple[Step, ...]) -> int:
    return sum(len(step.calls) for step in steps if len(step.calls) > 1)


@given(nets())
@settings(max_examples=60)
def test_no_schedule_is_smaller_and_none_as_small_has_fewer_calls_in_pipelines(net: Net) -> None:
    placed = planned(net)
    every = [place(net.graph(), steps) for steps in schedules(net)]
    least = min(each.size for each in every)
    assert (placed.size, placed.bound) == (least, least)
    assert in_pipelines(placed.steps) == min(in_pipelines(each.steps) for each in every if each.size == least)
    assert not [fault for each in every for fault in check(net.graph(), each)]


@given(nets(), st.integers(0, 3))
@settings(max_examples=40)
def test_speed_has_no_more_pipelines_than_the_room_asks_for(net: Net, quarters: int) -> None:
    every = [place(net.graph(), steps) for steps in schedules(net)]
    least = min(each.size for each in every)
    single = next(each for each in every if all(len(step.calls) == 1 for step in each.steps))
    room = least + (single.size - least) * quarters // 4
    placed = planned(net, SPEED, room)
    assert placed.size <= room
    fitting = min(in_pipelines(each.steps) for each in every if each.size <= room)
    assert in_pipelines(placed.steps) == fitting
    assert piped(planned(net, SPEED)) == piped(planned(net, SPEED, single.size)) == []


@st.composite
def chains(draw: st.DrawFn) -> Net:
    """Convolutions one after another, maybe with an addition of the image at the end; rows of multiples of 4 bytes."""
    net = Net()
    x = image = net.image("image", draw(st.integers(2, 12)), 4, draw(st.sampled_from([4, 8])))
    count = draw(st.integers(2, 4))
    for number in range(count):
        window = [draw(st.integers(1, most)) for most in (4, 2, 2)]
        channels = draw(st.sampled_from([4, 8, 12]))
        if draw(st.booleans()) and number == count - 1:
            window, channels = [3, 1, 1], net.tensors[image].shape[3]
        x = net.conv(x, f"t{number}", channels, *window)
    if net.tensors[x].shape == net.tensors[image].shape:
        x = net.add(image, x, "sum")
    net.outputs.append(x)
    return net


@given(chains())
@settings(max_examples=80)
def test_a_pipeline_writes_as_near_behind_what_it_reads_as_may_be(net: Net) -> None:
    """At the distance that is told nothing is lost; 4 bytes nearer something is."""
    steps = [Step(tuple(net.calls))]
    distances = [distance for name, distance in behind(net.graph(), steps[0]) if name == "image"]
    assert all(distance is not None for distance in distances)
    near = max(distance for distance in distances if distance is not None)
    (output,) = net.outputs
    free = place(net.graph(), steps)
    rings = {name: (at + 8192, rows) for name, (at, rows) in free.rings.items()}
    at = replace(free, tensors={"image": near, output: 0}, rings=rings, size=free.size + 8192)
    assert not check(net.graph(), at)
    if near:
        assert check(net.graph(), replace(at, tensors={"image": near - 4, output: 0}))


@given(chains())
@settings(max_examples=40)
def test_a_ring_of_one_row_less_is_too_short(net: Net) -> None:
    placed = pipeline(net)
    for name, (at, rows) in placed.rings.items():
        if rows > 1:
            assert check(net.graph(), replace(placed, rings={**placed.rings, name: (at, rows - 1)})), name


def test_an_inverted_residual_is_computed_in_place() -> None:
    """When row y is written, the first call has read row y + 1 and the addition reads row y."""
    net = Net()
    image = net.image("image", 8, 8, 4)
    x = net.conv(net.conv(net.conv(image, "expand", 24, kernel=1), "depthwise", 24), "project", 4, kernel=1)
    net.outputs.append(net.add(image, x, "sum"))
    placed = planned(net)
    assert piped(placed) == [["expand", "depthwise", "project", "sum"]]
    assert placed.tensors["image"] == placed.tensors["sum"]
    assert {name: rows for name, (_, rows) in placed.rings.items()} == {"expand": 3, "depthwise": 1, "project": 1}
    assert placed.size == placed.bound == 8 * 8 * 4 + (3 + 1) * 8 * 24 + 8 * 4
    # A row of the sum over the image's next one is found.
    assert check(net.graph(), replace(placed, tensors={**placed.tensors, "sum": placed.tensors["image"] + 4}))


@pytest.mark.parametrize(("distance", "at"), [(None, 0), (16, 0), (0, 4)])
def test_a_row_over_the_one_that_it_is_computed_of_is_found(distance: int | None, at: int) -> None:
    """Where the last call may not work in place, or the row begins after the other."""
    net = Net()
    image = net.image("image", 1, 4, 4)
    x = net.conv(image, "x", 4, kernel=1)
    net.outputs.append(net.add(image, x, "sum"))
    (first, last), graph = net.calls, net.graph()
    placed = replace(place(graph, [Step((first, last))]), tensors={"image": 0, "sum": 0})
    assert not check(graph, placed)
    changed = Step((first, replace(last, behind=(distance, 0))))
    wrong = replace(placed, steps=(changed,), tensors={"image": 0, "sum": at}, rings={"x": (64, 1)}, size=80)
    assert [fault.what for fault in check(graph, wrong)] == ["lies where a row of sum is written"]


def test_what_others_read_or_the_graph_gives_is_kept() -> None:
    net = Net()
    image = net.image("image", 8, 8, 4)
    a = net.conv(image, "a", 16)
    b = net.conv(a, "b", 16)
    net.plane([a], "c", (1, 4))
    d = net.conv(b, "d", 4)
    net.outputs += ["c", net.conv(net.conv(d, "e", 16), "f", 4), "e"]
    assert links(net.graph(), net.calls) == (False, False, False, True, False)
    planned(net)


def test_what_is_read_as_a_whole_is_kept_as_a_whole() -> None:
    """One row that every row of another tensor is multiplied by, and a plane kernel."""
    net = Net()
    image, small = net.image("image", 8, 8, 4), net.image("small", 1, 1, 4)
    x = net.conv(image, "x", 4)
    scale = net.conv(small, "scale", 4, kernel=1)
    net.tensor("scaled", (1, 8, 8, 4))
    net.call((x, scale), "scaled", behind=(0, None))
    net.outputs.append(net.plane([net.plane(["scaled"], "p", (1, 8, 8, 4))], "q", (1, 4)))
    assert links(net.graph(), net.calls) == (False, False, False, False)
    planned(net)


def test_what_a_step_holds_at_least() -> None:
    """An output shares memory with an input that nobody reads later, and with no other."""
    net = Net()
    image = net.image("image", 4, 4, 4)
    for name in ("a", "b"):
        net.tensor(name, (1, 4, 4, 4))
        net.call((image,), name, behind=(0,), scratch=12)
    net.outputs.append(net.add("a", "b", "sum"))
    costs = Costs(net.graph(), net.calls)
    assert [costs.of(at, at) for at in range(3)] == [64 + 64 + 12, 64 + 64 + 12, 64 + 64]
    assert costs.outside() == 64


def test_a_longer_pipeline_is_found_where_the_shorter_cannot_be_placed() -> None:
    """Of MobileNetV1 the image and what the first convolution makes of it take 151,424 bytes at once. So much is enough
    for one pointwise and the next depthwise convolution as a pipeline, too, but not for it after the depthwise one
    before, which would have to begin behind what it reads."""
    placed = planned(memory_nets.mobilenet_v1())
    assert (placed.size, placed.bound) == (151_424, 151_424)
    assert piped(placed) == [["dw1", "pw1", "dw2"]]


def test_mobilenet_v2_takes_little_more_than_its_image() -> None:
    net = memory_nets.mobilenet_v2()
    placed = planned(net)
    assert (placed.size, placed.bound) == (157_696, 157_696)
    assert placed.tensors["image"] + 150_528 <= placed.size
    assert max(map(len, piped(placed))) == 3


@pytest.mark.parametrize(("room", "calls"), [(604_832, 0), (604_831, 2), (300_000, 7), (160_000, 11)])
def test_speed_fuses_what_the_board_asks_for(room: int, calls: int) -> None:
    placed = planned(memory_nets.mobilenet_v2(), SPEED, room)
    assert placed.size <= room
    assert in_pipelines(placed.steps) == calls


@pytest.mark.slow
def test_where_nothing_fits_the_smallest_is_told() -> None:
    net = memory_nets.mobilenet_v1()
    placed = planned(net, SPEED, 100_000)
    assert placed.size == placed.bound == planned(net).size


def test_plans_are_the_same_each_time() -> None:
    net = memory_nets.resnet8()
    assert planned(net) == planned(net)
    assert piped(planned(net)) == [["a1", "b1", "add1"]]


def test_reshaped_rows_are_not_fused() -> None:
    net = Net()
    x = net.conv(net.image("image", 4, 4, 4), "a", 4)
    flat = net.reshape(x, "flat", (1, 2, 8, 4))
    net.outputs.append(net.conv(flat, "b", 4))
    assert links(net.graph(), computing(net.graph(), net.calls)) == (False,)
    planned(net)


def test_no_c_is_written_of_a_wrong_plan(tmp_path: Path) -> None:
    net = memory_nets.resnet8()
    placed = planned(net)
    wrong = replace(placed, tensors={**placed.tensors, "conv1": placed.tensors["image"]})
    with pytest.raises(RuntimeError, match="the plan of memory is wrong: `image` lies where conv1 is written"):
        write_c(net.graph(), wrong, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_lies_on_top_needs_no_padding() -> None:
    net = Net()
    image = net.image("image", 1, 2, 1)
    net.outputs += [net.plane([image], "two", (2,)), net.plane([image], "four", (4,))]
    placed = planned(net)
    assert (placed.size, placed.bound) == (10, 10)
    net.inputs, net.calls = [], []
    net.outputs += [net.plane([], "three", (3,))]
    net.call((), "two")
    net.call((), "four")
    assert (planned(net).size, planned(net).bound) == (10, 10)


def test_padding_of_both_kinds_is_not_waited_for() -> None:
    """Where a window lies on padding alone but for one row, no row before that is kept."""
    net = Net()
    image = net.image("image", 2, 4, 4)
    net.tensor("a", (1, 2, 4, 4))
    net.call((image,), "a", window=(3, 1, 2, 2), behind=(32,))
    net.outputs.append(net.add(image, net.conv("a", "b", 4, kernel=1), "sum"))
    step = Step(tuple(net.calls))
    assert dict(behind(net.graph(), step))["image"] == 0
