"""Which quantized tensor costs the outputs what: its own error beside the one it inherits, and what would help."""
