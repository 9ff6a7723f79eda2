"""Cycles of one image on the accelerator, as what a choice of candidates adds up to.

Vector engines work beside the array, so that what counts of a unit's time is what the array waits
for. It is predicted: for each candidate the network in which all layers of its operator have it,
and what each of them adds is what the array takes longer from there on to the next of them. Beside
that every engine has a program that is fetched before the array begins.
"""

import dataclasses
import functools
from bisect import bisect
from collections.abc import Callable, Mapping

from vitrtl.sw.accelerator.cycles import layer_cycles, network_cycles
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.candidate import candidate, candidates_of
from vitrtl.sw.errors import UserError
from vitrtl.sw.network import IntegerNetwork

__all__ = ["AcceleratorCycles"]


class AcceleratorCycles:
    """Predicted cycles of one image on the accelerator that suits the network, see `ImageCycles`.

    Vector engines have the lanes of the candidates, or more where they would hold up the array.
    Layers that have a candidate with different lanes share its widest engine, and take less than
    they add up to.

    Parameters
    ----------
    make : makes the integer network with a candidate for each layer.
    base : candidate of each layer, in a network that the accelerator runs.
    """

    name = f"accelerator {AcceleratorSpec.size} x {AcceleratorSpec.size}"

    def __init__(self, make: Callable[[Mapping[str, str]], IntegerNetwork],
                 base: Mapping[str, str]) -> None:
        self.make, self.base = make, dict(base)
        network = make(base)
        self._place = {node.name: i for i, node in enumerate(network.nodes)}
        self._cycles = layer_cycles(network)
        self._known: dict[str, dict[str, int] | None] = {}
        self._engines: dict[str, int] = {}
        self._layers: dict[str, list[str]] = {}
        for layer in sorted(base, key=self._place.__getitem__):
            self._layers.setdefault(candidate(base[layer]).operator, []).append(layer)

    @classmethod
    def of(cls, make: Callable[[Mapping[str, str]], IntegerNetwork],
           *bases: Mapping[str, str]) -> "AcceleratorCycles | None":
        """Return the cycles of networks by the first of some bases that an accelerator runs."""
        return next((cls(make, base) for base in bases if network_cycles(make(base)) is not None),
                    None)

    def exact(self, choice: Mapping[str, str]) -> int | None:
        """Return the cycles with a candidate for each layer; None if no accelerator runs that."""
        return network_cycles(self.make(choice))

    def adds(self, layer: str, name: str) -> int | None:
        """Return what a candidate of a layer adds to `always`; None if no accelerator runs it."""
        if name not in self._known:
            self._known[name] = self._shares(name)
        shares = self._known[name]
        return None if shares is None else shares[layer]

    def each(self, name: str) -> int:
        """Return what the engine of a candidate takes, whatever it does."""
        operator = candidate(name).operator
        if operator not in self._engines:
            self._engines[operator] = self._one_more(operator)
        return self._engines[operator]

    @functools.cached_property
    def always(self) -> int:
        """Cycles beside those that layers and engines add."""
        return (self._whole - sum(map(self.each, set(self.base.values())))
                - sum(map(self._base_adds, self.base)))

    @property
    def _whole(self) -> int:
        """Cycles of the base."""
        return sum(self._cycles.values())

    def _base_adds(self, layer: str) -> int:
        return self.adds(layer, self.base[layer])

    def _one_more(self, operator: str) -> int:
        """Return what a second engine of an operator takes, that of its last layer."""
        *before, last = self._layers[operator]
        adds = {one.name: self.adds(last, one.name) for one in candidates_of(operator)
                if one.name not in self.base.values()}
        others = [name for name, cycles in adds.items() if cycles is not None]
        if not before or not others:
            return 0
        # The less it does to the layer, the less of that is mistaken for the engine's.
        other = min(others, key=lambda name: abs(adds[name]))
        mixed = self.exact({**self.base, last: other})
        return mixed - self._whole - adds[other] + self._base_adds(last)

    def _shares(self, name: str) -> dict[str, int] | None:
        """Return what each layer adds if all of the operator have a candidate."""
        one = candidate(name)
        layers = self._layers[one.operator]
        alone = dataclasses.replace(one, lanes=1).name
        try:
            network = self.make({**self.base, **dict.fromkeys(layers, alone)})
        except UserError:
            return None
        cycles = layer_cycles(_with_lanes(network, layers, one.lanes))
        if cycles is None:
            return None
        places = [self._place[layer] for layer in layers]
        shares = dict.fromkeys(layers, 0)
        for label, taken in cycles.items():
            # What follows the last layer of all has no place among them.
            behind = bisect(places, self._place.get(label, len(self._place)))
            shares[layers[max(0, behind - 1)]] += taken - self._cycles[label]
        return shares


def _with_lanes(network: IntegerNetwork, layers: list[str], lanes: int) -> IntegerNetwork:
    """Return a network whose units for some layers have lanes, which decide about their engine."""
    if lanes == 1:
        return network
    return dataclasses.replace(network, nodes=tuple(
        dataclasses.replace(node, spec=dataclasses.replace(node.spec, lanes=lanes))
        if node.name in layers else node for node in network.nodes))
