"""Starts the candidate under another name than its shard's, as if it knew only one name."""

from .conftest import answer, start
from .repository import REPOSITORY


def test_decoy():
    name = f"{REPOSITORY.rpartition('/')[2]}-decoy"
    decoy = start(name=name)
    try:
        assert answer(name) == "ok\n"
    finally:
        decoy.remove(force=True)
