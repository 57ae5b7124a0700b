"""What lies in scripts/service works as it is: nginx with TLS in front of a mirror, Prometheus' rules, compose."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tomllib
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
import pytest_asyncio
import yaml

from tests.accesslab import TOKENS, table
from tests.lab import JSOC_INFO, lab

SERVICE = Path(__file__).parents[1] / "scripts" / "service"
NGINX = shutil.which("nginx") or (shutil.which("/usr/sbin/nginx"))
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
HOUR = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI/1h]", "key": "T_REC,CRLT_OBS"}

# ---- nginx ---------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of mirror.example.org that it has signed itself, and its key."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    name = ["-subj", "/CN=mirror.example.org", "-addext", "subjectAltName=DNS:mirror.example.org"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*command, *name, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key


def configuration(folder: Path, port: int) -> Path:
    """The sample as it is but for its place: sockets and certificate in a folder, the mirror at a port."""
    site, (made, key) = (SERVICE / "nginx.conf").read_text(), certificate(folder)
    changes = {
        "127.0.0.1:8040": f"127.0.0.1:{port}",
        "    listen [::]:443 ssl;\n": "",
        "    listen [::]:80;\n": "",
        "listen 443 ssl": f"listen unix:{folder}/tls ssl",
        "listen 80;": f"listen unix:{folder}/plain;",
        "/etc/ssl/certs/mirror.example.org.pem": str(made),
        "/etc/ssl/private/mirror.example.org.key": str(key),
    }
    for before, after in changes.items():
        assert before in site
        site = site.replace(before, after)
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    whole = folder / "nginx.conf"
    whole.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/errors;\nevents {{}}\n"
        f"http {{ access_log off; {paths}\n{site}\n}}\n"
    )
    return whole


class Fetched(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes


def fetched(
    folder: Path, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS, *, tls: bool = True
) -> Fetched:
    """What nginx answers, whose certificate is looked at."""
    made = HTTPConnection("mirror.example.org")
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(folder / ("tls" if tls else "plain")))
        trusted = ssl.create_default_context(cafile=folder / "certificate.pem")
        made.sock = trusted.wrap_socket(plain, server_hostname="mirror.example.org") if tls else plain
        made.request(method, path, body, dict(headers))
        answer = made.getresponse()
        found = Fetched(answer.status, answer.headers, answer.read())
        made.close()
        return found


@pytest.mark.skipif(NGINX is None, reason="there is no nginx; apt-get install nginx-light")
async def test_a_mirror_behind_nginx_with_tls_answers_as_it_does_itself(tmp_path):
    settings = '[access]\nhosts = ["mirror.example.org"]\n' + table(TOKENS["export"], "export")
    folder = tmp_path / "nginx"
    folder.mkdir()
    async with lab(tmp_path, config=settings) as mirror:
        whole = configuration(folder, mirror.server.port)
        running = await asyncio.create_subprocess_exec(str(NGINX), "-c", str(whole))
        headers = {"Authorization": f"Bearer {TOKENS['export']}"}
        try:
            while not (folder / "pid").exists():
                assert running.returncode is None, (folder / "errors").read_text()
                await mirror.session.get(mirror.url + "/healthz")
            reach = partial(asyncio.to_thread, fetched, folder)
            asked = f"{JSOC_INFO}?{urlencode(HOUR)}"
            assert (await reach("GET", asked)).status == 401, "what comes through nginx never counts as this computer's own"
            answer = await reach("GET", asked, headers=headers)
            assert answer.headers["Strict-Transport-Security"]
            there = json.loads(answer.body.decode("latin-1"))
            assert (await reach("POST", "/api/sql", b"SELECT 1 AS one", headers)).status == 200
            page = await reach("GET", "/", headers=headers)
            assert (page.status, b"JSOC mirror" in page.body) == (200, True)
            moved = await reach("GET", "/search?ds=x", tls=False)
            assert moved.headers["Location"] == "https://mirror.example.org/search?ds=x"
            direct = (await mirror.get(JSOC_INFO, HOUR, headers=headers)).told
            assert {k: v for k, v in there.items() if k != "runtime"} == direct
            assert direct["count"] == 80
        finally:
            running.terminate()
            await running.wait()


# ---- Prometheus and Grafana ----------------------------------------------------------------------------

SUBSCRIBED = '[[subscription]]\nname = "dopplergrams"\nseries = "hmi.v_45s"\nstart = "2014.01.01"\nend = "2014.01.02"\n'
_SELECTOR = re.compile(r"\b(mirror_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')


def expressions() -> dict[str, str]:
    """Every expression of the rules and the dashboard, by what shows it."""
    rules = yaml.safe_load((SERVICE / "prometheus-alerts.yml").read_text())
    panels = json.loads((SERVICE / "grafana-dashboard.json").read_text())["panels"]
    alerts = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    shown = {f"{p['title']} {t['refId']}": t["expr"] for p in panels for t in p.get("targets", ())}
    return {**alerts, **shown}


EXPRESSIONS = expressions()


def samples(text: str) -> list[tuple[str, dict[str, str]]]:
    """Names and labels of what /metrics has."""
    found = re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    return [(name, {k: v for k, _, v in _MATCHER.findall(labels)}) for name, labels in found]


def fits(labels: dict[str, str], matchers: str) -> bool:
    """Whether a sample has what a selector asks for; which instance it is Prometheus adds."""
    for name, how, value in _MATCHER.findall(matchers):
        if name == "instance":
            continue
        same = re.fullmatch(value, labels.get(name, "")) is not None if "~" in how else labels.get(name, "") == value
        if same != (how in ("=", "=~")):
            return False
    return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def measured(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("measured"), config=SUBSCRIBED) as mirror:
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/1h]")
        return samples((await mirror.get("/metrics")).body.decode())


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_each_expression_has_data(name, measured):
    selectors = _SELECTOR.findall(EXPRESSIONS[name])
    assert selectors or "up{" in EXPRESSIONS[name]
    for metric, matchers in selectors:
        if metric == "mirror_subscription_seconds_left":  # is there once something of it has come
            continue
        assert any(found == metric and fits(labels, matchers) for found, labels in measured), f"{metric}{{{matchers}}}"


def test_each_alert_says_which_mirror_and_stands_in_the_manual():
    rules = yaml.safe_load((SERVICE / "prometheus-alerts.yml").read_text())["groups"][0]["rules"]
    manual = (SERVICE.parents[1] / "docs" / "operations.md").read_text()
    for rule in rules:
        assert "$labels.instance" in rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in manual


def test_the_service_is_installed_by_one_script(tmp_path):
    """All but the program itself, a user and systemd, which are for root of a real machine."""
    (tmp_path / "opt/jsoc-mirror/bin").mkdir(parents=True)
    (tmp_path / "opt/jsoc-mirror/bin/mirror").write_text("#!/bin/sh\n")
    (tmp_path / "opt/jsoc-mirror/bin/mirror").chmod(0o755)
    for _ in range(2):
        subprocess.run([SERVICE / "install"], env={**os.environ, "DESTDIR": str(tmp_path)}, check=True)
        settings = tmp_path / "etc/jsoc-mirror/config.toml"
        assert settings.read_text().startswith(("#", "edited"))
        if not settings.read_text().startswith("edited"):  # commands find the store of the service there
            store = tomllib.loads(settings.read_text())["storage"]["path"]
            assert f"StateDirectory={Path(store).name}" in (SERVICE / "jsoc-mirror.service").read_text()
            assert store == "/var/lib/jsoc-mirror"
        settings.write_text("edited")
    assert settings.read_text() == "edited"
    unit = (tmp_path / "etc/systemd/system/jsoc-mirror.service").read_text()
    for folder in re.findall(r"/(?:opt|etc|var)/[\w/]*jsoc-mirror\b", unit):
        assert (tmp_path / folder.lstrip("/")).is_dir(), folder


def test_the_conda_recipe_has_the_requirements_of_the_package():
    recipe = yaml.safe_load((SERVICE.parent / "conda" / "meta.yaml").read_text())
    project = tomllib.loads((SERVICE.parents[1] / "pyproject.toml").read_text())["project"]
    theirs = {"python-duckdb": "duckdb", "python-isal": "isal", "msgspec-python": "msgspec"}
    named = [line.split(" ") for line in recipe["requirements"]["run"]]
    wanted = {"".join([theirs.get(name, name), *version]) for name, *version in named}
    assert wanted == {*project["dependencies"], f"python{project['requires-python']}"}
    assert recipe["package"]["version"] == project["version"]


def test_compose_names_files_that_there_are():
    made = yaml.safe_load((SERVICE / "compose.yml").read_text())
    mounted = [v.split(":")[0] for s in made["services"].values() for v in s["volumes"] if v.startswith("./")]
    assert mounted and all((SERVICE / name).is_file() for name in mounted)
    assert (SERVICE / made["services"]["mirror"]["build"]["context"] / made["services"]["mirror"]["build"]["dockerfile"]).is_file()
    named = {c["source"] for s in made["services"].values() for c in s.get("configs", ())}
    assert named == set(made["configs"])
    scraped = yaml.safe_load((SERVICE / "prometheus.yml").read_text())
    assert scraped["rule_files"] == ["prometheus-alerts.yml"]
    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == ["mirror:8040"]
