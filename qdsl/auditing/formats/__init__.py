"""The forms in which findings are told: for readers, code hosts and viewers."""
