"""The status page as the real process serves it."""

from __future__ import annotations

import http.client
from pathlib import Path

from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar

TOKEN = "hunter2-hunter2-hunter2"


def ask(port: int, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
        found = connection.getresponse()
        return found.status, dict(found.getheaders()), found.read().decode()
    finally:
        connection.close()


def test_the_page_is_on_the_products_listener_alone_and_shows_no_secret(aws: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "api-token"
    file.write_text(TOKEN)
    with Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests", SIDECAR_API_TOKEN_FILE=str(file)) as sidecar:
        sidecar.shows("entitled")
        assert ask(sidecar.probe_port)[0] == 404
        assert ask(sidecar.api_port)[0] == 401
        status, headers, text = ask(sidecar.api_port, Authorization=f"Bearer {TOKEN}")
        assert status == 200
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "Entitled" in text
        assert sidecar.pod in text
        identity = Path(sidecar.env["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text()
        for secret in (TOKEN, identity, aws.public_key(), aws.public_key()[40:80]):
            assert secret not in text
        assert ask(sidecar.api_port, "POST", Authorization=f"Bearer {TOKEN}")[0] == 405


def test_a_browser_led_here_by_another_site_gets_no_page(aws: Emulator, tmp_path: Path) -> None:
    cases = [
        ({"Host": "evil.example"}, "host_refused"),
        ({"Sec_Fetch_Site": "cross-site"}, "cross_origin"),
        ({"Origin": "https://evil.example"}, "cross_origin"),
    ]
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        for headers, reason in cases:
            status, _, text = ask(sidecar.api_port, **headers)
            assert (status, reason in text, "Entitled" in text) == (403, True, False), headers
