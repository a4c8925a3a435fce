"""fourfold on NumPy arrays and DLPack: values against a plain float64 sum, memory layouts, errors, threads."""

import json
import os
import pathlib
import sys
import tempfile
import threading
import unittest

from support import require

require("numpy")
import fourfold
import numpy as np

SEED = 20261120
PAD_MODES = {"zeros": "constant", "reflect": "reflect", "symmetric": "symmetric", "replicate": "edge", "circular": "wrap"}


def random(*shape, seed=SEED):
    return np.random.default_rng(seed + sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def reference(x, w, bias=None, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1, mode="zeros"):
    x, w = x.astype(np.float64), w.astype(np.float64)
    x = np.pad(x, ((0, 0), (0, 0), pads[:2], pads[2:]), mode=PAD_MODES[mode])
    oc, icg, f0, f1 = w.shape
    o0 = (x.shape[2] - dilation[0] * (f0 - 1) - 1) // stride[0] + 1
    o1 = (x.shape[3] - dilation[1] * (f1 - 1) - 1) // stride[1] + 1
    y = np.zeros((x.shape[0], oc, o0, o1))
    for g in range(groups):
        xs, ks = x[:, g * icg:(g + 1) * icg], slice(g * oc // groups, (g + 1) * oc // groups)
        for r in range(f0):
            for s in range(f1):
                part = xs[:, :, r * dilation[0]:, s * dilation[1]:][:, :, :o0 * stride[0]:stride[0], :o1 * stride[1]:stride[1]]
                y[:, ks] += np.einsum("nchw,kc->nkhw", part[:, :, :o0, :o1], w[ks, :, r, s])
    return y if bias is None else y + bias.astype(np.float64)[None, :, None, None]


def turns_beside(call):
    """How often another thread has its turn during a call, up to 1000. One that asks for the GIL waits 100 s unless the call releases it."""
    begun, ended, count = threading.Event(), threading.Event(), 0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)
    try:
        def work():
            begun.set()
            call()
            ended.set()

        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
        while not ended.is_set() and count < 1000:  # no longer: the thread needs the GIL to return
            count += 1
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    return count


class Conv2d(unittest.TestCase):
    def check(self, y, expected):
        self.assertEqual(y.dtype, np.float32)
        self.assertEqual(y.shape, expected.shape)
        self.assertLess(np.abs(y - expected).max() / np.abs(expected).max(), 2e-5)

    def test_values(self):
        for stride, pads, dilation, groups, mode in [
            ((1, 1), (0, 0, 0, 0), (1, 1), 1, "zeros"),
            ((2, 1), (1, 0, 2, 1), (1, 2), 2, "zeros"),
            ((1, 1), (2, 2, 1, 1), (1, 1), 1, "reflect"),
            ((1, 2), (1, 1, 1, 1), (2, 1), 3, "circular"),
            ((1, 1), (1, 1, 1, 1), (1, 1), 6, "replicate"),
            ((1, 1), (3, 1, 0, 2), (1, 1), 1, "symmetric"),
        ]:
            with self.subTest(stride=stride, pads=pads, dilation=dilation, groups=groups, mode=mode):
                x, w, b = random(2, 6, 13, 11), random(12, 6 // groups, 3, 4), random(12)
                y = fourfold.conv2d(x, w, b, stride=stride, padding=pads, dilation=dilation, groups=groups, padding_mode=mode)
                self.check(y, reference(x, w, b, stride, pads, dilation, groups, mode))

    def test_numbers_of_numpy(self):
        x, w, two = random(1, 4, 10, 9), random(4, 2, 3, 4), np.int64(2)
        expected = fourfold.conv2d(x, w, stride=2, padding=1, groups=2)
        for arguments in [dict(stride=two, padding=np.int32(1)), dict(stride=np.array([2, 2]), padding=np.ones(4, int)), dict(stride=[two, 2], padding=(1, np.uint8(1)))]:
            self.assertTrue(np.array_equal(fourfold.conv2d(x, w, groups=two, **arguments), expected))

    def test_named_padding(self):
        x, w = random(1, 3, 10, 9), random(4, 3, 3, 4)
        self.check(fourfold.conv2d(x, w, padding="same"), reference(x, w, pads=(1, 1, 1, 2)))
        self.check(fourfold.conv2d(x, w, padding="full"), reference(x, w, pads=(2, 2, 3, 3)))
        self.check(fourfold.conv2d(x, w, padding="valid"), reference(x, w))
        self.assertEqual(fourfold.conv2d(x, w, padding="same", stride=2).shape, (1, 4, 5, 5))

    def test_algorithms_post_op_and_residual(self):
        x, w, b, z = random(2, 8, 12, 12), random(8, 8, 3, 3), random(8), random(2, 8, 12, 12, seed=7)
        expected = np.maximum(reference(x, w, b, pads=(1, 1, 1, 1)) + z, 0)
        for algorithm in ["auto", "naive", "direct", "im2col", "fft", "fft_tiled", "winograd"]:
            with self.subTest(algorithm):
                self.check(fourfold.conv2d(x, w, b, padding=1, residual=z, post_op="relu", algorithm=algorithm), expected)

    def test_flipped_filters(self):
        x, w = random(1, 2, 9, 9), random(3, 2, 3, 3)
        self.check(fourfold.conv2d(x, w, filter_mode="conv"), reference(x, w[:, :, ::-1, ::-1]))

    def test_memory(self):
        """Regions, channels last and transposed arrays give the same values; only what cannot be read in place is copied."""
        whole, w = random(2, 6, 20, 20), random(8, 6, 3, 3)
        region = whole[:, :, 3:14, 2:17]
        self.check(fourfold.conv2d(region, w), reference(region, w))
        last = np.ascontiguousarray(whole.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        y = fourfold.conv2d(last, w)
        self.check(y, reference(whole, w))
        self.assertTrue(y.transpose(0, 2, 3, 1).flags.c_contiguous)
        for strange in [whole.transpose(0, 1, 3, 2), whole[:, :, ::-1], whole[:, :, :, ::2], np.broadcast_to(whole[:1], (3, 6, 20, 20))]:
            self.check(fourfold.conv2d(strange, w), reference(strange, w))
        for array, copied in [(region, False), (last, False), (whole[1:], False), (whole[:, :, ::-1], True), (whole[..., ::2], True)]:
            self.assertEqual(fourfold._image("x", array)[0] is not array, copied)
        self.check(fourfold.conv2d(whole, w[:, :, ::-1]), reference(whole, w[:, :, ::-1]))
        # Filters in any order of memory.
        other = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
        self.check(fourfold.conv2d(whole, other), reference(whole, w))

    def test_out(self):
        x, w, frame = random(1, 3, 8, 8), random(4, 3, 3, 3), np.full((1, 4, 10, 9), 7, np.float32)
        out = frame[:, :, 2:8, 1:7]
        self.assertIs(fourfold.conv2d(x, w, out=out), out)
        self.check(out, reference(x, w))
        frame[:, :, 2:8, 1:7] = 7
        self.assertTrue((frame == 7).all())

    def test_dlpack_is_read_in_place(self):
        class Foreign:  # only the protocol, of nobody's array type
            def __init__(self, array):
                self.array = array

            def __dlpack__(self, **keywords):
                return self.array.__dlpack__(**keywords)

            def __dlpack_device__(self):
                return self.array.__dlpack_device__()

        x, w = random(1, 3, 8, 8), random(4, 3, 3, 3)
        self.check(fourfold.conv2d(Foreign(x), Foreign(w)), reference(x, w))
        self.assertEqual(fourfold._array("x", Foreign(x), 4).ctypes.data, x.ctypes.data)
        self.check(np.from_dlpack(fourfold.conv2d(x, w)), reference(x, w))

    def test_read_only_input(self):
        x, w = random(1, 3, 8, 8), random(4, 3, 3, 3)
        x.flags.writeable = w.flags.writeable = False
        self.check(fourfold.conv2d(x, w), reference(x, w))
        with self.assertRaises((TypeError, ValueError)):
            fourfold.conv2d(x, w, out=x[:, :, :6, :6])


class ConvTranspose2d(unittest.TestCase):
    def test_is_the_adjoint(self):
        """<conv(x, w), g> = <x, transposed(g, w)>."""
        for stride, padding, extra, dilation, groups in [(1, 0, 0, 1, 1), (2, 1, 1, 1, 2), (3, (2, 1), (0, 2), 1, 1), (2, 1, 0, 2, 2)]:
            with self.subTest(stride=stride, padding=padding, extra=extra, dilation=dilation, groups=groups):
                g, w = random(2, 8, 6, 5), random(8, 6 // groups, 3, 3)
                x = fourfold.conv_transpose2d(g, w, stride=stride, padding=padding, output_padding=extra, dilation=dilation, groups=groups)
                probe = random(*x.shape, seed=3)
                y = fourfold.conv2d(probe, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
                self.assertEqual(y.shape, g.shape)
                left, right = (y.astype(np.float64) * g).sum(), (probe.astype(np.float64) * x).sum()
                self.assertLess(abs(left - right), 1e-4 * max(1, abs(left)))

    def test_output_padding_beyond_the_padding(self):
        """Under dilation: the result of no output padding, with what it adds after."""
        for stride, padding, extra, dilation in [(1, 0, 2, 3), (2, 1, 2, 3), (1, 1, (2, 0), 4)]:
            with self.subTest(stride=stride, padding=padding, extra=extra, dilation=dilation):
                g, w, b = random(2, 4, 6, 5), random(4, 3, 3, 3), random(3)
                long = fourfold.conv_transpose2d(g, w, b, stride=stride, output_padding=extra, dilation=dilation)
                rows, columns = extra if isinstance(extra, tuple) else (extra, extra)
                plain = fourfold.conv_transpose2d(g, w, b, stride=stride, dilation=dilation)
                self.assertEqual(long.shape[2:], (plain.shape[2] + rows, plain.shape[3] + columns))
                expected = np.broadcast_to(b[None, :, None, None], long.shape).copy()
                expected[:, :, :plain.shape[2], :plain.shape[3]] = plain
                self.assertLess(np.abs(long - expected).max(), 1e-5)
                cut = fourfold.conv_transpose2d(g, w, b, stride=stride, padding=padding, output_padding=extra, dilation=dilation)
                end = [long.shape[a] - padding for a in (2, 3)]
                self.assertLess(np.abs(cut - long[:, :, padding:end[0], padding:end[1]]).max(), 1e-5)

    def test_bias(self):
        g, w, b = random(2, 4, 6, 5), random(4, 3, 3, 3), random(3)
        plain = fourfold.conv_transpose2d(g, w)
        self.assertLess(np.abs(fourfold.conv_transpose2d(g, w, b) - plain - b[None, :, None, None]).max(), 1e-5)


class Plans(unittest.TestCase):
    def test_packed_filters(self):
        x, w, b = random(2, 8, 12, 12), random(8, 8, 3, 3), random(8)
        plan = fourfold.Plan("b2 ic8 i12 oc8 f3 p1", algorithm="direct", threads=1)
        self.assertEqual((plan.algorithm, plan.threads, str(plan.problem)), ("direct", 1, "fwd b2 ic8 i12x12 oc8 f3x3 p1,1,1,1"))
        packed = plan.pack_filters(w)
        self.assertEqual(packed.nbytes, plan.packed_filter_bytes)
        y = plan.execute(input=x, filters=packed, bias=b)
        self.assertTrue((y == plan.execute(input=x, filters=w, bias=b)).all())
        saved = fourfold.PackedFilters(bytes(packed))
        self.assertTrue((y == plan.execute(input=x, filters=saved, bias=b)).all())
        with self.assertRaisesRegex(ValueError, "packed"):
            plan.execute(input=x, filters=fourfold.PackedFilters(bytes(packed.nbytes)))

    def test_gradients(self):
        x, w, g = random(2, 6, 10, 9), random(4, 6, 3, 3), random(2, 4, 10, 9)
        gx = fourfold.Plan("bwd-data b2 ic6 i10x9 oc4 f3 p1").execute(grad_output=g, filters=w)
        gb = np.empty(4, np.float32)
        gw = fourfold.Plan("bwd-filters b2 ic6 i10x9 oc4 f3 p1").execute(input=x, grad_output=g, grad_bias=gb)
        y = fourfold.conv2d(x, w, padding=1)
        inner = (y.astype(np.float64) * g).sum()
        self.assertAlmostEqual((gx.astype(np.float64) * x).sum(), inner, delta=1e-3)
        self.assertAlmostEqual((gw.astype(np.float64) * w).sum(), inner, delta=1e-3)
        self.assertLess(np.abs(gb - g.sum((0, 2, 3))).max(), 1e-4)

    def test_problem(self):
        p = fourfold.Problem("b8 ic64 i56 oc32 f3 p1 s2")
        self.assertEqual((p.input_shape, p.filter_shape, p.output_shape), ((8, 64, 56, 56), (32, 64, 3, 3), (8, 32, 28, 28)))
        self.assertEqual(p, fourfold.Problem(str(p)))
        self.assertEqual(hash(p), hash(fourfold.Problem(str(p))))
        self.assertNotEqual(p, p.valid())
        self.assertEqual(p.flops, 2 * 8 * 32 * 28 * 28 * 64 * 9)

    def test_explain(self):
        candidates = fourfold.explain("b8 ic64 i56 oc64 f3 p1")
        chosen = [c["algorithm"] for c in candidates if c["chosen"]]
        self.assertEqual(chosen, [fourfold.Plan("b8 ic64 i56 oc64 f3 p1").algorithm])
        self.assertTrue(all(c["reason"] for c in candidates))

    def test_threads_run_at_once(self):
        """Other Python threads go on while the library works, and each caller gets its own result."""
        plan = fourfold.Plan("b4 ic32 i64 oc32 f5 p2", threads=1)
        w = random(32, 32, 5, 5)
        inputs = [random(4, 32, 64, 64, seed=s) for s in range(4)]
        expected = [plan.execute(input=x, filters=w) for x in inputs]
        results = [None] * len(inputs)

        def work(i):
            for _ in range(3):
                results[i] = plan.execute(input=inputs[i], filters=w)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for y, e in zip(results, expected):
            self.assertTrue((y == e).all())

    def test_gil_is_released(self):
        plan = fourfold.Plan("b2 ic64 i64 oc64 f3 p1", threads=1, algorithm="naive")
        x, w = random(2, 64, 64, 64), random(64, 64, 3, 3)
        self.assertGreater(turns_beside(lambda: plan.execute(input=x, filters=w)), 0)


class Options(unittest.TestCase):
    def test_choice_makes_the_plan_again(self):
        plan = fourfold.Plan("b1 ic16 i20 oc16 f3 p1", blocked=["winograd", "fft_tiled"])
        self.assertNotIn(plan.algorithm, ("winograd", "fft_tiled"))
        with self.assertRaisesRegex(ValueError, "blocked: 'winogrd' is neither an algorithm"):
            fourfold.Plan("b1 ic16 i20 oc16 f3 p1", blocked=["winogrd"])
        again = fourfold.Plan("b1 ic16 i20 oc16 f3 p1", choice=plan.choice, cache="cold", choose_for_threads=True)
        self.assertEqual((again.choice, again.decided_by), (plan.choice, "named by the caller"))
        candidates = fourfold.explain("b1 ic16 i20 oc16 f3 p1", accuracy="strict", threads=1)
        self.assertIn("strict", {c["algorithm"]: c["reason"] for c in candidates}["winograd"])
        self.assertIn(fourfold.Plan("b1 ic16 i20 oc16 f3 p1", threads=1).choice, [c["choice"] for c in fourfold.explain("b1 ic16 i20 oc16 f3 p1", threads=1)])

    def test_measured_choice(self):
        plan = fourfold.Plan("b1 ic3 i9 oc5 f3", effort="measure", threads=1)
        x, w = random(1, 3, 9, 9), random(5, 3, 3, 3)
        self.assertLess(np.abs(plan.execute(input=x, filters=w) - reference(x, w)).max(), 1e-4)


class Columns(unittest.TestCase):
    """unfold and fold against NumPy's own windows."""

    CASES = [(3, 1, 0, 1), ((2, 3), (2, 1), (1, 0, 2, 1), (1, 2)), (3, 2, 1, 1), (1, 1, 0, 1)]

    def expected(self, x, size, stride, pads, dilation):
        (f0, f1), (s0, s1), (d0, d1), pads = fourfold._two("f", size), fourfold._two("s", stride), fourfold._two("d", dilation), fourfold._four("p", pads)
        x = np.pad(x, ((0, 0), (0, 0), pads[:2], pads[2:]))
        windows = np.lib.stride_tricks.sliding_window_view(x, (d0 * (f0 - 1) + 1, d1 * (f1 - 1) + 1), (2, 3))[:, :, ::s0, ::s1, ::d0, ::d1]
        b, c, o0, o1 = windows.shape[:4]
        return windows.transpose(0, 1, 4, 5, 2, 3).reshape(b, c * f0 * f1, o0 * o1)

    def test_unfold(self):
        x = random(2, 3, 9, 8)
        for size, stride, pads, dilation in self.CASES:
            expected = self.expected(x, size, stride, pads, dilation)
            for image in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), x[:, :, ::-1][:, :, ::-1]):
                self.assertTrue((fourfold.unfold(image, size, stride=stride, padding=pads, dilation=dilation) == expected).all())
            whole = np.full((2, expected.shape[1], expected.shape[2] + 3), 7, np.float32)
            out = whole[:, :, 2:-1]
            self.assertIs(fourfold.unfold(x, size, stride=stride, padding=pads, dilation=dilation, out=out), out)
            self.assertTrue((out == expected).all() and (whole[:, :, :2] == 7).all() and (whole[:, :, -1] == 7).all())

    def test_fold_is_the_adjoint(self):
        x = random(2, 3, 9, 8)
        for size, stride, pads, dilation in self.CASES:
            columns = fourfold.unfold(x, size, stride=stride, padding=pads, dilation=dilation)
            probe = random(*columns.shape, seed=4)
            image = fourfold.fold(probe, (9, 8), size, stride=stride, padding=pads, dilation=dilation)
            self.assertEqual(image.shape, x.shape)
            self.assertAlmostEqual((columns.astype(np.float64) * probe).sum(), (image.astype(np.float64) * x).sum(), places=3)
            counts = fourfold.fold(fourfold.unfold(np.ones_like(x), size, stride=stride, padding=pads, dilation=dilation), (9, 8), size, stride=stride, padding=pads, dilation=dilation)
            self.assertLess(np.abs(fourfold.fold(columns, (9, 8), size, stride=stride, padding=pads, dilation=dilation) - counts * x).max(), 1e-5)

    def test_fold_into(self):
        columns = random(1, 18, 16)
        expected = fourfold.fold(columns, 4, 3, padding=1)
        out = np.empty((1, 4, 4, 2), np.float32).transpose(0, 3, 1, 2)
        self.assertIs(fourfold.fold(columns[:, :, ::-1][:, :, ::-1], 4, 3, padding=1, out=out), out)
        self.assertTrue((out == expected).all())

    def test_padding_modes(self):
        x = random(1, 2, 6, 5)
        for numpy, names in {"reflect": ("reflect", "mirror"), "symmetric": ("symmetric", "grid-mirror", "symm"), "edge": ("replicate", "nearest", "edge"),
                             "wrap": ("circular", "wrap", "grid-wrap"), "constant": ("zeros", "constant", "grid-constant", "fill", "constant:0")}.items():
            for name in names:
                with self.subTest(name):
                    columns = fourfold.unfold(x, 3, padding=1, padding_mode=name)
                    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode=numpy)
                    self.assertTrue((columns == self.expected(padded, 3, 1, 0, 1)).all())
                    w = random(3, 2, 3, 3)
                    self.assertTrue((fourfold.conv2d(x, w, padding=1, padding_mode=name) == fourfold.conv2d(x, w, padding=1, padding_mode=names[0])).all())


class Spectral(unittest.TestCase):
    EQUATIONS = {"bijc": "bijc,ijck->bijk", "bcij": "bcij,kcij->bkij"}

    def operands(self, order):
        x, w = random(3, 2, 4, 5, seed=1) + 1j * random(3, 2, 4, 5, seed=2), random(6, 2, 4, 5, seed=3) + 1j * random(6, 2, 4, 5, seed=4)
        if order == "bijc":
            x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
        return np.ascontiguousarray(x), np.ascontiguousarray(w)

    def close(self, got, expected):
        self.assertEqual((got.dtype, got.shape), (np.complex64, expected.shape))
        self.assertLess(np.abs(got - expected).max(), 1e-5)

    def test_product(self):
        for order, equation in self.EQUATIONS.items():
            x, w = self.operands(order)
            expected = np.einsum(equation, x.astype(complex), w)
            self.close(fourfold.spectral_product(x, w, order=order), expected)
            out = np.ones(expected.shape, np.complex64)
            self.assertIs(fourfold.spectral_product(x, w, order=order, out=out, accumulate=True), out)
            self.close(out, expected + 1)
            # A region is read where it lies, what cannot be read is copied.
            wide = np.concatenate([x, x], 0)
            self.close(fourfold.spectral_product(wide[3:], w, order=order), expected)
            self.close(fourfold.spectral_product(x[:, ::-1], w[::-1] if order == "bijc" else w[:, ::-1], order=order), np.einsum(equation, x[:, ::-1].astype(complex), w[::-1] if order == "bijc" else w[:, ::-1]))

    def test_gradients_and_packed_filters(self):
        for order in self.EQUATIONS:
            x, w = self.operands(order)
            y = fourfold.spectral_product(x, w, order=order)
            sizes = f"spectral b3 ic2 i4x5 oc6 {order}"
            gx = fourfold.SpectralPlan(sizes + " bwd-data").execute(grad_output=y, filters=w)
            gw = fourfold.SpectralPlan(sizes + " bwd-filters").execute(input=x, grad_output=y)
            self.assertEqual((gx.shape, gw.shape), (x.shape, w.shape))
            norm = (np.abs(y.astype(complex)) ** 2).sum()
            self.assertAlmostEqual((gx.conj() * x).sum().real, norm, delta=1e-4 * norm)
            self.assertAlmostEqual((gw.conj() * w).sum().real, norm, delta=1e-4 * norm)
            plan = fourfold.SpectralPlan(sizes, threads=2)
            self.assertEqual((plan.problem, plan.threads), (fourfold.SpectralProblem(sizes), 2))
            packed = plan.pack_filters(w)
            self.assertEqual(packed.nbytes, plan.packed_filter_bytes)
            self.close(plan.execute(input=x, filters=packed), y)

    def test_transforms(self):
        for h, w in [(6, 8), (5, 9), (1, 1)]:
            x = random(2, 3, h, w)
            expected = np.fft.rfft2(x)
            self.close(fourfold.rfft2(x, order="bcij"), expected)
            self.close(fourfold.rfft2(x), expected.transpose(0, 2, 3, 1))
            for order in self.EQUATIONS:
                self.assertLess(np.abs(fourfold.irfft2(fourfold.rfft2(x, order=order), w, order=order) - x).max(), 1e-5)

    def test_filters(self):
        """In the Fourier domain and back it is the convolution with circular padding."""
        x, w = random(2, 3, 8, 10), random(4, 3, 3, 5)
        for order in self.EQUATIONS:
            spectra = fourfold.filter_spectra(w, (8, 10), padding=(1, 2), order=order)
            y = fourfold.irfft2(fourfold.spectral_product(fourfold.rfft2(x, order=order), spectra, order=order), 10, order=order)
            self.assertLess(np.abs(y - fourfold.conv2d(x, w, padding=(1, 2), padding_mode="circular")).max(), 1e-4)


class Layers(unittest.TestCase):
    def test_values(self):
        x, w, b, z = random(2, 6, 10, 9), random(4, 6, 3, 3), random(4), random(2, 4, 10, 9, seed=5)
        layer = fourfold.Layer("b2 ic6 i10x9 oc4 f3 p1 residual relu", w, b, threads=1)
        expected = np.maximum(reference(x, w, b, pads=(1, 1, 1, 1)) + z, 0)
        self.assertLess(np.abs(layer(x, residual=z) - expected).max(), 1e-4)
        self.assertFalse(layer.separable)
        self.assertGreater(layer.packed_filter_bytes, 0)
        out = np.empty((2, 4, 10, 9), np.float32)
        self.assertIs(layer(x, residual=z, out=out), out)
        self.assertLess(np.abs(out - expected).max(), 1e-4)
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        y = fourfold.Layer("b2 ic6 i10x9 oc4 f3 p1 nhwc", w)(last)
        self.assertLess(np.abs(y - reference(x, w, pads=(1, 1, 1, 1))).max(), 1e-4)
        self.assertTrue(y.transpose(0, 2, 3, 1).flags.c_contiguous)

    def test_backward_data(self):
        g, w = random(2, 4, 10, 9), random(4, 6, 3, 3)
        gx = fourfold.Layer("bwd-data b2 ic6 i10x9 oc4 f3 p1", w)(g)
        self.assertTrue((gx == fourfold.Plan("bwd-data b2 ic6 i10x9 oc4 f3 p1").execute(grad_output=g, filters=w)).all())

    def test_rank_one_filters(self):
        x, taps = random(1, 1, 200, 150), random(15)
        w = np.outer(taps, taps)[None, None]
        layer = fourfold.Layer("b1 ic1 i200x150 oc1 f15 p7 reflect", w)
        self.assertTrue(layer.separable)
        self.assertLess(np.abs(layer(x) - reference(x, w, pads=(7, 7, 7, 7), mode="reflect")).max(), 1e-4)

    def test_callers_take_turns(self):
        w = random(32, 32, 5, 5)
        layer = fourfold.Layer("b1 ic32 i40 oc32 f5 p2", w, threads=1)
        inputs = [random(1, 32, 40, 40, seed=s) for s in range(4)]
        expected = [layer(x) for x in inputs]
        wrong = []

        def work(i):
            for _ in range(20):
                if not (layer(inputs[i]) == expected[i]).all():
                    wrong.append(i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])


class Training(unittest.TestCase):
    """Against plans of the three operations."""

    def check(self, text, dense=True):
        p = fourfold.Problem(text)
        x, w, g, b = random(*p.input_shape), random(*p.filter_shape, seed=2), random(*p.output_shape, seed=3), random(p.output_shape[1])
        if p.layout == "nhwc":
            x, g = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, g))
        elif not dense:
            x, g = (np.pad(a, ((0, 0), (0, 0), (2, 1), (1, 3)))[:, :, 2:-1, 1:-3] for a in (x, g))
        plan = fourfold.TrainingPlan(text)
        X, W, G = plan.transform_input(x, 5), plan.transform_filters(w, 5), plan.transform_gradient(g, 5)
        self.assertEqual((X.nbytes, W.nbytes, G.nbytes), (plan.input_spectra_bytes, plan.filter_spectra_bytes, plan.gradient_spectra_bytes))
        gb, their_gb = np.empty(len(b), np.float32), np.empty(len(b), np.float32)
        for got, expected in [
            (plan.forward(X, W, b), fourfold.Plan("fwd " + text).execute(input=x, filters=w, bias=b)),
            (plan.forward(X, W), fourfold.Plan("fwd " + text).execute(input=x, filters=w)),
            (plan.backward_data(G, W), fourfold.Plan("bwd-data " + text).execute(grad_output=g, filters=w)),
            (plan.backward_filters(X, G, grad_bias=gb), fourfold.Plan("bwd-filters " + text).execute(input=x, grad_output=g, grad_bias=their_gb)),
        ]:
            self.assertEqual((got.shape, got.strides), (expected.shape, expected.strides))
            self.assertLess(np.abs(got - expected).max() / np.abs(expected).max(), 1e-5)
        self.assertLess(np.abs(gb - their_gb).max(), 1e-4)

    def test_values(self):
        for text in ["b2 ic6 i12x11 oc4 f7x5 p3,1,0,2", "b2 ic6 i13x12 oc8 f3 s2 p1 g2 reflect", "b2 ic3 i8 oc4 f3 p1 nhwc"]:
            with self.subTest(text):
                self.check(text)
        self.check("b2 ic6 i12x11 oc4 f5 p2", dense=False)

    def test_blocks_and_results_are_reused(self):
        x, w = random(2, 3, 9, 9), random(4, 3, 5, 5)
        plan = fourfold.TrainingPlan("b2 ic3 i9 oc4 f5 p2", threads=2, fft_backend=fourfold.fft_backends()[-1], workspace_limit=1 << 30)
        self.assertEqual((plan.threads, plan.fft_backend, str(plan.problem)), (2, fourfold.fft_backends()[-1], "fwd b2 ic3 i9x9 oc4 f5x5 p2,2,2,2"))
        self.assertIn("b2 ic3 i9x9", plan.describe())
        X, W, out = plan.transform_input(x, 0), plan.transform_filters(w, 0), np.empty((2, 4, 9, 9), np.float32)
        self.assertIs(plan.forward(X, W, output=out), out)
        first = out.copy()
        self.assertIs(plan.transform_input(2 * x, 0, out=X), X)
        self.assertLess(np.abs(plan.forward(X, W, output=out) - 2 * first).max(), 1e-4)
        # A smaller batch reads the same filters.
        one = fourfold.TrainingPlan("b1 ic3 i9 oc4 f5 p2", fft_backend=fourfold.fft_backends()[-1])
        self.assertLess(np.abs(one.forward(one.transform_input(x[1:], 0), W) - first[1:]).max(), 1e-4)

    def test_blocks_of_other_steps_and_kinds_are_refused(self):
        x, w, g = random(2, 3, 9, 9), random(4, 3, 5, 5), random(2, 4, 9, 9)
        plan = fourfold.TrainingPlan("b2 ic3 i9 oc4 f5 p2")
        X, W, G = plan.transform_input(x, 4), plan.transform_filters(w, 3), plan.transform_gradient(g, 3)
        out = np.full((2, 4, 9, 9), 7, np.float32)
        for error, text, call in [
            (ValueError, "input spectra are of step 4, filter spectra of step 3", lambda: plan.forward(X, W, output=out)),
            (ValueError, "input spectra are of step 4, gradient spectra of step 3", lambda: plan.backward_filters(X, G)),
            (ValueError, "input spectra", lambda: plan.forward(W, W, output=out)),
            (ValueError, "filter spectra has", lambda: plan.transform_filters(w, 0, out=fourfold.TrainingPlan("b1 ic1 i1 oc1 f1").transform_input(random(1, 1, 1, 1), 0))),
            (ValueError, "no Spectra", lambda: plan.transform_input(x, 0, out=out)),
            (ValueError, "step is -1", lambda: plan.transform_input(x, -1)),
            (ValueError, "input has shape", lambda: plan.transform_input(g, 0)),
            (ValueError, "input is not float32", lambda: plan.transform_input(x.astype(np.float64), 0)),
            (ValueError, "output has shape", lambda: plan.forward(plan.transform_input(x, 3), W, output=out[:1])),
            (ValueError, "bias has shape", lambda: plan.forward(plan.transform_input(x, 3), W, random(3))),
            (ValueError, "grad_bias has shape", lambda: plan.backward_filters(plan.transform_input(x, 3), G, grad_bias=np.empty(3, np.float32))),
            (TypeError, "incompatible", lambda: plan.forward(x, W)),
            (NotImplementedError, "post-op", lambda: fourfold.TrainingPlan("b2 ic3 i9 oc4 f5 p2 relu")),
            (ValueError, "threads is -1", lambda: fourfold.TrainingPlan("b2 ic3 i9 oc4 f5 p2", threads=-1)),
            (ValueError, "fft_backend is 'banana'; it must be auto, fftw or kissfft", lambda: fourfold.TrainingPlan("b2 ic3 i9 oc4 f5 p2", fft_backend="banana")),
            (MemoryError, "the limit is 64", lambda: fourfold.TrainingPlan("b2 ic3 i9 oc4 f5 p2", workspace_limit=64)),
        ]:
            with self.subTest(text), self.assertRaisesRegex(error, text):
                call()
        self.assertTrue((out == 7).all())
        self.assertEqual(plan.backward_data(G, W).shape, x.shape)

    def test_gil_is_released(self):
        plan = fourfold.TrainingPlan("b4 ic32 i100 oc32 f9 p4", threads=1)
        x, w, g, gw = random(4, 32, 100, 100), random(32, 32, 9, 9), random(4, 32, 100, 100), np.empty((32, 32, 9, 9), np.float32)
        X, W, G = plan.transform_input(x, 0), plan.transform_filters(w, 0), plan.transform_gradient(g, 0)
        for call in [lambda: plan.transform_input(x, 0, out=X), lambda: plan.transform_filters(w, 0, out=W), lambda: plan.transform_gradient(g, 0, out=G),
                     lambda: plan.forward(X, W, output=g), lambda: plan.backward_data(G, W, grad_input=x), lambda: plan.backward_filters(X, G, grad_filters=gw)]:
            # A short call may end before the other thread wakes; of a kept GIL no repetition makes a turn.
            self.assertTrue(any(turns_beside(call) for _ in range(50)))


