"""Test vectors: what a unit is given and what it must answer, in one file per unit and spec."""

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from vitrtl.sw.catalog import Unit, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, existing, write_if_changed
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.sources import digest_module

__all__ = ["KINDS", "Case", "MatMulCase", "VectorSet", "cases_digest", "golden_digest", "load",
           "read_head", "save", "spec_digest", "vector_path"]

SCHEMA = 1

KINDS = {
    "network": "rows of the network's own activations",
    "codes": "every input code",
    "corners": "extreme rows and constants",
    "random": "seeded random rows",
    "timing": "equal rows of every interesting length",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Rows that pass a vector unit under one set of constants.

    Parameters
    ----------
    kind : one of `KINDS`.
    name : where the rows come from.
    constants : the unit's constants.
    x : elements of all rows, one row after another.
    lengths : elements of each row.
    expected : the golden function's answer to `x`.
    """

    kind: str
    name: str
    constants: Any
    x: np.ndarray
    lengths: np.ndarray
    expected: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    @property
    def values(self) -> int:
        """Number of elements that the unit must give back."""
        return self.expected.size

    def shortened(self, values: int) -> "Case":
        """Return the first rows, as many as have `values` elements together, at least one."""
        ends = np.cumsum(self.lengths)
        rows = max(1, int(np.searchsorted(ends, values, side="right")))
        return dataclasses.replace(self, x=self.x[:ends[rows - 1]], lengths=self.lengths[:rows],
                                   expected=self.expected[:ends[rows - 1]])

    def locate(self, index: int) -> str:
        """Name the place of element `index` of `expected`."""
        ends = np.cumsum(self.lengths)
        row = int(np.searchsorted(ends, index, side="right"))
        return f"row {row}, element {index - int(ends[row] - self.lengths[row])}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MatMulCase:
    """One multiplication.

    Parameters
    ----------
    kind : one of `KINDS`.
    name : where the operands come from.
    transposed : whether the weight tiles are loaded by columns.
    a : (M, K) activations.
    b : (K, N) weights.
    expected : (M, N) results.
    """

    kind: str
    name: str
    transposed: bool
    a: np.ndarray
    b: np.ndarray
    expected: np.ndarray

    @property
    def rows(self) -> int:
        """Number of result rows."""
        return self.expected.shape[0]

    @property
    def values(self) -> int:
        """Number of elements that the unit must give back."""
        return self.expected.size

    def shortened(self, values: int) -> "MatMulCase":
        """Return the case itself: a product is not cut."""
        return self

    def locate(self, index: int) -> str:
        """Name the place of element `index` of `expected`."""
        return f"row {index // self.expected.shape[1]}, column {index % self.expected.shape[1]}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VectorSet:
    """All cases of one unit and spec.

    Parameters
    ----------
    unit : name in the catalogue.
    spec : build-time numbers.
    network : checksum of the network whose activations they are, or None.
    golden : checksum of the golden function that answered.
    made_from : checksum of everything that the cases were made from.
    cases : `Case` or, for the matrix multiplication, `MatMulCase`.
    """

    unit: str
    spec: Spec
    network: str | None
    golden: str
    made_from: str
    cases: tuple[Case | MatMulCase, ...]

    @property
    def kinds(self) -> list[str]:
        """Kinds that have cases, in the order of `KINDS`."""
        present = {case.kind for case in self.cases}
        return [kind for kind in KINDS if kind in present]

    def of_kind(self, kind: str) -> list[Case | MatMulCase]:
        """Return the cases of one kind."""
        return [case for case in self.cases if case.kind == kind]


def golden_digest(name: str) -> str:
    """Return a checksum of the source of a unit's golden function."""
    return digest_module(f"vitrtl.sw.golden.{name}")


def vector_path(folder: Path, name: str, spec: Spec) -> Path:
    """Return where the vectors of a unit lie."""
    return Path(folder) / f"{name}.{spec.digest}.npz"


def save(vectors: VectorSet, path: Path) -> bool:
    """Write a vector file, the same bytes for the same vectors.  Returns whether it changed."""
    arrays: dict[str, np.ndarray] = {}
    cases = []
    for index, case in enumerate(vectors.cases):
        fields = _plain(case)
        constants = _plain(fields.pop("constants")) if isinstance(case, Case) else {}
        cases.append({k: v for k, v in fields.items() if not isinstance(v, np.ndarray)})
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                arrays[f"{index}.{name}"] = _smallest(value)
        for name, value in constants.items():
            arrays[f"{index}.constants.{name}"] = _smallest(np.asarray(value))
    head = {"schema": SCHEMA, "unit": vectors.unit, "spec": vectors.spec.asdict(),
            "network": vectors.network, "golden": vectors.golden,
            "made_from": vectors.made_from, "cases": cases, "checksum": _checksum(arrays)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("head.json"), json.dumps(head, sort_keys=True))
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return write_if_changed(path, buffer.getvalue())


def load(path: Path) -> VectorSet:
    """Read a vector file.

    Raises
    ------
    UserError
        If the file is missing, incomplete, damaged or of another version.
    """
    head = read_head(path)
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as member:
                        arrays[name[:-4]] = np.lib.format.read_array(member, allow_pickle=False)
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise UserError(f"vector file {path} is incomplete or damaged ({error}); "
                        f"run `vitrtl vectors`") from None
    if _checksum(arrays) != head["checksum"]:
        raise UserError(f"vector file {path} is damaged: its arrays do not have its checksum; "
                        f"run `vitrtl vectors`")
    entry = unit(head["unit"])
    spec = entry.golden.spec.fromdict(head["spec"])
    cases = tuple(_case(entry, index, fields, arrays) for index, fields in enumerate(head["cases"]))
    return VectorSet(unit=entry.name, spec=spec, network=head["network"], golden=head["golden"],
                     made_from=head["made_from"], cases=cases)


def read_head(path: Path) -> dict[str, Any]:
    """Read what a vector file says of itself, and none of its arrays."""
    try:
        with zipfile.ZipFile(existing(path)) as archive:
            head = json.loads(archive.read("head.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise UserError(f"vector file {path} is incomplete or damaged ({error}); "
                        f"run `vitrtl vectors`") from None
    if head.get("schema") != SCHEMA:
        raise UserError(f"vector file {path} must have schema {SCHEMA}, not {head.get('schema')}")
    return head


def cases_digest(path: Path) -> str:
    """Return a checksum of a file's spec and cases, whatever they were made from."""
    head = read_head(path)
    return digest(*(json.dumps(head[key], sort_keys=True)
                    for key in ("unit", "spec", "cases", "checksum")))


def spec_digest(head: dict[str, Any]) -> str:
    """Return the digest of the spec in a file's head."""
    return unit(head["unit"]).golden.spec.fromdict(head["spec"]).digest


def _case(entry: Unit, index: int, fields: dict[str, Any],
          arrays: dict[str, np.ndarray]) -> Case | MatMulCase:
    kind = MatMulCase if entry.operator == "matmul" else Case
    names = {f.name for f in dataclasses.fields(kind)} - set(fields) - {"constants"}
    fields = fields | {name: arrays[f"{index}.{name}"].astype(np.int64) for name in names}
    if kind is Case:
        values = {}
        for field in dataclasses.fields(entry.golden.constants):
            value = arrays[f"{index}.constants.{field.name}"].astype(np.int64)
            values[field.name] = value if value.ndim else int(value)
        fields["constants"] = entry.golden.constants(**values)
    return kind(**fields)


def _plain(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, not descending into them."""
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}


def _smallest(array: np.ndarray) -> np.ndarray:
    """Return integers in the narrowest signed type that holds them."""
    for dtype in (np.int8, np.int16, np.int32):
        limits = np.iinfo(dtype)
        if not array.size or (array.min() >= limits.min and array.max() <= limits.max):
            return array.astype(dtype)
    return array.astype(np.int64)


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    parts: list[bytes | str] = []
    for name in sorted(arrays):
        parts += [f"{name} {arrays[name].dtype.str} {arrays[name].shape}",
                  np.ascontiguousarray(arrays[name]).tobytes()]
    return digest(*parts)
