"""The command ``mirror``: starts the programs, and asks a running mirror over HTTP."""
