"""Graphs in ONNX's text form for the canonicalising passes: per pass, cases where it fires and where it refuses."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """`fires` and `refuses`: how many times the pass must."""

    title: str
    text: str
    fires: int
    refuses: int = 0
    opset: int = 17


_CONV = "c = Conv <kernel_shape = [1, 1]> (x, w, b)"
_CONSTANTS = (
    "float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] b = {1, -1}, float[2] gamma = {2, 0.5}, float[2] beta = {0.25, 3}, "
    "float[2] mean = {1, 2}, float[2] var = {4, 0.25}"
)


def _norm(body: str, outputs: str = "float[1, 2, 3, 3] y", constants: str = _CONSTANTS) -> str:
    return f"g (float[1, 2, 3, 3] x) => ({outputs}) <{constants}> {{ {body} }}"


_AFFINE = (
    "float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] b = {1, -1}, float[1, 2, 1, 1] k = {2, 0.5}, "
    "float[2, 1, 1] s = {0.25, 3}, float[2] v = {4, 0.25}, float half = {0.5}, float[1] one = {1}, float zero = {0}"
)


def _affine(body: str, constants: str = _AFFINE, outputs: str = "float[1, 2, 3, 3] y") -> str:
    return f"g (float[1, 2, 3, 3] x) => ({outputs}) <{constants}> {{ {body} }}"


CASES: dict[str, tuple[Case, ...]] = {
    "constant_nodes": (
        Case(
            "each form of value",
            """g (float[2] x) => (float[2] y, int64[2] z) {
              a = Constant <value = float[2] {1, 2}> () b = Constant <value_float = 3.0> ()
              c = Constant <value_floats = [1.0, 2.0]> () z = Constant <value_ints = [4, 5]> ()
              d = Add (a, b) e = Add (d, c) y = Add (e, x) }""",
            4,
        ),
        Case(
            "a value that a body reads keeps its name",
            """g (bool c, float[2] x) => (float[2] y) {
              k = Constant <value = float[2] {1, 2}> ()
              y = If (c) <then_branch = a () => (float[2] p) { p = Add (x, k) },
                else_branch = b () => (float[2] q) { q = Sub (x, k) }> }""",
            1,
        ),
    ),
    "fold_constants": (
        Case(
            "a chain on the shape of a known tensor",
            """g (float[2, 3, 4] x) => (float[2, 12] y) <int64 one = {1}, int64[1] last = {-1}> {
              s = Shape (x) n = Gather (s, one) m = Mul (n, n) k = Sub (m, n) u = Unsqueeze (k, zero)
              v = Concat <axis = 0> (u, last)
              w = Slice (s, zero, ones) z = Concat <axis = 0> (w, last) y = Reshape (x, z)
              zero = Constant <value_ints = [0]> () ones = Constant <value_ints = [1]> () }""",
            8,
        ),
        Case("a free dimension is not known", "g (float[N, 3] x) => (int64[2] y) { y = Shape (x) }", 0),
        Case(
            "a stored integer weight stays one",
            """g (float[2] x) => (float[2] y) <int8[2] q = {1, 2}, float s = {0.5}> {
              w = DequantizeLinear (q, s) y = Add (x, w) }""",
            0,
        ),
        Case(
            "what would be huge is refused",
            """g (float[1] x) => (float[N] y) <int64[2] s = {65536, 65536}> {
              e = ConstantOfShape (s) y = Add (e, x) }""",
            0,
            1,
        ),
        Case(
            "what cannot be computed is refused",
            """g (float[1] x) => (float[N] y) <int64[2] s = {1, 5}, float[2] k = {1, 2}> {
              e = Reshape (k, s) y = Add (e, x) }""",
            0,
            1,
        ),
    ),
    "remove_identity": (
        Case(
            "outputs keep their names",
            """g (float[2] x) => (float[2] y, float[2] z) { a = Identity (x) b = Relu (a) y = Identity (b)
              c = Dropout (b) z = Neg (c) }""",
            3,
        ),
        Case(
            "two names that must both stay",
            """g (float[2] x) => (float[2] x2, float[2] a, float[2] b) {
              x2 = Identity (x) a = Relu (x) b = Identity (a) }""",
            0,
            2,
        ),
        Case(
            "a body reads the name",
            """g (bool c, float[2] x) => (float[2] y) { r = Relu (x) k = Identity (r)
              y = If (c) <then_branch = a () => (float[2] p) { p = Neg (k) },
                else_branch = b () => (float[2] q) { q = Abs (k) }> }""",
            0,
            1,
        ),
        Case(
            "a Dropout that drops, and one whose mask is read",
            """g (float[2] x) => (float[2] y, bool[2] m) <float r = {0.5}, bool t = {1}> {
              a = Dropout (x, r, t) b, m = Dropout (a) y = Relu (b) }""",
            0,
            2,
        ),
    ),
    "dead_code": (
        Case(
            "a branch without an end, and its constants",
            """g (float[2] x) => (float[2] y) <float[2] k = {1, 2}> {
              a = Add (x, k) b = Neg (a) y = Relu (x) c = Abs (b) }""",
            3,
        ),
        Case(
            "what a body reads is alive",
            """g (bool c, float[2] x) => (float[2] y) { r = Relu (x) s = Neg (x)
              y = If (c) <then_branch = a () => (float[2] p) { p = Neg (r) },
                else_branch = b () => (float[2] q) { q = Abs (x) }> }""",
            1,
        ),
    ),
    "share_initializers": (
        Case(
            "equal in type, shape and value",
            """g (float[2] x) => (float[2] y)
              <float[2] a = {1, 2}, float[2] b = {1, 2}, float[2] c = {1, 3}, float[1, 2] d = {1, 2}> {
              p = Add (x, a) q = Add (p, b) r = Add (q, c) s = Add (r, d) t = Add (s, b) y = Squeeze (t, axes)
              axes = Constant <value_ints = [0]> () }""",
            1,
        ),
        Case(
            "a constant that is an output stays",
            """g (float[2] x) => (float[2] y, float[2] b) <float[2] a = {1, 2}, float[2] b = {1, 2}> {
              p = Add (x, a) y = Add (p, b) }""",
            0,
        ),
    ),
    "fold_batchnorm": (
        Case("after a Conv with a bias", _norm(f"{_CONV} y = BatchNormalization (c, gamma, beta, mean, var)"), 1),
        Case(
            "after a Conv without one, another epsilon",
            _norm("c = Conv (x, w) y = BatchNormalization <epsilon = 0.5> (c, gamma, beta, mean, var)"),
            1,
        ),
        Case(
            "after a grouped ConvTranspose",
            _norm(
                "c = ConvTranspose <group = 2> (x, w2) y = BatchNormalization (c, gamma, beta, mean, var)",
                constants=_CONSTANTS + ", float[2, 1, 1, 1] w2 = {3, 5}",
            ),
            1,
        ),
        Case(
            "the convolution has another reader",
            _norm(
                f"{_CONV} n = BatchNormalization (c, gamma, beta, mean, var) y = Add (n, c)",
            ),
            0,
            1,
        ),
        Case(
            "the convolution is an output",
            _norm(
                f"{_CONV} y = BatchNormalization (c, gamma, beta, mean, var)",
                "float[1, 2, 3, 3] y, float[1, 2, 3, 3] c",
            ),
            0,
            1,
        ),
        Case(
            "the weights are computed",
            _norm(
                "v = Relu (w) u = ReduceMax <keepdims = 1> (x) t = Mul (v, u) c = Conv (x, t) "
                "y = BatchNormalization (c, gamma, beta, mean, var)"
            ),
            0,
            1,
        ),
        Case(
            "training mode",
            _norm(f"{_CONV} y, m, v = BatchNormalization <training_mode = 1> (c, gamma, beta, mean, var)"),
            0,
            1,
        ),
        Case(
            "a variance below zero",
            _norm(
                f"{_CONV} y = BatchNormalization (c, gamma, beta, mean, bad)",
                constants=_CONSTANTS + ", float[2] bad = {-1, 1}",
            ),
            0,
            1,
        ),
        Case("nothing to fold into", _norm("r = Relu (x) y = BatchNormalization (r, gamma, beta, mean, var)"), 0),
    ),
    "fold_affine": (
        Case(
            "Mul, Add, Mul and a division, as one",
            _affine("c = Conv (x, w, b) m = Mul (c, k) a = Add (s, m) n = Mul (a, k) y = Div (n, s)"),
            4,
        ),
        Case(
            "one value for all, subtracted both ways",
            _affine("c = Conv (x, w) m = Sub (c, half) y = Sub (one, m)"),
            2,
        ),
        Case(
            "after a grouped ConvTranspose",
            _affine(
                "c = ConvTranspose <group = 2> (x, w2) m = Mul (c, k) y = Add (m, s)",
                _AFFINE + ", float[2, 1, 1, 1] w2 = {3, 5}",
            ),
            2,
        ),
        Case(
            "a BatchNormalization behind",
            _affine("c = Conv (x, w) m = Mul (c, k) n = BatchNormalization (m, b, b, b, v) y = Add (n, s)"),
            3,
        ),
        Case(
            "Gemm with a bias per row of its weights, and with one for all",
            """g (float[3, 2] x) => (float[3, 2] y, float[3, 2] z)
              <float[2, 2] w = {1, 2, 3, 4}, float[1, 2] b = {1, -1}, float[1] d = {3}, float[2] k = {2, 0.5}> {
              g = Gemm <alpha = 0.5, beta = 2.0> (x, w, b) m = Mul (g, k) y = Add (m, k)
              h = Gemm <transB = 1> (x, w, d) z = Div (h, k) }""",
            3,
        ),
        Case(
            "a Gemm whose bias differs along the rows",
            """g (float[3, 2] x) => (float[3, 2] y)
              <float[2, 2] w = {1, 2, 3, 4}, float[3, 1] b = {1, -1, 2}, float[2] k = {2, 0.5}> {
              g = Gemm (x, w, b) y = Mul (g, k) }""",
            0,
            1,
        ),
        Case(
            "a residual addition and a SiLU",
            _affine("c = Conv (x, w, b) a = Add (c, x) d = Conv (a, w) e = Sigmoid (d) y = Mul (d, e)"),
            0,
        ),
        Case(
            "an anchor grid, along the height, the width, and both",
            _affine(
                "c = Conv (x, w) m = Mul (c, grid) d = Conv (m, w) a = Add (d, wide) e = Conv (a, w) y = Add (e, high)",
                _AFFINE + ", float[1, 1, 3, 3] grid = {1, 2, 3, 4, 5, 6, 7, 8, 9}, float[3] wide = {1, 2, 3}, "
                "float[3, 1] high = {1, 2, 3}",
            ),
            0,
            3,
        ),
        Case(
            "a constant that broadens the result",
            """g (float[1, 2, 3, 3] x) => (float[1, 2, 3, 3] y, float[2, 1, 3, 3] z, float[1, 1, 1, 3, 3] u)
              <float[1, 2, 1, 1] w = {1, 2}, float[2, 1, 1] k = {2, 0.5}, float[2, 1, 1, 1] n = {2, 0.5},
              float[1, 1, 1, 1, 1] five = {2}> {
              c = Conv (x, w) y = Mul (c, k) d = Conv (x, w) z = Mul (d, n) e = Conv (x, w) u = Mul (e, five) }""",
            0,
            3,
        ),
        Case(
            "another reader, an output, computed weights, a division by zero",
            _affine(
                "c = Conv (x, w) m = Mul (c, k) n = Add (m, c) o = Conv (n, w) p = Add (o, s) "
                "u = ReduceMax <keepdims = 1> (x) t = Mul (w, u) q = Conv (p, t) r = Sub (q, s) h = Conv (r, w) "
                "y = Div (h, zero)",
                outputs="float[1, 2, 3, 3] y, float[1, 2, 3, 3] o",
            ),
            0,
            4,
        ),
        Case("a division by the convolution", _affine("c = Conv (x, w, b) y = Div (one, c)"), 0),
    ),
    "fold_factors": (
        Case(
            "both factors",
            """g (float[2, 3] x) => (float[2, 2] y, float[2, 2] z)
              <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[2, 3] v = {1, 2, 3, 4, 5, 6}, float[2] b = {3, 5}> {
              [one] y = Gemm <alpha = 0.5, beta = 2.0> (x, w, b)
              [two] z = Gemm <alpha = 0.3, transB = 1> (x, v, b) }""",
            3,
        ),
        Case(
            "what is computed, and nothing to fold",
            """g (float[2, 3] x, float[3, 2] w, float[2] b) => (float[2, 2] y, float[2, 2] z, float[2, 2] p)
              <float[3, 2] k = {1, 2, 3, 4, 5, 6}> {
              [one] y = Gemm <alpha = 0.5, beta = 2.0> (x, w, b) [two] z = Gemm <alpha = 1.0> (x, k, b)
              [three] p = Gemm <beta = 2.0> (x, k) }""",
            0,
        ),
        Case(
            "past the largest float",
            """g (float[2, 1] x) => (float[2, 1] y) <float[1, 1] w = {3e38}> { [one] y = Gemm <alpha = 4.0> (x, w) }""",
            0,
            1,
        ),
    ),
    "normalise_scale": (
        Case(
            "scores of attention",
            """g (float[2, 3, 4] x, float[2, 4, 3] k) => (float[2, 3, 3] y, float[2, 3, 3] z)
              <float eight = {8}, float[1] root = {5.656854}> {
              a = MatMul (x, k) [one] y = Div (a, eight) [two] z = Div (a, root) }""",
            2,
        ),
        Case(
            "something else",
            """g (float[2, 3, 3] x, float[2, 3, 3] k) => (float[2, 3, 3] y, float[2, 3, 3] z, float[2, 3, 3] p)
              <float eight = {8}, float[3] per = {2, 4, 8}> {
              a = MatMul (x, k) y = Div (a, per) z = Div (x, eight) p = Div (eight, a) }""",
            0,
        ),
        Case(
            "no inverse",
            """g (float[2, 3, 3] x, float[2, 3, 3] k) => (float[2, 3, 3] y) <float small = {1e-39}> {
              a = MatMul (x, k) [one] y = Div (a, small) }""",
            0,
            1,
        ),
    ),
    "normalise_softmax": (
        Case(
            "the stable form, and the plain one",
            """g (float[2, 3, 4] x) => (float[2, 3, 4] y, float[2, 3, 4] z) <int64[1] k = {-1}> {
              m = ReduceMax <axes = [-1]> (x) d = Sub (x, m) e = Exp (d) s = ReduceSum (e, k) [one] y = Div (e, s)
              f = Exp (x) t = ReduceSum (f, k) [two] z = Div (f, t) }""",
            3,
        ),
        Case(
            "Softmax of what was shifted",
            """g (float[2, 3, 4] x) => (float[2, 3, 4] y, float[2, 1, 4] m) {
              m = ReduceMax <axes = [1]> (x) d = Sub (x, m) [one] y = Softmax <axis = 1> (d) }""",
            1,
        ),
        Case(
            "the last axis before opset 13, and another",
            """g (float[2, 3, 4] x) => (float[2, 3, 4] y, float[2, 3, 4] z) {
              e = Exp (x) s = ReduceSum <axes = [2]> (e) [one] y = Div (e, s)
              f = Exp (x) t = ReduceSum <axes = [1]> (f) [two] z = Div (f, t) }""",
            1,
            opset=12,
        ),
        Case(
            "something else",
            """g (float[2, 3, 4] x) => (float[2, 3, 4] y, float[2, 3, 4] z, float[2, 3, 4] e, float[2, 3, 4] v)
              <int64[1] k = {-1}, int64[2] both = {1, 2}> {
              e = Exp (x) s = ReduceSum (e, k) y = Div (e, s)
              f = Exp (x) t = ReduceSum (f, both) z = Div (f, t)
              m = ReduceMax <axes = [1]> (x) d = Sub (x, m) v = Softmax <axis = 2> (d) }""",
            0,
        ),
        Case(
            "an axis that is computed",
            """g (float[2, 3, 4] x) => (float[2, 3, 4] y) <int64[1] k = {2}> {
              a = Unique (k) e = Exp (x) s = ReduceSum (e, a) [one] y = Div (e, s) }""",
            0,
            1,
        ),
    ),
    "normalise_hard": (
        Case(
            "relu6(x + 3) / 6, and times x",
            """g (float[2, 3] x, float[2, 3] v) => (float[2, 3] y, float[2, 3] z)
              <float three = {3}, float[1] six = {6}, float sixth = {0.16666667}, float zero = {0}, float top = {6}> {
              a = Add (x, three) b = Clip (a, zero, top) [one] y = Div (b, six)
              c = Add (three, v) d = Clip (c, zero, top) e = Mul (v, d) [two] z = Mul (sixth, e) }""",
            2,
        ),
        Case(
            "a slope and a shift of its own",
            """g (float[2, 3] x, float[2, 3] v) => (float[2, 3] y, float[2, 3] z)
              <float slope = {0.3}, float half = {0.4}, float zero = {0}, float one = {1}, float four = {4}> {
              a = Mul (slope, x) b = Add (a, half) [one] y = Clip (b, zero, one)
              c = Div (v, four) d = Add (half, c) [two] z = Clip (d, zero, one) }""",
            2,
        ),
        Case(
            "something else",
            """g (float[2, 3] x)
              => (float[2, 3] p, float[2, 3] q, float[2, 3] r, float[2, 3] s, float[2, 3] n, float[2, 3] i)
              <float three = {3}, float six = {6}, float five = {5}, float zero = {0}, float low = {-1},
               float one = {1}, float[3] per = {3, 3, 3}, float less = {-0.5}> {
              a = Add (x, three) b = Clip (a, zero, six) p = Div (b, five)
              c = Add (x, three) d = Clip (c, low, six) q = Div (d, six)
              e = Add (x, per) f = Clip (e, zero, six) r = Div (f, six)
              g = Add (x, three) h = Clip (g, zero, six) s = Div (h, six) n = Neg (h)
              j = Mul (x, less) k = Add (j, one) l = Clip (k, zero, one) m = Div (six, l) i = Neg (m) }""",
            0,
        ),
        Case(
            "behind a convolution that takes the slope in",
            _norm(
                "c = Conv (x, w, b) m = Mul (c, s) a = Add (m, s) y = Clip (a, zero, one)",
                constants="float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] b = {1, -1}, float s = {0.5}, "
                "float zero = {0}, float one = {1}",
            ),
            0,
        ),
    ),
    "normalise_swish": (
        Case(
            "with and without a slope of its own",
            """g (float[2, 3] x) => (float[2, 3] y, float[2, 3] z) {
              [one] y = Swish (x) [two] z = Swish <alpha = 1.702> (x) }""",
            2,
            opset=24,
        ),
        Case(
            "another type",
            "g (float[2, 3] x) => (float[2, 3] y) { h = Cast <to = 10> (x) [one] s = Swish (h) y = Cast <to = 1> (s) }",
            0,
            opset=24,
        ),
    ),
    "normalise_pool": (
        Case(
            "the mean over height and width, as attribute",
            """g (float[2, 3, 4, 5] x) => (float[2, 3, 1, 1] y, float[2, 3] z) {
              [a] y = ReduceMean <axes = [2, 3]> (x) [b] n = ReduceMean <axes = [-1, -2], keepdims = 0> (x)
              z = Neg (n) }""",
            2,
        ),
        Case(
            "as input, with a free batch and map",
            """g (float[N, 3, H, W] x) => (float[N, 3, 1, 1] y, float[N, 3] z) <int64[2] k = {-1, 2}> {
              [a] y = ReduceMean (x, k) [b] z = ReduceMean <keepdims = 0> (x, k) }""",
            2,
            opset=18,
        ),
        Case(
            "one axis after the other",
            """g (float[2, 3, 4, 5] x) => (float[2, 3] y, float[2, 3, 1, 1] z) {
              a = ReduceMean <axes = [3], keepdims = 0> (x) [one] y = ReduceMean <axes = [2], keepdims = 0> (a)
              b = ReduceMean <axes = [2]> (x) [two] z = ReduceMean <axes = [-1]> (b) }""",
            2,
        ),
        Case(
            "one of which is read, which leaves a sequence, or keeps its axis alone",
            """g (float[2, 3, 4, 5] x) => (float[2, 3] y, float[2, 3, 4] n, float[2, 3, 1] z) {
              a = ReduceMean <axes = [3], keepdims = 0> (x) y = ReduceMean <axes = [2], keepdims = 0> (a) n = Neg (a)
              b = ReduceMean <axes = [3], keepdims = 0> (x) z = ReduceMean <axes = [2]> (b) }""",
            1,
        ),
        Case(
            "channels last",
            """g (float[2, 3, 4, 5] x) => (float[2, 3] y, float[2, 1, 1, 3] z, float[2, 4, 5, 3] n) {
              t = Transpose <perm = [0, 2, 3, 1]> (x) [one] y = ReduceMean <axes = [1, 2], keepdims = 0> (t)
              u = Transpose <perm = [0, 2, 3, 1]> (x) [two] z = ReduceMean <axes = [1, 2]> (u) n = Neg (u) }""",
            2,
        ),
        Case(
            "volumes and sequences",
            """g (float[2, 3, 4, 5, 6] x, float[2, 3, 4] s)
              => (float[2, 3, 1, 1, 1] y, float[2, 3] z, float[2, 3, 1] n) {
              [one] y = ReduceMean <axes = [2, 3, 4]> (x) [two] z = ReduceMean <axes = [2], keepdims = 0> (s)
              n = ReduceMean <axes = [2]> (s) }""",
            2,
        ),
        Case(
            "other means",
            """g (float[2, 3, 4, 5] x) => (float[2, 3, 4, 1] y, float[2, 1, 1, 5] z, float[1, 1, 1, 1] a, float[2] b) {
              y = ReduceMean <axes = [3]> (x) z = ReduceMean <axes = [1, 2]> (x) a = ReduceMean (x)
              b = ReduceMean <axes = [1, 2, 3], keepdims = 0> (x) }""",
            0,
        ),
        Case(
            "axes that are computed, and a rank that is not known",
            """g (float[2, 3, 4, 5] x) => (float[a, b, c, d] y, float z)
              <int64[2] m = {2, 3}, int64[4] d = {2, 3, 4, 5}> {
              k = Unique (m) [one] y = ReduceMean (x, k) s = Unique (d) f = Reshape (x, s)
              [two] p = ReduceMean (f, m) z = ReduceSum <keepdims = 0> (p) }""",
            0,
            2,
            opset=18,
        ),
        Case(
            "dilations of 1 and of 2",
            """g (float[1, 2, 6, 6] x) => (float[1, 2, 5, 5] y, float[1, 2, 4, 4] z) {
              [a] y = AveragePool <kernel_shape = [2, 2], dilations = [1, 1]> (x)
              [b] z = AveragePool <kernel_shape = [2, 2], dilations = [2, 2]> (x) }""",
            1,
            opset=19,
        ),
    ),
    "normalise_clip": (
        Case(
            "Clip from zero up, and without bounds",
            """g (float[2] x) => (float[2] y, float[2] z) <float zero = {0}, float top = {3.4028235e38}> {
              a = Clip (x) b = Clip (a, zero) y = Neg (b) c = Clip (a, zero, top) z = Neg (c) }""",
            3,
        ),
        Case(
            "attributes, before opset 11",
            """g (float[2] x) => (float[2] y) {
              a = Clip <min = 0.0, max = 3.4028235e38> (x) b = Clip <min = 0.0, max = 6.0> (a)
              y = Neg (b) }""",
            1,
            opset=9,
        ),
        Case(
            "Max and Min around each other",
            """g (float[2] x) => (float[2] y, float[2] z, float[2] u)
              <float zero = {0}, float[1] six = {6}, float one = {1}> {
              a = Max (x, zero) y = Min (a, six) b = Min (six, x) z = Max (one, b) c = Max (zero, x) u = Neg (c) }""",
            4,
        ),
        Case(
            "Max and Min as one, before opset 11",
            """g (float[2] x) => (float[2] y) <float one = {1}, float six = {6}> {
              a = Max (x, one) y = Min (a, six) }""",
            1,
            opset=9,
        ),
        Case(
            "a Relu of what is never negative",
            """g (float[2] x) => (float[2] y, float[2] z) <float one = {1}, float six = {6}> {
              a = Relu (x) y = Relu (a) b = Clip (x, one, six) z = Relu (b) }""",
            2,
        ),
        Case("a double Relu", "g (float[2] x) => (float[2] y) { a = Relu (x) b = Relu (a) y = Neg (b) }", 1),
        Case(
            "computed bounds, shapes that would change, the wrong order, other readers",
            """g (float[2] x, float h) => (float[2] y, float[1] z, float[2] u, float[2] v, float[2] w)
              <float zero = {0}, float[1] one = {1}, float six = {6}> {
              y = Clip (x, zero, h) z = Max (h, one)
              a = Max (x, six) u = Min (a, one)
              b = Max (x, one) v = Min (b, six) w = Neg (b) }""",
            0,
            1,
        ),
        Case(
            "integers are left alone",
            "g (int64[2] x) => (int64[2] y) <int64 zero = {0}> { y = Max (x, zero) }",
            0,
        ),
    ),
}
