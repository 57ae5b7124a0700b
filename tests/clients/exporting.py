"""What people do with drms and sunpy to get files; run as a program of its own, with HTTP_PROXY at a mirror.

Nothing of the mirror is imported here, and the clients are as they come, but that they do not sleep between
two looks at an export. Prints one JSON object: what was got by each step, as names, sizes and hashes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import drms
from astropy.io import fits

EMAIL = "a@example.com"
DOPPLERGRAMS = "hmi.v_45s[2016.04.01_TAI/1d@6h]{Dopplergram}"
PATCHES = "hmi.sharp_720s[4864][2014.11.30_00:00_TAI]{continuum, magnetogram}"
CUTOUT = {
    "im_patch": {
        "t_ref": "2011-02-15T00:00:00.340", "t": 0, "r": 0, "c": 0, "locunits": "arcsec", "boxunits": "arcsec",
        "x": -175.0, "y": 50.0, "width": 650.0, "height": 650.0,
    }
}
CORONA = "aia.lev1_euv_12s[2011.02.15_00:00:34_TAI-2011.02.15_00:01:34_TAI][171]{image}"
TEXTS = "hmi.v_sht_2drls[2024.09.19_00:00:00_TAI]{split,rot,err}"
_really_sleep = time.sleep


def without_sleep(_):
    _really_sleep(0.1)


def told(folder):
    """Every file of a folder: name, size, hash of its data, and the shape of its image."""
    files = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            files[path.name] = [len(data), hashlib.sha256(_timeless(data)).hexdigest(), shape(path)]
    return files


def _timeless(data):
    """A file without the cards that say when it was made."""
    if not data.startswith(b"SIMPLE"):
        return data
    return b"".join(data[i : i + 80] for i in range(0, len(data), 80) if data[i : i + 8] not in (b"CHECKSUM", b"DATASUM "))


def shape(path):
    if path.suffix != ".fits":
        return None
    with fits.open(path) as hdus:
        hdus.verify("exception")
        return [list(hdu.shape) for hdu in hdus if getattr(hdu, "is_image", False) and hdu.shape]


def drms_export(client, ds, rows=None, **how):
    result = client.export(ds, **how)
    if how["method"] != "url_quick":
        assert result.wait(timeout=180), result.status
    with tempfile.TemporaryDirectory() as folder:
        got = result.download(folder, index=rows)
        assert all(got.download.map(lambda path: path is not None and Path(path).is_file())), got
        files = told(folder)
    return {"records": list(result.data.record), "urls": len(result.urls), "files": files}


def with_drms():
    client = drms.Client(email=EMAIL)
    return {
        "quick": drms_export(client, DOPPLERGRAMS, 0, method="url_quick", protocol="as-is"),
        "texts": drms_export(client, TEXTS, method="url", protocol="as-is"),
        "fits": drms_export(client, PATCHES, method="url", protocol="fits"),
        "named": drms_export(
            client, PATCHES, method="url", protocol="fits", filenamefmt="{HARPNUM}.{T_REC:A}.{segment}"
        ),
        "tar as-is": drms_export(client, PATCHES, method="url-tar", protocol="as-is"),
        "cutout": drms_export(client, CORONA, method="url", protocol="fits", process=CUTOUT),
        "id": [client.export_from_id(client.export(PATCHES, method="url", protocol="fits").id).data.filename.tolist()],
    }


def with_sunpy():
    from sunpy.map import Map
    from sunpy.net import Fido
    from sunpy.net import attrs as a
    from sunpy.net.jsoc import JSOCClient

    found = {}
    when, notify = a.Time("2014-01-10T11:59:24", "2014-01-10T11:59:26"), a.jsoc.Notify(EMAIL)
    patch = a.jsoc.PrimeKey("HARPNUM", 3604)
    query = Fido.search(when, a.jsoc.Series("hmi.sharp_cea_720s"), patch, a.jsoc.Segment("Br"), notify)
    with tempfile.TemporaryDirectory() as folder:
        files = Fido.fetch(query, path=folder, progress=False)
        assert len(files) == 1 and not files.errors, files.errors
        image = Map(files[0])
        found["fido"] = [told(folder), image.instrument, list(image.data.shape)]
    client = JSOCClient()
    query = client.search(a.Time("2012-01-01T01:00:36", "2012-01-01T01:00:38"), a.jsoc.Series("hmi.M_45s"), notify)
    request = client.request_data(query, method="url-tar", protocol="fits")
    assert request.wait(timeout=180)
    found["tar"] = [request._d["method"], request._d["protocol"], request.status]
    with tempfile.TemporaryDirectory() as folder:
        got = client.get_request(request, path=folder, progress=False)
        assert len(got) == 1 and not got.errors, got.errors
        found["tar size"] = [path.suffix for path in map(Path, got)]
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    time.sleep = without_sleep
    print(json.dumps({"drms": with_drms, "sunpy": with_sunpy}[sys.argv[1]]()))
