"""What stands beside an emitted model: commands that each version takes, and names of models that lead nowhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorrt_contracts import needs_contracts, options

from qdsl.calibrate.cache_file import read_cache
from qdsl.spec.engine import ManifestNode, ManifestPair, QuantManifest
from qdsl.targets.tensorrt.beside import Calibrated, beside
from qdsl.targets.tensorrt.building import Building, Input, UnbuildableError
from qdsl.targets.tensorrt.commands import commands
from qdsl.targets.tensorrt.devices import DEVICES, Device, device_named
from qdsl.targets.tensorrt.golden import Golden, GoldenSample
from qdsl.targets.tensorrt.readme import readme
from qdsl.targets.tensorrt.versions import RELEASES, Release, parse_version

REMOVED = ("int8", "fp16", "bf16", "fp8", "int4", "best", "calib", "precisionConstraints", "layerPrecisions")
FIXED = Input("images", "float32", (1, 3, 8, 8))
OPEN = Input("images", "float32", (None, 3, 8, 8), ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)))
HOSTILE = "a:b $(touch x) \n'\"`; é"
NANO = device_named("jetson-orin-nano")

# Programs that write what they are given, one argument a line, instead of running it.
STUB = """#!/bin/sh
echo "$(basename "$0")" >> "$TOLD"
for word in "$@"; do printf '%s\\n' "$word" >> "$TOLD"; done
"""


def manifest(typing: str = "weak", *types: str) -> QuantManifest:
    pairs = tuple(ManifestPair(at, f"t{at}", "q", "dq", kind, (0.1,)) for at, kind in enumerate(types or ("int8",)))
    nodes = (
        ManifestNode("conv", "Conv", "int8", "", "line 3", pairs),
        ManifestNode("fc", "Gemm", "float16", "", "line 4"),
    )
    return QuantManifest(1, "0.1", "demo", "model.onnx", "0" * 64, "", "", typing, nodes)


def building(
    release: Release,
    device: Device | None = None,
    *inputs: Input,
    typing: str = "weak",
    cache: str = "",
    types: str = "int8",
) -> Building:
    golden = Golden(2, {"boxes": 0.5, HOSTILE: 0.02})
    return Building(manifest(typing, *types.split()), release, device, inputs or (FIXED,), golden, cache)


def told(text: str, folder: Path, *steps: str) -> list[list[str]]:
    """What the programs of commands.sh are given, step by step."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (folder / "told").unlink(missing_ok=True)
    for name in ("trtexec", "py", "polygraphy", "sudo"):
        (programs / name).write_text(STUB, encoding="utf-8")
        (programs / name).chmod(0o755)
    (folder / "commands.sh").write_text(text, encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TOLD": str(folder / "told"),
        "TRTEXEC": "trtexec",
        "PYTHON": "py",
    }
    subprocess.run(["sh", str(folder / "commands.sh"), *steps], check=True, env=environment, timeout=60)
    found: list[list[str]] = []
    for line in (folder / "told").read_text(encoding="utf-8").splitlines():
        if line in ("trtexec", "py", "polygraphy", "sudo"):
            found.append([line])
        else:
            found[-1].append(line)
    return found


def every(release: Release) -> list[Building]:
    typings = [typing for typing, has in (("weak", release.weak), ("strong", release.strong)) if has]
    cache = "implicit" if release.calibration_caches else ""
    return [
        building(release, device, each, typing=typing, cache=cache)
        for typing in typings
        for device in (None, NANO, device_named("jetson-agx-orin"))
        for each in (FIXED, OPEN)
    ]


@needs_contracts
@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_every_option_is_one_of_that_version(release: Release) -> None:
    for each in every(release):
        text = commands(each).replace("\\\n", "")
        lines = [line for line in text.splitlines() if line.lstrip().startswith('"$TRTEXEC"')]
        assert len(lines) == (3 if each.cache else 2)
        used = {word for line in lines for word in re.findall(r"(?<=\s)--[A-Za-z0-9]+", line)}
        assert len(used) >= 12 and used <= options(release), used - options(release)


