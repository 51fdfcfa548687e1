"""Run `injector`: the webhook that puts the sidecar into other charts' pods.

Invariants:
- It asks nothing of AWS, and meters nothing: each injected pod has a sidecar of its own for that.
- After SIGTERM it goes on for a moment, not ready: the API server may still send it requests.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.cli.commands import Commands
from sidecar.errors import Exit, Problem, SettingsError

if TYPE_CHECKING:
    from sidecar.injector.pieces import Document
    from sidecar.injector.rotation import Keeper
    from sidecar.injector.server import InjectorServer

PIECES: Final = Path("/etc/entitlement-sidecar-injector/pieces.json")
PORT: Final = 9443
LEVELS: Final = ("debug", "info", "warning", "error")
ROTATE_SECONDS: Final = 30 * 24 * 3600.0
SETTLE_SECONDS: Final = 600.0
DRAIN_SECONDS: Final = 15.0
"""A Service leads here for a moment more, longer on a busy node. The pod's grace is 30."""
LEAST: Final = {"rotate_seconds": 1.0, "settle_seconds": 1.0, "drain_seconds": 0.0}
MOST: Final = 10 * 365 * 24 * 3600.0
"""Ten years. A certificate's last day has a year of four digits."""
API_SERVER: Final = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    add = commands.add(
        "injector",
        run,
        "be the webhook that puts the sidecar into annotated pods; the injector's chart starts it",
        "0 after SIGTERM, 69 when the port is taken, 78 where a flag or the chart's document is wrong",
        "entitlement-sidecar injector --namespace gate --service injector --secret injector --webhook injector",
    ).add_argument
    add(
        "--pieces",
        type=Path,
        default=PIECES,
        metavar="F",
        help="document that the chart renders (default: %(default)s)",
    )
    add("--port", type=int, default=PORT, metavar="N", help="where it listens (default: %(default)s)")
    add("--namespace", required=True, metavar="N", help="namespace of the service; its pods are never injected")
    add("--service", required=True, metavar="S", help="service by which the API server reaches it")
    add("--secret", metavar="S", help="Secret in which the injectors keep their authority")
    add("--webhook", metavar="W", help="webhook configuration that is to trust that authority")
    add("--certificate", type=Path, metavar="DIR", help="tls.crt and tls.key that cert-manager makes, instead of both")
    for name, default, help_ in (
        ("--rotate-seconds", ROTATE_SECONDS, "how long an authority is used"),
        ("--settle-seconds", SETTLE_SECONDS, "how long an authority is published before it is used"),
        ("--drain-seconds", DRAIN_SECONDS, "how long requests are answered after SIGTERM"),
    ):
        add(name, type=float, default=default, metavar="S", help=f"{help_} (default: {default:.0f})")
    add("--log-level", choices=LEVELS, default="info", help="least severe event that is logged (default: info)")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM. Raises SettingsError."""
    from sidecar import log
    from sidecar.injector import pieces, rotation

    document, keeper = pieces.read(args.pieces), _keeper(args)
    log.start(args.log_level)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        server = _server(args, document, keeper)
    except OSError as exc:
        log.error("injector.not_started", port=args.port, hint=f"{exc.strerror}. Move it with --port")
        log.LINES.drain(1)
        return Exit.UNAVAILABLE
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    log.event("injector.started", port=server.server_port)
    rotation.keep(keeper, server.use, _now, over.wait)
    server.ending = True
    threading.Event().wait(args.drain_seconds)
    log.event("injector.stopped")
    log.LINES.drain(1)
    return Exit.OK


def _server(args: argparse.Namespace, document: Document, keeper: Keeper) -> InjectorServer:
    """Return the server, listening. Its first certificate is good for the kubelet, which verifies none."""
    from sidecar.injector import certificate
    from sidecar.injector.server import InjectorServer

    now = _now()
    first = certificate.make_authority(now, now + timedelta(days=1))
    context = certificate.server_context(*certificate.issue(first, "starting"))
    return InjectorServer(args.port, document, args.namespace, context, lambda: keeper.ready(_now()))


def _keeper(args: argparse.Namespace) -> Keeper:
    """Return what keeps the certificate. Raises SettingsError."""
    from sidecar.injector.authority import Times
    from sidecar.injector.cluster import Cluster
    from sidecar.injector.rotation import Mounted, OwnAuthority

    host, port = (os.environ.get(name, "") for name in API_SERVER)
    problems = _time_problems(args)
    if not args.certificate:
        problems += _cluster_problems(args, host, port)
    if problems:
        raise SettingsError(problems)
    if args.certificate:
        return Mounted(args.certificate)
    cluster = Cluster(host=host, port=int(port), namespace=args.namespace, secret=args.secret, webhook=args.webhook)
    times = Times(rotate=timedelta(seconds=args.rotate_seconds), settle=timedelta(seconds=args.settle_seconds))
    return OwnAuthority(cluster, f"{args.service}.{args.namespace}.svc", times)


def _time_problems(args: argparse.Namespace) -> list[Problem]:
    problems = [
        Problem(
            setting=f"--{name.replace('_', '-')}", fault=f"is {getattr(args, name):g}. Give {least:g} to {MOST:.0f}."
        )
        for name, least in LEAST.items()
        if not least <= getattr(args, name) <= MOST
    ]
    if args.rotate_seconds < args.settle_seconds:
        fault = "is more than --rotate-seconds: authorities would be made faster than they are replaced. Give less."
        problems.append(Problem(setting="--settle-seconds", fault=fault))
    return problems


def _cluster_problems(args: argparse.Namespace, host: str, port: str) -> list[Problem]:
    problems = []
    if not (args.secret and args.webhook):
        problems.append(Problem(setting="--secret", fault="or --webhook is missing. Give both, or --certificate."))
    if not (host and port.isdigit()):
        problems.append(Problem(setting=API_SERVER[0], fault="is not set: the injector runs in a pod of the cluster."))
    return problems


def _now() -> datetime:
    return datetime.now(UTC)
