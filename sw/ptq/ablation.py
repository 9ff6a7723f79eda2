"""What each technique of post-training quantization gains: networks with it and without."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrtl.sw.errors import UserError
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.ptq.comparison import Accuracy
from vitrtl.sw.ptq.precision import Precision
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.techniques import TECHNIQUES, default_techniques

__all__ = ["Ablation", "Variant", "chosen", "variants", "write"]

FORMAT = "vitrtl.ablation"
VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """One subset of the techniques.

    Parameters
    ----------
    name : `none`, `default`, or what is added to the former or taken from the latter.
    scheme : of the network.
    """

    name: str
    scheme: Scheme


@dataclasses.dataclass(frozen=True, slots=True)
class Ablation:
    """What a variant's network gets right.

    Parameters
    ----------
    variant : which.
    network_digest : the integer network.
    found : on the test images.
    """

    variant: Variant
    network_digest: str
    found: Accuracy

    @property
    def record(self) -> dict[str, Any]:
        """Return everything as flat values; techniques are a list."""
        scheme = self.variant.scheme.provenance
        return {"variant": self.variant.name, **scheme, "network_digest": self.network_digest,
                **dataclasses.asdict(self.found)}


def variants(precisions: Sequence[Precision], edges: Precision, observer: str) -> list[Variant]:
    """Return, for each precision, the subsets that show what each technique gains.

    No technique; each by itself; the default ones; and those without one of them, or with one
    more.
    """
    found = []
    for precision in precisions:
        default = default_techniques(precision)
        subsets = {"none": ()}
        subsets |= {f"none + {name}": (name,) for name in TECHNIQUES}
        subsets["default"] = default
        subsets |= {f"default - {name}": tuple(set(default) - {name}) for name in default}
        subsets |= {f"default + {name}": (*default, name)
                    for name in TECHNIQUES if name not in default}
        found += [Variant(name, Scheme(precision=precision, edges=edges, observer=observer,
                                       techniques=techniques))
                  for name, techniques in subsets.items()]
    return found


def chosen(found: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    """Return the variants of these names.

    Raises
    ------
    UserError
        For a name that none of them has.
    """
    known = list(dict.fromkeys(variant.name for variant in found))
    for name in names:
        if name not in known:
            raise UserError(f"variant must be one of {', '.join(known)}, not {name!r}")
    return [variant for variant in found if variant.name in names]


def write(folder: Path, head: Mapping[str, Any], ablations: Sequence[Ablation]) -> list[Path]:
    """Write `ablation.json` and `ablation.csv`, in which techniques are words with spaces between.

    Parameters
    ----------
    folder : where to.
    head : what the networks were made from and are compared with; JSON values.
    ablations : what was found.
    """
    records = [ablation.record for ablation in ablations]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record, "techniques": " ".join(record["techniques"])})
    paths = [folder / "ablation.json", folder / "ablation.csv"]
    write_if_changed(paths[0], json_text({"format": FORMAT, "version": VERSION, **head,
                                          "records": records}))
    write_if_changed(paths[1], out.getvalue())
    return paths
