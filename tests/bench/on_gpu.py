"""Everything that is to be measured on a GPU, in one go: `python -m tests.bench.on_gpu --out FILE.json`.

In this order, each part written as soon as it is known and not done again where FILE (or an `--earlier` one) has it:

1. `runs`: every animator with small weights in the half types it has against float32 on the CPU, films without NaN; the
   operator of xFormers against torch's at heads of 40, 80 and 160, with and without a reference's tokens.
2. `window`: one step of 16 frames of 512×512 at production size, random weights: the product, the frozen baseline and
   diffusers' pipeline (`tests/bench/side_by_side`), beside the rate of a plain matrix product.
3. `film`: 64 frames in 25 steps from reference to frames; 1,500 frames in one step, whose memory must be no more.
4. `faster`: fast mode, and what each setting of `Acceleration` brings to the window of 2.
5. `wan`: a forward of Wan-VACE 1.3B and of Wan-Animate 14B of a whole segment of 832×480, with all weights on the
   device and block by block; the autoencoder.

A part that raises, or takes longer than `--limit` seconds, is noted as such and the next begins. After an error that
leaves this process without its device it ends with 75: run again, it goes on behind that part. No Ray. Needed beside
torch: diffusers, transformers, pydantic, tenacity, fsspec, pyarrow, av, imageio-ffmpeg, ffmpeg-python,
opencv-python-headless, onnxruntime, psutil, PyYAML, pytest; xformers for its part. `--tiny --device cpu` goes
through all of it in minutes, for its own sake.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, get_args

import diffusers
import torch
from diffusers import WanAnimateTransformer3DModel, WanVACETransformer3DModel
from torch.nn.functional import scaled_dot_product_attention

from manifests.clip import Clip
from pipelines.planning.chained import Chained
from pipelines.planning.operations import operations_of
from stages.diffusion.acceleration import DEFAULT, Acceleration
from stages.diffusion.animators import load_animator
from stages.diffusion.networks.block_streaming import stream
from stages.diffusion.networks.video_latents import VideoLatents
from stages.diffusion.weights.checkpoint import read_config
from tests.bench import wan_sizes
from tests.bench.side_by_side.contenders import Contender, Task, contenders
from tests.bench.side_by_side.counting import denoising
from tests.bench.side_by_side.measuring import Figures, Meter, decoded, denoised, psnr
from tests.bench.side_by_side.widths import WIDTHS, with_random_weights
from tests.made.seam import film_of
from tests.made.small_clips import WRITE, given_to, steps_of
from tests.made.tiny_diffusion import GOLDEN
from tests.stages.diffusion.test_wan import clip as wan_clip
from tests.stages.diffusion.test_wan import film as wan_film
from tests.stages.diffusion.test_wan import made as wan_segments

Measured = dict[str, Any]
AGAIN = os.EX_TEMPFAIL
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
WAN = {"wan_vace": WanVACETransformer3DModel, "wan_animate": WanAnimateTransformer3DModel}


class Bench:
    """The sizes of this run, and what it is run on."""

    def __init__(self, device: str, tiny: bool, repeats: int) -> None:
        self.device, self.tiny, self.repeats = device, tiny, repeats
        self.meter = Meter(device)
        self.width = "tiny" if tiny else "production"
        self.size = (64, 64) if tiny else (512, 512)
        # a CPU computes float16 slowly, and this run is for its own sake there
        self.half = torch.float16 if device.startswith("cuda") else torch.float32

    def made(self, names: list[str], dtype: torch.dtype, acceleration: Acceleration = DEFAULT) -> dict[str, Contender]:
        """Contenders on this device."""
        return contenders(names, WIDTHS[self.width], self.device, dtype, acceleration)

    def seconds(self, run: Callable[[], Any], repeats: int | None = None) -> float:
        """The median of a call's seconds, which has run once before."""
        run()
        found = []
        for _ in range(repeats or self.repeats):
            begun = self.meter.now()
            run()
            found.append(self.meter.now() - begun)
        return statistics.median(found)


