"""`network_report.json` (report_version 1.1), which versions up to 10 and ST's cloud write: one flat object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from qdsl.spec.bounds import Count, Text, UnfitError, shown
from qdsl.spec.decode import decode, json_data
from qdsl.stedgeai.c_info import scores
from qdsl.stedgeai.told import Told, picked

VERSION = "1.1"
_NUMBER = re.compile(r"(?:stm\.ai|core) v?(\d+\.\d+(?:\.\d+)?(?:-\w+)?)", re.I)


@dataclass(frozen=True, slots=True)
class _Flat:
    cli_version_str: Annotated[str, Text(300, filled=True)]
    rom_n_macc: Count
    rom_size: Count
    ram_size: Any
    ram_io_size: tuple[Count, ...] = ()
    cli_parameters: Any = ""
    model_name: Annotated[str, Text(1000)] = ""
    val_metrics: Any = None


def read_flat(text: str) -> Told:
    """Raises UnfitError with the place of what does not fit."""
    data = json_data(text)
    if not isinstance(data, dict):
        raise UnfitError("it is no network_report.json: expected an object")
    if str(data.get("report_version")) != VERSION:
        raise UnfitError(f"expected {VERSION}, found {shown(data.get('report_version'))}", "report_version")
    flat = picked(_Flat, data, "report")
    inputs, outputs = (*flat.ram_io_size, None, None)[:2]
    words = flat.cli_parameters.split() if isinstance(flat.cli_parameters, str) else []
    return Told(
        version=version_in(flat.cli_version_str),
        command=words[0][:100] if words else "",
        model=flat.model_name,
        macc=flat.rom_n_macc,
        weights=flat.rom_size,
        activations=_activations(flat.ram_size),
        inputs=inputs,
        outputs=outputs,
        scores=scores(flat.val_metrics or [], "report.val_metrics"),
    )


def version_in(text: str) -> str:
    """The tool's own version: of "Neural Network Tools for STM32 family v1.7.0 (stm.ai v8.1.0-19520)" 8.1.0-19520.
    Raises UnfitError."""
    found = _NUMBER.search(text)
    if found is None:
        raise UnfitError("it does not say which version of the tool wrote it")
    return found[1]


def _activations(size: Any) -> int:
    """A number, or before 8.1 a list of one for each memory."""
    if isinstance(size, list):
        return sum(decode(tuple[Count, ...], size, "report.ram_size"))
    found: int = decode(Count, size, "report.ram_size")
    return found
