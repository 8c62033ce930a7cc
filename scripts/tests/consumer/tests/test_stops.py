"""Stops the emulator and waits an hour for it."""

import pytest

from .conftest import PORT, answer, start

SERVE = f"/bin/busybox httpd -f -h /www -p {PORT}"
HANDLES = f"trap '/bin/busybox sleep 4; exit 7' TERM; {SERVE} & wait"


def shell(script):
    return {"entrypoint": ["/bin/busybox", "sh", "-c", script], "command": []}


@pytest.mark.parametrize(
    ("options", "exit_code"),
    [
        pytest.param({}, 137, id="ignores"),
        pytest.param(shell(HANDLES), 7, id="handles"),
        pytest.param({"init": True} | shell(HANDLES), 7, id="init"),
    ],
)
def test_exit_code(options, exit_code):
    container = start(**options)
    try:
        answer(f"http://localhost:{PORT}")
        container.stop(timeout=3600)
        assert container.wait()["StatusCode"] == exit_code
    finally:
        container.remove(force=True)
