"Numbers asked for as numbers: scores against other definitions, ranges, and each way of asking."
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import energy_distance

from alignsurvey.all import Survey, TASKS, evaluate, load_model, predict, score_table
from alignsurvey.metrics.scores import absolute_errors, covered_scores, crps_scores, quantiles
from alignsurvey.records.reading import read_records, write_records
from alignsurvey.files.strict import FileFault
from alignsurvey.files.tables import FileNotes
from alignsurvey.study import Study
from alignsurvey.surveys.codebook import Codebook, read_codebook

RNG = np.random.default_rng(7)
NUMBERS = np.sort(RNG.choice(np.arange(-40, 200), 31, replace=False))/2
Q = RNG.dirichlet(np.full(31, .3), 200)
Y = RNG.integers(0, 31, 200)


def test_crps_is_half_the_squared_energy_distance():
    "Székely & Rizzo 2013: CRPS of a discrete forecast is D²/2 of it and the point at the answer."
    far = [energy_distance(NUMBERS, [NUMBERS[y]], u_weights=q)**2/2 for y, q in zip(Y, Q)]
    assert np.abs(crps_scores(Y, Q, NUMBERS) - far).max() < 1e-9


def test_crps_is_the_mean_distance_less_half_the_spread():
    "Gneiting & Raftery 2007, eq. 21: E|X - y| - E|X - X'|/2, by hand."
    apart = abs(NUMBERS[:, None] - NUMBERS)
    by_hand = [q @ apart[y] - q @ apart @ q/2 for y, q in zip(Y, Q)]
    assert np.abs(crps_scores(Y, Q, NUMBERS) - by_hand).max() < 1e-9


def test_crps_of_draws_is_that_of_properscoring():
    proper = pytest.importorskip('properscoring')
    draws = RNG.integers(0, 31, (50, 20))
    q = np.array([np.bincount(d, minlength=31)/20 for d in draws])
    want = proper.crps_ensemble(NUMBERS[Y[:50]], NUMBERS[draws])
    assert np.abs(crps_scores(Y[:50], q, NUMBERS) - want).max() < 1e-9


@pytest.mark.parametrize('level', [.05, .25, .5, .75, .95])
def test_quantiles_are_those_of_draws(level):
    draws = RNG.integers(0, 31, (60, 40))
    q = np.array([np.bincount(d, minlength=31)/40 for d in draws])
    want = np.quantile(NUMBERS[draws], level, axis=1, method='inverted_cdf')
    assert np.abs(quantiles(q, NUMBERS, level) - want).max() < 1e-9


def test_mean_absolute_error_and_coverage_by_hand():
    for y, q in zip(Y[:40], Q[:40]):
        reached = np.cumsum(q)
        median, low, high = (NUMBERS[np.argmax(reached >= p)] for p in (.5, .05, .95))
        assert abs(absolute_errors([y], [q], NUMBERS)[0] - abs(median - NUMBERS[y])) < 1e-9
        assert covered_scores([y], [q], NUMBERS, .9)[0] == (low <= NUMBERS[y] <= high)


def test_the_right_forecast_is_covered_as_often_as_it_says():
    x = np.arange(1001)
    q = np.exp(-((x - 500)/150)**2/2)
    q /= q.sum()
    y = np.random.default_rng(1).choice(1001, 4000, p=q)
    for level in .5, .9:
        share = covered_scores(y, np.broadcast_to(q, (4000, 1001)), x, level).mean()
        assert abs(share - level) < 4*np.sqrt(level*(1 - level)/4000) + .003


# --- a survey of numbers

HOURS = dict(scale='numeric', range=[0, 24, .5], question='Hours of television a day?')
WARM = dict(scale='numeric', range=[0, 100, 10], question='How warm towards the council?', missing={998: 'dont_know'})


def town(warm=(10, 50, 998, 100), hours=(0, 1.5, 2, 3), **book):
    spec = dict(id='town', respondent_id='person', items=dict(warm=WARM, hours=HOURS)) | book
    frame = pd.DataFrame(dict(person=[f'p{i}' for i in range(4)], warm=warm, hours=hours))
    return Survey(frame, read_codebook(spec, 'town.yaml'), 'town.csv')


def test_records_of_numbers_go_through_a_file(tmp_path):
    made = town().records('number', verbose=False)
    assert len(made) == 7 and set(made['scale']) == {'numeric'} and set(made['answer_form']) == {'number'}
    assert [r['answer'] for r in made if r['question_id'] == 'hours'] == ['0', '1.5', '2', '3']
    assert read_records(write_records(made, tmp_path/'n.jsonl')).to_list() == made.to_list()


