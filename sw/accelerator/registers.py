"""Registers of the accelerator: the one description that gates, drivers and documents read.

All are 32 bits wide, at multiples of four bytes of an AXI4-Lite port.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping

from vitrtl.sw.accelerator.isa import MAGIC, PROGRAM_ALIGNMENT
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.markdown import table

__all__ = ["ADDRESS_BITS", "CONTROL_ENGINE", "FAULTS", "REGISTERS", "VERSION", "Field",
           "Register", "Registers", "RunError", "c_header", "markdown", "reset_values",
           "spec_value"]

ADDRESS_BITS = 8
VERSION = 2
"""Of registers and instructions together; a driver refuses another one."""

FAULTS: Mapping[str, int] = {
    "none": 0, "bad program": 1, "misaligned address": 2, "bus error": 3, "timeout": 4,
    "aborted": 5}
"""Codes of what can end a run early."""

CONTROL_ENGINE = 15
"""What STATUS names as the engine of a fault that none of them has caused."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Some bits of a register.

    Parameters
    ----------
    name : as in C, lower case.
    low, bits : the lowest bit's number, and how many.
    doc : meaning.
    """

    name: str
    low: int
    bits: int = 1
    doc: str

    @property
    def mask(self) -> int:
        """The field's bits in the register."""
        return ((1 << self.bits) - 1) << self.low

    def of(self, value: int) -> int:
        """Return the field of a register's value."""
        return (value & self.mask) >> self.low


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One register.

    Parameters
    ----------
    name : as in C, lower case.
    address : in bytes.
    access : `ro`, `rw` or `wo`; what is not allowed is answered with SLVERR and has no effect.
    reset : value after reset; None where it follows from the spec.
    doc : meaning.
    bits : that it has, lowest first; the others read as zero.
    fields : what its bits are, if it is not one number.
    """

    name: str
    address: int
    access: str
    reset: int | None = 0
    doc: str
    bits: int = 32
    fields: tuple[Field, ...] = ()

    def field(self, name: str) -> Field:
        """Return a field by its name."""
        return next(field for field in self.fields if field.name == name)


_FAULT_LIST = ", ".join(f"{code} {name}" for name, code in FAULTS.items())

REGISTERS: Mapping[str, Register] = {register.name: register for register in (
    Register(name="id", address=0x00, access="ro", reset=MAGIC, doc="`VRTL`"),
    Register(name="version", address=0x04, access="ro", reset=VERSION,
             doc="of registers and instructions"),
    Register(name="spec", address=0x08, access="ro", reset=None,
             doc="low half of the digest of the accelerator's spec, which a program must name"),
    Register(name="control", address=0x0C, access="wo", doc="what to do now", fields=(
        Field(name="start", low=0, doc="begin a run with the address registers as they are"),
        Field(name="abort", low=1, doc="end the run early, with fault `aborted`, as soon as the "
              "memory has answered what was asked of it"),
        Field(name="clear", low=2, doc="take the interrupt back"))),
    Register(name="status", address=0x10, access="ro", doc="of the run, or of the last one",
             fields=(
        Field(name="busy", low=0, doc="a run is not over"),
        Field(name="done", low=1, doc="the last run ended well"),
        Field(name="ignored", low=2, doc="a start came while busy and was ignored; until the "
              "next start"),
        Field(name="interrupt", low=3, doc="`irq` is high: a run has ended, well or not; until "
              "cleared, or the next start"),
        Field(name="fault", low=8, bits=4, doc=_FAULT_LIST),
        Field(name="engine", low=12, bits=4,
              doc=f"whose fault it is; {CONTROL_ENGINE}: none of the engines"))),
    Register(name="program", address=0x14, access="rw",
             doc=f"byte address of the program, a multiple of {PROGRAM_ALIGNMENT}; like the "
                 "next two it is read at the start, and may be written for the next run "
                 "during this one"),
    Register(name="image", address=0x18, access="rw",
             doc="byte address of the input, a multiple of a beat of the memory bus"),
    Register(name="output", address=0x1C, access="rw",
             doc="byte address of the results, a multiple of a beat of the memory bus"),
    Register(name="cycles", address=0x20, access="ro",
             doc="cycles of the run, from the start to its end"),
    Register(name="beats", address=0x24, access="ro",
             doc="cycles in which the array took activations"),
    Register(name="timeout", address=0x28, access="rw", reset=1 << 20,
             doc="cycles without any progress after which a run ends with fault `timeout`; "
                 "0: never"),
    Register(name="engine_select", address=0x2C, access="rw", bits=4,
             doc="which engine the next two registers tell of: 0 DMA, 1 array, then the "
                 "vector engines"),
    Register(name="engine_done", address=0x30, access="ro",
             doc="instructions that the selected engine has ended in the run, modulo 65536"),
    Register(name="engine_busy", address=0x34, access="ro",
             doc="cycles of the run in which the selected engine had begun an instruction "
                 "and not ended it"),
)}
"""By name, in the order of their addresses."""


class RunError(Exception):
    """A run that ended early.

    Attributes
    ----------
    fault : a name of `FAULTS`.
    engine : whose it is, or `CONTROL_ENGINE`.
    """

    def __init__(self, fault: str, engine: int) -> None:
        self.fault, self.engine = fault, engine
        where = "control" if engine == CONTROL_ENGINE else f"engine {engine}"
        super().__init__(f"the run ended with the fault: {fault} ({where})")


class Registers:
    """Host side of the accelerator: registers by name, and how a run is started and awaited.

    Every register that can be read is an attribute of its name; those that can be written can be
    assigned. `STATUS` is taken apart by `busy`, `done`, `ignored`, `interrupt`, `fault` and
    `engine`.

    Parameters
    ----------
    read : `read(address) -> value` of the AXI4-Lite port, relative to the accelerator.
    write : `write(address, value)`, likewise.
    """

    def __init__(self, read: Callable[[int], int], write: Callable[[int, int], None]) -> None:
        self.__dict__["_read"] = read
        self.__dict__["_write"] = write

    def __getattr__(self, name: str) -> int:
        if (register := REGISTERS.get(name)) is None or register.access == "wo":
            raise AttributeError(f"the accelerator has no register {name!r} that can be read")
        return self._read(register.address)

    def __setattr__(self, name: str, value: int) -> None:
        if (register := REGISTERS.get(name)) is None or register.access == "ro":
            raise AttributeError(f"the accelerator has no register {name!r} that can be written")
        if not 0 <= value < 1 << 32:
            raise ValueError(f"{name} must be 0..{(1 << 32) - 1}, not {value!r}")
        self._write(register.address, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *REGISTERS]

    @property
    def busy(self) -> bool:
        """Whether a run is not over."""
        return bool(self._status("busy"))

    @property
    def done(self) -> bool:
        """Whether the last run ended well."""
        return bool(self._status("done"))

    @property
    def ignored(self) -> bool:
        """Whether a start has come while busy."""
        return bool(self._status("ignored"))

    @property
    def interrupt(self) -> bool:
        """Whether the interrupt is high."""
        return bool(self._status("interrupt"))

    @property
    def fault(self) -> str:
        """Name of what has ended the last run early, or `none`."""
        code = self._status("fault")
        return next((name for name, value in FAULTS.items() if value == code), f"code {code}")

    @property
    def engine(self) -> int:
        """Whose fault it is, see `CONTROL_ENGINE`."""
        return self._status("engine")

    def check(self, spec: AcceleratorSpec) -> None:
        """Refuse hardware that is not what a program was compiled for.

        Raises
        ------
        ValueError
            If identity, version or digest differ.
        """
        for name, wanted in (("id", MAGIC), ("version", VERSION), ("spec", spec_value(spec))):
            if (value := getattr(self, name)) != wanted:
                raise ValueError(f"register {name} must be {wanted:#x}, not {value:#x}")

    def start(self, program: int, image: int, output: int) -> None:
        """Begin a run.

        Parameters
        ----------
        program, image, output : byte addresses in memory.
        """
        self.program, self.image, self.output = program, image, output
        self._command("start")

    def abort(self) -> None:
        """End the run early. It stays busy until the memory has answered."""
        self._command("abort")

    def clear(self) -> None:
        """Take the interrupt back."""
        self._command("clear")

    def wait(self, seconds: float = 60.0, pause: float = 0.0) -> None:
        """Return when the run is over.

        Parameters
        ----------
        seconds : that it may take.
        pause : seconds between two looks at STATUS.

        Raises
        ------
        RunError
            If it ended early.
        TimeoutError
            If it is not over in time.
        """
        end = time.monotonic() + seconds
        while self.busy:
            if time.monotonic() > end:
                raise TimeoutError(f"the run is not over after {seconds:g} s")
            time.sleep(pause)
        if self.fault != "none":
            raise RunError(self.fault, self.engine)

    def engine_counters(self, engine: int) -> tuple[int, int]:
        """Return the instructions that an engine has ended, and the cycles in which it had work."""
        self.engine_select = engine
        return self.engine_done, self.engine_busy

    def _status(self, field: str) -> int:
        return REGISTERS["status"].field(field).of(self.status)

    def _command(self, field: str) -> None:
        self.control = REGISTERS["control"].field(field).mask


def reset_values(spec: AcceleratorSpec) -> dict[str, int]:
    """Return what every register that can be read holds after reset."""
    return {name: spec_value(spec) if register.reset is None else register.reset
            for name, register in REGISTERS.items() if register.access != "wo"}


def spec_value(spec: AcceleratorSpec) -> int:
    """Return the low half of a spec's digest, which register SPEC holds."""
    return int(spec.digest, 16) & 0xFFFF_FFFF


