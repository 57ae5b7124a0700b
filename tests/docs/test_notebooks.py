"""The gallery: five notebooks that run against the simulator, and print what their files show."""

import pytest

from tests.docs.notebooks import FOLDER, MOST_BYTES, bench, notebooks, printed, read

BOOKS = {path.stem: path for path in notebooks()}


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    with bench(tmp_path_factory.mktemp("notebooks")) as made:
        yield made


@pytest.mark.parametrize("name", BOOKS)
def test_a_notebook_runs_and_prints_what_its_file_shows(ready, name):
    again = ready.run(BOOKS[name])
    assert printed(again) == printed(read(BOOKS[name])), "python docs/make_notebooks.py makes them again"


@pytest.mark.parametrize("name", BOOKS)
def test_a_notebook_is_kept_with_its_pictures_and_is_small(name):
    book = read(BOOKS[name])
    kinds = {kind for cell in book.cells for o in cell.get("outputs", ()) for kind in o.get("data", {})}
    assert "image/jpeg" in kinds
    assert all(cell.outputs for cell in book.cells if cell.cell_type == "code" and "print(" in cell.source)
    assert BOOKS[name].stat().st_size < MOST_BYTES


def test_the_gallery_leads_to_every_notebook():
    text = (FOLDER.parent / "gallery.md").read_text("utf-8")
    assert [name for name in BOOKS if f"notebooks/{name}.ipynb" not in text and f"notebooks/{name}\n" not in text] == []
