"""What index.txt and the table of keywords of an export tell, read back."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mirror.drms.export import AppliedStep, ExportFile, Finished
from mirror.drms.exportrules import keywords_of, tarfile_of
from mirror.wire.export_index import KeywordColumn, KeywordTable


def decode_index_txt(data: bytes) -> Finished:
    """The index that index.txt tells."""
    title, *lines = data.decode("latin-1").split("\n")
    assert title.startswith("# JSOC "), title
    sections = _sections(lines)
    fields = dict(_pair(line) for line in sections["HEADER"])
    files = tuple(_read_row(line) for line in sections.get("DATA", ()))
    directory, request_id = fields.get("dir", ""), fields.get("requestid", "")
    if "DATA" in sections:
        fields["keywords"] = keywords_of(directory, request_id, fields.get("protocol", ""))
        tarfile = tarfile_of(directory, request_id, fields.get("method", ""))
        fields |= {} if tarfile is None else {"tarfile": tarfile}
    return Finished(
        request_id,
        fields.get("method", ""),
        fields.get("protocol", ""),
        count=int(fields.get("count", len(files))),
        size=int(fields.get("size", 0)),
        dir=directory.rstrip("/"),
        files=files,
        keywords=fields.get("keywords"),
        tarfile=fields.get("tarfile"),
        exptime=fields.get("exptime"),
        processing=_steps(sections.get("PROCESSING", ())),
    )


def _sections(lines: Iterable[str]) -> dict[str, list[str]]:
    """Lines by the title above them; blank lines and other comments are left out."""
    sections: dict[str, list[str]] = {"HEADER": []}
    current = sections["HEADER"]
    for line in lines:
        title = re.match(r"# (DATA|PROCESSING)", line)
        if title:
            current = sections.setdefault(title[1], [])
        elif line.strip() and not line.startswith("#"):
            current.append(line)
    return sections


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip().lower(), value.strip()


def _read_row(line: str) -> ExportFile:
    record, _, filename = line.partition("\t")
    return ExportFile(record.strip(), filename.strip())


def _steps(lines: Iterable[str]) -> tuple[AppliedStep, ...]:
    steps: list[AppliedStep] = []
    for line in lines:
        if line.startswith("Processing"):
            steps.append(AppliedStep(line.partition(":")[2].strip()))
        elif steps and not line.startswith(("  argument\t", "  --")):
            name, _, value = line.strip().partition("\t")
            steps[-1] = AppliedStep(steps[-1].name, (*steps[-1].arguments, (name, value.strip())))
    return tuple(steps)


def decode_keywords(data: bytes) -> KeywordTable:
    """The table in ``data``."""
    lines = [line.split("\t") for line in data.decode("latin-1").split("\n")[:-1]]
    assert len({len(line) for line in lines}) == 1
    columns = tuple(KeywordColumn(*parts) for parts in zip(*lines[:3], strict=True))
    rows = tuple(tuple(line[1:]) for line in lines[3:])
    return KeywordTable(columns[1:], tuple(line[0] for line in lines[3:]), rows)