@pytest.mark.parametrize("release", [release for release in RELEASES if release.major == 11], ids=str)
def test_nothing_that_was_removed_stands_in_what_is_made_for_11(release: Release) -> None:
    for each in every(release):
        assert not re.search(rf"--({'|'.join(REMOVED)}|stronglyTyped|layerOutputTypes)\b", commands(each))


def test_a_removed_option_would_be_seen() -> None:
    assert "--int8 --fp16" in commands(building(Release(10, 3)))
    assert "--stronglyTyped" in commands(building(Release(10, 3), typing="strong"))


def test_the_steps_are_what_trtexec_and_the_scripts_are_given(tmp_path: Path) -> None:
    build, profile, verify = told(commands(building(Release(10, 3), NANO, OPEN)), tmp_path)
    assert build == [
        *("trtexec", "--onnx=model.onnx", "--saveEngine=engine.plan", "--int8", "--fp16"),
        *("--minShapes=images:1x3x8x8", "--optShapes=images:2x3x8x8", "--maxShapes=images:4x3x8x8"),
        *("--profilingVerbosity=detailed", "--timingCacheFile=timing.cache", "--memPoolSize=workspace:2048"),
        "--skipInference",
    ]
    assert profile == [
        *("trtexec", "--loadEngine=engine.plan", "--shapes=images:2x3x8x8"),
        *("--noDataTransfers", "--useCudaGraph", "--useSpinWait", "--separateProfileRun"),
        *("--warmUp=500", "--duration=10", "--iterations=100", "--exportTimes=times.json"),
        *("--exportProfile=profile.json", "--exportLayerInfo=layers.json", "--profilingVerbosity=detailed"),
    ]
    files = "--manifest quant_manifest.json --layers layers.json --profile profile.json"
    assert verify == ["py", "verify_engine.py", *files.split()]


def test_the_line_of_11_says_less(tmp_path: Path) -> None:
    build, profile, _ = told(commands(building(Release(11, 4), device_named("h100"))), tmp_path)
    ends = ["--profilingVerbosity=detailed", "--timingCacheFile=timing.cache", "--memPoolSize=workspace:4096"]
    assert build == ["trtexec", "--onnx=model.onnx", "--saveEngine=engine.plan", *ends, "--skipInference"]
    assert not {"--noDataTransfers", "--useCudaGraph"} & set(profile)


def test_a_dla_gets_the_float_file_and_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("dla", "implicit"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "calib.cache").write_text(
            "TRT-100300-EntropyCalibration2\nTRT-1: 3c010204\n", encoding="utf-8"
        )
    agx = device_named("jetson-agx-orin")
    ((*words,),) = told(commands(building(Release(10, 3), agx, cache="dla")), tmp_path, "dla")
    options = ("--int8", "--fp16", "--calib=dla/calib.here.cache", "--useDLACore=0", "--allowGPUFallback")
    assert words[1:8] == ["--onnx=dla/model.onnx", "--saveEngine=dla/engine.plan", *options]
    ((*words,),) = told(commands(building(Release(10, 3), NANO, cache="implicit")), tmp_path, "implicit")
    for folder in ("dla", "implicit"):
        ours, theirs = ((tmp_path / folder / name).read_bytes() for name in ("calib.cache", "calib.here.cache"))
        assert ours == theirs
    monkeypatch.setenv("CACHE_VERSION", "101303")
    told(commands(building(Release(10, 3), NANO, cache="implicit")), tmp_path, "implicit")
    text = (tmp_path / "implicit" / "calib.here.cache").read_text(encoding="utf-8")
    assert text == "TRT-101303-EntropyCalibration2\nTRT-1: 3c010204\n"
    assert "--calib=implicit/calib.here.cache" in words and "--useDLACore=0" not in words


