"What a user met with files of their own: a corrected codebook on the command line, columns that are no item, remedies as they are typed."
import pandas as pd
import pyreadstat
import pytest

from alignsurvey.study.file import read_study
from alignsurvey.surveys import Codebook
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
