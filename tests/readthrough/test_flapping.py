"""An upstream that answers a few requests, refuses the next, and so on: everything ends whole, fetched once."""

from __future__ import annotations

from collections import Counter

from tests.filelab import file_lab
from tests.lab import lab
from tests.services.subscriptions.test_manager import BITMAPS, RECORDS

#: After each three requests that are answered two are refused.
FLAPPING = [{"fault": "refuse", "skip": 3 * n, "times": 2} for n in range(1, 60)]
HALF_DAY = "hmi.v_45s[2014.01.01_TAI/12h]"


async def sent(made) -> int:
    """Records that were sent whole, those of refused answers left out."""
    log = [e for e in await made.log(op="rs_list") if e["status"] == 0 and "R" in e["params"]]
    return sum(e["records"] for e in log)


async def files(made) -> Counter[str]:
    """How often each file was sent whole."""
    log = [e for e in await made.downloads() if e["status"] in (200, 206)]
    return Counter(e["params"]["path"] for e in log)


async def test_a_fill_ends_whole_with_each_record_sent_once(tmp_path):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="60") as made:
        await made.ask("hmi.v_45s[2014.01.02_TAI]")
        before = await sent(made)
        await made.faults(*FLAPPING)
        found = await made.recnums(HALF_DAY)
        assert sum(e["status"] == "refuse" for e in await made.log()) >= 6
        await made.faults()
        assert found == await made.upstream(HALF_DAY)
        assert await sent(made) - before == len(found)


async def test_an_export_ends_whole_with_each_file_sent_once(tmp_path):
    async with file_lab(tmp_path) as made:
        await made.faults(*({**rule, "match": {"program": "file"}} for rule in FLAPPING))
        accepted = await made.export("hmi.sharp_720s[3563][2014.01.01_TAI/24m]{magnetogram,bitmap}")
        done = await made.ended(accepted["requestid"])
        assert (done["status"], done["count"]) == ("0", "4")
        assert set((await files(made)).values()) == {1}


async def test_a_subscription_becomes_current_with_each_record_and_file_sent_once(tmp_path):
    async with file_lab(tmp_path) as made:
        await made.faults(*FLAPPING)
        sync = made.running.sync
        await sync.reconcile([BITMAPS])
        for _ in range(10):
            await sync.once()
            await sync.finished()
            [report] = await sync.report()
            if report.state == "current":
                break
        assert (report.state, report.records, report.files) == ("current", RECORDS, RECORDS)
        assert await made.fetched() == RECORDS
        assert set((await files(made)).values()) == {1}
