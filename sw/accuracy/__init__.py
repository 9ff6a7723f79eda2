"""What the integer methods differ from float64 by, and the table of it."""
