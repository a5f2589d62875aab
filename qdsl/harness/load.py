"""What else a machine does while something is timed on it, where its system tells."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_STAT = Path("/proc/stat")
_CROWDED = 0.5  # processors' worth of other work that is worth a word
_IDLE = 0.1  # with this share of all processors idle, other work takes none that is needed
_STOLEN = 0.05  # of all processors, by the host of a virtual machine


class _Ticks(NamedTuple):
    """Seconds of all processors since the start: in all, idle, and taken by the host."""

    whole: float
    idle: float
    stolen: float


class Watch:
    """Watches from when it is made."""

    def __init__(self) -> None:
        self._start, self._then = _ticks(), time.monotonic()

    def others(self, own: float) -> float:
        """The share of all processors that other work took meanwhile, where that left too little; `own` are the
        processor seconds of what was timed. 0 where it left enough, and where the system does not tell."""
        now, passed = _ticks(), time.monotonic() - self._then
        if self._start is None or now is None or passed <= 0 or now.whole <= self._start.whole:
            return 0.0
        whole, idle, stolen = (after - before for after, before in zip(now, self._start, strict=True))
        taken = max(stolen, whole - idle - own)
        crowded = stolen > _STOLEN * whole or (taken > _CROWDED * passed and idle < _IDLE * whole)
        return min(1.0, taken / whole) if crowded else 0.0


def _ticks() -> _Ticks | None:
    """The first line of Linux's /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    try:
        fields = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        user, nice, system, idle, wait, irq, soft, steal = (int(field) for field in fields)
    except (OSError, ValueError):
        return None
    each = 1 / os.sysconf("SC_CLK_TCK")
    whole = user + nice + system + idle + wait + irq + soft + steal
    return _Ticks(whole * each, (idle + wait) * each, steal * each)
