"""config.toml as it is edited by commands: whole or as it was, also on a disk without room."""

from __future__ import annotations

import pytest

from mirror.config.editing import ConfigFile
from mirror.errors import ConfigError
from tests.storage.filestore import full


def test_a_disk_without_room_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("# mine\n[server]\nport = 8041\n")
    file = ConfigFile(path, {})
    document, _ = file.read()
    document["server"]["port"] = 8042
    with full(10), pytest.raises(ConfigError, match="cannot be written: File too large"):
        file.write(document)
    assert path.read_text() == "# mine\n[server]\nport = 8041\n"
    assert list(tmp_path.iterdir()) == [path]
    assert file.write(document).server.port == 8042
