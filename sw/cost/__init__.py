"""Synthesis, place and route, and the cost table."""
