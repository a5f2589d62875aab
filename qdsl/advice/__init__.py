"""What would hold a broken budget: lines to add, each tried before it is told."""
