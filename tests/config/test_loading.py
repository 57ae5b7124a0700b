"""config.toml and the environment become one checked tree, or one clear error."""

import contextlib
import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config import readers
from mirror.config.loading import (
    Config,
    FreshnessRule,
    PlainFileRule,
    Storage,
    Subscription,
    Token,
    Upstream,
    Webhook,
    load_config,
)
from mirror.config.schedule import parse_moment
from mirror.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "config.toml"


@pytest.fixture
def load(tmp_path):
    """Load the configuration that a text is."""

    def load(text="", **environ):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return load_config(path, environ)

    return load


def shipped_with_everything_on() -> dict:
    """The shipped file with the keys that are commented out put in force."""
    lines = SHIPPED.read_text().splitlines()
    settings = [re.sub(r"^# (# )?(?=(\[\[\w+\]\]|\w+ = )|$)", "", line) for line in lines]
    return tomllib.loads("\n".join(settings))


def test_no_file_gives_the_defaults():
    config = load_config(None, {})
    assert (config.server, config.upstream, config.fill) == (Config().server, Config().upstream, Config().fill)
    assert config.storage.path == Path("~/.local/share/jsoc-mirror").expanduser()


def test_an_empty_file_and_the_shipped_file_mean_the_same(load):
    assert load("") == load(SHIPPED.read_text()) == load_config(None, {})


def test_the_shipped_file_names_every_key_there_is():
    tree = shipped_with_everything_on()
    for section in fields(Config):
        table = tree[section.name]
        kind = {"freshness": FreshnessRule, "plain_file": PlainFileRule, "subscription": Subscription, "token": Token, "webhook": Webhook}.get(section.name)
        kind = kind or type(getattr(Config(), section.name))
        keys = set(table if isinstance(table, dict) else table[0])
        assert keys == {f.name for f in fields(kind)}, section.name


def test_the_shipped_file_explains_every_key():
    lines = SHIPPED.read_text().splitlines()
    second_of_its_kind = lines.index('# pattern = "*"')
    for number, line in enumerate(lines):
        if re.match(r"(# )?\w+ = ", line) and not second_of_its_kind <= number < second_of_its_kind + 4:
            assert lines[number - 1].startswith("# "), line


def test_the_shipped_freshness_rules_are_the_built_in_ones(load):
    text = SHIPPED.read_text()
    rules = text[text.index("# [[freshness]]") : text.index("# When cached plain files")]
    written = load(re.sub(r"(?m)^# ", "", rules).replace("\n#\n", "\n\n")).freshness
    assert written == Config().freshness * 2


def test_the_shipped_rules_for_plain_files_are_the_built_in_ones(load):
    text = SHIPPED.read_text()
    rules = text[text.index("# [[plain_file]]") : text.index("# Series to keep up to date")]
    written = load(re.sub(r"(?m)^# ", "", rules).replace("\n#\n", "\n\n")).plain_file
    assert written == Config().plain_file * 2


def test_the_first_rule_that_fits_a_path_says_how_long_it_lasts(load):
    config = load('[[plain_file]]\npattern = "/Data/hmi/*.fits"\nmax_age = "none"')
    ages = [config.plain_file_age(p) for p in ("/data/hmi/a/b.FITS", "/data/hmi/latest/b.jpg", "/data/x", "/doc/data/x", "/doc/x", "/database")]
    assert ages == [None, 600.0, 21600.0, 21600.0, None, None]


@pytest.mark.parametrize("hosts", ['["*"]', '["*.*"]', '["a_b"]', '["http://x.org"]', '["x.org:0"]', '["x.org:99999"]', '["x.org/y"]', '["u@x.org"]', '["-x.org"]', "[1]"])
def test_no_pattern_lets_everything_through(load, hosts):
    with pytest.raises(ConfigError, match="pass_through"):
        load(f"[access]\npass_through = {hosts}")


def test_hosts_that_are_passed_on_to_have_the_ports_of_the_web_unless_they_name_one(load):
    exact, below, address, v6 = load('[access]\npass_through = ["VSO.nasa.gov", "*.nso.edu", "10.1.2.3:8080", "[::1]:81"]').access.pass_through
    assert [exact.serves("vso.nasa.gov", port) for port in (80, 443, 22, 8080)] == [True, True, False, False]
    assert [below.serves(name, 443) for name in ("gong.nso.edu", "a.b.nso.edu", "nso.edu", "evilnso.edu")] == [True, True, False, False]
    assert address.serves("10.1.2.3", 8080) and not address.serves("10.1.2.3", 80)
    assert [x.is_address for x in (exact, below, address, v6)] == [False, False, True, True]
    assert list(map(str, (exact, below, address))) == ["vso.nasa.gov", "*.nso.edu", "10.1.2.3:8080"]