@pytest.mark.parametrize('warm, row', [((10, 50, 999, 100), 4), ((10, 55, 50, 100), 3), ((-10, 50, 50, 100), 2)])
def test_a_number_outside_the_range_is_found_when_a_survey_is_loaded(warm, row, tmp_path):
    survey = town(warm)
    survey.frame.to_csv(tmp_path/'town.csv', index=False)
    with pytest.raises(ValueError, match=rf"town.csv: row {row}, column 'warm': .* is none of the numbers of the range \[0, 100, 10\]"):
        Survey.load(tmp_path/'town.csv', survey.codebook)


def test_scores_of_two_ranges_say_so_and_options_stay_as_they_are():
    made = town().records('number', verbose=False)
    scores = evaluate(made, {}, predictors={'flat': lambda r: np.full(len(r['options']), 1/len(r['options']))}, baselines=False, n_boot=100)
    assert {'crps', 'absolute_error', 'covered_50', 'covered_90', 'wasserstein', 'failed'} <= set(scores.metric)
    assert not {'accuracy', 'brier', 'log_score', 'share', 'hit_rate', 'js_divergence'} & set(scores.metric)
    whole = scores[(scores.metric == 'crps') & scores.question_id.isna()]
    assert 'different ranges' in whole.note.iloc[0]
    options = Survey.load('gss2018').records(items=['natsci'], respondents=30, verbose=False)
    scores = evaluate(options, {}, n_boot=100)
    assert not {'crps', 'absolute_error', 'covered_90'} & set(scores.metric)


def test_a_table_of_numbers_that_were_written_beside_forecasts():
    "The failing case: a noise floor of each kind was a duplicate label."
    made = town().records('number', items=['warm'], verbose=False)
    once = pd.DataFrame(dict(record_id=made['record_id'][:], value=[0]*len(made), status='ok', elicitation='greedy'))
    flat = lambda r: np.full(len(r['options']), 1/len(r['options']))
    table = score_table(evaluate(made, {'once': once}, predictors={'flat': flat}, baselines=False, n_boot=100))
    assert {'once', 'flat', 'noise floor'} == set(table.index)


def test_a_model_is_asked_by_digits_by_draws_and_once():
    lm, made = load_model('smollm2-135m', device='cpu'), town().records('number', items=['warm'], verbose=False).select([0, 2])
    by_digits = predict(lm, made)
    assert all(len(p) == 11 and abs(sum(p) - 1) < 1e-6 for p in by_digits.probs)
    drawn = predict(lm, made, elicitation='sample', draws=2, max_new_tokens=3)
    once = predict(lm, made, elicitation='greedy', max_new_tokens=3)
    assert set(drawn.status) | set(once.status) <= {'ok', 'unparsed', 'refused', 'nonresponse'}
    scores = evaluate(made, {'digits': by_digits}, baselines=False, n_boot=100)
    value = scores[(scores.metric == 'crps') & scores.question_id.isna()].value.iloc[0]
    x, at = np.array(made[0]['positions']), made['answer_index'][:]
    assert abs(value - crps_scores(at, np.array(by_digits.probs.tolist()), x).mean()) < 1e-9


@pytest.mark.parametrize('how, said', [(dict(answer_form='label'), "answer_form is 'label', and task 'number' asks each individual for number: use one of these$"),
    (dict(level='group'), "task 'number' does not ask groups: ask individuals, .* or give the item bins")])
def test_another_form_or_level_is_refused_with_what_can_be_done(how, said):
    with pytest.raises(ValueError, match=said):
        town().records('number', verbose=False, **how)


def test_a_number_is_not_stated_as_shares():
    made = town().records('number', items=['warm'], verbose=False)
    with pytest.raises(ValueError, match="answer_form is number, which elicitation 'verbalize' can't ask for: use score, greedy or sample"):
        predict(load_model('smollm2-135m', device='cpu'), made, elicitation='verbalize')
    options = Survey.load('gss2018')
    with pytest.raises(ValueError, match="'shares', and task 'response' asks each individual for label_text or label or text: .*, or level='group'"):
        options.records(items=['natsci'], answer_form='shares', verbose=False)


def test_the_command_line_asks_for_numbers(here, tmp_path):
    survey = town()
    survey.frame.to_csv(tmp_path/'town.csv', index=False)
    survey.codebook.save(tmp_path/'codebook.yaml')
    assert here('convert', tmp_path/'town.csv', tmp_path/'n.jsonl', '--task', 'number')[0] == 0
    assert len(read_records(tmp_path/'n.jsonl')) == 7 and 'number' in TASKS
    code, _, said = here('convert', tmp_path/'town.csv', tmp_path/'x.jsonl', '--items', 'warm')
    assert code == 2 and "is a number: ask for it with task 'number'" in said


