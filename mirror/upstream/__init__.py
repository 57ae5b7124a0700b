"""The way to the archive: HTTP, manners, and what the mirror asks as typed functions."""
