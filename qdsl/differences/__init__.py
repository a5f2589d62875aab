"""What differs between two recipes, plans, locks or models, in the terms of quantization."""