def markdown() -> str:
    """Return the map as two tables: registers, and the bits of those that have fields."""
    head = table(["address", "register", "access", "reset", "meaning"],
                 [[f"{r.address:#04x}", f"`{name.upper()}`", r.access,
                   "-" if r.reset is None or r.access == "wo" else f"{r.reset:#x}", r.doc]
                  for name, r in REGISTERS.items()])
    bits = table(["register", "bits", "field", "meaning"],
                 [[f"`{name.upper()}`",
                   f"{f.low}" if f.bits == 1 else f"{f.low + f.bits - 1}..{f.low}",
                   f"`{f.name}`", f.doc] for name, r in REGISTERS.items() for f in r.fields])
    return f"{head}\n{bits}"


def c_header(spec: AcceleratorSpec) -> str:
    """Return the map for C: addresses, masks, fault codes, and a start and a look at the end.

    Parameters
    ----------
    spec : of the accelerator that is driven; its digest is in the text.
    """
    lines = ["/* Registers of the accelerator, written by `vitrtl verilog --accelerator`. */",
             "#ifndef VITRTL_ACCELERATOR_H", "#define VITRTL_ACCELERATOR_H", "",
             "#include <stdint.h>", "",
             *_define("VITRTL_ID_VALUE", MAGIC, "what ID must be"),
             *_define("VITRTL_VERSION_VALUE", VERSION, "the VERSION that this header is for"),
             *_define("VITRTL_SPEC_VALUE", spec_value(spec), "the SPEC that this header is for"),
             *_define("VITRTL_BUS_BYTES", spec.bus_bytes, "bytes of one beat of the memory bus"),
             *_define("VITRTL_ENGINES", spec.engine_count, "DMA and array included")]
    for name, register in REGISTERS.items():
        lines += ["", *_define(f"VITRTL_{name.upper()}", register.address,
                               f"{register.access}: {register.doc}")]
        for field in register.fields:
            place = f"VITRTL_{name.upper()}_{field.name.upper()}"
            lines += [*_define(place, field.mask, field.doc),
                      f"#define {place}_SHIFT {field.low}"]
    lines += ["", "enum vitrtl_fault {",
              *(f"    VITRTL_FAULT_{name.upper().replace(' ', '_')} = {code},"
                for name, code in FAULTS.items()), "};"]
    return "\n".join(lines) + "\n" + _C_FUNCTIONS


