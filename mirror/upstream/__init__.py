"""The client of the archive: HTTP, pacing, and what the mirror asks as typed functions."""
