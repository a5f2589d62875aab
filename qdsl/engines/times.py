"""The times of an engine's runs, as `trtexec --exportTimes` and `profile_engine.py` write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from qdsl.spec.bounds import Many, Number, UnfitError
from qdsl.spec.decode import decode, json_data

_MOST_RUNS = 10_000_000
_LONGEST = 1e9  # milliseconds
_Run = Mapping[str, Annotated[float, Number(-_LONGEST, _LONGEST)]]
_COUNT = Many(1, _MOST_RUNS)
# A copy to the GPU and one back, as versions call them.
_COPIES = (("h2dMs", "inMs"), ("d2hMs", "outMs"))


@dataclass(frozen=True, slots=True)
class Times:
    """`seconds` of each run, in order, copies of inputs and outputs with it; `copies` says whether there were any."""

    seconds: tuple[float, ...]
    copies: bool


def is_times(content: Any) -> bool:
    """Whether plain data looks like times of runs."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and ("latencyMs" in first or "computeMs" in first)


def read_times(text: str) -> Times:
    """Raises UnfitError for what is not JSON, is cut off, or holds a run without its time."""
    runs = decode(tuple[_Run, ...], json_data(text), "times")
    if wrong := _COUNT.problem(runs):
        raise UnfitError(wrong, "times")
    return Times(
        tuple(_latency(run, at) / 1000 for at, run in enumerate(runs)),
        any(run.get(name, 0.0) > 0 for run in runs for names in _COPIES for name in names),
    )


def _latency(run: Mapping[str, float], at: int) -> float:
    """Milliseconds: what the file says, or what it adds up to."""
    own = run.get("latencyMs", -1.0)
    copies = sum(run.get(name, 0.0) for names in _COPIES for name in names)
    found = own if "latencyMs" in run else run.get("computeMs", -1.0) + copies
    if found <= 0:
        raise UnfitError("expected a latency above 0 ms", f"times[{at}].latencyMs")
    return found
