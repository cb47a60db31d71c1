"Records of every task from a user's own data: what goes into a prompt, what must not, what comes back from a file, and errors in one sentence."
import json, re
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from alignsurvey.surveys.codebook import Codebook, Question
from alignsurvey.records.layouts import RULES
from alignsurvey.tasks.dialogues import about_topic, split_values
from alignsurvey.tasks.interview import INTERVIEW
from alignsurvey.tasks.corpus import NEXT_TURN, foundation
from alignsurvey.surveys.bundled import data_folder
from alignsurvey.all import Interviews
from alignsurvey.tasks.stance import STANCE, STANCE_SCALES
from alignsurvey.records.schema import SHARE_FORMS, find_options, share_text
from alignsurvey.records.splits import check_leakage, split_records
from alignsurvey.records.reading import read_records, write_records
from alignsurvey.records.orders import reorder
from alignsurvey.all import Survey

FOLDER = data_folder('invented_interviews')
TURNS = dict(en=FOLDER/'turns_en.jsonl', zh=FOLDER/'turns_zh.csv')
GROUP = dict(level='group', by=['sex'], min_n=1)
CASES = [('role', {}), ('role', dict(max_turns=4)), ('interview', {}), ('interview', dict(answer_form='label_text', max_turns=2)),
    ('response', {}), ('response', dict(answer_form='label')), ('stance', {}), ('stance', dict(stances='thirds', items=['bus', 'saving'])),
    *((t, dict(GROUP, answer_form=f)) for t in ('response', 'stance') for f in (*SHARE_FORMS, 'text'))]


@pytest.fixture(scope='module')
def town(): return Survey.load('invented_interviews')


@pytest.fixture(scope='module')
def gss(): return Survey.load('gss2018')


def talks_in(lang, people=None): return Interviews.load(TURNS[lang], people, topic=dict(en='buses', zh='公交'), verbose=False)


def same_from_file(records, tmp_path):
    for name in 'r.json', 'r.jsonl':
        again = read_records(write_records(records, tmp_path/name, overwrite=True))
        assert again.column_names == records.column_names and again.to_list() == records.to_list()


# --- Every task, level and language

@pytest.mark.parametrize('lang', ['en', 'zh'])
@pytest.mark.parametrize('task, how', CASES)
def test_survey_tasks(town, tmp_path, task, how, lang):
    records = town.records(task, lang=lang, verbose=False, **how)
    same_from_file(records, tmp_path)
    assert len(set(records['record_id'])) == len(records) and set(records['task']) == {task} and set(records['lang']) == {lang}
    for r in records:
        if r['answer_index'] is not None: assert r['options'][r['answer_index']] == r['answer'] and r['answer'] in r['output'] + r['answer']
        if r['history']: assert r['history'] in r['instruction']
        if r['positions']: assert len(r['positions']) == len(r['options'])
        if r['level'] == 'group': assert np.isclose(sum(r['target']), 1) and len(r['target']) == len(r['options'])
        plain = r['instruction'].replace('JSON', '').replace('predict', '').replace('option', '')
        assert not (lang == 'zh' and re.search('[A-Za-z]{4}', plain))    # no English left in a Chinese prompt


@pytest.mark.parametrize('lang', ['en', 'zh'])
@pytest.mark.parametrize('background', ['survey', 'frame', None])
def test_interview_tasks(town, tmp_path, lang, background):
    frame = pd.DataFrame(dict(respondent_id=[f'p{i}' for i in range(1, 7)], age=[34., 71, 22, None, 58, 27],
        travels=[['car'], ['foot', 'bus'], ['bus'], [], None, ['none']]))
    talks = talks_in(lang, dict(survey=town, frame=frame).get(background))
    same_from_file(talks.records('interview', lang=lang, verbose=False), tmp_path)
    if background is None:
        with pytest.raises(ValueError, match="none of the benchmark's attributes"): talks.records('role')
        return
    role = talks.records('role', attributes=None if background == 'survey' else dict(age='integer', travels='any_overlap'), lang=lang, verbose=False)
    same_from_file(role, tmp_path)
    if background == 'frame':
        got = {(r['respondent_id'], r['question_id']): r for r in role}
        age, travels = got['p1', 'age'], got['p2', 'travels']
        assert len(role) == 9 and travels['output'] == "['foot', 'bus']" and travels['answer'] == 'foot、bus' and travels['answer_index'] is None
        assert age['output'] == "['34']" and age['options'] is None and travels['options'] == ['bus', 'car', 'foot', 'none']
        background = {r['respondent_id']: r['background'] for r in talks.records('interview', lang=lang, verbose=False)}
        assert background['p1'] == "{'age': 34, 'travels': ['car']}" and background['p4'] == '{}'


