"Files that are wrong, by accident or on purpose: each is refused in one sentence, or read right."
import base64
import gzip
import json
import os
import stat
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignsurvey.all import (Survey, export_records, make_records, read_predictions,
    read_records, write_records)
from alignsurvey.files import find_datasets, parse_yaml, read_dataset, read_table, written_whole
from alignsurvey.files.sheets import read_sheet, write_sheet
from alignsurvey.records.layouts import recognise
from alignsurvey.surveys.codebook import Codebook, read_codebook

CRASHES = json.loads((Path(__file__).parent/'fuzz'/'crashes.json').read_text())
BOOK = '''id: x
respondent_id: id
weight: w
items: {a: {scale: nominal, options: {1: no, 2: yes}}, b: {scale: nominal, options: {1: no, 2: yes}}}
'''


def one_sentence(call, *said):
    "Gives the one sentence that a call is refused with."
    with pytest.raises((ValueError, FileNotFoundError, FileExistsError, OSError)) as e:
        call()
    text = str(e.value)
    assert '\n' not in text and 'Traceback' not in text, text
    assert all(s in text for s in said), text
    return text


def survey(folder, data, book=BOOK):
    (folder/'x.csv').write_text(data)
    (folder/'codebook.yaml').write_text(book)
    return Survey.load(folder/'x.csv')


# --- tables

@pytest.mark.parametrize('data, said', [
    ('id,a,b,w\n1,1,2,1,\n2,1,2,1,\n', 'x.csv: row 2 has 5 fields and the header has 4'),
    ('id,a,b,w\n1,1,2,1\n2,1,2,1,9\n', 'x.csv: row 3 has 5 fields and the header has 4'),
    ('id,a,b,w\n1,1,2,1\n2,1\n', 'x.csv: row 3 has 2 fields and the header has 4'),
    ('id,a,a,b,w\n1,1,2,2,1\n', "x.csv: column 'a' stands twice in the header, as columns 2 and 3"),
    ('id,a,b,w\n1,1,2,"1\n', 'x.csv: row 2: unexpected end of data'),
    ('id,a,b,w\n1,1,2,\0\n', 'x.csv: holds bytes that are no text')])
def test_a_table_that_would_be_shifted_padded_or_renamed(tmp_path, data, said):
    one_sentence(lambda: survey(tmp_path, data), said)


@pytest.mark.parametrize('between', [';', '\t', '|'])
def test_semicolons_and_tabs_between_fields(tmp_path, between):
    data = 'id,a,b,w\n1,1,2,0.5\n2,2,1,1.5\n'
    other = survey(tmp_path, data.replace(',', between)).frame
    pd.testing.assert_frame_equal(survey(tmp_path, data).frame, other)


def test_a_column_that_stands_twice_in_parquet(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=['a', 'a'])
    pq.write_table(table, tmp_path/'x.parquet')
    one_sentence(lambda: read_table(tmp_path/'x.parquet'), "x.parquet: column 'a' stands twice")


def test_a_small_parquet_file_that_unfolds_into_gigabytes(tmp_path):
    with pq.ParquetWriter(tmp_path/'x.parquet', pa.schema([('a', pa.int64())])) as writer:
        for _ in range(60):
            writer.write_table(pa.table({'a': pa.repeat(pa.scalar(1, pa.int64()), 2_500_000)}))
    resource = pytest.importorskip('resource')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one_sentence(lambda: read_table(tmp_path/'x.parquet'), 'x.parquet: unfolds from')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500e3    # kilobytes


def test_a_compressed_file_under_another_name(tmp_path):
    (tmp_path/'x.csv').write_bytes(gzip.compress(b'id,a\n1,1\n'))
    one_sentence(lambda: read_table(tmp_path/'x.csv'), 'x.csv: ')
    (tmp_path/'x.json').write_bytes(gzip.compress(b'[]'))
    one_sentence(lambda: read_records(tmp_path/'x.json'), 'x.json: byte 1 is not UTF-8 text')


@pytest.mark.parametrize('kind, data', CRASHES, ids=range(len(CRASHES)))
def test_a_file_that_brings_its_reader_down(tmp_path, kind, data):
    (tmp_path/f'x{kind}').write_bytes(base64.b64decode(data))
    start = time.process_time()
    said = one_sentence(lambda: read_table(tmp_path/f'x{kind}'), f'x{kind}: is not a readable')
    assert 'crashed' in said or 'more memory' in said
    assert time.process_time() - start < 30


