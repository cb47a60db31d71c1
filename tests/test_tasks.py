"A fifth task, from a name, a template and a noun, goes wherever the four go; a mistake in it is refused by its field."
import dataclasses

import numpy as np
import pandas as pd
import pytest

from alignsurvey.all import FreeScores, Interviews, Survey, TASKS, Task, Wording, choice_task
from alignsurvey.all import crossings, evaluate, function_predictor, get_task, is_correct, option_of
from alignsurvey.all import parse_answer, predict, read_records, reorder, report, split_records
from alignsurvey.all import task_records, write_records
from alignsurvey.evaluation.free_answers import read_replies
from alignsurvey.evaluation.scoring import known_choices
from alignsurvey.metrics.texts import text_scores
from alignsurvey.records.reading import make_records
from alignsurvey.records.schema import SHARE_FORMS, find_options
from alignsurvey.surveys.bundled import data_folder
from alignsurvey.tasks.task import LEVELS, OPTIONAL

QUICK = dict(n_boot=100)
ASK = 'As a matter of priority: {question}'


@pytest.fixture(scope='module')
def gss():
    return Survey.load('gss2018')


@pytest.fixture
def priority():
    "A task of one's own, in the registry for the time of a test."
    TASKS['priority'] = choice_task('priority', ask=ASK, noun='priorities')
    yield TASKS['priority']
    del TASKS['priority']


def made(gss, **how):
    settings = dict(items=['natroad', 'natsci'], respondents=60, variables=['age', 'sex'], verbose=False)
    return gss.records('priority', **{**settings, **how})


def score(table, metric, predictor='model'):
    hit = (table.metric == metric) & (table.predictor == predictor) & table.question_id.isna()
    hit &= table.group_var.isna() & table.versus.isna()
    assert hit.sum() == 1, metric
    return table[hit].value.iloc[0]


# --- a fifth task

def test_its_records_are_those_of_the_response_task_in_other_words(gss, priority):
    mine, usual = made(gss), gss.records(items=['natroad', 'natsci'], respondents=60, variables=['age', 'sex'],
        verbose=False)
    assert len(mine) == len(usual) and set(mine['task']) == {'priority'}
    for a, b in zip(mine, usual):
        assert a['record_id'] == b['record_id'].replace('gss2018/' + b['respondent_id'], f"gss2018/{b['respondent_id']}/priority")
        assert a['instruction'] == b['instruction'].replace('Survey question:\n', 'As a matter of priority: ')
        assert find_options(a['instruction']) == a['options']
        told = ('task', 'record_id', 'instruction')
        assert {k: v for k, v in a.items() if k not in told} == {k: v for k, v in b.items() if k not in told}
    assert task_records(gss, 'priority', items=['natroad', 'natsci'], respondents=60, variables=['age', 'sex'],
        verbose=False).to_list() == mine.to_list()


def test_its_answers_are_read_and_right_or_wrong(gss, priority):
    r = made(gss)[0]
    for form in ('label_text', 'label', 'text'):
        for shown in made(gss, answer_form=form).select(range(5)):
            value, status, why = parse_answer(shown['output'], shown)
            assert (value, status, why) == (shown['answer_index'], 'ok', None) and option_of(value, shown) == value
            assert is_correct(value, shown) is True and is_correct((value + 1) % 3, shown) is False
            assert is_correct(None, shown) is False
    assert parse_answer('A or C', r) == (None, 'unparsed', 'two_options')
    assert option_of(r['options'][1], r) == 1 and option_of('no such option', r) is None
    assert is_correct(0, dict(r, options=["don't know", 'yes'], answer_index=0)) is None


