"What a user met with files of their own: a corrected codebook on the command line, columns that are no item, remedies as they are typed."
import numpy as np
import pandas as pd
import pyreadstat
import pytest

from alignsurvey.study.file import read_study
from alignsurvey.records.splits import split_records
from alignsurvey.surveys import Codebook, Metadata, Variable, guess_roles, is_background
from alignsurvey.surveys.codebook import unread_parts
from alignsurvey.surveys.qualtrics import unfit_responses
from alignsurvey.surveys.survey import draft_codebook_of
from alignsurvey.tasks import Survey

BOOK = """id: mood
source: City panel
citation: Panel, A. (2024)
respondent_id: id
background: {age: {question: age, scale: numeric}}
items: {mood: {question: 'How are you?', scale: ordinal, options: {1: well, 2: badly}}}
"""


@pytest.fixture
def mood(tmp_path):
    "A survey of twelve with a codebook.xlsx beside it, and the same codebook as other.yaml."
    pd.DataFrame(dict(id=range(12), mood=[1, 2]*6, age=range(30, 42))).to_csv(tmp_path/'mood.csv', index=False)
    (tmp_path/'other.yaml').write_text(BOOK)
    Codebook.load(tmp_path/'other.yaml').save(tmp_path/'codebook.xlsx')
    return tmp_path


# --- The codebook that a user corrected

def test_a_spreadsheet_beside_the_data_is_its_codebook(mood):
    assert Survey.load(mood/'mood.csv').codebook.about['source'] == 'City panel'


def test_a_spreadsheet_beside_labelled_data_is_not_passed_over(mood):
    pyreadstat.write_sav(pd.read_csv(mood/'mood.csv'), mood/'mood.sav')
    assert Survey.load(mood/'mood.sav').codebook.about['source'] == 'City panel'


def test_two_codebooks_beside_the_data_are_refused_by_name(mood):
    (mood/'other.yaml').rename(mood/'codebook.yaml')
    with pytest.raises(ValueError, match='codebook.yaml and codebook.xlsx'):
        Survey.load(mood/'mood.csv')
    assert Survey.load(mood/'mood.csv', mood/'codebook.yaml').codebook.id == 'mood'


def test_an_archives_own_codebook_xlsx_is_left_alone(mood):
    pd.DataFrame(dict(Variable=['mood'], Meaning=['How are you?'])).to_excel(mood/'codebook.xlsx', index=False)
    (mood/'other.yaml').rename(mood/'codebook.yaml')
    assert Survey.load(mood/'mood.csv').codebook.id == 'mood'


def test_every_command_that_takes_a_survey_takes_its_codebook(cli, mood):
    (mood/'codebook.xlsx').rename(mood/'mine.xlsx')
    steps = [['convert', 'mood.csv', 'r.jsonl', '--codebook', 'mine.xlsx', '--task', 'response'],
        ['split', 'r.jsonl', 's', '--test', .5]]
    for step in steps:
        code, _, err = cli(*step, cwd=mood)
        assert code == 0, err
    test = pd.read_json(mood/'s'/'test.jsonl', lines=True)
    test.assign(probs=[[.5, .5]]*len(test), status='ok')[['record_id', 'probs', 'status']].to_json(mood/'p.jsonl', orient='records', lines=True)
    of = ['--survey', 'mood.csv', '--codebook', 'mine.xlsx']
    scored = ['evaluate', '--records', 's/test.jsonl', '--predictions', 'p.jsonl', '--n-boot', 100]
    code, _, err = cli(*scored, *of, cwd=mood)
    assert code == 0, err
    code, _, err = cli('report', '--scores', 'scores.csv', '--records', 's/test.jsonl', *of, cwd=mood)
    assert code == 0, err
    assert 'Panel, A. (2024)' in (mood/'report.html').read_text(encoding='utf-8')
    code, _, err = cli(*scored, '--out', 'b.csv', '--codebook', 'mine.xlsx', cwd=mood)
    assert code == 2 and '--codebook goes with --survey' in err


