"""`allocate`: types that a bound decides, found by measurement."""