class Tables(unittest.TestCase):
    PROBLEM = "fwd b2 ic20 i15x18 oc24 f3x3 p1,1,1,1"

    def tearDown(self):
        fourfold.unload_tables()
        fourfold.block_choices([])

    def table(self, choice):
        """Measured as the fastest on this machine."""
        machine, hashes = fourfold.machine(), {v["name"]: v["hash"] for v in fourfold.variants()}
        record = {"problem": self.PROBLEM, "accuracy": "default", "microarchitecture": machine["microarchitecture"], "isa": machine["isa"],
                  "threads": 1, "cache": "warm", "role": "winner", "choice": choice, "ms_min": 0.01, "ms_median": 0.01, "samples": 5,
                  "ms_predicted": 0.01, "variants": {word: hashes[word] for word in choice.split() if word in hashes}}
        return '{"format":"fourfold-records","version":1}\n' + json.dumps(record) + "\n"

    def chosen(self):
        return next(c for c in fourfold.explain(self.PROBLEM, threads=1) if c["chosen"])

    def test_a_file_changes_what_decides(self):
        choices = [c["choice"] for c in fourfold.list_choices(self.PROBLEM, threads=1)]
        self.assertIn(fourfold.Plan(self.PROBLEM, threads=1).choice, choices)
        before, shipped = fourfold.Plan(self.PROBLEM, threads=1), [t for t in fourfold.tables() if t["shipped"]]
        self.assertNotEqual(before.tier, "record")
        self.assertNotIn("record in", self.chosen()["reason"])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "mine.json"
            path.write_text(self.table(choices[-1]) + "no record\n")
            self.assertEqual(fourfold.load_table(path), {"name": str(path), "shipped": False, "records": 1, "stale": 0, "foreign": 0, "unreadable": 1, "torn": False})
        self.assertEqual(fourfold.tables()[-1]["name"], str(path))
        after = fourfold.Plan(self.PROBLEM, threads=1)
        self.assertEqual((after.tier, after.choice), ("record", choices[-1]))
        self.assertIn(f"record in {path}", self.chosen()["reason"])
        fourfold.unload_tables()
        self.assertEqual((fourfold.tables(), fourfold.Plan(self.PROBLEM, threads=1).tier), (shipped, before.tier))
        fourfold.unload_tables(keep_shipped=False)
        self.assertEqual(fourfold.tables(), [])
        self.assertEqual(fourfold.load_table_text("mine", self.table(choices[-1]))["records"], 1)
        self.assertEqual(fourfold.Plan(self.PROBLEM, threads=1).decided_by, "record in mine")

    def test_kept_plans_are_made_again(self):
        for make, arguments, choice in [
            (fourfold._plan, ("b1 ic4 i8x8 oc4 f3x3", "", "auto", 1, "default"), "algorithm"),
            (fourfold._spectral_plan, ("fwd", 4, 4, 8, 5, 6, "bcij", 1), "variant"),
        ]:
            kept = make(*arguments)
            chosen = getattr(kept, choice)
            self.assertIs(make(*arguments), kept)
            fourfold.block_choices([chosen])
            self.assertNotEqual(getattr(make(*arguments), choice), chosen)
            fourfold.block_choices([])
            self.assertEqual(getattr(make(*arguments), choice), chosen)

    def test_errors(self):
        loaded = len(fourfold.tables())
        for text, call in [
            ("/no/such/table.json", lambda: fourfold.load_table("/no/such/table.json")),
            ("'mine' is no table", lambda: fourfold.load_table_text("mine", "not even a header\n")),
            ("it is empty", lambda: fourfold.load_table_text("mine", "")),
            ("abacus", lambda: fourfold.block_choices(["abacus"])),
        ]:
            with self.subTest(text), self.assertRaisesRegex(ValueError, text):
                call()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "corrupt.json")
            with open(path, "wb") as file:
                file.write(bytes(range(256)))
            with self.assertRaisesRegex(ValueError, "corrupt.json' is no table"):
                fourfold.load_table(path)
        self.assertEqual(len(fourfold.tables()), loaded)


