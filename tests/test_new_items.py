"New questions: rivals that learned other items, and reports that say once what knows nothing."
import contextlib
import io

import numpy as np
import pandas as pd
import pytest

from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.prediction.baselines import BASELINES, baseline_predictions
from alignsurvey.records.reading import make_records
from alignsurvey.records.splits import split_records
from alignsurvey.reporting.study_report import full_report
from alignsurvey.surveys.survey import Survey

BLIND = ('majority', 'marginal', 'logistic', 'boosting')    # learn one question at a time


@pytest.fixture(scope='module')
def spending():
    "Spending items of 200 respondents, five of eighteen items new."
    records = Survey.load('gss2018').records(respondents=200, variables=['age', 'sex'], verbose=False)
    return split_records(records, by='item', test=.3, seed=1)


@pytest.fixture(scope='module')
def page(spending, tmp_path_factory):
    "A full report of a model that says uniform, leaning to the first position of the scale."
    test = spending['test']
    lean = [[1/3 + (.05 if x == min(positions) else -.025) for x in positions] for positions in test['positions']]
    model = pd.DataFrame(dict(record_id=test['record_id'][:], probs=lean, status='ok', elicitation='score'))
    made = full_report(test, dict(model=model), tmp_path_factory.mktemp('new')/'report', train=spending['train'], n_boot=100)
    return made.read_text(encoding='utf-8')


def log_scores(records, train, **how):
    rows = evaluate(records, {}, train=train, n_boot=100, **how)
    rows = rows[(rows.metric == 'log_score') & rows.question_id.isna() & rows.versus.isna()]
    return rows.set_index('predictor').value


def test_on_new_items_what_equals_uniform_is_named_once(spending):
    "Baselines that learn question by question know nothing of a question that training lacks."
    found = baseline_predictions(spending['train'], spending['test'], names=list(BASELINES))
    assert not set(BLIND) & set(found)
    note = found['uniform'].attrs['note']
    assert all(name in note for name in BLIND) and '5 of 5 questions not in training' in note
    probs = [tuple(np.concatenate(frame.probs.tolist()).round(12)) for frame in found.values()]
    assert len(set(probs)) == len(found) >= 4


def test_on_new_items_the_mean_of_the_others_is_a_rival(spending):
    "The failing case: a constant, the mean shares of training items by position, beat every rival by .177 in log score."
    score = log_scores(spending['test'], spending['train'])
    assert score['uniform'] == pytest.approx(np.log(3))
    for name in ('pooled_items', 'own_answers', 'nearest_item'):
        assert score[name] < score['uniform'] - .02, score
    assert score['pooled_items'] < score['uniform'] - .1, score
    assert score['own_answers'] < score['pooled_items'], score    # people are consistent


def test_pooled_items_are_the_mean_shares_by_position(spending):
    "By hand: each training item's weighted shares, one answer added to each option, and their mean."
    train, test = spending['train'], spending['test']
    said = pd.DataFrame(dict(item=train['question_id'], x=[p[i] for p, i in zip(train['positions'], train['answer_index'])]))
    counts = said.groupby('item').x.value_counts().unstack(fill_value=0) + 1
    mean = counts.div(counts.sum(axis=1), axis=0).mean()
    found = baseline_predictions(train, test, names=['pooled_items'])['pooled_items']
    assert dict(zip(test[0]['positions'], found.probs[0])) == pytest.approx(mean.to_dict())


def test_new_people_have_no_answers_of_their_own():
    "People and items both new: the rival that rests on a person's other answers is not made, and a note says why."
    records = Survey.load('gss2018').records(respondents=300, variables=['age'], verbose=False)
    with contextlib.redirect_stdout(io.StringIO()):
        both = split_records(records, by=['respondent', 'item'], test=.4)
    found = baseline_predictions(both['train'], both['test'])
    assert 'own_answers' not in found and 'own_answers' in found['uniform'].attrs['note']
    assert {'pooled_items', 'nearest_item'} <= set(found)


def test_where_all_questions_are_known_nothing_changes():
    records = Survey.load('gss2018').records(respondents=200, items=['natsci', 'natroad'], variables=['age'], verbose=False)
    parts = split_records(records, test=.4)
    assert list(baseline_predictions(parts['train'], parts['test'])) == ['uniform', 'majority', 'marginal', 'logistic']
    with pytest.raises(ValueError, match='are for questions that are not in training'):
        baseline_predictions(parts['train'], parts['test'], names=['pooled_items'])


def test_a_known_question_keeps_its_own_shares():
    "One question known, one new: a rival for new items says the training shares of the known one."
    records = Survey.load('gss2018').records(respondents=300, items=['natsci', 'natroad', 'natpark'], variables=['age'], verbose=False)
    parts = split_records(records, test=.4)
    train = parts['train'].filter(lambda r: r['question_id'] != 'natpark', load_from_cache_file=False)
    found = baseline_predictions(train, parts['test'])
    known = np.flatnonzero(np.array(parts['test']['question_id']) == 'natsci')
    same = [found[n].probs[known].tolist() for n in ('marginal', 'pooled_items')]
    assert same[0] == same[1]
    assert '1 of 3 questions not in training: uniform' in found['marginal'].attrs['note']


def test_options_of_no_training_item_are_uniform_and_it_is_said():
    rows = [dict(instruction='?', question=f'Question {q}?', options=options, answer_index=i % len(options), output=options[i % len(options)],
        respondent_id=f'p{i}', question_id=q, source='toy', scale='nominal') for i in range(40) for q, options in (('a', ['x', 'y']), ('b', ['u', 'v', 'w']))]
    records = make_records(rows)
    a, b = (records.filter(lambda r: r['question_id'] == q, load_from_cache_file=False) for q in 'ab')
    found = baseline_predictions(a, b)
    assert list(found) == ['uniform'] and found['uniform'].probs[0] == pytest.approx([1/3]*3)
    assert 'nearest_item' in found['uniform'].attrs['note']


def test_the_report_names_what_knows_nothing_once(page):
    "The failing case: four rivals named in the report were uniform; Methods claimed that they were tuned."
    assert 'tuned inside training' not in page
    assert '5 of 5 questions not in training' in page
    scores = page.split('<h2>Scores</h2>')[1].split('<h2>')[0]
    for name in BLIND:
        assert f'>{name}</th>' not in scores
    for name in ('pooled_items', 'own_answers', 'nearest_item'):
        assert name in page.split('<h2>Scores</h2>')[0], f'{name} is no rival in the abstract'
    methods = page.split('<h2>Methods</h2>')[1]
    assert 'pooled_items' in methods and 'boosting' not in methods


def test_a_rival_of_ones_own_reads_other_items(spending):
    def first_item(items, answers, question, people):
        return items.shares.iloc[0], f'shares of {items.index[0]}'
    first_item.reads_items = True
    BASELINES['first'] = first_item
    try:
        found = baseline_predictions(spending['train'], spending['test'])
    finally:
        del BASELINES['first']
    assert 'shares of nat' in found['first'].attrs['note']
