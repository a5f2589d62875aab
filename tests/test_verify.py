"""`qdsl verify`: what an artifact computes, here and as other processors; the emulator is a script that emulates
nothing, so that everything around it is checked on any machine (tests/test_emulated.py has the real one)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_setups import more_predicted, other_goldens
from compile_tools import project, tree

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.harness import emulators, get_emulators, machine
from qdsl.harness.check import agreement
from qdsl.harness.checks import Agreement, Arithmetic, Check, Kept
from qdsl.measure.checking import faults

RULES = "evaluate fidelity on calib\n"
WEIGHTS = 'recipe demo\nmodel onnx "demo.onnx"\ndata calib from npz "calib.npz"\n'
WEIGHTS += "quantize float { weights int8 per_channel storage_only }\ntarget ort\n\n"
FAKE = """#!/bin/sh
[ "$1" = --version ] && { echo "qemu-any version 9.1.2 (of no use)"; exit; }
while [ "$1" != -0 ]; do [ "$1" = -L ] && root=$2; shift; done
shift 2
{more}
exec "$@"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of weights alone, whose arithmetic is float on every machine."""
    folder = tmp_path_factory.mktemp("made")
    path = project(folder, RULES, head=WEIGHTS)
    return qdsl.compile(path, out=folder / "build", lock=False).directory


@pytest.fixture
def build(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "build" / "demo"))


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`haswell` as a processor of this machine's kind and instruction sets, and an emulator that just runs."""
    if sys.platform != "linux":
        pytest.skip("qemu's user mode is for Linux")
    own = replace(
        emulators.CPUS["haswell"], architecture=emulators.architecture(), instructions=machine.instructions("")
    )
    monkeypatch.setitem(emulators.CPUS, "haswell", own)
    monkeypatch.setenv(emulators.PLACE, str(tmp_path / "tools"))

    def write(more: str = "") -> None:
        path = tmp_path / "tools" / "qemu" / f"qemu-{own.architecture}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE.replace("{more}", more), encoding="utf-8")
        path.chmod(0o755)

    write()
    return write


def change(build: Path, edit: Callable[[dict[str, Any], Path], object]) -> None:
    folder = build / "ort" / "bench"
    said = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    edit(said, folder)
    (folder / "bundle.json").write_text(json.dumps(said), encoding="utf-8")


def codes(error: pytest.ExceptionInfo[QdslError]) -> list[str]:
    return [each.code for each in error.value.diagnostics]


# ---- here ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_build_is_verified_here(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(build)
    assert main(["verify", str(build), "--strict"]) == 0
    told = capsys.readouterr().out
    assert "to the same file unoptimized there   6 samples" in told and "to the graph's own arithmetic" in told
    assert "beside float as planned" in told and "as predicted" in told and "emulated" not in told and " ms" not in told
    result = qdsl.verify(build, samples=2)
    (check,) = result.checks
    assert result.holds and (check.cpu, check.samples, check.emulated) == ("", 2, False)
    assert check.arithmetic is not None and check.arithmetic.samples == 2
    assert check.environment["numpy"] == np.__version__ and result.compiled_on == machine.environment()["instructions"]
    assert tree(build) == before, "verifying changes nothing"


