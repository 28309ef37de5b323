"""Check types with mypy: no finding but those known in files of stages/, and no more of them in any file.

python -m tests.types           list what is worse; exit with 1 if anything is
python -m tests.types --renew   after findings were mended: write down how many are left
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
KNOWN = Path(__file__).with_name("known_types.txt")
GATED = ("manifests/", "cluster/", "pipelines/")  # no finding is ever known here


def files_of(findings: Iterable[str]) -> Counter[str]:
    """How many findings each file has; other lines that mypy writes do not count."""
    return Counter(found[1] for line in findings if (found := re.match(r"(\S+\.py):\d+: error: ", line)))


def worse(findings: Iterable[str], known: Mapping[str, int]) -> list[str]:
    """Findings in the files that have more of them than are known, and a line per such file."""
    listed, lines = list(findings), []
    for file, count in sorted(files_of(listed).items()):
        if count > known.get(file, 0):
            lines += [line for line in listed if line.startswith(f"{file}:")]
            lines.append(f"{file}: {count}, not {known.get(file, 0)}")
    return lines


def read_known(text: str) -> dict[str, int]:
    """The table of known findings: a count and a file on each line."""
    rows = (line.split() for line in text.splitlines())
    return {file: int(count) for count, file in rows}


def main() -> int:
    """Run mypy on the product; returns the exit code."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", "--hide-error-context"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    findings = done.stdout.splitlines()
    if done.returncode not in (0, 1) or done.stderr:
        sys.stderr.write(done.stdout + done.stderr)
        return 2
    if "--renew" in sys.argv[1:]:
        left = {file: count for file, count in files_of(findings).items() if not file.startswith(GATED)}
        KNOWN.write_text("".join(f"{count:4} {file}\n" for file, count in sorted(left.items())), encoding="utf-8")
    known = read_known(KNOWN.read_text(encoding="utf-8"))
    lines = worse(findings, known)
    left = sum(files_of(findings).values())
    sys.stdout.write("\n".join([*lines, f"types: {left} findings, {sum(known.values())} known"]) + "\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
