"""Compile through a cache: `python objcache.py c++ ... -c -o x.o x.cpp`, for Verilator's OBJCACHE.

The key is the preprocessed source, the compiler and its arguments. Nothing of `vitrtl` is
imported, so that a hit costs little more than the preprocessor.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

IGNORED_WITH_VALUE = ("-o", "-MF", "-MT", "-MQ")


def main(command: list[str]) -> int:
    """Run one compiler call, or put a copy of what it made before in its place."""
    folder = os.environ.get("VITRTL_OBJCACHE")
    if not folder or "-c" not in command or "-o" not in command:
        return subprocess.run(command, check=False).returncode
    target = Path(command[command.index("-o") + 1])
    # With -MMD this also writes the dependency file that make wants beside the object.
    preprocessed = subprocess.run(_preprocess(command), capture_output=True, check=False)
    if preprocessed.returncode:
        return subprocess.run(command, check=False).returncode
    key = hashlib.sha256(_compiler(command[0]))
    key.update("\0".join(_options(command)).encode())
    key.update(preprocessed.stdout)
    stored = Path(folder) / f"{key.hexdigest()[:40]}.o"
    if not stored.is_file():
        status = subprocess.run(command, check=False).returncode
        if status:
            return status
        stored.parent.mkdir(parents=True, exist_ok=True)
        part = stored.with_suffix(f".{os.getpid()}")
        shutil.copyfile(target, part)
        os.replace(part, stored)
        return 0
    shutil.copyfile(stored, target)
    return 0


def _preprocess(command: list[str]) -> list[str]:
    """Return the call that only preprocesses, to standard output, and writes dependencies."""
    place = command.index("-o")
    target = command[place + 1]
    rest = [part for part in command[:place] + command[place + 2:] if part != "-c"]
    return [*rest, "-E", "-P", "-MT", target, "-MF", str(Path(target).with_suffix(".d"))]


def _options(command: list[str]) -> list[str]:
    """Return the arguments that decide the object code: no paths, no preprocessor options."""
    options, skip = [], False
    for part in command[1:]:
        if skip:
            skip = False
        elif part in IGNORED_WITH_VALUE:
            skip = True
        elif part.startswith("-") and not part.startswith(("-I", "-D", "-M")):
            options.append(part)
    return options


def _compiler(program: str) -> bytes:
    """Return what tells one compiler from another: its file, size and date."""
    path = os.path.realpath(shutil.which(program) or program)
    status = os.stat(path)
    return f"{path} {status.st_size} {status.st_mtime_ns}".encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
