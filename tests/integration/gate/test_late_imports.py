"""A job gets on without what its libraries import in vain: nothing that is put off is loaded while it runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .support import BY_DRY_RUN, Rig

CODE = """
import json, sys
from sidecar.child import late_imports
late_imports.put_off()
from sidecar.gate import job
said = []
job.run(json.loads(sys.argv[1]), said.append)
names = (*late_imports.MODULES, *late_imports.NAMES, *late_imports.DOCUMENTATION)
late = late_imports.LateModule
loaded = [name for name in names if name in sys.modules and not isinstance(sys.modules[name], late)]
print(json.dumps([json.loads(said[1])["answer"], loaded]))
"""


@pytest.mark.parametrize("dry_run", [False, True], ids=["register_usage", "meter_usage"])
def test_a_check_with_the_roles_credentials_loads_none(rig: Rig, dry_run: bool) -> None:
    payload = json.loads(rig.request(rig.aws().url, **(BY_DRY_RUN if dry_run else {})).as_json())
    del payload["job"]
    line = [sys.executable, "-c", CODE, json.dumps(payload)]
    done = subprocess.run(line, env=rig.env(**rig.irsa), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["accepted", []]
