"""Every fault that was once found, provoked again: what the command makes of it now.

    python -m tests.chaos.faults [NAME …]

Each is provoked as its finder did, by the command or the stages themselves, and its outcome printed in a line for
`tests/chaos/RESULTS.md`. Rows that kill, hang or eat a worker are in `tests/chaos/poison.py`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.catalogue import painted_row, write_catalogue
from tests.chaos.cluster import cluster
from tests.chaos.onlooker import decoded
from tests.chaos.painted import IMPLEMENTATION, NAME
from tests.conftest import CHECKOUT
from tests.made.sample_media import write_manifest, write_reference

PATIENCE = float(os.environ.get("CATWALK_CHAOS_PATIENCE", "300"))  # seconds that a command may take
FAULTS: dict[str, Callable[[Path], Iterable[str]]] = {}


def fault(name: str) -> Callable[[Callable[[Path], Iterable[str]]], Callable[[Path], Iterable[str]]]:
    """Register a reproduction under the name that the table gives it; it yields lines of outcome."""

    def register(reproduce: Callable[[Path], Iterable[str]]) -> Callable[[Path], Iterable[str]]:
        FAULTS[name] = reproduce
        return reproduce

    return register


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None  # None: it had to be killed
    seconds: float
    megabytes: int
    said: str

    def __str__(self) -> str:
        how = "did not end" if self.code is None else f"exit {self.code}"
        trace = ", TRACEBACK" if "Traceback" in self.said else ""
        last = [line.strip() for line in self.said.splitlines() if line.strip()]
        words = next((line for line in last if line.startswith("catwalk:")), last[-1] if last else "")
        return f"{how} in {self.seconds:.0f} s, {self.megabytes} MB{trace}: {words[:200]}"


def command(
    *words: str,
    folder: Path,
    patience: float = PATIENCE,
    meanwhile: Callable[[int], None] = lambda pid: None,
    module: tuple[str, ...] = ("-m", "pipelines.cli"),
    **env: str,
) -> Ended:
    """`catwalk WORDS`, its memory and what it said; `meanwhile` is told its process id in a thread of its own."""
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", **env}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *module, *words], cwd=folder, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=meanwhile, args=[process.pid], daemon=True).start()
        megabytes, until = 0, begun + patience
        while process.poll() is None and time.monotonic() < until:
            megabytes = max(megabytes, peak_megabytes(process.pid))
            time.sleep(0.05)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        return Ended(process.returncode if ended else None, time.monotonic() - begun, megabytes, log.read())


def peak_megabytes(pid: int) -> int:
    """The most memory that a process has held so far; 0 once it is gone. (`rusage` knows its parent's instead.)"""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0


def in_process(code: str, folder: Path) -> Ended:
    """Python of one's own beside the product."""
    return command("-c", code, folder=folder, module=())


def animate(
    folder: Path, rows: list[dict[str, Any]], *words: str, config: dict[str, Any] | None = None, **given: Any
) -> Ended:
    """`catwalk animate` of painted rows into folder/out."""
    write_manifest(folder / "manifest.parquet", rows)
    return animate_again(folder, *words, config=config, **given)


def animate_again(folder: Path, *words: str, config: dict[str, Any] | None = None, **given: Any) -> Ended:
    """The same of the manifest that is there."""
    whole = {"animators": {NAME: IMPLEMENTATION}, **(config or {})}
    (folder / "config.yaml").write_text(json.dumps(whole), encoding="utf-8")
    files = ["manifest.parquet", "out", "--config", "config.yaml"]
    return command("animate", *files, *words, folder=folder, **given)


def table_of(folder: Path, run: str = "night") -> str:
    """The statuses of a run's results, with the first reasons, or that there are none."""
    path = folder / "out" / "runs" / run / "results.parquet"
    if not path.is_file():
        return "no table"
    rows = pq.read_table(path).to_pylist()
    counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(row["status"] for row in rows).items()))
    reasons = {f"row {row['row']} in {row['stage']}: {row['error']}" for row in rows if row["error"]}
    return f"{counts}" + "".join(f"; {reason[:160]}" for reason in sorted(reasons)[:3])


