"""Claims of a right model that was asked by draws, of traces where answers go together, of what would have been found, of levels that few saw,
of judges of rare ratings and of regressions on synthetic data. Bounds are four Monte Carlo standard errors from what is promised."""
import re
import numpy as np, pandas as pd, pytest
from alignsurvey.estimation import chance_p, chance_scale, smallest_beyond
from alignsurvey.evaluation.calibration import corp, temperature
from alignsurvey.evaluation.choices import score_choices
from alignsurvey.evaluation.conjoint import conjoint_effects
from alignsurvey.evaluation.judge_scoring import judge_scores
from alignsurvey.evaluation.judging import DIMENSIONS
from alignsurvey.evaluation.probes import CANNOT_SEE, shares_probe
from alignsurvey.evaluation.structure import coefficients, correlations
from alignsurvey.metrics.agreement import krippendorff_alpha
from alignsurvey.metrics import brier_scores, covered_by_draws, covered_scores, crps_scores, fair_brier_scores, fair_crps_scores, fair_rps_scores, rps_scores
from alignsurvey.records.reading import make_records
from scipy.stats import norm


def asked(y, k, scale='ordinal', who=None, item=None, **extra):
    "Records of answers y (n,), of one person and one question each where nothing else is said."
    options = [f'o{j}' for j in range(k)] if scale != 'numeric' else [str(j) for j in range(k)]
    who = range(len(y)) if who is None else who
    item = ['q']*len(y) if item is None else item
    return make_records([dict(task='response', instruction=f'{j}?', output=options[int(v)], options=options, answer_index=int(v), answer_form='text', scale=scale,
        positions=[float(x) for x in range(k)], respondent_id=f'p{i}', question_id=str(j), **{f: x[row] for f, x in extra.items()})
        for row, (v, i, j) in enumerate(zip(y, who, item))], source='toy')


def said(records, q, **about):
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=[list(map(float, p)) for p in np.broadcast_to(q, (len(records), np.shape(q)[-1]))], status='ok',
        **dict(elicitation='score') | about))


def within(hits, n, promised):
    "Whether so many hits of n are within four standard errors of a promised rate."
    return abs(hits/n - promised) < 4*np.sqrt(promised*(1 - promised)/n)


# ---- answers by draws