class Devices(unittest.TestCase):
    """On each device that is here: PoCL's, where there is no GPU."""

    def test_host_arrays(self):
        for device in fourfold.devices():
            with self.subTest(device["device"]):
                x, w, b, g = random(2, 5, 9, 9), random(7, 5, 3, 3), random(7), random(2, 7, 9, 9, seed=2)
                plan = fourfold.StagedPlan("b2 ic5 i9 oc7 f3 p1", device=device["device"], algorithm="direct")
                self.assertEqual((plan.device, plan.pieces), (device["device"], 1))
                expected = reference(x, w, b, pads=(1, 1, 1, 1))
                self.assertLess(np.abs(plan.execute(input=x, filters=w, bias=b) - expected).max(), 1e-4)
                out = np.empty((2, 7, 9, 9), np.float32)
                plan.pack_filters(2 * w)
                self.assertIs(plan.execute(input=x, output=out), out)
                self.assertLess(np.abs(out - 2 * reference(x, w, pads=(1, 1, 1, 1))).max(), 1e-4)
                gb, expected_gb = np.empty(7, np.float32), np.empty(7, np.float32)
                gw = fourfold.StagedPlan("bwd-filters b2 ic5 i9 oc7 f3 p1", device=device["device"]).execute(input=x, grad_output=g, grad_bias=gb)
                expected = fourfold.Plan("bwd-filters b2 ic5 i9 oc7 f3 p1").execute(input=x, grad_output=g, grad_bias=expected_gb)
                self.assertLess(max(np.abs(gw - expected).max(), np.abs(gb - expected_gb).max()), 1e-3)
                chosen = [c for c in fourfold.explain("b2 ic5 i9 oc7 f3 p1", device=device["device"]) if c["chosen"]]
                self.assertEqual(len(chosen), 1)

    def test_errors(self):
        with self.assertRaisesRegex(ValueError, "device is 'opencl'; arrays are the CPU's"):
            fourfold.Plan("b1 ic1 i4 oc1 f3", device="opencl")
        with self.assertRaisesRegex(ValueError, "'gpu'"):
            fourfold.StagedPlan("b1 ic1 i4 oc1 f3", device="gpu")
        with self.assertRaises(ValueError):
            fourfold.StagedPlan("b1 ic1 i4 oc1 f3")
        with self.assertRaisesRegex(NotImplementedError, "cuda:77"):
            fourfold.StagedPlan("b1 ic1 i4 oc1 f3", device="cuda:77")


