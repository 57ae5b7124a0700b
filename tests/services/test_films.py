"""Films in a lab: made of what is cached, as jobs that can be watched and cancelled; over HTTP, from Python, from the terminal."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import imageio_ffmpeg
import pytest
import pytest_asyncio
from click.testing import CliRunner

import mirror as package
from mirror.cli.main import main
from mirror.drms.export import ExportRequest
from mirror.errors import OutOfTime, Refused, TooMany
from mirror.services import films as service
from tests.filelab import file_lab, synthetic

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.filterwarnings("ignore")]
HOUR = "hmi.sharp_cea_720s[377][2011.02.14_00:00:00_TAI/36m]{bitmap}"
FIRST = "hmi.sharp_cea_720s[377][2011.02.14_00:00:00_TAI]{bitmap}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory):
    async with file_lab(tmp_path_factory.mktemp("store"), synthetic()) as made:
        await made.ask(HOUR.partition("{")[0], "T_REC")
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_held(lab):
    """The records of an hour, and the file of the first."""
    assert (await lab.get("/api/quicklook", {"ds": FIRST, "number": "1", "fetch": "1", "size": "128"})).code == 200


async def film(lab, ds=HOUR, **body):
    return await lab.request("POST", "/api/films", json={"ds": ds, "size": 128, **body})


async def made(lab, ds=HOUR, **body):
    answer = await film(lab, ds, **body)
    assert answer.code == 202, answer.body
    await lab.running.browsing.films.ended(answer.json["id"])
    return (await lab.get(f"/api/jobs/{answer.json['id']}")).json


async def test_a_film_is_made_of_cached_files_unless_others_may_be_fetched(lab):
    nothing = await film(lab)
    assert (nothing.code, nothing.json["missing"]) == (503, [HOUR])
    assert "no image of" in nothing.json["error"] and "(3 records)" in nothing.json["error"]
    assert (await lab.get("/api/quicklook", {"ds": FIRST, "number": "1", "fetch": "1", "size": "128"})).code == 200
    before = len(await lab.downloads())
    job = await made(lab)
    assert (job["kind"], job["state"], job["ready"], job["total"], job["counted"]) == ("film", "done", 3, 3, "frames")
    assert job["notes"] == ["2 records without a cached image left out"]
    assert len(await lab.downloads()) == before
    job = await made(lab, fetch=True)
    assert (job["state"], job["notes"]) == ("done", [])
    assert len(await lab.downloads()) == before + 2


async def test_the_file_is_a_film_that_players_can_seek_in(lab, one_held, tmp_path):
    job = await made(lab, fps=5)
    before = await sent(lab)
    whole = await lab.get(job["files"][0]["path"])
    assert await sent(lab) - before >= job["bytes"], "what is sent counts as used"
    assert (whole.code, whole.headers["Content-Type"], len(whole.body)) == (200, "video/mp4", job["bytes"])
    part = await lab.get(job["files"][0]["path"], headers={"Range": "bytes=4-7"})
    assert (part.code, part.body) == (206, b"ftyp")
    same = await lab.get(job["files"][0]["path"], headers={"If-None-Match": whole.headers["Etag"]})
    assert (same.code, same.body) == (304, b"")
    beyond = await lab.get(job["files"][0]["path"], headers={"Range": f"bytes={job['bytes']}-"})
    assert (beyond.code, beyond.headers["Content-Range"]) == (416, f"bytes */{job['bytes']}")
    path = tmp_path / "film.mp4"
    path.write_bytes(whole.body)
    about = await asyncio.to_thread(lambda: next(imageio_ffmpeg.read_frames(path)))
    assert (about["codec"], about["fps"]) == ("h264", 5.0)
    assert 100 < max(about["size"]) <= 128


async def sent(lab):
    """All bytes that were sent to anybody."""
    return sum(line["bytes"] for line in (await lab.get("/api/usage")).json)


async def test_a_film_can_be_cancelled_and_the_same_one_is_made_once(lab, one_held):
    turn = lab.running.browsing.films._turn
    async with turn:  # as if another were being made
        first, again = (await film(lab, fps=7)).json, (await film(lab, fps=7)).json
        assert (first["id"], first["state"]) == (again["id"], "waiting")
        ended = await lab.request("DELETE", f"/api/jobs/{first['id']}", json={})
    assert (ended.code, ended.json["state"]) == (200, "cancelled")
    gone = await lab.get(f"/api/films/{first['id']}")
    assert (gone.code, gone.json["error"]) == (404, f"{first['id']} is cancelled; there is no film of it")


async def test_old_films_are_forgotten(lab, one_held, monkeypatch):
    monkeypatch.setattr(service, "KEPT", 1)
    job = await made(lab, fps=8)
    assert [j["id"] for j in (await lab.get("/api/jobs", {"kind": "film"})).json] == [job["id"]]
    assert sorted(path.name for path in (lab.path / "films").iterdir()) == [f"{job['id']}.json", f"{job['id']}.mp4"]


async def test_films_last_and_what_was_under_way_is_made_after_a_restart(lab, one_held, monkeypatch):
    done = await made(lab, fps=11)
    whole = (await lab.get(done["files"][0]["path"])).body
    cancelled = (await lab.request("DELETE", f"/api/jobs/{(await film(lab, fps=12)).json['id']}", json={})).json
    async with lab.running.browsing.films._turn:  # as if another were being made
        waiting = (await film(lab, fps=13)).json
        for name, text in (("FILM_20140101_001.json", "{"), ("FILM_20140101_002.json", "{}"), ("a.mp4", "")):
            (lab.path / "films" / name).write_text(text)
        await lab.restart()
    films = lab.running.browsing.films
    assert (await films.ended(waiting["id"])).state == "done"
    known = {job["id"]: job for job in (await lab.get("/api/jobs", {"kind": "film"})).json}
    assert known[done["id"]] == done
    assert (await lab.get(done["files"][0]["path"])).body == whole
    assert known[cancelled["id"]]["state"] == "cancelled"
    again = known[waiting["id"]]
    assert (again["ready"], again["total"], again["by"], again["created"]) == (3, 3, waiting["by"], waiting["created"])
    assert (await lab.get(again["files"][0]["path"])).body[4:8] == b"ftyp"
    assert {path.stem for path in (lab.path / "films").iterdir()} == set(known)
    assert (await film(lab, fps=14)).json["id"] not in known


async def test_a_film_whose_note_cannot_be_written_is_made_all_the_same(lab, one_held, monkeypatch):
    monkeypatch.setattr(service, "_note_of", lambda root, film_id: root / "no" / f"{film_id}.json")
    assert (await made(lab, fps=15))["state"] == "done"


@pytest.mark.parametrize(
    "body, code, words",
    [
        ({"size": 300}, 400, "size is 300; expected one of 128, 256, 512, 1024"),
        ({"fps": 0}, 400, "fps is 0; expected 1 to 60 frames a second"),
        ({"step": -1}, 400, "step is -1; expected 1 or more"),
        ({"ds": "aia.response[][]", "fetch": True}, 400, "has no segment that is an image"),
        ({"ds": "hmi.sharp_cea_720s[377][2011.02.20_00:00:00_TAI]"}, 503, "with fetch (--fetch) they are fetched"),
        ({"ds": "hmi.sharp_cea_720s[377][1999.01.01]", "fetch": True}, 400, "no records match"),
    ],
    ids=range(6),
)
async def test_what_cannot_be_a_film_is_one_clear_error(lab, body, code, words):
    answer = await film(lab, **body)
    assert (answer.code, words in answer.json["error"]) == (code, True), answer.body


async def test_without_ffmpeg_the_error_says_how_to_get_it(lab, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    answer = await film(lab)
    assert (answer.code, "pip install 'jsoc-mirror[movies]'" in answer.json["error"]) == (403, True)
    with pytest.raises(Refused):
        service.program()


async def test_the_command_and_the_client_save_the_film(lab, one_held, tmp_path):
    asked = ("film", HOUR, "--to", str(tmp_path / "a.mp4"), "--size", "128", "--fps", "9")
    result = await asyncio.to_thread(CliRunner().invoke, main, asked, env={"MIRROR_URL": lab.url})
    assert result.exit_code == 0, result.output
    path = await asyncio.to_thread(package.Client(lab.url).film, HOUR, tmp_path / "b.mp4", size=128, fps=9)
    assert path.read_bytes()[4:8] == (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    result = await asyncio.to_thread(CliRunner().invoke, main, (*asked, "--fps", "99"), env={"MIRROR_URL": lab.url})
    assert (result.exit_code, "99 is not in the range 1<=x<=60" in result.output) == (2, True)


# ---- several at a time ----------------------------------------------------------------------------


class Pictures:
    """Finds records and makes pictures without an index; ``gate`` lets them through."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()

    async def plan(self, request, demand):
        await asyncio.sleep(0)
        segment = SimpleNamespace(name="image", protocol="fits", dims="4x4")
        return SimpleNamespace(rows=[SimpleNamespace(recnum=1)], series=SimpleNamespace(name="a.b", segments=(segment,)))

    async def find(self, request, number, **options):
        return SimpleNamespace(record=request.ds)

    async def png(self, found):
        await self.gate.wait()
        return b""


