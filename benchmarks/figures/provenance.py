"""Say what a report was made with: the command, the versions and the machine."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import napari_mmtseg

_PACKAGES = ("numpy", "scipy", "scikit-image", "scikit-learn", "torch")


@functools.cache
def code_state() -> str:
    """Return a digest of the files that decide a result: everything but the widgets."""
    root = Path(napari_mmtseg.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(("_napari/", "_version")):
            digest.update(name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:10]


def command(arguments: list[str]) -> str:
    """Return the command line; of an absolute path only the last part."""
    short = [re.sub(r"^(?:[A-Za-z]:[\\/]|[\\/]).*[\\/]", "", one) for one in arguments]
    return shlex.join(["python", "-m", "benchmarks", *short])


def facts() -> dict[str, str]:
    """Return the date, the versions and the machine, without names of hosts, people or paths."""
    made = {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "source": _source()}
    made["Python"] = platform.python_version()
    made |= {name: _version(name) for name in _PACKAGES}
    made["system"] = f"{platform.system()} {platform.machine()}"
    made["cores"] = str(os.cpu_count())
    if sys.platform != "win32" and "SC_PHYS_PAGES" in os.sysconf_names:
        gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        made["memory"] = f"{gib:.0f} GiB"
    if sys.platform != "win32":
        made["load when the report was written"] = f"{os.getloadavg()[0]:.1f}"
    return made


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _source() -> str:
    """Return the commit, marked where files differ from it, and the digest of the package."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+changes"],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        commit = run.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "no git"
    return f"{commit}, package {code_state()}"
