"""`target stm32` where its C runs on an emulated core: verified, evaluated and budgeted by what that showed.

Needs arm-none-eabi-gcc and qemu-system-arm; skips without.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.spec.emulated import Emulated
from qdsl.targets import target_of
from qdsl.targets.results import NotHere, Verification
from qdsl.targets.stm32.boards import BOARDS
from qdsl.targets.stm32.emulated import installed
from qdsl.targets.stm32.emulated.building import Limits
from qdsl.targets.stm32.emulated.fitting import Fit, fit
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.on_core import OnCore

needs_tools = pytest.mark.skipif(bool(tools().missing), reason=tools().missing)
STM32 = HEAD.replace("uint8", "int8").replace("target ort", "target stm32 { @ }")
EVALUATE = "evaluate fidelity on calib { require sqnr >= 10 dB }\n"


def compiled(folder: Path, inside: str = "") -> qdsl.CompileResult:
    return qdsl.compile(project(folder, EVALUATE, head=STM32.replace("@", inside)), out=folder / "build", lock=False)


def seen(result: qdsl.CompileResult) -> Verification:
    found = result.targets[0].verification
    assert isinstance(found, Verification)
    return found


def on_core(result: qdsl.CompileResult) -> Emulated:
    found = seen(result).emulated
    assert found is not None, seen(result).not_emulated
    return found


@pytest.mark.parametrize(
    ("inside", "core"),
    [
        ("", "Cortex-M7 (QEMU mps2-an500)"),
        ('io int8; optimize ram; device "nucleo-f446re"', "Cortex-M4 (QEMU mps2-an386)"),
        ('device "B-U585I-IOT02A"', "Cortex-M4 (QEMU mps2-an386)"),
    ],
    ids=["no board", "M4, int8", "M33"],
)
@pytest.mark.slow
@pytest.mark.board
@needs_tools
def test_an_artifact_runs_on_its_core(inside: str, core: str, tmp_path: Path) -> None:
    found = on_core(compiled(tmp_path, inside))
    assert core in found.label and found.exact == found.outputs == 5 * found.samples > 0
    assert sum(step.macs for step in found.steps) == found.macs > 0
    assert found.flash > 1000 and found.ram > 192 and found.instructions > found.macs // 2


@pytest.mark.slow
@pytest.mark.board
@needs_tools
def test_budgets_are_decided_by_the_linker_and_the_counter(tmp_path: Path) -> None:
    first = on_core(compiled(tmp_path / "first"))
    bounds = {"flash": first.flash, "ram": first.ram + first.stack}
    for less, verdict in ((0, "holds"), (1, "broken")):
        text = "; ".join(f"require {name} <= {value - less} B" for name, value in bounds.items())
        text += f"; require instructions <= {first.instructions - less}"
        result = compiled(tmp_path / verdict, text)
        decided = {each.metric: each.verdict for each in result.targets[0].budgets if each.metric != "sqnr"}
        assert decided == dict.fromkeys(("flash", "ram", "instructions"), verdict)


@pytest.mark.slow
@pytest.mark.board
@needs_tools
@pytest.mark.parametrize("io", ["", "io int8"])
def test_an_evaluation_is_of_the_outputs_of_the_core(io: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = compiled(tmp_path, io)
    (budget,) = result.targets[0].budgets
    assert "its C on an emulated Cortex-M7 (QEMU mps2-an500)" in budget.source
    monkeypatch.setattr(installed, "place", lambda name: None)
    installed.tools.cache_clear()
    again = qdsl.evaluate(tmp_path / "demo.q", out=tmp_path / "build")
    (other,) = again.budgets["stm32"]
    assert "its integer graph" in other.source and (io or other.value == budget.value)


@pytest.mark.slow
@pytest.mark.board
@needs_tools
def test_a_runner_answers_in_one_process_which_ends_with_it(tmp_path: Path) -> None:
    emitted = compiled(tmp_path).targets[0].emitted
    runner, written = target_of("stm32").runner(emitted), target_of("stm32").runner(emitted, as_written=True)
    assert isinstance(runner, OnCore) and not isinstance(written, NotHere | OnCore)
    process = runner.device.process
    for sample in np.load(tmp_path / "calib.npz")["x"]:
        arrays = {"x": sample[None]}
        assert np.array_equal(runner.run(arrays)["y"], written.run(arrays)["y"])
        assert process.poll() is None
    with pytest.raises(QdslError, match="artifact-refused"):
        runner.run({"x": np.zeros((1, 3, 8, 9), np.float32)})
    del runner
    gc.collect()
    assert process.poll() is not None


@pytest.mark.slow
@pytest.mark.board
@needs_tools
def test_a_profile_tells_instructions_and_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = on_core(compiled(tmp_path))
    assert main(["profile", str(tmp_path / "demo.q"), "--out", str(tmp_path / "build")]) == 0
    told = capsys.readouterr()
    assert f"{found.instructions:,} instructions per inference" in told.out
    assert "no board is here to time it on" in told.out + told.err


@pytest.mark.slow
@pytest.mark.board
@needs_tools
def test_what_is_too_large_for_its_board_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = "qdsl.targets.stm32.on_core.fit"
    monkeypatch.setattr(fitted, lambda board: Fit("cortex-m7", Limits(flash=4096)))
    with pytest.raises(QdslError) as caught:
        compiled(tmp_path)
    (found,) = caught.value.diagnostics
    assert found.code == "c-too-large" and found.span is not None and "flash" in found.headline
    assert not (tmp_path / "build" / "demo" / "stm32" / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.board
@needs_tools
def test_c_that_was_changed_is_caught(tmp_path: Path) -> None:
    """C out of a folder is not run: what others made of it could reach this machine's files from within QEMU."""
    folder = compiled(tmp_path).targets[0].emitted.directory / "c"
    weights = folder / "weights.h"
    text = weights.read_text(encoding="ascii")
    head, brace, rest = text.partition("{")
    (folder / "stdint.h").write_text("#error read\n", encoding="ascii")
    assert qdsl.evaluate(tmp_path / "demo.q", out=tmp_path / "build").holds
    for changed in (f"{head}{brace}100, {rest.partition(',')[2]}", f"{text}/* more */\n", None):
        weights.unlink() if changed is None else weights.write_text(changed, encoding="ascii")
        with pytest.raises(QdslError) as caught:
            qdsl.evaluate(tmp_path / "demo.q", out=tmp_path / "build")
        (found,) = caught.value.diagnostics
        assert found.code == "artifact-refused" and "c/weights.h" in found.headline and found.span is not None


