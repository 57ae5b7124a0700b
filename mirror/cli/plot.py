"""``mirror plot``: keywords of a record set against time, or against each other, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mirror.api.search import SEARCH, Found, SearchQuery
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, limit_option, remark, show
from mirror.cli.support.parameters import NewFile
from mirror.client.frames import Frame, needed, table
from mirror.drms.series import error_of
from mirror.humanize import counted

#: A line is broken where the distance between two points is so many times the usual one.
GAP = 1.5
_COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5")


@click.command
@click.argument("recordset")
@click.option("--key", "keys", required=True, metavar="NAMES", help="Keywords to plot, comma-separated.")
@click.option("--to", "path", required=True, type=NewFile(".png", ".svg", ".pdf"),
              help="File of the picture: .png, .svg or .pdf.")  # fmt: skip
@click.option("--x", "across", metavar="NAME", help="Keyword of the horizontal axis.  [default: the first time]")
@click.option("--style", type=click.Choice(["line", "scatter", "histogram"]), default="line", show_default=True,
              help="Lines with gaps left open, points, or how often each value is there.")  # fmt: skip
@click.option("--log", is_flag=True, help="Logarithmic axis.")
@click.option("--errors/--no-errors", default=True, show_default=True, help="Error bars from ERR keywords.")
@click.option("--where", metavar="SQL", help="SQL condition on the keywords, as in `mirror sql`.")
@limit_option
@json_option
@url_option
def plot(
    recordset: str,
    daemon: Daemon,
    keys: str,
    path: Path,
    across: str | None,
    style: str,
    log: bool,
    errors: bool,
    where: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Plot keywords of a record set to a file.

    Keywords of two units get an axis each. Where records are missing, the line is broken. Needs matplotlib: pip install
    'jsoc-mirror[plots]'.

    \b
        mirror plot 'hmi.sharp_720s[377]' --key USFLUX,AREA_ACR --to flux.png
        mirror plot 'hmi.sharp_cea_720s[377]' --key LAT_FWT --x LON_FWT --style scatter --to path.svg
        mirror plot 'hmi.v_45s[2014.01.01/1d]' --key DATAMEAN --style histogram --to velocities.png
    """
    try:
        figures = needed("matplotlib.figure", "plots")
    except ImportError as problem:
        raise click.ClickException(str(problem)) from problem
    names = list({name.strip().lower(): name.strip() for name in keys.split(",") if name.strip()}.values())
    if not names:
        raise click.UsageError("--key names no keyword; expected one or more, such as USFLUX,AREA_ACR")
    x, wanted, bars = _names(daemon, recordset, names, across, style=style, errors=errors)
    found = daemon.ask(SEARCH, SearchQuery(ds=recordset, key=",".join(wanted), where=where, n=limit))
    if not found.count:
        raise click.ClickException(found.note or f"no records match {recordset}")
    frame = table(found, "pandas", times=True)
    units = {name.lower(): unit for name, unit in zip(found.columns, found.units_of, strict=True)}
    for name, kinds in (*((each, "iufM") for each in [x] if each), *((each, "iuf") for each in names)):
        if frame[name].dtype.kind not in kinds:
            what = "a time" if frame[name].dtype.kind == "M" else "no number"
            raise click.ClickException(f"{name} is {what}; expected keywords that are numbers, or times for --x")
    figure = figures.Figure(figsize=(10, 5.5), layout="constrained")
    _draw(figure, frame, x, names, units, bars, style=style, log=log)
    figure.suptitle(recordset)
    try:
        figure.savefig(path, dpi=150)
    except ValueError as problem:  # an unknown format
        raise click.ClickException(f"{path}: {problem}") from problem
    if as_json:
        show({"file": str(path.absolute()), "records": found.count, "x": x, "keys": names}, "json")
        return
    click.echo(path)
    remark(f"{counted(found.count, 'record')}, {', '.join(names)}" + (f" against {x}" if x else ""))


def _names(
    daemon: Daemon, recordset: str, names: list[str], across: str | None, *, style: str, errors: bool
) -> tuple[str, list[str], dict[str, str]]:
    """The keyword of the horizontal axis, all keywords to fetch, and the errors of keywords."""
    keys: Found = daemon.ask(SEARCH, SearchQuery(ds=recordset, n=1))
    times = [name for name, kind in zip(keys.columns, keys.kinds, strict=True) if kind == "time"]
    x = across or ("" if style == "histogram" else next(iter(times), keys.columns[0]))
    every: list[str] = []
    if errors and style == "line" and keys.rows:  # its first record shows which keywords exist
        place = "".join(f"[:#{value}]" if name.startswith("*") else f"[{value}]" for name, value in zip(keys.columns, keys.rows[0], strict=True))
        one = f"{recordset.partition('[')[0].strip()}{place}"
        every = daemon.ask(SEARCH, SearchQuery(ds=one, key="**ALL**", n=1)).columns
    bars = {name: bar for name in names if (bar := error_of(name, every)) is not None}
    return x, list(dict.fromkeys([*filter(None, [x]), *names, *bars.values()])), bars


def _draw(
    figure: Any, frame: Frame, x: str, names: list[str], units: dict[str, str], bars: dict[str, str], *, style: str, log: bool
) -> None:
    axes = figure.add_subplot()
    if style == "histogram":
        for name, colour in zip(names, _COLOURS * len(names), strict=False):
            axes.hist(frame[name].dropna(), bins=50, histtype="step", color=colour, label=_label(name, units))
        axes.set_ylabel("records")
        axes.set_yscale("log" if log else "linear")
        axes.legend()
        return
    sides = {units.get(name.lower(), ""): axes for name in names[:1]}
    for name in names:
        unit = units.get(name.lower(), "")
        if unit not in sides:
            sides[unit] = axes.twinx() if len(sides) == 1 else axes
    handles = []
    for name, colour in zip(names, _COLOURS * len(names), strict=False):
        side = sides[units.get(name.lower(), "")]
        handles += _curve(side, frame, x, name, bars.get(name), _label(name, units), colour, style=style)
    for unit, side in sides.items():
        side.set_ylabel(", ".join(_label(n, units) for n in names if units.get(n.lower(), "") == unit))
        side.set_yscale("log" if log else "linear")
    axes.set_xlabel(_label(x, units))
    axes.legend(handles=handles, loc="upper left")
    axes.grid(alpha=0.3)


def _curve(
    side: Any, frame: Frame, x: str, name: str, bar: str | None, label: str, colour: str, *, style: str
) -> list[Any]:
    part = frame[list(dict.fromkeys([x, name, *([bar] if bar else [])]))].dropna(subset=[x]).sort_values(x)
    if style == "scatter":
        return [side.scatter(part[x], part[name], s=6, color=colour, label=label)]
    steps = part[x].diff()
    pieces = (steps > steps.iloc[1:].median() * GAP).cumsum()
    handles: list[Any] = []
    for _, piece in part.groupby(pieces.to_numpy()):
        words = {} if handles else {"label": label}
        alone = "." if len(piece) == 1 else None
        if bar:
            side.errorbar(piece[x], piece[name], yerr=piece[bar].abs(), color=colour, elinewidth=0.6, marker=alone)
        handles += side.plot(piece[x], piece[name], color=colour, linewidth=1, marker=alone, **words)
    return handles[:1]


def _label(name: str, units: dict[str, str]) -> str:
    unit = units.get(name.lower(), "")
    return f"{name} [{unit}]" if unit else name
