"""A checkout of CMSIS-NN that this machine's user names, whose sources are compiled where emitted C calls them.

No recipe names one: to compile what lies at a path is to run what it says, and recipes are not trusted so far.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.spec.words import plain
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.emulated.commands import Done, command

PLACE = "QDSL_CMSIS_NN"  # the environment variable that names a checkout
# As cmsis.mk and cmsis.cmake of a project have it; what they warn of is not this project's.
FLAGS = ("-O3", "-ffunction-sections", "-fdata-sections", "-w")
PARTS = ("ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions")
OTHERS = ("_s16", "_s4", "_f16", "_f32", "_flt")  # what its files of other types end with
BOTH = "_s8_s16"
SECONDS = 300.0
_SAID = 300


@dataclass(frozen=True, slots=True)
class Checkout:
    """`span` is the place in the recipe that asks for it."""

    folder: Path
    span: Span | None = None

    @property
    def include(self) -> tuple[str, ...]:
        """Words for a compiler of what calls it."""
        return "-isystem", str(self.folder / "Include")

    @property
    def sources(self) -> tuple[Path, ...]:
        """Those of int8, and what they share with other types."""
        files = (file for part in PARTS for file in sorted((self.folder / "Source" / part).glob("*.c")))
        return tuple(file for file in files if file.stem.endswith(BOTH) or not file.stem.endswith(OTHERS))

    def archive(self, compiler: Sequence[str], out: Path) -> Path:
        """Its functions as a library, made in `out` (which is here) by a compiler with its flags for a core. Raises
        QdslError cmsis-nn-unfit where they are not compiled."""
        objects = out / "cmsis_nn"
        objects.mkdir(exist_ok=True)
        words = (*compiler, *FLAGS, "-I", str(self.folder / "Include"), "-c", *map(str, self.sources))
        self._ran(words, objects, "it is not compiled")
        archiver = self._ran((*compiler, "-print-prog-name=ar"), objects, "its archiver is not known").said.strip()
        made = sorted(map(str, objects.glob("*.o")))
        self._ran((archiver, "rcs", "libcmsis_nn.a", *made), objects, "no library is made of it")
        return objects / "libcmsis_nn.a"

    def _ran(self, words: Sequence[str], folder: Path, otherwise: str) -> Done:
        try:
            done = command(words, SECONDS, folder)
        except OSError as error:
            raise self.unfit(otherwise, str(error.strerror)) from None
        if done.stopped:
            raise self.unfit(otherwise, f"that took more than {SECONDS:g} s and was ended")
        if done.status:
            raise self.unfit(otherwise, done.said)
        return done

    def unfit(self, what: str, said: str = "") -> QdslError:
        """That `what` is wrong with it, as a compiler or a program `said`."""
        lines = [line for line in said.splitlines() if " error: " in line] or said.splitlines()
        label = plain(lines[0].strip())[:_SAID] if lines else ""
        headline = f"CMSIS-NN of {plain(str(self.folder))[:_SAID]} does not fit: {what}"
        cures = (f"name a checkout of October 2022 or later in {PLACE}", "or write `kernels own`")
        return QdslError([Diagnostic("cmsis-nn-unfit", headline, self.span, label, cures)])


def checkout(span: Span | None = None) -> Checkout | NotHere:
    """The one that is named; `span` is the place in the recipe that asks for it. Raises QdslError cmsis-nn-unfit where
    there is none at that place."""
    told = os.environ.get(PLACE, "").strip()
    if not told:
        return NotHere(f"no CMSIS-NN is named on this machine (`{PLACE}=/path/to/CMSIS-NN qdsl ..` names a checkout)")
    found = Checkout(Path(told).resolve(), span)
    if not (found.folder / "Include" / "arm_nnfunctions.h").is_file() or not found.sources:
        raise found.unfit("there is no checkout of it")
    return found