def test_a_new_study_names_the_codebook_it_was_given(cli, mood):
    (mood/'sub').mkdir()
    code, _, err = cli('new', 'mood.csv', 'sub/study.yaml', '--codebook', 'other.yaml', cwd=mood)
    assert code == 0, err
    assert read_study(mood/'sub'/'study.yaml')['codebook'] == '../other.yaml'


def test_a_study_is_planned_with_the_spreadsheet_beside_its_data(cli, mood):
    code, _, err = cli('new', 'mood.csv', cwd=mood)
    assert code == 0, err
    from alignsurvey.study.study import Study, data_files
    study = Study.load(mood/'study.yaml')
    assert [f.name for f in data_files(study)] == ['mood.csv', 'codebook.xlsx']


def test_sheets_are_known_by_what_stands_in_them(mood):
    sheets = pd.read_excel(mood/'codebook.xlsx', sheet_name=None, dtype=str, keep_default_na=False)

    def saved(title):
        with pd.ExcelWriter(mood/'codebook.xlsx') as out:
            for name, table in sheets.items():
                table.to_excel(out, sheet_name=title if name == 'lists' else name, index=False)

    saved('Lists ')
    assert Survey.load(mood/'mood.csv').codebook.id == 'mood'
    saved('Listen')
    with pytest.raises(ValueError, match="codebook.xlsx: has no sheet 'lists'.*'Listen'"):
        Survey.load(mood/'mood.csv', mood/'codebook.xlsx')


def test_the_benchmark_asks_with_the_codebooks_it_was_given(mood):
    from alignsurvey.cli.benchmark_run import benchmark_settings, write_studies
    (mood/'codebook.xlsx').unlink()
    settings = benchmark_settings([mood/'mood.csv'], codebooks=[mood/'other.yaml'], quick=True)
    for one in write_studies(mood/'bench', settings):
        assert read_study(one.path)['codebook'] == str(mood/'other.yaml')
    with pytest.raises(ValueError, match='--codebook is given 1 times for 2 surveys'):
        benchmark_settings(['a.csv', 'b.csv'], codebooks=['c.yaml'])


# --- Which column is what

def labelled(frame, **said):
    "Roles of a frame whose columns bear labels."
    return guess_roles(frame, Metadata('said', {c: Variable(c, {'en': text}) for c, text in said.items()}))


def only(roles, *which):
    return {c for c, (role, _, _) in roles.items() if role in which}


def unsure(roles):
    return [c for c, (_, _, sure) in roles.items() if not sure]


@pytest.mark.parametrize('label', ['Q2. Gender', 'Q2: Gender', '2) Gender', '[Q2] Gender', 'Q2 Gender', 'D1 - Gender', 'q2_1. Gender'])
def test_a_question_number_does_not_hide_the_background(label):
    assert is_background('Q2', label)


@pytest.mark.parametrize('label', ['Q2. Spending on education', 'Q3. Trust between races', '3. Agree'])
def test_a_question_number_makes_nothing_background(label):
    assert not is_background('Q2', label)


def test_a_forms_group_does_not_hide_the_background():
    n = 30
    frame = pd.DataFrame({'start': ['2023-03-01']*n, 'demo/age': range(20, 50), 'demo/sex': ['male', 'female']*15, 'needs': ['food water', 'water', 'food']*10,
        'needs/food': [1, 0, 1]*10, 'needs/children': [1, 1, 0]*10, 'sat': [1, 2, 3]*10})
    roles = guess_roles(frame)
    assert only(roles, 'background') == {'demo/age', 'demo/sex'} and unsure(roles) == []
    assert roles['needs'][0] == 'ignore' and {'needs/food', 'needs/children'} <= only(roles, 'item')
    dashed = guess_roles(frame.rename(columns=lambda c: c.replace('demo/', 'demo-').replace('sat', 'demo-sat')))
    assert only(dashed, 'background') == {'demo-age', 'demo-sex'}


