"""The floors: imports point down, the package list is whole, start-up is light, banned modules stay out."""

from __future__ import annotations

import ast
import gc
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from qdsl.verbs import VERBS

ROOT = Path(__file__).resolve().parent.parent

FLOOR = {
    "qdsl.cli": 14,
    "qdsl.api": 13,
    "qdsl.steps": 12,
    "qdsl.advice": 11,
    "qdsl.differences": 11,
    "qdsl.allocate": 10,
    "qdsl.tune": 10,
    "qdsl.findings": 9,
    "qdsl.measure": 9,
    "qdsl.sensitivity": 9,
    "qdsl.auditing": 8,
    "qdsl.ranges": 8,
    "qdsl.starter": 8,
    "qdsl.work": 7,
    "qdsl.report": 7,
    "qdsl.describe": 6,
    "qdsl.causes": 5,
    "qdsl.plan": 5,
    "qdsl.harness": 5,
    "qdsl.engines": 4,
    "qdsl.exporting": 4,
    "qdsl.rounding": 4,
    "qdsl.targets": 4,
    "qdsl.train": 4,
    "qdsl.cascade": 3,
    "qdsl.finished": 3,
    "qdsl.integer": 3,
    "qdsl.passes": 3,
    "qdsl.provenance": 3,
    "qdsl.rewrite": 2,
    "qdsl.quant": 2,
    "qdsl.calibrate": 2,
    "qdsl.lock": 2,
    "qdsl.search": 2,
    "qdsl.stedgeai": 2,
    "qdsl.select": 2,
    "qdsl.predict": 2,
    "qdsl.lang": 1,
    "qdsl.graph": 1,
    "qdsl.data": 1,
    "qdsl.metrics": 1,
    "qdsl.capability": 1,
    "qdsl.grammars": 1,
    "qdsl.recipes": 1,
    "qdsl.diag": 0,
    "qdsl.spec": 0,
    "qdsl.verbs": 0,
    "qdsl.version": 0,
}

# Files of a room that others grow into.
MOST = {"qdsl/plan": 30, "qdsl/api": 1 + sum(bool(verb.home) for verb in VERBS.values())}

# Who reads engines with the script that goes beside their models.
TRAVELS = ("qdsl.harness.inspected", "qdsl.targets.tensorrt.scripts.verify_engine")

# Imports between packages of one floor, each with its reason.
SIDEWAYS = {
    ("qdsl.allocate", "qdsl.tune"): "a choice is measured with the common scales that its ranges decide, as it ships",
    ("qdsl.lang", "qdsl.grammars"): "the parser reads the grammar",
    ("qdsl.harness", "qdsl.causes"): "measurements.json holds where the error of an artifact comes from",
    ("qdsl.targets", "qdsl.engines"): "a target says by which engine its artifacts are checked here",
    ("qdsl.data", "qdsl.lang"): "a dataset is opened from its recipe statement",
    ("qdsl.spec", "qdsl.diag"): "a plan.json that cannot be read is told as a diagnostic",
    ("qdsl.finished", "qdsl.passes"): "what passes write on a node is read back from a file",
    ("qdsl.capability", "qdsl.graph"): "a row says what it covers by looking at nodes of the view",
}


@cache
def sources() -> tuple[tuple[str, Path], ...]:
    """(module name, file) of everything that ships."""
    found = []
    for top, package in (
        ("qdsl", "qdsl"),
        ("passes", "qdsl.passes"),
        ("grammars", "qdsl.grammars"),
        ("recipes", "qdsl.recipes"),
    ):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT / top).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found.append((".".join((package, *parts)), path))
    return tuple(found)


@cache
def package_of(module: str) -> str | None:
    return next((p for p in FLOOR if module == p or module.startswith(p + ".")), None)


@cache
def tree(path: Path) -> ast.Module:
    """What a file says. To look for garbage among so many new objects would take most of the time."""
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()


@cache
def imports(path: Path) -> tuple[str, ...]:
    """What a file imports, anywhere in it, by its full name: a module, or a name of one."""
    names = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def test_imports_point_down() -> None:
    wrong = []
    for module, path in sources():
        here = package_of(module)
        for name in imports(path):
            there = package_of(name)
            if here is None or there is None or here == there or FLOOR[there] < FLOOR[here]:
                continue
            if FLOOR[there] > FLOOR[here] or (here, there) not in SIDEWAYS:
                wrong.append(f"{module} (floor {FLOOR[here]}) imports {name} (floor {FLOOR[there]})")
    assert not wrong, "\n".join(sorted(set(wrong)))


