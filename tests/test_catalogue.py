"A metric of the user's: one row of METRICS, and it is in scores, tables, differences, plots, subgroups and reports."
import html
import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from alignsurvey.evaluation import aggregate, evaluate, relative_gain, split_half, subgroup_scores
from alignsurvey.metrics import METRICS, Metric, distance_metric, headline_metrics
from alignsurvey.metrics import is_lower_better, known_metrics, metric_label, metric_name
from alignsurvey.metrics import record_metric, shown_metrics
from alignsurvey.records import make_records
from alignsurvey.reporting import difference_table, findings, plot_scores, report, score_table

matplotlib.use('Agg')
OPTIONS = ['too little', 'about right', 'too much']
ITEMS = ['roads', 'parks']


@pytest.fixture(scope='module')
def records():
    "Answers of 120 people to two items."
    rng = np.random.default_rng(0)
    rows = []
    for i in range(120):
        for item in ITEMS:
            y = int(rng.integers(3))
            rows.append(dict(task='response', instruction=f'{i}: {item}?', output=OPTIONS[y],
                             options=OPTIONS, answer=OPTIONS[y], answer_index=y, answer_form='text',
                             scale='ordinal', positions=[0., 1., 2.], source='made',
                             respondent_id=f'p{i}', question_id=item, question=item,
                             weight=1. + i % 3, groups=dict(sex='female' if i % 2 else 'male')))
    return make_records(rows)


def said(records, lean, seed):
    "Probabilities that lean to the answer."
    rng = np.random.default_rng(seed)
    p = rng.random((len(records), 3)) + lean*np.eye(3)[records['answer_index'][:]]
    probs = (p/p.sum(1, keepdims=True)).tolist()
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=probs, status='ok',
                             elicitation='score'))


@pytest.fixture(scope='module')
def predictions(records):
    return dict(tuned=said(records, .6, 1), base=said(records, .1, 2))


@pytest.fixture
def catalogue():
    "METRICS, as it was afterwards."
    before = dict(METRICS)
    yield METRICS
    METRICS.clear()
    METRICS.update(before)


def steps_off(y, q, positions):
    "Options between an answer and the likeliest one."
    return abs(y - int(q.argmax()))


@pytest.fixture
def steps(catalogue):
    "A metric of the user's, in the catalogue."
    catalogue['steps_off'] = record_metric('steps_off', steps_off, label='steps off', better='lower')
    return catalogue['steps_off']


def by_hand(records, frame):
    "Its weighted mean."
    pairs = zip(records['answer_index'][:], frame.probs)
    off = [steps_off(y, np.array(q), None) for y, q in pairs]
    return np.average(off, weights=records['weight'][:])


def whole(scores, metric):
    "Rows of whole runs."
    return scores[(scores.metric == metric) & scores.question_id.isna() & scores.group_var.isna()]


# what a metric is called

def test_labels_are_those_of_the_reports():
    shown = [metric_label(n) for n in shown_metrics(METRICS)]
    assert shown == ['log score ↓', 'Brier ↓', 'RPS ↓', 'accuracy ↑', 'macro F1 ↑', 'ECE ↓',
                     'Wasserstein ↓', 'JSD ↓', 'TV ↓', 'overlap of reasons ↑',
                     'Jaccard of reasons ↑', 'cosine of reasons ↑', 'chrF ↑', 'ROUGE-L ↑',
                     'length ratio', 'distinct-2', 'CRPS ↓', 'MAE ↓', 'in 50 % interval',
                     'in 90 % interval', 'Jaccard of sets ↑']
    others = {n: metric_label(n) for n in METRICS if n not in shown_metrics(METRICS)}
    assert others == dict(soft_accuracy='soft accuracy ↑', weighted_f1='weighted F1 ↑',
                          alignment='alignment ↑', failed='failed', coverage='coverage',
                          nonresponse='human nonresponse')


def test_lower_is_better_for_losses_and_distances_alone():
    assert {n for n in METRICS if is_lower_better(n)} == {
        'log_score', 'brier', 'rps', 'ece', 'wasserstein', 'js_divergence', 'total_variation',
        'crps', 'absolute_error'}


def test_a_name_that_is_not_known_is_its_own_label_and_comes_last():
    assert metric_label('mine') == metric_name('mine') == 'mine'
    assert not is_lower_better('mine')
    assert shown_metrics(['mine', 'brier', 'failed', 'mine']) == ['brier', 'mine']


def test_few_metrics_stand_for_all():
    assert headline_metrics(METRICS) == ['log_score', 'wasserstein']
    assert headline_metrics(['wasserstein', 'accuracy']) == ['wasserstein', 'accuracy']
    assert headline_metrics(['chrf', 'rouge_l', 'distinct_2']) == ['chrf', 'rouge_l']


