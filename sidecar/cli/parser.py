"""Build the command line: every command with its help, and the function that runs it.

Invariants:
- Each command's help says what it does, how it ends, and shows an example.
- A command's own modules are imported when it runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from sidecar import __version__
from sidecar.cli import doctor, ecs_render, injector, listing, manifest, saas, settings, support_bundle, usage_parser
from sidecar.cli.commands import Commands
from sidecar.cli.output import run_printing

DEMO: Final = "Start with `entitlement-sidecar demo`: it needs no AWS account."
SERVICES: Final = ("run", "saas")
"""Commands that print nothing while they serve."""
NO_DEMO: Final = "Built for production: `emulator` and `demo` are in the Python package and in the image for tests."


def run(given: list[str], manifest_path: Path) -> int:
    """Run the command that the arguments name and return its exit code. Raises SettingsError."""
    command, rest = _split_at_dashes(given)
    parser = build_parser()
    args, unknown = parser.parse_known_args(command)
    if unknown:
        _refuse(parser, args.command, unknown)
    args.manifest_path, args.command_line = manifest_path, rest
    if args.command in SERVICES:
        return int(args.run(args))
    return run_printing(lambda: int(args.run(args)))


def _refuse(parser: argparse.ArgumentParser, command: str, unknown: list[str]) -> None:
    """Raise SettingsError for an unknown flag of a command that takes settings; end with usage for any other."""
    from difflib import get_close_matches

    from sidecar.errors import Problem, SettingsError
    from sidecar.settings import SETTINGS

    flags = [word for word in unknown if word.startswith("-")]
    if command not in (*SERVICES, "settings") or not flags:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    problems = []
    for flag in flags:
        near = get_close_matches(flag.partition("=")[0], [setting.flag for setting in SETTINGS], n=1)
        fault = "is not a flag." + (f" Did you mean {near[0]}?" if near else "")
        problems.append(Problem(setting=flag, fault=fault))
    raise SettingsError(problems)


def _split_at_dashes(given: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before `--`, and after it: argparse would mix them."""
    if given[:1] == ["exec"] and "--" in given:
        at = given.index("--")
        return given[:at], given[at + 1 :]
    return given, []


