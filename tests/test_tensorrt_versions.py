"""Versions of TensorRT and devices: what is written of them is what NVIDIA's own software has."""

from __future__ import annotations

import pytest
from tensorrt_contracts import needs_contracts, options, surfaces

from qdsl.capability import load
from qdsl.diag import QdslError, Severity
from qdsl.lang import loads
from qdsl.lang.recipe import Target
from qdsl.targets.tensorrt.asked import Asked, asked, problems_of
from qdsl.targets.tensorrt.devices import DEVICES, DeviceError, device_named
from qdsl.targets.tensorrt.fitted import fitted
from qdsl.targets.tensorrt.versions import NEWEST, RELEASES, Release, VersionError, cache_version, parse_version


@needs_contracts
def test_what_a_version_has_is_what_its_python_module_has() -> None:
    for release, surface in surfaces().items():
        enums, classes = surface["enums"], surface["classes"]
        narrow = ("FP16", "INT8", "FP8", "BF16", "INT4", "FP4")
        assert set(release.precision_flags) == {name.lower() for name in narrow if name in enums["BuilderFlag"]}
        assert release.weak == ("precision" in classes["ILayer"])
        assert release.weak == ("OBEY_PRECISION_CONSTRAINTS" in enums["BuilderFlag"])
        assert release.calibration_caches == ("IInt8EntropyCalibrator2" in classes)
        creation = enums["NetworkDefinitionCreationFlag"]
        assert release.strong == ("STRONGLY_TYPED" in creation)


@needs_contracts
@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_what_a_version_has_is_what_its_trtexec_takes(release: Release) -> None:
    taken = options(release)
    wanted = {f"--{word}" for word in ("fp16", "int8", "fp8", "bf16", "int4", "fp4")}
    assert {f"--{flag}" for flag in release.trtexec_precisions} == taken & wanted
    assert release.calibration_caches == ("--calib" in taken)
    assert release.weak == ("--layerPrecisions" in taken)
    assert release.strong == ("--stronglyTyped" in taken)
    assert release.times_alone == ("--includeDataTransfers" in taken)


@pytest.mark.parametrize("text", ["10.3", "10.3.0", "10.3.0.26", " 10.3 "])
def test_a_version_is_its_major_and_minor_number(text: str) -> None:
    assert parse_version(text) == Release(10, 3)
    assert str(parse_version(text)) == "10.3"


@pytest.mark.parametrize("text", ["", "10", "v10.3", "10.3-rc1", "10.3.0.0.1", "ten", "1" * 999, "10.\u0663"])
def test_what_is_no_version_is_told_as_that(text: str) -> None:
    with pytest.raises(VersionError, match="is not a version") as caught:
        parse_version(text)
    assert caught.value.help and len(str(caught.value)) < 100


@pytest.mark.parametrize(("text", "near"), [("8.5", "8.6"), ("10.17", "10.1"), ("9.3", ""), ("12.0", "")])
def test_a_version_that_nothing_is_emitted_for_is_told_with_those_that_are(text: str, near: str) -> None:
    with pytest.raises(VersionError, match="files are not emitted for") as caught:
        parse_version(text)
    assert near in caught.value.help[0] and "10.0 to 10.16" in caught.value.help[0]


def test_versions_compare_as_numbers() -> None:
    assert Release(10, 3) < Release(10, 12) < Release(11, 0)
    assert sorted(RELEASES) == list(RELEASES) and RELEASES[-1] == NEWEST
    assert [release.opset for release in map(parse_version, ("8.6", "10.3", "10.16", "11.4"))] == [17, 20, 24, 24]


@pytest.mark.parametrize(
    ("text", "number"),
    [("8.6", 8600), ("8.6.2", 8602), ("8.6.2.3", 8602), ("10.3", 100300), ("10.13.3", 101303), ("10.16.1.11", 101601)],
)
def test_the_number_of_a_cache_is_counted_as_each_major_version_does(text: str, number: int) -> None:
    assert cache_version(text) == number


