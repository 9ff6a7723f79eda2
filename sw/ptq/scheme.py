"""What turns a float network into integers, apart from the choice of its units."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.observers import OBSERVERS
from vitrtl.sw.ptq.precision import W8A8, Precision, parse_precision
from vitrtl.sw.ptq.techniques import EQUALIZATIONS, check_techniques, default_techniques

__all__ = ["Scheme"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """Quantization scheme: how many bits, which ranges, which techniques.

    Parameters
    ----------
    precision : of all linear layers and activations but the edges.
    edges : of the patch embedding and the classifier head, with what they read. They are a few
        hundredths of the network and decide most of what few bits lose, so 8 bits are usual.
    observer : rule in `OBSERVERS` that turns what was seen into a range.
    techniques : names in `TECHNIQUES`; those that pay off at this precision if not given.

    Raises
    ------
    UserError
        For an observer or a technique that does not exist.
    """

    precision: Precision = W8A8
    edges: Precision = W8A8
    observer: str = "percentile"
    techniques: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise UserError(f"observer must be one of {', '.join(OBSERVERS)}, "
                            f"not {self.observer!r}")
        names = self.techniques
        object.__setattr__(self, "techniques", default_techniques(self.precision)
                           if names is None else check_techniques(names))

    @classmethod
    def plain(cls, observer: str = "percentile", precision: Precision = W8A8) -> "Scheme":
        """Return the scheme of plain rounding: an observer, and no technique."""
        return cls(observer=observer, precision=precision, techniques=())

    def uses(self, technique: str) -> bool:
        """Return whether a technique is used."""
        return technique in self.techniques

    @property
    def equalizes(self) -> bool:
        """Whether the float network is changed, its function kept, before it is calibrated."""
        return any(map(self.uses, EQUALIZATIONS))

    @property
    def searches_ranges(self) -> bool:
        """Whether ranges are searched, one way or the other, instead of observed."""
        return self.uses("activation_search") or self.uses("logit_search")

    @property
    def needs_moments(self) -> bool:
        """Whether weights are judged by what their layers read."""
        return self.uses("weight_search") or self.uses("gptq")

    @property
    def provenance(self) -> dict[str, Any]:
        """What a network says about its scheme; JSON values, which `of_provenance` reads."""
        return {"precision": self.precision.name, "edges": self.edges.name,
                "observer": self.observer, "techniques": list(self.techniques)}

    @classmethod
    def of_provenance(cls, provenance: Mapping[str, Any]) -> "Scheme":
        """Return the scheme that a network's provenance states."""
        found = {}
        for name, kind in (("precision", str), ("edges", str), ("observer", str),
                           ("techniques", list)):
            value = found[name] = provenance.get(name)
            if not isinstance(value, kind):
                raise UserError(f"the network's provenance must have {name!r}: quantize anew")
        return cls(precision=parse_precision(found["precision"]),
                   edges=parse_precision(found["edges"]), observer=found["observer"],
                   techniques=tuple(found["techniques"]))
