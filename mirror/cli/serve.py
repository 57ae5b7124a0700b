"""``mirror serve``: the daemon."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socket import gethostname

import click

from mirror.cli.simulate import announce
from mirror.cli.support.parameters import GivenPath
from mirror.config.loading import check_access, check_value, load_config
from mirror.logs import set_up
from mirror.systemd import Notifier

#: Domains of the servers other than JSOC's that sunpy's clients ask (VSO, HEK, RHESSI, LYRA, EVE, GONG, GOES, NoRH, CDAWeb,
#: HELIO, sample data): in NO_PROXY each stands for all names below it, and programs reach them directly.
DIRECT = (
    "localhost", "127.0.0.1", "virtualsolar.org", "nasa.gov", "nso.edu", "lmsal.com", "noaa.gov", "oma.be", "sidc.be",
    "berkeley.edu", "i4ds.ch", "colorado.edu", "nao.ac.jp", "helio-vo.eu", "ucl.ac.uk", "ukssdc.ac.uk", "obspm.fr",
    "sunpy.org", "github.com", "githubusercontent.com",
)  # fmt: skip


#: The environment variable for each option.
_VARIABLES = {
    "host": "MIRROR_SERVER__HOST",
    "port": "MIRROR_SERVER__PORT",
    "store": "MIRROR_STORAGE__PATH",
    "upstream": "MIRROR_UPSTREAM__URL",
}


def _checked(section: str, key: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Reject a value that the key may not have, as a usage error."""

    def check(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            try:
                check_value(section, key, value)
            except ValueError as problem:
                raise click.BadParameter(f"{value!r}: expected {problem}") from problem
        return value

    return check


def announce_with_proxy(url: str) -> None:
    """Print that we accept requests, and the environment with which scripts use the mirror but reach other hosts."""
    announce(url)
    host = url.replace("//0.0.0.0:", f"//{gethostname()}:").replace("//[::]:", f"//{gethostname()}:")  # one that clients can use
    with suppress(OSError):
        click.echo(f"for scripts: HTTP_PROXY={host} NO_PROXY={','.join(DIRECT)}")


@click.command
@click.option(
    "--config",
    "path",
    envvar="MIRROR_CONFIG",
    type=GivenPath(path_type=Path),
    help="Configuration file. Without it, defaults apply.  [env: MIRROR_CONFIG]",
)
@click.option(
    "--processes", type=click.IntRange(1, 64), help="So many mirrors behind one port, which share what they fetch."
)
@click.option("--host", callback=_checked("server", "host"), help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", metavar="PORT", callback=_checked("server", "port"),
    help="Port to listen on; 0 picks a free one.  [default: 8040]",
)  # fmt: skip
@click.option(
    "--store", metavar="FOLDER", callback=_checked("storage", "path"),
    help="Folder of the index and the files.  [default: ~/.local/share/jsoc-mirror]",
)  # fmt: skip
@click.option(
    "--upstream", metavar="URL", callback=_checked("upstream", "url"),
    help="Archive from which missing data are fetched.  [default: http://jsoc.stanford.edu]",
)  # fmt: skip
@click.option("--shared-port", is_flag=True, hidden=True)  # see mirror.processes
def serve(path: Path | None, processes: int | None, shared_port: bool, **given: str | None) -> None:
    """Run a mirror.

    It serves JSOC's own paths, directly and as a proxy for jsoc.stanford.edu. When it accepts requests it
    prints "ready http://HOST:PORT" and the environment variables for scripts. Stop it with Ctrl-C or SIGTERM.

    \b
        mirror serve                             for this computer, port 8040
        mirror serve --config config.toml        see config.toml for all keys
        mirror serve --port 8041 --store /data/jsoc
        mirror serve --processes 4               warm searches on four processors
        MIRROR_SERVER__HOST=0.0.0.0 MIRROR_ACCESS__NETWORKS='10.1.0.0/16 export' mirror serve

    Options override environment variables, and those override the file; `mirror config show` tells where each
    value comes from.

    How scripts use it:

    \b
        HTTP_PROXY=http://HOST:8040 NO_PROXY=... python script.py
        import mirror; mirror.use("http://HOST:8040")
        drms.Client(server=mirror.server_config("http://HOST:8040"))
    """
    # As variables, so that they also apply when the file is read again, and to the processes of [server] processes.
    options = {_VARIABLES[name]: value for name, value in given.items() if value is not None}
    environ = {**os.environ, **options}
    config = load_config(path, environ)
    if processes is not None:
        config = replace(config, server=replace(config.server, processes=processes))
    check_access(config)
    set_up(config.log)
    from mirror import daemon  # noqa: PLC0415  (a wrong configuration is told at once)
    from mirror.services.sql.entry import WithoutPandas  # noqa: PLC0415  (the same)

    sys.meta_path.insert(0, WithoutPandas())  # pyarrow would import it for its first column, while somebody waits

    async def to_the_end() -> None:
        notifier = Notifier(os.environ)
        if config.server.processes > 1 and not shared_port:
            from mirror.processes import serve as run_several  # noqa: PLC0415

            def ready(address: str) -> None:
                announce_with_proxy(address)
                notifier.tell("READY=1", f"STATUS={config.server.processes} processes answer at {address}")

            await run_several(config, ready=ready, stopped=daemon.stop_signal, path=path, environ=environ)
        else:
            await daemon.serve(
                config, ready=announce_with_proxy, notifier=notifier, path=path, environ=environ, subscriptions_run=True,
                shared_port=shared_port,
            )  # fmt: skip
        # Everything is stored. Threads that still work on answers that nobody waits for must not delay the end.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)

    asyncio.run(to_the_end())
