"""Which packets of an MPEG-4 part 2 stream hold a picture: one bit in the header of each says so.

A picture that is "not coded" (``vop_coded`` = 0) stands for a dropped or packed one and shows nothing. Behind it lie a
clock time, of as many bits as the header of the stream says, so that one is needed to read the other (ISO/IEC 14496-2,
6.2.3 and 6.2.5).
"""

_PICTURE, _NOTHING = b"\0\0\1\xb6", 8  # a start code; bytes of a packet that can hold no picture


class Clock:
    """How many bits a picture's time has in a stream: read from ``head`` (extradata), and from packets as they come."""

    def __init__(self, head: bytes | None = None):
        self._bits: int | None = None
        self._read(head or b"")

    def shows(self, packet: bytes) -> bool:
        """Whether a packet holds a coded picture. As long as no header has come, small packets count as none."""
        self._read(packet)
        found, any_picture = -1, False
        while (found := packet.find(_PICTURE, found + 1)) >= 0:
            any_picture = True
            if self._bits is not None and _is_coded(packet[found + 4:], self._bits):
                return True
        return len(packet) > _NOTHING if self._bits is None or not any_picture else False

    def _read(self, data: bytes) -> None:
        found = -1
        while (found := data.find(b"\0\0\1", found + 1)) >= 0:
            if data[found + 3: found + 4] and 0x20 <= data[found + 3] <= 0x2F:
                try:
                    self._bits = _clock_bits(_Bits(data[found + 4: found + 40]))
                except IndexError:  # cut off
                    continue


class _Bits:
    def __init__(self, data: bytes):
        self._digits, self._at = "".join(f"{byte:08b}" for byte in data), 0

    def next(self, count: int = 1) -> int:
        """The next bits as a number. Raises IndexError behind the end."""
        self._at += count
        if self._at > len(self._digits):
            raise IndexError
        return int(self._digits[self._at - count: self._at], 2)


def _clock_bits(bits: _Bits) -> int:
    """Bits of ``vop_time_increment``, from the header of a video object layer."""
    bits.next(9)  # random access, type
    version = 1
    if bits.next():
        version = bits.next(4)
        bits.next(3)
    if bits.next(4) == 15:  # the aspect ratio of a pixel, in full
        bits.next(16)
    if bits.next():  # control parameters
        bits.next(3)
        if bits.next():
            bits.next(79)
    if bits.next(2) == 3 and version != 1:  # the shape, grey
        bits.next(4)
    bits.next()
    return max(1, (bits.next(16) - 1).bit_length())


def _is_coded(header: bytes, clock_bits: int) -> bool:
    bits = _Bits(header[:24])
    try:
        bits.next(2)  # the type
        while bits.next():  # whole seconds
            pass
        bits.next(1 + clock_bits + 1)
        return bool(bits.next())
    except IndexError:  # cut off: nothing to show
        return False
