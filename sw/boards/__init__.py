"""Boards: what they have, how a design is built for them, how a host talks to it."""
