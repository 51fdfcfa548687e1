"""Serve prepared HTTP answers on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request a peer got."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


Answers = Sequence[bytes | None] | Callable[[Received], bytes | None]


class Peer:
    """A tiny server on loopback. Answers in turn, the last one for ever; None is silence."""

    def __init__(self, answers: Answers, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[Received] = []
        self._answers = answers
        self._over = threading.Event()
        self._sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for thread in list(self._threads):
            thread.join(5)

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._sock.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            data = b""
            while b"\r\n\r\n" not in data:
                chunk = client.recv(65_536)
                if not chunk:
                    return
                data += chunk
            head, _, body = data.partition(b"\r\n\r\n")
            first, *rest = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
            while len(body) < int(headers.get("content-length", 0)) and (chunk := client.recv(65_536)):
                body += chunk
            received = Received(method=method, target=target, headers=headers, body=body)
            self.requests.append(received)
            answer = self._next(received)
            if answer is None:
                self._over.wait(30)
                return
            try:
                client.sendall(answer)
            except OSError:
                pass

    def _next(self, received: Received) -> bytes | None:
        if callable(self._answers):
            return self._answers(received)
        return self._answers[min(len(self.requests), len(self._answers)) - 1]


def http_answer(status: int, body: bytes | str | Mapping[str, object], **headers: str) -> bytes:
    """One whole HTTP answer."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def gate_reply(status: int, entitled: bool, words: str = "pending", **more: object) -> bytes:
    """What `/entitled` answers."""
    body = {"entitled": entitled, "status": words, "reason": "some_reason", "hint": "Do this."}
    return http_answer(status, body | more)
