"""Which packets of an MPEG-4 part 2 stream hold a picture: one bit in the header of each says so.

A picture that is "not coded" (``vop_coded`` = 0) stands for a dropped or packed one and shows nothing. Behind it lie a
clock time, of as many bits as the header of the stream says, so that one is needed to read the other (ISO/IEC 14496-2,
6.2.3 and 6.2.5).
"""

import re

_PICTURE, _NOTHING = b"\0\0\1\xb6", 8  # a start code; bytes of a packet that can hold no picture
#: The header of a video object layer, in bits: random access and type; version; the aspect ratio of a pixel, maybe in
#: full; control parameters; shape; what follows.
_LAYER = re.compile(r".{9}(?:0|1(?P<version>.{4}).{3})(?:1111.{16}|(?!1111).{4})(?:0|1.{3}(?:0|1.{79}))"
                    r"(?P<shape>..)(?P<rest>.*)")


class Clock:
    """How many bits a picture's time has in a stream: read from ``head`` (extradata), and from packets as they come."""

    def __init__(self, head: bytes | None = None):
        self._bits: int | None = None
        self._read(head or b"")

    def shows(self, packet: bytes) -> bool:
        """Whether a packet holds a coded picture. As long as no header has come, small packets count as none."""
        self._read(packet)
        pictures = packet.split(_PICTURE)[1:]
        if self._bits is None or not pictures:
            return len(packet) > _NOTHING
        # type, whole seconds, a mark, the time, a mark, coded
        coded = re.compile(rf"..1*0.{{{self._bits + 2}}}1")
        # a second that has passed is a digit more, and a pause may be long
        ends = [len(picture) - len(picture[1:].lstrip(b"\xff")) for picture in pictures]
        return any(coded.match(_digits(picture[: end + 24])) for picture, end in zip(pictures, ends, strict=True))

    def _read(self, data: bytes) -> None:
        for layer in re.finditer(rb"\x00\x00\x01[\x20-\x2f](?=(.{0,36}))", data, re.DOTALL):
            if found := _LAYER.match(_digits(layer[1])):
                grey = found["shape"] == "11" and found["version"] not in (None, "0001")
                rest = found["rest"][4 * grey + 1 :]
                if len(rest) >= 16:  # else cut off
                    self._bits = max(1, (int(rest[:16], 2) - 1).bit_length())


def _digits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)
