"What notebook cells can't show about calibration, structure, bounds and boosting: properties, parity, planted truths, bad input."
import numpy as np, pandas as pd, pytest, statsmodels.api as sm
from hypothesis import given, settings, strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss
from alignsurvey.prediction.baselines import baseline_predictions
from alignsurvey.evaluation.calibration import temperature_scale
from alignsurvey.evaluation.bounds import relative_gain, split_half
from alignsurvey.evaluation.calibration import corp, reliability, temperature
from alignsurvey.records.reading import make_records
from alignsurvey.records.orders import reorder
from alignsurvey.evaluation.structure import coefficients, correlations, missing_answers, variance_ratio


def survey(y, scale='ordinal', weight=None, k=None, **extra):
    "Records of people (rows of y) who answered items (columns); -1 is no record."
    y, k = np.asarray(y), k or int(np.max(y)) + 1
    return make_records([dict(instruction='?\n' + '\n'.join(f'{chr(65 + c)}. o{c}' for c in range(k)), output=f'o{v}', options=[f'o{c}' for c in range(k)], answer_index=int(v), answer_form='text', scale=scale, positions=[float(c) for c in range(k)] if scale == 'ordinal' else None,
        source='toy', respondent_id=f'p{i}', question_id=f'q{j}', weight=1. if weight is None else float(weight[i]), **{n: f(i) for n, f in extra.items()}) for i, row in enumerate(y) for j, v in enumerate(row) if v >= 0])


def said(records, q, **columns):
    "Predictions from q (people, items, options)."
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=[q[int(r[1:]), int(j[1:])].tolist() for r, j in zip(records['respondent_id'], records['question_id'])], status='ok', elicitation='score') | columns)


def drawn(rng, q): return (rng.random((*q.shape[:2], 1)) > q.cumsum(2)[..., :-1]).sum(2)

def no_number_without_reason(rows): return not (rows.value.isna() & rows.note.isna()).any() and not ((rows.ci_low.isna()) != rows.ci_high.isna()).any()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_parts_add_up_and_agree_with_scikit_learn(seed):
    "Miscalibration is never negative, and recalibrated scores are those of IsotonicRegression, with weights."
    rng = np.random.default_rng(seed)
    q, w = (1 + rng.multinomial(17, rng.dirichlet([1, 1, 1], (60, 1))))/20, rng.uniform(.5, 2, 60)
    y = drawn(rng, q)
    records = survey(y, weight=w, k=3)
    parts = corp(records, dict(m=said(records, q)), n_boot=100).set_index(['group', 'metric']).value
    for score in 'brier', 'log_score_options':
        p = parts[score]
        assert p.score == pytest.approx(p.miscalibration - p.discrimination + p.uncertainty) and p.miscalibration > -1e-6 and p.discrimination > -1e-6
    better = dict(brier=0., log_score_options=0.)
    for k in range(3):
        hit = (y[:, 0] == k).astype(float)
        r = IsotonicRegression(y_min=0, y_max=1).fit(q[:, 0, k], hit, sample_weight=w).predict(q[:, 0, k])
        better['brier'] += np.average((r - hit)**2, weights=w)
        better['log_score_options'] += log_loss(hit, r, sample_weight=w, labels=[0, 1])
    for score, v in better.items(): assert parts[score, 'uncertainty'] - parts[score, 'discrimination'] == pytest.approx(v, abs=1e-3)

def test_displayed_order_makes_no_difference():
    rng = np.random.default_rng(0)
    q = rng.dirichlet([2, 2, 2], (40, 3))
    records = survey(drawn(rng, q), k=3)
    turned, frame = reorder(records, 'reverse'), said(records, q)
    back = frame.assign(probs=[p[::-1] for p in frame.probs])
    for f in lambda r, p: corp(r, dict(m=p), n_boot=100), lambda r, p: reliability(r, dict(m=p), n_boot=100), lambda r, p: correlations(r, dict(m=p), n_boot=100), lambda r, p: variance_ratio(r, dict(m=p), n_boot=100), lambda r, p: temperature(r, dict(m=p), n_boot=100):
        pd.testing.assert_frame_equal(f(records, frame), f(turned, back), rtol=1e-9)

def test_a_temperature_planted_is_found_and_is_the_one_that_scaling_uses():
    inside = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        q = rng.dirichlet([2, 2, 2], (300, 2))
        records = survey(drawn(rng, q), k=3)
        frame = said(records, q**2/(q**2).sum(-1, keepdims=True))
        t = temperature(records, dict(m=frame), n_boot=200, seed=seed).iloc[0]
        inside += t.ci_low < 2 < t.ci_high
    assert inside >= 18
    assert t.value == pytest.approx(temperature_scale(records, frame, frame).attrs['temperature'], rel=2e-3)

