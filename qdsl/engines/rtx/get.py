"""Makes an environment of its own for TensorRT-RTX, from the Python package index as it is set up here.

    python -m qdsl.engines.rtx.get

About 100 MB of downloads, 250 MB on disk, in $QDSL_RTX, else the user's cache folder. TensorRT-RTX is proprietary:
whoever installs it accepts NVIDIA's licence.
"""

from __future__ import annotations

import subprocess
import sys
import venv

from qdsl.engines.rtx.places import PACKAGES, VERSION, folder, is_made, mark_made


def install() -> str:
    """Make the environment, unless it is there; "" or the reason why it cannot be."""
    if is_made():
        return ""
    try:
        venv.create(folder(), with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no environment in {folder()}: {error}"
    words = [str(folder() / "bin" / "python"), "-m", "pip", "install", "-q", *PACKAGES]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    mark_made()
    return ""


def main() -> int:
    reason = install()
    sys.stdout.write(f"TensorRT-RTX {VERSION}: {reason or f'installed in {folder()}'}\n")
    return int(bool(reason))


if __name__ == "__main__":
    sys.exit(main())
