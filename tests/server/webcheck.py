"""Looks at a page as a strict reader: tags that match, ids once, labels for fields, nothing inline."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
_FIELDS = ("input", "select", "textarea")


class Page(HTMLParser):
    """A page, read; ``problems`` says what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.links: list[str] = []
        self.assets: list[str] = []
        self.headings: list[str] = []
        self.title = ""
        self.text = ""
        self._open: list[str] = []
        self._ids: set[str] = set()
        self._labelled: set[str] = set()
        self._fields: list[dict[str, str | None]] = []
        self._refers: list[str] = []
        self._is_data = False
        if not text.startswith("<!DOCTYPE html>"):
            self.problems.append("no doctype")
        self.feed(text)
        self.close()
        self._finish()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        given = dict(attrs)
        if len(names) != len(given):
            self.problems.append(f"<{tag}> has an attribute twice: {names}")
        self._inline(tag, given)
        self._is_data = given.get("type") == "application/json"  # no browser runs that
        if "id" in given:
            if given["id"] in self._ids:
                self.problems.append(f"the id {given['id']} is there twice")
            self._ids.add(given["id"])
        for name in ("aria-labelledby", "aria-describedby", "for", "list"):
            self._refers += (given.get(name) or "").split()
        if tag == "label" and given.get("for"):
            self._labelled.add(given["for"])
        if tag in _FIELDS and given.get("type") not in ("hidden", "submit"):
            self._fields.append({**given, "within": "label" if "label" in self._open else None})
        if tag == "img" and "alt" not in given:
            self.problems.append(f"a picture without alt: {given}")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("link", "script", "img"):
            self.assets += [given[name] for name in ("src", "href") if given.get(name)]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self._open[-1:]}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if self._open and self._open[-1] == "title":
            self.title += data
        if self._open and self._open[-1] == "h1":
            self.headings.append(data.strip())
        if self._open and self._open[-1] == "script" and data.strip() and not self._is_data:
            self.problems.append("a script within the page")
        self.text += f" {data}"

    def _inline(self, tag, given):
        if tag == "style" or "style" in given:
            self.problems.append(f"a style within the page: <{tag}>")
        if events := [name for name in given if name.startswith("on")]:
            self.problems.append(f"a script within <{tag}>: {events}")
        for name in ("src", "href", "action"):
            if (given.get(name) or "").lower().startswith(("javascript:", "http:", "https:", "//")):
                self.problems.append(f"<{tag}> leads elsewhere: {given[name]}")

    def _finish(self):
        if self._open:
            self.problems.append(f"never closed: {self._open}")
        if missing := set(self._refers) - self._ids:
            self.problems.append(f"no such ids: {missing}")
        for field in self._fields:
            named = field.get("id") in self._labelled or field.get("aria-label") or field["within"]
            if not (named or field.get("aria-labelledby")):
                self.problems.append(f"a field without label: {field}")