def test_no_name_of_a_model_is_read_by_the_shell(tmp_path: Path) -> None:
    name = HOSTILE.replace("'", "").replace("\n", " ")
    named = replace(OPEN, name=name)
    build, *_ = told(commands(building(Release(10, 3), None, named)), tmp_path)
    assert build[5] == f"--minShapes='{name}':1x3x8x8"
    (check,) = told(commands(building(Release(10, 3), None, named)), tmp_path, "check")
    assert "\n".join(check).endswith(f"--atol\nboxes:0.5\n{HOSTILE}:0.02")
    text = commands(building(Release(10, 3), None, replace(OPEN, name=HOSTILE)))
    build, profile, _ = told(text, tmp_path)
    assert build[:2] == ["py", "build_engine.py"] and "\n".join(build).endswith(f"--max={HOSTILE}=4x3x8x8")
    assert profile[:2] == ["py", "profile_engine.py"]
    assert not (tmp_path / "x").exists()


def test_an_output_that_reads_as_an_option_has_a_tolerance_too(tmp_path: Path) -> None:
    found = Golden(1, {"--help": 0.5, "-x": 0.25, "boxes": 0.02})
    made = replace(building(Release(10, 3), None), golden=found)
    (check,) = told(commands(made), tmp_path, "check")
    assert check[-3:] == ["--atol", "0.5", "boxes:0.02"]


def test_without_trtexec_it_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "commands.sh").write_text(commands(building(Release(10, 3), NANO)), encoding="utf-8")
    words = {"PATH": os.environ["PATH"], "TRTEXEC": str(tmp_path / "trtexec")}
    done = subprocess.run(["sh", "commands.sh"], cwd=tmp_path, env=words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 127 and not done.stdout
    assert f"there is no {tmp_path / 'trtexec'}: " in done.stderr
    line = done.stderr.splitlines()[-1].removeprefix("sh commands.sh ")
    known = re.search(r"one or more of: (.*)", commands(building(Release(10, 3), NANO)))
    assert known is not None and set(line.split()) <= set(known[1].split(", "))


def test_a_step_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        told(commands(building(Release(10, 3))), tmp_path, "bild")
    assert caught.value.returncode == 2


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_it_is_a_script_of_any_shell(release: Release, tmp_path: Path) -> None:
    (tmp_path / "commands.sh").write_text("".join(map(commands, every(release))), encoding="utf-8")
    for shell in ("sh", "dash", "bash"):
        if shutil.which(shell):
            subprocess.run([shell, "-n", str(tmp_path / "commands.sh")], check=True, timeout=60)


def test_a_weak_build_is_allowed_the_types_that_are_stored() -> None:
    assert building(Release(10, 3)).flags == ("int8", "fp16")
    assert building(Release(10, 3), types="int4 int8").flags == ("int4", "int8", "fp16")
    assert building(Release(10, 9), types="float8e4m3fn").flags == ("fp8", "fp16")
    text = commands(building(Release(10, 9), types="float4e2m1"))
    assert "build_engine.py" in text and "trtexec has no --fp4" in text and "--fp4" not in text.replace("no --fp4", "")


@pytest.mark.parametrize(
    ("release", "typing", "types", "why"),
    [
        ("8.6", "strong", "int8", "has no strongly typed networks"),
        ("10.3", "weak", "int8 float8e4m3fn", "needs a strongly typed network"),
        ("10.0", "weak", "int4", "does not build int4"),
    ],
)
def test_what_no_build_takes_is_refused(release: str, typing: str, types: str, why: str) -> None:
    with pytest.raises(UnbuildableError, match=why):
        building(parse_version(release), typing=typing, types=types)


def test_an_open_dimension_needs_a_range() -> None:
    with pytest.raises(UnbuildableError, match="no range"):
        Input("x", "float32", (None, 3))
    with pytest.raises(UnbuildableError, match="zero byte"):
        Input("x\0", "float32", (1, 3))


def test_memory_is_kept_small_on_small_boards() -> None:
    assert building(Release(10, 3), NANO).workspace == 2048
    assert {building(device.usual, device).workspace for device in DEVICES.values()} == {2048, 2560, 2816, 3072, 4096}


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_the_readme_says_what_holds_for_the_version(release: Release) -> None:
    text = readme(building(release, NANO, OPEN))
    assert f"TensorRT {release} on Jetson Orin Nano" in text and "What was not run" in text
    assert ("weakly typed" in text) == release.weak and ("NVIDIA deprecates" in text) == release.weak_deprecated
    assert ("--noDataTransfers" in text) == (release.major < 11)
    assert "from 1x3x8x8 to 4x3x8x8" in text
    code = re.compile(r"`[^`\n]*`")
    assert HOSTILE not in text and "`" not in code.sub("", text.replace("```sh", "").replace("```", ""))


def test_the_readme_says_what_else_there_is_where_a_strong_build_fails() -> None:
    assert "--typing weak --force-precision" in readme(building(Release(10, 3), typing="strong"))
    assert "--force-precision" not in readme(building(Release(11, 4), typing="strong"))


def test_the_readme_says_where_sizes_are_not_known() -> None:
    without = replace(building(Release(10, 3), None, OPEN), golden=Golden())
    assert "No sample said" in readme(without) and "No sample said" not in readme(building(Release(10, 3), None, OPEN))


def test_everything_is_written_and_written_again(tmp_path: Path) -> None:
    samples = [GoldenSample({"images": np.ones((1, 3, 8, 8), np.float32)}, {"boxes": np.ones((1, 4), np.float32)})]
    calibrated = Calibrated(lambda path: path.write_bytes(b"float"), {"images": 6 / 127, "a: b": 1 / 127})
    agx = device_named("jetson-agx-orin")
    paths = beside(tmp_path, manifest(), Release(10, 3), agx, [FIXED], samples=samples, calibrated=calibrated)
    names = {str(path.relative_to(tmp_path)) for path in paths}
    assert names == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"commands.sh", "README.md", "build_engine.py", "verify_engine.py", "dla/model.onnx", "golden.npz"} <= names
    cache = read_cache(tmp_path / "dla" / "calib.cache", "calib.cache")
    assert (cache.release, cache.algorithm) == ("10.3.0", "EntropyCalibration2")
    assert cache.amax("images") == pytest.approx(6) and set(cache.scales) == {"images", "a: b"}
    assert "a: b: 3c010204" in (tmp_path / "dla" / "calib.cache").read_text(encoding="utf-8")
    before = {path: path.read_bytes() for path in paths}
    beside(tmp_path, manifest(), Release(10, 3), agx, [FIXED], samples=samples, calibrated=calibrated)
    assert before == {path: path.read_bytes() for path in paths}
    assert os.access(tmp_path / "commands.sh", os.X_OK)
    assert json.loads((tmp_path / "golden.json").read_text(encoding="utf-8"))["polygraphy_class"] == "RunResults"