def test_it_is_scored_as_a_choice(gss, priority):
    records = reorder(made(gss), seed=1)
    assert known_choices(records) == (list(range(len(records))),)*2
    right = pd.DataFrame(dict(record_id=records['record_id'][:], text=records['output'][:]))
    first = pd.DataFrame(dict(record_id=records['record_id'][:], text=['A']*len(records)))
    table = evaluate(records, dict(right=right, first=first), baselines=False, **QUICK)
    assert set(table.task) == {'priority'} and score(table, 'accuracy', 'right') == 1
    share = np.mean([i == 0 for i in records['answer_index']])
    assert abs(score(table, 'accuracy', 'first') - share) < .1
    assert score(table, 'failed', 'first') == 0 and read_replies(records, first).value.tolist() == [0]*len(records)


def test_it_is_asked_and_reported(gss, priority, tmp_path):
    def last(record):
        return record['options'][-1]

    records = made(gss)
    said = predict(function_predictor(last, 'last'), records, elicitation='greedy')
    assert set(said.status) == {'ok'} and set(said.value) == {2}
    table = evaluate(records, dict(last=said), **QUICK)
    page = report(table, tmp_path/'report.html', records=records, models=['last']).read_text(encoding='utf-8')
    people = len(set(records['respondent_id']))
    assert f'{len(records)} priorities of {people} held-out respondents to 2 items' in page


def test_it_has_baselines(gss, priority):
    splits = split_records(made(gss, respondents=200), test=.5)
    probs = [[1/3]*3]*len(splits['test'])
    said = pd.DataFrame(dict(record_id=splits['test']['record_id'][:], probs=probs, status='ok'))
    table = evaluate(splits['test'], said, train=splits['train'], **QUICK)
    assert {'model', 'uniform', 'majority', 'marginal', 'logistic'} <= set(table.predictor)
    assert abs(score(table, 'log_score') - np.log(3)) < 1e-9


@pytest.mark.parametrize('form', [*SHARE_FORMS, 'label'])
def test_it_asks_groups(gss, priority, form):
    cells = made(gss, respondents=None, variables=None, level='group', by=crossings(['sex', 'degree']), answer_form=form)
    assert set(cells['level']) == {'group'} and len(set(cells['record_id'])) == len(cells)
    for g in cells.select(range(4)):
        assert 'As a matter of priority: ' in g['instruction'] and find_options(g['instruction']) == g['options']
        assert g['record_id'] == f"gss2018/{g['respondent_id']}/priority/{g['question_id']}"
        if form in SHARE_FORMS:
            shares, status, why = parse_answer(g['output'], g)
            assert (status, why) == ('ok', None) and max(abs(np.array(shares) - g['target'])) < .02
    said = pd.DataFrame(dict(record_id=cells['record_id'][:], probs=cells['target'][:], status='ok'))
    table = evaluate(cells, said, **QUICK)
    assert set(table.task) == {'priority'} and score(table, 'wasserstein') == pytest.approx(0)


@pytest.mark.parametrize('suffix', ['.json', '.jsonl'])
def test_its_records_are_written_read_and_split(gss, priority, tmp_path, suffix):
    records = made(gss)
    cells = made(gss, respondents=None, variables=None, level='group', by='sex')
    for some in (records, cells):
        again = read_records(write_records(some, tmp_path/f'r{suffix}', overwrite=True))
        assert again.to_list() == some.to_list()
    parts = split_records(records, test=.3)
    assert not set(parts['train']['respondent_id']) & set(parts['test']['respondent_id'])


def test_the_command_line_evaluates_it(gss, priority, tmp_path, here):
    records = made(gss)
    write_records(records, tmp_path/'test.jsonl')
    said = pd.DataFrame(dict(record_id=records['record_id'][:], text=records['output'][:], status='ok',
        value=records['answer_index'][:]))
    said.to_json(tmp_path/'said.jsonl', orient='records', lines=True)
    code, out, err = here('evaluate', '--records', tmp_path/'test.jsonl', '--predictions', tmp_path/'said.jsonl',
        '--out', tmp_path/'scores.csv', '--n-boot', 100)
    assert code == 0, err
    scores = pd.read_csv(tmp_path/'scores.csv')
    assert set(scores.task) == {'priority'}
    assert scores[(scores.metric == 'accuracy') & scores.question_id.isna()].value.max() == 1


