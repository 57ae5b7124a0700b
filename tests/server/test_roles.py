"""Every path of the server has a role, in one table; what nobody thought about needs the highest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.config.access import Role
from mirror.server.roles import ROLES, is_jsocs, is_listed, is_page, role_of
from tests.lab import lab


async def test_every_route_of_the_server_has_a_role_and_the_table_names_no_others(tmp_path):
    async with lab(tmp_path) as made:
        routes = [(r.method, r.resource.canonical) for r in made.running.app.router.routes() if r.resource]
    assert [f"{method} {path}" for method, path in routes if not is_listed(method, path)] == []
    known = set(routes)
    assert [key for key in ROLES if key not in known and ("*", key[1]) not in known] == []


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "XYZZY"]), st.text(min_size=1))
def test_what_nobody_thought_about_takes_an_admin(method, path):
    assert is_listed(method, "/api/" + path) or role_of(method, "/api/" + path, "/x") is Role.ADMIN


def test_looking_is_reading_and_programs_of_jsoc_that_we_do_not_know_take_more():
    assert role_of("HEAD", "/api/search", "/api/search") is Role.READ
    assert role_of("GET", "/{path}", "/ajax/exportdata.html") is Role.READ
    assert role_of("GET", "/{path}", "/cgi-bin/ajax/unknown") is Role.EXPORT
    assert role_of("GET", "/{path}", "/CGI-bin/ajax/unknown") is Role.EXPORT
    assert role_of("POST", "/{path}", "/ajax/exportdata.html") is Role.EXPORT
    assert role_of("GET", "/cgi-bin/ajax/jsoc_fetch", "/cgi-bin/ajax/jsoc_fetch") is Role.EXPORT


def test_pages_are_told_from_the_rest():
    assert all(map(is_page, ["/", "/login", "/search", "/series/{name}"]))
    assert not any(
        map(is_page, ["/api/search", "/{path}", "/metrics", "/cgi-bin/ajax/jsoc_info", "/{disk}/{rest}"])
    )
    assert is_jsocs("/") and not is_jsocs("/login")
