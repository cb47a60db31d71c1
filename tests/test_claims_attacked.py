"""Claims where truth is a tie: near a kink of a distance, of people who all said the same, of rare options, of a question that three were asked,
and with few replicates."""
import numpy as np, pandas as pd, pytest
from alignsurvey.estimation import alike_test, benjamini_hochberg, equivalence, p_value, replicate_design, secant_draws, standard_error, wider_draws
from alignsurvey.evaluation.judge_scoring import judge_scores
from alignsurvey.evaluation.orders import position_bias
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.orders import reorder
from alignsurvey.records.reading import make_records


def asked(y, who, item, k=2, **extra):
    "Records of answers y (n,) of people `who` to questions `item`."
    options = [f'o{j}' for j in range(k)]
    return make_records([dict(task='response', instruction=f'{j}?', output=options[int(v)], options=options, answer_index=int(v), answer_form='text', scale='ordinal',
        positions=list(range(k)), respondent_id=f'p{i}', question_id=j, **extra) for v, i, j in zip(y, who, item)], source='toy')


def of_everybody(records, q):
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=[list(map(float, q))]*len(records), status='ok', elicitation='score'))


def difference(scores, metric, predictor='B', question=None):
    at = scores.question_id.isna() if question is None else scores.question_id == question
    return scores[(scores.metric == metric) & (scores.predictor == predictor) & (scores.versus == 'A') & at].iloc[0]


# ---- kinks

def test_two_models_on_either_side_of_the_people_are_not_told_apart():
    "Of 100 people 59 said yes; .51 and .49 are as near to a half as each other. All resamples but a few lie beyond both."
    y = np.arange(100) < 59
    records = asked(y, range(100), ['q']*100)
    frames = {'A': of_everybody(records, [.49, .51]), 'B': of_everybody(records, [.51, .49])}
    scores = evaluate(records, frames, baselines=False, n_boot=500)
    for metric in 'wasserstein', 'total_variation', 'alignment':
        row = difference(scores, metric)
        assert row.p > .05 and row.ci_low < 0 < row.ci_high, metric
        assert abs(row.value) == pytest.approx(.02)


def test_nor_are_models_of_groups():
    shares = dict(task='response', level='group', instruction='?', output='', options=['no', 'yes'], scale='ordinal', positions=[0, 1], n=100, n_eff=100.)
    records = make_records([dict(shares, target=[.41, .59], question_id='q', respondent_id='g', groups={'sex': 'm'})], source='toy')
    frames = {'A': of_everybody(records, [.49, .51]), 'B': of_everybody(records, [.51, .49])}
    scores = evaluate(records, frames, baselines=False, n_boot=500)
    for metric in 'wasserstein', 'total_variation':
        row = difference(scores, metric)
        assert row.p > .05 and row.ci_low < 0 < row.ci_high, metric


def test_a_clear_difference_of_distances_is_still_found():
    rng = np.random.default_rng(0)
    records = asked(rng.random(200) < .5, range(200), ['q']*200)
    frames = {'A': of_everybody(records, [.5, .5]), 'B': of_everybody(records, [.85, .15])}
    row = difference(evaluate(records, frames, baselines=False, n_boot=500), 'wasserstein')
    assert row.p < .01 and row.ci_low > .05


@pytest.mark.parametrize('far', [.01, .05, .2])
def test_ties_are_claimed_as_rarely_as_is_said(far):
    rng, n, claims = np.random.default_rng(1), 100, 0
    one, other = np.array([[.5 + far]]), np.array([[.5 - far]])
    for _ in range(600):
        share = rng.binomial(n, .5)/n
        people = np.r_[share, rng.binomial(n, share, 200)/n][:, None]
        plain = (abs(people - one) - abs(people - other))[:, 0]
        claims += p_value(wider_draws(plain, secant_draws(people, one, other)), df=n - 1, stretch=np.sqrt(n/(n - 1))) < .05
    assert claims/600 < .075


