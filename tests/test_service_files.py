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
PROMTOOL = shutil.which("promtool")
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


def promtool(*arguments: str, cwd: Path = SERVICE, told: bytes = b"") -> str:
    ended = subprocess.run([str(PROMTOOL), *arguments], cwd=cwd, input=told, capture_output=True, check=False)
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 0, said
    return said


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool; apt-get install prometheus")
async def test_prometheus_takes_the_rules_the_configuration_and_the_metrics(tmp_path):
    rules = yaml.safe_load((SERVICE / "prometheus-alerts.yml").read_text())["groups"][0]["rules"]
    assert f"{len(rules)} rules found" in promtool("check", "config", "prometheus.yml")
    async with lab(tmp_path, config=SUBSCRIBED) as mirror:
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/1h]")
        said = await asyncio.to_thread(promtool, "check", "metrics", told=(await mirror.get("/metrics")).body)
        assert not said, "metrics are named and explained as Prometheus wants them"


#: For each rule what a mirror may say (metric, value, and how it goes on for each minute), and after how long that is an alert.
ALARMS = {
    "MirrorDown": ("up{J}", "0x200", "1h"),
    "MirrorJsocNotResponding": ("mirror_upstream_up{J}", "0x200", "2h"),
    "MirrorJsocFailing": ('mirror_upstream_requests_total{J,outcome="timeout"}', "0+5x200", "2h"),
    "MirrorDiskFull": ("mirror_disk_free_bytes{J}", "4x200", "1h"),
    "MirrorDiskFullInADay": ("mirror_disk_free_bytes{J}", "100-0.1x900", "14h"),
    "MirrorQuotaUsedUp": ("mirror_blob_bytes{J}", "99x200", "2h"),
    "MirrorSlow": ('mirror_request_seconds_bucket{J,program="jsoc_info",le="30"}', "0+2x200", "1h"),
    "MirrorBudgetUsedUp": ("mirror_upstream_budget_wait_seconds{J}", "60x600", "7h"),
    "MirrorFilesDamaged": ('mirror_check_findings_total{J,outcome="damaged"}', "0x5 1x200", "1h"),
    "MirrorSubscriptionFailing": ('mirror_subscription_failing{J,name="a"}', "1x2000", "25h"),
    "MirrorExportsFailing": ('mirror_exports{J,state="failed"}', "0+1x200", "1h"),
}
#: What is there besides.
BESIDES = {
    'mirror_upstream_state{J,state="offline"}': "0x2000",
    'mirror_upstream_requests_total{J,outcome="ok"}': "0+1x2000",
    "mirror_disk_total_bytes{J}": "100x2000",
    "mirror_quota_bytes{J}": "100x2000",
    'mirror_request_seconds_bucket{J,program="jsoc_info",le="+Inf"}': "0+2x2000",
    'mirror_request_seconds_bucket{J,program="jsoc_info",le="10"}': "0x2000",
}


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool; apt-get install prometheus")
def test_each_alert_fires_where_it_should_and_only_there(tmp_path):
    """Prometheus' own test of rules: with every other measure as of a mirror that is well."""
    rules = yaml.safe_load((SERVICE / "prometheus-alerts.yml").read_text())["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} == set(ALARMS)
    named = 'job="jsoc-mirror",instance="m:8040"'
    well = {
        **BESIDES, "up{J}": "1x2000", "mirror_upstream_up{J}": "1x2000", "mirror_disk_free_bytes{J}": "50x2000",
        "mirror_blob_bytes{J}": "50x2000", "mirror_upstream_budget_wait_seconds{J}": "0x2000",
        'mirror_exports{J,state="failed"}': "3x2000", 'mirror_subscription_failing{J,name="a"}': "0x2000",
    }  # fmt: skip
    cases = [
        {
            "name": alert,
            "interval": "1m",
            "input_series": [
                {"series": name.replace("J", named), "values": value} for name, value in {**well, metric: values}.items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": at,
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
                }
            ],
        }
        for alert, (metric, values, at) in ALARMS.items()
    ]
    shutil.copy(SERVICE / "prometheus-alerts.yml", tmp_path)
    tests = {"rule_files": ["prometheus-alerts.yml"], "evaluation_interval": "5m", "tests": cases}
    (tmp_path / "tests.yml").write_text(json.dumps(tests))
    promtool("test", "rules", "tests.yml", cwd=tmp_path)


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
