"""A proxy in front of the Docker engine, for engines that this machine does not have."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gate import engine

from .machine import missing

CREATES_CONTAINER = re.compile(rb"POST \S*/containers/create")
CONTENT_LENGTH = re.compile(rb"(content-length: *)(\d+)", re.IGNORECASE)


class EngineProxy:
    """Hands on what is said to the engine and by it.

    `change` is called with each container that the engine is asked to create, and may edit it.
    """

    def __init__(self, path: Path) -> None:
        """Listen at a socket of this path."""
        host = engine.docker_environment()["DOCKER_HOST"]
        if not host.startswith("unix://"):
            missing(f"the engine is not at a socket of this machine: {host}")
        self.address = f"unix://{path}"
        self.change: Callable[[dict[str, Any]], None] = lambda container: None
        self._engine_path = host.removeprefix("unix://")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and take no new one: the engine has gone away."""
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was cut
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._sockets += [client, server]
                server.connect(self._engine_path)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._hand_on, args=(source, sink), daemon=True
                    ).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if CREATES_CONTAINER.match(data):
                    data = self._changed(data, source)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _changed(self, data: bytes, source: socket.socket) -> bytes:
        """Return a request whose container went through `change`; read the rest of it first."""
        head, _, body = data.partition(b"\r\n\r\n")
        (length,) = (int(number) for _, number in CONTENT_LENGTH.findall(head))
        while len(body) < length:
            body += source.recv(65536)
        container = json.loads(body)
        self.change(container)
        body = json.dumps(container).encode()
        return (
            CONTENT_LENGTH.sub(rb"\g<1>%d" % len(body), head)
            + b"\r\n\r\n"
            + body
        )