# --- other words, other languages, other sources

def test_its_options_may_stand_inside_the_question(gss, priority):
    TASKS['priority'] = choice_task('priority', ask='Of these:\n{options}\nWhich? {question}', noun='priorities')
    r = made(gss)[0]
    assert find_options(r['instruction']) == r['options'] and r['instruction'].count('A. ') == 1


def test_it_speaks_the_languages_that_it_was_given(priority):
    town = Survey.load('invented_interviews')
    with pytest.raises(ValueError, match="lang is 'zh': use one of en"):
        town.records('priority', lang='zh')
    TASKS['priority'] = choice_task('priority', ask=dict(en=ASK, zh='哪个更重要：{question}'), noun='priorities')
    r = town.records('priority', lang='zh', verbose=False)[0]
    assert '哪个更重要：' in r['instruction'] and '\n选项：\nA. ' in r['instruction']


def test_a_wording_goes_into_the_call(gss):
    brief = dataclasses.replace(TASKS['response'].wordings['en'], ending='\nA letter, please.')
    mine, usual = (gss.records(items=['natsci'], respondents=20, verbose=False, **how) for how in ({}, dict(wording=brief)))
    assert [r['record_id'] for r in mine] == [r['record_id'] for r in usual]
    assert all(r['instruction'].endswith('\nA letter, please.') for r in usual)
    alone = dataclasses.replace(brief, group_opening=None)
    with pytest.raises(ValueError, match='wording: has no group_opening'):
        gss.records(level='group', by='sex', wording=alone)


@pytest.mark.parametrize('task', ['role', 'interview'])
def test_a_wording_of_interviews_goes_into_the_call(task):
    talks = Interviews.load(data_folder('invented_interviews')/'turns_en.jsonl', Survey.load('invented_interviews'), verbose=False)
    words = dataclasses.replace(TASKS[task].wordings['en'], ending='\nBriefly.', open_ending='\nBriefly.')
    mine, usual = talks.records(task, wording=words, verbose=False), talks.records(task, verbose=False)
    assert all(r['instruction'].endswith('\nBriefly.') for r in mine) and mine['output'][:] == usual['output'][:]


def test_interviews_make_only_what_was_said(priority):
    talks = Interviews.load(data_folder('invented_interviews')/'turns_en.jsonl', verbose=False)
    with pytest.raises(ValueError, match="task 'priority' can't be made from interviews: use role or interview"):
        talks.records('priority')


def test_a_task_whose_answers_are_words():
    "A task with scores of its own, which no page knows by name."
    def compare(said, human, records):
        return text_scores(said, human, ('chrf',))

    def given(record):
        return record['answer']

    def heard(reply, record):
        return reply and reply.strip()

    def as_said(said, record):
        return said, None

    def never(record):
        return False

    def always(record):
        return True

    TASKS['slogan'] = Task('slogan', 'slogans', builds={}, wordings=dict(en=Wording('{background}')), forms=dict(individual=('free',)),
        needs_options=False, parse=as_said, choice=never, known=always,
        free=FreeScores(('chrf',), human=given, said=heard, compare=compare))
    try:
        rows = [dict(task='slogan', instruction=f'{i}?', output=t, answer=t, answer_form='free', source='toy', respondent_id=f'p{i}', question_id='q')
            for i, t in enumerate(['more buses', 'fewer cars', 'no more cars'])]
        records = make_records(rows)
        said = pd.DataFrame(dict(record_id=records['record_id'][:], text=records['output'][:]))
        table = evaluate(records, said, **QUICK)
        assert set(table.task) == {'slogan'} and score(table, 'chrf') == 1 and score(table, 'failed') == 0
        assert parse_answer('more buses', records[0]) == ('more buses', 'ok', None)
    finally:
        del TASKS['slogan']


# --- mistakes

