# SPDX-License-Identifier: GPL-2.0-or-later
"""Python finds the collection by its name, wherever the clone is."""

import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parents[1]
_folder = tempfile.TemporaryDirectory()
_space = pathlib.Path(_folder.name) / "ansible_collections" / "livepatch"
_space.mkdir(parents=True)
(_space / "klp").symlink_to(HERE)
sys.path.insert(0, _folder.name)
