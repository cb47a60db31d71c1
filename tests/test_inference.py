"What a notebook cell can't show about alignsurvey.inference: properties, parity, designs, hostile input."
import subprocess, sys, warnings
import numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from scipy.optimize import minimize_scalar
from statsmodels.stats.multitest import multipletests
from alignsurvey import metrics as m
from alignsurvey.prediction.baselines import baseline_predictions
from alignsurvey.records.answers import read_answers
from alignsurvey.prediction.forecasts import read_forecast
from alignsurvey.evaluation.calibration import temperature_scale
from alignsurvey.evaluation.table import COLUMNS
from alignsurvey.metrics.catalogue import METRICS
from alignsurvey.evaluation.choices import replicates
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.estimation.tests import holm
from alignsurvey.estimation.bootstrap import interval
from alignsurvey.records.reading import make_records
from alignsurvey.records.orders import reorder
from alignsurvey.records.splits import split_records
from alignsurvey.all import Survey

def survey(n, sizes, seed=0, **extra):
    "Made-up records of n people and one question of each size; question j is nominal where its size is negative."
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        w = float(rng.uniform(.5, 2))
        for j, k in enumerate(sizes):
            y = int(rng.integers(abs(k)))
            rows.append(dict(instruction='?\n' + '\n'.join(f'{chr(65 + c)}. o{c}' for c in range(abs(k))), output=f'o{y}', options=[f'o{c}' for c in range(abs(k))],
                answer_index=y, answer_form='text', scale='nominal' if k < 0 else 'ordinal', positions=None if k < 0 else [float(c*c) for c in range(k)],
                source='toy', respondent_id=f'p{i}', question_id=f'q{j}', weight=w, **{k: v(i) for k, v in extra.items()}))
    return make_records(rows)

def forecast(records, seed=1, **columns):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=[rng.dirichlet(np.ones(len(o))).tolist() for o in records['options']],
        status='ok') | columns)

def overall(table, predictor='model', versus=None):
    t = table[table.question_id.isna() & (table.predictor == predictor)]
    return t[t.versus.isna() if versus is None else t.versus == versus].set_index('metric')

RECORDS = survey(40, (3, 5, -4))
SAID = forecast(RECORDS)
QUICK = dict(n_boot=100, baselines=False)

def test_every_metric_is_that_of_the_plain_functions():
    "By question, and overall as the documentation says: pooled over records, or the mean over questions."
    table = evaluate(RECORDS, SAID, **QUICK)
    by, f, each = table[table.versus.isna() & (table.predictor == 'model')].set_index(['metric', 'question_id']), RECORDS.to_pandas(), {}
    f['probs'] = SAID.probs
    for question, g in f.groupby('question_id'):
        y, q, w, k = g.answer_index.to_numpy(), np.array(g.probs.tolist()), g.weight.to_numpy(), len(g.options.iloc[0])
        p, mean = np.bincount(y, w, minlength=k)/w.sum(), w @ q/w.sum()
        want = dict(accuracy=m.accuracy(y, q.argmax(1), weight=w), macro_f1=m.f1(y, q.argmax(1), k, weight=w), log_score=m.log_score(y, q, weight=w),
            weighted_f1=m.f1(y, q.argmax(1), k, average='weighted', weight=w), brier=m.brier(y, q, weight=w), ece=m.ece(y, q, weight=w),
            js_divergence=m.js_divergence(p, mean), total_variation=m.total_variation(p, mean))
        if g.scale.iloc[0] == 'ordinal':
            x = np.arange(k)**2
            want |= dict(soft_accuracy=m.soft_accuracy(y, q.argmax(1), x, weight=w), rps=m.rps(y, q, x, weight=w), wasserstein=m.wasserstein(p, mean, x))
        for name, v in want.items():
            assert by.value[name, question] == pytest.approx(v, abs=1e-12), (name, question)
            each.setdefault(name, []).append((v, w.sum()))
        assert ('rps', question) in by.index or g.scale.iloc[0] == 'nominal'
    got = overall(table).value
    for name in 'accuracy', 'log_score', 'brier', 'rps', 'soft_accuracy': assert got[name] == pytest.approx(np.average([v for v, _ in each[name]], weights=[w for _, w in each[name]]))
    for name in 'macro_f1', 'weighted_f1', 'wasserstein', 'js_divergence', 'total_variation': assert got[name] == pytest.approx(np.mean([v for v, _ in each[name]]))
    assert got['alignment'] == pytest.approx(1 - got['wasserstein'])
    assert overall(table).note['rps'] == ('2 of 3 questions: the others have no ranks; '
        'RPS counts steps; those of 2 of 2 questions are of unequal length')