@pytest.mark.parametrize('how, said', [
    (dict(name='how urgent'), "task 'how urgent': name must be one word"),
    (dict(name='a/b'), 'name must be one word'),
    (dict(name=3), 'task 3: name must be one word'),
    (dict(noun=''), "task 'priority': noun is missing"),
    (dict(ask='How urgent?'), "ask is 'How urgent\\?': write {question} where"),
    (dict(ask=None), 'ask is None: give a text'),
    (dict(ask=['{question}']), 'ask is .* give a text, or {language: text}'),
    (dict(ask='{question} {item}'), 'question has {item}, which nothing fills in: use {question}, {options}'),
    (dict(ask='{question} {'), "question can't be read as a template"),
    (dict(opening='{who}'), 'opening has {who}'),
    (dict(opening=3), 'opening is 3: give a text'),
    (dict(ending=dict(zh='。')), "ending is in 'zh', and ask is not"),
    (dict(ask=dict(de='{question}')), "opening is missing for 'de'"),
    (dict(group_opening='{question}'), 'group_opening has {question}')])
def test_a_mistake_is_named_by_its_field(how, said):
    with pytest.raises(ValueError, match=said):
        choice_task(**{**dict(name='priority', ask=ASK, noun='priorities'), **how})


@pytest.mark.parametrize('how, said', [
    (dict(takes=('turns',)), "takes has 'turns': use some of attributes"),
    (dict(takes='variables'), 'give a tuple of names'),
    (dict(wordings={}), 'wordings is empty'),
    (dict(wordings=dict(en='{question}')), "wordings has no Wording for 'en'"),
    (dict(forms=dict(town=('label',))), "forms has the level 'town'"),
    (dict(parse='label'), "parse is 'label': give a function"),
    (dict(free=3), 'free is 3: give FreeScores')])
def test_a_mistake_in_a_task_is_named_by_its_field(how, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(TASKS['response'], **how)


def test_what_is_no_task_is_not_known(gss):
    with pytest.raises(ValueError, match="task 'dance' is not known: use one of response, role, interview, stance"):
        get_task('dance')
    with pytest.raises(ValueError, match="task 'dance'"):
        parse_answer('A', dict(task='dance', options=['yes', 'no']))
    for wrong, said in ((dict(name='polka'), 'is a dict: put a Task there'),
            (choice_task('waltz', ask=ASK, noun='dances'), "is the task 'waltz': put it under its own name")):
        TASKS['polka'] = wrong
        try:
            with pytest.raises(ValueError, match=said):
                get_task('polka')
        finally:
            del TASKS['polka']


def test_the_four_say_what_other_pages_ask_of_a_task():
    nouns = dict(response='answers', role='attributes', interview='next turns', stance='stances', number='numbers', multiple='choices among several')
    assert {name: task.noun for name, task in TASKS.items()} == nouns
    assert {n for n, t in TASKS.items() if t.needs_options} == {'response', 'stance', 'number', 'multiple'}
    assert {n for n, t in TASKS.items() if t.reorders} == {'response', 'interview'}
    assert {n for n, t in TASKS.items() if t.counts_items} == {'response', 'interview', 'stance', 'number', 'multiple'}
    assert {n for n, t in TASKS.items() if t.free} == {'role', 'interview', 'stance'}
    for name, task in TASKS.items():
        assert task.name == name and set(task.wordings) == {'en', 'zh'} and set(task.forms) <= set(LEVELS)
        assert set(task.takes) <= set(OPTIONAL)


def test_choices_alone_are_reported(gss, tmp_path):
    records = gss.records(respondents=40, items=['natspac', 'natenvir'], verbose=False)
    said = pd.DataFrame(dict(record_id=records['record_id'][:], value=0, elicitation='greedy', status='ok'))
    scores = evaluate(records, said, baselines=False, **QUICK)
    page = report(scores, tmp_path/'report.html', records=records, models=['model']).read_text(encoding='utf-8')
    assert scores.value.notna().any() and 'Item by item' in page