def test_infinite_scores_are_said_and_zero_probabilities_have_no_temperature():
    records = survey([[0], [1], [1]], k=2)
    frame = said(records, np.array([[[1., 0]], [[1., 0]], [[.5, .5]]]))
    rows = corp(records, dict(m=frame), n_boot=100)
    r = rows[(rows.group == 'log_score_options') & (rows.metric == 'score')].iloc[0]
    assert np.isinf(r.value) and r.note.startswith('infinite') and np.isnan(r.ci_low)
    with pytest.raises(ValueError, match="record 'toy/p1/q0' has probability 0 at its answer"): temperature(records, dict(m=frame))

def test_correlations_are_those_of_numpy_with_weights_and_with_gaps():
    rng = np.random.default_rng(0)
    lean = rng.normal(size=(80, 1))
    y = np.clip(np.round(lean + rng.normal(size=(80, 3)) + 2), 0, 4).astype(int)
    w, gone = rng.uniform(.5, 2, 80), y.copy()
    gone[10:30, 0] = -1
    records = survey(gone, weight=w, k=5)
    human = correlations(records, dict(m=said(records, np.eye(5)[y])), n_boot=100)
    got = human[human.predictor == 'human'].set_index('group')
    for a, b in ('q0', 'q1'), ('q1', 'q2'):
        i, j = int(a[1]), int(b[1])
        at = (gone[:, i] >= 0) & (gone[:, j] >= 0)
        c = np.cov(y[at][:, [i, j]].T, aweights=w[at])
        assert got.value[f'{a} × {b}'] == pytest.approx(c[0, 1]/np.sqrt(c[0, 0]*c[1, 1])) and got.n[f'{a} × {b}'] == at.sum()

def test_a_models_correlation_and_variance_are_those_of_answers_drawn_from_it():
    rng = np.random.default_rng(0)
    lean = rng.normal(size=(400, 1, 1))
    q = np.exp(np.arange(4)*lean*np.array([1., -1])[:, None])
    q /= q.sum(-1, keepdims=True)
    y = drawn(rng, q)
    records = survey(y, k=4)
    rows = correlations(records, dict(m=said(records, q)), n_boot=100)
    many = np.concatenate([drawn(rng, q) for _ in range(200)])
    model = rows[(rows.predictor == 'm') & rows.versus.isna() & (rows.metric == 'correlation')].value.iloc[0]
    assert model == pytest.approx(np.corrcoef(many.T)[0, 1], abs=.01)
    ratio = variance_ratio(records, dict(m=said(records, q)), n_boot=100).set_index('question_id').value
    assert ratio['q0'] == pytest.approx(many[:, 0].var()/y[:, 0].var(), rel=.01)

def test_a_spread_that_was_shrunk_by_30_percent_is_found():
    inside = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y = drawn(rng, np.full((300, 2, 3), 1/3))
        q = np.tile([.35*2/3, 1 - .7*2/3, .35*2/3], (300, 2, 1))    # variance .7 x 2/3
        records = survey(y, k=3)
        r = variance_ratio(records, dict(m=said(records, q)), n_boot=200, seed=seed)
        r = r[r.question_id.isna()].iloc[0]
        inside += r.ci_low < .7 < r.ci_high
    assert inside >= 18

def test_human_coefficients_are_those_of_statsmodels():
    rng = np.random.default_rng(0)
    y, w, x = rng.integers(0, 2, (60, 2)), rng.uniform(.5, 2, 60), rng.normal(size=60)
    records = survey(y, weight=w, k=2)
    own = pd.DataFrame(dict(x=x), index=[f'p{i}' for i in range(60)])
    full = own.assign(q0=y[:, 0], q1=y[:, 1])
    for kind, fit in ('linear', sm.WLS.from_formula('q0 ~ x*q1', full, weights=w)), ('logit', sm.GLM.from_formula('q0 ~ x*q1', full, family=sm.families.Binomial(), freq_weights=w)):
        rows = coefficients(records, dict(m=said(records, np.eye(2)[y])), 'q0 ~ x*q1', data=own, model=kind, n_boot=100)
        np.testing.assert_allclose(rows[rows.predictor == 'human'].value, fit.fit().params, rtol=1e-6)
        np.testing.assert_allclose(rows[rows.versus == 'human'].value, 0, atol=1e-9)    # the model said what people said
    with pytest.raises(ValueError, match="model is 'probit'"): coefficients(records, {}, 'q0 ~ x', model='probit')

