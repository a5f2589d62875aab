"""What a type checker knows of the library: `.ci/types` reads this, and nothing runs it. `qdsl.plan` and `qdsl.report`
are packages, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

import qdsl
import qdsl.plan.build
import qdsl.report.page
from qdsl.targets.results import NotHere, Verification

compiled = qdsl.compile("a.q", out="build")
assert_type(compiled, qdsl.CompileResult)
assert_type(compiled.targets, tuple[qdsl.TargetResult, ...])
assert_type(compiled.targets[0].verification, Verification | NotHere)
assert_type(qdsl.check("a.q"), qdsl.CheckResult)
assert_type(qdsl.fmt("qdsl 1"), str)
assert_type(qdsl.plan("a.q"), qdsl.PlanResult)
assert_type(qdsl.report("build/a"), qdsl.ReportResult)
assert_type(qdsl.show("a.onnx"), qdsl.ShowResult)
assert_type(qdsl.__version__, str)
plans: Callable[[str], qdsl.api.PlanResult] = qdsl.api.plan
qdsl.misspelled("a.q")  # type: ignore[attr-defined]
