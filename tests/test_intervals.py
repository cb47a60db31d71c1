"""What a notebook cell can't show about intervals: properties, coverage where a sample is small, what the simulations in benchmarks/ found, and tables of hostile input that say why a number is missing."""
import json
from pathlib import Path
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from alignsurvey.estimation import bootstrap
from alignsurvey.evaluation.bounds import relative_gain
from alignsurvey.evaluation.calibration import corp, reliability, temperature
from alignsurvey.evaluation.groups import evaluate_groups
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.estimation.tests import equivalence
from alignsurvey.estimation.bootstrap import cluster_interval, interval, p_value, resamples, small_sample, t_interval
from alignsurvey.evaluation import groups
from alignsurvey.evaluation.judging import DIMENSIONS, judge
from alignsurvey.evaluation.judge_scoring import judge_scores
from alignsurvey.evaluation.orders import position_bias
from alignsurvey.records.reading import make_records
from alignsurvey.records.orders import reorder
from alignsurvey.evaluation.structure import coefficients, correlations, missing_answers, variance_ratio
from alignsurvey.evaluation.subgroups import stereotyping, subgroup_scores
from alignsurvey.evaluation.free_answers import evaluate_values

BENCHMARKS = Path(__file__).parent.parent/'benchmarks'


@given(st.integers(0, 10**6), st.floats(-3, 3), st.sampled_from([None, 1.5, 4., 40.]), st.floats(1, 1.5), st.sampled_from([.05, .1, .3]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_test_is_an_interval_read_the_other_way(seed, shift, df, stretch, alpha):
    "0 lies outside the interval of level 1 - alpha just where p is below alpha."
    d = np.r_[shift, shift + np.random.default_rng(seed).normal(size=2000)]
    p, wide = p_value(d, df=df, stretch=stretch), dict(df=df, stretch=stretch)
    low, high = t_interval(d, alpha, **wide)
    if abs(p - alpha) > 1e-9: assert (p < alpha) == (low > 0 or high < 0)
    plain = t_interval(d, alpha)
    assert p_value(d) <= p + 1e-12 and low <= plain[0] + 1e-12 and plain[1] <= high + 1e-12    # a small sample is never surer
    assert np.allclose(plain, interval(d, alpha), atol=.15)    # and in a large one percentiles say the same


@given(st.lists(st.floats(.01, 100), min_size=2, max_size=40), st.floats(.01, 100))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_small_samples_know_only_proportions(weights, factor):
    w = np.array(weights)
    a, b, c = small_sample(w), small_sample(factor*w), small_sample(np.r_[w, 0, 0])
    for k in a: assert np.isclose(a[k], b[k]) and np.isclose(a[k], c[k])
    assert 1 <= a['df'] <= len(w) - 1 + 1e-9 or len(w) == 2
    assert a['n'] <= len(w) + 1e-9 and 1 <= a['stretch'] <= 2


def test_ten_clusters_of_uneven_weight_are_covered():
    "1,000 surveys of ten clusters: intervals as if they were many hold the mean too seldom, those of a small sample do."
    rng, held = np.random.default_rng(0), {True: 0, False: 0}
    draws = np.vstack(list(resamples(10, 1000, seed=0)))
    for _ in range(1000):
        w, y = rng.lognormal(sigma=.5, size=10), rng.normal(size=10)
        d = draws @ (w*y)/(draws @ w)
        for wide in held:
            low, high = interval(d, **({k: v for k, v in small_sample(w).items() if k != 'n'} if wide else {}))
            held[wide] += low <= 0 <= high
    assert 930 <= held[True] <= 975 and held[False] < 910, held


def test_equivalence_of_few_is_harder():
    d = np.r_[0, np.random.default_rng(0).normal(scale=.5, size=4000)]
    many, few = equivalence(d, margin=1), equivalence(d, margin=1, df=4, stretch=1.1)
    assert many['equivalent'] and not few['equivalent'] and few['p'] > many['p'] and few['low'] < many['low']


def test_intervals_held_the_truth_in_simulation():
    """The committed table: 93 to 97 % (4,000 surveys know a coverage of 95 % within .7) where there are 30 clusters and weights leave 30 respondents; two clusters a stratum and
    weights of cv 1 that depend on the answer, within 93.5 and 96.5 and their 1.5 simulation errors; no distance, near the floor or on it, below 93."""
    t = pd.read_csv(BENCHMARKS/'coverage.csv')
    assert (t.replications >= 4000).all() and len(t) >= 13
    many = t[(t.clusters >= 30) & (t.respondents/(1 + t.weights_cv**2) >= 30)]
    assert len(many) >= 7
    for name in ('share', 'paired difference', 'paired difference, resampled', 'log score'):
        assert many[name][many.weights_cv <= 1].between(93, 97.3).all() and many[name].between(92, 97.3).all(), many[name]    # where few people carry most of the weight, a little less
    two = t[t.informative]
    assert set(zip(two.strata, two.clusters)) == {(5, 10), (8, 16), (15, 30), (30, 60), (5, 15)} and (two.weights_cv == 1).all()
    for name in ('share', 'paired difference', 'paired difference, resampled', 'log score'): assert two[name].between(93.5 - .5, 96.5 + .5).all(), two[name]
    for name in ('wasserstein far', 'wasserstein near', 'wasserstein right'): assert (two[name] >= 93).all(), two[name]


def test_rare_answers_were_covered_in_simulation():
    t = pd.read_json(BENCHMARKS/'coverage_rare.json')
    assert (t.replications >= 4000).all() and set(t.share) == {.005, .01, .02, .03} and {t.respondents.min(), t.respondents.max()} == {50, 500} and t.weights_cv.max() == 1
    assert (t[['resampled', 'linearised']] >= 94).all(axis=None)


def test_false_alarms_were_as_many_as_promised_in_simulation():
    "The committed table: 10,000 surveys and more without a difference; single tests in 4 to 6 % of them, families that Holm adjusted in 6 % at most."
    t = pd.read_csv(BENCHMARKS/'false_positives.csv')
    assert (t.replications >= 10_000).all() and t[['brier', 'log_score', 'rps', 'wasserstein']].stack().between(4, 6).all()
    assert (t.filter(like='family') <= 6).all(axis=None) and t.filter(like='family').shape[1] == 2


def test_planted_truths_were_found_in_simulation():
    found = json.loads((BENCHMARKS/'planted_truths.json').read_text())
    assert set(found) == {'gap', 'temperature', 'position bias', 'coefficient', 'variance'}
    for name, f in found.items(): assert f['replications'] >= 200 and f['hold_it'] >= .9*f['replications'], (name, f)


# hostile input: a sentence, or a number that is missing with a reason

def people(n, *, cells=('a', 'b'), weight=1., answer=lambda i: i % 2, items=('q',)):
    return make_records([dict(task='response', instruction=f'{i} {q}?', output='xy'[answer(i)], options=['x', 'y'], answer='xy'[answer(i)], answer_index=answer(i), scale='ordinal', positions=[0., 1.],
        source='made_up', respondent_id=str(i), question_id=q, weight=weight(i) if callable(weight) else weight, groups=dict(cell=cells[i % len(cells)])) for i in range(n) for q in items])

def said(records, p=.6, **columns): return pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[[1 - p, p]]*len(records)) | columns)

