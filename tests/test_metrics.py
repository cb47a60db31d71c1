"""Parity of alignsurvey.metrics with scipy, scikit-learn and the textbook formulas, and the properties that must hold for any input."""
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cityblock, jensenshannon
from scipy.stats import wasserstein_distance
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss, mean_absolute_error

from alignsurvey import metrics as m

N, TOL = 1000, 1e-9


def random_shares(rng, k, rows=None):
    "Shares over k options with exact zeros among them, from near-uniform to near-certain."
    size = (1 if rows is None else rows, k)
    q = rng.gamma(rng.choice([.05, .3, 1, 20]), size=size) * (rng.random(size) > rng.choice([0, .4]))
    q[q.sum(1) == 0] = 1
    q /= q.sum(1, keepdims=True)
    return q[0] if rows is None else q


def random_positions(rng, k):
    "Unordered, unevenly spaced, often tied, never all equal."
    x = rng.choice([rng.integers(-3, 4, k).astype(float), rng.normal(size=k) * 100, rng.permutation(k).astype(float)])
    if np.ptp(x) == 0: x[0] += 1
    return x


def random_answers(rng):
    "Human and model answers, number of options, and weights (one time in three None); failures and absent classes included."
    k, n = rng.integers(2, 8), rng.integers(1, 60)
    used = rng.choice(k, size=rng.integers(1, k + 1), replace=False)
    weight = (None, rng.gamma(1, size=n), rng.integers(1, 4, n))[rng.integers(3)]
    return rng.choice(used, n), rng.integers(-1, k, n), int(k), weight


@pytest.fixture
def rng(): return np.random.default_rng(20260101)


# distances

def test_wasserstein_is_scipys_over_the_range(rng):
    tied = 0
    for _ in range(N):
        k = rng.integers(2, 12)
        p, q, x = random_shares(rng, k), random_shares(rng, k), random_positions(rng, k)
        tied += len(np.unique(x)) < k
        assert abs(m.wasserstein(p, q, x) - wasserstein_distance(x, x, p, q) / np.ptp(x)) < TOL
    assert tied > 100  # the inputs did hold what they claim to


def test_js_is_scipys(rng):
    for _ in range(N):
        k = rng.integers(1, 12)
        p, q = random_shares(rng, k), random_shares(rng, k)
        reference = jensenshannon(p, q, base=2)
        assert abs(m.js_divergence(p, q) - reference**2) < TOL
        assert abs(m.js_distance(p, q)**2 - reference**2) < TOL


def test_total_variation_is_half_the_city_block_distance(rng):
    for _ in range(N):
        k = rng.integers(1, 12)
        p, q = random_shares(rng, k), random_shares(rng, k)
        assert abs(m.total_variation(p, q) - cityblock(p, q) / 2) < TOL


def test_distances_over_rows_are_the_distances_of_the_rows(rng):
    p, q, x = random_shares(rng, 5, N), random_shares(rng, 5, N), np.array([2, 0, 0, 7, 1])
    for f in (m.total_variation, m.js_divergence, m.js_distance, lambda a, b: m.wasserstein(a, b, x)):
        rows = np.array([f(a, b) for a, b in zip(p, q)])
        np.testing.assert_allclose(f(p, q), rows, atol=1e-12)
        np.testing.assert_allclose(f(p.reshape(10, -1, 5), q.reshape(10, -1, 5)), rows.reshape(10, -1), atol=1e-12)
        np.testing.assert_allclose(f(p, q[0]), [f(a, q[0]) for a in p], atol=1e-12)
        assert type(f(p[0], q[0])) is float and f(p[:0], q[:0]).shape == (0,)


share_lists = st.integers(2, 8).flatmap(lambda k: st.tuples(*[
    arrays(float, k, elements=st.floats(0, 1)).filter(lambda a: a.sum() > 1e-3).map(lambda a: a / a.sum()) for _ in range(3)]))


