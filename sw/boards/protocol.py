"""Bytes between a host and a unit on a board. Hardware: `vitrtl.hw.stream_shell`.

To the board go packets of one tag and a payload of fixed length: a tag below `IDENTIFY` is the
place of an input stream among the component's ports, and its payload is one beat, lowest byte
first. The board answers with packets of the same form: beats of the output streams, its identity
after `IDENTIFY`, and `CREDIT` for every `CREDIT_BYTES` bytes that it has taken. The host never has
more than `QUEUE_BYTES` bytes without credit on their way, so none is ever lost. A broken byte, as a
break of the line is, puts the board back to the start.
"""

from vitrtl.sw.files import digest
from vitrtl.sw.golden.unit import Spec

__all__ = ["CREDIT", "CREDIT_BYTES", "IDENTIFY", "IDENTITY_BYTES", "MOST_STREAMS", "QUEUE_BYTES",
           "beat_bytes", "identity"]

IDENTIFY = 0xF0
"""Tag of the question what is on the board, without payload, and of its answer."""

CREDIT = 0xF1
"""Tag, without payload: another `CREDIT_BYTES` bytes have been taken."""

MOST_STREAMS = IDENTIFY
"""Streams in one direction that tags can tell apart."""

QUEUE_BYTES = 512
"""Bytes that the board keeps until the component takes them."""

CREDIT_BYTES = 64

IDENTITY_BYTES = 8


def beat_bytes(width: int) -> int:
    """Return the bytes of a beat of some bits."""
    return -(-width // 8)


def identity(unit: str, spec: Spec) -> bytes:
    """Return what a board with this unit answers to `IDENTIFY`."""
    return bytes.fromhex(digest(unit, spec.digest))