@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.sampled_from(['shuffle', 'reverse']))
def test_displayed_order_makes_no_difference(seed, how):
    moved = reorder(RECORDS, how, seed=seed)
    follow = [[p[o.index(t)] for t in d] for p, o, d in zip(SAID.probs, RECORDS['options'], moved['options'])]
    pd.testing.assert_frame_equal(evaluate(RECORDS, SAID, **QUICK), evaluate(moved, SAID.assign(probs=follow), **QUICK))

@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p): np.testing.assert_allclose(holm(p), multipletests(p, method='holm')[1])

def test_same_seed_same_table_another_seed_other_intervals():
    pd.testing.assert_frame_equal(evaluate(RECORDS, SAID, **QUICK), evaluate(RECORDS, SAID, **QUICK))
    a, b = (overall(evaluate(RECORDS, SAID, seed=s, **QUICK)) for s in (0, 1))
    assert (a.value == b.value).all() and a.ci_low['brier'] != b.ci_low['brier']

def test_the_table_has_its_columns_and_survives_parquet(tmp_path):
    table = evaluate(RECORDS, SAID, **QUICK)
    assert tuple(table.columns) == COLUMNS
    table.to_parquet(tmp_path/'scores.parquet')
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/'scores.parquet'), table)

# ---- designs