@given(share_lists, st.randoms(use_true_random=False))
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_distances_keep_their_promises(pqr, random):
    "Bounded, zero on itself, symmetric, triangle inequality, blind to the order in which options are listed; floats down to the smallest."
    p, q, r = pqr
    k = len(p)
    x = np.array([random.randint(-5, 5) for _ in range(k)], dtype=float)
    if np.ptp(x) == 0: x[0] += 1
    mix = np.array(random.sample(range(k), k))
    assert abs(m.wasserstein(p, q, x) - m.wasserstein(p[mix], q[mix], x[mix])) < TOL
    assert m.wasserstein(p, q, x) <= m.total_variation(p, q) + TOL
    assert abs(m.wasserstein(p, q, x) - m.wasserstein(p, q, -3*x + 2)) < TOL
    for f in (lambda a, b: m.wasserstein(a, b, x), m.total_variation, m.js_distance):
        assert 0 <= f(p, q) <= 1 + TOL
        assert f(p, p) == 0
        assert abs(f(p, q) - f(q, p)) < 1e-7
        assert f(p, r) <= f(p, q) + f(q, r) + 1e-7
    assert m.js_divergence(p, q) <= m.total_variation(p, q) + TOL  # Lin 1991, theorem 3


def test_smallest_float_is_no_infinity():
    tiny = np.nextafter(0, 1)
    assert m.js_divergence([tiny, 1], [0, 1]) == 0
    assert m.log_score([0], [[tiny, 1]]) < 745


# answers against answers

def test_accuracy_is_sklearns(rng):
    for _ in range(N):
        y, yhat, _, w = random_answers(rng)
        assert abs(m.accuracy(y, yhat, weight=w) - accuracy_score(y, yhat, sample_weight=w)) < TOL


def test_soft_accuracy_is_one_minus_sklearns_error_over_the_range(rng):
    for _ in range(N):
        y, yhat, k, w = random_answers(rng)
        x, yhat = random_positions(rng, k), np.maximum(yhat, 0)
        reference = 1 - mean_absolute_error(x[y], x[yhat], sample_weight=w) / np.ptp(x)
        assert abs(m.soft_accuracy(y, yhat, x, weight=w) - reference) < TOL


def test_a_failed_answer_earns_nothing(rng):
    for _ in range(N):
        y, yhat, k, w = random_answers(rng)
        x = random_positions(rng, k)
        got = m.soft_accuracy_scores(y, yhat, x)
        assert (got[yhat == -1] == 0).all()
        ok = yhat >= 0
        if ok.any(): np.testing.assert_allclose(got[ok], m.soft_accuracy_scores(y[ok], yhat[ok], x))


def test_f1_is_sklearns_over_the_classes_present(rng):
    absent = failed = 0
    for _ in range(N):
        y, yhat, k, w = random_answers(rng)
        present = sorted(set(y) | set(yhat) - {-1})
        for average in ('macro', 'weighted'):
            reference = f1_score(y, yhat, labels=present, average=average, sample_weight=w, zero_division=0)
            assert abs(m.f1(y, yhat, k, average=average, weight=w) - reference) < TOL
        assert m.f1_left_out(y, yhat, k, weight=w) == k - len(present)
        absent, failed = absent + (len(present) < k), failed + (-1 in yhat)
    assert absent > 100 and failed > 100


# probabilities against answers

def test_log_score_is_sklearns(rng):
    for _ in range(N):
        y, _, k, w = random_answers(rng)
        q = m.smooth_shares(rng.gamma(1, size=(len(y), k)) * 20, .1)  # scikit-learn clips zeros, this library does not
        assert abs(m.log_score(y, q, weight=w) - log_loss(y, q, labels=range(k), sample_weight=w)) < TOL


def test_brier_is_sklearns_unhalved(rng):
    for _ in range(N):
        y, _, k, w = random_answers(rng)
        q = random_shares(rng, k, len(y))
        reference = brier_score_loss(y, q, labels=range(k), sample_weight=w, scale_by_half=False)
        assert abs(m.brier(y, q, weight=w) - reference) < TOL


