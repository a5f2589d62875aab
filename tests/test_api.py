"""The library: typed results behind every verb."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from compile_tools import HEAD, ROOT, environment, project
from seeds import few_of

import qdsl
import qdsl.api
from qdsl.describe.explain import Explanation
from qdsl.diag import QdslError, Severity
from qdsl.measure.events import Event
from qdsl.spec.plan import Plan


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    "before", few_of(["", "from qdsl.plan import decide\n", "import qdsl.spec.plan\n", "import qdsl.cli\n"], 2)
)
def test_plan_is_a_call_and_a_package(before: str, tmp_path: Path) -> None:
    recipe = project(tmp_path)
    program = f"import qdsl\n{before}print(len(qdsl.plan({str(recipe)!r}).plans))\nfrom qdsl.spec.plan import Plan\n"
    assert python(program + f"print(type(qdsl.plan({str(recipe)!r}).plans[0]) is Plan)") == "1\nTrue"


@pytest.mark.parametrize("before", ["", "import qdsl.lang.loading\n", "import qdsl.lang.format\n"])
def test_load_is_a_call_whatever_was_imported(before: str, tmp_path: Path) -> None:
    recipe = project(tmp_path)
    program = f"{before}from qdsl.lang import load\nprint(load({str(recipe)!r}).recipe.name)"
    assert python(program) == "demo"


def test_importing_the_library_loads_nothing_heavy() -> None:
    heavy = ("numpy", "onnx", "onnxruntime", "lark", "rich", "PIL")
    assert python(f"import sys, qdsl, qdsl.api\nprint([m for m in {heavy!r} if m in sys.modules])") == "[]"


RUN = """import os, sys
{first}
import onnxruntime
onnxruntime.InferenceSession({model!r}, providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize("by", ["the library", "the bench"])
def test_the_runtime_tells_nobody_what_is_run(by: str, tmp_path: Path) -> None:
    model, home = str(project(tmp_path).with_name("demo.onnx")), tmp_path / "home"
    home.mkdir()
    first = "import qdsl"
    if by == "the bench":  # alone on a device, without the library
        first = (
            f"sys.path.insert(0, {str(ROOT / 'qdsl/harness')!r})\nimport worker; worker.session_of({model!r}, 1, {{}})"
        )
    # Where it would keep what it has to tell, and without what keeps it silent on machines that test.
    told = ("ORT_", "CI", "GITHUB_", "BUILD_", "XDG_")
    words = {name: value for name, value in environment().items() if not name.startswith(told)}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(first=first, model=model)], env={**words, "HOME": str(home)}, check=False
    )
    assert done.returncode == 0 and not list(home.rglob("*"))


def test_every_public_name_is_there() -> None:
    assert all(hasattr(qdsl, name) for name in qdsl.__all__)
    assert all(hasattr(qdsl.api, name) for name in qdsl.api.__all__)
    for module in (qdsl, qdsl.api):
        with pytest.raises(AttributeError, match="evaluat"):
            _ = module.evaluat


def test_check_returns_a_recipe_or_every_error(tmp_path: Path) -> None:
    good = qdsl.check(project(tmp_path))
    assert good.ok
    assert good.recipe is not None
    assert good.recipe.name == "demo"
    broken = tmp_path / "broken.q"
    broken.write_text("recipe broken\nqantize static { }\nkeep opp Conv in float32\n", encoding="utf-8")
    bad = qdsl.check(broken)
    assert not bad.ok
    assert [d.span.line for d in bad.diagnostics if d.span] == [2, 3]


HOSTILE = {
    "empty": b"",
    "zeros": bytes(100),
    "not UTF-8": b"recipe \xff\xfe\n",
    "a folder's worth of braces": b"{" * 20000,
    "an open string": b'recipe a\nmodel onnx "a',
    "carriage returns": b"recipe a\rmodel\r\n",
    "extends itself": b'recipe hostile\nextends "hostile.q"\n',
    "a huge number": b"recipe hostile\ninput { rescale 1e999999 }\ntarget ort { threads 99999999999999999999999 }\n",
    "deep": b"recipe hostile\nkeep " + b"not (" * 3000 + b"all" + b")" * 3000 + b" in float32\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_check_never_raises_for_what_stands_in_the_recipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.q"
    path.write_bytes(HOSTILE[name])
    found = qdsl.check(path)
    assert found.ok or all(d.code and d.headline for d in found.diagnostics)
    assert not found.ok or name in ("empty", "carriage returns")


def test_check_of_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.q", tmp_path / ("x" * 300)):
        found = qdsl.check(path)
        assert [d.severity for d in found.diagnostics] == [Severity.ERROR]


def test_fmt_returns_text_or_raises() -> None:
    assert qdsl.fmt("recipe   a\n\n\n\ntarget   ort\n") == "recipe a\n\ntarget ort\n"
    with pytest.raises(QdslError):
        qdsl.fmt("recipe {")


def test_plan_returns_plans_and_explain_explanations(tmp_path: Path) -> None:
    recipe = project(tmp_path, "keep op Gemm in float32\n")
    found = qdsl.plan(recipe)
    assert isinstance(found, qdsl.api.PlanResult)
    assert [type(plan) for plan in found.plans] == [Plan]
    (node,) = qdsl.explain(recipe, "gemm")
    (tensor,) = qdsl.explain(recipe, "c")
    assert [type(node), type(tensor)] == [Explanation] * 2
    assert f"keep op Gemm, line {HEAD.count(chr(10)) + 1}" in node.text
    with pytest.raises(QdslError) as raised:
        qdsl.explain(recipe, "gem")
    assert any("gemm" in help for help in raised.value.diagnostics[0].help)


def test_compile_tells_what_happens(tmp_path: Path) -> None:
    heard: list[Event] = []
    result = qdsl.compile(project(tmp_path), out=tmp_path / "build", workers=1, batch=2, listener=heard.append)
    assert isinstance(result, qdsl.api.CompileResult)
    assert isinstance(result.targets[0], qdsl.api.TargetResult)
    stages = [event.stage for event in heard]
    assert list(dict.fromkeys(stages))[:4] == ["model", "calibrate", "rewrite", "tuned"]
    counted = [(event.done, event.total) for event in heard if event.total]
    assert counted[-1] == (6, 6)
    assert [done for done, _ in counted] == sorted(done for done, _ in counted)
    assert result.holds
    assert result.undecided == ()


def test_results_do_not_change_after_the_fact(tmp_path: Path) -> None:
    result = qdsl.compile(project(tmp_path), out=tmp_path / "build")
    with pytest.raises(AttributeError):
        result.recipe = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        result.targets[0].plan.nodes = ()
