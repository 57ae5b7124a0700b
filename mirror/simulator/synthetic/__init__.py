"""Synthetic series: any record of some forty series of JSOC at any time, the same at every start.

Nothing is stored. Which records exist is arithmetic on slots (``population``, ``selecting``); what they
hold is computed by column functions when asked for (``columns`` and the module of each instrument), with
chance from hashes (``noise``) and the sky from an ephemeris; how it is printed is in ``printing``. The
structures are files of ``mirror/simulator/data``.
"""

from mirror.simulator.synthetic.catalogue import synthetic_series

__all__ = ["synthetic_series"]
