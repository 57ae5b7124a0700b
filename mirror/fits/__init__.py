"""FITS files as JSOC exports them: header cards, checksums, names, and the assembly of a file."""

from mirror.fits.archive import ArchivedImage, read_archive
from mirror.fits.assembly import Exporter, FitsPatch, assemble
from mirror.fits.checksum import ones_complement
from mirror.fits.record import RecordValues

__all__ = [
    "ArchivedImage",
    "Exporter",
    "FitsPatch",
    "RecordValues",
    "assemble",
    "ones_complement",
    "read_archive",
]
