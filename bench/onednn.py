"""oneDNN itself, through its C API: a convolution whose tensors lie as its fastest kernel wants them, and one between plain
NCHW tensors. Needs libdnnl.so.3 built for OpenMP; PyPI has one (onednn-cpu-gomp)."""
import ctypes
import pathlib
import sys

from sides import Kind, Skip

# Values of oneDNN's enumerations; the same in every version 3.
CPU, F32, IN_ORDER, FORWARD_INFERENCE = 1, 3, 1, 96
CONVOLUTION_AUTO, CONVOLUTION_DIRECT = 3, 1
ANY, A, ABCD, ABCDE, ACDB = 1, 2, 5, 6, 22  # format tags
QUERY_IMPLEMENTATION, QUERY_SRC, QUERY_WEIGHTS, QUERY_DST = 8, 129, 131, 133
ARG_SRC, ARG_DST, ARG_WEIGHTS, ARG_BIAS = 1, 17, 33, 41
ALLOCATE = ctypes.c_void_p(-1)
STATUS = ["success", "out of memory", "invalid arguments", "unimplemented", "last implementation reached", "runtime error", "not required"]


class Argument(ctypes.Structure):
    """dnnl_exec_arg_t"""

    _fields_ = [("arg", ctypes.c_int), ("memory", ctypes.c_void_p)]


class Version(ctypes.Structure):
    """dnnl_version_t, as far as it matters"""

    _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int), ("hash", ctypes.c_char_p)]


class OneDnn:
    def __init__(self, threads):
        import numpy

        self.np, self.threads = numpy, threads
        self.library = self.load()
        for function, result in (("dnnl_version", ctypes.POINTER(Version)), ("dnnl_primitive_desc_query_md", ctypes.c_void_p)):
            getattr(self.library, function).restype = result
        # The OpenMP runtime that libdnnl is linked to; PyTorch's wheel may have brought the one in use.
        self.openmp = ctypes.CDLL("libgomp.so.1")
        version = self.library.dnnl_version().contents
        self.version = f"oneDNN {version.major}.{version.minor}.{version.patch} (called directly)"
        self.engine = self.create("dnnl_engine_create", CPU, ctypes.c_size_t(0))
        self.stream = self.create("dnnl_stream_create", self.engine, IN_ORDER)
        self.sides = {
            "onednn-any": Kind(self.any, "oneDNN's choice", "packed"),
            "onednn-nchw": Kind(self.nchw, "NCHW", "packed"),
            "onednn-nhwc": Kind(self.nhwc, "NHWC", "packed"),
        }

    @staticmethod
    def load():
        for path in (pathlib.Path(sys.prefix) / "lib/libdnnl.so.3", "libdnnl.so.3"):
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                last = error
        raise last

    def set_threads(self):
        self.openmp.omp_set_num_threads(self.threads)

    def check(self, status, what):
        if status != 0:
            raise RuntimeError(f"{what}: {STATUS[status] if 0 <= status < len(STATUS) else status}")

    def create(self, function, *arguments):
        """Calls a function whose first parameter receives a handle, and returns the handle."""
        handle = ctypes.c_void_p()
        self.check(getattr(self.library, function)(ctypes.byref(handle), *arguments), function)
        return handle

    def any(self, p, x, w, bias):
        return Convolution(self, p, x, w, bias, ANY)

    def nchw(self, p, x, w, bias):
        return Convolution(self, p, x, w, bias, ABCD)

    def nhwc(self, p, x, w, bias):
        if p.one_channel:
            raise Skip("one channel: the same memory as NCHW")
        return Convolution(self, p, x, w, bias, ACDB)

    def to_numpy(self, convolution):
        return convolution.result()


