"""The device that gates are written for, given to Amaranth as its platform."""

import dataclasses

__all__ = ["DEVICES", "Device"]


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """What `elaborate` may know of the device.

    Parameters
    ----------
    name : `generic` leaves all to synthesis, `ecp5` instances MULT18X18D and DP16KD with their own
        registers, and CCU2C.
    """

    name: str = "generic"

    def __post_init__(self) -> None:
        if self.name not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.name!r}")


DEVICES = ("generic", "ecp5")
