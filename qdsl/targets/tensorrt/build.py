"""An engine of an artifact, built and timed on this machine: by the steps of the commands that stand beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from importlib.machinery import all_suffixes
from pathlib import Path

from qdsl.spec.plan import Plan
from qdsl.spec.words import plain
from qdsl.targets.onnx_file import MODEL_FILE
from qdsl.targets.probing import ask
from qdsl.targets.results import Built, Emitted, NotHere
from qdsl.targets.tensorrt.abilities import building
from qdsl.targets.tensorrt.asked import release_of
from qdsl.targets.tensorrt.beside import COMMANDS, SCRIPTS
from qdsl.targets.tensorrt.commands import ENGINE
from qdsl.targets.tensorrt.installed import Gpu, Installed, Tool, installed
from qdsl.targets.tensorrt.left import FACTS, forget
from qdsl.targets.tensorrt.versions import Release

_LONGEST = 4 * 3600.0  # seconds of one step
_TOLD = 300


def build(emitted: Emitted, plan: Plan) -> Built | NotHere:
    """Build and time an engine of `emitted`, beside it. NotHere, with how to get it, without a GPU or TensorRT, and
    where `trtexec` is of another major version than its commands; a step that fails is the outcome's `problem`."""
    here, release = installed(), _release(plan)
    able = building(here)
    if not able.able:
        return NotHere(f"{able.why}; to get it: {able.get}")
    sh, tool = shutil.which("sh"), here.builder
    if sh is None or tool is None or not (emitted.directory / COMMANDS).is_file():
        return NotHere(f"there is no {'shell' if sh is None else COMMANDS}: run build_engine.py beside the artifact")
    if tool is here.trtexec and tool.version and int(tool.version.split(".")[0]) != release.major:
        return NotHere(f"`trtexec` is of TensorRT {tool.version}, and the artifact's commands are for {release}")
    if by := _foreign_code(emitted.directory):
        return NotHere(f"`{plain(by)[:80]}` beside the artifact is none of its files, and would be run: take it away")
    forget(emitted.directory)
    return _built(emitted.directory, sh, here, tool)


def _foreign_code(directory: Path) -> str:
    """A module or package that Python (before 3.11, which is told not to) would take from beside the scripts for one of
    its own: who brought the folder of a build may have put it there. "" for none."""
    ending = tuple(all_suffixes())
    for path in sorted(directory.iterdir()):
        package = path.is_dir() and any((path / f"__init__{suffix}").exists() for suffix in ending)
        if package or (path.name.endswith(ending) and path.name not in SCRIPTS):
            return path.name
    return ""


def _built(directory: Path, sh: str, here: Installed, tool: Tool) -> Built:
    by_module = tool is here.module
    by = f"{'module tensorrt' if by_module else 'trtexec'} {tool.version}".strip()
    steps = ("build_by_python", "profile_by_python") if by_module else ("build", "profile")
    environment = {**os.environ, **_programs(here), "PYTHONSAFEPATH": "1"}
    began, problem = time.monotonic(), ""
    for step in steps:
        answer = ask([sh, COMMANDS, step], _LONGEST, cwd=directory, environment=environment)
        if answer.problem:
            problem = f"`sh {COMMANDS} {step}` fails: {plain(answer.problem)}"[:_TOLD]
            break
    if not by_module and not problem:
        _tell(directory, here.gpus[0], tool)
    return Built(directory, f"{by} on {here.gpus[0].words}", here.gpus[0].name, time.monotonic() - began, problem)


def _tell(directory: Path, gpu: Gpu, trtexec: Tool) -> None:
    """What build_engine.py would tell of the engine: trtexec does not say which GPU and which model it is of."""
    facts = {
        "tensorrt": trtexec.version,
        "gpu": gpu.name,
        "compute_capability": gpu.capability,
        "driver": gpu.driver,
        "onnx": MODEL_FILE,
        "onnx_sha256": hashlib.sha256((directory / MODEL_FILE).read_bytes()).hexdigest(),
        "engine": ENGINE,
    }
    (directory / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _programs(here: Installed) -> Mapping[str, str]:
    found = {"TRTEXEC": here.trtexec, "PYTHON": here.module}
    return {name: str(tool.path) for name, tool in found.items() if tool is not None and not tool.problem}


def _release(plan: Plan) -> Release:
    """The version that the commands are written for."""
    facts = (fact for fact in plan.facts if fact.kind == "target" and fact.name == plan.target)
    settings = {name: value for fact in facts for name, value in fact.settings}
    return release_of(settings.get("version"), settings.get("device"))
