"""The process that makes pictures: one at a time, ended when idle or stuck, and never a danger to the daemon."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mirror.errors import BadRequest, MirrorError, OutOfTime, Refused, StorageError
from mirror.services.quicklook import process as module
from mirror.services.quicklook.colours import Look
from mirror.services.quicklook.cutout import Window
from mirror.services.quicklook.process import RenderProcess
from tests.waiting import PATIENCE, until

GREY = Look("grey")


@pytest.fixture
async def renderer():
    made = RenderProcess()
    yield made
    await made.stop()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.fits"
    fits.writeto(path, np.arange(600, dtype=np.float32).reshape(20, 30))
    return path


async def test_pictures_come_in_turn_however_many_are_asked_for_at_a_time(renderer, image):
    made = await asyncio.gather(*(renderer.picture(image, GREY, turned=bool(n % 2), most=128) for n in range(6)))
    assert all(png.startswith(b"\x89PNG") for png in made)
    assert len(set(made)) == 2


async def test_what_is_no_image_is_refused_and_the_next_one_is_made(renderer, image, tmp_path):
    wrong = tmp_path / "b.fits"
    wrong.write_bytes(b"no fits at all" * 300)
    with pytest.raises(Refused, match="it is not FITS"):
        await renderer.picture(wrong, GREY, turned=False, most=128)
    assert (await renderer.picture(image, GREY, turned=False, most=128)).startswith(b"\x89PNG")


async def test_a_file_that_cannot_be_opened_now_is_not_refused_for_good(renderer, image):
    aside = image.rename(image.with_suffix(".aside"))
    with pytest.raises(StorageError, match="cannot be read"):
        await renderer.picture(image, GREY, turned=False, most=128)
    aside.rename(image)
    assert (await renderer.picture(image, GREY, turned=False, most=128)).startswith(b"\x89PNG")


async def test_without_pillow_there_are_cutouts_and_a_picture_says_what_it_needs(renderer, image, tmp_path, monkeypatch):
    (tmp_path / "PIL.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(Refused, match=r"pip install 'jsoc-mirror\[quicklook\]'"):
        await renderer.picture(image, GREY, turned=False, most=128)
    made = await renderer.cutout(image, image.read_bytes()[:2880], Window((10, 10), (5, 4), "pixels"), "", 0)
    assert fits.getdata(io.BytesIO(made)).shape == (4, 5)


async def test_an_asker_who_leaves_takes_no_picture_from_the_next(renderer, image):
    first = asyncio.ensure_future(renderer.picture(image, GREY, turned=True, most=128))
    await asyncio.sleep(0)
    first.cancel()
    straight = await renderer.picture(image, GREY, turned=False, most=128)
    assert straight == await renderer.picture(image, GREY, turned=False, most=128)
    assert straight != await renderer.picture(image, GREY, turned=True, most=128)


async def test_one_that_takes_too_long_is_given_up(renderer, image, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 0.0)
    with pytest.raises(OutOfTime):
        await renderer.picture(image, GREY, turned=False, most=128)
    monkeypatch.setattr(module, "LONGEST", PATIENCE)
    assert (await renderer.picture(image, GREY, turned=False, most=128)).startswith(b"\x89PNG")


async def test_a_process_that_dies_is_an_error_and_the_next_one_starts(renderer, image, monkeypatch):
    start = asyncio.create_subprocess_exec
    monkeypatch.setattr(asyncio, "create_subprocess_exec", lambda *_, **options: start("true", **options))
    with pytest.raises(MirrorError, match="crashed"):
        await renderer.picture(image, GREY, turned=False, most=128)
    monkeypatch.undo()
    assert (await renderer.picture(image, GREY, turned=False, most=128)).startswith(b"\x89PNG")


async def test_an_idle_process_is_ended_and_another_starts_when_needed(renderer, image, monkeypatch):
    monkeypatch.setattr(module, "IDLE", 0.0)
    processes = []
    start = asyncio.create_subprocess_exec

    async def noted(*command, **options):
        processes.append(await start(*command, **options))
        return processes[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    await renderer.picture(image, GREY, turned=False, most=128)
    assert await asyncio.wait_for(processes[0].wait(), PATIENCE) != 0
    assert (await renderer.picture(image, GREY, turned=False, most=128)).startswith(b"\x89PNG")
    assert len(processes) == 2


def children(process):
    return {int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()}


def has_ended(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_one_process_makes_all_cutouts_and_goes_with_the_renderer(renderer, image):
    head, window = image.read_bytes()[:2880], Window((10, 10), (5, 4), "pixels")
    made = await asyncio.gather(*(renderer.cutout(image, head, window, "", 0) for _ in range(4)))
    [cutter] = children(renderer._process.pid)
    assert made[0] == await renderer.cutout(image, head, window, "", 0)
    assert children(renderer._process.pid) == {cutter}
    with pytest.raises(BadRequest, match="outside the image"):
        await renderer.cutout(image, head, Window((900, 900), (5, 4), "pixels"), "", 0)
    assert (await renderer.picture(image, GREY, turned=False, most=128)).startswith(b"\x89PNG")
    assert children(renderer._process.pid) == {cutter}
    await renderer.stop()
    await until(lambda: has_ended(cutter))
