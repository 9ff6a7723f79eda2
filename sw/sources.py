"""Which source files a result depends on: the modules that a module imports, by their text."""

import ast
import functools
import importlib.util
from pathlib import Path

from vitrtl.sw.files import digest

__all__ = ["digest_module", "sources_of"]


@functools.cache
def sources_of(module: str) -> tuple[Path, ...]:
    """Return the files of a module of `vitrtl` and of all that it imports, itself included.

    Nothing is run: imports are read from the text, so a lazily imported module counts only if
    its name stands in an import statement.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        for node in ast.walk(ast.parse(found[name].read_text())):
            waiting += [n for n in _imported(node) if n.startswith("vitrtl.") and _is_module(n)]
    return tuple(found[name] for name in sorted(found))


def digest_module(module: str) -> str:
    """Return a checksum of the text of a module and of all that it imports from `vitrtl`."""
    return digest(*(path.read_bytes() for path in sources_of(module)))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
