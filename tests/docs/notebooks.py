"""The notebooks of docs/notebooks, run in order of their names against a mirror in front of a simulator."""

from __future__ import annotations

import copy
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from tests.docs.blocks import ROOT
from tests.docs.desk import server

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "docs" / "notebooks"
#: Pixels a side of the images that the pages were made with; docs/gallery.md says so.
SIDE = 256
#: Bytes of a file, at most.
MOST_BYTES = 150_000
#: Seconds for one cell.
PATIENCE = 120
#: How pictures go into the files: small.
_SETUP = """\
%reset -f
%config InlineBackend.figure_formats = ["jpeg"]
%config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 64, "pil_kwargs": {"quality": 72}}
import warnings
warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm, which parfive brings, would like widgets
"""


def notebooks() -> list[Path]:
    """All of them."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:
    """A notebook, as its file has it."""
    return nbformat.read(path, as_version=4)


@dataclass
class Bench:
    """A kernel, which imports the libraries once for all notebooks, beside a mirror."""

    folder: Path
    kernel: KernelManager

    def run(self, path: Path) -> Any:
        """The notebook with what its cells print and draw; CellExecutionError where one does not work."""
        book = copy.deepcopy(read(path))
        book.cells.insert(0, nbformat.v4.new_code_cell(_SETUP))
        client = NotebookClient(
            book, km=self.kernel, timeout=PATIENCE, resources={"metadata": {"path": str(self.folder)}},
            record_timing=False,
        )  # fmt: skip
        try:
            client.execute(reset_kc=True)
        finally:
            if client.kc is not None:
                client.kc.stop_channels()
                client.kc.context.destroy()
        del book.cells[0]
        for number, cell in enumerate((c for c in book.cells if c.cell_type == "code"), start=1):
            cell.execution_count = number
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = number
        book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        return book


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A simulator, a mirror and a kernel; all end with the block."""
    with server("simulate", "--port", "0", "--side", str(SIDE), cwd=folder, env={}) as upstream:
        settings = {
            "MIRROR_UPSTREAM__URL": upstream, "MIRROR_SERVER__PORT": "0", "MIRROR_STORAGE__PATH": str(folder / "store"),
        }  # fmt: skip
        with server("serve", cwd=folder, env=settings) as url:
            kernel = KernelManager(kernel_name="python3")
            (folder / "work").mkdir()
            kernel.start_kernel(cwd=str(folder / "work"), env=_environment(url))
            try:
                yield Bench(folder / "work", kernel)
            finally:
                kernel.shutdown_kernel(now=True)
                kernel.cleanup_resources()


def _environment(url: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MIRROR_")}
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return {**kept, "MIRROR_URL": url, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


def printed(book: Any) -> list[str]:
    """What its cells print, which is the same at every run."""
    return [o.text for cell in book.cells if cell.cell_type == "code" for o in cell.outputs if o.output_type == "stream"]