def reasons(table):
    "Every number that is missing has its reason beside it."
    gone = table[table.value.isna()]
    assert gone.note.notna().all() and (gone.note.fillna('').str.len() > 5).all(), gone
    return table

def overall(table, metric, versus=None):
    t = table[(table.metric == metric) & table.question_id.isna() & table.group_var.isna()]
    return t[t.versus.isna() if versus is None else t.versus == versus].iloc[0]


def test_few_respondents_are_warned_of():
    few, many = (reasons(evaluate(r := people(n), {'m': said(r)}, baselines=False, n_boot=100)) for n in (20, 60))
    assert 'rests on 20 clusters' in overall(few, 'brier').note and 'rough' not in str(overall(many, 'brier').note)
    r = people(60, weight=lambda i: 30. if i < 3 else 1.)
    assert 'clusters or respondents: interval is rough' in overall(evaluate(r, {'m': said(r)}, baselines=False, n_boot=100), 'brier').note


def test_a_distance_at_the_floor_is_warned_of():
    r = people(200)
    near, far = (overall(evaluate(r, {'m': said(r, p)}, baselines=False, n_boot=300), 'wasserstein') for p in (.52, .9))
    assert 'less than three times the noise floor' in near.note and 'without the noise' in near.note and 'noise floor' not in str(far.note)
    bare = float(near.note.split('rough; ')[1].split()[0])
    assert 0 <= bare < near.value