def animator_runs(bench: Bench, name: str, dtype: torch.dtype) -> Measured:
    """Two steps of six frames, against float32 on the CPU."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = WRITE[name](Path(scratch) / "checkpoint")
        exact = steps_of(load_animator(name, folder, "cpu", torch.float32), 6)[-1].latents
        animator = load_animator(name, folder, bench.device, dtype)
    found = steps_of(animator, 6)[-1].latents.float().cpu()
    frames = len(film_of(animator, *given_to(animator, 6)))  # raises where one is not finite
    cosine = torch.nn.functional.cosine_similarity(exact.flatten(), found.flatten(), dim=0)
    return {
        "cosine": float(cosine),
        "worst_over_spread": float((exact - found).abs().max() / exact.std()),
        "finite": bool(torch.isfinite(found).all()),
        "frames": frames,
    }


def attention(bench: Bench, head: int, reference: bool, dtype: torch.dtype) -> Measured:
    """xFormers' operator against torch's, and both times."""
    from stages.diffusion.networks.memory_efficient import memory_efficient

    tokens = 64 if bench.tiny else {40: 4096, 80: 1024, 160: 256}[head]
    samples = 2 if bench.tiny else 16
    draw = torch.Generator(bench.device).manual_seed(head)
    query, key, value = (
        torch.randn(samples, 8, count, head, generator=draw, device=bench.device, dtype=dtype)
        for count in (tokens, *[tokens * (2 if reference else 1)] * 2)
    )
    exact = scaled_dot_product_attention(query, key, value)
    difference = float((memory_efficient(query, key, value) - exact).abs().max())
    by_torch = bench.seconds(lambda: scaled_dot_product_attention(query, key, value))
    by_xformers = bench.seconds(lambda: memory_efficient(query, key, value))
    return {"difference": difference, "torch_ms": 1e3 * by_torch, "xformers_ms": 1e3 * by_xformers}


def matrix_rate(bench: Bench, dtype: torch.dtype) -> Measured:
    """TFLOP/s of one plain matrix product."""
    side = 256 if bench.tiny else 8192
    one, other = (torch.randn(side, side, device=bench.device, dtype=dtype) for _ in range(2))
    return {"tflop_per_second": 2 * side**3 / 1e12 / bench.seconds(lambda: one @ other)}


def window(bench: Bench, dtype: torch.dtype) -> Measured:
    """One step of one window by all three, alternating."""
    task, names = Task(16, *bench.size, 1), ["published", "diffusers", "ours"]
    made, tflop = bench.made(names, dtype), denoising(names, WIDTHS[bench.width], Task(16, *bench.size, 1))
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    films = {}
    for repeat in range(bench.repeats + 1):
        for name, contender in made.items():
            figures = Figures()
            latents = denoised(contender, task, bench.meter, figures)
            films[name] = decoded(contender, latents, bench.meter, figures, keep=True)
            if repeat:  # the first warms up
                runs[name].append(figures)
    seconds = {name: statistics.median(run.seconds["denoise"] for run in runs[name]) for name in names}
    return {
        "denoise_ms": {name: 1e3 * value for name, value in seconds.items()},
        "decode_ms": {name: 1e3 * statistics.median(run.seconds["decode"] for run in runs[name]) for name in names},
        "tflop_per_second": {name: tflop[name] / seconds[name] for name in names},
        "peak_mb": {name: {phase: peak / 2**20 for phase, peak in runs[name][-1].peak.items()} for name in names},
        "published_over_ours": seconds["published"] / seconds["ours"],
        "counted": tflop["published"] / tflop["ours"],
        "diffusers_over_ours": seconds["diffusers"] / seconds["ours"],
        "psnr": psnr(films["published"], films["ours"]),
    }


def film(bench: Bench, name: str, frames: int, steps: int) -> Measured:
    """From the reference to frames, once."""
    contender, figures = bench.made([name], bench.half)[name], Figures()
    denoised(contender, Task(4, *bench.size, 1), bench.meter, Figures())  # warms up
    task = Task(frames, *bench.size, steps)
    latents = denoised(contender, task, bench.meter, figures)
    decoded(contender, latents, bench.meter, figures, keep=False)
    return {
        "seconds": figures.seconds,
        "finished_seconds": sum(figures.seconds.values()),
        "peak_mb": {phase: peak / 2**20 for phase, peak in figures.peak.items()},
    }


def faster(bench: Bench, setting: dict[str, Any]) -> Measured:
    """The window with one setting of `Acceleration`, over the one with none."""
    task = Task(16, *bench.size, 1)
    plain = Acceleration(**{name: value for name, value in {"channels_last": False}.items() if name not in setting})
    films, seconds = {}, {}
    for name, acceleration in (("plain", plain), ("faster", Acceleration(**{"channels_last": False, **setting}))):
        contender = bench.made(["ours"], bench.half, acceleration)["ours"]
        runs = []
        for repeat in range(bench.repeats + 2):
            figures = Figures()
            latents = denoised(contender, task, bench.meter, figures)
            runs += [figures.seconds["denoise"]] if repeat > 1 else []  # compiling takes its time
        seconds[name] = statistics.median(runs)
        films[name] = decoded(contender, latents, bench.meter, figures, keep=True)
        del contender
    return {
        "plain_ms": 1e3 * seconds["plain"],
        "faster_ms": 1e3 * seconds["faster"],
        "speed_up": seconds["plain"] / seconds["faster"],
        "psnr": psnr(films["plain"], films["faster"]),
    }


def fast_mode(bench: Bench) -> Measured:
    """A clip in standard and in fast mode, each with the steps that it has by default."""
    contender = bench.made(["ours"], bench.half)["ours"]
    if "fast" not in get_args(Clip.model_fields["mode"].annotation):
        raise NotImplementedError("this version has no fast mode")
    standard, seconds, films = contender.clip, {}, {}
    task = Task(16, *bench.size, 2 if bench.tiny else 25)
    for mode, steps in (("standard", task.steps), ("fast", 2 if bench.tiny else 12)):
        contender.clip = lambda task, mode=mode, steps=steps: standard(task).model_copy(
            update={"mode": mode, "steps": steps}
        )
        figures = Figures()
        denoised(contender, Task(4, *bench.size, 1), bench.meter, Figures())
        latents = denoised(contender, task, bench.meter, figures)
        seconds[mode] = figures.seconds["denoise"]
        films[mode] = decoded(contender, latents, bench.meter, figures, keep=True)
    return {
        "seconds": seconds,
        "speed_up": seconds["standard"] / seconds["fast"],
        "psnr": psnr(films["standard"], films["fast"]),
    }


def wan_runs(bench: Bench, name: str) -> Measured:
    """A guided film of two segments with the recorded weights in bfloat16, against float32 on the CPU."""
    asked, folder = wan_clip(name, guidance=2.0), GOLDEN / name / "checkpoint"
    latents, films = [], []
    for device, dtype in (("cpu", torch.float32), (bench.device, torch.bfloat16)):
        animator = load_animator(name, folder, device, dtype)
        parts = wan_segments(animator, asked, 14)
        latents.append(torch.cat([part[1].flatten() for part in parts]))
        films.append(torch.from_numpy(wan_film(animator, asked, parts)))
    exact, found = latents
    return {
        "cosine": float(torch.nn.functional.cosine_similarity(exact, found, dim=0)),
        "worst_over_spread": float((exact - found).abs().max() / exact.std()),
        "finite": bool(torch.isfinite(found).all()),
        "frames": len(films[1]),
    }


def wan_network(bench: Bench, name: str) -> Any:
    """A transformer with random weights; what its class keeps in float32 is."""
    half = torch.bfloat16 if bench.device.startswith("cuda") else torch.float32
    if bench.tiny:
        with torch.device("meta"):
            network = WAN[name].from_config(read_config(GOLDEN / name / "checkpoint" / "transformer"))
    else:
        network = wan_sizes.SYSTEMS[name][0]()
    network = with_random_weights(network, 1, bench.device, half)
    for part in network.modules():
        for table, values in part.named_buffers(recurse=False):  # in float32, and any numbers do: they take as long
            part._buffers[table] = torch.randn(values.shape, device=bench.device)
    kept = set(WAN[name]._keep_in_fp32_modules)
    for place, weight in network.named_parameters():
        weight.data = weight.data if kept.isdisjoint(place.split(".")) else weight.data.float()
    return network


@torch.inference_mode()
def wan(bench: Bench, name: str) -> Measured:
    """A forward of a whole segment; a step with guidance takes two. Then the same block by block, as in `low_vram`."""
    network = wan_network(bench, name)
    frames, width, height = (5, 48, 32) if bench.tiny else (wan_sizes.SYSTEMS[name][1], 832, 480)
    given = {
        what: torch.randn(one.shape, device=bench.device).to(one.dtype) if isinstance(one, torch.Tensor) else one
        for what, one in wan_sizes.given_to(network, frames, height, width).items()
    }
    given["timestep"] = torch.tensor([500], device=bench.device)
    weights = sum(weight.nbytes for weight in network.parameters())
    found: Measured = {"weights_mb": weights / 2**20}
    made, tflop = {}, of_forward(name, frames, width, height) if not bench.tiny else 0.0
    for kind in ("whole", "streamed"):
        if kind == "streamed":
            stream(network, bench.device)
        peak: dict[str, int] = {}
        network(**given)
        with bench.meter.peak(peak, "forward"):
            seconds = bench.seconds(lambda: network(**given), 2)
        made[kind] = network(**given)[0]
        found |= {f"{kind}_s": seconds, f"{kind}_peak_mb": peak["forward"] / 2**20}
        found |= {f"{kind}_tflop_per_second": tflop / seconds}
    return {**found, "same": torch.equal(made["whole"], made["streamed"])}


def of_forward(name: str, frames: int, width: int, height: int) -> float:
    """TFLOP, as plans have it."""
    known = operations_of(name, width * height)
    assert isinstance(known, Chained)
    return known.forward(frames)


@torch.inference_mode()
def wan_coding(bench: Bench) -> Measured:
    """A segment of 81 frames through the autoencoder, in float32."""
    if bench.tiny:
        images = VideoLatents.load(GOLDEN / "wan_vace" / "checkpoint" / "vae", bench.device, torch.float32)
    else:
        images = VideoLatents(with_random_weights(wan_sizes.autoencoder(), 1, bench.device, torch.float32))
    frames, height, width = (9, 32, 48) if bench.tiny else (81, 480, 832)
    pixels = torch.randn(1, 3, frames, height, width, device=bench.device).clamp(-1, 1)
    latents, found = images.encode(pixels), {}
    runs = {"encode": lambda: images.encode(pixels), "decode": lambda: [None for _ in images.decoded(latents)]}
    for what, run in runs.items():
        peak: dict[str, int] = {}
        with bench.meter.peak(peak, what):
            found[f"{what}_s"] = bench.seconds(run, 1)
        found[f"{what}_peak_mb"] = peak[what] / 2**20
    return found


def parts(bench: Bench) -> Iterator[tuple[str, Callable[[], Measured]]]:
    """Everything, by name and in order."""
    for animator in WRITE:
        for dtype in HALVES:
            yield f"runs/{animator}/{dtype}", lambda a=animator, d=dtype: animator_runs(bench, a, HALVES[d])
    for name in WAN:
        yield f"runs/{name}/bfloat16", lambda n=name: wan_runs(bench, n)
    for head in (40, 80, 160):
        for reference in (False, True):
            what = f"runs/xformers/{head}{' with a reference' if reference else ''}"
            yield what, lambda h=head, r=reference: attention(bench, h, r, bench.half)
    for dtype in HALVES:
        yield f"window/matrix product/{dtype}", lambda d=dtype: matrix_rate(bench, HALVES[d])
        yield f"window/{dtype}", lambda d=dtype: window(bench, HALVES[d] if not bench.tiny else torch.float32)
    yield "film/64 frames, 25 steps", lambda: film(bench, "ours", *(20, 2) if bench.tiny else (64, 25))
    yield "film/64 frames, 1 step, published", lambda: film(bench, "published", 20 if bench.tiny else 64, 1)
    yield "film/1500 frames, 1 step", lambda: film(bench, "ours", 40 if bench.tiny else 1500, 1)
    yield "faster/fast mode", lambda: fast_mode(bench)
    settings: list[dict[str, Any]] = [
        {"channels_last": True},
        {"attention": "xformers"},
        {"compile": True},
        {"low_vram": True},
    ]
    for setting in settings:
        if setting.keys() <= Acceleration.model_fields.keys():
            yield f"faster/{json.dumps(setting)}", lambda s=setting: faster(bench, s)
    for name in WAN:
        yield f"wan/{name}/forward", lambda n=name: wan(bench, n)
    yield "wan/autoencoder", lambda: wan_coding(bench)


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` in the block when it takes longer."""

    def over(*_: Any) -> None:
        raise TimeoutError(f"took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tried(run: Callable[[], Measured], limit: int) -> Measured:
    """What it measured, or why not."""
    begun = time.perf_counter()
    try:
        with bounded(limit):
            found = run()
    except Exception as wrong:
        traceback.print_exc()
        found = {"error": f"{type(wrong).__name__}: {wrong}".splitlines()[0]}
    return {**found, "took_s": round(time.perf_counter() - begun, 1)}


def usable(device: str) -> bool:
    """Whether this process can go on with its device, of which what is unused is freed: some errors of CUDA last."""
    if device.startswith("cuda"):
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:
            return False
    return True


def main() -> int:
    """Measure what is not known yet: 0, or `AGAIN` where only another process can."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("on_gpu.json"))
    parser.add_argument("--earlier", type=Path, help="what an earlier run has written elsewhere")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks and sizes")
    parser.add_argument("--parts", nargs="+", default=["runs", "window", "film", "faster", "wan"])
    parser.add_argument("--limit", type=int, default=150, help="seconds of one part")
    parser.add_argument("--total", type=int, default=540, help="seconds after which no part is begun")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--again", action="store_true", help="also what has failed before")
    given = parser.parse_args()
    begun = time.monotonic()
    bench = Bench(given.device, given.tiny, given.repeats)
    known = {}
    for file in filter(None, (given.earlier, given.out)):
        known |= json.loads(file.read_text()) if file.exists() else {}
    card = torch.cuda.get_device_name() if given.device.startswith("cuda") else f"{os.cpu_count()} CPU cores"
    where = {"date": str(date.today()), "card": card, "torch": torch.__version__, "machine": platform.machine()}
    for name, run in parts(bench):
        done = name in known and not (given.again and "error" in known[name])
        if name.partition("/")[0] not in given.parts or done:
            continue
        if time.monotonic() - begun > given.total:
            print(f"no time left for {name} and what follows", flush=True)
            break
        known[name] = {**tried(run, given.limit), **where, "diffusers": diffusers.__version__, "tiny": given.tiny}
        given.out.write_text(json.dumps(known, indent=1))
        print(name, json.dumps(known[name]), flush=True)
        if not usable(given.device):
            print("nothing works on this device any more in this process: run again for what follows", flush=True)
            return AGAIN
    return 0


if __name__ == "__main__":
    sys.exit(main())
