"""Make each kind of step happen; `steps` says how often.

Invariants:
- A function is named as its step, takes the world, and takes all chance from it.
"""

from __future__ import annotations

import math
import shutil
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sidecar.errors import SidecarError
from sidecar.ledger import kept_file, sealing
from sidecar.metering.events import PushAccepted
from sidecar.metering.hours import Hour
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, IllegalTransition, State
from sidecar.quick_dataclasses import replace
from tests.simulation import calm
from tests.simulation.disk import FAULTS
from tests.simulation.product import read
from tests.simulation.violation import Violation
from tests.simulation.weather import WEATHERS

if TYPE_CHECKING:
    from tests.simulation.world import World

UNCLEAR_MAX = 4
FORGERIES = ("wrong_nonce", "wrong_product", "wrong_version", "wrong_key", "truncated")
STEPS_AHEAD = 60
"""Steps of the process among which a crash falls."""
TROUBLED_SECONDS_MAX = 10 * 3600.0
LOOKS = 4
"""Passes that are run at the end of a wait in which nothing is wrong, with `LOOK_SECONDS` after each: an hour closes
meanwhile. The real loop runs one every 30 seconds; those of a long wait come seldom here."""
LOOK_SECONDS = 1200.0


def push(world: World) -> None:
    """Let the product push, once or several times at once."""
    pod, now = world.running(), world.clock.now()
    if len(world.model.unclear) >= UNCLEAR_MAX:
        return
    dimensions = {one.name: one for one in pod.settings.dimensions}
    bodies = [
        world.product.body(dimensions, now, list(world.model.ids)) for _ in range(world.chance.choice((1, 1, 2, 3)))
    ]
    requests = [events for body in bodies if (events := read(body, dimensions, now))]
    batches = [world.batch(events) for events in requests]
    world.pushes += len(requests)
    for batch, answer in zip(batches, pod.push(requests) if requests else [], strict=True):
        _note(world, batch, answer)
    if world.disk.dead:
        world.disk.crash()
    pod.pushed()


def _note(world: World, batch: object, answer: object) -> None:
    from tests.simulation.model import Batch

    assert isinstance(batch, Batch)
    expected = world.model.expected(batch)
    status = getattr(answer, "status", None)
    if answer is None or status == 503:
        ledger = world.pod.ledger if world.pod else None
        if answer is not None and ledger is not None and world.disk.fault is None and not world.disk.dead:
            raise Violation(f"refused without a cause: {answer}")
        if answer is None or ledger is not None:
            world.model.unclear.append(batch)
    elif world.model.unclear:
        if isinstance(answer, PushAccepted):
            batch.acknowledged = True
            world.model.unclear.append(batch)  # what an earlier one left open decides how it counts
    elif isinstance(answer, PushAccepted):
        if answer != expected:
            raise Violation(f"a push was answered {answer}, not {expected}")
        world.model.take(batch)
    elif status != expected:
        raise Violation(f"a push was answered {answer}, not {expected}")


def wait(world: World) -> None:
    """Let some minutes pass."""
    world.running()
    world.advance(world.chance.uniform(1, 1500))


def hours(world: World) -> None:
    """Let some hours pass."""
    world.running()
    world.advance(world.chance.uniform(1800, 8 * 3600))


def quiet(world: World) -> None:
    """Let nothing happen for hours or days."""
    _pass(world, math.exp(world.chance.uniform(math.log(6 * 3600), math.log(5 * 86400))))


def holiday(world: World) -> None:
    """Mend everything, and let nothing happen for weeks."""
    weather(world)
    world.aws.weather, world.disk.fault = "clear", None
    world.aws.state.subscribe()
    world.clock.correct()
    _pass(world, world.chance.uniform(5 * 86400, 60 * 86400))


def _pass(world: World, seconds: float) -> None:
    """Let time pass; where nothing is wrong, everything must be settled then."""
    world.running()
    if not _calm(world):
        world.advance(min(seconds, TROUBLED_SECONDS_MAX))
        return
    first = _first_open(world)
    world.advance(seconds)
    for _ in range(LOOKS):
        world.running().run_pass()
        world.advance(LOOK_SECONDS)
    world.running().run_pass()
    pod = world.pod
    if first is not None and pod is not None and not pod.ended and _calm(world):
        world.calms += 1
        calm.check(world, first)


def _calm(world: World) -> bool:
    """Return whether nothing is wrong, and AWS takes what this workload sends."""
    well = world.aws.weather == "clear" and world.disk.fault is None and not world.clock.offset
    return well and bool(world.aws.state.subscriptions) and not world.aws.forging


def _first_open(world: World) -> Hour | None:
    """Return the first hour that ends from now on and is not sealed; None where the gate does not open."""
    pod = world.running()
    if not pod.gate.has_opened:
        pod.check_gate()
    pod.run_pass()
    if not pod.gate.has_opened or pod.ended:
        return None
    connection = world.live()
    if connection is None:
        raise Violation(f"no ledger is open though nothing is wrong: {pod.loop.fault}")
    return max(Hour.at(world.clock.now()), sealing.open_from(connection))


def weather(world: World) -> None:
    """Change how AWS and the network are; half of the time for the better."""
    world.aws.forging = ""
    world.aws.weather = "clear" if world.chance.random() < 0.5 else world.chance.choice(sorted(WEATHERS))


def disk_fault(world: World) -> None:
    """Break the disk, or mend it."""
    if world.disk.fault is not None or world.chance.random() < 0.3:
        world.disk.fault = None
        return
    world.disk.fault = world.chance.choice(FAULTS)
    world.disk.often = world.chance.choice((1.0, 0.3, 0.05))


