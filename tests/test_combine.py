"""PPI++ against the package of its authors, which lives in an environment of its own: its pins are not this library's.

    python -m venv other && other/bin/pip install ppi-python
    ALIGNSURVEY_PPI=other/bin/python python -m pytest tests/test_combine.py

Without it the comparison is skipped."""
import json, os, subprocess
from pathlib import Path
import numpy as np, pandas as pd, pytest
from alignsurvey.estimation.ppi import ppi_mean, worth
from alignsurvey.estimation.raking import rake

OTHER = '''
import json, sys, numpy as np
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
out = []
for c in json.load(sys.stdin):
    y, f, g, w, v = (None if c[k] is None else np.array(c[k]) for k in ('y', 'f', 'g', 'w', 'v'))
    low, high = ppi_mean_ci(y, f, g, alpha=.05, w=w, w_unlabeled=v, lam=c['trust'])
    out.append([float(np.ravel(x)[0]) for x in (ppi_mean_pointestimate(y, f, g, w=w, w_unlabeled=v, lam=c['trust']), low, high)])
json.dump(out, sys.stdout)
'''


def test_agrees_with_the_authors_package():
    python = os.environ.get('ALIGNSURVEY_PPI')
    if not python: pytest.skip('ALIGNSURVEY_PPI names no Python that has ppi-python')
    rng, cases = np.random.default_rng(0), []
    for i in range(60):
        n, more = rng.integers(20, 200), rng.integers(50, 2000)
        z = rng.normal(size=n + more)
        y, f = (z[:n] + rng.normal(size=n) > 0).astype(float), rng.choice([0, .2, 1])*z + rng.normal(size=n + more)*rng.choice([.01, .3, 2])
        cases.append(dict(y=y.tolist(), f=f[:n].tolist(), g=f[n:].tolist(), trust=[None, None, 0., 1., .4][i % 5],
            w=rng.uniform(.3, 3, n).tolist() if i % 2 else None, v=rng.uniform(.3, 3, more).tolist() if i % 3 else None))
    done = subprocess.run([python, '-c', OTHER], input=json.dumps(cases), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mine = [ppi_mean(c['y'], c['f'], c['g'], weight=c['w'], more_weight=c['v'], trust=c['trust'], fixed=True) for c in cases]
    assert np.allclose([[m['estimate'], m['low'], m['high']] for m in mine], json.loads(done.stdout), atol=1e-9)
    own = [(ppi_mean(c['y'], c['f'], c['g'], trust=c['trust'])['se'], m['se']) for c, m in zip(cases, mine) if c['w'] is None and c['v'] is None]
    assert len(own) > 5 and np.allclose(*zip(*own), atol=1e-12)    # without weights the default is theirs too
    trusts = [m['trust'] for m in mine]
    assert min(trusts) == 0 and max(trusts) == 1 and any(0 < t < 1 and t != .4 for t in trusts)    # clipped and chosen ones are among them


def test_a_useless_simulator_costs_nothing():
    rng = np.random.default_rng(1)
    ratio = [(r := ppi_mean(rng.random(100) < .3, rng.random(100), rng.random(1000)))['se']/r['human_se'] for _ in range(300)]
    assert max(ratio) <= 1.02


def test_simulators_did_no_harm_in_simulation():
    "The committed table: no study's interval is wider than the interviews' own by more than 2 %, and no estimate is biased, whatever the simulator."
    t = pd.read_csv(Path(__file__).parent.parent/'benchmarks'/'simulators.csv')
    assert set(t.simulator) == {'good', 'biased', 'useless'} and (t.replications >= 4000).all()
    assert (t.width_at_most <= 1.02).all() and (abs(t.bias_in_se) < 3.5).all()
    assert t.coverage[t.interviews >= 200].between(93, 97).all() and (t.width[t.simulator == 'good'] < .9).all()


@pytest.mark.parametrize('call, message', [
    (lambda y: ppi_mean(y, y, y, weight=0*y), 'weight must be 40 numbers of 0 or above, one a respondent, and not all 0'),
    (lambda y: ppi_mean(y, y, y, more_weight=y - 5), 'more_weight must be 40 numbers'),
    (lambda y: ppi_mean(y[:1], y[:1], y), r'human has the shape \(1,\): give two or more numbers'),
    (lambda y: rake(pd.DataFrame(dict(a=y)), dict(a={0.: .5, 1.: .5}), weight=0*y), 'weight must be 40 numbers of 0 or above, and not all 0'),
])
def test_wrong_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message): call(np.arange(40.) % 2)


def test_a_simulator_that_says_the_same_of_all_is_worth_nothing():
    y = np.arange(40.) % 2
    found = ppi_mean(y, 0*y + .5, np.full(400, .5))
    assert np.isclose(found['estimate'], .5) and found['interviews'] == 0 and found['se'] == found['human_se'] and 'no interviews' in worth(found, 40)
    same = ppi_mean(0*y, 0*y, np.zeros(400))    # everybody alike, human and model
    assert all(np.isfinite(v) for v in same.values()) and same['low'] == same['high'] == 0
