"""Every decision that the documentation offers a person can be made, for the records that it names."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from sidecar.__main__ import main
from sidecar.api.flask_usage import ACTS, read_decision
from sidecar.ledger.gone_records import FOR_A_PERSON
from sidecar.ledger.ledger import Ledger
from sidecar.metering.decide import OUTCOME_UNKNOWN, Policy, decide, decide_if_late
from sidecar.metering.dispositions import ROWS
from sidecar.metering.license_dispositions import ROWS as LICENSE_ROWS
from sidecar.metering.outcomes import Refused
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Disposition, State
from sidecar.quick_dataclasses import dataclass, replace
from tests.fakes.config import NOWHERE
from tests.fakes.peer import Peer, http_answer
from tests.integration.ledger.support import OWNER, Story, balanced, event

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = ROOT / "docs" / "howto" / "resolve-records.md"
COMMAND: Final = re.compile(r"`(?:entitlement-sidecar )?(usage retry[^`]*|--(?:confirm|roll-forward|accept-aws)[^`]*)`")
BECOMES: Final = {"retry": State.SEALED, "roll_forward": State.ROLLED_FORWARD, "confirm": State.SETTLED}
BECOMES |= {"accept_aws": State.SETTLED}
FINAL: Final = (Disposition.DISPUTE, Disposition.REJECT, Disposition.REPAIR)
"""A repair is made once; AWS may refuse the repaired request, too."""
BY_CODE: Final = {row.reason: row.codes[0] for row in (*ROWS, *LICENSE_ROWS) if row.disposition in FINAL}


def commands(text: str) -> set[str]:
    """Return the commands, or their options, that a text names."""
    return {found.strip() for found in COMMAND.findall(text)}


def documented() -> list[str]:
    """Return every command about records that the pages, the README and the hints name."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "sidecar").rglob("*.py")]
    return sorted(set().union(*(commands(page.read_text()) for page in pages)))


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    table = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@dataclass
class Person:
    """Who types a command beside a sidecar with this ledger."""

    story: Story
    ledger: Ledger
    monkeypatch: pytest.MonkeyPatch

    def decides(self, command: str, record: UsageRecord) -> tuple[Resolution, UsageRecord]:
        """Type it, with the record's own hour and dimension; return what the sidecar reads, and makes of it."""
        options = command.removeprefix("usage retry")
        named = {"H": f"{record.hour.start:%Y-%m-%dT%H:%M:%SZ}", "D": record.dimension, "RECORD_ID": "m-1"}
        named |= {"QUANTITY": "5", "W": OWNER.workload}
        argv = [named.get(word, word) for word in shlex.split(options)]
        if "--confirm" in argv:
            argv += ["m-1"] * (argv[-1] == "--confirm")
        if "--accept-aws" in argv:
            argv += ["5"] * (argv[-1] == "--accept-aws")
        if {"--confirm", "--accept-aws"} & {*argv}:
            argv += [] if "--hour" in argv else ["--hour", named["H"], "--dimension", named["D"]]
        with Peer([http_answer(200, {"records": []})]) as peer:
            self.monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port}")
            assert main(["usage", "retry", *argv], str(NOWHERE)) == 0
        decision = read_decision(peer.requests[0].body)
        assert decision.hour in (None, record.hour)
        assert decision.dimension in (None, record.dimension)
        given = {"record_id": decision.record_id, "quantity": decision.quantity}
        act = self.ledger.apply_action
        return decision, act(record.hour, record.dimension, decision.action, self.story.now, **given)

    def waiting(self, state: State) -> UsageRecord:
        """Return a record that waits for a decision, in an hour of its own."""
        self.story.push(self.ledger, event(quantity="3"))
        (record,) = self.story.seal(self.ledger)
        self.ledger.mark_sending([record])
        told = replace(record, state=state, retry_at=None, definite=False, last_error="told")
        return self.ledger.save(told, self.story.now, outcome="told")

    def waiting_for(self, reason: str) -> UsageRecord:
        """Return a record that waits for this reason, as AWS's answer made it."""
        self.story.push(self.ledger, event(quantity="3"))
        (record,) = self.story.seal(self.ledger, 1 if reason in BY_CODE else 9)
        if reason in BY_CODE:
            while record.state is State.SEALED:  # until every repair was made
                answer, policy = Refused(code=BY_CODE[reason]), Policy(workload=OWNER.workload)
                decision = decide(record, answer, self.story.now, policy, 0.5)
                record = self.ledger.save(decision.record, self.story.now, outcome=decision.code)
            return record
        assert reason == OUTCOME_UNKNOWN[0]
        late = decide_if_late(replace(record, definite=False), self.story.now)
        assert late is not None
        return self.ledger.save(late.record, self.story.now, outcome=late.code)


@pytest.fixture
def person(story: Story, monkeypatch: pytest.MonkeyPatch) -> Person:
    return Person(story, story.open(), monkeypatch)


def test_the_pages_name_each_kind_of_decision(person: Person) -> None:
    record = person.waiting(State.REJECTED)
    found = set()
    for command in documented():
        decision, record = person.decides(command, record)
        found.add(decision.action)
        record = person.waiting(State.REJECTED)
    assert found == set(ACTS.values())


@pytest.mark.parametrize("state", FOR_A_PERSON)
@pytest.mark.parametrize("command", documented())
def test_a_decision_in_the_documentation_can_be_made(person: Person, command: str, state: State) -> None:
    decision, record = person.decides(command, person.waiting(state))
    assert record.state is BECOMES[decision.action.value]
    assert balanced(person.ledger)


@pytest.mark.parametrize("cells", rows("3. Decide"), ids=lambda cells: cells[1])
@pytest.mark.parametrize("state", FOR_A_PERSON)
def test_each_finding_has_its_decision_in_each_state(person: Person, cells: list[str], state: State) -> None:
    (command,) = commands(cells[1])
    person.decides(command, person.waiting(state))


BY_REASON: Final = [
    (reason, command)
    for cells in rows("By reason")
    for reason in re.findall(r"`(\w+)`", cells[0])
    for command in sorted(commands(cells[2]))
]


@pytest.mark.parametrize(("reason", "command"), BY_REASON)
def test_what_is_usual_for_a_reason_can_be_done(person: Person, reason: str, command: str) -> None:
    person.decides(command, person.waiting_for(reason))
    assert balanced(person.ledger)


def test_every_reason_for_a_person_has_a_decision_on_the_page() -> None:
    assert {reason for reason, _ in BY_REASON} == {*BY_CODE, OUTCOME_UNKNOWN[0]}


def test_confirming_a_dispute_settles_what_was_sealed(person: Person) -> None:
    """AWS's receipt is for the hour; the ledger counts its own quantity as settled, once."""
    record = person.waiting(State.DISPUTED)
    _, settled = person.decides("usage retry --hour H --dimension D --confirm RECORD_ID", record)
    assert (settled.state, settled.record_id, settled.last_error) == (State.SETTLED, "m-1", None)
    (one,) = (one for one in person.ledger.balances() if one.dimension == "requests")
    assert (one.settled, one.waiting, one.balanced) == (3, 0, True)
    assert json.loads(person.ledger.export_page("")[0][0])["metering_record_id"] == "m-1"