class Inspection(unittest.TestCase):
    def test_profile(self):
        x, w, profile = random(2, 8, 12, 12), random(8, 8, 3, 3), fourfold.Profile()
        plan = fourfold.Plan("b2 ic8 i12 oc8 f3 p1", algorithm="fft", threads=1)
        plan.execute(input=x, filters=w, profile=profile)
        once = profile.stages
        self.assertIn("fft_forward", once)
        plan.execute(input=x, filters=w, profile=profile)
        self.assertEqual({name: 2 * calls for name, (calls, _) in once.items()}, {name: calls for name, (calls, _) in profile.stages.items()})
        self.assertTrue(all(seconds > 0 for _, seconds in profile.stages.values()))
        profile.reset()
        self.assertEqual(profile.stages, {})

    def test_fft_options(self):
        x, w = random(2, 3, 12, 12), random(4, 3, 3, 3)
        for backend in fourfold.fft_backends():
            plan = fourfold.Plan("b2 ic3 i12 oc4 f3", algorithm="fft", fft_backend=backend, fft_rigor="measure")
            self.assertIn(backend, plan.describe())
            self.assertLess(np.abs(plan.execute(input=x, filters=w) - reference(x, w)).max(), 1e-4)
        if "fftw" in fourfold.fft_backends():
            fourfold.import_fft_wisdom(fourfold.export_fft_wisdom())
            with self.assertRaisesRegex(ValueError, "wisdom"):
                fourfold.import_fft_wisdom("this is no wisdom")
        with self.assertRaisesRegex(MemoryError, "the limit is 64"):
            fourfold.Plan("b2 ic8 i12 oc8 f3", algorithm="direct", packed_filter_limit=64)

    def test_listings(self):
        machine = fourfold.machine()
        self.assertIn(machine["isa"], {v["isa"] for v in fourfold.variants() if v["runnable"]})
        self.assertGreaterEqual(machine["hardware_threads"], 1)
        self.assertTrue(all(len(v["hash"]) == 16 for v in fourfold.variants()))


