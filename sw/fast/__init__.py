"""Faster ways to the golden functions' results, equal to the last bit."""