def test_a_coefficient_that_was_halved_is_found():
    inside = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 2, 400)
        human, model = (np.c_[1 - p, p][:, None] for p in (.3 + .4*x, .4 + .2*x))
        records = survey(drawn(rng, human), k=2, groups=lambda i: dict(x='ab'[x[i]]))
        rows = coefficients(records, dict(m=said(records, model)), 'q0 ~ x', n_boot=100, seed=seed)
        r = rows[(rows.predictor == 'm') & rows.versus.isna()].iloc[1]
        inside += r.ci_low < .2 < r.ci_high
    assert inside >= 9

def test_a_category_of_one_has_no_interval_and_says_so():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (50, 1))
    records = survey(y, k=3, groups=lambda i: dict(g='rare' if i == 0 else 'ab'[i % 2]))
    rows = coefficients(records, dict(m=said(records, np.full((50, 1, 3), 1/3))), 'q0 ~ g', n_boot=100)
    rare = rows[rows.group.str.contains('rare')]
    assert rare.ci_low.isna().all() and rare.note.str.contains('resamples have no value').all() and no_number_without_reason(rows)

@pytest.mark.parametrize('how', ['failed', 'alone', 'same', 'nominal', 'identical'])
def test_bad_input_gives_reasons_and_no_bare_gaps(how):
    rng = np.random.default_rng(0)
    y = np.zeros((30, 2), int) if how == 'same' else rng.integers(0, 3, (1 if how == 'alone' else 30, 2))
    records = survey(y, k=3, scale='nominal' if how == 'nominal' else 'ordinal')
    frame = said(records, rng.dirichlet([1, 1, 1], y.shape))
    if how == 'failed': frame['status'] = ['error' if q == 'q1' else 'ok' for q in records['question_id']]
    both = dict(m=frame, twin=frame) if how == 'identical' else dict(m=frame)
    for rows in variance_ratio(records, both, n_boot=100), missing_answers(records, both, n_boot=100), temperature(records, both, n_boot=100), reliability(records, both, n_boot=100), corp(records, both, n_boot=100): assert no_number_without_reason(rows)
    if how == 'nominal':
        with pytest.raises(ValueError, match='0 items have ranks or two options'): correlations(records, both)
    else: assert no_number_without_reason(correlations(records, both, n_boot=100))
    if how == 'alone':
        with pytest.raises(ValueError, match='one respondent'): split_half(records)
    else: assert no_number_without_reason(split_half(records, splits=50))
    if how == 'identical': assert (relative_gain(records, both, base='twin', n_boot=100).value.dropna() == 0).all()

def test_all_predictions_failed():
    records = survey(np.random.default_rng(0).integers(0, 3, (30, 2)), k=3)
    frame = said(records, np.full((30, 2, 3), 1/3), status='error')
    for f in corp, temperature, variance_ratio, correlations, missing_answers: assert no_number_without_reason(f(records, dict(m=frame), n_boot=100)), f

def test_several_orders_of_one_record_are_refused():
    records = reorder(survey(np.random.default_rng(0).integers(0, 3, (9, 2)), k=3), 'cyclic')
    frame = pd.DataFrame(dict(record_id=records['record_id'][:], probs=[[.2, .3, .5]]*len(records), status='ok'))
    with pytest.raises(ValueError, match='average the orders first'): correlations(records, dict(m=frame), n_boot=100)

def test_boosting_learns_from_training_alone_and_takes_new_categories():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (300, 2))
    make = lambda a, b, names: make_records([dict(r, record_id=f'{a}-{i}', respondent_id=f'{a}-{i}', groups=dict(g=names[i % len(names)], h=None)) for i, r in enumerate(survey(y[a:b], k=3).to_list())])
    train, test = make(0, 200, ['x', 'y']), make(200, 300, ['x', 'z'])
    one = baseline_predictions(train, test, names='boosting')['boosting']
    other = test.map(lambda r: dict(answer_index=0), load_from_cache_file=False)
    assert one.equals(baseline_predictions(train, other, names='boosting')['boosting'])
    few = baseline_predictions(train, test.select(range(5)), names='boosting')['boosting']
    assert few.probs.tolist() == one.probs[:5].tolist()
    assert all(min(p) > 0 and sum(p) == pytest.approx(1) for p in one.probs)
