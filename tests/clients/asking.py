"""A search and a file by drms or sunpy, as they come; with an address as the second word by ``mirror.use``."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

EMAIL = "a@example.com"
_really_sleep = time.sleep


def with_drms():
    import drms

    client = drms.Client(email=EMAIL)
    found = client.query("hmi.sharp_cea_720s[3604][2014.01.10_12:00_TAI]", key="HARPNUM, T_REC")
    wish = client.export("hmi.sharp_cea_720s[3604][2014.01.10_12:00_TAI]{Br}", method="url", protocol="fits")
    assert wish.wait(timeout=180)
    with tempfile.TemporaryDirectory() as folder:
        got = wish.download(folder)
        return [len(found), [Path(p).stat().st_size > 2880 for p in got.download]]


def with_sunpy():
    from sunpy.net import Fido
    from sunpy.net import attrs as a

    when, notify = a.Time("2014-01-10T11:59:24", "2014-01-10T11:59:26"), a.jsoc.Notify(EMAIL)
    patch = a.jsoc.PrimeKey("HARPNUM", 3604)
    query = Fido.search(when, a.jsoc.Series("hmi.sharp_cea_720s"), patch, a.jsoc.Segment("Br"), notify)
    with tempfile.TemporaryDirectory() as folder:
        files = Fido.fetch(query, path=folder, progress=False)
        assert not files.errors, files.errors
        return [len(query["jsoc"]), [Path(p).stat().st_size > 2880 for p in files]]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    time.sleep = lambda _: _really_sleep(0.1)
    if len(sys.argv) > 2:
        import mirror

        mirror.use(sys.argv[2])
    print(json.dumps({"drms": with_drms, "sunpy": with_sunpy}[sys.argv[1]]()))