def test_a_recipe_stands_for_its_build(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = made.parent.parent / "demo.q"
    assert main(["verify", str(recipe), "--out", str(made.parent), "--json", "--samples", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    (check,) = told["checks"]
    assert told["holds"] and check["cpu"] is None and check["unoptimized"]["outputs"].keys() == {"y"}
    assert main(["verify", str(recipe), "--out", str(tmp_path)]) == 1
    assert "error[measurements-missing]" in (err := capsys.readouterr().err) and f"qdsl compile {recipe}" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (other_goldens, "computes-otherwise", "output y is"),
        (more_predicted, "kernels-otherwise", "nodes predicted to run as MatMulNBits, found 1"),
    ],
)
def test_what_is_otherwise_is_found(
    edit: Any, code: str, words: str, build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(build, edit)
    assert main(["verify", str(build)]) == 0
    assert f"warning[{code}]" in (err := capsys.readouterr().err) and words in err and "help: " in err
    assert main(["verify", str(build), "--strict", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert not told["holds"] and {each["code"] for each in told["diagnostics"]} == {code}


def test_nothing_in_the_bundle_is_executed(build: Path) -> None:
    for script in (build / "ort" / "bench").rglob("*.py"):
        script.write_text("raise SystemExit('executed')\n", encoding="utf-8")
    with pytest.raises(QdslError) as caught:
        qdsl.verify(build)
    assert codes(caught) == ["artifact-refused"], "it is another bundle, and is not run"
    assert "is not the file that this bundle was made with" in caught.value.diagnostics[0].label


def test_another_artifact_is_not_verified(build: Path) -> None:
    with (build / "ort" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(QdslError) as caught:
        qdsl.verify(build)
    assert codes(caught) == ["measurements-other"]


def test_without_samples_nothing_is_verified(build: Path) -> None:
    with pytest.raises(ValueError, match="samples"):
        qdsl.verify(build, samples=0)
    shutil.rmtree(build / "ort" / "bench")
    with pytest.raises(QdslError) as caught:
        qdsl.verify(build)
    assert codes(caught) == ["verify-nothing"]


@pytest.mark.parametrize(
    ("written", "golden", "lowest"),
    [(None, 50.0, 50.0), (12.0, 50.0, 12.0), (50.0, np.nan, np.nan), (np.nan, 50.0, np.nan), (None, None, np.inf)],
)
def test_the_lowest_comparison_counts(written: float | None, golden: float | None, lowest: float) -> None:
    arithmetic = Arithmetic(1, (Agreement("ort", "y", written, 0.0),))
    found = Check("ort", "", {}, False, 1, (Agreement("ort", "y", golden, 0.0),), arithmetic, (), {}, ())
    assert found.lowest("y") == pytest.approx(lowest, nan_ok=True)
    assert np.isnan(found.lowest("another")) and np.isnan(replace(found, arithmetic=None, agreement=()).lowest("y"))


@pytest.mark.parametrize(
    ("apart", "planned", "here", "otherwise"),
    [
        (42.0, 34.4, 34.3, False),
        (42.0, 34.4, 32.3, True),
        (44.0, 34.4, 33.3, False),
        (None, 34.4, 34.4, False),
        (12.0, 34.4, np.nan, True),
        (12.0, None, 60.0, True),
        (12.0, 34.4, None, False),
        (np.nan, 34.4, -np.inf, True),
    ],
)
def test_what_is_rounded_otherwise_is_no_loss(
    apart: float | None, planned: float | None, here: float | None, otherwise: bool
) -> None:
    """An output of few values is far from equal where one of them is rounded to the other side."""
    golden, kept = Agreement("ort", "y", apart, 0.0), Kept("y", planned, here)
    found = faults([Check("ort", "", {}, False, 1, (golden,), None, (kept,), {}, ())])
    assert [each.code for each in found] == (["computes-otherwise"] if otherwise else [])
    assert faults([Check("ort", "", {}, False, 1, (replace(golden, sqnr_db=12.0),), None, (), {}, ())])


@pytest.mark.parametrize(
    ("apart", "exact", "otherwise"), [(20.9, True, False), (20.9, False, True), (np.nan, True, True)]
)
def test_a_file_beside_itself_is_only_rounded_where_its_sums_are_exact(
    apart: float, exact: bool, otherwise: bool
) -> None:
    """Without a float model an output has nothing to lose but steps of its own."""
    golden, kept = Agreement("ort", "y", apart, 0.0), Kept("y", None, apart)
    found = faults([Check("ort", "", {}, False, 1, (golden,), None, (kept,), {}, (), sums_exact=exact)])
    assert [each.code for each in found] == (["computes-otherwise"] if otherwise else [])


# ---- as another processor --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
def test_results_of_an_emulator_are_labelled(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(build), "--on", "haswell,", "haswell"]) == 0
    told = capsys.readouterr()
    lines = [line for line in told.out.splitlines() if line.startswith("verify")]
    assert len(lines) == 1 and "ort on haswell, emulated (haswell, qemu 9.1):" in lines[0]
    assert "6 samples" not in told.out and "4 samples" in told.out
    (check,) = qdsl.verify(build, on=["haswell"], samples=1).checks
    assert check.emulated and check.environment["emulator"] == "haswell, qemu 9.1" and check.samples == 1


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
def test_findings_say_where(build: Path) -> None:
    change(build, other_goldens)
    (found,) = qdsl.verify(build, on=["haswell"]).diagnostics
    assert found.code == "computes-otherwise" and "emulated (haswell, qemu 9.1)" in found.headline


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("measured", [True, False])
def test_compile_verifies_as_a_step(measured: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project(tmp_path, RULES, head=WEIGHTS)
    words = ["compile", str(path), "--no-lock", "--out", str(tmp_path / "out"), "--on", "haswell"]
    assert main([*words, *([] if measured else ["--no-measure"]), "--json"]) == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert check["label"] == "emulated (haswell, qemu 9.1)" and check["samples"] == 4
    assert (tmp_path / "out" / "demo" / "ort" / "bench").is_dir() is measured, "what was made for this alone is gone"


def test_the_processor_is_the_one_asked_for(pretended: Any, build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(emulators.CPUS, "haswell", replace(emulators.CPUS["haswell"], instructions="other"))
    with pytest.raises(QdslError) as caught:
        qdsl.verify(build, on=["haswell"])
    assert codes(caught) == ["emulator-failed"] and "it ran as" in caught.value.diagnostics[0].label


@pytest.mark.parametrize(
    ("more", "label"),
    [("echo 'a: Illegal instruction' >&2; exit 132", "Illegal instruction"), ("exit 7", "7"), ("echo {; exit", "")],
)
def test_an_emulator_that_fails_is_told(more: str, label: str, pretended: Any, build: Path) -> None:
    pretended(more)
    with pytest.raises(QdslError) as caught:
        qdsl.verify(build, on=["haswell"])
    assert codes(caught) == ["emulator-failed"] and label in caught.value.diagnostics[0].label


@pytest.mark.usefixtures("pretended")
def test_the_emulated_processor_has_its_own_cpuinfo(build: Path) -> None:
    with emulators.emulator(emulators.CPUS["haswell"]) as by:
        root = Path(by.words[by.words.index("-L") + 1])
        text = (root / "proc" / "cpuinfo").read_text(encoding="utf-8")
        assert machine.instructions(text) == "avx2" and "Haswell" in machine.processor(text)
        assert text.count("processor\t:") == 4
    assert not root.exists()


@pytest.mark.parametrize("cpu", emulators.CPUS.values(), ids=str)
def test_what_cpuinfo_says_is_what_is_expected(cpu: emulators.Cpu) -> None:
    assert machine.instructions(cpu.cpuinfo) == cpu.instructions
    assert machine.processor(cpu.cpuinfo).lower().endswith((cpu.name, f"({cpu.name})"))


def test_all_that_is_missing_is_told_at_once(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(emulators.PLACE, str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QdslError) as caught:
        qdsl.verify(build, on=list(emulators.CPUS))
    assert codes(caught) == ["emulator-absent"] * len(emulators.CPUS)
    with pytest.raises(QdslError):
        qdsl.compile(tmp_path / "no.q", on=["cortex-a76"])


@pytest.mark.parametrize("name", ["haswel", "", "HASWELL", "x" * 500])
def test_an_unknown_processor_names_those_there_are(name: str, build: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.verify(build, on=["haswell", name])
    (found,) = caught.value.diagnostics
    assert found.code == "cpu-unknown" and "`haswell`" in found.help[0] and len(found.headline) < 200


def test_a_foreign_python_needs_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is fetched is nothing."""
    foreign = next(cpu for cpu in emulators.CPUS.values() if cpu.architecture == emulators.ARM)
    if emulators.architecture() == emulators.ARM or sys.platform != "linux":
        pytest.skip("this machine's own Python is of that kind")
    monkeypatch.setenv(emulators.PLACE, str(tmp_path))
    for path in ("qemu/qemu-aarch64", "root/usr/bin/python3.11"):
        (tmp_path / path).parent.mkdir(parents=True)
        shutil.copy2("/bin/true", tmp_path / path)
    with pytest.raises(QdslError) as caught:
        emulators.require([foreign])
    assert "Python with onnxruntime" in caught.value.diagnostics[0].headline
    for name in ("onnxruntime", "numpy"):
        (tmp_path / "site" / name).mkdir(parents=True)
    emulators.require([foreign])


@pytest.mark.slow
def test_fetching_needs_its_tools(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qdsl.harness.get_emulators", str(tmp_path / "here")]
    environment = dict(os.environ, PATH=str(tmp_path), PYTHONPATH=str(Path(qdsl.__file__).parent.parent))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1 and done.stderr.startswith("get_emulators: this needs") and not done.stdout
    assert not (tmp_path / "here").exists()


def test_what_is_fetched_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is there whole or not at all: one that fails leaves the others, and nothing of its own."""
    made: list[str] = []

    def part(name: str, fails: bool = False) -> Callable[[Path, Path], None]:
        def make(folder: Path, done: Path) -> None:
            (folder / "half").touch()
            if fails:
                raise get_emulators.FetchError("no network")
            made.append(name)

        return make

    monkeypatch.setattr(get_emulators, "_TOOLS", ())
    monkeypatch.setattr(get_emulators, "architecture", lambda: emulators.X86)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(get_emulators, "_qemu", part("qemu"))
    monkeypatch.setattr(get_emulators, "_system", part("root"))
    monkeypatch.setattr(get_emulators, "_packages", part("site", fails=True))
    folder = tmp_path / "cache" / "tools"
    with pytest.raises(get_emulators.FetchError):
        get_emulators.fetch(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["qemu", "root"] and made == ["qemu", "root"]
    monkeypatch.setattr(get_emulators, "_packages", part("site"))
    get_emulators.fetch(folder)
    get_emulators.fetch(folder)
    assert made == ["qemu", "root", "site"] and [path.name for path in folder.parent.iterdir()] == ["tools"]


def test_agreement_of_whole_numbers_is_exact() -> None:
    same = np.array([2**53, -1], np.int64)
    assert agreement([same], [same])["sqnr_db"] is None