class Convolution:
    """One forward convolution with its tensors. Calling it computes; the handles go with the object."""

    def __init__(self, onednn, p, x, w, bias, tag):
        self.onednn, self.library, self.handles = onednn, onednn.library, []
        np = onednn.np
        self.shape = (p.b, p.oc, p.o0, p.o1)
        if p.groups > 1:
            w = w.reshape(p.groups, p.oc // p.groups, *w.shape[1:])
        pair = ctypes.c_int64 * 2
        pad = pair(p.pad, p.pad)
        # The padding below and to the right that makes the sizes work out exactly.
        end = pair(*((o - 1) * p.stride + p.dilation * (f - 1) + 1 - i - p.pad for o, f, i in ((p.o0, p.f0, p.i0), (p.o1, p.f1, p.i1))))
        dilates = pair(p.dilation - 1, p.dilation - 1)  # oneDNN counts what is skipped
        wanted = [self.layout(x.shape, tag), self.layout(w.shape, ANY), self.layout(bias.shape, A), self.layout(self.shape, tag)]

        def descriptor(algorithm):
            return self.create("primitive_desc", "dnnl_convolution_forward_primitive_desc_create", onednn.engine, FORWARD_INFERENCE, algorithm, *wanted,
                               pair(p.stride, p.stride), dilates, pad, end, None)

        try:
            chosen = descriptor(CONVOLUTION_AUTO)
        except RuntimeError:
            chosen = descriptor(CONVOLUTION_DIRECT)
        name = ctypes.c_char_p()
        self.library.dnnl_primitive_desc_query(chosen, QUERY_IMPLEMENTATION, 0, ctypes.byref(name))
        self.detail = name.value.decode() if name.value else ""
        if self.detail.startswith("ref"):
            raise Skip("oneDNN has only its reference loops for it")  # minutes for an image
        self.primitive = self.create("primitive", "dnnl_primitive_create", chosen)
        src, weights, dst = (ctypes.c_void_p(self.library.dnnl_primitive_desc_query_md(chosen, q, 0)) for q in (QUERY_SRC, QUERY_WEIGHTS, QUERY_DST))
        self.dst_layout, self.dst = dst, self.allocate(dst)
        self.arguments = (Argument * 4)(
            Argument(ARG_SRC, self.reordered(np.ascontiguousarray(x), ABCD, src)),
            Argument(ARG_WEIGHTS, self.reordered(np.ascontiguousarray(w), ABCDE if p.groups > 1 else ABCD, weights)),
            Argument(ARG_BIAS, self.reordered(bias, A, wanted[2])),
            Argument(ARG_DST, self.dst),
        )

    def create(self, kind, function, *arguments):
        handle = self.onednn.create(function, *arguments)
        self.handles.append((kind, handle))
        return handle

    def __del__(self):
        for kind, handle in reversed(self.handles):
            getattr(self.library, f"dnnl_{kind}_destroy")(handle)

    def layout(self, shape, tag):
        return self.create("memory_desc", "dnnl_memory_desc_create_with_tag", len(shape), (ctypes.c_int64 * 12)(*shape), F32, tag)

    def allocate(self, layout):
        return self.create("memory", "dnnl_memory_create", layout, self.onednn.engine, ALLOCATE)

    def reorder(self, source, source_layout, target, target_layout):
        engine = self.onednn.engine
        descriptor = self.create("primitive_desc", "dnnl_reorder_primitive_desc_create", source_layout, engine, target_layout, engine, None)
        self.execute(self.create("primitive", "dnnl_primitive_create", descriptor), (Argument * 2)(Argument(ARG_SRC, source), Argument(ARG_DST, target)))

    def over(self, array, layout):
        """A oneDNN view of the array, which must outlive its uses."""
        return self.create("memory", "dnnl_memory_create", layout, self.onednn.engine, ctypes.c_void_p(array.ctypes.data))

    def reordered(self, array, tag, layout):
        plain, target = self.layout(array.shape, tag), self.allocate(layout)
        self.reorder(self.over(array, plain), plain, target, layout)
        return target

    def result(self):
        y = self.onednn.np.empty(self.shape, self.onednn.np.float32)
        plain = self.layout(self.shape, ABCD)
        self.reorder(self.dst, self.dst_layout, self.over(y, plain), plain)
        return y

    def execute(self, primitive, arguments):
        onednn = self.onednn
        onednn.check(self.library.dnnl_primitive_execute(primitive, onednn.stream, len(arguments), arguments), "dnnl_primitive_execute")
        onednn.check(self.library.dnnl_stream_wait(onednn.stream), "dnnl_stream_wait")

    def __call__(self):
        # On a CPU the call returns when the work is done; waiting for the stream would only add the cost of a Python call.
        if status := self.library.dnnl_primitive_execute(self.primitive, self.onednn.stream, 4, self.arguments):
            self.onednn.check(status, "dnnl_primitive_execute")
        return self
