"""Which command is meant? Arguments in, exit code out.

Rules kept here:
- The environment is read here and handed on.
- `healthcheck` runs every few seconds in every task: it is told before anything is imported for the rest.
- Each command's help says what it does, how it ends, and shows an example.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from sidecar.settings import Settings

MANIFEST = "/etc/entitlement-sidecar/product.yaml"
PLAYING = "Start with `entitlement-sidecar demo`: it needs no AWS account."
NOT_PLAYING = "Built for production: `emulator` and `demo` are in the Python package and in the image for tests."


def main(argv: Sequence[str] | None = None, manifest: str = MANIFEST) -> int:
    """Run one command. `manifest` is where the image seals its product; only tests move it."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given == ["healthcheck"]:
        from sidecar.cli.local_client import healthcheck

        fine, line = healthcheck(manifest)
        sys.stdout.write(line + "\n")
        return 0 if fine else 1
    if given[:1] == ["run"]:
        # As PID 1 there is no default, and a container may be stopped before the rest is imported.
        signal.signal(signal.SIGTERM, _end_at_once)
    if given == ["run"]:  # every pod starts so: no argument needs a parser, nothing made is garbage yet
        gc.disable()
        return _ended(lambda: _serve({}, Path(manifest)))
    return _ended(lambda: _dispatch(given, Path(manifest)))


def _end_at_once(_signal: int, _frame: object) -> None:
    """Nothing is begun yet. An exception here could be swallowed by whatever it interrupts."""
    os._exit(0)


def _ended(command: Callable[[], int]) -> int:
    """The exit code of a command, whichever way it ends."""
    from sidecar.errors import SettingsError

    try:
        return int(command())
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        return 78
    except KeyboardInterrupt:
        return 130


def _dispatch(given: list[str], manifest: Path) -> int:
    command, rest = _split_at_dashes(given)
    parser = build_parser()
    args, unknown = parser.parse_known_args(command)
    if unknown:
        _refuse(parser, args.command, unknown)
    args.manifest_path, args.command_line = manifest, rest
    if args.command == "run":
        return _run(args)
    from sidecar.cli.output import printed

    return printed(lambda: int(args.run(args)))


def _refuse(parser: argparse.ArgumentParser, command: str, unknown: list[str]) -> None:
    """A flag nobody knows: where settings are given by flags it is a bad setting, else a wrong call."""
    from difflib import get_close_matches

    from sidecar.errors import Problem, SettingsError
    from sidecar.settings import SETTINGS

    flags = [word for word in unknown if word.startswith("-")]
    if command not in ("run", "settings") or not flags:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    problems = []
    for flag in flags:
        near = get_close_matches(flag.partition("=")[0], [setting.flag for setting in SETTINGS], n=1)
        fault = "is not a flag." + (f" Did you mean {near[0]}?" if near else "")
        problems.append(Problem(setting=flag, fault=fault))
    raise SettingsError(problems)


def _split_at_dashes(given: list[str]) -> tuple[list[str], list[str]]:
    """What stands before `--`, and after it: argparse would mix them."""
    if given[:1] == ["exec"] and "--" in given:
        at = given.index("--")
        return given[:at], given[at + 1 :]
    return given, []


