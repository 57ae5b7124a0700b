"""A caching mirror of the JSOC solar data archive.

For scripts there is one function, ``use``, and for tables, files, maps and data sets a ``Client``; everything else is
done with the command ``mirror``.

>>> import mirror
>>> mirror.use("http://mirror.example.org:8040")  # doctest: +SKIP
>>> import drms
>>> drms.Client().query("hmi.v_45s[2014.01.01_TAI/3m]", key="T_REC, CRLT_OBS")  # doctest: +SKIP
>>> mirror.Client().sql("SELECT t_rec, crlt_obs FROM hmi.v_45s LIMIT 3")  # doctest: +SKIP
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirror.client.redirect import server_config, use
    from mirror.client.remote import AsyncClient, Client, Cutout, Dataset, RemoteError

    __version__: str

__all__ = ["AsyncClient", "Client", "Cutout", "Dataset", "RemoteError", "__version__", "server_config", "use"]


def __getattr__(name: str) -> Any:
    """Import slow parts when they are first used: commands and workers start without them."""
    if name == "__version__":
        return _version()
    if name in ("server_config", "use"):
        from mirror.client import redirect  # noqa: PLC0415

        return getattr(redirect, name)
    if name not in ("AsyncClient", "Client", "Cutout", "Dataset", "RemoteError"):
        raise AttributeError(f"module 'mirror' has no attribute {name!r}")
    from mirror.client import remote  # noqa: PLC0415

    return getattr(remote, name)


def __dir__() -> list[str]:
    """What scripts use."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


@cache
def _version() -> str:
    """The installed version; unknown for a tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("jsoc-mirror")
    except PackageNotFoundError:
        return "0+unknown"
