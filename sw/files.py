"""Files that are whole or absent: atomic writing and checksums."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from vitrtl.sw.errors import UserError

__all__ = ["digest", "digest_files", "existing", "json_text", "read_json", "write_if_changed"]


def write_if_changed(path: Path, content: bytes | str) -> bool:
    """Put `content` at `path` in one step, or leave an equal file untouched.

    Returns
    -------
    Whether the file was written. An interruption leaves the old file or the new one.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return True


def json_text(value: Any) -> str:
    """Return readable, stable JSON."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file, or say in one line what is wrong with it."""
    try:
        return json.loads(existing(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None


def existing(path: Path) -> Path:
    """Return `path` if it is a file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    return path


def digest(*parts: bytes | str) -> str:
    """Return a checksum of some contents, 16 hexadecimal digits."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()[:16]


def digest_files(paths: list[Path]) -> str:
    """Return a checksum of files, by their names and contents."""
    return digest(*(part for p in sorted(paths) for part in (p.name, p.read_bytes())))