class Errors(unittest.TestCase):
    def test_messages(self):
        x, w = random(1, 4, 8, 8), random(4, 4, 3, 3)
        read_only = np.empty((1, 4, 6, 6), np.float32)
        read_only.flags.writeable = False
        for error, text, call in [
            (ValueError, "stride is 2.0; it must be a number", lambda: fourfold.conv2d(x, w, stride=2.0)),
            (ValueError, "stride is '12'; it must be a number", lambda: fourfold.conv2d(x, w, stride="12")),
            (ValueError, "padding is None; it must be a number", lambda: fourfold.conv2d(x, w, padding=None)),
            (ValueError, "groups is 1.0; it must be a whole number", lambda: fourfold.conv2d(x, w, groups=1.0)),
            (ValueError, "padding_mode is 'relu'; it must be zeros", lambda: fourfold.conv2d(x, w, padding_mode="relu")),
            (ValueError, "padding_mode is 'REFLECT'; it must be zeros.* symmetric .*symm", lambda: fourfold.conv2d(x, w, padding_mode="REFLECT")),
            (ValueError, r"padding_mode is \['zeros'\]; it must be zeros", lambda: fourfold.conv2d(x, w, padding_mode=["zeros"])),
            (ValueError, "padding_mode is 'constant:1 relu'; it must be zeros", lambda: fourfold.unfold(x, 3, padding_mode="constant:1 relu")),
            (ValueError, "filter_mode is 'relu'; it must be corr or conv", lambda: fourfold.conv2d(x, w, filter_mode="relu")),
            (ValueError, "post_op is 'conv'; it must be relu or clamp:LO,HI", lambda: fourfold.conv2d(x, w, post_op="conv")),
            (ValueError, "out is read-only", lambda: fourfold.conv2d(x, w, out=read_only)),
            (ValueError, "out is list", lambda: fourfold.conv_transpose2d(x, w, out=[1.0])),
            (ValueError, "output is read-only", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3").execute(input=x, filters=w, output=read_only)),
            (ValueError, "input is list", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3").execute(input=x.tolist(), filters=w)),
            (ValueError, "out is read-only", lambda: fourfold.Layer("b1 ic4 i8 oc4 f3", w)(x, out=read_only)),
            (ValueError, "x is NoneType", lambda: fourfold.conv2d(None, w)),
            (ValueError, "float64", lambda: fourfold.conv2d(x.astype(np.float64), w)),
            (ValueError, "w has 4 input channels in each of 2 groups", lambda: fourfold.conv2d(x, w, groups=2)),
            (ValueError, "dimensions", lambda: fourfold.conv2d(x[0], w)),
            (ValueError, "list", lambda: fourfold.conv2d([[1.0]], w)),
            (ValueError, "larger than the padded input", lambda: fourfold.conv2d(x, random(4, 4, 9, 9))),
            (ValueError, "bias has shape", lambda: fourfold.conv2d(x, w, random(3))),
            (ValueError, "output has shape", lambda: fourfold.conv2d(x, w, out=np.empty((1, 4, 5, 6), np.float32))),
            (ValueError, "overlap", lambda: fourfold.conv2d(x, w, padding=1, out=x)),
            (ValueError, "neither an array", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3").execute(input=x, filters="w")),
            (ValueError, "somewhere", lambda: fourfold.conv2d(x, w, padding="somewhere")),
            (ValueError, "padding is", lambda: fourfold.conv2d(x, w, padding=(1, 2, 3))),
            (ValueError, "banana", lambda: fourfold.conv2d(x, w, algorithm="banana")),
            (ValueError, "banana", lambda: fourfold.Plan("b1 banana")),
            (ValueError, "reflect", lambda: fourfold.conv2d(x, w, padding=8, padding_mode="reflect")),
            (ValueError, "stride_h is 0", lambda: fourfold.conv2d(x, w, stride=0)),
            (ValueError, "stride_h is 0", lambda: fourfold.conv2d(x, w, stride=0, padding="same")),
            (NotImplementedError, "spectral", lambda: fourfold.Plan("spectral b1 ic2 i5 f3")),
            (ValueError, "effort is 'much'", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3", effort="much")),
            (ValueError, "fft_rigor is 'much'; it must be estimate, measure or patient", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3", fft_rigor="much")),
            (ValueError, "filters has shape", lambda: fourfold.Layer("b1 ic4 i8 oc4 f5", w)),
            (ValueError, "bias has shape", lambda: fourfold.Layer("b1 ic4 i8 oc4 f3", w, random(3))),
            (ValueError, "input has shape", lambda: fourfold.Layer("b1 ic4 i8 oc4 f3", w)(x[:, :, 1:])),
            (ValueError, "residual is null", lambda: fourfold.Layer("b1 ic4 i8 oc4 f3 residual", w)(x)),
            (ValueError, "bwd-filters", lambda: fourfold.Layer("bwd-filters b1 ic4 i8 oc4 f3", w)),
            (ValueError, "choice 'banana'", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3", choice="banana")),
            (TypeError, "nonsense", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3", nonsense=1)),
            (ValueError, "no multiple of the filter's 3x3", lambda: fourfold.fold(np.empty((1, 10, 4), np.float32), 4, 3)),
            (ValueError, "input has shape", lambda: fourfold.fold(np.empty((1, 9, 5), np.float32), 4, 3)),
            (ValueError, "the problem needs 36 rows", lambda: fourfold.unfold(x, 3, out=np.empty((1, 35, 36), np.float32))),
            (ValueError, "output has shape", lambda: fourfold.unfold(x, 3, out=np.empty((1, 36, 35), np.float32))),
            (ValueError, "larger than the padded input", lambda: fourfold.unfold(x, 9)),
            (ValueError, "somewhere", lambda: fourfold.unfold(x, 3, padding="somewhere")),
            (ValueError, "complex64", lambda: fourfold.spectral_product(x, w)),
            (ValueError, "order is 'ijbc'", lambda: fourfold.spectral_product(np.empty((1, 2, 2, 3), np.complex64), np.empty((2, 2, 3, 4), np.complex64), order="ijbc")),
            (ValueError, "channels and frequencies differ", lambda: fourfold.spectral_product(np.empty((1, 2, 2, 3), np.complex64), np.empty((2, 3, 3, 4), np.complex64))),
            (ValueError, "accumulate", lambda: fourfold.SpectralPlan("spectral b1 ic3 i2x2 oc4").execute(accumulate=True)),
            (ValueError, "input is null", lambda: fourfold.SpectralPlan("spectral b1 ic3 i2x2 oc4").execute()),
            (ValueError, "spectra have 3 columns", lambda: fourfold.irfft2(np.empty((1, 4, 3, 1), np.complex64), 8)),
            (ValueError, "order 'ijbc'", lambda: fourfold.rfft2(x, order="ijbc")),
            (ValueError, "filters", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3").execute(input=x)),
            (ValueError, "input is null", lambda: fourfold.Plan("b1 ic4 i8 oc4 f3").execute(filters=w)),
            (ValueError, "input has shape", lambda: fourfold.Plan("b1 ic4 i9 oc4 f3").execute(input=x, filters=w)),
            (ValueError, "input has 4|w has 4 input channels", lambda: fourfold.conv_transpose2d(random(1, 5, 8, 8), w)),
            (NotImplementedError, "winograd", lambda: fourfold.conv2d(x, random(4, 4, 5, 4), algorithm="winograd")),
            (MemoryError, "limit", lambda: fourfold.Plan("b1 ic4 i64 oc4 f3 p1", algorithm="fft", workspace_limit=64)),
        ]:
            with self.subTest(text), self.assertRaisesRegex(error, text):
                call()


if __name__ == "__main__":
    unittest.main()