# a metric of single answers

def test_it_is_scored_with_interval_and_differences(records, predictions, steps):
    scores = evaluate(records, predictions, n_boot=200)
    rows = whole(scores, 'steps_off')
    own = rows[rows.versus.isna()].set_index('predictor')
    for name, frame in predictions.items():
        assert math.isclose(own.value[name], by_hand(records, frame))
        assert own.ci_low[name] < own.value[name] < own.ci_high[name]
    gap = rows[(rows.predictor == 'base') & (rows.versus == 'tuned')].iloc[0]
    assert math.isclose(gap.value, own.value['base'] - own.value['tuned'])
    assert gap.p_adj >= gap.p > 0
    assert set(scores[scores.metric == 'steps_off'].question_id.dropna()) == set(ITEMS)


def test_other_scores_are_as_without_it(records, predictions, catalogue):
    before = evaluate(records, predictions, n_boot=100)
    catalogue['steps_off'] = record_metric('steps_off', steps_off)
    after = evaluate(records, predictions, n_boot=100)
    after = after[after.metric != 'steps_off'].reset_index(drop=True)
    texts = [c for c in before if before[c].dtype != float]
    assert before[texts].equals(after[texts])
    numbers = [c for c in before if before[c].dtype == float]
    assert np.allclose(before[numbers], after[numbers], rtol=1e-12, atol=1e-12, equal_nan=True)


def test_it_is_the_same_as_one_given_to_evaluate(records, predictions, steps):
    scores = evaluate(records, predictions, metrics={'given': steps_off}, n_boot=100)
    columns = ['predictor', 'versus', 'question_id', 'value', 'ci_low', 'ci_high', 'p']
    listed, given = (scores[scores.metric == m][columns].reset_index(drop=True)
                     for m in ('steps_off', 'given'))
    pd.testing.assert_frame_equal(listed, given, rtol=1e-12)


def test_a_name_that_is_taken_is_refused(records, predictions, steps):
    with pytest.raises(ValueError, match="metric 'steps_off' is built in: give yours another name"):
        evaluate(records, predictions, metrics={'steps_off': steps_off})


def test_it_is_in_tables_findings_and_plots(records, predictions, steps):
    scores = evaluate(records, predictions, n_boot=100)
    table = score_table(scores)
    assert table.columns[-1] == 'steps off ↓'
    assert table.loc['tuned', 'steps off ↓'].startswith(f"{by_hand(records, predictions['tuned']):.3f} [")
    asked = score_table(scores, metrics=['steps_off', 'accuracy'])
    assert list(asked) == ['steps off ↓', 'accuracy ↑']
    differences = difference_table(scores, metrics=['steps_off'])
    assert set(differences.metric) == {'steps off ↓'}
    told = findings(scores, metrics=['steps_off'])
    assert any(t.startswith('base is worse than tuned in steps off: +') for t in told), told
    axes = plot_scores(scores, 'steps_off', models=['tuned'])
    assert axes.get_xlabel().startswith('steps off ↓')
    assert axes.get_yticklabels()[-1].get_text() == 'tuned'
    assert axes.get_title() == 'steps off of each predictor, the lowest on top'


def test_a_score_where_higher_is_better_is_read_so(records, predictions, catalogue):
    catalogue['sure'] = record_metric('sure', lambda y, q, x: float(q[y] > .5), better='higher')
    scores = evaluate(records, predictions, n_boot=100)
    assert score_table(scores).columns[-1] == 'sure ↑'
    told = findings(scores, metrics=['sure'])
    assert any(t.startswith('base is worse than tuned in sure: -') for t in told), told
    axes = plot_scores(scores, 'sure')
    assert axes.get_yticklabels()[-1].get_text() == 'tuned' and axes.get_title().endswith('the highest on top')


def test_it_scores_subgroups(records, predictions, steps):
    cells = subgroup_scores(records, predictions, by='sex', metric='steps_off', min_n=20, n_boot=100)
    tuned = cells[cells.predictor == 'tuned'].set_index('group')
    for sex in ('female', 'male'):
        at = [i for i, g in enumerate(records['groups'][:]) if g['sex'] == sex]
        part = records.select(at)
        frame = predictions['tuned'].iloc[at]
        assert math.isclose(tuned.value[sex], by_hand(part, frame))
    worst = tuned.value[['female', 'male']].idxmax()
    assert tuned.note['worst cell'].startswith(worst)
    with pytest.raises(ValueError, match='use one of absolute_error, accuracy, brier, crps, log_score, rps, set_jaccard, steps_off'):
        subgroup_scores(records, predictions, by='sex', metric='mine')


