"""Check types with mypy: no finding but those known in files of stages/, and no more of them in any file.

python -m tests.type_check           list what is not as known; exit with 1 if anything is
python -m tests.type_check --renew   after findings were mended: write down how many are left
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


def changed(findings: Iterable[str], known: Mapping[str, int]) -> list[str]:
    """Findings in the files that have more of them than are known; a line per file that has more, or fewer."""
    listed, lines = list(findings), []
    found = files_of(listed)
    for file in sorted(found | known.keys()):
        if found[file] > known.get(file, 0):
            lines += [line for line in listed if line.startswith(f"{file}:")]
            lines.append(f"{file}: {found[file]}, not {known.get(file, 0)}")
        elif found[file] < known[file]:
            left = f"{found[file]} of {known[file]} are left"
            lines.append(f"{file}: only {left}: run python -m tests.type_check --renew")
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
    known = read_known(KNOWN.read_text(encoding="utf-8"))
    if "--renew" in sys.argv[1:]:  # no file gets worse by it
        known = {file: min(count, known.get(file, 0)) for file, count in files_of(findings).items()}
        known = {file: count for file, count in known.items() if count and not file.startswith(GATED)}
        KNOWN.write_text("".join(f"{count:4} {file}\n" for file, count in sorted(known.items())), encoding="utf-8")
    lines = changed(findings, known)
    left = sum(files_of(findings).values())
    sys.stdout.write("\n".join([*lines, f"types: {left} findings, {sum(known.values())} known"]) + "\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
