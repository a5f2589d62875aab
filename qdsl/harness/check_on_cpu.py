"""Runs the check of a bundle: on this machine, or as another processor under emulation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.harness import bundle
from qdsl.harness.checks import Check, checked
from qdsl.harness.emulators import Cpu, emulator
from qdsl.spec.decode import json_data
from qdsl.spec.scratch import scratch

SAMPLES_EMULATED = 4
_SCRIPT = "check.py"


def check(folder: Path, target: str, cpu: Cpu | None = None, samples: int | None = None) -> Check:
    """What the artifact beside the bundle in `folder` computes on its first `samples` (None: all, emulated few), here
    or as `cpu`, on one thread.

    The scripts are this program's own: nothing in the folder is executed. Raises QdslError: artifact-refused for a
    bundle or an artifact that does not run, emulator-absent, emulator-failed.
    """
    with scratch() as scripts:
        bundle.copy_scripts(scripts)
        words = [str(scripts / _SCRIPT), "--json", "--threads", "1", "--folder", str(folder.absolute())]
        if cpu is None:
            words += ["--samples", str(samples)] if samples is not None else []
            return _read(_run([sys.executable, *words], os.environ, cpu), target, cpu)
        words += ["--samples", str(samples or SAMPLES_EMULATED)]
        with emulator(cpu) as by:
            found = _read(_run([*by.words, *words], by.environment, cpu), target, cpu)
    _require_kind(found, cpu)
    return found


def _run(words: Sequence[str], environment: Mapping[str, str], cpu: Cpu | None) -> str:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=dict(environment)
    )
    if done.returncode == 0:
        return done.stdout
    said = [line for line in done.stderr.splitlines() if line.strip()]
    refused = next((line for line in said if line.startswith(f"{_SCRIPT}: ")), None)
    if refused is not None:
        headline = f"the artifact does not run {'here' if cpu is None else f'on {cpu.name}, emulated'}"
        raise QdslError([Diagnostic("artifact-refused", headline, label=refused.removeprefix(f"{_SCRIPT}: ")[:300])])
    raise _failed(cpu, said[-1][:300] if said else f"it ended with {done.returncode}")


def _read(text: str, target: str, cpu: Cpu | None) -> Check:
    try:
        return checked(json_data(text), target, cpu.name if cpu is not None else "")
    except ValueError as error:
        raise _failed(cpu, str(error)[:300]) from None


def _require_kind(found: Check, cpu: Cpu) -> None:
    """Raises QdslError where what ran was another processor than was asked for: its result would say nothing."""
    told = found.environment.get("architecture", ""), found.environment.get("instructions", "")
    if not found.emulated or told != (cpu.architecture, cpu.instructions):
        raise _failed(cpu, f"it ran as {' '.join(word for word in told if word) or 'nothing known'}")


def _failed(cpu: Cpu | None, why: str) -> QdslError:
    where = "this machine" if cpu is None else f"the emulated {cpu.name}"
    return QdslError([Diagnostic("emulator-failed", f"the check on {where} came to no end", label=why)])
