"""The error that a user's mistake raises: one clear line, exit status 2."""

__all__ = ["UserError"]


class UserError(Exception):
    """Something the user gave is wrong: quantity, rule, value."""
