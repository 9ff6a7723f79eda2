"""Vision transformers, each described once: as a graph of operations that others interpret."""
