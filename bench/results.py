"""What bench/peers.py has measured, and how sure it is of it."""
import dataclasses
import functools
import math
import statistics
import zlib

from problems import Problem

RESAMPLES = 2000
BASELINES = {"nchw": ("torch-nchw",), "nhwc": ("torch-channels_last", "torch-nchw")}  # the latter for one channel


@dataclasses.dataclass(eq=False)
class Side:
    """One way to compute the problem, and its fastest call of each round in milliseconds."""

    name: str
    layout: str = ""
    filters: str = ""
    rounds: int = 0
    run: object = None
    thread: object = None  # the one that calls it
    slow: bool = False
    error: float = math.nan
    note: str = ""  # why it has no times
    failed: bool = False  # an error, not a problem that the library does not do
    detail: str = ""  # the library's name for its kernel
    times: list = dataclasses.field(default_factory=list)

    def fail(self, error):
        self.failed, self.note = True, "failed: " + (str(error).strip() or type(error).__name__).split("\n")[0]

    @property
    def ms(self):
        return min(self.times) if self.times else math.nan

    @property
    def spread(self):
        """How far the median round lies above the fastest: the noise of the machine."""
        return statistics.median(self.times) / self.ms - 1 if self.times else math.nan


@dataclasses.dataclass
class Interval:
    """A value, and the 95 % interval of what it would be in another session of as many rounds on this machine."""

    value: float
    low: float
    high: float

    @property
    def verdict(self):
        return "win" if self.low > 1 else "loss" if self.high < 1 else "tie"


def resampled(pairs, seed):
    """The medians of RESAMPLES random draws, with replacement, of as many ratios as there are."""
    import numpy as np

    draws = np.random.default_rng(zlib.crc32(seed.encode())).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    return np.median(np.array(pairs)[draws], axis=1)


def interval(value, samples):
    import numpy as np

    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(value, float(low), float(high))


@dataclasses.dataclass(eq=False)
class Row:
    file: str
    problem: Problem
    ours: Side
    layout: str = "nchw"
    algorithm: str = ""
    variant: str = ""
    peers: list = dataclasses.field(default_factory=list)
    failure: str = ""

    def pairs(self, side):
        return [theirs / ours for theirs, ours in zip(side.times, self.ours.times)]

    def medians(self, side):
        return resampled(self.pairs(side), f"{self.file}/{self.problem.name}/{side.name}")

    @functools.cache
    def ratio(self, side):
        """Peer time / fourfold time: the median of the rounds' ratios."""
        return interval(statistics.median(self.pairs(side)), self.medians(side))

    @property
    def timed(self):
        return [s for s in self.peers if s.times] if self.ours.times else []

    def fastest(self, sides):
        """By the ratio, which one lucky round does not move."""
        return min(sides, key=lambda s: self.ratio(s).value, default=None)

    @property
    def baseline(self):
        """What most programs call."""
        sides = {s.name: s for s in self.timed}
        names = BASELINES[self.layout] if self.problem.one_channel else BASELINES[self.layout][:1]
        return next((sides[n] for n in names if n in sides), None)

    @property
    def same_layout(self):
        """The fastest peer that reads and writes our layout."""
        ours = {"plane", "NCHW"} if self.layout == "nchw" else {"plane", "NHWC", "NCHW"} if self.problem.one_channel else {"NHWC"}
        return self.fastest([s for s in self.timed if s.layout in ours])

    @property
    def best(self):
        return self.fastest(self.timed)


@dataclasses.dataclass
class Summary:
    """The geometric mean over shapes of the ratios to one rival of each."""

    rival: str
    geomean: Interval
    counts: dict  # of win, tie, loss
    worst: Row
    worst_ratio: Interval


def summaries(rows):
    """To each of three rivals. The interval is that of the measurement for these shapes, not for other shapes."""
    import numpy as np

    rows = [r for r in rows if not r.failure]
    result = []
    for rival, pick in ((BASELINES[rows[0].layout][0] if rows else "", lambda r: r.baseline), ("best peer, same layout", lambda r: r.same_layout),
                        ("best peer", lambda r: r.best)):
        chosen = [(r, pick(r)) for r in rows if pick(r)]
        if not chosen:
            continue
        ratios = [r.ratio(s) for r, s in chosen]
        value = math.exp(statistics.fmean(math.log(i.value) for i in ratios))
        samples = np.exp(np.mean([np.log(r.medians(s)) for r, s in chosen], axis=0))
        worst = min(range(len(ratios)), key=lambda k: ratios[k].value)
        counts = {v: sum(i.verdict == v for i in ratios) for v in ("win", "tie", "loss")}
        result.append(Summary(rival, interval(value, samples), counts, chosen[worst][0], ratios[worst]))
    return result
