"""Every verb, named once: the command line, its help and completion, and both faces of the library read this table."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """What a verb does, in one line; the module of `qdsl.api` that has its call, and the classes of what that returns.
    Without a module it is a verb of the command line alone. Its command is the module of `qdsl.cli` with its name."""

    summary: str
    home: str = ""
    results: tuple[str, ...] = ()


def module_name(verb: str) -> str:
    """The name of a verb where Python reads it: of its call, and of its module in `qdsl.cli`."""
    return verb.replace("-", "_")


# In the order in which people meet them.
VERBS: dict[str, Verb] = {
    "new": Verb("write a first recipe for a model, or an example to try", "starting", ("NewResult",)),
    "check": Verb("say everything that is wrong with recipes, without a model", "language", ("CheckResult",)),
    "fmt": Verb("rewrite recipes in the canonical form", "language"),
    "plan": Verb("show what a recipe will do to its model: no data needed", "planning", ("PlanResult",)),
    "explain": Verb("say why one node, tensor or diagnostic is as it is, and what a word means", "planning"),
    "compile": Verb("calibrate, rewrite, emit, verify and evaluate", "compiling", ("CompileResult", "TargetResult")),
    "evaluate": Verb("evaluate a build again, without compiling", "remeasuring", ("MeasureResult",)),
    "profile": Verb("time a build again, without compiling", "remeasuring", ("MeasureResult",)),
    "verify": Verb(
        "check what a build computes, here or on other processors, emulated", "verifying", ("VerifyResult",)
    ),
    "report": Verb("make the page about a build, or compare several", "reporting", ("ReportResult",)),
    "show": Verb(
        "say what a model file holds, where it comes from and whether that still holds", "showing", ("ShowResult",)
    ),
    "sweep": Verb("compile recipes with every value of their parameters", "sweeping", ("SweepResult",)),
    "audit": Verb(
        "say what a quantized file holds, what of it will run, and what is wrong", "auditing", ("AuditResult",)
    ),
    "diff": Verb("say what differs between recipes, plans, locks or models", "differing", ("DiffResult",)),
    "git-setup": Verb("let git diff show what a change means", "differing", ("GitSetup",)),
    "passes": Verb("list the rewrite passes, in the order they run"),
    "doctor": Verb(
        "say what can be built, checked, run and measured here, and how to get the rest", "doctoring", ("DoctorResult",)
    ),
    "targets": Verb("list the targets and what each runs in integers"),
    "completion": Verb("print what lets a shell complete qdsl's words"),
}

# Calls and results, each with its module.
HOMES = {
    name: f"qdsl.api.{verb.home}"
    for call, verb in VERBS.items()
    if verb.home
    for name in (module_name(call), *verb.results)
}
