"""``mirror simulate``: a simulated JSOC."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.cli.support.parameters import GivenPath
from mirror.config.loading import text_of
from mirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.simulator.base import SeriesData
    from mirror.simulator.exports.recorded import RecordedExports
    from mirror.simulator.exports.shelf import Scenes
    from mirror.simulator.faults import Fault

_FILE = GivenPath(exists=True, dir_okay=False, path_type=Path)
_FOLDER = GivenPath(exists=True, file_okay=False, path_type=Path)


@click.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8050, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.")
@click.option("--world", type=_FOLDER, help="Serve recorded series from this folder instead of synthetic ones.")
@click.option("--faults", type=_FILE, help="JSON list of faults to simulate.")
@click.option(
    "--latency", default=0.0, show_default=True, type=click.FloatRange(min=0), help="Delay of each answer in milliseconds."
)
@click.option(
    "--side", type=click.IntRange(64, 4096), metavar="PIXELS",
    help="Pixels a side of images of the whole disk, each painted by its record. Default: 4096, of a few kinds.",
)  # fmt: skip
def simulate(host: str, port: int, world: Path | None, faults: Path | None, latency: float, side: int | None) -> None:
    """Run a simulated JSOC for tests and trials.

    It speaks JSOC's protocol and has some forty series since 2010, with plausible values that are the same
    on every start. When it accepts requests it prints "ready http://HOST:PORT".

    \b
        mirror simulate --port 8050 &
        MIRROR_UPSTREAM__URL=http://127.0.0.1:8050 MIRROR_STORAGE__PATH=trial mirror serve

    The data are synthetic: use a separate store, as above.

    Images of 4096 x 4096 pixels are the same few, over and over. With --side 256, say, they are smaller, and each shows
    its time: active regions where HARPs are, known flares, oscillations of the surface. It is a signal to try methods on,
    not a model of the Sun.

    GET /_simulator/log returns its requests. POST /_simulator/reprocess with {"ds": "RECORDSET"} makes new
    versions of records, POST /_simulator/withdraw removes them. Faults are set with --faults FILE or POST /_simulator/faults, as a list of rules:

    \b
        [{"match": {"op": "rs_list"}, "fault": "truncate", "times": 1}]

    where fault is one of: refuse, timeout, http500, broken_json, truncate, cut, wrong_length, gateway, gone,
    slow, wrong_count, status, staging, outage, other_answer, half, doubled, gzip_bomb, endless, redirect.
    For downloads, match {"op": "file"}.
    """
    rules = _faults(faults)
    from mirror.simulator.app import run  # noqa: PLC0415  (takes a second to load; errors come first)

    if world is not None and side is not None:
        raise click.UsageError("--side is for synthetic series; a --world has files of its own")
    series, recorded = _series(world, side), _exports(world)
    scenes = _scenes(side)
    asyncio.run(
        run(series, host=host, port=port, latency=latency, faults=rules, recorded=recorded, scenes=scenes, ready=announce)
    )


def announce(url: str) -> None:
    """Print the line that says that we accept requests."""
    with suppress(OSError):  # stdout may be a file on a full disk, or a closed pipe
        click.echo(f"ready {url}")


def _scenes(side: int | None) -> Scenes:
    if side is None:
        return lambda _, __: None
    from mirror.simulator.synthetic.scenes import scene_of  # noqa: PLC0415  (loads all patches)

    return scene_of


def _series(world: Path | None, side: int | None) -> Sequence[SeriesData]:
    if world is None:
        from mirror.drms.times import from_datetime  # noqa: PLC0415
        from mirror.simulator.synthetic import synthetic_series  # noqa: PLC0415

        return synthetic_series(lambda: from_datetime(datetime.now(UTC)), side)
    from mirror.simulator.world import load_world  # noqa: PLC0415

    return load_world(world)


def _exports(world: Path | None) -> RecordedExports | None:
    from mirror.simulator.exports.recorded import load_exports  # noqa: PLC0415

    return None if world is None else load_exports(world)


def _faults(path: Path | None) -> Sequence[Fault]:
    from mirror.simulator.faults import decode_faults  # noqa: PLC0415

    if path is None:
        return ()
    text = text_of(path, "JSON")
    try:
        return decode_faults(json.loads(text))
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path}: is not JSON: {problem}") from problem
    except ConfigError as problem:
        raise ConfigError(f"{path}: {problem}") from problem
