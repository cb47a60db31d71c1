"Ids, groups, formats and frames that look alike or stand twice: told, or taken for the same."
import numpy as np
import pandas as pd
import pytest
import yaml
from datasets import DatasetDict

from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.reading import make_records
from alignsurvey.records.splits import check_leakage, split_records
from alignsurvey.surveys.codebook import read_codebook
from alignsurvey.tasks.registry import Survey

ITEM = dict(question=dict(en='Roads?'), scale='nominal', options={1: 'yes', 2: 'no'})


def some(people, mark, **more):
    "A record of each person; what else it holds, for all or by the person's number."
    return make_records([dict(record_id=f'{mark}{i}', source='s', respondent_id=who, question_id='q', instruction='Q?', options=['a', 'b'], answer_index=0,
        output='a', answer_form='text', **{k: v[i] if isinstance(v, list) else v for k, v in more.items()}) for i, who in enumerate(people)])


def test_a_group_is_the_same_where_another_record_has_none():
    train = some(['1', '9'], 'a', groups=[dict(region=1), dict(region=None)])
    with pytest.raises(ValueError, match="region '1' is in both train and test"):
        check_leakage(DatasetDict(train=train, test=some(['3'], 'b', groups=dict(region=1))), 'region')


@pytest.mark.parametrize('one, other', [(' 1', '1'), ('\u00e9', 'e\u0301')])
def test_an_id_is_the_same_with_blanks_around_it_and_in_either_normal_form(one, other):
    with pytest.raises(ValueError, match='is in both train and test'):
        check_leakage(DatasetDict(train=some([one], 'a'), test=some([other], 'b')))


def test_psu_that_are_numbered_anew_in_each_stratum_are_several():
    strata, psu = [str(s) for s in range(20) for _ in range(4)], [str(p) for _ in range(20) for p in (1, 1, 2, 2)]
    parts = split_records(some([str(i) for i in range(80)], 'r', stratum=strata, psu=psu), by='psu', test=.2)
    units = {name: set(zip(part['stratum'], part['psu'])) for name, part in parts.items()}
    assert len(units['test']) == 8 and not units['test'] & units['train']


def test_a_split_by_nothing_says_what_there_is():
    with pytest.raises(ValueError, match='by is empty: name what is to be new in test: respondent'):
        split_records(some(['1', '2'], 'a'), by=[])


@pytest.mark.parametrize('kind', ['pandas', 'numpy', 'arrow'])
def test_records_in_a_format_of_their_own_are_refused_with_the_remedy(kind):
    with pytest.raises(ValueError, match=rf'have the format {kind}: pass \w+.with_format\(None\)'):
        evaluate(some(['1', '2'], 'a').with_format(kind), {})


@pytest.mark.parametrize('ids', [[1, '1'], [1.0, '1']])
def test_two_ids_of_one_spelling_are_one_respondent(ids):
    frame = pd.DataFrame(dict(id=pd.Series(ids, dtype=object), q=[1, 2]))
    with pytest.raises(ValueError, match='stands twice as respondent id'):
        Survey(frame, read_codebook(dict(id='t', respondent_id='id', items=dict(q=ITEM)), 't.yaml')).records('response', verbose=False)


def test_a_column_that_stands_twice_is_named():
    frame = pd.DataFrame([[1, 2, 1]], columns=['id', 'q', 'q'])
    with pytest.raises(ValueError, match="has the column 'q' twice: keep one"):
        Survey(frame, read_codebook(dict(id='t', respondent_id='id', items=dict(q=ITEM)), 't.yaml')).records('response', verbose=False)


DAYS, DATES = pd.to_timedelta([3, 4], unit='D'), pd.to_datetime(['1980-05-01', '1999-12-31'])

@pytest.mark.parametrize('column, from_file', [(DAYS, True), (DATES, True), (DAYS, False), (DATES, False), (pd.period_range('1980-05', periods=2, freq='M'), False)])
def test_times_are_told_as_no_number(column, from_file, tmp_path):
    spec = dict(id='t', items=dict(q=ITEM), background=dict(born=dict(question=dict(en='Born'), scale='numeric')))
    frame, book = pd.DataFrame(dict(born=column, q=[1, 2])), read_codebook(spec, 't.yaml')
    with pytest.raises(ValueError, match='is not a number|can.t be read'):
        if from_file:
            frame.to_parquet(tmp_path/'s.parquet')
        (Survey.load(tmp_path/'s.parquet', codebook=book) if from_file else Survey(frame, book)).records('response', verbose=False)


def test_predictions_that_cannot_be_read_are_told():
    records = some(['1', '2'], 'a')
    said = pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[dict(a=.5, b=.5)]*2, value=[0, 1], elicitation='score', coverage=1.))
    with pytest.raises(ValueError, match='has probs by option: give them as a list'):
        evaluate(records, dict(m=said), baselines=False, n_boot=100)
    twice = pd.concat([said.assign(probs=[np.array([.5, .5])]*2), said[['value']]], axis=1)
    with pytest.raises(ValueError, match="has the column 'value' twice"):
        evaluate(records, dict(m=twice), baselines=False, n_boot=100)


def test_a_codebook_tells_a_terminal_nothing(tmp_path, cli):
    "An escape in a name or label would set a window's title, or its colours."
    escape = '\x1b]0;title\x07\x1b[31m'
    frame = pd.DataFrame({'q': [1, 2], f'sex{escape}': [1, 2]})
    frame.to_csv(tmp_path/'s.csv', index=False)
    sex = dict(question=dict(en='Sex'), scale='nominal', options={1: f'm{escape}', 2: 'f'})
    (tmp_path/'codebook.yaml').write_text(yaml.safe_dump(dict(id=f't{escape}', items=dict(q=ITEM), background={f'sex{escape}': sex})), encoding='utf-8')
    for more in ([], ['--variables', 'zz'], ['--where', 'q=zz'], ['--where', f'sex{escape}=zz']):
        _, *said = cli('convert', tmp_path/'s.csv', tmp_path/f'r{len(more)}.jsonl', *more)
        assert any(said) and '\x1b' not in ''.join(said)