class Written:
    """An encoder that writes ten bytes."""

    def __init__(self, path):
        self.path = path

    @classmethod
    async def begin(cls, path, size, fps):
        return cls(path)

    async def add(self, png, caption):
        pass

    async def end(self):
        self.path.write_bytes(bytes(10))

    async def stop(self):
        pass


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture
def films(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "Encoder", Written)
    monkeypatch.setattr(service, "even", lambda _: (2, 2))
    return service.Films(pictures, pictures, tmp_path, lambda: 1.5e9)


def request(number):
    return service.FilmRequest(ExportRequest(f"a.b[{number}]"))


async def test_a_film_that_has_just_been_made_is_not_the_one_to_be_forgotten(films, pictures, monkeypatch):
    monkeypatch.setattr(service, "KEPT", 1)
    old = await films.ended((await films.start(request(1), "")).id)
    pictures.gate.clear()
    new = await films.start(request(2), "")
    assert films.file(old.id).exists(), "somebody looks at it meanwhile"
    pictures.gate.set()
    assert (await films.ended(new.id)).state == "done"
    assert [job.id for job in films.list()] == [new.id]
    assert films.file(new.id).exists()


async def test_those_that_are_asked_for_at_one_time_count_too(films, pictures, monkeypatch):
    monkeypatch.setattr(service, "MOST_WAITING", 2)
    pictures.gate.clear()
    begun = await asyncio.gather(*(films.start(request(n), "") for n in (1, 1, 2, 3, 4)), return_exceptions=True)
    await films.stop()
    assert begun[0].id == begun[1].id != begun[2].id
    assert [type(each) for each in begun[3:]] == [TooMany, TooMany]


async def test_an_ffmpeg_that_reads_nothing_more_is_an_error_after_a_while(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setattr(service, "program", lambda: str(tmp_path / "ffmpeg"))
    monkeypatch.setattr(service, "frame", lambda png, size, caption: bytes(4 << 20))
    monkeypatch.setattr(service, "LONGEST", 0.05)
    encoder = await service.Encoder.begin(tmp_path / "film", (2, 2), 1)
    try:
        with pytest.raises(OutOfTime, match="to take a picture"):
            await encoder.add(b"", "")
    finally:
        await encoder.stop()