WORDS = {'0': 'Very cold', '50': 'Neither', '100': 'Very warm', '998': "Don't know"}


@pytest.mark.parametrize('labels, missing', [({}, {}), (WORDS, {'warm': [(998, 998)]}), ({**{str(i): str(i) for i in range(101)}, **WORDS}, {})],
    ids=['bare', 'ends', 'every number'])
def test_a_draft_asks_a_thermometer_without_work_by_hand(labels, missing, tmp_path):
    "The failing case: a draft had no range, and of labels for 0 to 100 it made 101 options."
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(dict(id=range(300), warm=rng.choice([0, 15, 30, 50, 70, 85, 97, 100], 300), hours=rng.choice([0, .5, 2, 7], 300)))
    frame.loc[:20, 'warm'] = 998
    notes = FileNotes(wording=dict(warm='How warm towards the council?', hours='Hours of television'), labels=dict(warm=labels), missing=missing)
    draft = Codebook.draft(frame, notes)
    assert draft.items['warm'].range == (0, 100) and draft.items['hours'].range == (0, 7, .5)
    assert draft.items['warm'].missing.keys() == {'998'} and 'warm' not in (draft.doubts if labels else {})
    book = Codebook.load(draft.save(tmp_path/'codebook.xlsx'))
    made = Survey(frame, book, 'town.csv').records('number', verbose=False)
    assert len(made) == 2*300 - 21 and {len(options) for options in made['options']} == {101, 15}


def test_what_no_grid_holds_has_no_range_and_is_refused_with_what_to_do():
    frame = pd.DataFrame(dict(id=range(50), rent=np.arange(50)*977 + .5, mood=[1, 2]*25))
    survey = Survey(frame, Codebook.draft(frame), 'town.csv')
    assert survey.codebook.items['rent'].range == ()
    with pytest.raises(ValueError, match=r"item 'rent' has no range of numbers: add one, such as range: \[0, 100\]"):
        survey.records('number', items=['rent'])


@pytest.mark.parametrize('task, metric, said', [('number', 'log_score', "'log_score', which says nothing of these items: use one of .*crps"),
    ('response', 'crps', "'crps', which says nothing of these items: use one of .*log_score")])
def test_a_primary_metric_is_one_of_the_items_before_anything_is_asked(task, metric, said, tmp_path):
    asked = dict(WARM, bins=[0, 50, 101]) if task == 'response' else WARM
    made = town(items=dict(warm=asked))
    made.frame.to_csv(tmp_path/'town.csv', index=False)
    spec = dict(id='town', respondent_id='person', items=dict(warm=asked))
    (tmp_path/'codebook.yaml').write_text(json.dumps(spec), encoding='utf-8')
    study = dict(survey='town.csv', task=task, predictors=dict(one=dict(model='smollm2-135m')), baselines=['uniform', 'marginal'],
        primary=dict(predictor='one', versus='marginal', metric=metric))
    (tmp_path/'study.yaml').write_text(json.dumps(study), encoding='utf-8')
    study = Study.load(tmp_path/'study.yaml')
    for do in study.plan, study.run:
        with pytest.raises(FileFault, match=said): do()
    assert not (tmp_path/'answers').exists()


def test_an_answer_in_numbers_can_be_told_with_the_background(tmp_path):
    frame = pd.DataFrame(dict(id=[1, 2, 3], warm=[85, np.nan, 0], party=[1, 2, 1]))
    frame.to_csv(tmp_path/'x.csv', index=False)
    items = dict(warm=dict(question=dict(en='How warm do you feel?'), scale='numeric', range=[0, 100]),
        party=dict(question=dict(en='Which party?'), scale='nominal', options={1: 'Left', 2: 'Right'}))
    (tmp_path/'x.yaml').write_text(yaml.safe_dump(dict(id='x', respondent_id='id', items=items)), encoding='utf-8')
    records = Survey.load(tmp_path/'x.csv', codebook=tmp_path/'x.yaml').records('response', items=['party'], variables=['warm'], verbose=False)
    lines = {r['respondent_id']: [line for line in r['instruction'].splitlines() if line.startswith('How warm')] for r in records}
    assert lines == {'1': ['How warm do you feel? 85'], '2': [], '3': ['How warm do you feel? 0']}
