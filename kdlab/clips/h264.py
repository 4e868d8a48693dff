"""Parameter sets and slice headers of H.264 streams, read without decoding (ITU-T H.264, 7.3).

A motion vector gives the position from which a block was copied, and not the picture. If the stream keeps one reference
frame, and every picture is a reference, the source is the previous picture, as in MPEG-4 part 2.
"""

from collections.abc import Iterator

#: Profiles whose sequence parameter set has fields for chroma, bit depth and scaling lists.
_HIGH = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
#: Types of NAL units: slices, sequence and picture parameter sets.
SLICES, SEQUENCE, PICTURE = (1, 2, 5), 7, 8


class CutOff(ValueError):
    """A header that ends too early."""


class Bits:
    """Reads a NAL unit's payload bit by bit."""

    def __init__(self, unit: bytes):
        data = unit.replace(b"\0\0\3", b"\0\0")  # remove emulation prevention bytes
        self._bits, self._at = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int = 1) -> int:
        """The next ``count`` bits as an unsigned number. Raises CutOff if fewer are left."""
        self._at -= count
        if self._at < 0:
            raise CutOff
        return self._bits >> self._at & (1 << count) - 1

    def unsigned(self) -> int:
        """The next unsigned Exp-Golomb code (9.1)."""
        zeros = 0
        while not self.read():
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        """The next signed Exp-Golomb code (9.1.1)."""
        code = self.unsigned()
        return (code + 1) // 2 * (1 if code % 2 else -1)


def units(data: bytes, length: int = 0) -> Iterator[bytes]:
    """Yield the NAL units of a packet. Each follows its size in ``length`` bytes, or a start code if that is 0."""
    if not length:
        yield from (unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:])
        return
    at = 0
    while at + length < len(data):
        size = int.from_bytes(data[at : at + length], "big")
        yield data[at + length : at + length + size]
        at += length + size


def head_units(extradata: bytes) -> tuple[list[bytes], int]:
    """The parameter sets before the first packet, and the number of bytes of a unit's length (0: start codes)."""
    if extradata[:1] != b"\1":
        return list(units(extradata)), 0
    found, at = [], 5
    for mask in (31, 255):  # masks of the counts of sequence and picture parameter sets
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            found.append(extradata[at + 2 : at + 2 + size])
            at += 2 + size
    return found, (extradata[4] & 3) + 1


def sequence_fault(unit: bytes) -> str:
    """Why motion vectors cannot be used with this sequence parameter set (7.3.2.1.1); empty if they can.

    Raises CutOff.
    """
    bits = Bits(unit[1:])
    profile = bits.read(24) >> 16
    bits.unsigned()
    if profile in _HIGH:
        chroma = bits.unsigned()
        if chroma == 3:
            bits.read()
        bits.unsigned(), bits.unsigned(), bits.read()  # bit depths, transform bypass
        if bits.read():
            for number in range(12 if chroma == 3 else 8):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.unsigned()
    if (order := bits.unsigned()) == 0:
        bits.unsigned()
    elif order == 1:
        bits.read(), bits.signed(), bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()
    if (references := bits.unsigned()) > 1:
        return f"keeps {references} reference frames"
    bits.read(), bits.unsigned(), bits.unsigned()  # gaps in frame numbers, width, height
    if not bits.read():
        return "may be interlaced"
    bits.read()
    if bits.read():
        left, _, top, _ = (bits.unsigned() for _ in range(4))
        if left or top:
            return "is cropped at the left or the top"
    return ""


def _skip_scaling_list(bits: Bits, size: int) -> None:
    if not bits.read():
        return
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def picture_fault(unit: bytes) -> str:
    """Why motion vectors cannot be used with this picture parameter set (7.3.2.2); empty if they can.

    Raises CutOff.
    """
    bits = Bits(unit[1:])
    bits.unsigned(), bits.unsigned(), bits.read(2)
    if bits.unsigned():
        return "has slice groups"
    bits.unsigned(), bits.unsigned()
    return "weighs its references" if bits.read() else ""


def slice_kind(unit: bytes) -> str:
    """The type of a slice, ``I``, ``P``, ``B`` or ``S`` (switching), or ``N`` for a P-slice of a non-reference picture.

    Raises CutOff.
    """
    bits = Bits(unit[1:12])
    bits.unsigned()
    kind = "PBISS"[bits.unsigned() % 5]
    return kind if kind != "P" or unit[0] >> 5 & 3 else "N"
