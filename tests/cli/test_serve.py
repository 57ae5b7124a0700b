"""What ``mirror serve`` tells people who use it as their proxy."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.request import proxy_bypass_environment

from mirror.cli.serve import DIRECT, announce_with_proxy
from mirror.wire.paths import JSOC_HOSTS

#: Hosts in sunpy's sources that no program of it asks: documents, names of XML, and what is there to fail.
TOLD = re.compile(r"(stackoverflow|docs\.python|wikipedia|w3|ivoa|example|harrisgeospatial|hlevkin|spacescience|doi)\.(com|org|net)$|\.invalid$")


def hosts_of_sunpy():
    """The hosts that stand in the sources of sunpy's clients."""
    found = find_spec("sunpy")  # to import it takes a second
    assert found is not None
    root = Path(found.origin or "").parent / "net"
    files = [path for path in root.rglob("*.py") if "tests" not in path.relative_to(root).parts]
    found = {host for path in files for host in re.findall(r"https?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)", path.read_text())}
    return {host for host in found if not TOLD.search(host) and host not in JSOC_HOSTS}


def test_every_server_of_sunpys_clients_but_jsocs_is_reached_directly():
    proxies = {"no": ",".join(DIRECT)}
    hosts = hosts_of_sunpy()
    assert {"www.lmsal.com", "docs.virtualsolar.org"} <= hosts
    assert [host for host in sorted(hosts) if not proxy_bypass_environment(host, proxies)] == []
    assert [host for host in JSOC_HOSTS if proxy_bypass_environment(host, proxies)] == []


def test_the_environment_for_scripts_follows_the_line_that_programs_wait_for(capsys):
    announce_with_proxy("http://127.0.0.1:8040")
    ready, scripts = capsys.readouterr().out.splitlines()
    assert ready == "ready http://127.0.0.1:8040"
    assert scripts.startswith("for scripts: HTTP_PROXY=http://127.0.0.1:8040 NO_PROXY=localhost,")