def test_each_board_has_a_core_that_stands_in_for_it_or_none() -> None:
    fits = {name: fit(board) for name, board in BOARDS.items()}
    found = {name: each.core for name, each in fits.items() if isinstance(each, Fit)}
    assert set(fits) - set(found) == {"nucleo-f091rc"}
    assert found["stm32h7b3i-dk"] == "cortex-m7" and found["nucleo-h563zi"] == "cortex-m4"
    (own, shared) = (fits[name] for name in ("stm32h7b3i-dk", "nucleo-f446re"))
    assert isinstance(own, Fit) and own.limits == Limits(2 << 20, 1 << 20, 8 << 10, "STM32H7B3I-DK")
    assert isinstance(shared, Fit) and shared.limits == Limits(512 << 10, 120 << 10, 8 << 10, "NUCLEO-F446RE")


@pytest.mark.slow
def test_without_the_tools_the_build_says_so(tmp_path: Path) -> None:
    result = compiled(tmp_path, "require instructions <= 1000000")
    told = seen(result).not_emulated
    assert seen(result).emulated is None and "arm-none-eabi-gcc" in told and "apt-get install" in told
    verdicts = {each.metric: each for each in result.targets[0].budgets}
    count = verdicts["instructions"]
    assert count.verdict == "undecided" and "arm-none-eabi-gcc" in count.source
    known = json.loads((result.directory / "measurements.json").read_text(encoding="utf-8"))
    assert known["builds"]["stm32"]["not_emulated"] == told