def test_tasks_share_people_and_not_ids(town):
    made = [town.records(t, verbose=False) for t in ('role', 'interview', 'stance', 'response')]
    made.append(talks_in('en', town).records('interview', verbose=False))
    ids = [i for m in made for i in m['record_id']]
    assert len(ids) == len(set(ids)) and len({(s, r) for m in made for s, r in zip(m['source'], m['respondent_id'])}) == 6
    with pytest.raises(ValueError, match='is in both'): check_leakage(dict(train=made[0], test=made[4]))


# --- What a prompt shows

def test_role_never_shows_what_it_asks_for(gss):
    for r in gss.records('role', items=['natsci', 'natroad'], respondents=60, verbose=False):
        asked = gss.codebook.background[r['question_id']]
        assert asked.question['en'] not in r['instruction'].replace(f'"{r["question"]}"', '')
        assert r['output'][2:-2] not in r['history'] and r['groups'][r['question_id']] == r['answer']
        for o in r['options']: assert o in r['instruction']


def test_interview_shows_only_what_was_said_before(gss):
    items = ['natroad', 'natsci', 'natpark', 'natsoc']
    answers = {r['record_id'].split('/', 1)[1]: r['answer'] for r in gss.records(items=items, respondents=80, verbose=False)}
    for r in gss.records('interview', items=items, respondents=80, verbose=False):
        before = [f"{r['respondent_id']}/{i}" for i in items[:items.index(r['question_id'])]]
        assert re.findall('Answer: (.*)', r['history']) == [answers[b] for b in before if b in answers]
        assert find_options(r['instruction']) == r['options'] and r['background'] in r['instruction']


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from('QA'), min_size=2, max_size=9), st.integers(1, 6))
def test_max_turns_keeps_the_last(speakers, n):
    turns = dict(respondent_id='x', turn=range(len(speakers)), speaker=speakers, text=[f'w{i}' for i in range(len(speakers))])
    talks = Interviews.load(pd.DataFrame(turns), verbose=False)
    if not any(a + b == 'QA' for a, b in zip(speakers, speakers[1:])): return
    full, cut = (talks.records('interview', max_turns=m, verbose=False) for m in (None, n))
    for a, b in zip(full, cut):
        assert b['history'].splitlines() == a['history'].splitlines()[-n:] and (a['output'], a['question']) == (b['output'], b['question'])


def test_what_was_cut_is_said(gss, capsys):
    talks = talks_in('en')
    talks.records('interview', max_turns=3)
    assert 'show their last 3 turns at most: 6 records lost 6 earlier turns' in capsys.readouterr().out
    gss.records('role', items=['natsci', 'natroad'], attributes=['sex'], respondents=50, max_turns=2)
    assert re.search(r'show their last 2 turns at most: \d+ records lost', capsys.readouterr().out)


# --- Stances

def book(**q):
    items = {n: Question.read(n, dict(scale='ordinal', options={i: f'o{i}' for i in range(1, 6)}, **q), 's.yaml') for n in 'ab'}
    return Survey(pd.DataFrame(dict(a=[1, 2, 3, 4, 5, 5], b=[5, 4, 3, 2, 1, 1])), Codebook('s', items, path='s.yaml'))


def test_five_stances_have_one_order():
    five = ['far against', 'against', 'neither', 'for', 'far for']
    made = book().records('stance', stances=dict(a=dict(zip(range(1, 6), five)), b=dict(zip(range(5, 0, -1), five))), verbose=False).to_pandas()
    assert {tuple(o) for o in made.options} == {tuple(five)} and made.groupby('respondent_id').answer.nunique().eq(1).all()


def test_thirds_are_asked_for_and_named_so():
    survey = book(stances={1: 'negative', 2: 'negative', 3: None, 4: 'positive', 5: 'positive'})
    made = survey.records('stance', stances='thirds', items=['a'], verbose=False)
    assert made['answer'] == ['low', 'low', 'middle', 'high', 'high', 'high'] and '"o1", low, to "o5", high' in made[0]['instruction']


def test_stances_are_never_invented(gss):
    with pytest.raises(ValueError, match="s.yaml: no item declares stances"): book().records('stance')
    with pytest.raises(ValueError, match="s.yaml: 'a' declares no stances: add them"): book().records('stance', items=['a'])
    lrscale = Survey.load('ess10no')
    assert 'lrscale' not in set(lrscale.records('stance', respondents=50, verbose=False)['question_id'])
    with pytest.raises(ValueError, match="eu_vote' is nominal, so it has no thirds"): lrscale.records('stance', stances='thirds', items=['eu_vote'])


@pytest.mark.parametrize('stances, said', [({1: 'a'}, "stances: option 2 has none"), ({i: 'a' for i in range(1, 6)}, 'declare at least two'),
    ({9: 'a'}, 'code 9 is not an option'), ('thirds', "map each option's code")])