def _define(name: str, value: int, doc: str) -> list[str]:
    return [f"/* {doc.replace('`', '')} */", f"#define {name} UINT32_C({value:#x})"]


_C_FUNCTIONS = """
/* Begins a run; base is where the registers are. */
static inline void vitrtl_start(volatile uint32_t *base, uint32_t program, uint32_t image,
                                uint32_t output)
{
    base[VITRTL_PROGRAM / 4] = program;
    base[VITRTL_IMAGE / 4] = image;
    base[VITRTL_OUTPUT / 4] = output;
    base[VITRTL_CONTROL / 4] = VITRTL_CONTROL_START;
}

/* Returns the fault that ended the last run; look at it when it is not busy. */
static inline enum vitrtl_fault vitrtl_fault_of(uint32_t status)
{
    return (enum vitrtl_fault)((status & VITRTL_STATUS_FAULT) >> VITRTL_STATUS_FAULT_SHIFT);
}

/* Returns whether this is the accelerator that the header was written for. */
static inline int vitrtl_matches(volatile uint32_t *base)
{
    return base[VITRTL_ID / 4] == VITRTL_ID_VALUE
        && base[VITRTL_VERSION / 4] == VITRTL_VERSION_VALUE
        && base[VITRTL_SPEC / 4] == VITRTL_SPEC_VALUE;
}

#endif
"""
