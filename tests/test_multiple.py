"Several choices: sets of every source, records, and scores against scikit-learn."
import numpy as np
import pandas as pd
import pyreadstat
import pytest
from importer_files import FORMATS
from sklearn.metrics import accuracy_score, jaccard_score

from alignsurvey.all import Survey, evaluate, report
from alignsurvey.records.reading import read_records, write_records
from alignsurvey.surveys import Codebook, read_metadata
from alignsurvey.surveys.codebook import read_codebook

RNG = np.random.default_rng(5)
SIZES = dict(news=5, clubs=3)
TRUE = {name: RNG.integers(0, 2, (40, k)) for name, k in SIZES.items()}
SAID = {name: RNG.integers(0, 2, (40, k)) for name, k in SIZES.items()}
TRUE['news'][0] = SAID['news'][0] = 0    # two empty sets
WEIGHT = RNG.uniform(.5, 2, 40)


def town(**more):
    frame = pd.DataFrame(dict(person=range(40), w=WEIGHT))
    items, sets = {}, {}
    for name, k in SIZES.items():
        columns = [f'{name}{i}' for i in range(k)]
        frame[columns] = TRUE[name]
        items |= {c: dict(question=f'The {i}. of {name}', scale='nominal', options={0: 'no', 1: 'yes'}) for i, c in enumerate(columns)}
        sets[name] = dict(kind='multiple', columns=columns, ticked=1, question=f'Which {name}?')
    return Survey(frame, read_codebook(dict(id='town', respondent_id='person', weight='w', items=items, sets=sets) | more, 'town.yaml'), 'town.csv')


def said(record):
    "The probability 1 of what `SAID` says."
    yes = SAID[record['family']][int(record['respondent_id'])][int(record['question_id'][-1])]
    return [float(yes == (o == 'yes')) for o in record['options']]


def overall(scores, metric, predictor='said'):
    rows = scores[(scores.metric == metric) & scores.question_id.isna() & scores.versus.isna() & (scores.predictor == predictor)]
    return rows.value.iloc[0]


def by_person(name):
    return np.array([jaccard_score(t, s, zero_division=1) for t, s in zip(TRUE[name], SAID[name])])


@pytest.mark.parametrize('sets', [['news'], ['clubs'], ['news', 'clubs']])
def test_jaccard_is_that_of_scikit_learn(sets):
    records = town().records('multiple', items=sets, verbose=False)
    scores = evaluate(records, {}, predictors={'said': said}, baselines=False, n_boot=100)
    want = np.mean([np.average(by_person(name), weights=WEIGHT) for name in sets])
    assert abs(overall(scores, 'set_jaccard') - want) < 1e-9
    if sets == ['news']:
        plain = jaccard_score(TRUE['news'], SAID['news'], average='samples', sample_weight=WEIGHT, zero_division=1)
        assert abs(want - plain) < 1e-9


def test_each_option_has_scores_and_shares_of_its_own():
    records = town().records('multiple', items=['news'], verbose=False)
    scores = evaluate(records, {}, predictors={'said': said}, baselines=False, n_boot=100)
    for i in range(5):
        true, guess = TRUE['news'][:, i], SAID['news'][:, i]
        row = scores[(scores.metric == 'accuracy') & (scores.question_id == f'news{i}') & (scores.predictor == 'said')]
        assert abs(row.value.iloc[0] - accuracy_score(true, guess, sample_weight=WEIGHT)) < 1e-9
        shares = scores[(scores.metric == 'share') & (scores.question_id == f'news{i}') & (scores.group == 'yes')].set_index('predictor').value
        assert abs(shares['human'] - np.average(true, weights=WEIGHT)) < 1e-9
        assert abs(shares['said'] - np.average(guess, weights=WEIGHT)) < 1e-9


@pytest.mark.parametrize('rule', ['missing', 'wrong'])
def test_a_failed_option_is_left_out_of_its_set_or_not_chosen(rule):
    records = town().records('multiple', items=['clubs'], verbose=False)
    lost = np.arange(len(records)) % 7 == 0
    told = [said(r) for r in records]
    frame = pd.DataFrame(dict(record_id=records['record_id'][:], value=[int(np.argmax(t)) for t in told], status=np.where(lost, 'refused', 'ok')))
    frame['value'] = frame.value.astype('Int64').mask(lost)
    scores = evaluate(records, {'said': frame}, baselines=False, n_boot=100, failure_rule=rule)
    keep, want, mass = ~lost.reshape(40, 3), [], []
    for t, s, k, w in zip(TRUE['clubs'], SAID['clubs'], keep, WEIGHT):
        use = k if rule == 'missing' else np.full(3, True)
        want.append(jaccard_score(t[use], (s*k)[use], zero_division=1) if use.any() else 0)
        mass.append(w*(use.any()))
    assert abs(overall(scores, 'set_jaccard') - np.average(want, weights=mass)) < 1e-9


