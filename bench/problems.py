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
    """A row of shapes/*.csv, a forward correlation, or one of its gradients: NCHW float32, square stride and dilation, the same
    padding on all sides."""

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
    operation: str = "fwd"

    @property
    def input_shape(self):
        return self.b, self.ic, self.i0, self.i1

    @property
    def filter_shape(self):
        return self.oc, self.ic // self.groups, self.f0, self.f1

    @property
    def output_shape(self):
        return self.b, self.oc, self.o0, self.o1

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
        text = ("" if self.operation == "fwd" else self.operation + " ") + f"b{self.b} ic{self.ic} i{self.i0}x{self.i1} oc{self.oc} f{self.f0}x{self.f1}"
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


def make_data(np, p, rank_one=False):
    """x, w, bias; of a gradient the two arrays that it reads: gy, w or x, gy. With rank_one, every filter plane is the outer product of
    its first column and row."""
    rng = np.random.default_rng(1)

    def uniform(*shape):
        return rng.random(shape, dtype=np.float32) * 2 - 1

    if p.operation == "bwd-data":
        return uniform(*p.output_shape), uniform(*p.filter_shape)
    if p.operation == "bwd-filters":
        return uniform(*p.input_shape), uniform(*p.output_shape)
    x, w, bias = uniform(*p.input_shape), uniform(*p.filter_shape), uniform(p.oc)
    return x, w[..., :, :1] * w[..., :1, :] if rank_one else w, bias


class Reference:
    """Sums in float64 at a sample of outputs, the corners among them; judges an output by
    max|y - y_ref| / max(|x| conv |w| + |b|) there; gradients alike."""

    def __init__(self, np, p, *arrays, samples=256):
        self.np, self.p = np, p
        self.shape = {"fwd": p.output_shape, "bwd-data": p.input_shape, "bwd-filters": p.filter_shape}[p.operation]
        rng = np.random.default_rng(2)
        places = [(0, 0, r, c) for r in (0, self.shape[2] - 1) for c in (0, self.shape[3] - 1)]
        places += [tuple(int(rng.integers(n)) for n in self.shape) for _ in range(samples)]
        self.index = tuple(np.array(places).T)
        self.per_group_in, self.per_group_out = p.ic // p.groups, p.oc // p.groups
        terms_at = {"fwd": self.forward, "bwd-data": self.data_gradient, "bwd-filters": self.filter_gradient}[p.operation]
        self.expected, self.scale = [], 0.0
        for place in places:
            terms = terms_at(place, *arrays)
            self.expected.append(terms.sum())
            self.scale = max(self.scale, float(np.abs(terms).sum()))

    def forward(self, place, x, w, bias):
        n, k, r, c = place
        first = k // self.per_group_out * self.per_group_in
        rows, f_rows = self.window(r, self.p.i0, self.p.f0)
        columns, f_columns = self.window(c, self.p.i1, self.p.f1)
        patch = x[n, first : first + self.per_group_in, rows, columns].astype(self.np.float64)
        return self.np.append(patch * w[k, :, f_rows, f_columns], self.np.float64(bias[k]))

    def data_gradient(self, place, gy, w):
        n, c, i, j = place
        first = c // self.per_group_in * self.per_group_out
        rows, f_rows = self.readers(i, self.p.o0, self.p.f0)
        columns, f_columns = self.readers(j, self.p.o1, self.p.f1)
        outputs = slice(first, first + self.per_group_out)
        return gy[n, outputs][:, rows][:, :, columns].astype(self.np.float64) * w[outputs, c % self.per_group_in][:, f_rows][:, :, f_columns]

    def readers(self, position, size, filter_size):
        """The outputs of an axis that read this input position, and the taps by which they do."""
        p = self.p
        pairs = [((position + p.pad - r * p.dilation) // p.stride, r) for r in range(filter_size) if (position + p.pad - r * p.dilation) % p.stride == 0]
        pairs = [(q, r) for q, r in pairs if 0 <= q < size]
        return [q for q, _ in pairs], [r for _, r in pairs]

    def filter_gradient(self, place, x, gy):
        k, c, r, s = place
        rows, o_rows = self.read_by(r, self.p.i0, self.p.o0)
        columns, o_columns = self.read_by(s, self.p.i1, self.p.o1)
        channel = k // self.per_group_out * self.per_group_in + c
        return x[:, channel, rows, columns].astype(self.np.float64) * gy[:, k, o_rows, o_columns]

    def read_by(self, tap, size, out):
        """The part of an axis that this tap reads, and the outputs for which it does."""
        p = self.p
        start = tap * p.dilation - p.pad
        low = max(0, -(start // p.stride))
        high = max(low, min(out, (size - 1 - start) // p.stride + 1))
        first = start + low * p.stride
        return slice(first, first + (high - low) * p.stride, p.stride), slice(low, high)

    def window(self, out, size, filter_size):
        """The part of the filter that lies on the input for this output, and the input under it."""
        p = self.p
        start = out * p.stride - p.pad
        low = max(0, -(start // p.dilation)) if start < 0 else 0
        high = min(filter_size, (size - 1 - start) // p.dilation + 1)
        return slice(start + low * p.dilation, max(0, start + (high - 1) * p.dilation + 1), p.dilation), slice(low, high)

    def error(self, y):
        if tuple(y.shape) != tuple(self.shape):
            return math.inf
        difference = self.np.abs(y[self.index].astype(self.np.float64) - self.expected).max()
        return float(difference) / self.scale if math.isfinite(difference) else math.inf


def error_limit(algorithm):
    """What the tests allow; `auto` chooses among all."""
    return 2e-5 if algorithm == "winograd" else 2e-6