@contextmanager
def one_node(folder: Path, **resources: Any) -> Iterator[dict[str, str]]:
    """A cluster of one node with temporary files in folder/tmp, as environment for commands."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    with cluster(1, environment, **{"num_cpus": 2, **resources}) as nodes:
        yield {"RAY_ADDRESS": nodes.address}


# Files that are not what they say


def boastful_video(folder: Path, samples: int = 2**32 - 1) -> str:
    """A video whose table of times claims more samples than there are bytes in the world."""
    write_catalogue(folder, 1)
    film = bytearray((folder / "motion-0.mp4").read_bytes())
    place = film.index(b"stts")
    entries = struct.unpack(">I", film[place + 8 : place + 12])[0]
    struct.pack_into(">I", film, place + 12 + 8 * (entries - 1), samples)
    (folder / "boastful.mp4").write_bytes(film)
    return "boastful.mp4"


@fault("F1")
def _(folder: Path) -> Iterator[str]:
    rows = write_catalogue(folder, 6)
    rows.insert(3, painted_row("boastful", "sku-0.png", boastful_video(folder)))
    ended = animate(folder, rows, "--run-id", "night")
    yield f"a video that claims 2³²−1 samples among 6: {ended}; {table_of(folder)}"


@fault("F3")
def _(folder: Path) -> Iterator[str]:
    (row,) = write_catalogue(folder, 1)
    far = pa.array([2**62], pa.int64())
    bad = {
        "timestamp": far.cast(pa.timestamp("us")),
        "date32": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
        "duration": far.cast(pa.duration("s")),
        "not UTF-8": pa.StringArray.from_buffers(
            1, pa.py_buffer(np.array([0, 2], np.int32).tobytes()), pa.py_buffer(b"\xff\xfe")
        ),
    }
    base = pa.Table.from_pylist([{key: value for key, value in row.items() if key not in ("options",)}])
    for name, cells in bad.items():
        pq.write_table(base.append_column("extra", cells), folder / "m.parquet")
        yield f"cell {name}: check: {command('manifest', 'check', 'm.parquet', folder=folder)}"
    pq.write_table(pa.Table.from_arrays([*base.columns, base["id"]], [*base.column_names, "id"]), folder / "m.parquet")
    yield f"doubled column: check: {command('manifest', 'check', 'm.parquet', folder=folder)}"
    whole = {name: cells for name, cells in bad.items() if name != "not UTF-8"}
    odd = base
    for name, cells in whole.items():
        odd = odd.append_column(f"a {name}", cells)
    pq.write_table(odd, folder / "manifest.parquet")
    yield f"all such cells in one row: animate: {animate_again(folder, '--run-id', 'night')}; {table_of(folder)}"


@fault("F5")
def _(folder: Path) -> Iterator[str]:
    people, frames = 100, 6000
    shape = (frames, people, 134, 3)
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("keypoints.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for _ in range(frames):
                member.write(bytes(people * 134 * 3))
        for name, value in (("width", 64), ("height", 64)):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.array(value))
    document = json.dumps({"people": [{"pose_keypoints_2d": [0] * 75}] * 4000, "canvas_width": 64, "canvas_height": 64})
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(120):
            archive.writestr(f"a_{number:012d}_keypoints.json", document)
    index = np.indices((100, 100, 134)).reshape(3, -1)
    columns = {
        name: pa.array(values.astype(np.int32))
        for name, values in zip(("frame", "person", "point"), index, strict=True)
    }
    columns |= {name: pa.array(np.zeros(index.shape[1], np.float32)) for name in ("x", "y", "score")}
    columns["person"] = pa.array(np.where(index[1] == 99, 5000, index[1]).astype(np.int32))
    table = pa.table(columns).replace_schema_metadata({"width": "64", "height": "64", "fps": "25"})
    pq.write_table(table, folder / "bomb.parquet", compression="zstd")
    for name in ("bomb.npz", "bomb.zip", "bomb.parquet"):
        size = (folder / name).stat().st_size / 1000
        code = (
            "from pathlib import Path; from stages.poses.files.keypoint_file import import_keypoints;"
            "from stages.video.limits import Limits\n"
            f"try: print(len(import_keypoints(Path({name!r}), Limits())[0]), 'frames accepted')\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        yield f"{name} of {size:.0f} KB: {in_process(code, folder)}"


@fault("F10")
def _(folder: Path) -> Iterator[str]:
    env = {"FSSPEC_S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    env |= {"NO_PROXY": "127.0.0.1", "AWS_MAX_ATTEMPTS": "1"}
    uri = "s3://bucket/m.parquet?X-Amz-Signature=TELLNOBODY"
    write_catalogue(folder, 1)
    words = {
        "manifest check": ("manifest", "check", uri),
        "manifest build": ("manifest", "build", "rows.jsonl", uri),
        "animate": ("animate", uri, "out"),
        "animate into it": ("animate", "manifest.parquet", uri),
        "clip": ("clip", uri, "motion-0.mp4", "film.mp4", "--animator", NAME, "--config", "config.yaml"),
        "doctor": ("doctor", "--no-ray", "--output", uri),
    }
    (folder / "rows.jsonl").write_text('{"id": "a"}\n')
    (folder / "config.yaml").write_text(json.dumps({"animators": {NAME: IMPLEMENTATION}}))
    write_manifest(folder / "manifest.parquet", [painted_row("a", "sku-0.png", "motion-0.mp4")])
    for name, line in words.items():
        for speech in ((), ("--verbose",)) if name in ("animate", "clip") else ((),):
            ended = command(*line, *speech, folder=folder, **env)
            leak = "SIGNATURE LEAKED" if "TELLNOBODY" in ended.said else "nothing leaked"
            yield f"{' '.join([name, *speech])}: {leak}; {ended}"


@fault("F14")
def _(folder: Path) -> Iterator[str]:
    (folder / "deep.yaml").write_text("[" * 3000 + "]" * 3000)
    (folder / "huge.yaml").write_text("attempts: " + "9" * 5000)
    (folder / "deeper.yaml").write_text("a: " + "{a: " * 3000 + "1" + "}" * 3000)
    for name in ("deep.yaml", "deeper.yaml", "huge.yaml"):
        yield f"{name}: {command('config', '--config', name, folder=folder)}"
    (folder / "config.yaml").write_text(json.dumps({"animators": {NAME: IMPLEMENTATION}}))
    (row,) = write_catalogue(folder, 1)
    row.pop("options")
    cells = {"guidance of 400 digits": [float("1e308"), 10**400], "seed of 5,000 digits": 10**4299, "steps 1e400": 1}
    for name, value in cells.items():
        text = json.dumps({**row, "guidance" if "guidance" in name else "seed" if "seed" in name else "steps": value})
        if name == "seed of 5,000 digits":
            text = text.replace(str(10**4299), "9" * 5000)
        if name == "steps 1e400":
            text = text.replace('"steps": 1', '"steps": 1e400')
        (folder / "rows.jsonl").write_text(text + "\n")
        ended = command("manifest", "build", "rows.jsonl", "m.parquet", "--config", "config.yaml", folder=folder)
        yield f"{name}: build: {ended}"
    pq.write_table(
        pa.table({"id": ["a"], **{f"column {number}": [1] for number in range(50_000)}}), folder / "m.parquet"
    )
    yield f"50,000 columns: check: {command('manifest', 'check', 'm.parquet', folder=folder)}"
    source = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
    for name, text in (("nested 100,000 deep", "[" * 100_000), ("sizes of 10⁹", None)):
        shutil.rmtree(folder / "weights", ignore_errors=True)
        shutil.copytree(source, folder / "weights")
        config = next((folder / "weights").rglob("unet/config.json"))
        sizes = {**json.loads(config.read_text()), "block_out_channels": [10**9] * 4, "cross_attention_dim": 10**9}
        config.write_text(text or json.dumps(sizes))
        words = ("clip", "sku-0.png", "motion-0.mp4", "film.mp4", "--overwrite", "--animator", "magicanimate")
        words += ("--checkpoint", "magicanimate=weights", "--set", "driving_kind=densepose", "--set", "width=48")
        ended = command(*words, "--set", "height=64", "--set", "steps=1", folder=folder, patience=min(PATIENCE, 120))
        yield f"config.json {name}: clip: {ended}"


@fault("safetensors")
def _(folder: Path) -> Iterator[str]:
    write_catalogue(folder, 1)
    source = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
    shutil.copytree(source, folder / "weights")
    for path in (folder / "weights").rglob("*.safetensors"):
        path.write_bytes(struct.pack("<Q", 2**62) + b"{}" + bytes(100))
    (folder / "lora.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}" + bytes(100))
    words = ("clip", "sku-0.png", "motion-0.mp4", "film.mp4", "--overwrite", "--animator", "magicanimate")
    words += ("--set", "driving_kind=densepose", "--set", "width=48", "--set", "height=64", "--set", "steps=1")
    yield f"in the checkpoint: {command(*words, '--checkpoint', 'magicanimate=weights', folder=folder)}"
    whole = ("--checkpoint", f"magicanimate={source}", "--set", "lora=lora.safetensors")
    yield f"as a LoRA: {command(*words, *whole, folder=folder)}"


@fault("F12")
def _(folder: Path) -> Iterator[str]:
    write_reference(folder / "secret.png", seed=7)
    write_reference(folder / "reference.png", seed=1)
    code = """
