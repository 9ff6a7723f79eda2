"""Boards and devices as data: facts, no logic."""
