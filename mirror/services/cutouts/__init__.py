"""One record's file at an address of its own, whole or a part of it."""