def arrows() -> dict[str, set[str]]:
    """For each file the files that it imports: those of the modules it names, and those that names are taken from."""
    files = dict(sources())

    def file_of(name: str) -> str:
        return name if name in files or not name else file_of(name.rpartition(".")[0])

    return {module: {file_of(name) for name in imports(path)} - {""} for module, path in files.items()}


def test_no_file_imports_itself_by_a_detour() -> None:
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as found:
        pytest.fail(" <- ".join(found.args[1]))


def test_no_package_imports_itself_by_a_detour() -> None:
    between: dict[str, set[str]] = {}
    for module, found in arrows().items():
        here = package_of(module) or module
        between.setdefault(here, set()).update({package_of(name) or name for name in found} - {here})
    try:
        TopologicalSorter(between).prepare()
    except CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


def test_nobody_but_the_index_knows_a_target() -> None:
    """What a target is stays in its room: others ask it by the contract in `qdsl.targets.base`. A script that travels
    with an artifact imports nothing of it, and may be read with here, too."""
    rooms = {path.parent.name for path in (ROOT / "qdsl/targets").glob("*/__init__.py")}
    wrong = [
        f"{module} imports {name}"
        for module, path in sources()
        for name in imports(path)
        for room in rooms
        if f"{name}.".startswith(f"qdsl.targets.{room}.") and not f"{module}.".startswith(f"qdsl.targets.{room}.")
        if not (module == TRAVELS[0] and f"{name}.".startswith(f"{TRAVELS[1]}."))
    ]
    assert rooms and not [line for line in wrong if not line.startswith("qdsl.targets imports ")], wrong


def test_the_two_lowest_floors_know_the_standard_library_only() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, path in sources()
        for name in imports(path)
        if package_of(module) in ("qdsl.diag", "qdsl.spec")
        and not name.startswith("qdsl")
        and name.split(".")[0] not in sys.stdlib_module_names
    ]
    assert not wrong, wrong


def test_relative_imports_are_not_used() -> None:
    for module, path in sources():
        for node in ast.walk(tree(path)) if re.search(r"\bfrom\s*\.", path.read_text(encoding="utf-8")) else ():
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module}: line {node.lineno}"


@pytest.mark.parametrize("banned", ["onnxruntime.quantization", "pickle", "onnxscript", "onnx_ir"])
def test_nothing_that_ships_imports(banned: str) -> None:
    users = [m for m, path in sources() for name in imports(path) if name == banned or name.startswith(banned + ".")]
    assert not users, f"{banned} is imported by {users}"


def test_the_package_list_is_the_tree() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = sorted(module for module, path in sources() if path.name == "__init__.py")
    assert sorted(listed) == there


@pytest.mark.parametrize(("room", "most"), MOST.items())
def test_rooms_stay_small(room: str, most: int) -> None:
    assert len(list((ROOT / room).glob("*.py"))) <= most, f"{room} has something that belongs into a room of its own"


def test_passes_are_flat() -> None:
    assert not [p for p in (ROOT / "passes").iterdir() if p.is_dir() and p.name != "__pycache__"]


def loaded_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after `code`."""
    program = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


def test_the_command_line_starts_light() -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "lark", "rich", "torch", "onnx_graphsurgeon", "PIL"}
    assert not heavy & loaded_after("import qdsl.cli")


def test_help_loads_nothing_heavy() -> None:
    code = "import qdsl.cli\ntry: qdsl.cli.main(['--help'])\nexcept SystemExit: pass"
    assert not {"numpy", "onnx", "onnxruntime", "lark", "rich", "torch"} & loaded_after(code)


def test_check_loads_no_numbers() -> None:
    code = "import qdsl.cli; qdsl.cli.main(['check', 'recipes/yolov8n_static.q'])"
    loaded = loaded_after(code)
    assert "lark" in loaded
    assert not {"numpy", "onnx", "onnxruntime", "torch", "onnx_graphsurgeon"} & loaded


def test_plan_runs_no_runtime() -> None:
    code = "import qdsl.cli; qdsl.cli.main(['plan', 'recipes/yolov8n_static.q'])"
    assert "onnxruntime" not in loaded_after(code)
