"""Files that other quantizers made, audited: whether the kernels that are foreseen are those that ONNX Runtime runs,
node for node, and what the rules find. `run.py --out FOLDER` makes the files; each peer runs in its own environment.

Bound: no file ends in an error of ours, and no node that ONNX Runtime runs is foreseen otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent)]
from common import machine  # noqa: E402

import qdsl  # noqa: E402
from qdsl.auditing.report import AuditReport  # noqa: E402
from qdsl.diag import QdslError  # noqa: E402
from qdsl.targets.ort.reality import read  # noqa: E402

_ANYTHING = "moves"


def apart(report: AuditReport, path: Path) -> tuple[int, list[str]]:
    """How many nodes ONNX Runtime runs, and those that are foreseen otherwise."""
    runs, ran = report.sections[0].runs, read(path, counts=False).nodes
    wrong, seen = [], 0
    for name, found in ran.items():
        said = runs.get(name)
        if said is None or (found.runs == "absorbed" and not found.kernel):
            continue
        seen += 1
        if not _agree(said.runs, found.runs):
            wrong.append(f"{name}: foreseen {said.runs}, ran {found.runs} ({found.kernel})")
    return seen, wrong


def _agree(said: str, ran: str) -> bool:
    """What only moves values runs in whichever type; float16 kernels are there for what neighbours let run in it."""
    return _ANYTHING in (said, ran) or said == ran or {said, ran} == {"float", "float16"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="models of other quantizers (.onnx)")
    args = parser.parse_args()
    print(machine())
    failed = False
    for path in sorted(args.folder.glob("*.onnx")):
        start = time.process_time()
        report = qdsl.audit(path).report
        seconds = time.process_time() - start
        try:
            seen, wrong = apart(report, path)
        except QdslError as error:
            seen, wrong = 0, []
            print(f"{path.name}: ONNX Runtime refuses it: {error.diagnostics[0].headline[:120]}")
        failed = failed or bool(wrong)
        rules = Counter(f"{each.severity.value} {each.rule}" for each in report.findings)
        share = report.sections[0].counts.share
        print(
            f"{path.name}: {seconds:.2f} s, {share or 0:.1%} of MACs in integers, {seen} nodes, {len(wrong)} otherwise"
        )
        print(f"  {', '.join(f'{rule} {count}' for rule, count in sorted(rules.items()))}")
        print("".join(f"  {line}\n" for line in wrong[:10]), end="")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