def test_it_is_in_a_report(records, predictions, steps, tmp_path):
    scores = evaluate(records, predictions, n_boot=100)
    page = report(scores, Path(tmp_path)/'report.html', records=records, models=['base', 'tuned'])
    assert 'steps off ↓' in html.unescape(page.read_text(encoding='utf-8'))


def test_a_predictor_that_only_chose_is_scored_unless_probabilities_are_needed(records, catalogue):
    catalogue['free'] = record_metric('free', steps_off)
    catalogue['needy'] = record_metric('needy', steps_off, needs=('probs',))
    chose = pd.DataFrame(dict(record_id=records['record_id'][:], value=0, status='ok'))
    scores = evaluate(records, chose, baselines=False, n_boot=100)
    assert whole(scores, 'free').value.notna().any()
    needy = whole(scores, 'needy').iloc[0]
    assert np.isnan(needy.value) and needy.note == 'no probabilities: this predictor only chose'


def test_a_score_that_is_no_number_is_refused_by_record(records, predictions, catalogue):
    catalogue['half'] = record_metric('half', lambda y, q, x: np.nan if y == 2 else 0.)
    with pytest.raises(ValueError, match="metric 'half': record '.*' scores nan or minus infinity"):
        evaluate(records, predictions, n_boot=100)


# a distance between shares

def largest_gap(p, q, positions):
    "The largest difference of a share."
    return abs(p - q).max(-1)


@pytest.fixture
def gap(catalogue):
    "A distance of the user's, in the catalogue."
    catalogue['largest_gap'] = distance_metric('largest_gap', largest_gap, label='largest gap')
    return catalogue['largest_gap']


def test_a_distance_is_scored_with_a_floor(records, predictions, gap):
    scores = evaluate(records, predictions, n_boot=100)
    rows = whole(scores, 'largest_gap')
    assert {'tuned', 'base', 'uniform', 'noise floor'} == set(rows.predictor)
    assert (rows[rows.versus.isna()].ci_low >= 0).all()
    weight, item = np.array(records['weight'][:]), np.array(records['question_id'][:])
    q, y = np.array(predictions['tuned'].probs.tolist()), np.array(records['answer_index'][:])
    far = []
    for name in ITEMS:
        w = weight*(item == name)
        far.append(largest_gap(np.bincount(y, w)/w.sum(), w @ q/w.sum(), None))
    own = rows[rows.versus.isna()].set_index('predictor').value
    assert math.isclose(own['tuned'], np.mean(far))


def test_a_distance_is_in_group_scores_split_halves_and_gains(records, predictions, gap):
    rows = [dict(instruction='?', level='group', options=OPTIONS, scale='ordinal',
                 positions=[0., 1., 2.], question_id=item, source='made', answer_form='shares',
                 respondent_id=sex, groups=dict(sex=sex), target=[.2, .3, .5], n=60., n_eff=50.)
            for item in ITEMS for sex in ('female', 'male')]
    groups = make_records(rows)
    added = aggregate(records, predictions['tuned'], groups)
    scores = evaluate(groups, {'added up': added}, n_boot=100)
    own = whole(scores, 'largest_gap').set_index('predictor')
    gaps = [largest_gap(np.array([.2, .3, .5]), np.array(p), None) for p in added.probs]
    assert math.isclose(own.value['added up'], np.mean(gaps))
    assert 'largest_gap' in set(split_half(records, splits=20).metric)
    gain = relative_gain(records, predictions, base='base', n_boot=100)
    assert 'relative_gain_largest_gap' in set(gain.metric)


# mistakes

@pytest.mark.parametrize('field, wrong', [
    ('name', dict(name='')), ('label', dict(label=None)), ('better', dict(better='less')),
    ('level', dict(level='person')), ('over', dict(over='some')), ('needs', dict(needs='probs')),
    ('needs', dict(needs=('ranks',))), ('record', dict(record='mean')),
    ('value', dict(record=len)), ('record', dict(value=len)), ('distance', dict(distance=3)),
    ('level', dict(distance=largest_gap)), ('by_subgroup', dict(by_subgroup=True)),
    ('column', dict(column='first')), ('headline', dict(headline='yes'))])
def test_a_mistake_in_a_metric_names_the_field(field, wrong):
    given = dict(name='mine', label='mine') | wrong
    with pytest.raises(ValueError, match=rf"^metric {given['name']!r}: .*\b{field}\b"):
        Metric(**given)


