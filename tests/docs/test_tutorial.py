"""Every `$` line of the tutorial is run, in order, in one shell."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("8080", "8443")


def _blocks(text: str) -> list[list[str]]:
    """The commands of each block that is marked `console`."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [[line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")] for block in blocks]


def _free(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial uses curl, which is not installed here")
def test_all_commands_of_the_tutorial_work(tmp_path: Path) -> None:
    blocks = _blocks((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    assert sum(map(len, blocks)) > 15
    ports = _free(len(PORTS))
    # Other tests run beside this one: the fixed ports of the text give way to free ones, in commands and files.
    renumber = " ; ".join(f"s/:{old}/:{new}/" for old, new in zip(PORTS, ports, strict=True))
    script = ["set -eu -o pipefail", "set -x", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for block in blocks:
        for command in block:
            for old, new in zip(PORTS, ports, strict=True):
                command = command.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
            script.append(command)
        script.append(f"sed -i '{renumber}' */gridparley.toml")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRIDPARLEY_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "REPO": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", "set -m\n" + "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    log = tmp_path / "serve.log"
    told = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{log.read_text()[-2000:] if log.exists() else ''}"
    assert done.returncode == 0, told
    assert "dso.example.org" in done.stdout
    assert "Traceback" not in told


def test_what_is_not_run_says_why() -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"^```(\w+)$", text, re.MULTILINE)):
        assert name in ("console", "sh", "xml")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert "$ " not in block


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