def test_psus_are_resampled_whole_and_named_within_strata():
    "Twenty PSUs whose members all answer alike carry as much as twenty people; PSU 1 of stratum a is not PSU 1 of stratum b."
    def people(**design):
        return make_records([dict(instruction='?', output='ab'[i//10 % 2], options=['a', 'b'], answer_index=i//10 % 2, respondent_id=str(i), question_id='q', **{k: v(i) for k, v in design.items()})
            for i in range(200)])
    single, clustered = people(), people(psu=lambda i: str(i//10 % 10), stratum=lambda i: 'ab'[i//100])
    assert read_answers(clustered).cluster.max() + 1 == 20
    width = {}
    for name, r in dict(single=single, clustered=clustered).items():
        said = pd.DataFrame(dict(record_id=r['record_id'][:], probs=[[.6, .4]]*200, status='ok'))
        t = overall(evaluate(r, said, n_boot=1000, baselines=False))
        width[name] = t.ci_high['accuracy'] - t.ci_low['accuracy']
    assert 2.4 < width['clustered']/width['single'] < 4     # sqrt(10) = 3.2

def test_intervals_of_a_mean_cover():
    "95 % intervals of accuracy among 80 people with two answers each, the truth known."
    held, rng = 0, np.random.default_rng(0)
    s = METRICS['accuracy']
    for i in range(200):
        hit = rng.random(80) < .6
        r = make_records([dict(instruction='?', output='x', options=['a', 'b'], answer_index=int(not h), respondent_id=str(j), question_id=q) for j, h in enumerate(hit) for q in 'xy'])
        a = read_answers(r)
        f = read_forecast('m', pd.DataFrame(dict(record_id=r['record_id'][:], probs=[[.6, .4]]*160, status='ok')), a)
        low, high = interval(replicates(a, f, [s], f.used, 300, i)[s, None])
        held += low <= .6 <= high
    assert 180 <= held <= 199    # too narrow if answers were resampled, and not respondents

def test_kish_effective_n_and_one_respondent():
    r = make_records([dict(instruction='?', output='a', options=['a', 'b'], answer_index=0, respondent_id=p, question_id=q, weight=w) for p, w in (('x', 1.), ('y', 3.)) for q in 'st'])
    t = overall(evaluate(r, forecast(r), **QUICK))
    assert (t.n['brier'], t.n_eff['brier']) == (4, (1 + 3)**2/(1 + 9))
    one = r.select([0, 1])
    t = overall(evaluate(one, forecast(one), **QUICK))
    assert np.isnan(t.ci_low['brier']) and 'one cluster: no interval' in t.note['brier']

def test_surveys_that_share_question_ids_are_kept_apart():
    rows = [dict(instruction='?', output='x', options=['a', 'b'], answer_index=int(s == 'no' or i == 0), respondent_id=str(i), question_id='q', source=s) for s in ('us', 'no') for i in range(20)]
    train, test = make_records([r for r in rows if int(r['respondent_id']) < 10]), make_records([r for r in rows if int(r['respondent_id']) >= 10])
    table = evaluate(test, {}, train=train, n_boot=100)
    assert set(table.question_id.dropna()) == {'us/q', 'no/q'}
    shares = baseline_predictions(train, test)['marginal'].set_index('record_id').probs
    assert shares['us/10/q'] == pytest.approx([10/12, 2/12]) and shares['no/10/q'] == pytest.approx([1/12, 11/12])
    other = make_records([{**r, 'source': 'another file'} for r in rows if r['source'] == 'us' and int(r['respondent_id']) >= 10])
    assert baseline_predictions(train.select(range(10)), other)['marginal'].probs[0] == pytest.approx([10/12, 2/12])    # a file's name is no survey

def test_a_weighted_survey_with_psus_and_eleven_points_runs_without_a_warning():
    records = Survey.load('ess10no').records(respondents=200, verbose=False)
    s = split_records(records, test=.5)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        table = evaluate(s['test'], {}, train=s['train'], n_boot=200)
    t = overall(table, 'marginal')
    assert t.value['wasserstein'] > 0 and t.n_eff['brier'] < 100

# ---- comparisons

def test_pairs_are_compared_on_records_that_both_answered():
    a, b = forecast(RECORDS, 1), forecast(RECORDS, 2)
    b.loc[:19, 'status'] = 'refused'
    t = evaluate(RECORDS, dict(a=a, b=b), **QUICK)
    rest = RECORDS.select(range(20, len(RECORDS)))
    want = [overall(evaluate(rest, f[20:], **QUICK)).value['log_score'] for f in (b, a)]
    row = overall(t, 'b', 'a').loc['log_score']
    assert row.value == pytest.approx(want[0] - want[1]) and row.n == len(rest) and row.note == f'on {len(rest)} of {len(RECORDS)} records that both answered'
    assert 'left out' in overall(t, 'b').note['log_score'] and overall(t, 'b').n['failed'] == len(RECORDS)

def test_a_question_with_no_prediction_left_is_said():
    gone = SAID.assign(status=['error' if i.endswith('q1') else 'ok' for i in SAID.record_id])
    t = evaluate(RECORDS, gone, **QUICK)
    row = t[(t.question_id == 'q1') & (t.metric == 'brier') & (t.predictor == 'model')].iloc[0]
    assert np.isnan(row.value) and row.n == 0 and row.note == 'nothing left to score'
    assert overall(t).note['brier'] == '40 error left out'

def test_no_versus_no_tests_between_predictors():
    t = evaluate(RECORDS, SAID, versus=[], n_boot=100)
    assert set(t.versus.dropna()) == {'noise floor'}

def test_every_other_predictor_is_compared_with_each_of_versus():
    "Two that are both named meet once: the mirrored row would be the same test again, and Holm would pay for it twice."
    t = evaluate(RECORDS, {n: forecast(RECORDS, i) for i, n in enumerate('abc')}, versus=['a', 'c'], n_boot=100)
    pairs = t[(t.metric == 'brier') & t.question_id.isna() & t.versus.notna()]
    assert {(r.predictor, r.versus) for r in pairs.itertuples()} == {('b', 'a'), ('c', 'a'), ('uniform', 'a'), ('b', 'c'), ('uniform', 'c')}
    np.testing.assert_allclose(pairs.p_adj, multipletests(pairs.p, method='holm')[1])
    assert (pairs.p_adj >= pairs.p).all()

def test_an_infinite_log_score_is_said_and_spoils_no_other_metric():
    said = SAID.copy()
    k = len(RECORDS[0]['options'])
    said.at[0, 'probs'] = [0. if i == RECORDS[0]['answer_index'] else 1/(k - 1) for i in range(k)]
    t = evaluate(RECORDS, dict(zero=said, plain=SAID), **QUICK)
    row = overall(t, 'zero').loc['log_score']
    assert np.isinf(row.value) and np.isnan(row.ci_low) and row.note == '1 of 120 answers foretold with probability 0; infinite: probability 0 at an answer'
    assert 'log_score' not in overall(t, 'plain', 'zero').index and np.isfinite(overall(t, 'plain', 'zero').value['brier'])

def test_choices_have_the_floor_of_counted_shares():
    "Counts are a second sample: their floor is larger than that of probabilities."
    chose = SAID.assign(value=[int(np.argmax(p)) for p in SAID.probs], probs=None)
    t = evaluate(RECORDS, dict(chose=chose, said=SAID), **QUICK)
    floor = t[(t.predictor == 'noise floor') & t.question_id.isna() & (t.metric == 'total_variation')].set_index('q_from').value
    assert 1.2 < floor['counts']/floor['mean_of_individuals'] < 1.7
    assert overall(t, 'chose').value['accuracy'] == overall(t, 'said').value['accuracy']
    assert overall(t, 'chose').note['log_score'] == 'no probabilities: this predictor only chose'

# ---- baselines and temperature

def test_baselines_never_see_a_test_answer():
    groups = lambda i: {'age': 'young' if i % 3 else 'old'}
    s = split_records(survey(60, (3, 4), groups=groups), test=.3)
    turned = make_records([{**r, 'answer_index': 0, 'output': 'o0', 'answer': 'o0'} for r in s['test'].to_list()])
    for (n, a), b in zip(baseline_predictions(s['train'], s['test']).items(), baseline_predictions(s['train'], turned).values()):
        pd.testing.assert_frame_equal(a, b, obj=n)

def test_logistic_finds_what_the_background_tells_and_marginal_can_not():
    rng = np.random.default_rng(0)
    rows = [dict(instruction='?', output='x', options=['a', 'b'], answer_index=int(rng.random() < (.9 if i % 2 else .1)), respondent_id=str(i), question_id='q', groups={'sex': 'mf'[i % 2], 'empty': None})
        for i in range(400)]
    s = split_records(make_records(rows), test=.3)
    t = evaluate(s['test'], {}, train=s['train'], versus='marginal', n_boot=200)
    row = overall(t, 'logistic', 'marginal').loc['log_score']
    assert row.value < -.25 and row.ci_high < 0 and row.p < .05
    plain = baseline_predictions(s['train'].remove_columns('groups').add_column('groups', [None]*len(s['train'])), s['test'])
    assert 'no background variables' in plain['logistic'].attrs['note'] and plain['logistic'].probs.tolist() == plain['marginal'].probs.tolist()

def test_majority_takes_the_commonest_training_answer_and_has_no_log_score():
    train, test = (survey(30, (3,), seed=s, groups=lambda i: {'x': 'y'}) for s in (0, 1))
    test = make_records([{**r, 'respondent_id': 't' + r['respondent_id'], 'record_id': None} for r in test.to_list()])
    common = np.bincount(train['answer_index'], train['weight']).argmax()
    assert baseline_predictions(train, test)['majority'].probs[0][common] == 1
    t = overall(evaluate(test, {}, train=train, n_boot=100), 'majority')
    assert np.isnan(t.value['log_score']) and 'one miss is infinite' in t.note['log_score'] and t.value['brier'] > 0

def test_temperature_is_the_best_there_is():
    said = forecast(RECORDS, 5)
    scaled = temperature_scale(RECORDS, said, said)
    f, answers, w = scaled.attrs['temperature'], np.array(RECORDS['answer_index']), np.array(RECORDS['weight'])
    def score(t):
        q = [np.array(p)**(1/t)/(np.array(p)**(1/t)).sum() for p in said.probs]
        return np.average([-np.log(p[y]) for p, y in zip(q, answers)], weights=w)
    assert score(f) <= minimize_scalar(lambda t: score(np.exp(t)), bounds=(-5, 5), method='bounded').fun + 1e-9
    assert score(f) == pytest.approx(overall(evaluate(RECORDS, scaled, **QUICK)).value['log_score'])
    half = said.assign(status=['ok', 'refused']*(len(said)//2)); half.loc[half.status != 'ok', 'probs'] = None
    assert temperature_scale(RECORDS, said, half).probs.notna().sum() == len(said)//2
    zero = said.copy(); zero.at[0, 'probs'] = [float(i != answers[0])/2 for i in range(3)]
    with pytest.raises(ValueError, match="fit_predictions: record 'toy/p0/q0' has probability 0 at its answer"): temperature_scale(RECORDS, zero, said)
    with pytest.raises(ValueError, match='have no probs'): temperature_scale(RECORDS, said.assign(probs=None, value=0), said)

# ---- hostile input

def changed(**fields):
    "The records, the second of them changed."
    rows = RECORDS.to_list()
    rows[1] = {**rows[1], **fields}
    return type(RECORDS).from_list(rows)

@pytest.mark.parametrize('records, message', [
    (RECORDS.select([]), 'records are empty'),
    (RECORDS.remove_columns('weight'), "records have no column 'weight'"),
    (changed(task='stance'), 'records are of the tasks response, stance: score each task by itself'),
    (changed(options=None), "record 'toy/p0/q1' has no options"),
    (changed(answer_index=None), "record 'toy/p0/q1' has no options, or no answer_index"),
    (changed(answer_index=9), "record 'toy/p0/q1' has no options, or no answer_index among them"),
    (changed(weight=-1.), "record 'toy/p0/q1' has a weight that is negative"),
    (changed(weight=float('nan')), "record 'toy/p0/q1' has a weight that is negative or missing"),
    (changed(record_id='toy/p0/q0'), "record 'toy/p0/q0' stands twice"),
    (changed(options=['o0', 'o0', 'o2', 'o3', 'o4']), "record 'toy/p0/q1' shows an option twice"),
    (changed(positions=[0., 1.]), "record 'toy/p0/q1' has not one position for each option"),
    (changed(positions=[1.]*5), "record 'toy/p0/q1' has positions that are missing or all equal"),
    (RECORDS.map(lambda r: {'positions': r['positions'] and [0.]*len(r['positions'])}), "record 'toy/p0/q0' has positions that are missing or all equal"),
    (RECORDS.map(lambda r: {'weight': 0.}), 'all records have weight 0')])
def test_records_that_can_not_be_scored_are_named(records, message):
    with pytest.raises(ValueError) as e: evaluate(records, SAID, **QUICK)
    assert message in str(e.value)

def with_probs(i, p):
    f = SAID.copy()
    f.at[i, 'probs'] = p
    return f

@pytest.mark.parametrize('predictions, message', [
    (SAID.drop(columns='status'), "predictor 'model': has no column 'status'"),
    (SAID[1:], "predictor 'model': record 'toy/p0/q0' has no prediction (1 such records)"),
    (pd.concat([SAID, SAID[:1]]), "predictor 'model': record 'toy/p0/q0' has two predictions"),
    (SAID.replace({'record_id': {'toy/p0/q0': 'toy/p0/q9'}}), "record 'toy/p0/q9' is not among the records"),
    (SAID.assign(status='done'), "has an unknown status: use one of ok"),
    (with_probs(0, None), "record 'toy/p0/q0' has status ok and neither probs nor value"),
    (with_probs(0, [.5, .5]), "record 'toy/p0/q0' has not one probability for each displayed option"),
    (with_probs(0, [.5, .6, -.1]), "record 'toy/p0/q0' has probabilities that are negative"),
    (with_probs(0, [.5, None, .5]), "record 'toy/p0/q0' has probabilities that are negative, missing"),
    (with_probs(0, [.5, .5, .5]), "don't sum to 1"),
    (with_probs(0, None).assign(value=[0] + [None]*119), "record 'toy/p0/q0' has no probs where others have"),
    (SAID.assign(probs=None, value=7), "record 'toy/p0/q0' has a value that is no index"),
    ([SAID], 'predictions is a list'),
    ({'noise floor': SAID}, "two predictors are named 'noise floor'")])
def test_predictions_that_can_not_be_scored_are_named(predictions, message):
    with pytest.raises(ValueError) as e: evaluate(RECORDS, predictions, **QUICK)
    assert message in str(e.value)

def test_the_module_does_not_need_torch():
    code = "import sys, alignsurvey.evaluation.scoring; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