import os
from pathlib import Path
from manifests import storage
from manifests.work import Source
from stages import driving
import stages.extract_pose
source = Source(uri=os.path.abspath("reference.png"), digest=storage.digest("reference.png"), width=48, height=64)
from manifests.source_memo import SourceMemo
name = "fetch_copy" if hasattr(storage, "fetch_copy") else "sha256_file"  # what digests what is going to be read
digest = getattr(storage, name)
def then_swap(*given):
    found = digest(*given)
    os.replace("secret.png", "reference.png")
    return found
setattr(storage, name, then_swap)
memo = (SourceMemo("memo"),) if name == "fetch_copy" else ()
given = driving.fetch_unchanged(source, Path("scratch"), 2**30, *memo)
setattr(storage, name, digest)
same = storage.sha256_file(given) == source.digest
print("what is read are the bytes that were judged" if same else "OTHER BYTES ARE READ than were judged")
"""
    yield f"swapped between digest and opening: {in_process(code, folder)}"


# Nights


@fault("F2")
def _(folder: Path) -> Iterator[str]:
    rows = write_catalogue(folder, 4)
    environment = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    pools = {"a laptop of 2 CPUs, animate_pool 1.25": (1, 2, {"animate_pool": {"num_cpus": 1.25}})}
    pools |= {"two nodes of 1 CPU, default pools": (2, 1, {})}
    pools |= {"one node of 1 CPU, default pools": (1, 1, {})}
    pools |= {"2 workers × 0.8 of 2 CPUs": (1, 2, {"animate_pool": {"num_cpus": 0.8, "size": 2}, **SMALL})}
    for name, (count, cpus, config) in pools.items():
        shutil.rmtree(folder / "out", ignore_errors=True)
        with cluster(count, environment, num_cpus=cpus) as nodes:
            ended = animate(folder, rows, "--run-id", "night", config=config, RAY_ADDRESS=nodes.address)
        yield f"{name}: {ended}; {table_of(folder)}"


SMALL = {"pose_pool": {"num_cpus": 0.1}, "inputs_pool": {"num_cpus": 0.1}}


@fault("F4")
def _(folder: Path) -> Iterator[str]:
    rows = write_catalogue(folder, 8)
    rows[2]["options"] = {"seconds": 1e6}
    limits = {"time_limits": {"base": 30, "animate_cpu": 0}}
    with one_node(folder) as env:
        for workers in (1, 2):
            shutil.rmtree(folder / "out", ignore_errors=True)
            config = {**limits, "animate_pool": {"size": workers, "threads": 1}}
            ended = animate(folder, rows, "--run-id", "night", config=config, **env)
            yield f"one of 8 hangs, {workers} worker(s): {ended}; {table_of(folder)}"
            ended = animate_again(folder, "--run-id", "night", config=config, **env)
            yield f"the same run id again: {ended}; {table_of(folder)}"


@fault("F6")
def _(folder: Path) -> Iterator[str]:
    yield from _ended_by(folder, signal.SIGTERM)


@fault("F11")
def _(folder: Path) -> Iterator[str]:
    yield from _ended_by(folder, signal.SIGINT)


def _ended_by(folder: Path, what: signal.Signals) -> Iterator[str]:
    rows = write_catalogue(folder, 12, seconds=2.0)
    with one_node(folder) as env:

        def end(pid: int) -> None:
            wait_for(folder / "out" / "films", "*.json", 2)
            os.kill(pid, what)

        ended = animate(folder, rows, "--run-id", "night", meanwhile=end, **env)
        yield f"{what.name} at 2 of 12: {ended}; {table_of(folder)}"
        ended = animate_again(folder, "--run-id", "night", **env)
        yield f"resumed: {ended}; {table_of(folder)}"


@fault("F7")
def _(folder: Path) -> Iterator[str]:
    rows = write_catalogue(folder, 3)
    # a folder where the table should be: as good as a full disk, and no user may write it either
    (folder / "out" / "runs" / "night" / "results.parquet" / "in the way").mkdir(parents=True)
    yield f"the results table cannot be written: {animate(folder, rows, '--run-id', 'night')}"


@fault("F8")
def _(folder: Path) -> Iterator[str]:
    rows = write_catalogue(folder, 8, seconds=2.0)
    with one_node(folder, num_cpus=4) as env:
        for name, ids in (("the same run id twice at once", ("night", "night")), ("two ids at once", ("one", "two"))):
            shutil.rmtree(folder / "out", ignore_errors=True)
            ended: dict[int, Ended] = {}

            def second(_: int, ids: tuple[str, str] = ids, ended: dict[int, Ended] = ended) -> None:
                wait_for(folder / "out" / "runs" / ids[0], "plan.parquet", 1)
                ended[1] = animate_again(folder, "--run-id", ids[1], **env)

            ended[0] = animate(folder, rows, "--run-id", ids[0], meanwhile=second, **env)
            until = time.monotonic() + PATIENCE
            while 1 not in ended and time.monotonic() < until:
                time.sleep(0.5)
            films = len(list((folder / "out" / "films").glob("*.mp4")))
            tables = [table_of(folder, run) for run in dict.fromkeys(ids)]
            yield f"{name}: first {ended[0]}; second {ended.get(1)}; {films} films; {'; '.join(tables)}"


@fault("F9")
def _(folder: Path) -> Iterator[str]:
    rows = write_catalogue(folder, 6, skus=1)
    for row in rows[1:]:
        row["reference"] = f"own-{row['id']}.png"
        write_reference(folder / row["reference"], seed=100 + len(row["id"]) + int(row["id"].rpartition("-")[2]))
    with one_node(folder) as env:
        yield f"first: {animate(folder, rows, '--run-id', 'first', **env)}"
        table = pq.read_table(folder / "out" / "runs" / "first" / "results.parquet").to_pylist()
        cache, before = folder / "out" / "cache", frames_of(folder)
        for row, (folder_name, how) in zip(table, DAMAGE, strict=False):
            for path in (folder / "out" / "films").glob(f"{row['id']}.*"):
                path.unlink()
            if folder_name != "latents":
                (cache / "latents" / f"{row['latents_key']}.safetensors").unlink()
            spoil(cache, folder_name, row, how)
        memos = sorted((cache / "sources").iterdir())
        memos[0].write_bytes(b"{")
        memos[1].write_bytes(b"")
        yield (
            f"damaged {', '.join(f'{what} {how}' for what, how in DAMAGE)}, memo: "
            + str(animate_again(folder, "--run-id", "second", **env))
            + f"; {table_of(folder, 'second')}"
        )
        after = frames_of(folder)
        other = [number for number, row in enumerate(rows) if after[row["id"]] != before[row["id"]]]
        yield f"rows whose films have other frames than before: {other}"
        yield f"again: {animate_again(folder, '--run-id', 'third', **env)}; {table_of(folder, 'third')}"


def frames_of(folder: Path) -> dict[str, str]:
    """Digest of the decoded frames of every film, by the clip's id."""
    films = (folder / "out" / "films").glob("*.mp4")
    return {path.name.rsplit(".", 2)[0]: decoded(path.read_bytes())[0] for path in films}


