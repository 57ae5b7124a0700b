"""FITS files as JSOC exports them: header cards, checksums, names, and the assembly of a file."""

from mirror.fits.assembly import Exporter, FitsPatch, assemble, ones_complement
from mirror.fits.header import ArchivedImage, read_archive
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
