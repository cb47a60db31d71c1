"A survey of 196 columns as a panel hands it out, made up here: few decisions, and every type of question asked or refused by name."
import numpy as np
import pandas as pd
import pytest

from alignsurvey.all import Survey, evaluate
from alignsurvey.files.tables import FileNotes
from alignsurvey.surveys import Codebook
from alignsurvey.surveys.codebook import count_decisions, plain_codebook, read_codebook
from alignsurvey.surveys.metadata import from_notes

N = 300
AGREE = {1: 'Strongly disagree', 2: 'Disagree', 3: 'Neither', 4: 'Agree', 5: 'Strongly agree', 98: "Don't know", 99: 'Refused'}
TRUST = {0: 'No trust at all', **{i: str(i) for i in range(1, 10)}, 10: 'Complete trust', 88: "Don't know"}
WARM = {0: 'Very cold', 50: 'Neither', 100: 'Very warm', 998: "Don't know"}
NEWS = {0: 'Not selected', 1: 'Selected'}
PLACES = {i: place for i, place in enumerate(['Jobs', 'Climate', 'Health', 'Schools', 'Crime'], 1)}
PARTIES = {1: 'Red', 2: 'Green', 3: 'Blue', 4: 'Did not vote', 9: 'Refused'}
OWN = ['I think the council should listen more', 'no', 'Better buses please, and more often on Sundays']


def column(frame, said, name, values, wording, labels=None, missing=None):
    "One column and what the file says of it."
    frame[name] = values
    said['wording'][name] = wording
    if labels:
        said['labels'][name] = {str(k): v for k, v in labels.items()}
    if missing:
        said['missing'][name] = [(m, m) for m in missing]


@pytest.fixture(scope='module')
def wide():
    "The frame, and the notes of a labelled file."
    rng, frame = np.random.default_rng(0), {}
    said = dict(wording={}, labels={}, missing={})
    add = lambda *how: column(frame, said, *how)
    add('respid', np.arange(1000, 1000 + N), 'Respondent identifier')
    for name, what in [('weight_main', 'Main weight'), ('weight_pop', 'Population weight'), ('weight_trim', 'Trimmed weight')]:
        add(name, rng.uniform(.4, 2.5, N), what)
    for i in range(1, 21):
        add(f'repwt_{i}', rng.uniform(.4, 2.5, N), f'Replicate weight {i}')
    add('stratum', rng.integers(1, 9, N), 'Sampling stratum')
    add('psu', rng.integers(1, 41, N), 'Primary sampling unit')
    add('start_date', ['2024-03-%02d' % d for d in rng.integers(1, 29, N)], 'Date of interview')
    add('duration', rng.integers(300, 4000, N), 'Interview length in seconds')
    add('interviewer_id', rng.integers(1, 30, N), 'Interviewer number')
    add('age', rng.integers(18, 90, N), 'Age in years')
    add('gender', rng.integers(1, 3, N), 'Gender', {1: 'Male', 2: 'Female'})
    add('region', rng.integers(1, 6, N), 'Region', dict(enumerate(['North', 'South', 'East', 'West', 'Capital'], 1)))
    add('education', rng.integers(1, 4, N), 'Highest level of education', {1: 'Primary', 2: 'Secondary', 3: 'University degree'})
    for i in range(1, 61):
        add(f'q{i}', rng.choice([1, 2, 3, 4, 5, 98, 99], N), f'How far do you agree that measure {i} of the council is right?', AGREE, [98, 99])
    for i in range(1, 31):
        add(f'trust{i}', rng.choice([*range(11), 88], N), f'How much do you trust institution {i}?', TRUST, [88])
    for i in range(1, 16):
        add(f'therm{i}', rng.choice([0, 15, 30, 50, 70, 85, 100, 998], N), f'How warm do you feel towards group {i}?', WARM, [998])
    for i in range(1, 13):
        add(f'news_{i}', rng.integers(0, 2, N), f'Newspaper {i}', NEWS)
    places = np.array([rng.permutation(5)[:5] + 1 for _ in range(N)])
    for i in range(5):
        add(f'rank_{i + 1}', places[:, i], f'Most important problem, place {i + 1}', PLACES)
    for i in range(1, 6):
        add(f'open{i}', [f'{OWN[x % 3]} {x}' for x in rng.integers(0, 900, N)], f'In your own words, question {i}: what should change?')
    add('vote', rng.choice([1, 2, 3, 4, 9], N), 'Which party did you vote for?', PARTIES, [9])
    for i in range(1, 11):
        add(f'tv_hours{i}', np.where(rng.random(N) < .2, 99, rng.integers(0, 13, N)), f'Hours a week of programme {i}', {99: 'Refused'}, [99])
    voted = frame['vote'] < 4
    for i in range(1, 21):
        add(f'sat{i}', np.where(voted, rng.integers(1, 6, N), -1), f'How satisfied are you with promise {i} of your party?',
            {**{k: AGREE[k] for k in range(1, 6)}, -1: 'Not applicable'}, [-1])
    while len(frame) < 196:
        i = len(frame)
        add(f'freq{i}', rng.integers(1, 5, N), f'How often do you take part in activity {i}?', {1: 'Never', 2: 'Rarely', 3: 'Sometimes', 4: 'Often'})
    notes = FileNotes(**said)
    described = from_notes(notes, 'wide.sav')
    described.sets = dict(
        news=dict(kind='multiple', columns=[f'news_{i}' for i in range(1, 13)], question={'en': 'Which newspapers do you read?'}, ticked='1'),
        rank=dict(kind='ranking', columns=[f'rank_{i}' for i in range(1, 6)], question={'en': 'Rank the problems.'}))
    return pd.DataFrame(frame), described