DAMAGE = (("latents", "truncated"), ("latents", "zeroed"), ("poses", "truncated"), ("poses", "zeroed"),
          ("references", "truncated"), ("references", "zeroed"))  # fmt: skip


def spoil(cache: Path, what: str, row: dict[str, Any], how: str) -> None:
    """Cut a file of the cache in half, or fill its second half with zeros."""
    if what == "references":
        entries = sorted((cache / what).iterdir())
        path = entries[-1 if how == "zeroed" else -2]
    else:
        path = next((cache / what).glob(f"{row['latents_key' if what == 'latents' else 'pose_key']}.*"))
    data = path.read_bytes()
    half = data[: len(data) // 2]
    path.write_bytes(half if how == "truncated" else half + bytes(len(data) - len(half)))


@fault("F13")
def _(folder: Path) -> Iterator[str]:
    row = write_catalogue(folder, 2, skus=1)[1]  # which is driven by keypoints, as JSON
    with one_node(folder) as env:
        yield f"first: {animate(folder, [row], '--run-id', 'first', **env)}"
        # what validation learnt stands in the cache; now the bytes change, and neither size nor time
        file = folder / row["driving"]
        stamp, text = file.stat(), file.read_text(encoding="utf-8")
        place = text.index("pose_keypoints_2d") + 22
        file.write_text(text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :], encoding="utf-8")
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert file.stat().st_size == stamp.st_size
        for path in [*(folder / "out" / "films").iterdir(), *(folder / "out" / "cache" / "poses").iterdir()]:
            path.unlink()
        for path in (folder / "out" / "cache" / "latents").iterdir():
            path.unlink()
        for run in ("second", "third"):
            ended = animate_again(folder, "--run-id", run, **env)
            yield f"{run} run after other bytes, same size and time: {ended}; {table_of(folder, run)}"