def test_weights_that_are_all_zero_get_a_sentence():
    r = people(20, weight=0.)
    for score in (lambda: evaluate(r, {'m': said(r)}, baselines=False), lambda: subgroup_scores(r, {'m': said(r)}, by='cell')):
        with pytest.raises(ValueError, match='all records have weight 0: fill the weights in'): score()


def test_an_item_with_nothing_left_says_so():
    r = people(40, items=('q', 'lost'))
    lost = [q == 'lost' for q in r['question_id']]
    frame = said(r, status=['refused' if x else 'ok' for x in lost], probs=[None if x else [.4, .6] for x in lost])
    t = reasons(evaluate(r, {'m': frame}, baselines=False, n_boot=100))
    assert t[(t.question_id == 'lost') & (t.metric == 'brier')].note.str.contains('nothing left to score').all()
    none = reasons(evaluate(r, {'m': said(r, status='refused', probs=None)}, baselines=False, n_boot=100))
    assert overall(none, 'failed').value == 1


def test_a_cell_of_one_is_suppressed_or_has_no_interval():
    r = people(61, cells=('a', 'b')).map(lambda x: {'groups': {'cell': 'alone'}} if x['respondent_id'] == '60' else {})
    t = reasons(subgroup_scores(r, {'m': said(r)}, by='cell', n_boot=100)).set_index('group')
    assert t.note['alone'] == 'suppressed: fewer than 30 respondents' and np.isnan(t.n['alone'])
    t = reasons(subgroup_scores(r, {'m': said(r)}, by='cell', min_n=1, n_boot=100)).set_index('group')
    assert t.note['alone'] == 'one cluster: no interval' and np.isnan(t.ci_low['alone'])
    assert t.loc[['worst cell', 'gap'], ['value', 'ci_low', 'ci_high']].notna().all(axis=None) and 'alone' not in t.note['worst cell']
    with pytest.raises(ValueError, match='0 cells of cell have 100 respondents: merge values'): stereotyping(r, {'m': said(r)}, by='cell', min_n=100)


