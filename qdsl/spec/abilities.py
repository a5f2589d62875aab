"""What a machine can do with the artifacts of a target, as `qdsl doctor` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What is done with artifacts, in the order in which it is done.
DEEDS: Mapping[str, str] = {
    "emit": "write them",
    "check": "ask the target's software what it makes of them, without the device",
    "build": "make of them what the device runs",
    "run": "run them",
    "measure": "time them",
}


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether it can be done here. `why` in a few words: by what, or what is missing; `get` the command, or what to do,
    to have it ("" where it is there or cannot be had). `broken`: what it takes is installed and does not work."""

    able: bool
    why: str
    get: str = ""
    broken: bool = False


# By the name of what is done, all of DEEDS.
Abilities = Mapping[str, Ability]
