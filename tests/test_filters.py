"Filters: who was not asked is not asked, in every task and from every format."
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from importer_files import FORMATS

from alignsurvey.all import Survey
from alignsurvey.surveys import Codebook
from alignsurvey.surveys.codebook import filter_circle, plain_codebook, read_codebook
from alignsurvey.surveys.survey import draft_codebook_of

YES_NO = dict(scale='nominal', options={1: 'yes', 0: 'no'})
ITEMS = dict(work=dict(YES_NO, question='Do you work?'), boss=dict(YES_NO, question='Have you a boss?', asked_if={'work': 1}),
    like=dict(YES_NO, question='Do you like the boss?', asked_if={'boss': [1]}),
    hours=dict(scale='numeric', range=[0, 60], question='Hours a week?', asked_if={'work': 1}),
    bus=dict(YES_NO, question='By bus', asked_if={'work': 1}), tram=dict(YES_NO, question='By tram', asked_if={'work': 1}))
SETS = dict(way=dict(kind='multiple', columns=['bus', 'tram'], ticked=1, question='How do you get to work?'))
FRAME = pd.DataFrame(dict(person=['a', 'b', 'c', 'd'], work=[1, 1, 0, None], boss=[1, 0, 1, 1], like=[1, 1, 0, None],
    hours=[40, 20, 0, 8], bus=[1, 0, 0, 1], tram=[0, 1, 0, 1]))


def town():
    return Survey(FRAME, read_codebook(dict(id='town', respondent_id='person', items=ITEMS, sets=SETS), 'town.yaml'), 'town.csv')


def test_who_was_not_asked_is_not_asked(capsys):
    "The failing case: of somebody without work it was asked whether they like the boss."
    records = town().records('response')
    assert sorted(records['record_id'][:]) == ['town/a/boss', 'town/a/like', 'town/a/work', 'town/b/boss', 'town/b/work', 'town/c/work']
    assert '5 not_asked' in capsys.readouterr().out
    assert town().records('number', verbose=False)['record_id'][:] == ['town/a/number/hours', 'town/b/number/hours']
    assert set(town().records('multiple', verbose=False)['respondent_id'][:]) == {'a', 'b'}
    table = town().describe()
    assert table[(table.item == 'like') & (table.kind == 'not_asked')].n.tolist() == [3]


def test_groups_are_of_those_who_were_asked():
    survey = town()
    survey.codebook.background['work'] = survey.codebook.items.pop('work')
    groups = survey.records('response', level='group', items=['boss'], min_n=1, verbose=False)
    assert [(r['respondent_id'], r['n'], r['target']) for r in groups] == [('work=yes', 2, [.5, .5])]


@pytest.mark.parametrize('ending', ['.yaml', '.xlsx'])
def test_filters_are_saved_and_read(ending, tmp_path):
    book = town().codebook
    assert Codebook.load(book.save(tmp_path/f'book{ending}')).questions == book.questions


@given(st.dictionaries(st.sampled_from('abcdef'), st.lists(st.sampled_from('abcdef'), max_size=3)))
@settings(max_examples=80, deadline=None)
def test_a_circle_is_found_where_there_is_one(waits):
    "Against the closure of who waits for whom."
    spec = dict(id='x', items={n: dict(YES_NO) for n in 'abcdef'})
    questions = read_codebook(spec, 'x.yaml').items
    for name, before in waits.items():
        questions[name].asked_if.update(dict.fromkeys(before, ['1']))
    reach = {n: set(q.asked_if) for n, q in questions.items()}
    for _ in reach:
        reach = {n: r.union(*(reach[m] for m in r)) for n, r in reach.items()}
    circle = filter_circle(questions)
    assert bool(circle) == any(n in r for n, r in reach.items())
    assert all(b in questions[a].asked_if for a, b in zip(circle, circle[1:]))


def test_plain_routing_of_platforms_is_followed(tmp_path):
    (tmp_path/'x.lss').write_bytes(FORMATS['.lss'])
    draft = draft_codebook_of(tmp_path/'x.lss')
    assert draft.items['see_SQ1'].asked_if == {'go': ['A1']} and draft.items['see_SQ1'].routing
    read_codebook(plain_codebook(draft), 'again.yaml')


@pytest.mark.parametrize('wide, deep', [(1, 1500), (2, 60)])
def test_filters_on_filters_are_each_looked_at_once(wide, deep):
    "A long chain, and questions with two ways down to the same ones: as many walks as there are ways would never end."
    names = [[f'q{i}_{j}' for j in range(wide)] for i in range(deep)]
    items = {n: dict(YES_NO, question='Well?', asked_if=dict.fromkeys(below, 1)) for level, below in zip(names, [*names[1:], []]) for n in level}
    frame = pd.DataFrame(1, index=range(2), columns=[n for level in names for n in level]).assign(person=['a', 'b'])
    frame.loc[1, names[-1][0]] = 0
    survey = Survey(frame, read_codebook(dict(id='deep', respondent_id='person', items=items), 'deep.yaml'), 'deep.csv')
    assert survey.records('response', items=[names[0][0]], verbose=False)['respondent_id'][:] == ['a']
