"""Flash as a journal sees it: pages that an erase fills with ones, and writes that only turn ones into zeros."""

from __future__ import annotations

from abc import ABC, abstractmethod

from edgekit.errors import DataError, UsageError

ERASED = 0xFF
MIN_PAGE_BYTES, MAX_PAGE_BYTES = 64, 1 << 20
UNITS = (1, 2, 4, 8, 16, 32)
MAX_FLASH_BYTES = 1 << 31


class FlashError(DataError):
    """A page or file cannot be read, erased or written, or does not hold what was written to it."""


class Flash(ABC):
    """`page_count` pages of `page_bytes` each, written in units of `unit_bytes`.

    `erase` sets every byte of a page to 0xFF. `write` takes whole units; FlashError when one is not erased. What was
    erased and written is certain to last only after `sync`. UsageError for an access that the geometry does not allow,
    FlashError for one that fails.
    """

    def __init__(self, page_bytes: int, page_count: int, unit_bytes: int = 4, *, writable: bool = True) -> None:
        check_page(page_bytes)
        if unit_bytes not in UNITS:
            raise UsageError("flash", f"write units of {unit_bytes} bytes are not possible", f"choose one of {UNITS}")
        if not 1 <= page_count <= MAX_FLASH_BYTES // page_bytes:
            raise UsageError("flash", f"{page_count} pages of {page_bytes:,} bytes are none, or more than 2 GiB")
        self.page_bytes, self.page_count, self.unit_bytes, self.writable = page_bytes, page_count, unit_bytes, writable

    @property
    def size(self) -> int:
        """All bytes of all pages."""
        return self.page_bytes * self.page_count

    def erase(self, page: int) -> None:
        """Set every byte of one page to 0xFF."""
        self._check_writable()
        if not 0 <= page < self.page_count:
            raise UsageError("flash", f"has no page {page}: it has {self.page_count}")
        self._store(page * self.page_bytes, bytes([ERASED]) * self.page_bytes)

    def write(self, offset: int, data: bytes) -> None:
        """Write whole units, all of which are erased."""
        self._check_writable()
        if offset % self.unit_bytes or len(data) % self.unit_bytes:
            raise UsageError(
                "flash", f"{len(data)} bytes at {offset:#x} are not whole units of {self.unit_bytes} bytes"
            )
        if not is_erased(self.read(offset, len(data))):
            raise FlashError(
                "flash", f"is not erased everywhere in {len(data)} bytes at {offset:#x}", "it may be worn out"
            )
        self._store(offset, data)

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return `nbytes` bytes from `offset` on."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            raise UsageError("flash", f"{nbytes} bytes at {offset:#x} do not lie in its {self.size:,} bytes")
        return self._fetch(offset, nbytes)

    def sync(self) -> None:  # noqa: B027 (memory has nothing to wait for)
        """Return when everything erased and written so far is certain to last."""

    def _check_writable(self) -> None:
        if not self.writable:
            raise UsageError("flash", "was opened to be read only")

    @abstractmethod
    def _store(self, offset: int, data: bytes) -> None:
        """Put bytes there, whatever was there."""

    @abstractmethod
    def _fetch(self, offset: int, nbytes: int) -> bytes:
        """Get bytes from there."""


class RamFlash(Flash):
    """Flash in memory, erased at first; `image` holds its bytes."""

    def __init__(self, page_bytes: int, page_count: int, unit_bytes: int = 4, *, writable: bool = True) -> None:
        super().__init__(page_bytes, page_count, unit_bytes, writable=writable)
        self.image = bytearray([ERASED]) * self.size

    def _store(self, offset: int, data: bytes) -> None:
        self.image[offset : offset + len(data)] = data

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        return bytes(self.image[offset : offset + nbytes])


def check_page(page_bytes: int) -> None:
    """UsageError unless a page is a power of two from 64 bytes to 1 MiB."""
    if not MIN_PAGE_BYTES <= page_bytes <= MAX_PAGE_BYTES or page_bytes & (page_bytes - 1):
        raise UsageError(
            "flash",
            f"pages of {page_bytes:,} bytes are not possible",
            f"choose a power of two from {MIN_PAGE_BYTES} to {MAX_PAGE_BYTES:,}",
        )


def is_erased(data: bytes) -> bool:
    """Whether every byte is 0xFF."""
    return data.count(ERASED) == len(data)
