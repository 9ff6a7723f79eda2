"""What made a file: the command and the versions of what it ran on."""

import importlib.metadata
import platform
import shlex
import sys

__all__ = ["command_line", "versions"]


def command_line() -> str:
    """Return the command that is running, as one would type it."""
    return shlex.join(["vitrtl", *sys.argv[1:]])


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, of this package and of others."""
    return {"python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("vitrtl", *packages)}}
