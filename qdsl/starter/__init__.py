"""What a first recipe starts from: an example, or guesses about a model."""
