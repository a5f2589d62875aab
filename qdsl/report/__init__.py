"""Reports: what was planned and measured of one build, or of several side by side, as one HTML file."""

from qdsl.report.data import Build, load
from qdsl.report.page import page

__all__ = ["Build", "load", "page"]