def crash_later(world: World) -> None:
    """Kill the container at one of its next steps, and let it do some at once."""
    world.running()
    world.disk.arm(world.chance.randrange(STEPS_AHEAD), world.disk.crash)
    if world.chance.random() < 0.5:
        push(world)
    world.advance(world.chance.uniform(1, 5000))


def kill(world: World) -> None:
    """Kill the container now."""
    world.running()
    world.disk.dead = True
    world.disk.step()


def stop(world: World) -> None:
    """End the container as SIGTERM does; it starts again in the same pod."""
    world.running().finish()
    world.clock.advance(world.chance.choice((1.0, 30.0, 4000.0)))


def stop_later(world: World) -> None:
    """Send SIGTERM while something is done."""
    pod = world.running()
    world.disk.arm(world.chance.randrange(STEPS_AHEAD), pod.sigterm)
    world.advance(world.chance.uniform(1, 5000))


def successor(world: World) -> None:
    """Replace the pod; the next one has the old one's volume."""
    _end(world)
    world.next_workload()
    world.clock.advance(world.chance.choice((2.0, 600.0, 30_000.0)))
    world.start()


def _end(world: World) -> None:
    """End the pod for good, and look at what it left before another one is started."""
    pod = world.running()
    if world.chance.random() < 0.5:
        pod.finish()
    else:
        world.disk.dead = True
        pod.kill()
        world.disk.revive()
    world.pod = None
    world.check()


def failing_successor(world: World) -> None:
    """Replace the pod while the disk fails now and then; the product sends to the next one what it sent before."""
    push(world)
    world.disk.fault, world.disk.often = world.chance.choice(FAULTS), world.chance.choice((0.4, 0.2, 0.1))
    _end(world)
    world.next_workload()
    world.start()
    world.advance(world.chance.choice((1.0, 20.0)))
    push(world)
    world.disk.fault = None
    world.advance(60)
    for _ in range(4):
        push(world)


def copied_answer(world: World) -> None:
    """Replace the pod, give the next one what the old one's gate may open by, and have AWS out of reach."""
    old = world.workload
    _end(world)
    world.next_workload()
    for path_of in (kept_file.answer_path, kept_file.pass_path):
        if path_of(world.volume, old).exists():
            shutil.copyfile(path_of(world.volume, old), path_of(world.volume, world.workload))
    world.aws.weather = "outage"
    world.start()


def person(world: World) -> None:
    """Let a person run `usage retry` in one of its forms."""
    pod, chance = world.running(), world.chance
    waiting = sorted(key for key, one in world.auditor.unsettled.items() if one.state is not State.SEALED)
    key = chance.choice(waiting) if waiting else (world.workload, "requests", Hour.at(world.clock.now()).number)
    action = chance.choice((Action.RETRY, Action.ROLL_FORWARD, Action.CONFIRM, Action.ACCEPT_AWS))
    one = action in (Action.CONFIRM, Action.ACCEPT_AWS)  # these two name hour and dimension
    resolution = Resolution(
        action=action,
        hour=Hour.numbered(key[2]) if one or chance.random() < 0.5 else None,
        dimension=key[1] if one or chance.random() < 0.5 else None,
        record_id="said-by-a-person" if action is Action.CONFIRM else None,
        quantity=Decimal(chance.choice((0, 1, 77))) if action is Action.ACCEPT_AWS else None,
        workload=key[0] if chance.random() < (0.3 if key[0] == world.workload else 0.9) else None,
    )
    world.check()
    world.person = replace(resolution, workload=resolution.workload or world.workload)
    try:
        pod.service.usage.resolve(resolution)
    except (SidecarError, IllegalTransition):
        pass


def jump(world: World) -> None:
    """Set the host's clock wrong, forward or back."""
    world.running()
    size = world.chance.choice((20, 200, 3700, 20_000, 90_000))
    world.clock.jump(size * world.chance.choice((1, -1)))
    world.advance(world.chance.uniform(30, 4000))


def correct_clock(world: World) -> None:
    """Set the host's clock right."""
    world.clock.correct()


def suspend(world: World) -> None:
    """Suspend the host for minutes or hours."""
    world.running()
    world.clock.suspend(world.chance.choice((60, 3600, 25_000)))
    world.aws.deliver()
    world.advance(60)


def change_settings(world: World) -> None:
    """Change the settings; the container starts again with them."""
    world.running().finish()
    world.pod = None
    world.configuration.change(world.chance)
    world.start()


def report_elsewhere(world: World) -> None:
    """Have another reporter send something for an hour of this workload."""
    pod = world.running()
    instant = world.clock.true.now() - timedelta(minutes=world.chance.choice((0, 30, 70)))
    name = world.chance.choice(pod.settings.dimensions).name
    world.aws.report_elsewhere(world.workload, name, instant, Decimal(world.chance.choice((1, 3, 40))))


def subscription(world: World) -> None:
    """End the subscription, or begin it again."""
    if world.aws.state.subscriptions:
        world.aws.state.unsubscribe()
    else:
        world.aws.state.subscribe()


def forge(world: World) -> None:
    """Put somebody in AWS's place, and have the next pod ask there."""
    world.aws.forging = world.chance.choice(FORGERIES)
    successor(world)


def recheck(world: World) -> None:
    """Let a person have AWS asked again."""
    pod = world.running()
    if pod.gate.recheck() == 0 and not pod.gate.has_opened:
        pod.check_gate()


def send_now(world: World) -> None:
    """Send what is held, whatever its pause."""
    pod = world.running()
    pod.loop.send_now()
    pod.run_pass()


def announce_end(world: World) -> None:
    """Announce the end as a preStop hook does; SIGTERM follows."""
    pod = world.running()
    pod.loop.send_now()
    pod.run_pass()
    push(world)
    world.running().finish()
