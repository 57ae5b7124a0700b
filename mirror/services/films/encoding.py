"""From pictures to an MP4: the pictures are ours, ffmpeg is that of imageio-ffmpeg, in a process of its own."""

from __future__ import annotations

import asyncio
import io
import shutil
from typing import TYPE_CHECKING

from mirror.errors import MirrorError, OutOfTime, Refused

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

#: Seconds that the end of a film may take: all else is done by then.
LONGEST = 60.0
MISSING = "films need imageio-ffmpeg where the mirror runs: pip install 'jsoc-mirror[movies]'"
_QUALITY = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", "-threads", "1")


def program() -> str:
    """The ffmpeg that makes films; Refused if there is none."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # noqa: PLC0415  (a mirror may lack it)

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError) as problem:
        raise Refused(MISSING) from problem


def frame(png: bytes, size: tuple[int, int], caption: str) -> bytes:
    """A picture as RGB of that width and height, cut or with black beside it, with its caption at the bottom."""
    from PIL import Image, ImageDraw  # noqa: PLC0415  (a mirror may lack it; then there is no picture either)

    canvas = Image.new("RGB", size)
    canvas.paste(Image.open(io.BytesIO(png)).convert("RGB"), (0, 0))
    ImageDraw.Draw(canvas).text((6, size[1] - 18), caption, fill="white", stroke_fill="black", stroke_width=1)
    return canvas.tobytes()


def even(png: bytes) -> tuple[int, int]:
    """Width and height of a film that begins with a picture: even ones, as players want them."""
    from PIL import Image  # noqa: PLC0415  (see above)

    width, height = Image.open(io.BytesIO(png)).size
    return max(2, width - width % 2), max(2, height - height % 2)


class Encoder:
    """Writes one film to ``path``, frame by frame; it is there once ``end`` has returned."""

    def __init__(self, process: Process, size: tuple[int, int]) -> None:
        self._process = process
        self._size = size

    @classmethod
    async def begin(cls, path: Path, size: tuple[int, int], fps: int) -> Encoder:
        """Start the program."""
        first = ("nice", "-n", "10") if shutil.which("nice") else ()
        process = await asyncio.create_subprocess_exec(
            *first, program(), "-nostdin", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-", "-an", *_QUALITY, "-movflags", "+faststart",
            "-f", "mp4", "-y", str(path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        return cls(process, size)

    async def add(self, png: bytes, caption: str) -> None:
        """One more frame."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(await asyncio.to_thread(frame, png, self._size, caption))
            await self._process.stdin.drain()
        except ConnectionError:
            raise await self._failed() from None

    async def end(self) -> None:
        """Finish the film; MirrorError with what ffmpeg said if it cannot be."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(LONGEST):
                _, said = await self._process.communicate()
        except TimeoutError:
            raise OutOfTime(f"ffmpeg took longer than {LONGEST:g} s to finish the film") from None
        if self._process.returncode:
            raise MirrorError(f"ffmpeg ended with {self._process.returncode}: {_last(said)}")

    async def stop(self) -> None:
        """End the program, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _failed(self) -> MirrorError:
        assert self._process.stderr is not None
        said = await self._process.stderr.read()
        return MirrorError(f"ffmpeg ended with {await self._process.wait()}: {_last(said)}")


def _last(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
