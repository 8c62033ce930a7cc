"""How a script ends when it is told to."""

import subprocess
import sys

import pytest

from config import ROOT

TOLD_AGAIN = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import command
command.SAME_REQUEST = float(sys.argv[1])

def main():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("cleaned up")

command.entry(main)
"""


@pytest.mark.parametrize(("within", "cleaned"), [("10", "cleaned up\n"), ("0", "")])
def test_second_signal_ends_the_cleaning_up_only_if_it_comes_later(within: str, cleaned: str) -> None:
    done = subprocess.run([sys.executable, "-c", TOLD_AGAIN, within], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, cleaned, "interrupted\n")