def test_rps_is_the_energy_form_of_the_crps(rng):
    "E|X - y| - E|X - X'|/2 over ranks (Gneiting & Raftery 2007, eq. 21): no cumulating, no sorting."
    for _ in range(N):
        y, _, k, w = random_answers(rng)
        q, x = random_shares(rng, k, len(y)), random_positions(rng, k)
        rank = np.array([len(set(x[x < v])) for v in x])
        to_answer = (q * np.abs(rank[None] - rank[y][:, None])).sum(1)
        to_itself = np.einsum('nj,nk,jk->n', q, q, np.abs(rank[:, None] - rank[None]))
        reference = np.average((to_answer - to_itself / 2) / rank.max(), weights=w)
        assert abs(m.rps(y, q, x, weight=w) - reference) < TOL


def test_weighted_scores_by_hand():
    "Three people, the second of whom counts twice."
    y, w, q = [0, 1, 2], [1, 2, 1], [[.5, .3, .2], [.2, .6, .2], [.1, .6, .3]]
    assert np.isclose(m.rps(y, q, range(3), weight=w), (1*(.5**2 + .2**2)/2 + 2*(.2**2 + .2**2)/2 + 1*(.1**2 + .7**2)/2)/4)
    assert np.isclose(m.ece(y, q, weight=w), (1*(1 - .5) + abs(2*(1 - .6) + 1*(0 - .6)))/4)    # one bin holds the first, the next the other two
    assert np.isclose(m.brier(y, q, weight=w), (.25 + .09 + .04 + 2*(.04 + .16 + .04) + .01 + .36 + .49)/4)
    assert np.isclose(m.log_score(y, q, weight=w), -(np.log(.5) + 2*np.log(.6) + np.log(.3))/4)
    # choices 0, 1, 1: class 0 all right; class 1 two of three by weight and nothing missed; class 2 never chosen
    assert np.isclose(m.f1(y, [0, 1, 1], 3, weight=w), (1 + 2*2/(2*2 + 1) + 0)/3)
    assert np.isclose(m.f1(y, [0, 1, 1], 3, average='weighted', weight=w), (1*1 + 2*.8 + 1*0)/4)


def test_rps_of_two_options_is_half_of_brier(rng):
    y, q = rng.integers(0, 2, N), random_shares(rng, 2, N)
    np.testing.assert_allclose(m.rps_scores(y, q), m.brier_scores(y, q) / 2, atol=1e-12)


def test_ece_is_a_plain_loop_over_records(rng):
    ties = 0
    for _ in range(N):
        y, _, k, w = random_answers(rng)
        bins = int(rng.integers(1, 16))
        q = np.array([rng.multinomial(20, np.full(k, 1/k)) / 20 for _ in y])  # on a grid, so edges and ties are hit often
        gaps = {}
        for i, row in enumerate(q):
            best = [j for j in range(k) if row[j] == max(row)]
            ties += len(best) > 1
            b = next(b for b in range(1, bins + 1) if max(row) <= b / bins + 1e-12)
            weight = 1 if w is None else w[i]
            gaps[b] = gaps.get(b, 0) + weight * ((y[i] in best) / len(best) - max(row))
        reference = sum(map(abs, gaps.values())) / (len(y) if w is None else w.sum())
        assert abs(m.ece(y, q, bins=bins, weight=w) - reference) < TOL
    assert ties > 1000


def test_probability_scores_are_blind_to_the_listed_order(rng):
    for _ in range(N):
        y, _, k, w = random_answers(rng)
        q, x, mix = random_shares(rng, k, len(y)), random_positions(rng, k), rng.permutation(k)
        moved = np.argsort(mix)[y]
        for f in (m.log_score, m.brier, m.ece):
            np.testing.assert_allclose(f(y, q, weight=w), f(moved, q[:, mix], weight=w), atol=TOL)
        assert abs(m.rps(y, q, x, weight=w) - m.rps(moved, q[:, mix], x[mix], weight=w)) < TOL