def test_the_readme_says_what_the_cache_lacks() -> None:
    cached = building(Release(10, 3), NANO, cache="implicit")
    assert "It lacks the scale of 2 tensors" in readme(replace(cached, uncached=2))
    assert "It lacks" not in readme(cached)


def test_what_a_version_does_not_take_is_not_written(tmp_path: Path) -> None:
    calibrated = Calibrated(lambda path: path.write_bytes(b"float"), {"images": 0.1})
    paths = beside(tmp_path, manifest(), Release(11, 4), None, [FIXED], calibrated=calibrated)
    assert {path.name for path in paths} == {
        "build_engine.py",
        "profile_engine.py",
        "verify_engine.py",
        "commands.sh",
        "README.md",
    }
    assert "polygraphy" not in (tmp_path / "commands.sh").read_text(encoding="utf-8")
    beside(tmp_path, manifest(), Release(10, 16), device_named("jetson-agx-orin"), [FIXED], calibrated=calibrated)
    assert (tmp_path / "implicit" / "calib.cache").read_text(encoding="utf-8").startswith("TRT-101600-")
    patched = replace(manifest(), version="8.6.2")
    beside(tmp_path, patched, Release(8, 6), NANO, [FIXED], calibrated=calibrated)
    assert (tmp_path / "implicit" / "calib.cache").read_text(encoding="utf-8").startswith("TRT-8602-")
    with pytest.raises(UnbuildableError, match="not above 0"):
        beside(tmp_path, manifest(), Release(10, 3), None, [FIXED], calibrated=replace(calibrated, scales={"x": 0.0}))
