"""Examples with their pictures, models and programs; `common` has what the programs share. They run in the repository's
root, as in `python -m examples.people.scenes`."""
