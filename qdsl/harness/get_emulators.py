"""Fetches what other processors are emulated with: qemu's user mode, and an aarch64 Python with onnxruntime and numpy.

    python -m qdsl.harness.get_emulators [FOLDER]

On Debian, with its packages and the Python package index as they are set up here; nothing is installed in the system,
and nothing needs the superuser. Takes about a minute, 100 MB of downloads and 200 MB on disk. Without FOLDER they go
where `qdsl verify --on` looks for them: $QDSL_EMULATORS, else the cache of the user.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from qdsl.harness.emulators import ARM, PLACE, architecture, place

_TOOLS = ("apt-get", "apt-cache", "dpkg")
_NEEDED = re.compile(r"python3\.\d+(-minimal)?|zlib1g|lib(?!perl)[\w.+-]*")  # of all that Python depends on
_PLATFORMS = [f"manylinux_2_{minor}_{ARM}" for minor in range(17, 37)] + [f"manylinux2014_{ARM}"]
_NO_MORE = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
_KEPT = ("qemu-aarch64", "qemu-x86_64")


class FetchError(Exception):
    """What stopped it, in words."""


def fetch(folder: Path) -> None:
    """Fill `folder`, unless it is filled already. Raises FetchError."""
    if sys.platform != "linux" or any(shutil.which(tool) is None for tool in _TOOLS):
        raise FetchError(
            "this needs Debian's apt-get and dpkg; elsewhere, install qemu-user, and put an aarch64 system with Python "
            f"into {folder}/root and its packages onnxruntime and numpy into {folder}/site"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    parts = {"qemu": _qemu} if architecture() == ARM else {"qemu": _qemu, "root": _system, "site": _packages}
    for name, make in parts.items():
        if (folder / name).is_dir():
            continue
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as aside:
            print(f"fetching {name}", flush=True)
            made = Path(aside, name)
            made.mkdir()
            make(made, folder)
            folder.mkdir(exist_ok=True)
            made.rename(folder / name)


def _qemu(made: Path, folder: Path) -> None:
    """The emulators alone, without the libraries of a system: a package of static ones, whatever it is called."""
    for package in ("qemu-user-static", "qemu-user"):
        with tempfile.TemporaryDirectory(dir=made.parent) as aside:
            where = Path(aside)
            _run(["apt-get", "-qq", *_sandbox(), "download", package], where)
            _unpack(where, where / "all")
            programs = [path for path in (where / "all/usr/bin").glob("qemu-*") if _emulates(path)]
            for path in programs:
                shutil.copy2(path, made / path.name)
        if programs:
            return
    raise FetchError("the package qemu-user has no emulator that runs without its libraries: install it")


def _emulates(path: Path) -> bool:
    """Whether it is one of those in question, and starts."""
    if path.name.removesuffix("-static") not in _KEPT or path.is_symlink():
        return False
    return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0


def _system(made: Path, folder: Path) -> None:
    """A Python of the other architecture and the libraries it needs, by a state of apt's own, which knows no other."""
    with tempfile.TemporaryDirectory(dir=made.parent) as aside:
        state = Path(aside)
        for name in ("state/lists/partial", "cache/archives/partial", "debs"):
            (state / name).mkdir(parents=True)
        (state / "status").touch()
        (state / "apt.conf").write_text(
            'APT::Architecture "arm64";\nAPT::Architectures {"arm64";};\n'
            f'Dir::State "{state}/state";\nDir::State::status "{state}/status";\nDir::Cache "{state}/cache";\n',
            encoding="utf-8",
        )
        environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf")}
        _run(["apt-get", "-qq", *_sandbox(), "update"], state, environment)
        told = _run(["apt-cache", "depends", "python3-minimal"], state, environment)
        python = re.search(r"python3\.\d+", told)
        if python is None:
            raise FetchError("the system's package sources have no Python for arm64")
        words = ["apt-cache", "depends", "--recurse", *_NO_MORE, python[0], "libstdc++6"]
        names = {line.strip() for line in _run(words, state, environment).splitlines() if not line.startswith(" ")}
        needed = sorted(name for name in names if _NEEDED.fullmatch(name))
        _run(["apt-get", "-qq", *_sandbox(), "download", *needed], state / "debs", environment)
        _unpack(state / "debs", made)


def _packages(made: Path, folder: Path) -> None:
    """onnxruntime of the version that is installed here, and numpy."""
    python = next(path.name for path in sorted(folder.glob("root/usr/bin/python3.*")))
    with tempfile.TemporaryDirectory(dir=made.parent) as aside:
        words = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "download", "--only-binary=:all:"]
        words += [word for name in _PLATFORMS for word in ("--platform", name)]
        words += ["--python-version", python.removeprefix("python"), "--implementation", "cp", "-d", aside]
        _run([*words, f"onnxruntime=={version('onnxruntime')}", "numpy"], made)
        for wheel in sorted(Path(aside).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(made)


def _unpack(debs: Path, to: Path) -> None:
    for deb in sorted(debs.glob("*.deb")):
        _run(["dpkg", "-x", str(deb), str(to)], debs)


def _sandbox() -> list[str]:
    """The superuser's apt-get would download as a user who may not write here."""
    return ["-o", "APT::Sandbox::User=root"]


def _run(words: Sequence[str], where: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints. Raises FetchError."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=where, env=environment)
    if done.returncode != 0:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise FetchError(f"`{' '.join(map(str, words[:4]))} ..` failed: {told[-1] if told else done.returncode}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m qdsl.harness.get_emulators", description=str(__doc__))
    parser.add_argument("folder", nargs="?", type=Path, help=f"where they go (default: {place()})")
    args = parser.parse_args()
    folder = (args.folder or place()).absolute()
    try:
        fetch(folder)
    except FetchError as reason:
        print(f"get_emulators: {reason}", file=sys.stderr)
        return 1
    print(f"{folder} is whole" + ("" if folder == place() else f": export {PLACE}={folder}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
