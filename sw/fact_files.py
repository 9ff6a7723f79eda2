"""Facts that ship as TOML: a folder of `constraints`, a file for each thing."""

import dataclasses
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from vitrtl.sw.errors import UserError

__all__ = ["FactFiles"]


@dataclasses.dataclass(frozen=True, slots=True)
class FactFiles:
    """The files of one kind of thing.

    Parameters
    ----------
    kind : what they describe, for messages.
    folder : below `constraints`; empty for `constraints` itself.
    """

    kind: str
    folder: str = ""

    @property
    def names(self) -> list[str]:
        """Names of all things."""
        return sorted(path.name.removesuffix(".toml") for path in self._place.iterdir()
                      if path.name.endswith(".toml"))

    def text(self, name: str) -> str:
        """Return one file.

        Raises
        ------
        UserError
            For an unknown name, listing the known ones.
        """
        if name not in self.names:
            raise UserError(f"{self.kind} must be one of {', '.join(self.names)}, not {name!r}")
        return self._place.joinpath(f"{name}.toml").read_text(encoding="utf-8")

    def where(self, name: str) -> str:
        """Return what messages call a file."""
        return "/".join(part for part in ("constraints", self.folder, f"{name}.toml") if part)

    def facts(self, name: str, text: str) -> dict[str, Any]:
        """Return what a file's text says.

        Raises
        ------
        UserError
            If it is not TOML.
        """
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{self.where(name)} is not TOML: {error}") from None

    @property
    def _place(self) -> Traversable:
        place = resources.files("vitrtl.constraints")
        return place / self.folder if self.folder else place
