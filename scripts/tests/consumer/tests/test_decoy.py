"""Starts the candidate under another name than its shard's."""

from .conftest import start
from .repository import REPOSITORY


def test_decoy():
    start(name=f"{REPOSITORY.rpartition('/')[2]}-decoy", ports={}).remove(force=True)
