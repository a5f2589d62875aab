"""`run.sh`: ST Edge AI Core, or the X-CUBE-AI before it, called as its version takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qdsl.targets.stm32.asked import Asked

MODEL, SCRIPT, OUT, WORKSPACE = "model.onnx", "run.sh", "out", "ws"
_USUAL = "stm32h7"  # what the tool takes itself where no series is named


@dataclass(frozen=True, slots=True)
class Family:
    """Versions that are called alike, as patterns of `case`: how they name the series and the modes of `validate`, and
    whether buffers of inputs and outputs have to be asked into the activations. `types`: with an option for integers
    there."""

    versions: str
    series: str
    host: str
    target: str
    allocate: bool
    types: bool


# From the help of 4.0.1 and from what ST's model zoo calls for each version.
FAMILIES = (
    Family("7.*|8.*", "--series", "x86", "stm32", allocate=True, types=False),
    Family("1.*|2.*|3.*|9.*|10.*", "--target", "host", "target", allocate=True, types=True),
    Family("*", "--target", "host", "target", allocate=False, types=True),  # 4 and newer
)


def series_of(part: str) -> str:
    """What the tool calls the series of a part: `stm32h7` for STM32H7B3LI, `stm32l4p` for those of L4+."""
    name = part[:7].lower()
    return f"{name}p" if part[:8].upper() in ("STM32L4P", "STM32L4Q", "STM32L4R", "STM32L4S") else name


def script(wanted: Asked, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> str:
    """The text of `run.sh` for a board and its wishes. `inputs` and `outputs` are the files of samples beside it, in
    the order of the graph's; without any the tool draws inputs itself."""
    series = series_of(wanted.board.part) if wanted.board is not None else _USUAL
    optimized = "ram" if wanted.optimize == "ram" else "time"
    samples = f" --valinput {' '.join(inputs)} --valoutput {' '.join(outputs)}" if inputs else ""
    arms = "\n".join(_arm(family, series, integers=wanted.integers) for family in FAMILIES)
    return _SCRIPT.format(
        model=MODEL, out=OUT, workspace=WORKSPACE, optimized=optimized, arms=arms, samples=samples, script=SCRIPT
    )


def _arm(family: Family, series: str, *, integers: bool) -> str:
    own = [f"{family.series} {series}"]
    own += ["--allocate-inputs --allocate-outputs"] if family.allocate else []
    own += ["--input-data-type int8 --output-data-type int8"] if integers and family.types else []
    return f'  {family.versions}) own="{" ".join(own)}"; host={family.host}; target={family.target} ;;'


_SCRIPT = """#!/bin/sh
# ST Edge AI Core on {model}, called as its version takes it.
#   sh {script} analyze            sizes and multiplications
#   sh {script} generate           its C
#   sh {script} validate           its C on this machine, held against the model
#   sh {script} target [DESC]      the same on a board that runs ST's validation program (serial:/dev/ttyACM0:115200)
# STEDGEAI names the tool where it is not on the PATH, STEDGEAI_VERSION its version where it does not tell it.
set -eu
cd "$(dirname "$0")"
tool=${{STEDGEAI:-$(command -v stedgeai || command -v stm32ai || true)}}
if [ -z "$tool" ]; then
  echo "neither stedgeai nor stm32ai is on the PATH: install ST Edge AI Core, or name it by STEDGEAI=" >&2
  exit 127
fi
told=$("$tool" --version 2>&1 || true)
version=${{STEDGEAI_VERSION:-$(printf '%s\\n' "$told" | sed -n \\
  -e 's/.*[Ss][Tt][Mm]\\.[Aa][Ii] v\\([0-9][0-9.]*\\).*/\\1/p' -e 's/.*Core v\\([0-9][0-9.]*\\).*/\\1/p' | head -n 1)}}
if [ -z "$version" ]; then
  echo "$tool does not tell its version: name it, STEDGEAI_VERSION=4.0 for example" >&2
  exit 2
fi
case "$version" in
{arms}
esac
common="--model {model} --type onnx --name network --workspace {workspace} --output {out} $own"
# Options are words without blanks.
case "${{1:-analyze}}" in
  analyze) exec "$tool" analyze $common --optimization {optimized} ;;
  generate) exec "$tool" generate $common --optimization {optimized} ;;
  validate) exec "$tool" validate $common --optimization {optimized} --mode "$host"{samples} --save-csv ;;
  target) exec "$tool" validate $common --optimization {optimized} --mode "$target" \\
    --desc "${{2:-serial:/dev/ttyACM0:115200}}"{samples} --save-csv ;;
  *) echo "sh {script} analyze, generate, validate or target" >&2; exit 2 ;;
esac
"""