# --- codebooks

YAML_BOMB = 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"]*9)}]\n' for i in range(1, 10))


@pytest.mark.parametrize('book, said', [
    (BOOK + 'weight: v\n', "codebook.yaml: is not valid YAML: line 5: 'weight' stands twice, in lines 3 and 5"),
    (BOOK.replace('2: yes}}, b', '1: yes}}, b'), "'1' stands twice, in lines 4 and 4"),
    (BOOK.replace('2: yes}}, b', "'1': yes}}, b"), "codebook.yaml: 'a': options: 1 and '1' are the same code"),
    (BOOK.replace('2: yes}}, b', '1.0: yes}}, b'), "'1.0' stands twice"),
    (BOOK.replace('weight: w', 'weight: [A, B]'), "codebook.yaml: weight is ['A', 'B']: name one column"),
    (BOOK.replace('{1: no, 2: yes}}, b', '{1: no, 2: yes}, missing: abc}, b'), "'a': missing is 'abc': write a mapping"),
    ('id: x\nitems: {a: {scale: numeric, bins: [null, 1]}}', "'a': bins has None in it: write numbers only"),
    ('id: x\nitems: {a: {scale: numeric, bins: {0: 1}}}', "'a': bins is {0: 1}: write a list of numbers"),
    ('id: x\nitems: {a: {scale: numeric, bins: 5}}', "'a': bins is 5: write a list of numbers"),
    ('id: x\nitems: {a: {scale: open, family: [b]}}', "'a': family is ['b']: write one text"),
    ('id: x\nitems: {a: {scale: open, question: {en: {de: a}}}}', "'a': question is {'en': {'de': 'a'}}: write text"),
    ('id: x\nbackground: 5\nitems: {a: {scale: open}}', 'background is 5: write a mapping'),
    ('id: [x]\nitems: {a: {scale: open}}', "codebook.yaml: id is ['x']: write one text"),
    ('id: x\nitems: {1: {scale: open}, "1": {scale: open}}', "items: 1 and '1' are the same code"),
    ('{'*5000, 'codebook.yaml: is not valid YAML: line 1: it is nested more than 60 deep'),
    ('- '*5000, 'nested more than 60 deep'),
    (YAML_BOMB, 'its aliases unfold into more than 1,000,000 values'),
    ('a: &a [*a]', 'an alias stands inside what it stands for'),
    ('!!python/object/apply:os.system [ls]', 'has no meaning here'),
    ('id: "\x07"', 'codebook.yaml: is not valid YAML'),
    ('? {a: b}\n: c', 'a key is neither text nor a number')])
def test_codebooks(tmp_path, book, said):
    (tmp_path/'codebook.yaml').write_text(book)
    start = time.process_time()
    one_sentence(lambda: Codebook.load(tmp_path/'codebook.yaml'), 'codebook.yaml', said)
    assert time.process_time() - start < 2


def test_a_codebook_that_is_no_text(tmp_path):
    (tmp_path/'codebook.yaml').write_bytes(b'id: \xff')
    one_sentence(lambda: Codebook.load(tmp_path/'codebook.yaml'), 'codebook.yaml: byte 4 is not UTF-8')
    one_sentence(lambda: Codebook.load(tmp_path), 'is a folder: name a file in it')


def test_words_and_numbers_of_a_codebook_are_what_stands_there():
    "What YAML 1.1 would make of them is 750, 8, 26, a date and 1000."
    said = parse_yaml('a: 12:30\nb: 010\nc: 0x1A\nd: 2018-03-01\ne: 1_000')
    assert said == dict(a='12:30', b=10, c='0x1A', d='2018-03-01', e='1_000')


def test_a_family_or_note_that_is_named_like_a_default_is_kept(tmp_path):
    entry = dict(scale='nominal', options={1: 'no', 2: 'yes'}, family='single', wording_note='unspecified')
    book = read_codebook(dict(id='x', items=dict(a=entry)), 'x')
    assert Codebook.load(book.save(tmp_path/'codebook.yaml')).questions == book.questions


# --- records

PROMPT = 'Do you agree?\nA. no\nB. yes'
RECORD = dict(record_id='x/1/a', task='response', instruction=PROMPT, input='', output='B. yes',
    options=['no', 'yes'], answer_index=1, answer='yes', answer_form='label_text')


