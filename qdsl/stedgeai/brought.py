"""Reports of one run of ST's tool: which file is which, and what they say together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from qdsl.spec.bounds import UnfitError
from qdsl.stedgeai.c_info import read_c_info
from qdsl.stedgeai.flat_report import read_flat
from qdsl.stedgeai.text_report import is_text_report, read_text
from qdsl.stedgeai.told import NodeTold, Told

C_INFO, TEXT, FLAT = "c_info", "report", "flat report"
PATTERNS = ("*_c_info.json", "*_report.txt", "*_report.json")  # as the tool calls them, in any folder of its
READERS = {C_INFO: read_c_info, TEXT: read_text, FLAT: read_flat}
# What the files of one run have in common.
_SAME = ("release", "model_hash", "macc", "weights", "activations")
_NOTHING: tuple[object, ...] = (None, "", (), {})
_TOLD = {"release": "version", "model_hash": "model", "macc": "number of multiplications"}


def kind_of(text: str) -> str | None:
    """What a file is of ST's tool; None where it is something else."""
    if not text.lstrip().startswith("{"):
        return TEXT if is_text_report(text) else None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _kind(content) if isinstance(content, dict) else None


def _kind(content: dict[str, Any]) -> str | None:
    if {"json_schema_version", "memory_footprint"} <= content.keys():
        return C_INFO
    return FLAT if {"report_version", "cli_version_str"} <= content.keys() else None


def inside(folder: Path) -> tuple[Path, ...]:
    """The reports in a folder that the tool wrote into."""
    if not folder.is_dir():
        return ()
    return tuple(sorted({path for each in PATTERNS for path in folder.glob(each) if path.is_file()}))


def joined(found: Sequence[Told]) -> Told:
    """What several reports say together: the first that says something counts. Raises UnfitError where they are of
    different runs."""
    whole, *others = found
    for each in others:
        for name in _SAME:
            one, other = getattr(whole, name), getattr(each, name)
            if one and other and one != other:
                what = _TOLD.get(name, f"size of {name}")
                raise UnfitError(f"they are of different runs: the {what} is {str(one)[:60]} and {str(other)[:60]}")
        whole = _filled(whole, each)
    return whole


def _filled(whole: Told, more: Told) -> Told:
    """With what it does not say itself."""
    given: dict[str, Any] = {
        each.name: getattr(more, each.name)
        for each in fields(Told)
        if each.name not in ("nodes", "overlaps") and getattr(whole, each.name) in _NOTHING
    }
    overlaps = more.overlaps if whole.overlaps is None else whole.overlaps
    return replace(whole, **given, overlaps=overlaps, nodes=_nodes(whole.nodes, more.nodes))


def _nodes(whole: Sequence[NodeTold], more: Iterable[NodeTold]) -> tuple[NodeTold, ...]:
    """The nodes with the parts of the time that another report tells."""
    if not whole:
        return tuple(more)
    durations = {each.name: each.duration for each in more if each.duration is not None}
    return tuple(replace(each, duration=durations.get(each.name, each.duration)) for each in whole)
