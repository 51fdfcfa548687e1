"""Ask AWS with whatever environment there is, let no request leave, and print what the SDK made of it.

python sdk_probe.py as_child|plain: `as_child` as the short-lived child does, `plain` with botocore alone.
"""

from __future__ import annotations

import json
import os
import sys
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OPENED: list[str] = []
CREDENTIALS = (
    b'<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    b"<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAOFSTS</AccessKeyId>"
    b"<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>"
    b"<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
    b"</AssumeRoleWithWebIdentityResponse>"
)


def main(way: str) -> None:
    sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if event == "open" else None)
    if way == "as_child":
        from sidecar.child import late_imports

        late_imports.put_off()
    import botocore.session
    from botocore.awsrequest import AWSResponse

    seen: dict[str, Any] = {}

    def stop(request: Any, event_name: str = "", **_: Any) -> Any:
        signed = request.headers.get("Authorization", b"")
        signed = signed.decode() if isinstance(signed, bytes) else signed
        scope = signed.partition(", SignedHeaders")[0].split("/")
        sts = ".sts." in event_name
        name = "licenses" if ".license-manager." in event_name else "metering"
        seen["sts" if sts else name] = {
            "scheme": urlsplit(request.url).scheme,
            "host": urlsplit(request.url).netloc,
            "signed": [scope[0], *scope[2:]],
        }
        return AWSResponse(request.url, 200, {}, Raw(CREDENTIALS if sts else b"{}"))

    if way == "as_child":
        from sidecar.marketplace import sdk_environment
        from sidecar.marketplace.client import Marketplace

        env = dict(os.environ)
        sdk_environment.take(env, None, in_platform=True)
        marketplace = Marketplace(region="us-east-1", endpoint_url=None, env=env)
        client, licenses = marketplace.metering(), marketplace.licenses()
        session = marketplace._session
    else:
        session = botocore.session.get_session()
        client = session.create_client("meteringmarketplace", region_name="us-east-1")
        licenses = session.create_client("license-manager", region_name="us-east-1")
    session.register("before-send", stop)
    for one in (client, licenses):
        one.meta.events.register("before-send", stop)
    client.register_usage(ProductCode="x", PublicKeyVersion=1)
    licenses.check_in_license(LicenseConsumptionToken="x")
    seen["verify"] = str(client._endpoint.http_session._verify)
    seen["verify_licenses"] = str(licenses._endpoint.http_session._verify)
    seen["plugin"] = "hostile_plugin" in sys.modules
    prefixes = (sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[3]))
    seen["opened"] = sorted({path for path in OPENED if not path.startswith(prefixes) and not path.isdigit()})
    sys.stdout.write(json.dumps(seen))


class Raw(BytesIO):
    """A body as the SDK reads it."""

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.read()


if __name__ == "__main__":
    main(sys.argv[1])