@pytest.mark.parametrize('change, said', [
    (dict(output='A. no'), "output 'A. no' names option 0 and answer_index 1"),
    (dict(answer='no'), "answer is 'no' and answer_index 1 is 'yes'"),
    (dict(answer_index='1'), "field 'answer_index' is '1': write a whole number"),
    (dict(answer_index=True), "field 'answer_index' is True: write a whole number"),
    (dict(options={'no': 1}), "field 'options' is {'no': 1}: write a list of texts"),
    (dict(options=[['no'], ['yes']]), "field 'options' is [['no'], ['yes']]"),
    (dict(positions=[1]), "field 'positions' has 1 numbers for 2 options"),
    (dict(positions=['a', 'b']), "field 'positions' is ['a', 'b']: write a list of numbers"),
    (dict(record_id={}), "field 'record_id' is {}: write text"),
    (dict(task=[]), "field 'task' is []: write text"),
    (dict(weight=float('inf')), 'weight inf is negative or missing'),
    (dict(weight='1'), "field 'weight' is '1': write a number"),
    (dict(level='grup'), "field 'level' is 'grup': use one of individual, group"),
    (dict(groups=['a']), "field 'groups' is ['a']"),
    (dict(n=10**40), "field 'n' is 1000000"),
    (dict(mine=[1, 'a']), "field 'mine' can't be one column"),
    (dict(target=[.5, .6]), "field 'target' is [0.5, 0.6]: write shares that add up to 1")])
def test_records(tmp_path, change, said):
    (tmp_path/'r.json').write_text(json.dumps([{**RECORD, **change}]))
    one_sentence(lambda: read_records(tmp_path/'r.json'), 'r.json: record', said)


