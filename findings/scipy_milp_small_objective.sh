#!/usr/bin/env bash
# scipy's milp calls a knapsack 50 times worse than the best one optimal, with a gap of 0, where its objective is small.
#
# scipy.optimize.milp is HiGHS, whose tolerances are absolute: costs of 1e-7 are below what its simplex takes for zero. The answer is
# status 0, "Optimal", mip_gap 0.0, and a bound equal to the bad value, so that nothing of the result tells it. mip_rel_gap = 0 does
# not help, and milp has no option for the absolute tolerances. The same problem times 1e4 is solved.
#
# Which layers take 4 bits, and which 8, is such a problem, and squared errors of weights are numbers of that size: scale the
# objective to about 1 before it is solved.
#
# scipy 1.17.1, numpy 2.4.6; any CPU.
# Seen, 40 items, half of the weight allowed:
#   as it is    status 0, mip_gap 0.0, bound equal to the value: yes, value 3.578e-08
#   times 1e4   status 0, mip_gap 0.0, bound equal to the value: yes, value 1.797e-06
#   times 1e7   status 0, mip_gap 0.0, bound equal to the value: yes, value 1.797e-06
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q scipy==1.17.1 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

draw = np.random.default_rng(0)
value, weight = draw.random(40) * 1e-7, draw.integers(1, 1000, 40).astype(float)


def solved(scale):
    """(the value in the units of the problem, whether the solver says that it is the best, in full)."""
    half = LinearConstraint(weight[None], -np.inf, weight.sum() / 2)
    found = milp(-value * scale, integrality=np.ones(40), bounds=Bounds(0, 1), constraints=[half], options={"mip_rel_gap": 0.0})
    taken = np.round(found.x)
    assert weight @ taken <= weight.sum() / 2
    tight = bool(np.isclose(found.mip_dual_bound, found.fun, rtol=1e-9, atol=0))
    print(f"status {found.status}, mip_gap {found.mip_gap}, bound equal to the value: {'yes' if tight else 'no'}, value {value @ taken:.3e}")
    return value @ taken, found.status == 0 and found.mip_gap == 0 and tight


best = {}
for name, scale in {"as it is": 1, "times 1e4": 1e4, "times 1e7": 1e7}.items():
    print(f"{name:11}", end=" ")
    best[name], sure = solved(scale)
    assert sure, "the solver is not sure of it now"
assert np.isclose(best["times 1e4"], best["times 1e7"], rtol=1e-6)
assert best["as it is"] < best["times 1e7"] / 10, "small objectives are solved now"
EOF