def test_devices_are_found_however_they_are_written() -> None:
    for name, device in DEVICES.items():
        assert device_named(name) is device and device.source and device.runs(device.usual)
    assert device_named("Jetson Orin_Nano").dla == 0
    with pytest.raises(DeviceError) as caught:
        device_named("jetson-orinano")
    assert caught.value.near[0] == "jetson-orin-nano"
    with pytest.raises(DeviceError) as caught:
        device_named("STM32H7B3I-DK")
    assert caught.value.near == ()


@pytest.mark.parametrize(
    ("settings", "types"),
    [
        ('version "10.3"; device "jetson-orin-nano"', "int8 int4"),
        ('version "10.3"; device "l4"', "int8 int4 float8"),
        ('version "11.4"; device "t4"', "int8"),
        ('version "8.6"; device "l4"', "int8"),
        ('version "10.0"', "int8 int4 float8"),
        ("", "int8 int4 float8"),
    ],
)
def test_the_table_has_the_types_that_version_and_device_have(settings: str, types: str) -> None:
    table = fitted(load("tensorrt"), block(settings))
    assert [name for name in ("int8", "int4", "float8") if table.types[name].weight.runs != "no"] == types.split()


def block(settings: str) -> Target:
    (found,) = loads(f"recipe demo\ntarget tensorrt {{ {settings} }}\n", name="demo.q").recipe.targets
    return found


def test_a_recipe_that_names_no_version_gets_the_usual_one() -> None:
    assert asked(block("")) == Asked(NEWEST, None, False)
    assert asked(block('device "jetson-orin-nano"')) == Asked(Release(10, 3), device_named("jetson-orin-nano"), False)
    assert asked(block('version "10.13.2"; device "L4"')) == Asked(Release(10, 13), device_named("l4"), True)


def test_everything_wrong_with_a_block_is_told_at_once_at_its_place() -> None:
    with pytest.raises(QdslError) as caught:
        asked(block('version "9.9"; device "jetson-orinn-nx"'))
    assert [d.code for d in caught.value.diagnostics] == ["tensorrt-version", "tensorrt-device"]
    for found in caught.value.diagnostics:
        assert found.span is not None and found.span.line == 2 and found.help


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ('version "11.1"; device "jetson-orin-nano"', "it gets 8.6 to 10.16"),
        ('version "11.0"; device "jetson-agx-orin"', "it gets 8.6 to 10.16 and 11.4"),
        ('version "10.3"; device "jetson-thor"', "it gets 10.13 to 10.16 and 11.4"),
        ('version "10.3"; device "rtx-5090"', "it gets 10.8 to 11.4"),
        ('version "10.3"; device "jetson-agx-xavier"', "it gets 8.6"),
    ],
)
def test_a_version_that_a_device_never_gets_is_an_error(settings: str, label: str) -> None:
    (found,) = problems_of(block(settings))
    assert (found.code, found.severity, found.label) == ("tensorrt-device-version", Severity.ERROR, label)
    assert found.help[0].startswith("write version ")


def test_a_version_that_no_jetpack_is_known_to_bring_is_a_warning() -> None:
    (found,) = problems_of(block('version "10.9"; device "jetson-orin-nx"'))
    assert (found.code, found.severity) == ("tensorrt-device-version", Severity.WARNING)
    assert "10.3" in found.help[0] and "6.1 and 6.2 bring" in found.help[0]
    assert not list(problems_of(block('version "10.3"; device "jetson-orin-nx"')))
    assert asked(block('version "10.9"; device "jetson-orin-nx"')).release == Release(10, 9)


@pytest.mark.parametrize("name", [name for name, device in DEVICES.items() if device.jetson])
def test_a_jetson_whose_jetpack_brings_nothing_that_files_are_made_for_is_told(name: str) -> None:
    device = device_named(name)
    told = [each for each in problems_of(block(f'device "{name}"')) if each.code == "tensorrt-device-version"]
    assert bool(told) == (not device.jetpacks_with(device.usual)) == ("xavier" in name)
    for each in told:
        assert each.severity is Severity.WARNING and each.span == block(f'device "{name}"').place("device")
        assert "the oldest that files are made for" in each.headline and "JetPack 5.1 brings 8.5" in each.label
