"""The harness: how good a build's answers are beside the float model's, and what they cost."""

from qdsl.harness.evaluate import Builds, evaluate
from qdsl.harness.results import FLOAT, BuildScores, Drop, Evaluation, Key, Odd

__all__ = ["FLOAT", "BuildScores", "Builds", "Drop", "Evaluation", "Key", "Odd", "evaluate"]
