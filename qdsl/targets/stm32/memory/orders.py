"""Which of two buffers is the lower, decided pair by pair: a search that ends with a plan or with a proof."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from qdsl.targets.stm32.memory.problem import Effort, Problem, aligned

_Pair = tuple[int, int, int, int]  # two buffers, the gap if the first is the lower, the gap if the second is


@dataclass(frozen=True, slots=True)
class Found:
    """`addresses`, or None: where that is `sure`, there are none."""

    addresses: list[int] | None
    sure: bool


@dataclass(slots=True)
class _State:
    """The lowest and the highest address that each buffer may have, what is decided (`above[a]`: buffers that are
    above a, with the gap; `below` likewise), and the pairs that are not."""

    low: list[int]
    high: list[int]
    above: list[list[tuple[int, int]]]
    below: list[list[tuple[int, int]]]
    open: list[_Pair]

    def copy(self) -> _State:
        above, below = [list(each) for each in self.above], [list(each) for each in self.below]
        return _State(list(self.low), list(self.high), above, below, self.open)


class Search:
    """Over one problem, for any size of the arena."""

    def __init__(self, problem: Problem) -> None:
        self._sizes = [buffer.size for buffer in problem.buffers]
        self._align = [buffer.align for buffer in problem.buffers]
        self._pairs = [(a, b, problem.gap(a, b), problem.gap(b, a)) for a, b in problem.pairs()]

    def within(self, limit: int, effort: Effort) -> Found:
        """Addresses that end at `limit` at most."""
        state = self._start(limit)
        waiting = [] if state is None else [state]
        while waiting:
            state = waiting.pop()
            if not state.open:
                return Found(state.low, True)
            if not effort.take(len(state.open)):
                return Found(None, False)
            waiting += self._both(state)
        return Found(None, True)

    def _start(self, limit: int) -> _State | None:
        count = len(self._sizes)
        high = [(limit - size) // align * align for size, align in zip(self._sizes, self._align, strict=True)]
        if any(at < 0 for at in high):
            return None
        state = _State([0] * count, high, [[] for _ in range(count)], [[] for _ in range(count)], self._pairs)
        return state if self._settle(state, ()) else None

    def _both(self, state: _State) -> Iterable[_State]:
        """Either side of the tightest pair, the roomier one last (it is looked at first)."""
        pair = self._tightest(state)
        a, b, up, down = pair
        sides = [(state.high[b] - state.low[a] - up, (a, b, up)), (state.high[a] - state.low[b] - down, (b, a, down))]
        for _, decided in sorted(sides, key=lambda side: side[0]):
            after = state.copy()
            after.open = [each for each in state.open if each is not pair]
            if self._settle(after, (decided,)):
                yield after

    def _tightest(self, state: _State) -> _Pair:
        """The open pair with the least room for one of its orders, then for the other."""
        low, high = state.low, state.high
        best, least, most = state.open[0], sys.maxsize, sys.maxsize
        for pair in state.open:
            a, b, up, down = pair
            room, other = high[b] - low[a] - up, high[a] - low[b] - down
            if other < room:
                room, other = other, room
            if room < least or (room == least and other < most):
                best, least, most = pair, room, other
        return best

    def _settle(self, state: _State, decided: Iterable[tuple[int, int, int]]) -> bool:
        """Take `decided` (lower, upper, gap) in, and all that follows. False where a buffer has no place left."""
        waiting = list(decided)
        while True:
            for lower, upper, gap in waiting:
                state.above[lower].append((upper, gap))
                state.below[upper].append((lower, gap))
                if not (self._raise(state, lower) and self._lower(state, upper)):
                    return False
            waiting, still = [], []
            low, high = state.low, state.high
            for pair in state.open:
                a, b, up, down = pair
                fits, turned = low[a] + up <= high[b], low[b] + down <= high[a]
                if not fits and not turned:
                    return False
                if fits and turned:
                    still.append(pair)
                else:
                    waiting.append((a, b, up) if fits else (b, a, down))
            state.open = still
            if not waiting:
                return True

    def _raise(self, state: _State, start: int) -> bool:
        """Whatever is above a buffer begins a gap above it."""
        moved = [start]
        while moved:
            at = moved.pop()
            for upper, gap in state.above[at]:
                low = aligned(state.low[at] + gap, self._align[upper])
                if low > state.low[upper]:
                    if low > state.high[upper]:
                        return False
                    state.low[upper] = low
                    moved.append(upper)
        return True

    def _lower(self, state: _State, start: int) -> bool:
        """Whatever is below a buffer ends a gap below it."""
        moved = [start]
        while moved:
            at = moved.pop()
            for lower, gap in state.below[at]:
                high = (state.high[at] - gap) // self._align[lower] * self._align[lower]
                if high < state.high[lower]:
                    if high < state.low[lower]:
                        return False
                    state.high[lower] = high
                    moved.append(lower)
        return True
