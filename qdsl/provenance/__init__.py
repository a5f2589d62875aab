"""Where an emitted file comes from: written into it, read back strictly, held against what is here."""