def build_parser() -> argparse.ArgumentParser:
    """Return every command with its help."""
    emulator = has_emulator()
    parser = argparse.ArgumentParser(
        prog="entitlement-sidecar",
        description="Asks AWS Marketplace whether a paid container may run, proves the answer, and gates the"
        " product on it.",
        epilog=DEMO if emulator else NO_DEMO,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = Commands(parser, "command")
    _add_running(commands)
    _add_clients(commands)
    usage_parser.add_parsers(commands)
    _add_checks(commands)
    ecs_render.add_parsers(commands)
    listing.add_parsers(commands)
    injector.add_parser(commands)
    saas.add_parser(commands)
    if emulator:
        _add_emulator(commands)
    return parser


def _add_running(commands: Commands) -> None:
    settings.add_flags(
        commands.add(
            "run",
            _run,
            "be the sidecar: ask AWS, verify, hold the gate",
            "0 after SIGTERM, 77 denied with on_denied=exit, 78 bad settings, 70 broken",
            "SIDECAR_PRODUCT_CODE=… SIDECAR_PUBLIC_KEY_FILE=key.pem entitlement-sidecar run",
        )
    )


def _add_clients(commands: Commands) -> None:
    wait = commands.add(
        "wait",
        _wait,
        "block until the gate is open; print on stderr what it waits for",
        "0 entitled, 69 timed out, 77 denied",
        "entitlement-sidecar wait --timeout 600 --url http://product:8484",
    )
    wait.add_argument("--timeout", type=_seconds, metavar="S", help="give up after S seconds (default: never)")
    wait.add_argument(
        "--url", metavar="U", help="another workload's sidecar, or unix:/PATH (default: the one of this container)"
    )
    execute = commands.add(
        "exec",
        _exec,
        "wait, then become CMD: the gate for an image's entrypoint",
        "as wait, then CMD's; 126 or 127 where CMD cannot be run",
        "entitlement-sidecar exec --timeout 600 -- /usr/bin/product --serve",
    )
    execute.usage = "entitlement-sidecar exec [--timeout S] [--url U | --with-sidecar] -- CMD …"
    execute.add_argument("--timeout", type=_seconds, metavar="S", help="give up after S seconds (default: never)")
    execute.add_argument("--url", metavar="U", help="the sidecar to wait for where a pod has two, as in `wait`")
    execute.add_argument(
        "--with-sidecar",
        action="store_true",
        help="run the sidecar too, and stay the parent of both: for runtimes with one container and no pod. CMD ends"
        " first, then the sidecar sends the last usage",
    )
    commands.add(
        "healthcheck",
        _healthcheck,
        "read the gate once and print status, reason and hint in one line",
        "0 entitled, 1 otherwise",
        'ECS: "healthCheck": {"command": ["CMD", "entitlement-sidecar", "healthcheck"]}',
    )
    commands.add(
        "recheck",
        _recheck,
        "ask AWS again now, whatever the pause",
        "0 asked, 69 not asked",
        "kubectl exec POD -c entitlement-sidecar -- entitlement-sidecar recheck",
    )
    commands.add(
        "pre-stop",
        _pre_stop,
        "tell the sidecar that its pod has begun to end, as the preStop hook of its container",
        "0 told, 69 not told",
        'Kubernetes: "preStop": {"exec": {"command": ["entitlement-sidecar", "pre-stop"]}}',
    )


def _add_checks(commands: Commands) -> None:
    doctor.add_parser(commands)
    support_bundle.add_parser(commands)
    verify = commands.add(
        "verify",
        _verify,
        "verify a token offline, as the sidecar does",
        "0 verified, 77 rejected, 78 unreadable key",
        "entitlement-sidecar verify - --public-key key.pem --key-version 1 --product-code C --nonce X < token",
    )
    verify.add_argument("token", metavar="TOKEN", help="the Signature of RegisterUsage; - reads stdin")
    verify.add_argument("--public-key", required=True, metavar="F", help="file with the public key, PEM")
    verify.add_argument("--key-version", required=True, type=int, metavar="N", help="version of that key")
    verify.add_argument("--product-code", required=True, metavar="C", help="product code that was asked for")
    verify.add_argument("--nonce", required=True, metavar="X", help="nonce that was sent")
    manifest.add_parsers(commands)
    settings.add_parser(commands)


def has_emulator() -> bool:
    """Return False in an image for production: it is built without the emulator, and so without the demo."""
    from importlib.util import find_spec

    return find_spec("sidecar.emulator") is not None


def _add_emulator(commands: Commands) -> None:
    from sidecar.cli import demo
    from sidecar.emulator import cli as emulator
    from sidecar.emulator import flags

    emulate = commands.add(
        "emulator",
        emulator.run,
        "run a local AWS Marketplace, with real signatures",
        "0 after SIGTERM or Ctrl-C, 69 when the port is taken",
        "entitlement-sidecar emulator --port 8486 --product-code my-product",
    )
    flags.add_arguments(emulate)
    show = commands.add(
        "demo",
        _demo,
        "show emulator, sidecar and a tiny product together; ends by itself",
        "0 when every step had its expected result, 1 otherwise",
        "entitlement-sidecar demo --route hourly",
    )
    show.add_argument(
        "--route", choices=tuple(demo.ROUTES), default=next(iter(demo.ROUTES)), help="the pricing (%(default)s)"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def _run(args: argparse.Namespace) -> int:
    from sidecar.app.start import start

    return start(settings.flags(args), str(args.manifest_path))


def _wait(args: argparse.Namespace) -> int:
    from sidecar.cli.wait import wait

    return wait(args.timeout, args.url)


def _exec(args: argparse.Namespace) -> int:
    from sidecar.cli.wait import wait_then_exec

    if not args.command_line:
        sys.stderr.write("exec: no command. Write it after --, as in: exec -- /usr/bin/product --serve\n")
        return 2
    if args.with_sidecar and args.url:
        sys.stderr.write("exec: --with-sidecar runs the sidecar that CMD waits for; leave out --url\n")
        return 2
    if args.with_sidecar:
        from sidecar.cli.supervise import supervise

        return supervise(args.timeout, args.command_line)
    return wait_then_exec(args.timeout, args.command_line, args.url)


def _healthcheck(args: argparse.Namespace) -> int:
    from sidecar.cli.local_client import print_healthcheck

    return print_healthcheck(str(args.manifest_path))


def _recheck(_: argparse.Namespace) -> int:
    from sidecar.cli.wait import recheck

    return recheck()


def _pre_stop(_: argparse.Namespace) -> int:
    from sidecar.cli.wait import pre_stop

    return pre_stop()


def _verify(args: argparse.Namespace) -> int:
    from sidecar.cli.verify import verify

    return verify(args.token, args.public_key, args.key_version, args.product_code, args.nonce)


def _demo(args: argparse.Namespace) -> int:
    from sidecar.cli import demo

    return demo.run(args.route)