def test_groups_that_are_alike_have_no_stereotype():
    r = people(80, answer=lambda i: i//2 % 2)
    row = reasons(stereotyping(r, {'m': said(r)}, by='cell', n_boot=100)).iloc[0]
    assert np.isnan(row.value) and 'do not differ beyond sampling noise' in row.note


def test_identical_predictors_do_not_differ():
    r = people(40)
    t = reasons(evaluate(r, {'a': said(r), 'b': said(r)}, baselines=False, n_boot=100))
    pair = t[(t.versus == 'a') & t.p.notna()]
    assert len(pair) > 5 and (pair[['value', 'ci_low', 'ci_high']] == 0).all(axis=None) and (pair.p == 1).all() and (pair.p_adj == 1).all()


def test_texts_use_the_same_draws_for_all_scores_and_warn_alike():
    r = make_records([dict(task='role', instruction=f'{i}?', output=f"['{'ab'[i % 2]}']", answer='ab'[i % 2], rule='exact', respondent_id=str(i), question_id='name', source='made_up') for i in range(12)])
    frame = pd.DataFrame(dict(record_id=r['record_id'][:], text=['a']*12))
    t = reasons(evaluate_values(r, {'one': frame, 'two': frame}, n_boot=200))
    own = t[(t.metric == 'accuracy') & t.question_id.isna() & t.versus.isna()]
    assert own.ci_low.nunique() == 1 and own.ci_low.iloc[0] < .5 < own.ci_high.iloc[0] and own.note.str.contains('rests on 12 clusters').all()
    pair = t[t.versus == 'one'].iloc[0]
    assert (pair.value, pair.p, pair.p_adj) == (0, 1, 1)


# one way to make an interval

def asked(clusters, n=300):
    "n people who answer two questions, drawn in so many clusters, and predictions that lean on their answers."
    rng = np.random.default_rng(1)
    y = (rng.random((n, 2)) < .2 + .5*(np.arange(n) % 2)[:, None]).astype(int)
    r = make_records([dict(instruction=f'{q}?', output='xy'[y[i, j]], options=['x', 'y'], answer_index=int(y[i, j]), scale='ordinal',
        positions=[0., 1.], source='made_up', respondent_id=str(i), psu=str(i*clusters//n), question_id=q, groups=dict(cell='ab'[i % 2])) for i in range(n) for j, q in enumerate('qr')])
    p = np.clip(.25 + .3*y.ravel() + rng.uniform(-.2, .3, 2*n), .05, .95)
    return r, dict(m=said(r, probs=np.c_[1 - p, p].tolist(), elicitation='score'))

def turned(n):
    r = make_records([dict(respondent_id=str(i), question_id='q', instruction='?\nA. x\nB. y', output='A') for i in range(n)], source='made_up')
    r = reorder(r, seed=1)
    return position_bias(r, said(r, probs=[[.5 + u, .5 - u] for u in np.random.default_rng(0).uniform(-.3, .3, n)]))

def grouped(n):
    r = make_records([dict(instruction='?\nA. x\nB. y', level='group', options=['x', 'y'], scale='nominal', question_id='q', source='made_up',
        answer_form='shares', respondent_id='all', groups={'all': 'all'}, target=[.6, .4], n=float(n), n_eff=float(n))])
    return evaluate_groups(r, said(r, .9, elicitation='verbalize'), min_n=1, n_boot=4000).query('metric == "total_variation" and predictor == "model"')

def judged(n):
    r = make_records([dict(record_id=str(i), respondent_id=str(i), task='interview', lang='en', instruction='?', output='…')
        for i in range(n)], source='made_up')
    rng, turns = np.random.default_rng(0), pd.DataFrame(dict(record_id=r['record_id'], text='…', status='ok'))
    rated = judge(r, turns, lambda prompt: json.dumps(dict.fromkeys(DIMENSIONS, int(rng.integers(1, 6)))))
    return judge_scores(rated).query('metric == "judge_style"')

def some_lost(clusters):
    r, frames = asked(clusters)
    lost = np.where(np.random.default_rng(2).random(len(r)) < .3, 'refused', 'ok')
    return missing_answers(r, dict(m=frames['m'].assign(status=lost))).query('metric == "unanswered" and predictor == "m"')

def gained(clusters):
    r, frames = asked(clusters)
    return relative_gain(r, frames | dict(base=said(r, .95)), base='base')

SCORED = dict(
    corp=lambda c: corp(*asked(c)).query('metric == "score" and group == "brier"'), reliability=lambda c: reliability(*asked(c), points=3, n_boot=1000),
    temperature=lambda c: temperature(*asked(c)), correlations=lambda c: correlations(*asked(c)), variance=lambda c: variance_ratio(*asked(c)),
    coefficients=lambda c: coefficients(*asked(c), 'q ~ r').query('predictor == "human"'), missing=some_lost, gain=gained,
    shares=lambda c: evaluate(*asked(c), n_boot=1000).query('metric == "share" and predictor == "human"'),
    stereotyping=lambda c: stereotyping(*asked(c), by='cell'), orders=turned, groups=grouped, judge=judged)

@pytest.mark.parametrize('what', SCORED)
def test_few_clusters_widen_every_interval_and_many_leave_it(what, monkeypatch):
    "Eight clusters, respondents or answers against 300: how wide intervals are, and how wide plain percentiles of the same draws would be."
    width = lambda t: (t.ci_high - t.ci_low).astype(float).mean(skipna=False)
    own = {n: width(SCORED[what](n)) for n in (8, 300)}
    for module in bootstrap, groups: monkeypatch.setattr(module, 'small_sample', lambda *_, **__: dict(df=1e9, stretch=1., n=1e9))
    plain = {n: width(SCORED[what](n)) for n in own}
    assert own[8] > 1.15*plain[8] and .99*plain[300] < own[300] < 1.03*plain[300], (own, plain)


def test_what_is_the_same_of_everybody_has_no_error():
    of = dict(weight=np.ones(18), people=18)
    third = cluster_interval(np.full(101, 1/3), **of)    # equal chances of three options
    assert (third['ci_low'], third['ci_high']) == (1/3, 1/3)
    always = cluster_interval(np.full(101, 1.), **of)    # might have failed with one person more
    assert always['ci_low'] < .9 and always['ci_high'] == 1
