"""The version, which what is emitted, locked and measured carries. Imports nothing: the build reads it, too."""

__version__ = "0.1.0"