def numbers(rng, n, k=21):
    "What each of n people may say, bell-shaped, and what they say."
    at = rng.normal(k/2, 3, (n, 1))
    p = np.exp(-((np.arange(k) - at)/3)**2/2)
    p /= p.sum(1, keepdims=True)
    return p, (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(0, k - 1)


@pytest.mark.parametrize('level', [.5, .9])
@pytest.mark.parametrize('m', [5, 10, 30])
def test_what_an_interval_of_draws_of_a_right_model_holds_is_known_from_the_draws(m, level):
    rng = np.random.default_rng(1)
    p, y = numbers(rng, 20000)
    q = rng.multinomial(m, p)/m
    held = covered_scores(y, q, range(21), level)
    gap = held - covered_by_draws(q, level, np.full(len(q), m))
    assert abs(gap.mean()) < .01 + 4*gap.std()/np.sqrt(len(gap))


def test_fair_scores_are_those_of_stated_probabilities_in_the_mean():
    rng = np.random.default_rng(2)
    p, y = numbers(rng, 20000)
    m = rng.integers(2, 12, len(y))
    q = rng.multinomial(m, p)/m[:, None]
    x = np.arange(21)
    for fair, plain in ((fair_brier_scores(y, q, m), brier_scores), (fair_rps_scores(y, q, x, m), lambda *a: rps_scores(*a, x)), (fair_crps_scores(y, q, x, m), lambda *a: crps_scores(*a, x))):
        gap = fair - plain(y, p)
        assert abs(gap.mean()) < 4*gap.std()/np.sqrt(len(gap)) < (plain(y, q) - plain(y, p)).mean()


def test_a_right_model_by_draws_is_inside_the_note_of_its_coverage():
    "Said was that right forecasts give 1.000, of which the right model covered .864."
    rng, inside = np.random.default_rng(3), []
    for _ in range(10):
        p, y = numbers(rng, 300)
        records = asked(y, 21, 'numeric')
        drawn = said(records, rng.multinomial(10, p)/10, elicitation='sample')
        scores = score_choices(records, dict(drawn=drawn), n_boot=100)
        for metric in 'covered_50', 'covered_90':
            row = scores[(scores.metric == metric) & scores.question_id.isna() & scores.versus.isna()].iloc[0]
            told = float(re.search(r'right forecasts of 10 draws give ([\d.]+)', row.note)[1])
            inside.append(row.ci_low <= told <= row.ci_high)
    assert within(sum(inside), 20, .95)


def test_scores_of_draws_say_what_they_are_without_the_noise_of_draws():
    rng = np.random.default_rng(4)
    p = rng.dirichlet(np.ones(4)*2, 400)
    y = (rng.random((400, 1)) > p.cumsum(1)).sum(1)
    records = asked(y, 4)
    q = rng.multinomial(10, p)/10
    frames = dict(flat=said(records, np.full(4, .25)), stated=said(records, p), drawn=said(records, q, elicitation='sample'))
    fair = dict(brier=fair_brier_scores(y, q, 10).mean(), rps=fair_rps_scores(y, q, range(4), 10).mean())
    scores = score_choices(records, frames, versus='flat', n_boot=100)
    scores = scores[scores.question_id.isna() & scores.group_var.isna() & (scores.versus != 'noise floor')]
    for metric in 'brier', 'rps':
        own = scores[scores.metric == metric].set_index(['predictor', scores[scores.metric == metric].versus.fillna('')])
        for versus in '', 'flat':
            told = float(re.search(r'(-?[\d.]+) without', own.note['drawn', versus])[1])
            rival = own.value['flat', ''] if versus else 0
            assert told == pytest.approx(fair[metric] - rival, abs=.001), metric
            assert 'draws' not in str(own.note['stated', versus])
    ece = scores[(scores.metric == 'ece') & (scores.predictor == 'drawn') & scores.versus.isna()].note.iloc[0]
    assert 'chance alone' not in ece and '10 draws' in ece


def test_nobody_is_called_miscalibrated_for_draws():
    "In 20 of 20 samples a right model's miscalibration was shown."
    rng = np.random.default_rng(5)
    p = rng.dirichlet(np.ones(4)*2, 300)
    records = asked((rng.random((300, 1)) > p.cumsum(1)).sum(1), 4)
    frames = dict(stated=said(records, p), drawn=said(records, rng.multinomial(10, p)/10, elicitation='sample'))
    parts = corp(records, frames, n_boot=100)
    above = parts[(parts.metric == 'miscalibration_above_chance') & (parts.group == 'brier')].set_index('predictor')
    assert above.p['stated'] > .05 and np.isnan(above.p['drawn']) and np.isnan(above.value['drawn']) and '10 draws' in above.note['drawn']
    hot = temperature(records, frames, n_boot=100).set_index('predictor')
    assert hot.value['stated'] > 0 and np.isnan(hot.value['drawn']) and '10 draws' in hot.note['drawn']


# ---- traces of a survey's shares

def test_no_trace_is_found_where_all_items_moved_together_and_a_model_leans():
    "In .30 of samples a model that had seen no wave was told to have a trace of it; items of one theme share a factor, and it leans to yes or no."
    rng, found, items, n, sims = np.random.default_rng(6), 0, 20, 400, 150

    def wave(shift):
        z = np.sqrt(.3)*rng.normal(size=(n, 1)) + np.sqrt(.7)*rng.normal(size=(n, items)) + level + shift
        return {j: [1 - y, y] for j, y in enumerate((z > 0).mean(0))}

    for seed in range(sims):
        level = rng.normal(0, .5, items)
        before, after, this = wave(0), wave(0), wave(rng.normal(0, .1))
        m = norm.cdf(level + rng.normal(0, .3) + rng.normal(0, .15, items))
        found += shares_probe({j: [1 - p, p] for j, p in enumerate(m)}, this, before, after, n=(n, n, n), draws=199, seed=seed)['p'] < .05
    assert within(found, sims, .05)
    assert 'leaning' in CANNOT_SEE['shares']


@pytest.mark.parametrize('items', [5, 12])
def test_a_trace_is_found_in_as_few_samples_as_promised_of_few_items(items):
    rng, found, sims = np.random.default_rng(7), 0, 400
    for seed in range(sims):
        p = rng.dirichlet(np.full(4, 6.), items)
        waves = [{j: rng.multinomial(400, x)/400 for j, x in enumerate(p)} for _ in range(3)]
        model = {j: .7*x + .3*rng.dirichlet(np.full(4, 2.)) for j, x in enumerate(p)}
        found += shares_probe(model, *waves, draws=199, seed=seed)['p'] < .05
    assert within(found, sims, .05)


# ---- what would have been found

@pytest.mark.parametrize('spread', [[1], [1, .5, .2], [.3]*10])
def test_a_distance_that_is_promised_to_be_found_is_found(spread):
    "Of correlations it was said that a distance would have been found in four studies of five that was found in one."
    rng, sims, spread = np.random.default_rng(8), 1000, np.array(spread)
    chance = np.sqrt(((rng.normal(size=(4000, len(spread)))*spread)**2).sum(1))
    far = smallest_beyond(*chance_scale(chance), alpha=.025)
    true = far*spread/np.sqrt((spread**2).sum())
    seen = np.sqrt(((true + rng.normal(size=(sims, len(spread)))*spread)**2).sum(1))
    found = sum(chance_p(d, chance) < .025 for d in seen)
    assert abs(found/sims - .8) < .04 + 4*np.sqrt(.16/sims)    # of unequal spreads chance is about a multiple of F


def test_correlations_carry_what_would_be_found():
    rng, n = np.random.default_rng(9), 150
    who, item = np.repeat(np.arange(n), 4), np.tile(np.arange(4), n)
    records = asked(rng.integers(2, size=4*n), 2, who=who, item=item)
    rows = correlations(records, dict(m=said(records, [.5, .5])), n_boot=200)
    far = smallest_beyond(**rows.attrs['chance']['m'], alpha=.025)
    assert 1/np.sqrt(n) < far < 2/np.sqrt(n)    # 6 pairs: a mean square of 1/n by chance, and as much again or more


# ---- levels that few saw

def test_the_effect_of_a_level_that_few_saw_is_covered_where_weights_differ():
    "30 of 600 saw a level, weights are log-normal: the interval held the effect in .86, with the degrees of freedom of all 600."
    rng, n, held, sims = np.random.default_rng(10), 300, 0, 100
    attributes = dict(job=dict(columns=['job'], levels=dict(a=dict(en='a'), b=dict(en='b'))), sex=dict(columns=['sex'], levels=dict(x=dict(en='x'), y=dict(en='y'))))
    for _ in range(sims):
        shown = [dict(job='b' if i < 30 else 'a', sex=str(x)) for i, x in enumerate(rng.choice(['x', 'y'], n))]
        records = asked(rng.random(n) < .4, 2, weight=np.exp(rng.normal(0, 1, n)), groups=shown)
        row = conjoint_effects(records, {}, attributes).set_index('question_id').loc['b']
        held += row.ci_low <= 0 <= row.ci_high
    assert 'clusters or respondents' in row.note
    assert held/sims > .95 - 4*np.sqrt(.95*.05/sims)


# ---- judges of rare ratings

def judged(rng, turns, probs, same=.6):
    "Ratings of two judges who agree beyond chance in so many turns."
    a = rng.choice(5, turns, p=probs) + 1
    b = np.where(rng.random(turns) < same, a, rng.choice(5, turns, p=probs) + 1)
    return a, b, pd.DataFrame([dict(record_id=f'r{i}', respondent_id=f'p{i}', weight=1., predictor='m', judge=who, repeat=0, dimension=d, score=float(v[i]), status='ok', why=None,
        first='human', position=1, tries=1, reply='') for i in range(turns) for who, v in (('A', a), ('B', b)) for d in DIMENSIONS])


def test_agreement_on_rare_ratings_has_limits_of_at_most_1_and_a_warning():
    "Of 60 turns with 95 % fives, an interval went from -.21 to 1.18."
    rng = np.random.default_rng(11)
    for probs, rare in (([.01, .01, .01, .02, .95], True), ([.2]*5, False)):
        for seed in range(4):
            rows = judge_scores(judged(rng, 60, probs)[2], n_boot=200, seed=seed)
            rows = rows[rows.metric.str.startswith('judge_alpha')]
            assert (rows.ci_high.dropna() <= 1).all()
            assert rows.note.str.contains('off the commonest rating').all() == rare


def test_agreement_is_covered():
    rng, sims, held, probs = np.random.default_rng(12), 40, 0, [.05, .05, .05, .05, .8]
    true = krippendorff_alpha(np.stack(judged(rng, 4000, probs)[:2]).astype(float))
    for seed in range(sims):
        row = judge_scores(judged(rng, 60, probs)[2], n_boot=200, seed=seed).set_index('metric').loc[f'judge_alpha_{DIMENSIONS[0]}']
        held += row.ci_low <= true <= row.ci_high
    assert held/sims > .95 - 4*np.sqrt(.95*.05/sims)


# ---- regressions on synthetic data

def test_the_error_of_a_regression_on_synthetic_data_is_that_over_surveys():
    "The standard error told of the difference was 1.6 times, and of the model's own coefficient 6 times, what it is over repeated surveys."
    rng, n, sims, values, told = np.random.default_rng(13), 150, 40, [], []
    for seed in range(sims):
        age = rng.uniform(-.5, .5, n)
        p = .5 + .8*age
        records = asked(rng.random(n) < p, 2)
        rows = coefficients(records, dict(m=said(records, np.c_[1 - p, p])), 'q ~ age', data=pd.DataFrame(dict(age=age), index=[f'p{i}' for i in range(n)]), n_boot=60, seed=seed)
        rows = rows[(rows.group == 'age') & (rows.predictor == 'm')].sort_values('versus', na_position='first')
        values.append(rows.value.to_numpy())
        told.append(((rows.ci_high - rows.ci_low)/2/1.97).to_numpy())
    ratio = np.mean(told, 0)/np.std(values, 0, ddof=1)
    assert (abs(np.log(ratio)) < 3/np.sqrt(2*sims) + .05).all()    # of the log of a standard deviation


def test_resamples_without_a_best_temperature_are_counted():
    "Two people were less likely to say what they said than chance: most resamples have no best temperature, and these were passed over."
    rng = np.random.default_rng(14)
    y = np.arange(12) % 2
    q = np.where(np.arange(12) < 10, .5 + .04*(2*y - 1), .5 - .05*(2*y - 1))
    records = asked(y, 2)
    row = temperature(records, dict(m=said(records, np.c_[1 - q, q])), n_boot=200).iloc[0]
    assert np.isnan(row.ci_low) and ('resamples have no best temperature' in row.note or 'no temperature' in row.note)