@pytest.mark.parametrize('score', [m.log_score, m.brier, m.rps])
def test_honesty_pays(rng, score):
    "Proper: with answers spread as `truth` says, no other forecast has a lower expected score."
    for _ in range(N):
        k = rng.integers(2, 7)
        truth, other = rng.dirichlet(np.ones(k), size=2)
        assert score(np.arange(k), truth, weight=truth) < score(np.arange(k), other, weight=truth)


# weights, resamples, shares from counts

ANSWERS = {'accuracy': m.accuracy, 'macro': lambda *a, **k: m.f1(*a, 4, **k),
           'weighted': lambda *a, **k: m.f1(*a, 4, average='weighted', **k), 'left_out': lambda *a, **k: m.f1_left_out(*a, 4, **k),
           'soft': lambda *a, **k: m.soft_accuracy(*a, [0, 3, 1, 1], **k)}
FORECASTS = {'log': m.log_score, 'brier': m.brier, 'rps': m.rps, 'ece': m.ece}


@pytest.mark.parametrize('name', [*ANSWERS, *FORECASTS])
def test_a_matrix_of_weights_is_a_bootstrap(rng, name):
    "Weights of counts, times design weights, equal drawing the records one by one."
    n = 40
    y, design = rng.integers(0, 4, n), rng.gamma(2, size=n)
    guess = rng.integers(-1, 4, n) if name in ANSWERS else random_shares(rng, 4, n)
    f = (ANSWERS | FORECASTS)[name]
    counts = rng.multinomial(n, np.full(n, 1/n), size=200)
    at_once = f(y, guess, weight=counts * design)
    assert at_once.shape == (200,)
    for count, value in zip(counts, at_once):
        drawn = np.repeat(np.arange(n), count)
        np.testing.assert_allclose(value, f(y[drawn], guess[drawn], weight=design[drawn]), atol=TOL)
    np.testing.assert_allclose(f(y, guess), f(y, guess, weight=np.full(n, 7.)), atol=TOL)


def test_means_are_the_means_of_their_scores(rng):
    y, yhat, q, w = rng.integers(0, 4, N), rng.integers(-1, 4, N), rng.dirichlet(np.ones(4), N), rng.gamma(1, size=N)
    x = [3, 0, 0, 1]
    for mean, each in ((m.accuracy(y, yhat, weight=w), m.accuracy_scores(y, yhat)), (m.brier(y, q, weight=w), m.brier_scores(y, q)),
                       (m.soft_accuracy(y, yhat, x, weight=w), m.soft_accuracy_scores(y, yhat, x)),
                       (m.log_score(y, q, weight=w), m.log_scores(y, q)), (m.rps(y, q, x, weight=w), m.rps_scores(y, q, x))):
        assert type(mean) is float and each.shape == (N,)
        assert abs(mean - np.average(each, weights=w)) < TOL


def test_infinite_only_where_an_impossible_answer_counts():
    y, q = [0, 1], [[1., 0], [1., 0]]
    assert m.log_score(y, q) == np.inf
    assert m.log_score(y, q, weight=[1, 0]) == 0
    assert m.log_score(y, q, weight=[[1, 0], [0, 1], [2, 1]]).tolist() == [0, np.inf, np.inf]


@given(arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(0, 1e6)), st.floats(1e-3, 10))
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_smoothed_shares_are_shares_without_zeros(counts, alpha):
    shares = m.smooth_shares(counts, alpha)
    assert (shares > 0).all() and np.allclose(shares.sum(-1), 1)
    assert ((np.diff(counts) >= 0) <= (np.diff(shares) >= 0)).all()  # order kept
    m.log_score([0], shares[0])  # and they are accepted as a forecast


# input as it comes

def test_sums_off_by_rounding_do_not_reach_the_score(rng):
    p, q = random_shares(rng, 5, N), random_shares(rng, 5, N)
    assert abs(m.total_variation(p, p * (1 + 8e-7))).max() < 1e-12
    np.testing.assert_allclose(m.brier_scores(q.argmax(1), q * (1 - 8e-7)), m.brier_scores(q.argmax(1), q), atol=1e-12)


