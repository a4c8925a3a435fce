"""bench/peers.py --device cuda: PyTorch with cuDNN, and fourfold on the same tensors, on PyTorch's current stream.

True float32 on both sides. Times are between CUDA events around many calls, after warming up, of inputs that take turns through more memory
than the GPU's second-level cache holds; copies to and from the GPU are in none of them.
"""
import time

from sides import Kind, Skip

ROTATED_BYTES = 256 << 20
BATCH_MS = 1.0  # between two events; what the events cost is lost in it


class Run:
    """A call on one of several equal inputs, in turns."""

    def __init__(self, torch, function, x):
        self.torch, self.function, self.next = torch, function, 0
        count = max(2, min(64, ROTATED_BYTES // max(1, x.nbytes)))
        self.inputs = [x, *(x.clone() for _ in range(count - 1))]

    def call(self):
        self.next = (self.next + 1) % len(self.inputs)
        return self.function(self.inputs[self.next])

    def __call__(self):
        y = self.call()
        self.torch.cuda.synchronize()
        return y

    def batch(self, calls):
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(calls):
            self.call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / calls

    def fastest(self, seconds):
        """The least of the batches' mean milliseconds."""
        end = time.perf_counter() + seconds
        calls = max(1, round(BATCH_MS / max(1e-3, min(self.batch(3) for _ in range(2)))))
        best = self.batch(calls)
        while time.perf_counter() < end:
            best = min(best, self.batch(calls))
        return best


def find_torch():
    import torch

    if not torch.cuda.is_available():
        raise OSError("PyTorch finds no GPU")
    try:
        torch.backends.cudnn.version()
    except RuntimeError as error:  # another cuDNN than it was built against
        raise OSError(error) from None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return torch


class Torch:
    """PyTorch on the GPU, whose convolutions are cuDNN's, the algorithm measured by it for every shape."""

    def __init__(self, threads):
        self.torch = torch = find_torch()
        self.version = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, TF32 off"
        formats = {"torch-nchw": ("NCHW", torch.contiguous_format), "torch-channels_last": ("NHWC", torch.channels_last)}
        self.sides = {name: Kind(lambda p, *a, f=f: self.forward(p, f, *a), layout, "plain") for name, (layout, f) in formats.items()}
        self.gradients = {name: Kind(lambda p, *a, f=f: self.gradient(p, f, *a), layout, "plain") for name, (layout, f) in formats.items()}

    def set_threads(self):
        pass  # nothing is computed on the CPU

    def to_numpy(self, y):
        return y.cpu().contiguous().numpy()

    def tensors(self, p, memory_format, *arrays):
        if memory_format is self.torch.channels_last and p.one_channel:
            raise Skip("one channel: the same memory as NCHW")
        return (self.torch.from_numpy(a).cuda().contiguous(memory_format=memory_format) for a in arrays)

    def forward(self, p, memory_format, x, w, bias):
        x, w = self.tensors(p, memory_format, x, w)
        bias = self.torch.from_numpy(bias).cuda()
        conv2d = self.torch.nn.functional.conv2d

        @self.torch.inference_mode()
        def call(x):
            return conv2d(x, w, bias, p.stride, p.pad, p.dilation, p.groups)

        return Run(self.torch, call, x)

    def gradient(self, p, memory_format, a, b):
        """What autograd calls, for the one gradient asked for."""
        torch, data = self.torch, p.operation == "bwd-data"
        a, b = self.tensors(p, memory_format, a, b)
        other = torch.zeros(p.input_shape if data else p.filter_shape, device="cuda").contiguous(memory_format=memory_format)
        backward, mask = torch.ops.aten.convolution_backward, [data, not data, False]

        @torch.inference_mode()
        def call(a):
            gy, x, w = (a, other, b) if data else (b, a, other)
            return backward(gy, x, w, None, [p.stride] * 2, [p.pad] * 2, [p.dilation] * 2, False, [0, 0], p.groups, mask)[0 if data else 1]

        return Run(torch, call, a)


class Fourfold:
    """The Python package, in this process: what bench/sides.py has the command for."""

    def __init__(self, algorithm, layout, include_packing, min_time):
        import fourfold

        self.torch, self.core = find_torch(), fourfold._core
        self.algorithm, self.layout, self.include_packing, self.min_time = algorithm, layout, include_packing, min_time
        self.device = f"cuda:{self.torch.cuda.current_device()}"
        self.version = f"fourfold {fourfold.__version__} on {self.torch.cuda.get_device_name()}"
        self.prepared = None, None

    def prepare(self, p, arrays):
        torch = self.torch
        options = self.core.Options(device=self.device, algorithm=self.algorithm, packs_each_time=self.include_packing)
        plan = self.core.DevicePlan(self.core.Problem(p.line() + (" nhwc" if self.layout == "nhwc" else "")), options)
        memory_format = torch.channels_last if self.layout == "nhwc" else torch.contiguous_format
        a, b, *bias = (torch.from_numpy(t).cuda() for t in arrays)
        a = a.contiguous(memory_format=memory_format)
        first, result = {"fwd": ("input", "output"), "bwd-data": ("grad_output", "grad_input"), "bwd-filters": ("input", "grad_filters")}[p.operation]
        shape = {"fwd": p.output_shape, "bwd-data": p.input_shape, "bwd-filters": p.filter_shape}[p.operation]
        if p.operation == "bwd-filters":
            b = b.contiguous(memory_format=memory_format)
            y = torch.empty(shape, device="cuda")
        else:
            y = torch.empty(shape, device="cuda").contiguous(memory_format=memory_format)
        block = lambda count: torch.empty(max(1, count), dtype=torch.uint8, device="cuda")
        workspace, packed = block(plan.workspace_bytes), block(plan.packed_filter_bytes)
        there = lambda t: (t.data_ptr(), t.stride())
        stream = torch.cuda.current_stream().cuda_stream
        rest = {"bias": bias[0].data_ptr()} if bias else {}
        if p.operation == "bwd-filters":
            rest["grad_output"] = there(b)
        elif self.include_packing:
            rest["filters"] = there(b)
        else:
            plan.pack_filters(stream, workspace.data_ptr(), there(b), packed.data_ptr())
            rest["packed"] = packed.data_ptr()
        rest[result] = there(y)
        work, execute = workspace.data_ptr(), plan.execute

        def call(x, keep=(workspace, packed, b, bias)):
            execute(stream, work, **{first: there(x)}, **rest)
            return y

        return plan, Run(torch, call, a)

    def compute(self, np, p, *arrays):
        self.prepared = p, self.prepare(p, arrays)
        return self.prepared[1][1]().cpu().contiguous().numpy()

    def bench(self, p):
        """Of the problem that was computed last."""
        prepared, (plan, run) = self.prepared
        assert prepared == p
        return {"algorithm": plan.algorithm, "variant": plan.variant, "ms_min": run.fastest(self.min_time)}