def test_what_has_no_kink_keeps_its_draws():
    records = asked(np.arange(60) % 3 == 0, range(60), ['q']*60)
    frames = {'A': of_everybody(records, [.6, .4]), 'B': of_everybody(records, [.3, .7])}
    row = difference(evaluate(records, frames, baselines=False, n_boot=2000), 'brier')
    each = np.where(np.arange(60) % 3 == 0, 2*.3**2 - 2*.6**2, 2*.7**2 - 2*.4**2)
    half = (row.ci_high - row.ci_low)/2
    assert half == pytest.approx(2.001*each.std(ddof=1)/np.sqrt(60), rel=.05)


# ---- people who are all alike

def alike():
    records = asked(np.ones(30, int), range(30), ['q']*30)
    return records, {'A': of_everybody(records, [.01, .99]), 'B': of_everybody(records, [.03, .97])}


def test_people_who_all_gave_one_answer_say_nothing_of_who_is_better():
    records, frames = alike()
    scores = evaluate(records, frames, baselines=False, n_boot=200)
    for metric in 'log_score', 'brier':
        row = difference(scores, metric)
        assert row[['p', 'ci_low', 'ci_high']].isna().all()
        assert 'alike' in row.note
    own = scores[(scores.metric == 'log_score') & (scores.predictor == 'A') & scores.versus.isna()].iloc[0]
    assert pd.isna(own.ci_low) and 'the same answer' in own.note


def test_nor_of_who_is_as_good():
    draws = np.full(501, .02)
    assert equivalence(draws, margin=.05)['equivalent'] is None
    assert p_value(draws, df=29) is None


def test_two_that_say_the_same_do_not_differ():
    records, frames = alike()
    row = difference(evaluate(records, dict(A=frames['A'], B=frames['A']), baselines=False, n_boot=200), 'log_score')
    assert (row.value, row.ci_low, row.ci_high, row.p) == (0, 0, 0, 1)
    assert equivalence(np.zeros(501), margin=.05)['equivalent']


def test_a_score_that_no_answer_changes_keeps_its_interval():
    records = asked(np.arange(30) % 2, range(30), ['q']*30)
    scores = evaluate(records, {'A': of_everybody(records, [.5, .5])}, baselines=False, n_boot=200)
    own = scores[(scores.metric == 'log_score') & scores.versus.isna()].iloc[0]
    assert own.ci_low == pytest.approx(np.log(2)) and own.ci_high == pytest.approx(np.log(2))


def test_unrated_turns_of_nobody_have_the_limits_of_a_share():
    rows = [dict(record_id=f'p{i}/q', respondent_id=f'p{i}', predictor='model', judge='j', repeat=0, first='human', dimension=d, score=3., weight=1., status='ok')
        for i in range(8) for d in ('naturalness', 'consistency', 'emotion')]
    from alignsurvey.evaluation.judging import DIMENSIONS
    frame = pd.DataFrame(rows)
    frame['dimension'] = list(DIMENSIONS)*8
    row = judge_scores(frame, n_boot=200).set_index('metric').loc['judge_unrated']
    assert row.ci_low == 0 and row.ci_high == pytest.approx(1 - .025**(1/8), abs=1e-6)


def test_a_model_that_always_says_a_is_caught():
    "Its excess is the same with everybody, and what others could change has a limit."
    records = make_records([dict(respondent_id=f'p{i}', question_id='q', output='A. x', instruction='?\nA. x\nB. y\nC. z') for i in range(30)], source='toy')
    turned = reorder(records, 'cyclic')
    bias = position_bias(turned, of_everybody(turned, [1, 0, 0]), n_boot=200)
    assert bias.p_adj[0] < .001 and 0 < bias.excess_low[0] < bias.excess[0] < bias.excess_high[0]


