"""The rows of shapes/*.csv, test data for them, and a reference in float64. Only make_data() and Reference need NumPy."""
import csv
import dataclasses
import math
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOURFOLD = ROOT / "build/release/bin/fourfold"


@dataclasses.dataclass(frozen=True)
class Problem:
    """A row of shapes/*.csv: a forward correlation, NCHW float32, square stride and dilation, the same padding on all sides."""

    name: str
    b: int
    ic: int
    i0: int
    i1: int
    oc: int
    f0: int
    f1: int
    stride: int
    pad: int
    dilation: int
    groups: int

    @property
    def o0(self):
        return (self.i0 + 2 * self.pad - self.dilation * (self.f0 - 1) - 1) // self.stride + 1

    @property
    def o1(self):
        return (self.i1 + 2 * self.pad - self.dilation * (self.f1 - 1) - 1) // self.stride + 1

    @property
    def flops(self):
        return 2.0 * self.b * self.oc * self.o0 * self.o1 * (self.ic // self.groups) * self.f0 * self.f1

    @property
    def one_channel(self):
        """NCHW and NHWC are the same memory."""
        return self.ic == 1 and self.oc == 1

    @property
    def single_plane(self):
        """One plane in, one out, dense: what the image libraries do."""
        return (self.b, self.ic, self.oc, self.groups, self.stride, self.dilation) == (1, 1, 1, 1, 1, 1)

    def line(self):
        text = f"b{self.b} ic{self.ic} i{self.i0}x{self.i1} oc{self.oc} f{self.f0}x{self.f1}"
        for token, value, default in (("s", self.stride, 1), ("p", self.pad, 0), ("d", self.dilation, 1), ("g", self.groups, 1)):
            if value != default:
                text += f" {token}{value}"
        return text


def parse_line(name, text):
    """The subset of the one-line form that the columns of shapes/*.csv can express."""
    v = dict(b=1, ic=1, i=None, oc=1, f=None, s=1, p=0, d=1, g=1)
    for token in re.split(r"[\s_]+", text.strip()):
        m = re.fullmatch(r"(ic|oc|b|i|f|s|p|d|g)([\dx,]+)", token)
        if token == "fwd":
            continue
        if not m:
            raise ValueError(f"{name}: peers.py does not measure '{token}'")
        sizes = [int(n) for n in re.split("[x,]", m[2])]
        if m[1] in "if":
            v[m[1]] = (sizes[0], sizes[-1])
        elif len(set(sizes)) != 1:
            raise ValueError(f"{name}: peers.py needs the same value on all sides in '{token}'")
        else:
            v[m[1]] = sizes[0]
    if v["i"] is None or v["f"] is None:
        raise ValueError(f"{name}: a problem needs i and f")
    return Problem(name, v["b"], v["ic"], *v["i"], v["oc"], *v["f"], v["s"], v["p"], v["d"], v["g"])


def read_shapes(path):
    problems = []
    with open(path, newline="") as file:
        for row in csv.reader(line for line in file if line.strip() and not line.lstrip().startswith("#")):
            if row[0].strip() == "name":
                continue
            problems.append(parse_line(row[0], row[1]) if len(row) == 2 else Problem(row[0], *(int(n) for n in row[1:12])))
    return problems


def make_data(np, p):
    rng = np.random.default_rng(1)

    def uniform(*shape):
        return rng.random(shape, dtype=np.float32) * 2 - 1

    return uniform(p.b, p.ic, p.i0, p.i1), uniform(p.oc, p.ic // p.groups, p.f0, p.f1), uniform(p.oc)


class Reference:
    """Sums in float64 at a sample of outputs, the corners among them; judges an output by
    max|y - y_ref| / max(|x| conv |w| + |b|) there."""

    def __init__(self, np, p, x, w, bias, samples=256):
        self.np, self.p = np, p
        rng = np.random.default_rng(2)
        places = [(0, 0, r, c) for r in (0, p.o0 - 1) for c in (0, p.o1 - 1)]
        places += [tuple(int(rng.integers(n)) for n in (p.b, p.oc, p.o0, p.o1)) for _ in range(samples)]
        self.index = tuple(np.array(places).T)
        per_group_in, per_group_out = p.ic // p.groups, p.oc // p.groups
        self.expected, self.scale = [], 0.0
        for n, k, r, c in places:
            first = k // per_group_out * per_group_in
            rows, f_rows = self.window(r, p.i0, p.f0)
            columns, f_columns = self.window(c, p.i1, p.f1)
            patch = x[n, first : first + per_group_in, rows, columns].astype(np.float64)
            terms = patch * w[k, :, f_rows, f_columns]
            self.expected.append(terms.sum() + bias[k])
            self.scale = max(self.scale, float(np.abs(terms).sum() + abs(bias[k])))

    def window(self, out, size, filter_size):
        """The part of the filter that lies on the input for this output, and the input under it."""
        p = self.p
        start = out * p.stride - p.pad
        low = max(0, -(start // p.dilation)) if start < 0 else 0
        high = min(filter_size, (size - 1 - start) // p.dilation + 1)
        return slice(start + low * p.dilation, max(0, start + (high - 1) * p.dilation + 1), p.dilation), slice(low, high)

    def error(self, y):
        p = self.p
        if tuple(y.shape) != (p.b, p.oc, p.o0, p.o1):
            return math.inf
        difference = self.np.abs(y[self.index].astype(self.np.float64) - self.expected).max()
        return float(difference) / self.scale if math.isfinite(difference) else math.inf


def error_limit(algorithm):
    """What the tests allow; `auto` chooses among all."""
    return 2e-5 if algorithm == "winograd" else 2e-6
