"""The crack classifiers on other processors, by the real runtime under qemu: kernels as predicted, sums as written.

Needs what `python -m qdsl.harness.get_emulators` fetches (and the pictures of ../shared/testdata); skips without.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnxruntime
import pytest

import qdsl
from qdsl.diag import QdslError
from qdsl.harness import emulators
from qdsl.harness.checks import Check
from qdsl.targets.results import FLOOR_DB

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.emulated]

ARM = ("cortex-a76", "cortex-a53")
# Equal to the same file unoptimized, on Arm to the bit.
EXACT = ("cracks_v1_static", "cracks_v1_static_int8", "cracks_v1_dynamic")
# At least 43 dB from it: float steps round otherwise there (tests/test_emulated_sums.py says which).
RECIPES = (*EXACT, "cracks_v2_dynamic", "cracks_v2_static")


@pytest.mark.parametrize("name", RECIPES)
def test_on_other_processors(name: str, testdata: Path, tmp_path: Path) -> None:
    """One test a recipe: it is built and emulated once, whatever else runs in other workers."""
    checks = emulated(name, tmp_path)
    assert set(checks) == {*ARM, "haswell"}
    for check in checks.values():
        kernels_are_those_that_were_predicted(check)
        outputs_are_near_the_arithmetic_of_the_graph(check)
        this_very_runtime_ran_there(check)
    for cpu in ARM if name in EXACT else ():
        fused_kernels_compute_the_graph_to_the_bit(cpu, checks[cpu])
    assert checks["haswell"].environment["python"] == ".".join(map(str, sys.version_info[:3]))


def emulated(name: str, folder: Path) -> dict[str, Check]:
    """What one artifact computes on every processor that is emulated here."""
    try:
        emulators.require(emulators.cpus((*ARM, "haswell")))
    except QdslError as error:
        pytest.skip(error.diagnostics[0].headline)
    recipe = ROOT / "recipes" / f"{name.removesuffix('_int8')}.q"
    if name.endswith("_int8"):
        recipe = signed(recipe, folder)
    result = qdsl.compile(recipe, out=folder / "build", lock=False, measure=False, on=(*ARM, "haswell"))
    return {check.cpu: check for check in result.checks}


def signed(recipe: Path, folder: Path) -> Path:
    """The recipe with int8 activations."""
    text = recipe.read_text(encoding="utf-8").replace("../", f"{ROOT.as_posix()}/")
    assert "activations uint8" in text
    path = folder / recipe.name
    path.write_text(text.replace("activations uint8", "activations int8"), encoding="utf-8")
    return path


def kernels_are_those_that_were_predicted(check: Check) -> None:
    assert check.as_predicted and sum(real for _, _, real in check.kernels) > 0, (check.cpu, check.kernels)


def outputs_are_near_the_arithmetic_of_the_graph(check: Check) -> None:
    found = {each.output: check.lowest(each.output) >= FLOOR_DB for each in check.compared}
    assert found == {"logits": True}, check.cpu


def fused_kernels_compute_the_graph_to_the_bit(cpu: str, check: Check) -> None:
    assert check.label.startswith(f"emulated ({cpu}, qemu ") and check.arithmetic is not None
    assert [each.sqnr_db for each in check.arithmetic.outputs] == [None], "equal to the same file unoptimized"
    assert ("asimddp" in check.environment["instructions"].split()) is (cpu == "cortex-a76")


def this_very_runtime_ran_there(check: Check) -> None:
    assert check.environment["onnxruntime"] == onnxruntime.__version__
