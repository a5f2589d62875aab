"""The other process: started, held to its time, and what it answers read strictly."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

from qdsl.engines.rtx.places import Place
from qdsl.spec.bounds import Many, OneOf, Text, UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.spec.engine import BUILD, BUILT, PARSE
from qdsl.spec.words import plain

T = TypeVar("T")
CHILD = Path(__file__).resolve().parent / "child.py"
SECONDS = 300.0
_MOST_BYTES = 1 << 28
_WORD = Text(200)
_SAID = Text(1 << 20)
_MANY = Many(0, 1 << 20)
_LAST = 200  # characters of a last line


class UndecidedError(Exception):
    """The process died, took too long, or answered what cannot be read: the reason, in words."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A node that the parser refuses, "" where it names none; the function of the parser, and the kind of the error."""

    node: Annotated[str, _SAID]
    text: Annotated[str, _SAID]
    function: Annotated[str, _WORD]
    code: Annotated[str, _WORD]


@dataclass(frozen=True, slots=True)
class Built:
    """What became of a model. `quantized` are the types of what QuantizeLinear writes, by tensor; `guessed` the inputs
    whose open dimensions, but for the first, got a size that nothing says, with that; `failed` the words of the
    builder, `layers` the text of the finished engine."""

    version: Annotated[str, _WORD]
    stage: Annotated[str, OneOf((PARSE, BUILD, BUILT))]
    warnings: Annotated[tuple[Annotated[str, _SAID], ...], _MANY] = ()
    refused: Annotated[tuple[Refused, ...], _MANY] = ()
    quantized: Annotated[Mapping[str, Annotated[str, _WORD]], _MANY] = field(default_factory=dict)
    guessed: Annotated[tuple[Annotated[str, _SAID], ...], _MANY] = ()
    failed: Annotated[tuple[Annotated[str, _SAID], ...], _MANY] = ()
    layers: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the parser refuses of each file of a folder, by the file's stem."""

    version: Annotated[str, _WORD]
    files: Annotated[Mapping[str, tuple[Refused, ...]], _MANY]


def build(at: Place, model: Path, capability: str, beside: str, seconds: float = SECONDS) -> Built:
    """Parse `model` and build it for a compute capability ("sm86"). `beside` is the path from which external data is
    looked for. Raises UndecidedError."""
    return _answer(Built, at, "build", (str(model), capability.upper(), beside), seconds)


def parse(at: Place, folder: Path, beside: str, seconds: float = SECONDS) -> Parsed:
    """Parse each model of a folder. Raises UndecidedError."""
    return _answer(Parsed, at, "parse", (str(folder), beside), seconds)


def _answer(kind: type[T], at: Place, verb: str, rest: Sequence[str], seconds: float) -> T:
    with tempfile.TemporaryDirectory(prefix="qdsl-rtx-") as aside:
        answer, said = Path(aside, "answer.json"), Path(aside, "said")
        words = [str(at.python), *at.options, str(CHILD), verb, str(answer), *rest]
        try:
            with said.open("wb") as errors:
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    check=False,
                    timeout=seconds,
                )
        except subprocess.TimeoutExpired:
            raise UndecidedError(f"it took more than {seconds:g} s and was ended") from None
        except OSError as error:
            raise UndecidedError(f"{at.python.name} does not start: {error.strerror}") from None
        if done.returncode:
            raise UndecidedError(f"its process {_ended(done.returncode)}{_last(said)}")
        return _read(kind, answer)


def _ended(code: int) -> str:
    if code > 0:
        return f"ended with {code}"
    try:
        return f"died by {signal.Signals(-code).name}"
    except ValueError:
        return f"died by signal {-code}"


def _last(said: Path) -> str:
    """The last line of what the process complained of, after a colon; "" where it said nothing."""
    with said.open("rb") as found:
        found.seek(max(0, said.stat().st_size - 4096))
        lines = found.read().decode("utf-8", "replace").strip().splitlines()
    return f": {plain(lines[-1])[:_LAST]}" if lines else ""


def _read(kind: type[T], answer: Path) -> T:
    try:
        if answer.stat().st_size > _MOST_BYTES:
            raise UndecidedError("its answer is too large to be read")
        return decode(kind, json_data(answer.read_text(encoding="utf-8"), _MOST_BYTES), defaults=True)
    except (OSError, UnicodeDecodeError):
        raise UndecidedError("its process ended well, and without an answer") from None
    except UnfitError as error:
        raise UndecidedError(f"its answer cannot be read: {plain(str(error))[:_LAST]}") from None