def test_other_tasks_have_no_score_of_sets():
    scores = evaluate(Survey.load('gss2018').records(items=['natsci'], respondents=30, verbose=False), {}, n_boot=100)
    assert 'set_jaccard' not in set(scores.metric)


def grouped():
    "A survey of groups: members and others."
    return town(background=dict(clubs0=dict(question='Member', options={0: 'no', 1: 'yes'})), items={
        c: dict(question=c, options={0: 'no', 1: 'yes'}) for c in ('news0', 'news1')}, sets=dict(news=dict(kind='multiple', columns=['news0', 'news1'])))


def test_records_go_through_a_file_and_groups_are_asked(tmp_path):
    survey = grouped()
    records = survey.records('multiple', verbose=False)
    assert read_records(write_records(records, tmp_path/'r.jsonl')).to_list() == records.to_list()
    groups = survey.records('multiple', level='group', min_n=5, verbose=False)
    of_no = TRUE['clubs'][:, 0] == 0
    row = next(r for r in groups if r['question_id'] == 'news1' and r['groups']['clubs0'] == 'no')
    assert abs(row['target'][row['options'].index('yes')] - np.average(TRUE['news'][of_no, 1], weights=WEIGHT[of_no])) < 1e-9


def test_a_report_of_shares_that_nobody_stated(tmp_path):
    "The failing case: an IndexError out of its first plot."
    records = grouped().records('multiple', level='group', min_n=5, verbose=False)
    lost = pd.DataFrame(dict(record_id=records['record_id'][:], status='unparsed', probs=None))
    scores = evaluate(records, {'mute': lost}, baselines=False, n_boot=100, min_n=5)
    assert 'mute' in report(scores, tmp_path/'r.html', records=records, models=['mute']).read_text()


def test_the_sets_of_a_labelled_file_are_asked(tmp_path):
    "The failing case: a set's columns were asked as yes or no of nothing in particular."
    survey = town()
    frame = survey.frame.drop(columns=[c for c in survey.frame if c.startswith('clubs')])
    pyreadstat.write_sav(frame, tmp_path/'town.sav', column_labels={f'news{i}': f'Paper {i}' for i in range(5)},
        variable_value_labels={f'news{i}': {0: 'no', 1: 'yes'} for i in range(5)})
    (tmp_path/'sets.sps').write_text("VARIABLE LABELS news0 'Paper 0'.\nMRSETS /MDGROUP NAME=$news LABEL='Which papers?' VARIABLES=news0 news1 news2 news3 news4 VALUE=1.\n")
    draft = Survey.load(tmp_path/'town.sav', codebook=[tmp_path/'sets.sps'])
    assert draft.codebook.sets['news']['ticked'] == '1'
    again = Codebook.load(draft.codebook.save(tmp_path/'book.xlsx'))
    assert again.sets == draft.codebook.sets
    records = draft.records('multiple', verbose=False)
    assert len(records) == 200 and 'Which papers?\nThe options: Paper 0; Paper 1' in records[0]['instruction']
    answers = np.array(records['answer'][:]).reshape(40, 5) == 'yes'
    assert (answers == TRUE['news']).all()


SECOND = ('<row><qid>9</qid><parent_qid>2</parent_qid><type>T</type><title>SQ2</title><question>Birds</question><question_order>2</question_order>'
    '<language>en</language></row></rows></subquestions>')


@pytest.mark.parametrize('ending', ['.lss', '.xlsx', '.qsf'])
def test_tick_all_that_apply_of_each_platform_is_a_set(ending, tmp_path):
    raw = FORMATS[ending]
    raw = raw.replace(b'</rows></subquestions>', SECOND.encode()) if ending == '.lss' else raw
    (tmp_path/f'x{ending}').write_bytes(raw)
    sets = read_metadata(tmp_path/f'x{ending}').sets
    name, s = next((n, s) for n, s in sets.items() if s['kind'] == 'multiple')
    tick = 'Y' if ending == '.lss' else 1
    ticks = [[None, tick, tick], [tick, None, tick], [None, None, tick]]    # the third, where there is one: "Don't know"
    frame = pd.DataFrame(dict(zip(s['columns'], ticks))).assign(person=[1, 2, 3], mood=['good', 'bad', 'good'])
    frame.to_csv(tmp_path/'data.csv', index=False)
    survey = Survey.load(tmp_path/'data.csv', codebook=[tmp_path/f'x{ending}'])
    answers = survey.records('multiple', items=[name], verbose=False)['answer'][:]
    assert answers == ['no', 'yes', 'yes', 'no', 'yes', 'yes']