@pytest.mark.parametrize('make, said', [
    (lambda: record_metric('mine', .5), "metric 'mine': score is 0.5: give a function"),
    (lambda: record_metric('mine', steps_off, better='up'), "better is 'up'"),
    (lambda: distance_metric('mine', None), "metric 'mine': distance is None: give a function")])
def test_a_mistake_in_a_function_of_the_users_is_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize('entry, said', [
    (steps_off, r"METRICS\['mine'\] is .*: give a Metric, such as record_metric\('mine', f\)"),
    (record_metric('other', steps_off), r"METRICS\['mine'\] has the name 'other': use one name")])
def test_an_entry_that_is_no_row_is_refused_where_metrics_are_used(
        entry, said, catalogue, records, predictions):
    catalogue['mine'] = entry
    for use in (known_metrics, lambda: evaluate(records, predictions, n_boot=100),
                lambda: subgroup_scores(records, predictions, by='sex', n_boot=10)):
        with pytest.raises(ValueError, match=said):
            use()


def wrong_end(y, q, positions):
    "Share of the likeliest options that is the end opposite to the answer."
    likeliest = np.isclose(q, q.max())
    opposite = np.abs(positions - positions[y]) == np.ptp(positions)
    return float(likeliest[opposite].sum()/likeliest.sum())


@pytest.mark.parametrize('given', [dict(share=True), dict(limits=(0, 1))])
def test_an_interval_of_ones_own_share_stays_between_0_and_1(records, predictions, catalogue, given):
    few = records.select(range(16))
    rare = lambda y, q, x: float(y == 2 and q[2] < .3)
    frames = {name: f.iloc[:16] for name, f in predictions.items()}
    free = evaluate(few, frames, baselines=False, metrics={'rare': rare}, n_boot=200)
    held = evaluate(few, frames, baselines=False, metrics={'rare': record_metric('rare', rare, **given)}, n_boot=200)
    overall = lambda s: s[(s.metric == 'rare') & s.question_id.isna() & s.versus.isna()]
    assert overall(free).ci_low.min() < 0, overall(free)
    assert overall(held).ci_low.min() >= 0 and overall(held).ci_high.max() <= 1
    assert list(overall(held).value) == list(overall(free).value)
    catalogue['rare'] = record_metric('rare', rare, **given)
    assert overall(evaluate(few, frames, baselines=False, n_boot=200)).ci_low.min() >= 0


def test_a_score_outside_its_limits_is_refused_by_its_record(records, predictions):
    twice = record_metric('twice', lambda y, q, x: 2.*(y == 2), share=True)
    with pytest.raises(ValueError, match="metric 'twice': record '.*' scores 2.0, which is not within 0 and 1"):
        evaluate(records, predictions, baselines=False, metrics={'twice': twice}, n_boot=100)


def test_a_metric_is_given_under_its_own_name(records, predictions):
    with pytest.raises(ValueError, match="metrics\\['other'\\] is the metric 'ends': give it under its own name"):
        evaluate(records, predictions, metrics={'other': record_metric('ends', wrong_end)}, n_boot=100)
    with pytest.raises(ValueError, match="limits is \\(1, 0\\)"):
        record_metric('ends', wrong_end, limits=(1, 0))
    with pytest.raises(ValueError, match="share=True is 0 to 1: leave limits out"):
        record_metric('ends', wrong_end, share=True, limits=(0, 2))


def test_equal_probabilities_get_what_a_guess_by_lot_gets(records):
    alike = pd.DataFrame(dict(record_id=records['record_id'][:], probs=[[1/3]*3]*len(records), status='ok', elicitation='score'))
    found = evaluate(records, {'alike': alike}, baselines=False, metrics={'ends': record_metric('ends', wrong_end, share=True)}, n_boot=100)
    y, w = np.array(records['answer_index'][:]), np.array(records['weight'][:])
    value = found[(found.metric == 'ends') & found.question_id.isna()].value.iloc[0]
    assert value == pytest.approx(np.average(y != 1, weights=w)/3)


def test_a_table_is_in_the_order_of_what_it_shows(records, predictions):
    "The log score leads where it is among the columns; otherwise a reader sees no reason for its order."
    scores = evaluate(records, predictions, n_boot=100)
    for metrics in (['wasserstein'], ['accuracy', 'brier'], ['brier', 'log_score'], None):
        table = score_table(scores, metrics)
        first = 'log_score' if metrics is None or 'log_score' in metrics else metrics[0]
        shown = table[metric_label(first)].drop('noise floor', errors='ignore')
        values = [float(text.split()[0]) for text in shown if text != '–']
        assert values == sorted(values, reverse=first == 'accuracy'), table
        if 'noise floor' in table.index:
            assert table.index[-1] == 'noise floor'