@fault("F15")
def _(folder: Path) -> Iterator[str]:
    rows = write_catalogue(folder, 8, seconds=1.0)
    with one_node(folder) as env:

        def remove(_: int) -> None:
            wait_for(folder / "out" / "films", "*.json", 3)
            shutil.rmtree(folder / "out" / "films")

        ended = animate(folder, rows, "--run-id", "night", meanwhile=remove, **env)
        films = {path.name for path in (folder / "out" / "films").glob("*.mp4")}
        good = [row for row in pq.read_table(folder / "out" / "runs" / "night" / "results.parquet").to_pylist()
                if row["status"] in ("done", "cached")]  # fmt: skip
        without = sum(row["film"].rpartition("/")[2] not in films for row in good)
        success = (folder / "out" / "runs" / "night" / "_SUCCESS").exists()
        yield f"films deleted at 3 of 8: {without} done without a film, _SUCCESS {success}; {ended}; {table_of(folder)}"


@fault("F16")
def _(folder: Path) -> Iterator[str]:
    import psutil

    rows = write_catalogue(folder, 6, seconds=2.0)
    (folder / "tmp").mkdir()
    environment = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    with cluster(1, environment, num_cpus=2) as nodes:

        def kill(_: int) -> None:
            for count in (1, 3):
                wait_for(folder / "out" / "films", "*.json", count)
                wait_for(folder / "tmp", "catwalk-animate-*", 1)
                for worker in nodes.workers()["animate"]:
                    worker.send_signal(signal.SIGKILL)

        ended = animate(folder, rows, "--run-id", "night", meanwhile=kill, RAY_ADDRESS=nodes.address)
        left = [path.name for path in (folder / "tmp").glob("catwalk-*")]
        yield f"2 workers killed in flight: {len(left)} temporary folders left; {ended}; {table_of(folder)}"
        orphans = [process for process in psutil.process_iter() if "ffmpeg" in process.name()]
        mine = [process for process in orphans if str(folder) in " ".join(process.cmdline())]
        yield f"encoders left: {len(mine)}"
    for words in (("clean", "out"), ("clean", "out", "--delete")):
        yield f"{' '.join(words)}: {command(*words, folder=folder, TMPDIR=str(folder / 'tmp'))}"
    left = [path.name for path in (folder / "tmp").glob("catwalk-*")]
    yield f"then {len(left)} left"


def wait_for(folder: Path, pattern: str, count: int) -> None:
    """Until so many files are there."""
    until = time.monotonic() + PATIENCE
    while len(list(folder.glob(pattern))) < count and time.monotonic() < until:
        time.sleep(0.05)


def main() -> None:
    """Provoke what was asked for, or everything."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in sys.argv[1:] or FAULTS:
        with tempfile.TemporaryDirectory(prefix="catwalk-fault-") as folder:
            try:
                for line in FAULTS[name](Path(folder)):
                    print(f"{name} | {line}", flush=True)
            except Exception as error:  # the next may be told nevertheless
                print(f"{name} | could not be provoked: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
