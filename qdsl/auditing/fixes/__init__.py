"""What `--fix` does to a finished file, without data: one rewrite each, by the name that findings call for it."""
