"""A small series with its records and exported files' headers, made for tests of adoption."""

from dataclasses import replace

from mirror.drms.series import Keyword, PrimeKey, Segment, Series
from mirror.drms.times import format_time, parse_time
from mirror.services.adoption.match import Candidate, SegmentFacts, printed_keys
from mirror.services.adoption.names import HeaderEvidence


def keyword(name, kind, units="none", note="", recscope="variable", defval=""):
    return Keyword(name, kind, recscope, defval, units, note)


SERIES = Series(
    name="hmi.Sharp_720s",
    note="made up",
    retention=0,
    unitsize=1,
    archive=1,
    tapegroup=1,
    primekeys=(PrimeKey("HARPNUM", slotted=False), PrimeKey("T_REC", slotted=True, step="720.000000")),
    dbindex=(),
    keywords=(
        keyword("T_REC_index", "longlong", recscope="index"),
        keyword("HARPNUM", "int"),
        keyword("T_REC", "time", "TAI", recscope="ts_eq"),
        keyword("T_REC_epoch", "time", "TAI", recscope="constant", defval="1993.01.01_00:00:00_TAI"),
        keyword("T_REC_step", "double", "secs", recscope="constant", defval="720.000000"),
        keyword("DATE", "time", "ISO"),
        keyword("USFLUX", "float", "Maxwell"),
        keyword("CONTENT", "string"),
        keyword("LONGKEYWORDNAME", "int"),
    ),
    segments=(
        Segment("magnetogram", "int", "Gauss", "fits", "VARxVAR", ""),
        Segment("Br", "int", "Gauss", "fits", "VARxVAR", ""),
    ),
    links=(),
)
START = parse_time("2014.01.01_00:00:00_TAI")


def record(recnum=100, harp=377, slot=0, date="2014-01-05T17:46:00Z", flux="1.234500e+21", sunum=5000):
    """A record as the index would tell it."""
    texts = {
        "HARPNUM": str(harp),
        "T_REC": format_time(START + 720 * slot, "TAI", 0),
        "DATE": date,
        "USFLUX": flux,
        "CONTENT": "a patch",
        "LONGKEYWORDNAME": "7",
    }
    segments = {
        s.name: SegmentFacts(f"/SUM3/D{sunum + recnum}/S00000/{s.name}.fits", "210x109", "0", "0.1")
        for s in SERIES.segments
    }
    name = f"hmi.Sharp_720s[{harp}][{texts['T_REC']}]"
    return Candidate(recnum, name, printed_keys(SERIES, texts), texts, segments)


def header(of, segment="magnetogram", **cards):
    """The header that an export of a record has; ``cards`` replace some, None takes one away."""
    values = {
        "(first comment)": "file does conform to FITS standard",
        "BZERO": "0.",
        "BSCALE": "0.1",
        "CHECKSUM": "x",
        "DATASUM": "1",
        "HARPNUM": of.texts["HARPNUM"],
        "T_REC": of.texts["T_REC"].replace("_TAI", ".000_TAI"),
        "DATE": of.texts["DATE"].removesuffix("Z") + ".000",
        "USFLUX": f"{float(of.texts['USFLUX']):.17G}",
        "CONTENT": of.texts["CONTENT"],
        "LONGKEYW": of.texts["LONGKEYWORDNAME"],
        "RECNUM": str(of.recnum),
        "DRMS_ID": f"{SERIES.name}:{of.recnum}:{segment}",
        "HEADSUM": "y",
    }
    values = {name: text for name, text in (values | cards).items() if text is not None}
    return HeaderEvidence(values, 32, (210, 109), 2880, 8640, 2880, 1)


def bare(evidence):
    """The header that the archived file has: no keywords."""
    kept = {"(first comment)", "BZERO", "BSCALE", "CHECKSUM", "DATASUM"}
    return replace(evidence, values={name: text for name, text in evidence.values.items() if name in kept})
