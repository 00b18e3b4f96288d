"""Whole numbers as bits, least significant first, and in Exp-Golomb code; reading past the end is refused."""

from __future__ import annotations

from edgekit.errors import ArtifactError

LONGEST = 16  # zeros before an Exp-Golomb number


class BitWriter:
    """Bits written one number after the other."""

    def __init__(self) -> None:
        self.count = 0
        self._value = 0

    def put(self, value: int, bits: int) -> None:
        """A number of so many bits."""
        self._value |= int(value) << self.count
        self.count += bits

    def put_golomb(self, value: int, order: int) -> None:
        """A number from 0: n zeros and a one, then the n lower bits of ⌊value / 2^order⌋ + 1, then `order` bits."""
        high = (value >> order) + 1
        length = high.bit_length() - 1
        self.put(1 << length, length + 1)
        self.put(high ^ 1 << length, length)
        self.put(value & (1 << order) - 1, order)

    def to_bytes(self) -> bytes:
        """All of them, with zeros up to a whole byte."""
        return self._value.to_bytes(-(-self.count // 8), "little")


class BitReader:
    """The same read again; ArtifactError, which names `where`, past the end and for numbers that were never written."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where, self._at = data, where, 0

    def take(self, bits: int) -> int:
        """A number of so many bits."""
        end = self._at + bits
        if end > 8 * len(self._data):
            raise ArtifactError(self._where, "is cut short")
        span = int.from_bytes(self._data[self._at // 8 : -(-end // 8)], "little")
        value = span >> self._at % 8 & (1 << bits) - 1
        self._at = end
        return value

    def take_golomb(self, order: int) -> int:
        """A number that `put_golomb` wrote."""
        length = 0
        while not self.take(1):
            length += 1
            if length > LONGEST:
                raise ArtifactError(self._where, "holds a number that is too large")
        return ((1 << length | self.take(length)) - 1 << order) + self.take(order)

    def rest(self) -> bytes:
        """What follows the last byte that was begun; the bits left in that one must be zero."""
        if self.take(-self._at % 8):
            raise ArtifactError(self._where, "has bits after its tables")
        return self._data[self._at // 8 :]
