"""Data sets to cite. Read ``datasets`` first, then ``crate``, which writes and reads their folders."""
