"""The steps of a compilation, each a small function over one `Job`: `qdsl.api.compiling.STEPS` is their order."""