def test_a_draft_says_that_nobody_has_a_background(cli, tmp_path):
    pd.DataFrame({'id': range(30), 'q': [1, 2, 3]*10}).to_csv(tmp_path/'s.csv', index=False)
    code, out, err = cli('codebook', 's.csv', cwd=tmp_path)
    assert code == 0 and 'no background variable was found' in out, err


def test_the_design_of_nhanes_is_its_design():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({'SEQN': range(100, 160), 'SDMVPSU': rng.integers(1, 3, 60), 'SDMVSTRA': rng.integers(75, 90, 60), 'WTMEC2YR': rng.gamma(4, 9000, 60),
        'WTINT2YR': rng.gamma(4, 9000, 60), 'prob': rng.uniform(.0001, .001, 60), 'HI_CHOL': rng.integers(0, 2, 60)})
    roles = guess_roles(frame)
    assert {c: roles[c][0] for c in frame} == dict(SEQN='respondent_id', SDMVPSU='psu', SDMVSTRA='stratum', WTMEC2YR='weight', WTINT2YR='spare_weight',
        prob='paradata', HI_CHOL='item')


def test_profiles_of_a_conjoint_are_nobodys_own():
    rng = np.random.default_rng(0)
    frame = {'resp': range(1, 61), 'age': rng.integers(18, 80, 60)}
    for t in (1, 2, 3):
        for p in (1, 2):
            frame |= {f'sex_{t}_{p}': rng.choice(['Male', 'Female'], 60), f'party_{t}_{p}': rng.choice(['D', 'R'], 60)}
        frame[f'choice_{t}'] = rng.integers(1, 3, 60)
    roles = guess_roles(pd.DataFrame(frame))
    assert only(roles, 'background') == {'age'}
    assert unsure(roles) == ['sex_1_1', 'party_1_1'] and 'conjoint' in roles['sex_1_1'][1]
    battery = guess_roles(pd.DataFrame({f'Q{q}_{i}_{j}': rng.integers(1, 6, 60) for q in (3, 4) for i in (1, 2) for j in (1, 2)}))
    assert unsure(battery) == []


@pytest.fixture
def panel():
    rng = np.random.default_rng(0)
    return pd.DataFrame({'pid': range(100, 160), 'trust_w1': rng.integers(1, 4, 60), 'trust_w2': rng.integers(1, 4, 60), 'vote_w1': ['l', 'r']*30, 'vote_w2': ['l', 'r']*30,
        'weight_w1': rng.gamma(5, .2, 60), 'weight_w2': rng.gamma(5, .2, 60)})


def test_a_question_of_two_waves_is_one_family(panel):
    book = Codebook.draft(panel, id='panel')
    assert {name: q.family for name, q in book.items.items()} == dict(trust_w1='trust', trust_w2='trust', vote_w1='vote', vote_w2='vote')
    split = split_records(Survey(panel, book).records(verbose=False), by='item', test=.5)
    asked = [{name[:-3] for name in part.unique('question_id')} for part in split.values()]
    assert not asked[0] & asked[1]
    assert Codebook.draft(pd.DataFrame({'id': range(4), 'q_1': [1, 2, 1, 2], 'q_2': [1, 2, 1, 2]})).items['q_1'].family == 'q_1'


def test_a_weight_of_one_wave_is_doubted(panel):
    role, why, sure = guess_roles(panel)['weight_w1']
    assert role == 'weight' and not sure and 'of wave w1' in why and 'w2' in why
    assert unsure(guess_roles(panel.drop(columns='weight_w2'))) == ['weight_w1']
    assert unsure(guess_roles(panel[['pid', 'trust_w1', 'weight_w1']])) == []


