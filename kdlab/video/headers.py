"""Headers of MPEG-4 part 2 (ISO 14496-2, 6.2) and H.264 (ITU-T H.264, 7.3), read from packets without decoding.

A motion vector gives the position from which a block was copied, and not the picture. If an H.264 stream keeps one
reference frame, and every picture is a reference, the source is the previous picture, as in MPEG-4 part 2.
"""

import re
from collections.abc import Iterable, Iterator

#: Start codes of a layer and of a picture (VOL, VOP) in MPEG-4; the first two bits of a picture are its type.
_LAYER, _PICTURE = re.compile(rb"\x00\x00\x01[\x20-\x2f]"), re.compile(rb"\x00\x00\x01\xb6")
#: Profiles whose sequence parameter set has fields for chroma, bit depth and scaling lists.
_HIGH = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
#: Types of NAL units that hold slices.
SLICES = (1, 2, 5)


class CutOff(ValueError):
    """A header that ends too early."""


class Fault(ValueError):
    """Why motion vectors cannot be used with a parameter set of an H.264 stream."""


class Bits:
    """Reads a header bit by bit."""

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


# --- H.264 ---------------------------------------------------------------------------------------------------------


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
    """The parameter sets before the first packet, and the number of bytes of a unit's length (0: start codes). Raises
    CutOff where they end too early."""
    if extradata[:1] != b"\1":
        return list(units(extradata)), 0
    sets, at = [], 5
    for mask in (31, 255):  # masks of the counts of sequence and picture parameter sets
        if at >= len(extradata):
            raise CutOff
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            sets.append(extradata[at + 2 : at + 2 + size])
            at += 2 + size
    return sets, (extradata[4] & 3) + 1


def h264_kind(some: Iterable[bytes]) -> str:
    """The type of a picture from its NAL units: ``I``, ``P``, ``B``, ``S`` (switching), or ``N`` for a P-picture that
    is no reference; empty if they hold no slice.

    Raises Fault for a parameter set with which motion vectors cannot be used, and CutOff.
    """
    slices = set()
    for unit in filter(None, some):
        if (kind := unit[0] & 31) in SLICES:
            bits = Bits(unit[1:12])
            bits.unsigned()
            slices.add(("P" if unit[0] >> 5 & 3 else "N", *"BISS")[bits.unsigned() % 5])
        elif kind == 7:
            _check_sequence(unit)
        elif kind == 8:
            _check_picture(unit)
    return next((kind for kind in "BSNPI" if kind in slices), "")


def _check_sequence(unit: bytes) -> None:
    """Raise Fault unless motion vectors can be used with this sequence parameter set (7.3.2.1.1)."""
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
        raise Fault(f"keeps {references} reference frames")
    bits.read(), bits.unsigned(), bits.unsigned()  # gaps in frame numbers, width, height
    if not bits.read():
        raise Fault("may be interlaced")
    bits.read()
    if bits.read():
        left, _, top, _ = (bits.unsigned() for _ in range(4))
        if left or top:
            raise Fault("is cropped at the left or the top")


def _skip_scaling_list(bits: Bits, size: int) -> None:
    if not bits.read():
        return
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _check_picture(unit: bytes) -> None:
    """Raise Fault unless motion vectors can be used with this picture parameter set (7.3.2.2)."""
    bits = Bits(unit[1:])
    bits.unsigned(), bits.unsigned(), bits.read(2)
    if bits.unsigned():
        raise Fault("has slice groups")
    bits.unsigned(), bits.unsigned()
    if bits.read():
        raise Fault("weighs its references")


# --- MPEG-4 part 2 -------------------------------------------------------------------------------------------------


def mpeg4_kinds(packet: bytes) -> str:
    """The types of the pictures in a packet: ``I``, ``P``, ``B`` or ``S`` (global motion) each."""
    return "".join("IPBS"[packet[start.end()] >> 6] for start in _PICTURE.finditer(packet[:-1]))


def not_coded(packet: bytes, head: bytes) -> bool:
    """Whether a packet holds a "not coded" picture, which is not shown, or none at all.

    ``head`` has the header of the layer, which tells how long a picture's time is; without it nothing counts as coded.
    """
    layer, picture = _LAYER.search(head), _PICTURE.search(packet)
    if not layer or not picture:
        return True
    bits = Bits(head[layer.end() :] + bytes(16))  # zeros stand for what is cut off
    bits.read(9)
    version = bits.read(7) >> 3 if bits.read() else 1
    if bits.read(4) == 15:
        bits.read(16)  # an aspect ratio
    if bits.read() and bits.read(4) & 1:
        bits.read(79)  # buffer sizes
    if bits.read(2) == 3 and version != 1:
        bits.read(4)
    bits.read()
    ticks, bits = bits.read(16), Bits(packet[picture.end() :] + bytes(16))
    bits.read(2)
    while bits.read():  # a bit for each second that has passed
        pass
    bits.read(1 + max(1, (ticks - 1).bit_length()) + 1)
    return not bits.read()
