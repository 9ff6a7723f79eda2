"""Cycles of a unit, as numbers that the bench asserts and the cost table prints."""

import dataclasses

__all__ = ["Timing"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Cycles of a vector unit for a row of B beats, with no stall on either side.

    Parameters
    ----------
    latency_fixed, latency_per_beat : from the clock edge that takes a row's first beat to the
        edge that hands over its first result: `latency_fixed + latency_per_beat * B`, for a row
        that meets an empty unit.
    interval_min : shortest distance between two rows, set by what runs once a row; a row of
        fewer beats than this waits for it.
    """

    latency_fixed: int
    latency_per_beat: int = 0
    interval_min: int = 1

    def latency(self, beats: int) -> int:
        """Cycles from the first beat in to the first beat out."""
        return self.latency_fixed + self.latency_per_beat * beats

    def interval(self, beats: int) -> int:
        """Cycles from row to row in the long run."""
        return max(beats, self.interval_min)

    def cycles(self, beats: int) -> int:
        """Cycles from the first beat in to the last beat out, both included, for one row."""
        return self.latency(beats) + beats
