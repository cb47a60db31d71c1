"What tables and sentences claim: no word, interval or rank that the numbers behind it don't license."
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from alignsurvey.all import correlations, difference_table, evaluate, findings, make_records, score_table
from alignsurvey.evaluation.experiments import between_arms

QUICK = dict(baselines=False, n_boot=200)
SHARES = np.array([.1, .4, .3, .2])


def asked(answers, k=4, **fields):
    "A record for each respondent (row) and item (column)."
    return make_records([dict(instruction='?', output=f'o{y}', options=[f'o{c}' for c in range(k)], answer_index=int(y), answer_form='text', scale='ordinal',
        positions=[float(c) for c in range(k)], source='t', respondent_id=f'p{i:04d}', question_id=f'q{j:02d}', **fields) for i, row in enumerate(answers) for j, y in enumerate(row)])


def said(records, probs, lost=None):
    "Predictions with these probabilities; some failed."
    lost = np.zeros(len(records), bool) if lost is None else lost
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=[None if gone else list(map(float, p)) for p, gone in zip(probs, lost)], status=np.where(lost, 'refused', 'ok')))


@pytest.fixture(scope='module')
def two():
    "Records, the true shares, and a predictor that is sure of chance."
    rng = np.random.default_rng(0)
    answers = rng.choice(4, p=SHARES, size=(300, 4))
    records, guess = asked(answers), rng.choice(4, p=SHARES, size=1200)
    lost = (guess != answers.ravel()) & (rng.random(1200) < .9)
    true, sure = np.tile(SHARES, (1200, 1)), .8*np.eye(4)[guess] + .05
    return records, said(records, true), said(records, sure), said(records, sure, lost), answers


def test_who_refuses_what_it_would_get_wrong_is_not_simply_better(two):
    records, true, sure, refusing, _ = two
    assert findings(evaluate(records, dict(a=true, b=sure), **QUICK))[0].startswith('b is worse than a')
    scores = evaluate(records, dict(a=true, b=refusing), **QUICK)
    n = int((refusing.status == 'ok').sum())
    assert f'(on {n} of 1,200 records that both answered)' in findings(scores)[0]
    assert difference_table(scores).note[0] == f'on {n} of 1,200 records that both answered'
    assert score_table(scores).loc['b', 'failed'].startswith(f'{1 - n/1200:.3f}')
    assert 'failed' not in score_table(evaluate(records, dict(a=true), **QUICK))


def test_of_a_users_metric_only_lower_or_higher_is_said(two):
    records, _, _, _, answers = two
    sure = np.linspace(.4, .8, 1200)[:, None]    # not all respondents differ alike
    good = said(records, sure*np.eye(4)[answers.ravel()] + (1 - sure)/4)
    even = said(records, np.full((1200, 4), .25))
    scores = evaluate(records, dict(even=even, good=good), metrics={'squared_miss': lambda y, q, x: float((1 - q[y])**2)}, **QUICK)
    assert findings(scores, ['squared_miss'])[0].startswith('good is lower than even in squared_miss: -0.4')


def test_an_interval_is_called_by_its_level(two):
    records, true, sure, _, _ = two
    half = evaluate(records, dict(a=true, b=sure), alpha=.5, **QUICK)
    assert ', 50 % interval' in findings(half)[0] and ', 95 % interval' in findings(evaluate(records, dict(a=true, b=sure), **QUICK))[0]
    assert half.note[half.ci_low.notna()].str.contains('50 % interval').all()


@pytest.mark.parametrize('share', [.2, .5, .8])
def test_failing_at_random_is_not_further_from_people_than_chance(share):
    above, away = 0, 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        records = asked(rng.choice(4, p=SHARES, size=(200, 6)))
        scores = evaluate(records, dict(truth=said(records, np.tile(SHARES, (1200, 1)), rng.random(1200) < share)), **QUICK)
        rows = scores[(scores.metric == 'wasserstein') & scores.question_id.isna() & (scores.predictor == 'truth')]
        above += (rows[rows.versus == 'noise floor'].p < .05).item()
        away += (rows[rows.versus.isna()].ci_low > 0).item()
    assert above <= 2 and away <= 2


