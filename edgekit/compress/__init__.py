"""Making weights smaller: quantisation now; pruning and palettes have their place here."""
