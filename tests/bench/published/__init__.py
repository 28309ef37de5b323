"""The published algorithm of MagicAnimate, written plainly on diffusers' classes: what our speed is told over.

**Frozen: this room is never optimised.** A faster baseline would need a new name beside this one, else figures of
different dates could not be compared. It computes what `stages/diffusion/magicanimate/SPEC.md` says that the published
code computes, all that its "Wasted work" lists included:

1. both guidance halves go through the whole network, though they are equal until the middle block's attention;
2. both halves attend to the reference, then the unconditional one again without it; the reference's keys and values are
   projected anew for every frame of every window;
3. the appearance encoder runs at every step on two rows, of which one is read;
4. ControlNet sees the pose pictures anew at every step;
5. the text encoder runs twice on one string, and its keys and values are projected for every frame, half and step;
6. padded frames are denoised and decoded; frames are decoded one by one, and the film is kept whole in float32;
7. windows overlap and wrap (which the product's parity mode does as well);
8. residuals are kept for the whole clip, one frame at a time, joined for every window and doubled for both halves.

The arithmetic is the compute dtype's throughout (section 12). Attention is torch's, in place of the published code's
memory-efficient kernel. It knows nothing of the product: `test_published.py` runs it over the recorded cases.
"""
