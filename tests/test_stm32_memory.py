"""The arena: as small as it gets, proven; and a check that finds what a plan has wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import memory_nets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.targets.stm32.c.records import Placed, Step
from qdsl.targets.stm32.memory.arena import EFFORT, arrange
from qdsl.targets.stm32.memory.bound import bound_of
from qdsl.targets.stm32.memory.check import check
from qdsl.targets.stm32.memory.place import place
from qdsl.targets.stm32.memory.problem import Buffer, Effort, Problem, aligned
from qdsl.targets.stm32.memory.tensors import computing


@st.composite
def problems(draw: st.DrawFn, most: int = 5) -> Problem:
    buffers = []
    for number in range(draw(st.integers(1, most))):
        first = draw(st.integers(0, 4))
        size, lives = draw(st.integers(1, 24)), draw(st.sampled_from([0, 1, 1, 2, 4]))
        buffers.append(Buffer(str(number), size, first, first + lives, draw(st.sampled_from([4, 4, 4, 8]))))
    meeting = [
        (one, other)
        for one, below in enumerate(buffers)
        for other, above in enumerate(buffers)
        if one != other and below.first == above.last
    ]
    gaps = {pair: draw(st.integers(0, buffers[pair[0]].size)) for pair in meeting if draw(st.booleans())}
    return Problem(tuple(buffers), gaps)


def smallest(problem: Problem) -> int:
    """Of every order from below: each buffer as low as what lies below it lets it."""
    return min(_end(problem, order) for order in permutations(range(len(problem.buffers))))


def _end(problem: Problem, order: tuple[int, ...]) -> int:
    at: dict[int, int] = {}
    for each in order:
        lowest = max((at[low] + problem.gap(low, each) for low in at if problem.meet(low, each)), default=0)
        at[each] = aligned(lowest, problem.buffers[each].align)
    return max(at[each] + problem.buffers[each].size for each in order)


def holds(problem: Problem, at: tuple[int, ...]) -> bool:
    numbers = range(len(at))
    apart = all(
        at[one] + problem.gap(one, other) <= at[other] or at[other] + problem.gap(other, one) <= at[one]
        for one in numbers
        for other in range(one)
        if problem.meet(one, other)
    )
    return apart and all(where % buffer.align == 0 for where, buffer in zip(at, problem.buffers, strict=True))


@given(problems())
@settings(max_examples=120)
def test_no_plan_is_smaller(problem: Problem) -> None:
    arena, least = arrange(problem, Effort(EFFORT)), smallest(problem)
    assert (arena.size, arena.bound) == (least, least)
    assert bound_of(problem) <= least
    assert holds(problem, arena.addresses)


def test_what_shares_memory_is_bounded_by_how_near_it_may_lie() -> None:
    """An output 8 bytes before one input, or 4 before the other, beside something else."""
    sizes = {"out": 40, "first": 40, "second": 40, "beside": 24}
    problem = Problem(tuple(Buffer(name, size, 0, 0) for name, size in sizes.items()), {(0, 1): 8, (0, 2): 4})
    assert bound_of(problem) == 4 + 40 + 40 + 24 == arrange(problem, Effort(EFFORT)).size


def drawn(seed: int, count: int, steps: int) -> Problem:
    """Short-lived buffers of all sizes, some of which may share memory: what a first guess seldom packs best."""
    chance = random.Random(seed)
    buffers = []
    for number in range(count):
        first = chance.randrange(steps)
        last = min(steps - 1, first + chance.choice([0, 0, 1, 1, 2, 3]))
        buffers.append(Buffer(str(number), chance.randint(1, 1000), first, last))
    after = [(b, a) for b in range(count) for a in range(count) if a != b and buffers[b].first == buffers[a].last]
    gaps = {pair: chance.randint(0, buffers[pair[0]].size) for pair in after if chance.random() < 0.6}
    return Problem(tuple(buffers), gaps)


def test_guesses_are_improved_and_proven() -> None:
    """On such problems guesses are above the best, and the best above what lives at once."""
    problem = drawn(4, 24, 10)
    guessed, arena = arrange(problem, Effort(0)), arrange(problem, Effort(EFFORT))
    assert bound_of(problem) < arena.bound
    assert guessed.size > arena.size == arena.bound
    assert holds(problem, arena.addresses)
    assert guessed.bound <= arena.bound


@pytest.mark.parametrize("seed", [159, 444, 482, 490])
def test_where_guesses_are_above_the_best_it_is_found(seed: int) -> None:
    problem = drawn(seed, 7, 5)
    arena, least = arrange(problem, Effort(EFFORT)), smallest(problem)
    assert arrange(problem, Effort(0)).size > least
    assert (arena.size, arena.bound) == (least, least)


def test_without_effort_the_gap_is_told() -> None:
    problem = drawn(1009, 60, 40)
    arena = arrange(problem, Effort(10_000))
    assert bound_of(problem) <= arena.bound < arena.size
    assert holds(problem, arena.addresses)
    assert arrange(problem, Effort(10_000)) == arena


def test_nothing_takes_nothing() -> None:
    assert arrange(Problem(()), Effort(EFFORT)).size == 0


def planned(net: memory_nets.Net) -> Placed:
    graph = net.graph()
    return place(graph, [Step((call,)) for call in computing(graph, net.calls)])


# 224 x 224, int8. Bytes that live at once, without any sharing: 301,056 and 752,640.
@pytest.mark.parametrize(("name", "size"), [("v1", 201_632), ("v2", 604_832), ("resnet8", 33_792)])
def test_networks_one_call_at_a_time(name: str, size: int) -> None:
    net = memory_nets.NETS[name]()
    placed = planned(net)
    assert (placed.size, placed.bound) == (size, size)
    assert not check(net.graph(), placed)


def test_what_is_reshaped_lies_where_it_lay() -> None:
    net = memory_nets.Net()
    image = net.image("image", 4, 4, 4)
    flat = net.reshape(image, "flat", (1, 64))
    left = net.plane((flat,), "left", (1, 32))
    net.outputs += [net.plane((flat, left), "right", (1, 32)), net.reshape(left, "leaves", (32, 1))]
    placed = planned(net)
    assert placed.tensors["image"] == placed.tensors["flat"]
    assert placed.tensors["left"] == placed.tensors["leaves"]
    assert placed.size == 128
    assert not check(net.graph(), placed)


def test_inputs_live_together_before_the_first_step_and_outputs_after_the_last() -> None:
    net = memory_nets.Net()
    first, second = net.image("first", 2, 2, 4), net.image("second", 2, 2, 8)
    net.outputs += [net.plane((first,), "early", (1, 40))]
    net.outputs += [net.plane((second,), "late", (1, 24))]
    placed = planned(net)
    assert placed.size == 32 + 40 + 24
    assert not check(net.graph(), placed)
    over = replace(placed, tensors={**placed.tensors, "first": placed.tensors["second"]})
    assert {fault.step for fault in check(net.graph(), over)} >= {-1}
    over = replace(placed, tensors={**placed.tensors, "late": placed.tensors["early"]})
    assert 2 in {fault.step for fault in check(net.graph(), over)}


def test_an_addition_is_done_in_place() -> None:
    net = memory_nets.Net()
    image = net.image("image", 4, 4, 4)
    other = net.plane((image,), "other", (1, 4, 4, 4))
    net.outputs.append(net.add(image, other, "sum"))
    assert planned(net).size == 128


def test_int64_is_aligned_to_8() -> None:
    net = memory_nets.Net()
    image = net.image("image", 1, 3, 4)
    net.tensor("places", (1, 2), "int64")
    net.call((image,), "places")
    net.outputs.append("places")
    placed = planned(net)
    assert placed.tensors["places"] % 8 == 0
    astray = replace(placed, tensors={"image": 0, "places": 12}, size=28)
    assert [fault.what for fault in check(net.graph(), astray)] == ["is not aligned to 8 bytes"]


def faults(net: memory_nets.Net, placed: Placed, **moved: int) -> set[tuple[str, str]]:
    """What the check finds once tensors lie elsewhere, in an arena that is large enough."""
    elsewhere = replace(placed, tensors={**placed.tensors, **moved}, size=placed.size + 4096)
    return {(fault.tensor, fault.what) for fault in check(net.graph(), elsewhere)}


def test_a_kernel_that_writes_too_near_behind_what_it_reads_is_found() -> None:
    """Rows of 8 to rows of 16 bytes: the output begins 64 + 16 bytes before its input, or a row is lost."""
    net = memory_nets.Net()
    image = net.image("image", 8, 8, 1)
    net.outputs.append(net.conv(image, "out", 2, kernel=3))
    (call,) = net.calls
    (distance,) = call.behind
    assert distance == 8 * 16 - 6 * 8
    placed = planned(net)
    assert placed.tensors == {"out": 0, "image": distance}
    assert not faults(net, placed)
    assert faults(net, placed, image=distance - 4)
    # The rows alone tell it, too, whatever the kernel says: row 7 reads row 6.
    net.calls[0] = replace(call, behind=(0,))
    right = replace(placed, steps=net.steps(), tensors={"out": 0, "image": 7 * 16 - 6 * 8})
    assert not check(net.graph(), right)
    wrong = replace(right, tensors={"out": 0, "image": 7 * 16 - 6 * 8 - 4})
    assert {fault.tensor for fault in check(net.graph(), wrong)} == {"image"}


def test_scratch_is_nobodys() -> None:
    net = memory_nets.Net()
    image = net.image("image", 4, 4, 4)
    net.outputs.append(net.conv(image, "out", 4, scratch=40))
    placed = planned(net)
    assert not check(net.graph(), placed)
    for at in (placed.tensors["image"], placed.tensors["out"]):
        assert check(net.graph(), replace(placed, scratch=(at,)))


def test_scratch_over_what_is_needed_later_is_found() -> None:
    net = memory_nets.Net()
    image = net.image("image", 4, 4, 4)
    kept = net.plane([image], "kept", (1, 64))
    net.outputs.append(net.plane([net.plane([image], "other", (1, 64), scratch=40), kept], "out", (1, 64)))
    placed = planned(net)
    assert not check(net.graph(), placed)
    over = replace(placed, scratch=(0, placed.tensors["kept"], 0))
    assert [fault.tensor for fault in check(net.graph(), over)] == ["kept"]


def test_what_lies_outside_is_found() -> None:
    net = memory_nets.resnet8()
    placed = planned(net)
    assert {fault.what for fault in check(net.graph(), replace(placed, size=placed.size - 1))} == {
        "lies outside of the arena"
    }


def test_two_that_live_at_once_at_one_place_are_found() -> None:
    """Every tensor in turn is put where another one lies that is read after it was written."""
    net = memory_nets.resnet8()
    placed = planned(net)
    writes = {step.calls[0].op.output: at for at, step in enumerate(placed.steps)}
    reads: dict[str, int] = {}
    for at, step in enumerate(placed.steps):
        reads.update(dict.fromkeys(step.calls[0].op.inputs, at))
    del reads["flat"]  # where "pooled" lies anyway
    pairs = [(one, other) for one in writes for other in reads if writes.get(other, -1) < writes[one] < reads[other]]
    assert len(pairs) > 3
    for one, other in pairs:
        assert faults(net, placed, **{one: placed.tensors[other]}), (one, other)