def build_parser() -> argparse.ArgumentParser:
    """Every command with its help."""
    import argparse

    from sidecar import __version__
    from sidecar.cli import ecs_render, usage_parser

    playing = _can_play()
    parser = argparse.ArgumentParser(
        prog="entitlement-sidecar",
        description="Asks AWS Marketplace whether a paid container may run, proves the answer, and gates the"
        " product on it.",
        epilog=PLAYING if playing else NOT_PLAYING,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], does: str, ends: str, example: str, parent: object = None
    ) -> argparse.ArgumentParser:
        into: argparse._SubParsersAction[argparse.ArgumentParser] = parent or commands  # type: ignore[assignment]
        command = into.add_parser(
            name,
            help=does,
            description=f"{does[0].upper()}{does[1:]}.",
            epilog=f"exit: {ends}\n\nexample:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.set_defaults(run=run)
        return command

    _add_running(add)
    _add_clients(add)
    usage_parser.add_parsers(add)
    _add_checks(add, commands)
    ecs_render.add_parsers(add, commands)
    if playing:
        _add_playing(add)
    return parser


def _add_running(add: Callable[..., argparse.ArgumentParser]) -> None:
    _add_settings(
        add(
            "run",
            _run,
            "be the sidecar: ask AWS, verify, hold the gate",
            "0 after SIGTERM, 77 denied with on_denied=exit, 78 bad settings, 70 broken",
            "SIDECAR_PRODUCT_CODE=… SIDECAR_PUBLIC_KEY_FILE=key.pem entitlement-sidecar run",
        )
    )


def _add_clients(add: Callable[..., argparse.ArgumentParser]) -> None:
    wait = add(
        "wait",
        _wait,
        "block until the gate is open; says on stderr what it waits for",
        "0 entitled, 69 timed out, 77 denied",
        "entitlement-sidecar wait --timeout 600 --url http://product:8484",
    )
    wait.add_argument("--timeout", type=_seconds, metavar="S", help="give up after S seconds (default: never)")
    wait.add_argument("--url", metavar="U", help="another workload's sidecar (default: the one of this container)")
    execute = add(
        "exec",
        _exec,
        "wait, then become CMD: the gate for an image's entrypoint",
        "as wait, then CMD's; 126 or 127 where CMD cannot be run",
        "entitlement-sidecar exec --timeout 600 -- /usr/bin/product --serve",
    )
    execute.usage = "entitlement-sidecar exec [--timeout S] -- CMD …"
    execute.add_argument("--timeout", type=_seconds, metavar="S", help="give up after S seconds (default: never)")
    add(
        "healthcheck",
        _healthcheck,
        "look at the gate once and print status, reason and hint in one line",
        "0 entitled, 1 otherwise",
        'ECS: "healthCheck": {"command": ["CMD", "entitlement-sidecar", "healthcheck"]}',
    )
    add(
        "recheck",
        _recheck,
        "ask AWS again now, whatever the pause",
        "0 asked, 69 not asked",
        "kubectl exec POD -c entitlement-sidecar -- entitlement-sidecar recheck",
    )


def _add_checks(add: Callable[..., argparse.ArgumentParser], commands: object) -> None:
    verify = add(
        "verify",
        _verify,
        "prove a token offline, as the sidecar does",
        "0 verified, 77 rejected, 78 unreadable key",
        "entitlement-sidecar verify - --public-key key.pem --key-version 1 --product-code C --nonce X < token",
    )
    verify.add_argument("token", metavar="TOKEN", help="the Signature of RegisterUsage; - reads stdin")
    verify.add_argument("--public-key", required=True, metavar="F", help="file with the public key, PEM")
    verify.add_argument("--key-version", required=True, type=int, metavar="N", help="version of that key")
    verify.add_argument("--product-code", required=True, metavar="C", help="product code that was asked for")
    verify.add_argument("--nonce", required=True, metavar="X", help="nonce that was sent")
    _add_manifest(add, commands)
    settings = add(
        "settings",
        _settings,
        "show the effective settings, each with its source",
        "0, 78 bad settings",
        "entitlement-sidecar settings | column -t -s $'\\t'",
    )
    _add_settings(settings)
    form = settings.add_mutually_exclusive_group()
    form.add_argument("--schema", action="store_true", help="print the JSON Schema of the settings file instead")
    form.add_argument("--markdown", action="store_true", help="print the table of all settings as Markdown instead")


def _add_manifest(add: Callable[..., argparse.ArgumentParser], commands: object) -> None:
    manifest = commands.add_parser(  # type: ignore[attr-defined]
        "manifest", help="work on a product manifest", description="Work on a product manifest."
    )
    actions = manifest.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = add(
        "check",
        _manifest_check,
        "check a product manifest, while the image is built",
        "0 good, 78 not",
        "RUN entitlement-sidecar manifest check /etc/entitlement-sidecar/product.yaml",
        actions,
    )
    check.add_argument("file", metavar="FILE", nargs="?", help="the manifest")
    check.add_argument("--schema", action="store_true", help="print the manifest's JSON Schema instead")


def _can_play() -> bool:
    """False in an image for production: it is built without the emulator, and so without the demo."""
    from importlib.util import find_spec

    return find_spec("sidecar.emulator") is not None


def _add_playing(add: Callable[..., argparse.ArgumentParser]) -> None:
    from sidecar.emulator import cli as emulator

    emulate = add(
        "emulator",
        emulator.run,
        "play AWS Marketplace on this machine, with real signatures",
        "0 when told to end, 69 when the port is taken",
        "entitlement-sidecar emulator --port 8486 --product-code my-product",
    )
    emulator.add_arguments(emulate)
    add(
        "demo",
        _demo,
        "show emulator, sidecar and a tiny product together; ends by itself",
        "0 when the story went as told",
        "entitlement-sidecar demo",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    from sidecar.settings import SETTINGS

    group = parser.add_argument_group(
        "settings",
        "each also as SIDECAR_… or in the file of --config. Where listeners move, use one of these two: healthcheck,"
        " wait, exec, recheck, report and usage read them, not the flags of another process",
    )
    group.add_argument("--config", metavar="FILE", help="YAML file with settings under their lower-case names")
    for setting in SETTINGS:
        default = setting.default_text.replace("`", "") or setting.default
        meaning = f"{setting.meaning.replace('`', '')} (default: {default})".replace("%", "%%")
        group.add_argument(setting.flag, metavar="V", help=meaning)


def _seconds(words: str) -> float:
    import argparse

    try:
        value = float(words)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{words!r} is not a number of seconds, 0 or more")
    return value


def _flags(args: argparse.Namespace) -> dict[str, str]:
    from sidecar.settings import SETTINGS

    names = ["config", *(setting.name for setting in SETTINGS)]
    return {name: value for name in names if (value := getattr(args, name, None)) is not None}


def _load(flags: Mapping[str, str], manifest: Path) -> Settings:
    from sidecar.settings import Settings

    return Settings.load(os.environ, flags, manifest)


def _run(args: argparse.Namespace) -> int:
    return _serve(_flags(args), args.manifest_path)


def _serve(flags: Mapping[str, str], manifest: Path) -> int:
    from sidecar.app import run as serve

    return serve.run(os.environ, flags, manifest)


def _wait(args: argparse.Namespace) -> int:
    from sidecar.cli.wait import wait

    return wait(args.timeout, args.url)


def _exec(args: argparse.Namespace) -> int:
    from sidecar.cli.wait import wait_then_exec

    if not args.command_line:
        sys.stderr.write("exec: no command. Write it after --, as in: exec -- /usr/bin/product --serve\n")
        return 2
    return wait_then_exec(args.timeout, args.command_line)


def _healthcheck(args: argparse.Namespace) -> int:
    return main(["healthcheck"], str(args.manifest_path))


def _recheck(_: argparse.Namespace) -> int:
    from sidecar.cli.wait import recheck

    return recheck()


def _verify(args: argparse.Namespace) -> int:
    from sidecar.cli.verify import verify

    return verify(args.token, args.public_key, args.key_version, args.product_code, args.nonce)


def _manifest_check(args: argparse.Namespace) -> int:
    import json

    from sidecar.errors import Problem, SettingsError
    from sidecar.settings import describe, manifest, yaml_file

    if args.schema:
        sys.stdout.write(json.dumps(describe.manifest_schema(), indent=2, ensure_ascii=False) + "\n")
        return 0
    if not args.file:
        raise SettingsError([Problem(setting="FILE", fault="is missing.", example="product.yaml")])
    problems: list[Problem] = []
    path = Path(args.file)
    found = manifest.read(yaml_file.read(path), path, problems)
    if problems:
        raise SettingsError(problems)
    for product in found.products:
        versions = ", ".join(str(key.version) for key in product.public_keys) or "none"
        sys.stdout.write(f"product {product.code}: public key versions {versions}\n")
        if not product.public_keys:
            sys.stderr.write(f"warning: no key is sealed for {product.code}; whoever runs it may give their own\n")
    sys.stdout.write(f"sealed: {', '.join(sorted(found.sealed)) or 'nothing else'}\n")
    return 0


def _settings(args: argparse.Namespace) -> int:
    import json

    from sidecar.settings import describe

    if args.schema:
        sys.stdout.write(json.dumps(describe.file_schema(), indent=2, ensure_ascii=False) + "\n")
    elif args.markdown:
        sys.stdout.write(describe.markdown())
    else:
        sys.stdout.write(describe.effective(_load(_flags(args), args.manifest_path)))
    return 0


def _demo(_: argparse.Namespace) -> int:
    from sidecar.cli.demo import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