@pytest.fixture(scope='module')
def book(wide):
    "The draft, and the one thing that a person adds: the filter."
    draft = Codebook.draft(*wide, id='wide')
    spec = plain_codebook(draft)
    for i in range(1, 21):
        spec['items'][f'sat{i}']['asked_if'] = {'vote': ['1', '2', '3']}
    return draft, read_codebook(spec, 'wide.yaml')


def test_a_person_looks_at_25_cells_at_most(wide, book):
    "Counted as cells of the spreadsheet: those in doubt, a shared list of options once; and those that a person adds, filters here."
    frame, _ = wide
    draft, done = book
    assert frame.shape[1] == 196
    added = sum(q != done.items[name] for name, q in draft.items.items())
    assert added == 20
    assert 0 < count_decisions(draft) and count_decisions(draft) + added <= 25, draft.doubts


# Seconds of the keystroke-level model (Card, Moran & Newell 1980, doi 10.1145/358886.358895): a key of a person who is no typist, pointing, hands from mouse to keys and back, making up one's mind.
KEY, POINT, HOME, THINK = .28, 1.1, .4, 1.35
WORDS_A_SECOND = 238/60    # read silently (Brysbaert 2019, doi 10.1016/j.jml.2019.104047)


def seconds_of_a_cell(read, typed):
    "A row is read and thought about, its cell pointed at, typed into and left."
    return len(read.split())/WORDS_A_SECOND + THINK + POINT + 2*HOME + KEY*(len(typed) + 1)


def test_a_persons_decisions_take_ten_minutes_at_most(wide, book, tmp_path):
    "By that model, each cell typed by hand and none copied down. Nobody was timed; who reads all rows of the sheet as well needs longer."
    draft, done = book
    draft.save(tmp_path/'wide.xlsx')
    rows = pd.read_excel(tmp_path/'wide.xlsx', sheet_name='questions', dtype=str).fillna('')
    text = dict(zip(rows.name, rows.agg(' '.join, axis=1)))
    doubtful = [seconds_of_a_cell(text[name], text[name]) for name in draft.doubts]
    added = [seconds_of_a_cell(text[name], 'vote: 1, 2, 3') for name, q in done.items.items() if q != draft.items[name]]
    assert len(doubtful) >= 2 and len(added) == 20
    minutes = (sum(doubtful) + sum(added))/60
    every_row = sum(len(t.split()) for t in text.values())/WORDS_A_SECOND/60
    print(f'{minutes:.1f} minutes; {every_row:.1f} more to read every row once')
    assert 1 < minutes <= 10


def test_columns_are_in_their_roles(wide, book):
    draft, _ = book
    assert draft.design == dict(respondent_id='respid', weight='weight_main', stratum='stratum', psu='psu')
    roles = draft.other
    assert {roles[f'repwt_{i}'] for i in range(1, 21)} | {roles['weight_pop'], roles['weight_trim']} == {'spare_weight'}
    assert roles['start_date'] == 'date' and roles['duration'] == 'paradata' and roles['interviewer_id'] == 'id'
    assert set(draft.background) == {'age', 'gender', 'region', 'education'}
    scales = {name: q.scale for name, q in draft.items.items()}
    assert {scales[f'q{i}'] for i in range(1, 61)} == {scales[f'trust{i}'] for i in range(1, 31)} == {'ordinal'}
    assert {scales[f'therm{i}'] for i in range(1, 16)} == {scales[f'tv_hours{i}'] for i in range(1, 11)} == {'numeric'}
    assert {scales[f'open{i}'] for i in range(1, 6)} == {'open'} and scales['vote'] == 'nominal'
    assert not any({'98', '99', '998', '88', '-1'} & set(q.options) for q in draft.items.values())


@pytest.mark.parametrize('task, items, metric', [('response', ['q1', 'trust2', 'vote', 'sat3', 'rank_1'], 'brier'),
    ('number', ['therm1', 'tv_hours1'], 'crps'), ('multiple', ['news'], 'set_jaccard')])
def test_every_type_is_asked_and_scored(wide, book, task, items, metric):
    frame, _ = wide
    survey = Survey(frame, book[1], 'wide.sav')
    records = survey.records(task, items=items, respondents=60, variables=['age', 'gender'], verbose=False)
    flat = lambda r: np.full(len(r['options']), 1/len(r['options']))
    scores = evaluate(records, {}, predictors={'flat': flat}, baselines=False, n_boot=100)
    assert np.isfinite(scores[(scores.metric == metric) & scores.question_id.isna() & scores.versus.isna()].value.iloc[0])
    if 'sat3' in items:
        sat = {r['respondent_id'] for r in records if r['question_id'] == 'sat3'}
        voted = set(frame.respid[frame.vote < 4].astype(str))
        assert sat and sat <= voted


@pytest.mark.parametrize('task, item, said', [('response', 'open1', "'open1' is open: .* ask it in the interview task"),
    ('multiple', 'rank', "set 'rank' is a ranking: ask place by place"), ('response', 'therm1', "'therm1' is a number: ask for it with task 'number'"),
    ('number', 'open2', "'open2' has no range of numbers: ask it in the interview task")])
def test_what_is_not_asked_is_refused_by_name(wide, book, task, item, said):
    with pytest.raises(ValueError, match=said):
        Survey(wide[0], book[1], 'wide.sav').records(task, items=[item], verbose=False)
