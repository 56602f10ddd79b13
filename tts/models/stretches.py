"""The sound of a clause in stretches: windows of latents through flow and decoder, on as many cores as there are.

Both are local: a window with enough context on both sides gives exactly what the whole would. So the first sound needs
only the first latents, and windows need not wait for one another.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from math import gcd

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from tts.model import WordTime
from tts.models.flow import Flow
from tts.models.hifigan import Decoder
from tts.models.lanes import Lanes

FRAME_GRID = 12  # windows of the decoder are multiples of it: a shape met for the first time costs extra
CPU_WINDOW, GPU_WINDOW = 156, 288  # most frames decoded at a time
LANE_FRAMES = 24  # fewest frames worth a core of their own: each window recomputes its context
LANE_FLOW = 96  # the same for the flow, whose context is longer
FLOW_GRID = 32
FIRST_FLOW, LATER_FLOW = 32, 320  # latents made at a time, beside what is recomputed on both sides


@dataclass(slots=True)
class VitsSpeech:
    """One clause between its text stage and its last sample."""

    prior: Tensor  # [frames, channels], a sample of the prior
    speaker: Tensor | None  # [1, gin]
    durations: list[int]  # frames of each phoneme id
    words: list[WordTime]
    latents: Tensor  # [frames, channels], valid up to `ready`
    ready: int = 0
    done: int = 0
    ahead: Future[int] | None = None  # latents on their way, and up to which frame
    frames: int = field(init=False)

    def __post_init__(self) -> None:
        self.frames = self.prior.shape[0]


class Stretches:
    """Flow and decoder of one voice."""

    def __init__(self, flow: Flow, decoder: Decoder, lanes: Lanes, device: torch.device) -> None:
        self.flow, self.decoder, self.lanes = flow, decoder, lanes
        self.longest = CPU_WINDOW if device.type == "cpu" else GPU_WINDOW
        # One window fills a CPU, and there each batch size is a new shape.
        self.batches = device.type != "cpu"
        self.spare = False  # a core has nothing to do in this step

    @torch.inference_mode()
    def decode(self, speeches: Sequence[VitsSpeech], frames: int) -> list[npt.NDArray[np.float32]]:
        """The next `frames` of each clause, or what is left of it."""
        wanted = [min(frames, speech.frames - speech.done) for speech in speeches]
        windows = [
            (speech, window)
            for speech, count in zip(speeches, wanted, strict=True)
            for window in self._windows(speech, count, len(speeches))
        ]
        for speech in speeches:
            if speech.ahead is not None:
                speech.ready, speech.ahead = speech.ahead.result(), None
        latest = {id(speech): (speech, window.stop) for speech, window in windows}
        flows = [
            flow for speech, stop in latest.values() for flow in self._flows(speech, stop, len(speeches))
        ]
        groups: dict[tuple[int, int], list[int]] = {}
        for i, (_, window) in enumerate(windows):
            key = (window.count, window.stop - window.start)
            groups.setdefault(key if self.batches else (i, 0), []).append(i)
        batches = [[windows[i] for i in group] for group in groups.values()]
        before = {id(flow[0]): flow for flow in flows}
        alone = len(windows) == len(batches) == len(speeches) and len(before) == len(flows)
        if alone:  # each clause waits for its own latents, and not for those of the others
            jobs = [partial(self._decode, batch, before.get(id(batch[0][0]))) for batch in batches]
            self.spare = len(jobs) < self.lanes.count
            sounds = self.lanes.run(jobs)
        else:
            self.lanes.run([partial(self._flow, *flow) for flow in flows])
            sounds = self.lanes.run([partial(self._decode, batch) for batch in batches])
        for speech, _, end in flows:
            speech.ready = max(speech.ready, end)
        rows = {i: row for group, made in zip(groups.values(), sounds, strict=True)
                for i, row in zip(group, made, strict=True)}  # fmt: skip
        parts: dict[int, list[npt.NDArray[np.float32]]] = {}
        for i, (speech, _) in enumerate(windows):
            parts.setdefault(id(speech), []).append(rows[i])
        for speech, count in zip(speeches, wanted, strict=True):
            speech.done += count
        return [np.concatenate(parts.get(id(speech), [np.empty(0, np.float32)])) for speech in speeches]

    def _windows(self, speech: VitsSpeech, wanted: int, speeches: int) -> list["_Window"]:
        """Where the decoder looks for the next sound: one window, or one for each core that has nothing else to do.

        Sizes come from a coarse grid, so that shapes repeat.
        """
        reach, length = self.decoder.reach, speech.frames
        even = self.lanes.count // gcd(
            self.lanes.count, speeches
        )  # no core waits while another has two windows
        lanes = max(1, min(even, wanted // LANE_FRAMES))
        parts = grid(-(-wanted // self.longest), lanes)
        part = grid(-(-wanted // parts), FRAME_GRID)
        if (most := (length - 2 * reach) // FRAME_GRID * FRAME_GRID) > 0:
            part = min(part, most)  # a window as long as the clause would have a size of its own
        windows, begin, end = [], speech.done, speech.done + wanted
        while begin < end:
            new = min(part, end - begin)
            count = min(length, grid(new, FRAME_GRID))
            first = min(begin, length - count)
            width = min(length, count + (1 if (begin, count) == (0, FRAME_GRID) else 2) * reach)
            start = min(max(0, first - reach), length - width)
            windows.append(_Window(start, start + width, first - start, count, begin - first, new))
            begin += new
        return windows

    @torch.inference_mode()
    def _decode(
        self, work: Sequence[tuple[VitsSpeech, "_Window"]], flow: tuple[VitsSpeech, int, int] | None = None
    ) -> list[npt.NDArray[np.float32]]:
        """The new sound of windows of one size; `flow` is the stretch of latents to be made for it first."""
        if flow is not None:
            self._flow(*flow)
            self._begin_ahead(*flow)
        latents = [speech.latents[window.start : window.stop] for speech, window in work]
        speakers = [speech.speaker for speech, _ in work if speech.speaker is not None]
        speaker = torch.stack(speakers) if speakers else None
        z = latents[0].unsqueeze(0) if len(latents) == 1 else torch.stack(latents)
        keep, count = [window.keep for _, window in work], work[0][1].count
        sound = self.decoder(z, keep, count, speaker).float().cpu().numpy()
        hop = self.decoder.hop
        return [
            row[window.skip * hop : (window.skip + window.frames) * hop]
            for row, (_, window) in zip(sound, work, strict=True)
        ]

    def _flows(self, speech: VitsSpeech, frame: int, speeches: int) -> Iterator[tuple[VitsSpeech, int, int]]:
        """Stretches that make latents ready up to `frame`: few frames for the first sound, then many."""
        if speech.ready >= frame:
            return
        short = speech.ready == 0 and speech.frames > 2 * FIRST_FLOW
        step = FIRST_FLOW if short else LATER_FLOW
        end = min(speech.frames, max(frame, speech.ready + step))
        lanes = max(1, min(self.lanes.count // speeches, (end - speech.ready) // LANE_FLOW))
        part = -(-(end - speech.ready) // max(lanes, -(-(end - speech.ready) // LATER_FLOW)))
        for begin in range(speech.ready, end, part):
            yield speech, begin, min(end, begin + part)

    def _begin_ahead(self, speech: VitsSpeech, begin: int, end: int) -> None:
        """Lets another core make the latents that follow the first ones, while this one makes the first sound."""
        if self.spare and begin == 0 and end < speech.frames:
            until = min(speech.frames, end + LATER_FLOW)
            speech.ahead = self.lanes.start(partial(self._flow, speech, end, until), until)

    @torch.inference_mode()
    def _flow(self, speech: VitsSpeech, begin: int, end: int) -> None:
        """Makes latents from frame `begin` to `end`. Needs none of those before."""
        reach, length = self.flow.reach, speech.frames
        speaker = None if speech.speaker is None else speech.speaker.unsqueeze(0)
        context = (reach if begin else 0) + (reach if end < length else 0)
        width = min(grid(end - begin + context, FLOW_GRID), grid(length, FLOW_GRID))
        first, mask = min(max(0, begin - reach), max(0, length - width)), None
        z = speech.prior[first : first + width]
        if width > length:  # fill up with frames that are masked out in every layer
            z = F.pad(z, (0, 0, 0, width - length))
            mask = (torch.arange(width, device=z.device) < length).reshape(1, width, 1)
        z = self.flow(z.unsqueeze(0), speaker, mask)[0]
        speech.latents[begin:end] = z[begin - first : end - first]

    def warm_ups(self) -> list[Callable[[], object]]:
        """One job for each shape of window on a CPU."""
        frames, channels = LATER_FLOW + 2 * self.flow.reach, self.flow.channels
        still = torch.zeros(frames, channels)
        speech = VitsSpeech(still, None, [frames], [], torch.zeros_like(still), ready=frames)
        jobs: list[Callable[[], object]] = []
        first = _Window(0, FRAME_GRID + self.decoder.reach, 0, FRAME_GRID, 0, FRAME_GRID)
        jobs.append(partial(self._decode, [(speech, first)]))
        for count in range(FRAME_GRID, self.longest + 1, FRAME_GRID):
            window = _Window(0, count + 2 * self.decoder.reach, self.decoder.reach, count, 0, count)
            jobs.append(partial(self._decode, [(speech, window)]))
        for end in range(FLOW_GRID, frames + 1, FLOW_GRID):
            part = VitsSpeech(still[:end], None, [end], [], torch.zeros(end, channels))
            jobs.append(partial(self._flow, part, 0, end))
        return jobs


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of latents to decode: `start` to `stop`, of which `count` frames from `keep` on become exact sound;
    of that, the first `skip` frames have been heard and `frames` are new."""

    start: int
    stop: int
    keep: int
    count: int
    skip: int
    frames: int


def grid(size: int, step: int) -> int:
    """`size` rounded up to a multiple of `step`."""
    return -(-size // step) * step
