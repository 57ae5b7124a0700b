"""Files that somebody has: made once by a mirror in front of the simulator, to be adopted by others."""

import asyncio
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.filelab import file_lab, synthetic

EXPORTS = "hmi.sharp_cea_720s[3563][2014.01.01_TAI/24m]{Br}"
ARCHIVED = "hmi.sharp_cea_720s[3563][2014.01.01_TAI]{magnetogram}"
RECORD = "hmi.sharp_cea_720s[3563][2014.01.01_00:00:00_TAI]"
#: What drms calls the archived file.
DRMS_NAME = "hmi.sharp_cea_720s.3563.20140101_000000_TAI.magnetogram.fits"


@dataclass(frozen=True)
class Files:
    """Exports by their names, and an archived file with its path in the archive."""

    exports: dict[str, bytes]
    archived: bytes
    path: str


@cache
def files() -> Files:
    """Always the same ones; made in a thread, for there may be a loop in this one."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _made()).result()


async def _made():
    with TemporaryDirectory() as folder:
        async with file_lab(Path(folder), synthetic()) as lab:
            done = await lab.exported(EXPORTS, protocol="fits")
            exports = {
                row["filename"]: (await lab.get(f"{done['dir']}/{row['filename']}")).body
                for row in done["data"]
            }
            path = (await lab.export(ARCHIVED, "url_quick"))["data"][0]["filename"]
            return Files(exports, await lab.original(path), path)


def put(folder, exports=True, archived=DRMS_NAME):
    """The files in a folder, as somebody would have them; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    given = dict(files().exports) if exports else {}
    given |= {archived: files().archived} if archived else {}
    for name, data in given.items():
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())
