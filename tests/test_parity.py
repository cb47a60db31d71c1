"""Parity with popfidelity and krippendorff, which live in an environment of their own: their pins and licence are not this library's.

    python -m venv other && other/bin/pip install popfidelity krippendorff
    ALIGNSURVEY_POPFIDELITY=other/bin/python python -m pytest tests/test_parity.py

Without it these tests are skipped. Parity with scipy and scikit-learn is in test_metrics.py, that of texts in test_texts.py."""
import json, os, subprocess
import numpy as np, pytest

from alignsurvey import metrics as m
from alignsurvey.metrics.agreement import krippendorff_alpha

N, TOL = 1000, 1e-9
OTHER = '''
import json, sys, numpy as np
from popfidelity import metrics as m, reliability as r
asked, out = json.load(sys.stdin), {}
for name, rows in asked['distances'].items():
    out[name] = [float(m.distance(p, q, name, **({} if x is None else {'positions': x}))[0]) for p, q, x in rows]
nan = lambda a: np.array([[np.nan if v is None else v for v in row] for row in a], float)
for level, tables in asked['alpha'].items():
    out['alpha ' + level] = [r.krippendorff_alpha(nan(t).T, level) for t in tables]
    try:
        import krippendorff
        out['krippendorff ' + level] = [krippendorff.alpha(reliability_data=nan(t), level_of_measurement=level) for t in tables]
    except ImportError: pass
json.dump(out, sys.stdout)
'''


def random_shares(rng, k):
    "Shares with exact zeros among them."
    q = rng.gamma(rng.choice([.05, .3, 1, 20]), size=k) * (rng.random(k) > rng.choice([0, .4]))
    if q.sum() == 0: q += 1
    return q / q.sum()


@pytest.fixture(scope='module')
def inputs():
    rng = np.random.default_rng(20260102)
    sizes = rng.integers(2, 12, N)
    pairs = [(random_shares(rng, k), random_shares(rng, k)) for k in sizes]
    positions = [np.cumsum(rng.choice([1., 2.5, .01], k)) for k in sizes]
    ratings = []
    while len(ratings) < N:
        t = rng.integers(1, 6, (rng.integers(2, 5), rng.integers(3, 10))).astype(float)
        t[rng.random(t.shape) < rng.choice([0, .3])] = np.nan
        paired = t[:, (~np.isnan(t)).sum(0) > 1]
        if len(np.unique(paired[~np.isnan(paired)])) > 1: ratings.append(t)    # alpha is 0/0 where all agree on one value
    return pairs, positions, ratings


@pytest.fixture(scope='module')
def other(inputs):
    "What the other packages say to the same inputs."
    python = os.environ.get('ALIGNSURVEY_POPFIDELITY')
    if not python: pytest.skip('ALIGNSURVEY_POPFIDELITY names no Python that has popfidelity')
    pairs, positions, ratings = inputs
    plain = [(p.tolist(), q.tolist(), None) for p, q in pairs]
    placed = [(p.tolist(), q.tolist(), x.tolist()) for (p, q), x in zip(pairs, positions)]
    answers = [(np.eye(len(p))[p.argmax()].tolist(), q.tolist(), None) for p, q in pairs]    # somebody's answer is a distribution too
    tables = [[[None if np.isnan(v) else v for v in row] for row in t] for t in ratings]
    asked = dict(distances=dict(total_variation=plain, js_divergence=plain, js_distance=plain, nemd=plain, emd=plain, energy_distance=answers, normalised_wasserstein=placed, wasserstein=placed),
        alpha={level: tables for level in ('nominal', 'ordinal', 'interval')})
    done = subprocess.run([python, '-c', OTHER], input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


DISTANCES = {
    'total_variation': lambda p, q, x: m.total_variation(p, q),
    'js_divergence': lambda p, q, x: m.js_divergence(p, q),
    'js_distance': lambda p, q, x: m.js_distance(p, q),
    'normalised_wasserstein': lambda p, q, x: m.wasserstein(p, q, x),
    'nemd': lambda p, q, x: m.wasserstein(p, q, np.arange(len(p))),                          # options one step apart
    'emd': lambda p, q, x: m.wasserstein(p, q, np.arange(len(p)))*(len(p) - 1),             # in steps
    'wasserstein': lambda p, q, x: m.wasserstein(p, q, x)*np.ptp(x),                        # in units of the positions
}


@pytest.mark.parametrize('name', DISTANCES)
def test_distances_are_popfidelitys(name, inputs, other):
    ours = [DISTANCES[name](p, q, x) for (p, q), x in zip(*inputs[:2])]
    assert len(ours) == N
    power = 2 if name == 'js_distance' else 1    # near 0 a root makes rounding of 1e-16 into 1e-8
    np.testing.assert_allclose(np.power(ours, power), np.power(other[name], power), rtol=0, atol=TOL)


def test_rps_is_their_energy_distance_from_an_answer(inputs, other):
    "Twice the sum of squared differences of the cumulated shares; they list no ranked probability, Brier or log score and no calibration error of their own."
    ours = [m.rps([p.argmax()], [q], np.arange(len(p)))*2*(len(p) - 1) for p, q in inputs[0]]
    np.testing.assert_allclose(ours, other['energy_distance'], rtol=0, atol=1e-8)


@pytest.mark.parametrize('level', ['nominal', 'ordinal', 'interval'])
@pytest.mark.parametrize('package', ['alpha', 'krippendorff'])
def test_alpha_is_theirs(package, level, inputs, other):
    if f'{package} {level}' not in other: pytest.skip('krippendorff is not in that environment')
    ours = [krippendorff_alpha(t, level=level) for t in inputs[2]]
    assert len(ours) == N
    np.testing.assert_allclose(ours, other[f'{package} {level}'], rtol=0, atol=TOL)