def test_ids_and_weights_need_no_language():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({'zaufanie': rng.integers(1, 5, 60), 'nr': np.arange(1, 61), 'wiek': rng.integers(18, 90, 60), 'plec': rng.integers(1, 3, 60),
        'obciazenie': rng.gamma(5, .2, 60).round(3), 'godziny': rng.integers(0, 9, 60)})
    frame.obciazenie /= frame.obciazenie.mean()
    roles = labelled(frame, nr='Numer respondenta', wiek='Wiek', plec='Płeć')
    assert roles['nr'][0] == 'respondent_id' and roles['obciazenie'][0] == 'weight' and unsure(roles) == ['obciazenie']
    assert only(roles, 'background') == {'wiek', 'plec'}
    roles = guess_roles(frame.assign(weight=1.5))
    assert roles['obciazenie'][0] == 'item'


def test_what_redcap_and_qualtrics_add_is_not_asked():
    frame = pd.DataFrame({'record_id': range(1, 31), 'redcap_event_name': ['a', 'b']*15, 'phq1': [0, 1, 2]*10, 'survey_complete': [0, 1, 2]*10, 'Complete?': ['Incomplete', 'Complete']*15,
        'URLID': range(7001, 7031), 'uid': range(501, 531), 'plz': [f'0{i}' for i in range(1067, 1097)]})
    roles = guess_roles(frame)
    assert only(roles, 'item') == {'phq1'} and only(roles, 'background') == set() and unsure(roles) == []
    assert guess_roles(frame[['phq1', 'survey_complete']].assign(age=range(30)))['survey_complete'][0] == 'item'
    n = dict(Q6='How likely are you?', Q6_NPS_GROUP='How likely - Group', SC0='Score', Q7_DO_1='Q7 - Display Order', SC1='I often doubt myself')
    frame = pd.DataFrame({c: [1, 2, 3]*10 for c in n} | {'things_to_DO': [1, 2, 3]*10})
    assert only(labelled(frame, **n), 'item') == {'Q6', 'SC1', 'things_to_DO'}
    told = guess_roles(pd.DataFrame({'Q5': ['TV,Radio', 'TV', 'Radio,Internet', 'TV,Radio,Internet', 'Internet']*6, 'Q8': ['Yes, often', 'Yes', 'No', 'No, never', 'No, often']*6}))
    assert unsure(told) == ['Q5'] and 'several answers' in told['Q5'][1]


# --- Remedies as they are typed

def test_interviews_of_ones_own_become_records(cli, tmp_path):
    said = [('interviewer', 'How do you travel?'), ('respondent', 'By bus, mostly.')]
    pd.DataFrame([dict(respondent_id=p, turn=i, speaker=s, text=t) for p in 'ab' for i, (s, t) in enumerate(said, 1)]).to_csv(tmp_path/'turns.csv', index=False)
    (tmp_path/'people.csv').write_text('respondent_id,age\na,30\nb,40\n')
    for people in 'people.csv', 'turns.csv':
        code, _, err = cli('convert', people, f'{people}.jsonl', '--task', 'interview', '--turns', 'turns.csv', cwd=tmp_path)
        assert code == 0, err
        made = pd.read_json(tmp_path/f'{people}.jsonl', lines=True)
        assert list(made.output) == ['By bus, mostly.']*2
    assert "{'age': 30}" in pd.read_json(tmp_path/'people.csv.jsonl', lines=True).instruction[0]
    code, _, err = cli('convert', 'people.csv', 'o.jsonl', '--task', 'response', '--turns', 'turns.csv', cwd=tmp_path)
    assert code == 2 and 'interview' in err
    code, _, err = cli('convert', 'people.csv', 'o.jsonl', '--task', 'role', '--turns', 'turns.csv', '--where', 'age=30', cwd=tmp_path)
    assert code == 2 and '--where' in err and 'codebook' in err


def test_closed_questions_as_a_dialogue_are_announced(cli, mood):
    code, _, err = cli('convert', 'mood.csv', 'o.jsonl', '--task', 'interview', cwd=mood)
    assert code == 0 and '--turns' in err


