"""A caching mirror of the JSOC solar data archive.

For scripts there is one function, ``use``; everything else is run with the command ``mirror``.

>>> import mirror
>>> mirror.use("http://mirror.example.org:8040")  # doctest: +SKIP
>>> import drms
>>> drms.Client().query("hmi.v_45s[2014.01.01_TAI/3m]", key="T_REC, CRLT_OBS")  # doctest: +SKIP
"""

from mirror.client import server_config, use

__all__ = ["__version__", "server_config", "use"]

__version__ = "0.1.0"
