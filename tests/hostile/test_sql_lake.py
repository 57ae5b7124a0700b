"""Statements over several series while records come: every one is answered, and the manifest stays whole."""

from __future__ import annotations

import asyncio
import json

from tests.lab import lab, rows, sql

V, SHARP = "hmi.v_45s", "hmi.sharp_cea_720s"
BOTH = f"SELECT (SELECT count(*) FROM {V}), (SELECT count(*) FROM {SHARP})"


async def test_two_series_in_statements_while_both_are_filled(tmp_path):
    async with lab(tmp_path, MIRROR_SQL__PLACES="3", MIRROR_SQL__WAITING="200") as made:
        hours = [f"{V}[2014.01.01_{h:02}:00_TAI/10m]" for h in range(12)]
        regions = [f"{SHARP}[][2014.01.01_{h:02}:00_TAI/12m]" for h in range(12)]
        await made.ask(hours[0])
        await made.ask(regions[0])
        counts: list[tuple[int, int]] = []

        async def fill(record_sets: list[str]) -> None:
            for ds in record_sets:
                await made.ask(ds)

        async def ask(statement: str) -> None:
            answer = await sql(made, statement)
            assert answer.code == 200, answer.body
            counts.append(tuple(answer.json["rows"][0]))

        async def asking() -> None:
            for n in range(12):
                one, other = f"SELECT count(*), 1 FROM {V}", f"SELECT 1, count(*) FROM {SHARP}"
                await asyncio.gather(*(ask(statement) for statement in (BOTH, one, other, BOTH)[: 2 + n % 3]))

        await asyncio.gather(fill(hours[1:]), fill(regions[1:]), asking(), asking(), asking())
        assert len(counts) >= 100
        found = [tuple(row) for row in await rows(made, BOTH)]
        truth = [(await made.upstream(",".join(sets))) for sets in (hours, regions)]
        assert found == [tuple(len(numbers) for numbers in truth)]
        manifest = json.loads((tmp_path / "lake" / "manifest.json").read_text())
        held = {name: sum(f["records"] for f in files) for name, files in manifest["tables"].items()}
        assert (held[V], held[SHARP]) == found[0]
        for files in manifest["tables"].values():
            assert all((tmp_path / "lake" / f["file"]).stat().st_size == f["bytes"] for f in files)
        assert not list((tmp_path / "lake").rglob("*.part"))


async def test_who_hangs_up_while_a_month_is_written_leaves_it_whole_for_the_next(tmp_path):
    async with lab(tmp_path) as made:
        for minutes in range(10, 60, 10):
            numbers = await made.recnums(f"{V}[2014.01.01_TAI/{minutes}m]")
            series = next(s for s in made.running.analytics._index.all_series() if s.name.lower() == V)
            lake = made.running.analytics._lake
            tasks = [asyncio.ensure_future(lake.tables(series)) for _ in range(3)]
            for turns, task in enumerate(tasks):
                for _ in range(turns * 5):
                    await asyncio.sleep(0)
                task.cancel()
            assert await rows(made, f"SELECT count(*) FROM {V}") == [[len(numbers)]]
            await asyncio.gather(*tasks, return_exceptions=True)
            assert not await lake.mend([series])


async def test_a_manifest_that_several_write_at_once_is_that_of_the_last(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(f"{V}[2014.01.01_TAI/10m]")
        assert await rows(made, f"SELECT count(*) > 0 FROM {V}") == [[True]]
        lake = made.running.analytics._lake
        before = (tmp_path / "lake" / "manifest.json").read_bytes()
        await asyncio.gather(*(lake._write_manifest() for _ in range(30)), *(lake._forget_old() for _ in range(10)))
        assert (tmp_path / "lake" / "manifest.json").read_bytes() == before