def test_the_limits_of_what_is_alike_hold():
    "A tenth of the population differ the other way, as far as can be; ten who differ alike are a third of all samples."
    found = alike_test(.2, 10, bound=1)
    assert found['ci_low'] < .9*.2 - .1 and found['p'] > .05


# ---- rare options

def test_a_right_model_is_not_called_wrong_for_rare_options():
    "Of 40 questions two may have p below .05, and of the level that the first of eight has to reach there is a chance of one in four."
    rng, n, items = np.random.default_rng(4), 100, 40
    p = [.97, .02, .01]
    y = rng.choice(3, size=n*items, p=p)
    records = asked(y, np.repeat(np.arange(n), items), [f'q{j}' for j in range(items)]*n, k=3)
    scores = evaluate(records, {'A': of_everybody(records, p)}, baselines=False, n_boot=500)
    rows = scores[(scores.versus == 'noise floor') & (scores.metric == 'wasserstein') & scores.question_id.notna()]
    assert (rows.p < .05/8).sum() <= 1 and (rows.p < .05).sum() <= 3


def test_a_wrong_model_is_called_so():
    rng, n, items = np.random.default_rng(5), 100, 8
    y = rng.choice(3, size=n*items, p=[.9, .06, .04])
    records = asked(y, np.repeat(np.arange(n), items), [f'q{j}' for j in range(items)]*n, k=3)
    scores = evaluate(records, {'A': of_everybody(records, [.7, .2, .1])}, baselines=False, n_boot=500)
    rows = scores[(scores.versus == 'noise floor') & (scores.metric == 'wasserstein') & scores.question_id.notna()]
    assert (benjamini_hochberg(rows.p) < .05).all()


# ---- degrees of freedom

def test_a_mean_over_questions_has_the_degrees_of_freedom_of_the_one_that_three_were_asked():
    rng, n, few = np.random.default_rng(2), 200, 3
    y = np.r_[rng.integers(11, size=n), 2, 3, 4]
    records = asked(y, [*range(n), *range(few)], ['big']*n + ['small']*few, k=11)
    ends = np.full((2, 11), .002)
    ends[0, 0] = ends[1, -1] = .98
    scores = evaluate(records, {name: of_everybody(records, q) for name, q in zip('AB', ends)}, baselines=False, n_boot=1000)
    row, alone = difference(scores, 'wasserstein'), difference(scores, 'wasserstein', question='small')
    assert 'rests on 3 clusters' in row.note
    assert row.ci_high - row.ci_low > .45*(alone.ci_high - alone.ci_low)


def words(said, n):
    return make_records([dict(task='interview', instruction='?', output=said, respondent_id=str(i), question_id='q') for i in range(n)], source='toy')


def test_scores_of_words_have_the_degrees_of_freedom_of_five_replicates():
    groups, size = 5, 20
    g = np.repeat(np.arange(groups), size)
    reps = np.where(g[:, None] == np.arange(groups), 0, groups/(groups - 1))
    frame = pd.DataFrame(reps, columns=list('abcde'), index=[str(i) for i in range(len(g))]).assign(w=1.)
    design = replicate_design(frame, list('abcde'), weight='w', kind='JK1')
    text = 'yes I think so'
    records, better = words(text, len(g)), np.random.default_rng(0).random(len(g)) < .4 + .08*g
    def said(hits):
        return pd.DataFrame(dict(record_id=records['record_id'][:], text=np.where(hits, text, 'no'), status='ok'))
    scores = evaluate(records, {'A': said(better), 'B': said(~better)}, baselines=False, design=design, n_boot=2000)
    row = difference(scores, 'chrf')
    of_groups = pd.Series(np.where(better, 1., -1.)).groupby(g).mean()
    t = of_groups.mean()/(of_groups.std()/np.sqrt(groups))
    from scipy.stats import t as student
    assert row.p == pytest.approx(2*student.sf(abs(t), groups - 1), abs=.02)
