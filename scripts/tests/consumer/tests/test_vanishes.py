"""Ends the process with exit code 0 before pytest can write anything."""

import os


def test_vanishes(health):
    os._exit(0)
