"""Tasks by name: each is a module with a class of `qdsl.harness.tasks.base.Task`, imported when it is used."""

from __future__ import annotations

from importlib import import_module

from qdsl.harness.tasks.base import Case, Expected, Task, Verdict, require_named

__all__ = ["Case", "Expected", "Task", "Verdict", "task_for"]

# A new task is one line here.
_TASKS = {
    "classification": "Classification",
    "detection": "Detection",
    "segmentation": "Segmentation",
    "fidelity": "Fidelity",
}


def task_for(expected: Expected) -> Task:
    """The task of an `evaluate` statement. Raises QdslError: evaluate-*, for what does not fit its data or model."""
    name = expected.spec.task
    require_named(expected)
    made: Task = getattr(import_module(f"qdsl.harness.tasks.{name}"), _TASKS[name])(expected)
    return made
