"""ST Edge AI Core beside the C: a file that it reads, with what it takes to run it, and what its reports say."""