def test_codebook_stances(stances, said):
    with pytest.raises(ValueError, match=f"s.yaml: 'a': {said}|s.yaml: 'a': stances.*{said}"): book(stances=stances)


def test_codebook_with_stances_comes_back(gss, town, tmp_path):
    for survey in gss, town, Survey.load('ess10no'):
        survey.codebook.save(tmp_path/'c.yaml', overwrite=True)
        stances = lambda book: {n: (q.stances, q.issue) for n, q in book.items.items()}
        assert stances(Codebook.load(tmp_path/'c.yaml')) == stances(survey.codebook)


def test_stances_of_the_bundled_spending_items(gss):
    response, stance = (gss.records(t, level='group', by='degree', verbose=False).to_pandas() for t in ('response', 'stance'))
    assert set(response.options.map(tuple)) == {('too little', 'about the right amount', 'too much')}
    assert set(stance.options.map(tuple)) == {tuple(STANCE_SCALES['en'])}
    assert (np.stack(response.target) == np.stack(stance.target)).all()


@pytest.mark.parametrize('task', ['response', 'stance'])
@pytest.mark.parametrize('form', SHARE_FORMS)
def test_group_answers_follow_the_order(gss, task, form):
    made = gss.records(task, level='group', by='sex', items=['natsci'], answer_form=form, verbose=False)
    for a, b in zip(made, reorder(made, 'reverse')):
        assert b['options'] == a['options'][::-1] and b['target'] == a['target'][::-1] and find_options(b['instruction']) == b['options']
        assert b['output'] == share_text(b['options'], b['target'], form)
        if form != 'shares':
            told = {k: float(str(v).rstrip('%'))/(100 if form == 'json_percent' else 1) for k, v in json.loads(b['output']).items()}
            assert told == pytest.approx(dict(zip(b['options'], b['target'])), abs=.01)


# --- Foundation

def test_foundation_repeats_no_text_and_keeps_people(gss):
    twins = Survey(gss.frame.iloc[[0, 0, 1]].assign(id=[1, 2, 3]).reset_index(drop=True), gss.codebook)
    made, left = foundation([twins, twins], kind='quantitative', items=['natroad', 'natsci'], verbose=False)
    once = twins.records(items=['natroad', 'natsci'], verbose=False)
    assert sorted(made['record_id']) == sorted(once['record_id']) and left.set_index('why').n['said before in the corpus'] == len(once)
    talks = talks_in('en')
    made, left = foundation([talks, Interviews('copy', talks.turns, talks.people)], verbose=False)
    assert len(made) == 18 and left.n.sum() == 18 and set(made['instruction']) == {NEXT_TURN['en']}


def test_foundation_leaves_a_test_out(town):
    talks = talks_in('en', town)
    test = split_records(town.records(verbose=False), test=.4)['test']
    for made, left in (foundation(talks, leave_out=test, verbose=False), foundation(town, kind='quantitative', leave_out=test, verbose=False)):
        assert not set(made['respondent_id']) & set(test['respondent_id']) and left.set_index('why').n['respondent is in leave_out'] > 0
    with pytest.raises(ValueError, match='no qualitative records are left: 18 shorter than 10000 characters'): foundation(talks, min_chars=10_000)


# --- Hostile input

GOOD = [dict(respondent_id='a', turn=1, speaker='Q', text='Why?'), dict(respondent_id='a', turn=2, speaker='A', text='So.')]


@pytest.mark.parametrize('text, said', [('[{"respondent_id": "a"', 'x.json: line 1: is not valid JSON'), ('[]', 'x.json: holds nothing'),
    ('[3]', 'x.json: record 1 is not an object'), ('[{"respondent_id": "a", "turns": "hello"}]', "x.json: record 1, field 'turns': is not a list"),
    ('[{"respondent_id": "a", "turn": 1, "speaker": "Q"}]', "x.json: has no field 'text'"),
    (json.dumps([GOOD[0], {**GOOD[1], 'speaker': 'Ann'}]), "x.json: record 2, field 'speaker': 'Ann' is neither"),
    (json.dumps([GOOD[0], {**GOOD[1], 'turn': 'two'}]), "record 2, field 'turn': 'two' is not a number"),
    (json.dumps([GOOD[0], {**GOOD[1], 'text': '  '}]), "record 2, field 'text': '  ' is no text"),
    (json.dumps([GOOD[0], {**GOOD[1], 'text': ['x']}]), "record 2, field 'text'"),
    (json.dumps([GOOD[0], {**GOOD[1], 'respondent_id': None}]), "record 2, field 'respondent_id': is empty"),
    (json.dumps([GOOD[0], GOOD[0]]), "record 2, field 'turn': 1 stands twice")])
def test_turns_one_sentence(tmp_path, text, said):
    (tmp_path/'x.json').write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)) as e: Interviews.load(tmp_path/'x.json')
    assert '\n' not in str(e.value)