def test_lists_frames_and_32_bit_give_the_same(rng):
    q = random_shares(rng, 3, 50).astype('float32')
    y = rng.integers(0, 3, 50)
    frame = pd.DataFrame({'answer_index': pd.array(y, dtype='Int64'), 'probs': list(q)})
    for f in FORECASTS.values():
        expected = f(y, q.astype(float) / q.astype(float).sum(1, keepdims=True))
        for a, b in ((y.tolist(), q.tolist()), (frame.answer_index, frame.probs), (y.astype(float), q)):
            np.testing.assert_allclose(f(a, b), expected, atol=1e-6)


@pytest.mark.parametrize('call, message', [
    (lambda: m.total_variation([.5, .5], [[.5, .5], [.5, .6]]), r'^q\[1\] sums to 1\.1; shares must sum to 1: divide by their sum$'),
    (lambda: m.total_variation([.5, .5], np.full((2, 3, 2), [.5, .500002])), r'^q\[0, 0\] sums to 1\.000002;'),
    (lambda: m.total_variation([.5, .5], [np.nan, 1]), '^q holds values that are missing or infinite'),
    (lambda: m.js_divergence([-2., 3.], [.5, .5]), "^p holds -2; shares can't be negative"),
    (lambda: m.js_distance(.5, [.5, .5]), r'^p has shape \(\); give one share an option'),
    (lambda: m.js_distance([], []), r'^p has shape \(0,\)'),
    (lambda: m.wasserstein([1], [1], [0]), '^all positions equal 0, so the scale has no length'),
    (lambda: m.wasserstein([.5, .5], [.5, .5], 'listed'), '^positions is not an array of numbers'),
    (lambda: m.wasserstein([.5, .5], [.5, .5], [0, np.inf]), '^positions has a gap'),
    (lambda: m.soft_accuracy([0], [0], None), '^soft_accuracy needs ordinal positions and got None; accuracy serves a nominal item'),
    (lambda: m.rps([0], [[1, 0]], None), '^rps needs ordinal positions'),
    (lambda: m.brier([0, 1], pd.Series([[.5, .5], None])), '^q is not an array of numbers; .*one at a time'),
    (lambda: m.brier([0, 1], pd.Series([[.5, .5], [.2, .3, .5]])), 'one at a time'),
    (lambda: m.brier([0.5], [[.5, .5]]), r'^y\[0\] is 0\.5; give whole option indices from 0 to 1; leave unanswered records out$'),
    (lambda: m.accuracy(pd.array([0, None], dtype='Int64'), [0, 0]), r'^y\[1\] is nan'),
    (lambda: m.accuracy([0, 1], [0, -2]), r'^yhat\[1\] is -2; give whole option indices from 0 up, with -1 for a failed answer$'),
    (lambda: m.accuracy([[0], [1]], [0, 1]), r'^y has shape \(2, 1\)'),
    (lambda: m.accuracy([0], [0], weight=[[[1.]]]), r'^weight has shape \(1, 1, 1\)'),
    (lambda: m.accuracy([0], [0], weight=[np.nan]), '^weight must be finite'),
    (lambda: m.accuracy([0, 1], [0, 1], weight=[[1, 1], [0, 0]]), '^all weights are 0'),
    (lambda: m.f1([0], [0], 2.5), "^n_classes is 2.5; give the codebook's number of options"),
    (lambda: m.ece([0], [[1, 0]], bins=2.5), '^bins is 2.5; give a whole number'),
    (lambda: m.smooth_shares(3), '^counts is the single number 3'),
    (lambda: m.smooth_shares([1, np.nan]), '^counts must be finite'),
    (lambda: m.smooth_shares([[1, 2], [0, 0]], 0), '^counts holds no answer and alpha is 0'),
    (lambda: m.total_variation(np.eye(3), np.eye(3)[:2]), r'^p has shape \(3, 3\) and q \(2, 3\)'),
    (lambda: m.smooth_shares([1, 2], np.nan), '^alpha is nan'),
])
def test_wrong_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message): call()
