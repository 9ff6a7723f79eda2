"""Amaranth gateware, one unit a file."""
