"""Asking what is installed without loading it: programs and other interpreters answer in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data

SECONDS = 20.0  # what a first start of a driver may take
_MOST = 1 << 20
_TOLD = 200
_NEUTRAL = Path(Path(sys.executable).anchor or "/")  # who asks does not choose what lies there


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process printed; `problem` says why there is no answer, "" where there is."""

    text: str
    problem: str = ""


def ask(
    words: Sequence[str],
    seconds: float = SECONDS,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Answer:
    """What a command prints, cut at 1 MiB; its last line of errors where it fails."""
    nothing, both = subprocess.DEVNULL, subprocess.PIPE
    try:
        done = subprocess.run(
            words, stdin=nothing, stdout=both, stderr=both, check=False, timeout=seconds, cwd=cwd, env=environment
        )
    except subprocess.TimeoutExpired:
        return Answer("", f"it says nothing within {seconds:g} seconds")
    except (OSError, ValueError) as error:
        return Answer("", getattr(error, "strerror", None) or type(error).__name__)
    text, errors = (part[:_MOST].decode("utf-8", "replace") for part in (done.stdout, done.stderr))
    if done.returncode == 0:
        return Answer(text)
    lines = [line.strip() for line in (errors.strip() or text.strip()).splitlines() if line.strip()]
    return Answer(text, (lines[-1] if lines else f"it ends with {done.returncode}")[:_TOLD])


def ask_python(python: Path, code: str, options: Sequence[str] = ()) -> Answer:
    """What an interpreter prints for a program. It looks for modules as it is installed, and never where this process
    runs: a folder that came with a recipe may hold a `tensorrt.py`."""
    return ask([str(python.absolute()), *options, "-c", code], cwd=_NEUTRAL)


def package(*names: str) -> str:
    """The version of the first of these distributions that is installed, "" where none is. Nothing is loaded."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """ONNX Runtime as it is installed beside qdsl, with its execution providers."""

    version: str
    providers: tuple[str, ...]
    problem: str = ""


_ORT = "import json, onnxruntime as o; print(json.dumps([o.__version__, o.get_available_providers()]))"


@cache
def onnxruntime() -> OnnxRuntime:
    """What another process of this interpreter says of it: some libraries only fail once they are loaded."""
    answer = ask_python(Path(sys.executable), _ORT)
    if answer.problem:
        return OnnxRuntime(package("onnxruntime", "onnxruntime-gpu"), (), answer.problem)
    try:
        found, providers = decode(tuple[str, tuple[str, ...]], _last(answer.text), "onnxruntime")
    except UnfitError as error:
        return OnnxRuntime("", (), str(error)[:_TOLD])
    return OnnxRuntime(found, providers)


def _last(text: str) -> Any:
    """The JSON of the last line: libraries print lines of their own before."""
    lines = text.strip().splitlines()
    return json_data(lines[-1] if lines else "")
