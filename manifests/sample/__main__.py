"""`python -m manifests.sample OUT_DIR` draws the sample catalogue into a folder."""

import argparse
import sys
from pathlib import Path

from manifests.sample import clips, write_catalogue


def main(arguments: list[str] | None = None) -> None:
    """Draw the catalogue and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m manifests.sample", description="Draw the sample catalogue.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="where the pictures, films and clips.jsonl go")
    folder = parser.parse_args(arguments).folder
    write_catalogue(folder)
    sys.stdout.write(f"{len(clips())} clips in {folder / 'clips.jsonl'}\n")


if __name__ == "__main__":
    main()