def test_values_are_read_with_their_units(load):
    config = load("""
        [upstream]
        timeout = "1.5m"
        email = "a@b.org"
        [storage]
        quota = "2TB"
    """)
    assert config.upstream == Upstream(timeout=90.0, email="a@b.org")
    assert config.storage.quota == 2_000_000_000_000


def test_a_relative_path_starts_from_the_folder_of_the_file(load, tmp_path):
    assert load('storage.path = "store"').storage == Storage(tmp_path / "store")


def test_the_environment_overrides_the_file(load):
    config = load(
        'server.port = 1\nupstream.policy = "strict"',
        MIRROR_SERVER__PORT="2",
        MIRROR_UPSTREAM__EMAIL="a@b.org",
        MIRROR_STORAGE__QUOTA="none",
        MIRROR_URL="http://not.a.setting",
    )
    assert (config.server.port, config.upstream.policy) == (2, "strict")
    assert config.upstream.email == "a@b.org"


def test_subscriptions_keep_their_order(load):
    january = parse_moment("2024.01.01_TAI")
    config = load("""
        [[subscription]]
        series = "hmi.M_720s"
        start = "2024.01.01_TAI"
        segments = ["magnetogram"]
        keep = "30d"
        [[subscription]]
        series = "aia.lev1"
        start = "2024.01.01_TAI"
        end = "2024.02.01_TAI"
    """)
    assert config.subscription == (
        Subscription("hmi.M_720s", january, segments=("magnetogram",), keep=30 * 86400.0),
        Subscription("aia.lev1", january, end=parse_moment("2024.02.01_TAI")),
    )


def test_the_first_freshness_rule_that_fits_counts(load):
    config = load('[[freshness]]\npattern = "HMI.*"\nmax_age = "5m"')
    assert config.freshness_of("hmi.v_45s").max_age == 300.0
    assert config.freshness_of("aia.lev1_nrt2").max_age == 600.0
    assert config.freshness_of("aia.lev1").max_age == 6 * 3600.0