def test_fields_of_two_kinds_far_apart(tmp_path):
    rows = [{**RECORD, 'record_id': f'{i}', 'mine': i if i < 1500 else 'a'} for i in range(2000)]
    (tmp_path/'r.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    one_sentence(lambda: read_records(tmp_path/'r.jsonl'), 'r.jsonl: ', 'mine')


@pytest.mark.parametrize('text, said', [
    ('[{"instruction": "a", "output": "b", "output": "c"}]', "the key 'output' stands twice in one object, in lines 1 and 1"),
    ('{"instruction": "a",\n"output": "b",\n"instruction": "c"}', "the key 'instruction' stands twice in one object, in lines 1 and 3"),
    ('{"instruction": "a", "groups": {"sex": "m", "sex": "f"}}\n{"instruction": "b"}', "the key 'sex' stands twice"),
    ('['*100_000, 'is nested too deeply'),
    ('{"a":'*100_000, 'is nested too deeply'),
    (r'[{"instruction": "\ud800"}]', 'holds half a character'),
    ('[' + '9'*5000 + ']', 'a number of thousands of digits')])
def test_json(tmp_path, text, said):
    (tmp_path/'r.json').write_text(text)
    one_sentence(lambda: read_records(tmp_path/'r.json'), 'r.json: line 1: ' if 'stands' not in said else 'r.json: ', said)


@pytest.mark.parametrize('prompt, output', [
    ('请判断受访者对' + '请判断受访者对'*20_000 + 'predict', 'x'),
    ('请判断受访者对预测 predict 从' + '从'*100_000, 'x'),
    ('==访谈对话==预测被访者的' + '“'*100_000, '[' + '('*50_000),
    ('==访谈对话==请根据对话内容 预测被访者的“有车”\n可选值：' + '、'*100_000, '[' + '1,'*50_000 + ']'),
    ('q', 'a' + ' '*100_000 + 'b\nc' + ' '*100_000 + 'd'),
    ('q', '{"a":'*50_000),
    ('A. x' + ' '*100_000 + 'y\nB. z', 'A')])
def test_no_row_takes_long(prompt, output):
    start = time.process_time()
    try:
        recognise(dict(instruction=prompt, input='', output=output))
    except ValueError as e:
        assert str(e)
    assert time.process_time() - start < 2


def test_json_with_unclosed_quotation_marks_does_not_take_long(tmp_path):
    (tmp_path/'r.json').write_text('{"a": "' + r'\"'*200_000)
    start = time.process_time()
    one_sentence(lambda: read_records(tmp_path/'r.json'), 'r.json: line 1: is not valid JSON')
    assert time.process_time() - start < 2


@pytest.mark.parametrize('change, said', [
    (dict(value=0), 'p.jsonl: row 1: value is 0 and probs are [0.4, 0.6]'),
    (dict(value='1'), "p.jsonl: row 1: field 'value' is '1': write a whole number"),
    (dict(probs='abc'), "p.jsonl: row 1: field 'probs' is 'abc': write a list of numbers"),
    (dict(probs=[.4, float('nan')]), "field 'probs' is [0.4, nan]"),
    (dict(record_id=None), "field 'record_id' is None: write text"),
    (dict(record_id=['x']), "field 'record_id' is ['x']: write text"),
    (dict(tokens=10**30), "field 'tokens' is 1000"),
    (dict(status=5.5, coverage='a'), "field 'coverage' is 'a': write a number")])
def test_predictions(tmp_path, change, said):
    row = dict(record_id='x/1/a', value=1, probs=[.4, .6], status='ok')
    (tmp_path/'p.jsonl').write_text(json.dumps({**row, **change}))
    one_sentence(lambda: read_predictions(tmp_path/'p.jsonl', make_records([RECORD])), 'p.jsonl: row 1: ', said)


# --- what is written, and where

@pytest.mark.parametrize('name', ['dataset_info', 'Dataset_Info', 'data_info'])
def test_records_do_not_replace_the_list_of_data_sets(tmp_path, name):
    records = make_records([RECORD])
    one_sentence(lambda: export_records(records, tmp_path, name=name, overwrite=True), 'choose another name')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('file', ['../secret.json', '/etc/hostname', 'a/../../secret.json', '..\\..\\secret.json'])
def test_a_list_of_data_sets_does_not_lead_out_of_its_folder(tmp_path, file):
    data = tmp_path/'data'
    data.mkdir()
    (tmp_path/'secret.json').write_text(json.dumps([RECORD]))
    (data/'dataset_info.json').write_text(json.dumps({'a': {'file_name': file}}))
    with pytest.raises((ValueError, FileNotFoundError), match='outside the folder|is not there'):
        list(read_dataset(data, 'a')[0])


@pytest.mark.parametrize('entry', [5, {'file_name': 5}, {'file_name': '\0'}, {'file_name': 'a', 'columns': 'b'},
    {'file_name': 'a', 'columns': {'prompt': ['b']}}])
def test_a_list_of_data_sets_with_a_wrong_entry(tmp_path, entry):
    (tmp_path/'dataset_info.json').write_text(json.dumps({'a': entry}))
    one_sentence(lambda: find_datasets(tmp_path), "dataset_info.json: 'a': ")


def test_a_link_that_waits_under_a_temporary_name_is_not_followed(tmp_path):
    secret = tmp_path/'secret'
    secret.write_text('mine')
    (tmp_path/'out.csv.part').symlink_to(secret)
    with written_whole(tmp_path/'out.csv') as part:
        assert not part.is_symlink() and part.exists()
        part.write_text('a')
    assert secret.read_text() == 'mine' and (tmp_path/'out.csv').read_text() == 'a'
    with written_whole(tmp_path/'out.csv') as one, written_whole(tmp_path/'out.csv') as two:
        assert one != two
        one.write_text('b')
        two.write_text('c')


def test_a_file_that_is_written_has_the_usual_permissions(tmp_path):
    with written_whole(tmp_path/'out.csv') as part:
        part.write_text('a')
    (tmp_path/'usual').write_text('a')
    assert stat.S_IMODE(os.stat(tmp_path/'out.csv').st_mode) == stat.S_IMODE(os.stat(tmp_path/'usual').st_mode)


COMMANDS = ['=HYPERLINK("http://x.example")', '+1+cmd', '-1+1', '@SUM(A1)', '\t=1', '\r=1', "'=1", "''", '＝1', '-1', '+2.5', '-', 'a']


def test_no_cell_is_a_command_and_reading_gives_it_back(tmp_path):
    frame = pd.DataFrame({'group': COMMANDS, 'value': [-1.5]*len(COMMANDS)})
    write_sheet(frame, tmp_path/'s.csv')
    raw = pd.read_csv(tmp_path/'s.csv', dtype=str, keep_default_na=False)
    assert not [c for c in raw.group if c[:1] in '=+-@\t\r＝' and c not in ('-1', '+2.5')]
    assert raw.value.tolist() == ['-1.5']*len(COMMANDS)
    pd.testing.assert_frame_equal(read_sheet(tmp_path/'s.csv'), frame)
