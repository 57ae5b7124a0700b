"""Redacts what no log, list or table may repeat: e-mail addresses and credentials, in all spellings in which they come.

An address may be escaped for a query, once or more often (``a%40b.org``, ``a%2540b.org``), or for JSON and HTML. A
placeholder shows that something was there. The step of a record set (``[2014.01.01_TAI/1d@6h]``) is not an address.
Every pattern is linear in the text, and starts only at the first character of a word.
"""

from __future__ import annotations

import re

ADDRESS, SECRET = "(address)", "(secret)"

_PERCENT = r"%(?:25)*+"
#: Characters of the part before the @; some may be escaped.
_LOCAL = rf"(?:[\w.+'~!#$^{{|}}*-]|{_PERCENT}(?:2[BbDdEe7]|5[Ff]))"
_AT = rf"(?:@|{_PERCENT}40|\\+u0040|\\+x40|&\#(?:64|x40);|&commat;|=40)"
_DOT = rf"(?:\.|{_PERCENT}2[Ee])"
_LABEL = r"[\w-]++"
#: A name that begins with a letter, one that ends in letters, or a number in brackets; "6h" and "67.5s" are steps.
_DOMAIN = (
    rf"(?:[^\W\d_][\w-]*+(?:{_DOT}{_LABEL})*+"
    rf"|[\w-]++(?:{_DOT}{_LABEL})*?{_DOT}[^\W\d_]{{2,}}+(?![\w-])(?:{_DOT}{_LABEL})*+"
    r"|\[(?:IPv6:)?[0-9A-Fa-f.:]++\])"
)
_EMAIL = re.compile(rf"(?:\"[^\"\r\n]{{1,64}}+\"|(?<![\w.+'~!#$^{{|}}*-]){_LOCAL}++){_AT}{_DOMAIN}")
#: The name and password in an HTTP address.
_USERINFO = re.compile(r"(?<=://)[^\s/?#@\"'<>]++@(?=[\w.\[-])")
_QUOTE = r"(?:\\?[\"'])?"
_HEADER = re.compile(
    rf"(?i)((?:proxy-)?authorization|(?:set-)?cookie|form_token)({_QUOTE}\s*[:=,]\s*(?:b(?=[\"']))?{_QUOTE})"
    r"(?:(?!\\[rn])[^\r\n\"'<>])++"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)(\s++|%20|\+)[\w.~+/%=-]{8,}+")
_PARAMETER = re.compile(
    r"(?i)(?<![\w-])(token|access_token|password|passwd|secret|notify|requestor|requester|e-?mail)"
    r"(=|%3D)(?:(?!%26)(?:[^\s&;\"'<>]|&(?:#(?:64|x40)|commat);))++"
)
#: As ``mirror.config.access`` makes them: the name may be known.
_TOKEN = re.compile(r"(?<![\w-])([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.[A-Za-z0-9_-]{43}(?![\w-])")


def redacted(text: str) -> str:
    """The text without e-mail addresses, tokens, passwords and cookies, and otherwise unchanged."""
    text = _HEADER.sub(rf"\1\2{SECRET}", text)
    text = _SCHEME.sub(rf"\1\2{SECRET}", text)
    text = _PARAMETER.sub(_parameter, text)
    text = _USERINFO.sub(f"{SECRET}@", text)
    text = _TOKEN.sub(rf"\1.{SECRET}", text)
    return _EMAIL.sub(ADDRESS, text)


def _parameter(found: re.Match[str]) -> str:
    of_person = found[1].lower() in ("notify", "requestor", "requester", "email", "e-mail")
    return f"{found[1]}{found[2]}{ADDRESS if of_person else SECRET}"
