"""Measure, print, draw."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from stages.diffusion.animators import ANIMATORS
from tests.bench import ablations
from tests.bench.ablations import tables
from tests.bench.ablations.films import TRUTH, kept_measures, measure
from tests.bench.ablations.latents import SYSTEMS, denoise_latents, kept_latents
from tests.bench.ablations.people import PEOPLE, ROUND, clip_of
from tests.bench.ablations.variants import independent_noise, variants

KEPT = Path("out/ablations")


def main() -> None:
    """Print the tables."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=ablations.__doc__, formatter_class=form)
    parser.add_argument("--people", type=int, default=2, choices=range(1, len(PEOPLE) + 1))
    parser.add_argument("--frames", type=int, default=ROUND)
    parser.add_argument("--latent-steps", type=int, default=4, help="of the systems that have tiny random weights")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kept", type=Path, default=KEPT, help=f"folder of figures of films, default {KEPT}")
    parser.add_argument("--plots", type=Path, help="folder for pictures")
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    names, frames = list(PEOPLE)[: given.people], given.frames
    every, noisy = variants(frames), independent_noise(frames)
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
        work = [(name, frames, *one) for one in {TRUTH: None, **every}.items() for name in names]
        work += [(names[0], frames, *one) for one in noisy.items()]
        pending = [pool.submit(measure, *one, given.kept) for one in work]
        pending += [pool.submit(denoise_latents, system, frames, given.latent_steps, given.kept) for system in SYSTEMS]
        for one in pending:
            one.result()
    people, clip = kept_measures(names, frames, every, given.kept), clip_of(names[0])
    first = kept_measures(names[:1], frames, noisy, given.kept)
    latents = {system: kept_latents(system, frames, given.latent_steps, given.kept) for system in SYSTEMS}
    print(f"{', '.join(names)}: {frames} frames each, {clip.width}×{clip.height}, {clip.steps} steps\n")
    for some, of in ((every, people), (noisy, first)):
        print(tables.closeness(of, (*some, TRUTH)))
        print(tables.at_windows(of, clip, frames, some))
        print(tables.at_segments(of, frames, some))
    print(tables.at_joins(people))
    for system, found in latents.items():
        facts = ANIMATORS[system]
        print(f"{system}, {given.latent_steps} steps, windows of {facts.window}\n")
        cut = clip.model_copy(update={"window": facts.window, "overlap": facts.overlap, "steps": given.latent_steps})
        print(tables.in_latents(found, cut, frames))
    if given.plots:
        from tests.bench.ablations import plots  # needs the extra

        plots.draw_windows({"shared": people, "independent": first}, clip, frames, given.plots / "windows.png")
        plots.draw_segments({"shared": people, "independent": first}, latents, frames, given.plots / "segments.png")
        plots.draw_joins(people, given.plots / "loop.png")


if __name__ == "__main__":
    main()
