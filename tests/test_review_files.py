"""The hooks for pre-commit, and the workflow of examples/ci: each command of them is run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from compile_tools import project, residual_net
from git_tools import ENVIRONMENT, commit, git, repository

import qdsl
from qdsl.cli import main

ROOT = Path(__file__).resolve().parent.parent
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
WORKFLOW = yaml.safe_load((ROOT / "examples/ci/quantization.yml").read_text())
STEPS = [step for step in WORKFLOW["jobs"]["review"]["steps"] if "run" in step]
# What needs a package index or a code host.
ELSEWHERE = {"install", "comment"}


@pytest.fixture
def reviewed(tmp_path: Path) -> Path:
    """A repository with a locked recipe, in which one line has changed since `origin/main`."""
    folder = tmp_path / "repo"
    recipe = project(folder / "recipes")
    qdsl.compile(recipe, out=tmp_path / "build")
    (folder / "models").mkdir()
    model = tmp_path / "build" / "demo" / "ort" / "model.onnx"
    (folder / "models" / "demo.onnx").write_bytes(model.read_bytes())
    main(["fmt", str(recipe)])
    repository(folder, {})
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    recipe.write_text(recipe.read_text() + 'keep "gemm" in float32\n')
    main(["fmt", str(recipe)])
    qdsl.compile(recipe, out=tmp_path / "build", update=True)
    return commit(folder, {})


def shell(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as the workflow's runner does, with `qdsl` at hand."""
    tools = folder.parent / "bin"
    tools.mkdir(exist_ok=True)
    command = tools / "qdsl"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m qdsl "$@"\n')
    command.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, **ENVIRONMENT, "PATH": path, **environment}
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_every_step_of_the_workflow_passes(reviewed: Path) -> None:
    assert {step["name"] for step in STEPS} > ELSEWHERE
    for step in STEPS:
        if step["name"] not in ELSEWHERE:
            done = shell(reviewed, step["run"], BASE="origin/main")
            assert done.returncode == 0, f"{step['name']}: {done.stderr}{done.stdout}"
    told = (reviewed / "quantization.md").read_text()
    assert '+ keep "gemm" in float32' in told and "`gemm`" in told
    assert json.loads((reviewed / "demo.sarif").read_text())["version"] == "2.1.0"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["format", "check", "plan"])
def test_the_workflow_stops_at_what_is_wrong(reviewed: Path, name: str) -> None:
    recipe = reviewed / "recipes" / "demo.q"
    recipe.write_text(recipe.read_text() + {"format": "", "check": "keep gemm in\n", "plan": ""}[name])
    if name == "format":
        recipe.write_text(recipe.read_text().replace("  weights", "      weights"))
    if name == "plan":
        (reviewed / "recipes" / "demo.onnx").write_bytes(b"no model")
    (step,) = [step for step in STEPS if step["name"] == name]
    assert shell(reviewed, step["run"], BASE="origin/main").returncode != 0


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_hooks_take_good_files(hook: dict[str, Any], reviewed: Path) -> None:
    done = shell(reviewed, f"{hook['entry']} recipes/demo.q")
    assert done.returncode == 0, done.stderr
    assert not git(reviewed, "status", "--porcelain")


def test_hooks_of_the_page_are_those_of_the_file() -> None:
    page = (ROOT / "docs/diff.md").read_text()
    for hook in HOOKS:
        assert f"{{id: {hook['id']}, name: {hook['name']}, entry: {hook['entry']}, language: system" in page


def test_a_lock_that_no_longer_fits_is_told(reviewed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = reviewed / "recipes" / "demo.q"
    assert main(["check", "--locked", str(recipe)]) == 0
    text = recipe.read_text()
    recipe.write_text(text.replace("minmax on calib", "percentile 99 on calib"))
    assert main(["check", "--locked", str(recipe)]) == 1
    assert "error[lock-stale]: `demo.lock` is stale: recipe: `calibrate of quantize` changed" in capsys.readouterr().err
    assert not qdsl.check(recipe, locked=True).ok and qdsl.check(recipe).ok
    recipe.write_text(text)
    other = residual_net()
    other.graph.node[0].name = "other"
    onnx.save(other, reviewed / "recipes" / "demo.onnx")
    assert main(["check", "--locked", str(recipe)]) == 1
    assert "model: `demo.onnx` changed" in capsys.readouterr().err
    (reviewed / "recipes" / "demo.lock").write_text("qdsl-lock 1\n")
    assert main(["check", "--locked", str(recipe)]) == 1
    assert "error[lock-invalid]" in capsys.readouterr().err
    (reviewed / "recipes" / "demo.lock").unlink()
    assert main(["check", "--locked", str(recipe)]) == 0


def test_entries_are_commands_of_ours() -> None:
    assert all(shlex.split(hook["entry"])[0] == "qdsl" for hook in HOOKS)