def test_files_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such file'): Interviews.load(tmp_path/'none.csv')
    (tmp_path/'x.jsonl').write_text(json.dumps(GOOD[0]) + '\n{oops\n')
    with pytest.raises(ValueError, match='x.jsonl: line 2: is not valid JSON'): Interviews.load(tmp_path/'x.jsonl')
    (tmp_path/'x.csv').write_text('respondent_id,turn,speaker,text\n1,1,Q,Why?\n1,2,A,\n')
    with pytest.raises(ValueError, match="x.csv: row 3, field 'text': is empty"): Interviews.load(tmp_path/'x.csv')
    (tmp_path/'p.csv').write_text('respondent_id,sex\na,f\na,m\n')
    with pytest.raises(ValueError, match="p.csv: respondent 'a' stands twice"): Interviews.load(pd.DataFrame(GOOD), tmp_path/'p.csv')
    (tmp_path/'p.csv').write_text('who,sex\na,f\n')
    with pytest.raises(ValueError, match="p.csv: has no column 'respondent_id'"): Interviews.load(pd.DataFrame(GOOD), tmp_path/'p.csv')


def test_calls_one_sentence(town):
    for call, said in [(lambda: town.records('role', level='group', by='sex'), "task 'role' at level 'group' is not known"),
        (lambda: town.records('stance', attributes=['sex']), 'attributes says nothing to the stance task'),
        (lambda: town.records('stance', stances=dict(moon={1: 'a'})), "no item with options 'moon'"),
        (lambda: town.records('role', max_turns='all'), "max_turns is 'all'"),
        (lambda: town.records('role', lang='fr'), "lang is 'fr'"), (lambda: town.records('interview', answer_form='json'), "answer_form is 'json'"),
        (lambda: foundation(town, kind='other'), "kind is 'other'"),
        (lambda: talks_in('en', town).records('role', attributes=dict(sex='nearly')), "has the rule 'nearly'")]:
        with pytest.raises(ValueError, match=re.escape(said)): call()


def test_values_outside_brackets():
    assert split_values('教育支出（学费、教辅等）、交通') == ['教育支出（学费、教辅等）', '交通']
    assert split_values("['a', 'b；c']") == ['a', 'b；c'] and split_values(3.0) == ['3']
    assert split_values('food (at home; away); rent') == ['food (at home; away)', 'rent']


# --- The benchmark's own prompts (Lin et al. 2025), where its example files are at hand

TOPIC = dict(zh='民众对共同富裕可感可知')


def test_published_role(reference):
    rows = json.loads((reference/'task1_role.json').read_text())
    turns, people = [], {}
    for r in rows:
        said = r['instruction'].split('==访谈对话==\n')[1].split('\n\n请根据')[0]
        for i, m in enumerate(re.finditer(r'(采访者|受访者)：(.*?)(?=\n采访者：|\n受访者：|\Z)', said, re.S)):
            turns.append(dict(respondent_id=r['id'], section=r['question_key'], turn=i, speaker=m[1], text=m[2]))
        people[r['id']] = dict(respondent_id=r['id'], 家庭年收入=r['output'])
    turns = [t for t in turns if t['text'].strip()]    # some published turns are empty
    values = re.search('可选值：(.*)。', rows[0]['instruction'])[1].split('、')
    talks = Interviews.load(pd.DataFrame(turns), pd.DataFrame(people.values()), topic=TOPIC, verbose=False)
    asked = dict(家庭年收入=dict(rule=RULES['家庭年收入'], values=values))
    made = {(r['respondent_id'], r['record_id'].split('/')[2]): r for r in talks.records('role', attributes=asked, lang='zh', verbose=False)}
    whole = [r for r in rows if not re.search('(?:采访者|受访者)：\\s*\n', r['instruction'])]
    same = [all(made[str(r['id']), r['question_key']][k] == r[k] for k in ('instruction', 'output')) for r in whole]
    assert len(same) > 100 and all(same)


def test_published_interview(reference):
    words = INTERVIEW.wordings['zh']
    for r in json.loads((reference/'task2_interview.json').read_text()):
        form = r'.*?==你的背景==\n(.*?)\n\n==先前对话==\n(.*?)\n\n==当前问题==\n(.*?)\n\n请输出你的回答：\n'
        background, history, question = re.fullmatch(form, r['instruction'], re.S).groups()
        assert words.begin(topic=about_topic(TOPIC, 'zh'), background=background, history=history) + words.ask(question) == r['instruction']


def test_published_stance(reference):
    for r in json.loads((reference/'task3_stance.json').read_text()):
        assert r['instruction'].startswith(STANCE.wordings['zh'].begin())
        assert r['instruction'].endswith('predict字段从"积极"、"消极"或"中立"中选择。')
        assert list(json.loads(r['output']))[0] == 'predict'