def test_a_heading_further_down_is_named(cli, tmp_path):
    (tmp_path/'staff.csv').write_text('Survey of staff 2024 - confidential,,,\n,,,\nID,Dept,Satisfied?,Score\n1,HR,yes,3\n2,IT,no,5\n3,IT,yes,4\n')
    code, _, err = cli('codebook', 'staff.csv', cwd=tmp_path)
    assert code == 2 and "looks like the heading: delete the rows above it" in err and 'ID, Dept, Satisfied?' in err, err
    (tmp_path/'r.csv').write_text(',q,\n1,2,\n2,1,\n')    # row numbers and an empty column
    assert cli('codebook', 'r.csv', 'r.yaml', cwd=tmp_path)[0] == 0


def test_a_label_that_is_the_name_can_be_decided(tmp_path):
    frame = pd.DataFrame(dict(id=range(12), GENDER=[1, 2]*6, TRUST=[1, 2, 3]*4))
    pyreadstat.write_sav(frame, tmp_path/'s.sav', column_labels=['id', 'Gender', 'Trust'], variable_value_labels=dict(
        GENDER={1: 'Man', 2: 'Woman'}, TRUST={1: 'no trust', 2: 'some trust', 3: 'full trust'}))
    draft = draft_codebook_of(tmp_path/'s.sav')
    assert draft.doubts['TRUST'] == ['question'] and 'GENDER' not in draft.doubts
    draft.save(tmp_path/'codebook.xlsx')
    sheets = pd.read_excel(tmp_path/'codebook.xlsx', sheet_name=None, dtype=str, keep_default_na=False)
    assert dict(zip(sheets['questions'].name, sheets['questions'].check))['TRUST'] == 'question'
    with pd.ExcelWriter(tmp_path/'codebook.xlsx') as out:
        for name, table in sheets.items():
            table.assign(**{c: '' for c in ('check', 'guessed') if c in table}).to_excel(out, sheet_name=name, index=False)
    assert len(Survey.load(tmp_path/'s.sav').records(strict=True, verbose=False)) == 12


def test_unread_wordings_are_still_refused():
    frame = pd.DataFrame(dict(id=range(6), age=range(30, 36), mood=[1, 2]*3))
    said = unread_parts(Codebook.draft(frame))
    assert "the wording of 'age' is its name" in said and "the wording of 'mood' is its name" in said


def test_remedies_can_be_typed(cli, mood):
    cli('convert', 'mood.csv', 'r.jsonl', '--answer-form', 'text', cwd=mood)
    test = pd.read_json(mood/'r.jsonl', lines=True)
    test.assign(probs=[[.5, .5]]*len(test), status='ok')[['record_id', 'probs', 'status']].to_json(mood/'p.jsonl', orient='records', lines=True)
    code, _, err = cli('evaluate', '--records', 'r.jsonl', '--predictions', 'p.jsonl', '--train', 'r.jsonl', cwd=mood)
    assert code == 2 and 'split again' in err and '(' not in err.partition('split again')[2], err


def test_qualtrics_rows_that_are_no_answers_are_told_with_a_remedy_to_type():
    frame = pd.DataFrame(dict(Status=['IP Address', 'Survey Preview', 'IP Address'], Finished=['True', 'True', 'False']))
    said = unfit_responses(frame)
    assert '--where "Status=IP Address"' in said[0] and '1 rows' in said[1] and '--where Finished=True' in said[1]


def test_scores_fit_the_terminal(cli, mood):
    cli('convert', 'mood.csv', 'r.jsonl', '--answer-form', 'text', cwd=mood)
    test = pd.read_json(mood/'r.jsonl', lines=True)
    test.assign(probs=[[.5, .5]]*len(test), status='ok')[['record_id', 'probs', 'status']].to_json(mood/'p.jsonl', orient='records', lines=True)
    code, out, err = cli('evaluate', '--records', 'r.jsonl', '--predictions', 'p.jsonl', '--n-boot', 100, cwd=mood, COLUMNS='80')
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
