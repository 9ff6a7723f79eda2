"""Golden models: integers in, integers out, NumPy only."""