@pytest.mark.parametrize(
    "text, message",
    [
        ("[server]\nprot = 1", r"\[server\]: unknown key 'prot'; did you mean 'port'\?"),
        ("[sever]\nport = 1", r"unknown section \[sever\]; did you mean 'server'\?"),
        ("[xyzzy]", r"unknown section \[xyzzy\]; expected one of server, access"),
        ("server = 1", r"\[server\]: expected a table of keys and values"),
        ("[server]\nport = 65536", r"\[server\] port = 65536: expected a whole number from 0 to 65,535"),
        ("[server]\nport = true", r"port = True: expected a whole number"),
        ('[server]\nhost = ""', r"host = '': expected a text that is not empty"),
        ('[upstream]\npolicy = "quick"', r"policy = 'quick': expected one of \"strict\", \"fallback\", \"offline\""),
        ('[upstream]\nurl = "jsoc.stanford.edu"', r"url = 'jsoc.stanford.edu': expected the address of a host"),
        ('[upstream]\nurl = "http://h:99999"', r"expected the address of a host"),
        ('[upstream]\nemail = "someone"', r"email = 'someone': expected an e-mail address, or \"none\""),
        ('[upstream]\ntimeout = "soon"', r"timeout = 'soon': expected a duration such as"),
        ("[upstream]\ntimeout = 0", r"timeout = 0: expected a duration such as"),
        ("[upstream]\nqueries = 3", r"queries = 3: expected at most 2, which is what jsoc.stanford.edu asks"),
        ('[storage]\nquota = "2 parsecs"', r"quota = '2 parsecs': expected a size such as .*, or \"none\""),
        ("[freshness]\nmax_age = 1", r"\[\[freshness\]\]: expected a list of tables"),
        ("[[freshness]]\nmax_age = 1", r"\[\[freshness\]\] 1: the key 'pattern' is missing"),
        ('[[subscription]]\nseries = "a.b"', r"\[\[subscription\]\] 1: the key 'start' is missing"),
        ('[[subscription]]\nseries="a.b"\nstart="now"\nsegments=[1]', r"expected a list of texts"),
        ("[server]\nport = \n", r"is not TOML: .*line 2"),
        ('[cluster]\ndatabase = "mysql://db/x"', r"\[cluster\] database: expected the address of a PostgreSQL"),
        ('[cluster]\ndatabase = "postgresql://a:p@ss@db/x"', r"\[cluster\] database: expected @ in a user or a password"),
        ('[cluster]\ndatabase = "postgresql://db"', r"\[cluster\] database: expected the address of a PostgreSQL"),
        ('[cluster]\ndatabase = "postgresql://a:1,b:x/x"', r"\[cluster\] database: expected the address of a PostgreSQL"),
        ('[cluster]\ndatabase = "postgresql://db/x"', r"\[cluster\] objects is missing beside database"),
        ('[cluster]\nobjects = "file:///x"', r"\[cluster\] database is missing beside objects"),
        ('[cluster]\nobjects = "http://x"', r"expected a bucket or a folder"),
        ('[cluster]\nobjects = "s3://bucket/a/../b"', r"expected a bucket or a folder"),
        ('[cluster]\nobjects = "s3://bucket//b"', r"expected a bucket or a folder"),
        ('[cluster]\nendpoint = "http://a b:80"', r"expected the address of a host"),
        ('[cluster]\nname = "a b"', r"expected a name of at most 63"),
        (
            '[cluster]\ndatabase = "postgresql://db/x"\nobjects = "file:///x"\nendpoint = "http://y"',
            r"endpoint: expected none beside the folder",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_file_the_key_and_what_was_expected(load, text, message):
    with pytest.raises(ConfigError, match=rf"config\.toml: .*{message}"):
        load(text)


def test_a_database_may_have_several_hosts(load):
    address = "postgresql://mirror@db1.example.org:5432,db2.example.org:5433,[::1]:5434/mirror?target_session_attrs=read-write"
    assert load(f'[cluster]\ndatabase = "{address}"\nobjects = "file:///x"').cluster.database == address


def test_blanks_and_lines_around_an_address_and_the_case_of_its_scheme_do_not_matter(load):
    config = load('[cluster]\ndatabase = " postgresql://db/x\\n"\nobjects = " s3://bucket/v1/ "\nendpoint = " HTTP://Rgw:7480/ "')
    cluster = config.cluster
    assert (cluster.database, cluster.objects, cluster.endpoint) == ("postgresql://db/x", "s3://bucket/v1", "http://Rgw:7480")


@pytest.mark.parametrize(
    "variable, value, message",
    [
        ("MIRROR_SERVER__PROT", "1", "no such key; did you mean 'port'"),
        ("MIRROR_SERVR__PORT", "1", "no such section; did you mean 'server'"),
        ("MIRROR_SERVER__PORT", "x", "= 'x': expected a whole number"),
        ("MIRROR_SQL__MEMORY", "1", "= '1': expected a size of at least 10MB"),
        ("MIRROR_FRESHNESS__MAX_AGE", "1h", "no such section; expected one of server, access, upstream"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(variable, value, message):
    with pytest.raises(ConfigError, match=f"environment: {variable}.*{message}"):
        load_config(None, {variable: value})


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml", {})


def test_more_queries_are_allowed_where_it_is_not_jsoc_that_is_asked(load):
    assert load('[upstream]\nurl = "http://127.0.0.1:8050"\nqueries = 8').upstream.queries == 8


SUBSCRIBED = '[[subscription]]\nseries = "aia.lev1_euv_12s"\nstart = "-30d"\n'


def test_a_subscription_with_everything(load):
    [wish] = load(
        SUBSCRIBED
        + """
        end = "-1d"
        name = "euv"
        keys = { WAVELNTH = [171, 193], FSN = "1-5" }
        where = "QUALITY = 0"
        step = "1h"
        segments = ["image"]
        protocol = "fits"
        every = "10m"
        keep = "window"
        priority = "low"
        hours = "20:00-06:00"
        budget = "50GB/day"
        """
    ).subscription
    assert (wish.identity, wish.keys) == ("euv", (("WAVELNTH", "171,193"), ("FSN", "1-5")))
    assert (wish.step, wish.every, wish.keep, wish.protocol) == (3600.0, 600.0, float("inf"), "fits")
    assert (str(wish.hours), wish.budget.size, wish.budget.seconds) == ("20:00-06:00", 50 * 10**9, 86400.0)


@pytest.mark.parametrize(
    "line, message",
    [
        ('start = "soon"', "start = 'soon': expected a time such as .*'soon' is not a time\n  soon\n  \\^"),
        ('where = "QUALITY ="', "where = 'QUALITY =': expected .*\n  QUALITY =\n           \\^"),
        ('series = "hmi.M_720s[2014]"', "series = .*: expected the name of one series"),
        ('series = "9"', "series = '9': expected the name of a series"),
        ('name = "a b"', "name = 'a b': expected letters, digits"),
        ("keys = [171]", "keys = .*: expected a table of prime keys, such as"),
        ('keys = { WAVELNTH = "171][193" }', "the values of one prime key for WAVELNTH"),
        ("keys = { WAVELNTH = [] }", "numbers or texts for WAVELNTH"),
        ('step = "often"', "step = 'often': expected a duration such as .* or \"all\""),
        ('hours = "8"', "hours = '8': expected \"always\", or hours such as"),
        ('budget = "50GB"', "budget = '50GB': expected a size in a time, such as \"50GB/day\""),
        ('keep = "some"', "keep = 'some': expected a duration .*, \"window\" or \"forever\""),
        ('priority = "top"', "priority = 'top': expected one of"),
        ("pictures = 3", "pictures = 3: expected true or false"),
        ('protocol = "jpg"', "protocol = 'jpg': expected one of"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused_where_it_goes_wrong(load, line, message):
    key = line.partition(" ")[0]
    given = "\n".join(x for x in SUBSCRIBED.splitlines() if not x.startswith(f"{key} "))
    with pytest.raises(ConfigError, match=rf"(?s)\[\[subscription\]\] 1 .*{message}"):
        load(f"{given}\n{line}\n")


def test_pictures_ahead_need_files(load):
    [subscription] = load(SUBSCRIBED + 'segments = ["image"]\npictures = true\n').subscription
    assert subscription.pictures
    with pytest.raises(ConfigError, match=r"\[\[subscription\]\] 1: pictures = true: expected segments too"):
        load(SUBSCRIBED + "pictures = true\n")


def test_a_subscription_without_a_name_is_known_by_its_content(load):
    plain, later, other = load(
        SUBSCRIBED + "segments = ['image']\n" + SUBSCRIBED
        + SUBSCRIBED.replace("-30d", "-9d").replace("lev1_euv_12s", "lev1_uv_24s")
    ).subscription
    assert plain.identity.startswith("aia.lev1_euv_12s-")
    assert len({plain.identity, later.identity, other.identity}) == 3
    [edited] = load(SUBSCRIBED.replace("-30d", "-9d") + "hours = '1:00-2:00'\n").subscription
    assert edited.identity == later.identity


def test_two_subscriptions_have_two_names(load):
    with pytest.raises(ConfigError, match="2: A has the same name as an earlier one"):
        load(SUBSCRIBED + 'name = "a"\n' + SUBSCRIBED + 'name = "A"\n')
    with pytest.raises(ConfigError, match=r"2: aia.* has the same content as an earlier one"):
        load(SUBSCRIBED * 2)


@given(st.integers(1, 10**6), st.sampled_from(["s", "m", "h", "d", "w"]))
def test_a_duration_is_its_number_times_its_unit(number, unit):
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]
    assert readers.duration(f"{number}{unit}") == readers.duration(number * seconds)


@given(st.integers(1, 10**6), st.integers(0, 4))
def test_a_size_is_its_number_times_its_unit(number, power):
    letter = ["", "K", "M", "G", "T"][power]
    assert readers.size(f"{number} {letter}B") == number * 1000**power
    assert readers.size(f"{number}{letter}iB" if letter else str(number)) == number * 1024**power


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers())))
def test_a_reader_refuses_everything_else_with_a_value_error_only(value):
    reading = [readers.text, readers.url, readers.address, readers.duration]
    reading += [readers.size, readers.texts, readers.integer(0, 9), readers.choice("a")]
    reading += [readers.series, readers.moment, readers.hours, readers.condition]
    reading += [readers.budget, readers.keeping, readers.prime_keys, readers.name]
    for read in reading:
        with contextlib.suppress(ValueError):
            read(value)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


#: How a file comes to be what is no configuration, and what is said of it.
NO_FILES = {
    "pipe": (_fifo, "cannot be read: it is a named pipe; expected a file"),
    "folder": (Path.mkdir, "cannot be read: Is a directory"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is a device; expected a file"),
    "loop": (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    "nothing": (lambda path: path.symlink_to("nowhere"), "cannot be read: No such file or directory"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe[\x00"), "is not TOML, which is UTF-8: "),
    "nuls": (lambda path: path.write_bytes(bytes(100)), "is not TOML: "),
    "large": (lambda path: path.write_bytes(b"# comment\n" * 400_001), "is larger than 4,000,000 bytes"),
    "deep": (lambda path: path.write_text("x = " + "[" * 100_000), "its values are nested too deeply"),
}


def test_dev_null_is_an_empty_configuration():
    assert load_config(Path("/dev/null"), {}).server == load_config(None, {}).server


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_of_text_is_one_error_at_once(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, problem = NO_FILES[kind]
    path = Path("c.toml")  # a socket's name must be short
    make(path)
    with pytest.raises(ConfigError, match=re.escape(problem)) as raised:
        load_config(path, {})
    assert str(raised.value).startswith("c.toml: ")
    assert "\n" not in str(raised.value)
