"""The parts of README that repeat the code: made from it here, compared with it by `test_docs`.

python -m tests.readme_tables --write
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from sidecar.agent.tidings import MEANINGS as TIDINGS
from sidecar.agent.tidings import NORMAL
from sidecar.agent.usage import UNKNOWN as UNKNOWN_USAGE
from sidecar.api.probes import HTTP_STATUS
from sidecar.entitlement.answers import ROWS, UNKNOWN, Answer, Asked
from sidecar.entitlement.status import TRANSITIONS, Event, Status
from sidecar.ledger.faults import REASONS as LEDGER_REASONS
from sidecar.metering.dispositions import ROWS as DISPOSITION_ROWS
from sidecar.metering.dispositions import UNKNOWN as UNKNOWN_DISPOSITION
from sidecar.metering.events import REASONS as EVENT_REASONS
from sidecar.metering.outcomes import LATE, OUTCOME_UNKNOWN
from sidecar.metering.records import TRANSITIONS as RECORD_TRANSITIONS
from sidecar.metering.records import Act, Disposition
from sidecar.settings import describe

README = Path(__file__).parent.parent / "README.md"
CLASSES: Mapping[Answer, str] = {
    Answer.DENY: "`denied`",
    Answer.CONFIG: "`misconfigured`",
    Answer.RETRY: "`pending`, later `unavailable`",
    Answer.RETRY_THEN_CONFIG: "`pending`, later `misconfigured`",
}
WHO: Mapping[Asked, str] = {
    Asked.REGISTER_USAGE: " (RegisterUsage)",
    Asked.METER_USAGE: " (MeterUsage)",
    Asked.STS: " (STS)",
}
"""Beside the codes of a row that only one of them says."""
PLACES = {
    "host": "HOST",
    "metering_host": "METERING HOST",
    "sts_host": "STS HOST",
    "region": "REGION",
    "role": "ROLE",
    "partition": "PARTITION",
    "code": "CODE",
    "dimension": "DIMENSION",
    "skew": "",
}


def statuses() -> str:
    """Status × event → next status."""
    lines = [
        "| From | HTTP | " + " | ".join(f"`{event.value}`" for event in Event) + " |",
        "| --- | --- |" + " --- |" * len(Event),
    ]
    for status in Status:
        moves = " | ".join(f"`{TRANSITIONS[status, event].value}`" for event in Event)
        lines.append(f"| `{status.value}` | {HTTP_STATUS[status]} | {moves} |")
    return "\n".join(lines) + "\n"


def reasons() -> str:
    """Reason → what AWS or the SDK said → status → what to do."""
    lines = ["| Reason | Said | Status | Do this |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        codes = ", ".join(f"`{code}`" for code in row.codes if code != row.reason)
        who = WHO.get(row.asked[0], "") if len(row.asked) == 1 else ""
        said = f"{codes}{who}" if codes else "the answer does not verify" if Asked.TOKEN in row.asked else "-"
        hint = row.hint or "Check that the public key matches its version and that nothing rewrites answers of AWS."
        lines.append(f"| `{row.reason}` | {said} | {CLASSES[row.answer]} | {_plain(hint)} |")
    lines.append(f"| `{UNKNOWN.reason}` | any other code | {CLASSES[UNKNOWN.answer]} | {_plain(UNKNOWN.hint)} |")
    return "\n".join(lines) + "\n"


def _plain(hint: str) -> str:
    for place, words in PLACES.items():
        hint = hint.replace("{" + place + "}", words)
    return hint.strip().replace("|", "\\|")


def records() -> str:
    """State × move → next state, a line for each move there is."""
    lines = ["| From | What happens | To |", "| --- | --- | --- |"]
    for (state, move), then in RECORD_TRANSITIONS.items():
        lines.append(f"| `{state.value}` | {MOVES[move]} | `{then.value}` |")
    return "\n".join(lines) + "\n"


def dispositions() -> str:
    """Reason → what AWS or the SDK said → what it means for the record → what to do."""
    lines = ["| Reason | Said | The record is | Do this |", "| --- | --- | --- | --- |"]
    for row in DISPOSITION_ROWS:
        codes = ", ".join(f"`{code.partition(':')[0]}`" for code in row.codes)
        hint = row.hint.replace("|", "\\|")
        lines.append(f"| `{row.reason}` | {codes} | {MEANINGS[row.disposition]} | {hint} |")
    other = UNKNOWN_DISPOSITION
    lines.append(f"| `{other.reason}` | any other code | {MEANINGS[other.disposition]} | {other.hint} |")
    for reason, hint in (LATE, OUTCOME_UNKNOWN):
        lines.append(
            f"| `{reason}` | - | {MEANINGS[Disposition.EXPIRE if reason == LATE[0] else Disposition.REJECT]} | {hint} |"
        )
    return "\n".join(lines) + "\n"


def refusals() -> str:
    """HTTP status → reasons of a push."""
    found: dict[int, list[str]] = {}
    for reason, status in {**PUSH_REASONS, **dict.fromkeys((UNKNOWN_USAGE[0], *LEDGER_REASONS), 503)}.items():
        found.setdefault(status, []).append(f"`{reason}`")
    lines = ["| HTTP | Reasons |", "| --- | --- |"]
    lines += [f"| {status} | {' · '.join(reasons)} |" for status, reasons in sorted(found.items())]
    return "\n".join(lines) + "\n"


def tidings() -> str:
    """Reason of a Kubernetes event → its type → what it means."""
    lines = ["| Reason | Type | Meaning |", "| --- | --- | --- |"]
    lines += [
        f"| `{reason}` | {'Normal' if reason in NORMAL else 'Warning'} | {text} |" for reason, text in TIDINGS.items()
    ]
    return "\n".join(lines) + "\n"


MEANINGS: Mapping[Disposition, str] = {
    Disposition.SETTLE: "settled",
    Disposition.HOLD: "held: sent again later",
    Disposition.REPAIR: "sealed anew and sent at once",
    Disposition.DISPUTE: "disputed",
    Disposition.EXPIRE: "expired, and counted in the open hour",
    Disposition.REJECT: "rejected",
}
MOVES: Mapping[Disposition | Act, str] = {
    Act.SEAL: "its hour closed, or the workload ends",
    Disposition.SETTLE: "AWS gives a metering record id",
    Disposition.HOLD: "AWS cannot say yes or no yet",
    Disposition.REPAIR: "AWS refuses tags or token; sealed anew",
    Disposition.DISPUTE: "AWS holds another quantity",
    Disposition.EXPIRE: "too late, and certainly not billed",
    Disposition.REJECT: "only a person can help, or it is too late and may have been billed",
    Act.ROLL_FORWARD: "counted in the open hour",
    Act.RETRY: "a person wants it sent again",
    Act.CONFIRM: "a person has AWS's receipt",
}
PUSH_REASONS: Mapping[str, int] = {**EVENT_REASONS, "id_conflict": 409}

TABLES: Mapping[str, Callable[[], str]] = {
    "settings": describe.markdown,
    "statuses": statuses,
    "reasons": reasons,
    "records": records,
    "dispositions": dispositions,
    "refusals": refusals,
    "tidings": tidings,
}


def block(name: str) -> re.Pattern[str]:
    """Where a table stands in README."""
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)


def rewritten(text: str) -> str:
    for name, make in TABLES.items():
        found = block(name).search(text)
        if found is None:
            raise ValueError(f"README needs <!-- {name} --> … <!-- /{name} -->")
        text = text[: found.start()] + make() + text[found.end() :]
    return text


if __name__ == "__main__":
    made = rewritten(README.read_text())
    if "--write" in sys.argv:
        README.write_text(made)
    else:
        sys.stdout.write(made)
