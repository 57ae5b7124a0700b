"""Mirrors that share: what one has fetched no other asks for, whoever asks, and whatever ends in between."""

from __future__ import annotations

import asyncio
import random
import sys

from tests.clusterlab import cluster

DAY = "hmi.v_45s[2014.01.01_TAI/6h]"


async def test_what_one_has_fetched_the_other_takes_over(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(DAY)
        asked = await lab.fetched()
        assert asked == len(found) > 0
        answer = await other.ask(DAY)
        assert answer.json["keywords"][0]["values"] == found
        assert await lab.fetched() == asked
        assert answer.plan is not None and "FORWARDED" not in answer.plan.upper()
        again = await other.ask(DAY)
        assert again.body.split(b'"runtime"')[0] == answer.body.split(b'"runtime"')[0]


async def test_all_columns_are_the_same_at_every_mirror(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        for ds in ("hmi.v_45s[2014.01.01_TAI/1h]", "aia.lev1_euv_12s[2014.01.01_TAI/10m][171]", "hmi.sharp_720s[3563][2014.01.01_TAI/2h]"):
            first = (await one.ask(ds, "**ALL**")).told
            before = await lab.fetched()
            assert (await other.ask(ds, "**ALL**")).told == first
            assert await lab.fetched() == before
            assert first["count"] > 0


def queries(seed, count, dense):
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.3:
            waves = chance.choice(["", "[171]", "[94,131]", "[171-211]"])
            first = chance.randrange(0, 40 if dense else 300)
            yield f"aia.lev1_euv_12s[2014.01.01_00:{first * 12 // 60:02}:{first * 12 % 60:02}_TAI/{chance.randrange(1, 15)}m]{waves}"
        else:
            first = chance.randrange(0, 60 if dense else 900) * 45
            clock = f"{first // 3600:02}:{first // 60 % 60:02}:{first % 60:02}"
            yield f"hmi.v_45s[2014.01.01_{clock}_TAI/{chance.randrange(10, 200)}m]"


async def test_dense_overlaps_at_three_mirrors_are_asked_for_once(tmp_path):
    async with cluster(tmp_path, 3, latency=0.002, MIRROR_FILL__CHUNK_RECORDS="60") as lab:
        asked = list(queries(3, 48, dense=True))

        async def client(number):
            answers = []
            for i, ds in enumerate(asked):
                if i % 8 == number:
                    answers.append((ds, (await lab.mirrors[number % 3].ask(ds)).json))
            return answers

        answers = [a for each in await asyncio.gather(*map(client, range(8))) for a in each]
        numbers = set()
        for ds, answer in answers:
            assert answer["status"] == 0, answer
            assert answer["keywords"][0]["values"] == await lab.mirrors[0].upstream(ds), ds
            numbers |= {(ds.split("[")[0], n) for n in answer["keywords"][0]["values"]}
        assert await lab.fetched() == len(numbers)


async def test_a_mirror_without_a_cluster_imports_nothing_of_it(tmp_path):
    code = (
        "import asyncio, sys\n"
        "from mirror.config.loading import load_config\n"
        "from mirror.daemon import build\n"
        "async def main():\n"
        f"    mirror = await build(load_config(None, {{'MIRROR_STORAGE__PATH': {str(tmp_path / 's')!r}}}))\n"
        "    await mirror.close()\n"
        "asyncio.run(main())\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('psycopg', 'psycopg_pool', 'obstore', 'pyiceberg')"
        " or m.startswith('mirror.cluster')])\n"
    )
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await program.communicate()
    assert out.decode().strip() == "[]"