def test_groups_of_the_same_people_are_not_independent():
    "Two models that are equally far from the truth, on opposite sides; what people share makes one look better in all items at once."
    truth = np.diff(np.r_[0, norm.cdf([-1, 0, .8]), 1])
    off, wrong = np.array([.06, .02, -.02, -.06]), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        answers = np.digitize(np.sqrt(.6)*rng.normal(size=(300, 1)) + np.sqrt(.4)*rng.normal(size=(300, 12)), [-1, 0, .8])
        rows = [dict(instruction='?', output='', level='group', options=list('abcd'), scale='ordinal', positions=[0., 1., 2., 3.], source='t', respondent_id='all',
            question_id=f'q{j:02d}', target=(np.bincount(answers[:, j], minlength=4)/300).tolist(), n=300, n_eff=300., groups={'x': 'all'}) for j in range(12)]
        records = make_records(rows)
        scores = evaluate(records, dict(a=said(records, [truth + off]*12), b=said(records, [truth - off]*12)), **QUICK)
        row = scores[(scores.metric == 'wasserstein') & (scores.versus == 'a') & scores.question_id.isna()].iloc[0]
        wrong += row.p_adj < .05
    assert wrong <= 4 and 'moved together' in row.note


def test_intervals_stay_where_scores_can_be():
    rng = np.random.default_rng(3)
    answers = rng.choice(4, size=(12, 4))
    probs = .94*np.eye(4)[answers.ravel()] + .015
    probs[5] = np.roll(probs[5], 1)
    scores = evaluate(asked(answers), dict(m=said(asked(answers), probs)), **QUICK)
    own = scores[scores.versus.isna() & scores.ci_low.notna()]
    assert (own.ci_low >= 0).all() and (own[own.metric != 'log_score'].ci_high <= 2).all()
    assert (own[own.metric.isin(['macro_f1', 'weighted_f1', 'soft_accuracy', 'accuracy', 'rps'])].ci_high <= 1).all()


def test_all_right_of_twenty_is_not_certainly_all_right():
    records = make_records([dict(task='role', instruction=f'{i}?', output="['x', 'y']", answer='x、y', rule='any_overlap', source='t', respondent_id=f'p{i}', question_id='home') for i in range(20)])
    frame = pd.DataFrame(dict(record_id=records['record_id'][:], text="['x']"))
    row = accuracy_of(records, frame)
    assert row.value == 1 and row.ci_high == 1 and .8 < row.ci_low < .87
    frame.loc[3, 'text'] = "['z']"
    assert accuracy_of(records, frame).ci_high < 1


def accuracy_of(records, frame):
    scores = evaluate(records, frame, **QUICK)
    return scores[(scores.metric == 'accuracy') & scores.question_id.isna()].iloc[0]


def test_the_smaller_arm_decides():
    rng = np.random.default_rng(0)
    weight = np.exp(1.5*rng.normal(size=1000))
    few = np.arange(1000) < 30
    draws = np.c_[rng.normal(0, .01, 201), rng.normal(0, .2, 201)]
    small = between_arms(draws, dict(weight=weight*~few), dict(weight=weight*few))
    assert small['df'] < 30 and small['n'] < 30 and small['stretch'] > 1
    assert between_arms(draws, dict(weight=weight), dict(weight=1.*(np.arange(1000) == 0))) is None


def test_pairs_of_a_true_model_seldom_differ():
    "Six items that hang together, twelve people: 31 % of such studies named a pair once."
    named = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        trait = np.sqrt(.5)*rng.normal(size=(12, 1))
        answers = np.digitize(trait + np.sqrt(.5)*rng.normal(size=(12, 6)), [-1, 0, .8])
        below = norm.cdf((np.array([-1, 0, .8]) - trait)/np.sqrt(.5))
        probs = np.repeat(np.diff(np.c_[np.zeros(12), below, np.ones(12)]), 6, axis=0)
        records = asked(answers)
        pairs = correlations(records, dict(m=said(records, probs)), n_boot=200)
        named += (pairs[pairs.versus == 'human'].p_adj < .05).any()
        assert not (abs(pairs[pairs.metric == 'correlation'].ci_high) > 2).any()
    assert named <= 5
