"""What is fuzzed: for each kind of file, where its inputs start from and what must hold of any input.

A target reads one file. It may refuse it with ValueError, FileNotFoundError, FileExistsError or OSError,
in one line that names the file or the record; or it must read it right, which each target checks
against a second reading that shares no code with the first.
"""
import copy
import csv
import io
import json
import math
import os
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ['TQDM_DISABLE'] = '1'    # before anything imports tqdm

import pandas as pd
import psutil
import pyreadstat
import yaml
from binary import NAMES as BINARY, changed_binary, counted, seeds, second_reading
from importer_files import FORMATS, broken

from alignsurvey.all import (Interviews, Survey, make_records, read_predictions, read_records,
    reorder, write_predictions, write_records)
from alignsurvey.files import find_datasets, read_dataset, read_sheet, read_table, write_sheet
from alignsurvey.files.apart import run_apart
from alignsurvey.models.adapters import read_card, trained_on
from alignsurvey.prediction.forecasts import read_forecast
from alignsurvey.prediction.runs import read_run_card
from alignsurvey.records.answers import read_answers
from alignsurvey.surveys.codebook import Codebook, labels, plain_codebook, positions, read_codebook
from alignsurvey.surveys.importers import read_metadata
from alignsurvey.surveys.sheets import read_sheets
from alignsurvey.surveys.survey import coded, draft_codebook_of
from alignsurvey.tasks.published import published_records, published_survey

REFUSALS = (ValueError, FileNotFoundError, FileExistsError, OSError)
SLOW = 2.    # seconds of processor
STARTS = 6.    # seconds for a new process that reads


class Violation(AssertionError):
    "A case that was neither refused in one sentence nor read right."


@dataclass(frozen=True)
class Target:
    name: str
    seeds: tuple      # (name of the file, its bytes), from which cases are made
    mutate: object    # (random, bytes) -> bytes
    read: object      # reads the file at a path, and checks what it read


# --- inputs

ODD = [None, True, False, 0, -1, 1, 1.5, 1e308, math.nan, math.inf, '', 'a', 'no', '1', '1.0', ' ', 'a\nb', '\0',
    '\ud800', '=1+1', '$1 to $2', [], [None], [1, 'a'], [0.5, 0.5], {}, {'a': 1}, {'en': None}, {'en': {'de': 'x'}},
    10**30, '9'*60, '1e5', '01', '12:30', [[['deep']]], {'1': 'x'}, 'ordinal', 'single', 'group', 'ok', '../x']
TOKENS = [b'{', b'}', b'[', b']', b'"', b"'", b',', b';', b':', b'\n', b'\r', b'\t', b'\0', b'\\', b'\\u', b'\\ud800', b'&a ',
    b'*a', b'<<: ', b'!!set ', b'? ', b'- ', b'| ', b'#', b'null', b'NaN', b'-', b'1e999', b'01', b'0x1', b'\xff', b'\xef\xbb\xbf',
    '👍'.encode(), b'{"a":'*400, b'['*400, b'9'*400, b' '*400, b'","', b',,', b'=']


def changed_bytes(r, data):
    "Bytes with one to four of them changed, cut out, repeated, or with a token put in."
    data = bytearray(data)
    for _ in range(r.choice([1, 1, 2, 4])):
        at = r.randrange(len(data) + 1)
        to = min(len(data), at + r.choice([1, 1, 3, 20, 200]))
        what = r.randrange(5)
        if what == 0 and at < len(data):
            data[at] = r.choice([0, 1, 127, 128, 255, r.randrange(256)])
        elif what == 1:
            del data[at:to]
        elif what == 2:
            data[at:at] = data[at:to]
        elif what == 3:
            data[at:at] = r.choice(TOKENS)
        else:
            del data[at:len(data) if r.random() < .1 else at + 1]
    return bytes(data)


def places(value, above=()):
    "Paths to everything inside a plain value."
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for k, v in inside:
        yield (*above, k)
        yield from places(v, (*above, k))


def changed_value(r, value):
    "A plain value with one to three of its parts replaced, taken out, doubled or put under another key."
    value = json.loads(json.dumps(value))
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        every = list(places(value))
        if not every:
            return copy.deepcopy(r.choice(ODD))
        *way, last = r.choice(every)
        holder = value
        for k in way:
            holder = holder[k]
        what = r.randrange(6)
        if what < 3:
            holder[last] = copy.deepcopy(r.choice(ODD))    # a case must not change the next one
        elif what == 3:
            del holder[last]
        elif isinstance(holder, dict):
            holder[str(r.choice(ODD))] = holder[last]
        else:
            holder.insert(last, holder[last])
    return value


def changed_yaml(r, data):
    if r.random() < .4:
        return changed_bytes(r, data)
    return yaml.dump(changed_value(r, json.loads(json.dumps(yaml.safe_load(data)))), allow_unicode=True).encode()


def changed_json(r, data):
    if r.random() < .4:
        return changed_bytes(r, data)
    return json.dumps(changed_value(r, json.loads(data))).encode()


def changed_lines(r, data):
    if r.random() < .4:
        return changed_bytes(r, data)
    rows = changed_value(r, [json.loads(line) for line in data.splitlines()])
    return '\n'.join(json.dumps(row) for row in (rows if isinstance(rows, list) else [rows])).encode()


def changed_csv(r, data):
    "A table with cells, rows or columns changed; or bytes."
    if r.random() < .5:
        return changed_bytes(r, data)
    rows = list(csv.reader(io.StringIO(data.decode())))
    for _ in range(r.choice([1, 1, 2, 3])):
        row = r.choice(rows)
        what = r.randrange(4)
        if what == 0 and row:
            row[r.randrange(len(row))] = str(r.choice(ODD)).encode('utf-8', 'ignore').decode()
        elif what == 1:
            row.append(r.choice(['', '1', 'a']))
        elif what == 2 and row:
            del row[r.randrange(len(row))]
        else:
            rows.insert(r.randrange(len(rows) + 1), list(row))
    out = io.StringIO()
    csv.writer(out, delimiter=r.choice(',,,;\t')).writerows(rows)
    return out.getvalue().encode()


# --- codebooks

BOOK = '''id: toy
title: A survey of some people
respondent_id: person
weight: w
intro: In general
background:
  age: {question: {en: your age}, scale: numeric, bins: [18, 30, 65, 100], missing: {999: refused}}
  sex: {question: {en: your sex, zh: 性别}, options: {1: male, 2: female}}
items:
  trust:
    question: {en: 'How much do you trust your parliament?', de: Wie sehr}
    scale: ordinal
    options: {1: not at all, 2: {en: somewhat, de: etwas}, 3: a lot}
    positions: [0, 1, 3]
    missing: {8: dont_know, 9: refused}
    blank: not_asked
    stances: {1: against, 2: null, 3: for}
    family: institutions
  hours: {scale: numeric, bins: [0, 1, 5.5, 24]}
  why: {scale: open, issue: trust}
'''
TABLE = 'person,w,age,sex,trust,hours,why\n' + ''.join(
    f'{i},{1 + i/8},{20 + i},{1 + i % 2},{(1, 2, 3, 8, 9, "")[i % 6]},{i/2},"because, {i}"\n' for i in range(1, 13))


def read_codebook_file(path):
    "A codebook that loads says the same after it was saved, and all its questions can be used."
    book = Codebook.load(path)
    for q in book.questions.values():
        labels(q)
        labels(q, 'de')
        positions(q)
    again = Codebook.load(book.save(path.with_name('again.yaml'), overwrite=True))
    if again.questions != book.questions or again.design != book.design:
        raise Violation('a codebook that was saved and read again is another one')


# --- tables

def one_spelling(cells):
    "Codes of a column as a second reading spells them: numbers by value where all cells are numbers."
    filled = [c for c in cells if c != '']
    try:
        numbers = {c: float(c) for c in filled}
    except ValueError:
        return Counter(filled)
    if any('_' in c for c in filled):
        return Counter(filled)
    return Counter(str(int(x)) if x.is_integer() else str(x) for x in map(numbers.get, filled))


def rows_between(text, mark):
    return [row for row in csv.reader(io.StringIO(text, newline=''), delimiter=mark) if row]


def csv_counts(path):
    "Column -> counts by code, by Python's own reader."
    text = path.read_bytes().decode('utf-8-sig')
    rows = rows_between(text, ',')
    marks = [d for d in ';\t|' if d in ''.join(rows[0][:1]) and len(rows_between(text, d)[0]) > 1]    # one name so far, and more with this mark
    if len(rows[0]) == 1 and len(marks) == 1:
        rows = rows_between(text, marks[0])
    return {name: one_spelling([row[i] if row[i].strip() else '' for row in rows[1:]]) for i, name in enumerate(rows[0])}


def book_beside(path):
    (path.with_name('codebook.yaml')).write_text(BOOK, encoding='utf-8')
    return path.with_name('codebook.yaml')


def read_survey_csv(path):
    "Cell counts by column and code agree with a second reading; options and kinds of missing add up to all respondents."
    book_beside(path)
    survey = Survey.load(path)
    try:
        second = csv_counts(path)
    except UnicodeDecodeError:
        return
    for name, q in survey.codebook.questions.items():
        index, kind = coded(survey, name) if q.options else (None, None)
        if index is None:
            continue
        mine = Counter()
        for i, k in zip(index, kind):
            mine[list(q.options)[i] if i >= 0 else k] += 1
        other = Counter()
        for code, n in second[name].items():
            other[code if code in q.options else q.missing.get(code, '?')] += n
        blank = len(survey) - sum(second[name].values())
        if blank:
            other[q.blank] += blank
        if mine != other:
            raise Violation(f'{name}: {dict(mine)} here and {dict(other)} in a second reading')
    survey.records('response', verbose=False)


@cache
def labelled(kind):
    "A small file of each kind."
    frame = pd.DataFrame({'PERSON': [1, 2, 3, 4], 'TRUST': [1, 2, 8, 3], 'TOWN': ['Oslo', '', 'A' if kind == '.por' else 'Å', 'b']})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/f'x{kind}'
        labels_ = dict(column_labels={'TRUST': 'How much?'}, variable_value_labels={'TRUST': {1: 'no', 2: 'etwas', 8: "don't know"}})
        if kind in ('.sav', '.zsav'):
            pyreadstat.write_sav(frame, path, compress=kind == '.zsav', missing_ranges={'TRUST': [8]}, **labels_)
        elif kind == '.dta':
            pyreadstat.write_dta(frame, path, **labels_)
        elif kind == '.por':
            pyreadstat.write_por(frame, path)
        elif kind == '.xpt':
            pyreadstat.write_xport(frame, path)
        else:
            frame.to_parquet(path)
        return path.read_bytes()


def read_binary(path):
    frame, notes = read_table(path)
    if not len(frame) or not frame.shape[1]:
        raise Violation('a table without rows or columns was read')
    for name, other in (second_reading(path) or {}).items():
        mine = spelled_alike(frame[name], other) if name in frame else None
        if mine is not None and mine != other:
            raise Violation(f'{name}: {dict(mine)} here and {dict(other)} in a second reading')


def spelled_alike(column, other):
    "Counts of a column's cells, spelled as in a second reading; None where that may spell them otherwise, as dates and letters."
    values = list(column.astype(object).where(column.notna(), None))
    if any(isinstance(v, float) for v in other) and any(isinstance(v, str) for v in values):    # .a to .z of Stata, or dates
        try:
            values = [None if v is None or v[0] == '.' and v[1:].isalpha() else float(v) for v in values]
        except ValueError:
            return None
    if not all(v.isascii() for v in (*values, *other) if isinstance(v, str)):
        return None
    return counted(values)


# --- records and predictions

PROMPT = 'You are 40.\n\nSurvey question:\nDo you agree?\nA. no\nB. perhaps\nC. yes'
OPTIONS = ['no', 'perhaps', 'yes']


def rows_of(n=6):
    for i in range(n):
        yield dict(instruction=PROMPT, input='', output=f'{"ABC"[i % 3]}. {OPTIONS[i % 3]}', record_id=f'toy/{i}/agree',
            source='toy', respondent_id=str(i), question_id='agree', question='Do you agree?', options=OPTIONS,
            positions=[0., 1., 2.], scale='ordinal', answer=OPTIONS[i % 3], answer_index=i % 3, weight=1 + i/4, groups={'sex': 'f'})


@cache
def records():
    return make_records(list(rows_of()))


def lines(rows):
    return '\n'.join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def alpaca():
    "Rows with Alpaca fields alone, of the published kinds."
    yield dict(instruction=PROMPT, input='', output='B. perhaps', person_id=7)
    yield dict(instruction='Guess.\n' + PROMPT, input='', output='A. no: 20%\nB. perhaps: 30%\nC. yes: 50%')
    yield dict(id=3, instruction='请判断受访者对停车管理评价的倾向。predict字段从"积极"、"消极"或"中立"中选择。', input='', output='{"predict": "消极", "reason": "太贵。"}')
    yield dict(id=4, instruction='==访谈对话==\n问：有车吗？\n请根据对话内容，预测被访者的“有车”。\n可选值：有、无（或、借）。', input='', output="['有']")
    yield dict(id=5, qua=1, instruction='==你的背景==\na\n==先前对话==\n回答：b\n==当前问题==\nc\n请输出你的回答', input='', output='d')


def second_rows(path):
    "Rows by Python's parser without any of ours; None where the file's form needs more than that."
    text = path.read_bytes().decode('utf-8-sig')
    try:
        if path.suffix == '.json':
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.split('\n') if line.strip()]
    except ValueError:
        return None
    return rows if isinstance(rows, list) and all(isinstance(r, dict) for r in rows) else None


KINDS = dict(instruction=str, output=str, answer_index=int, weight=float)    # as a file writes them


def read_records_file(path):
    "What stands in a file stands in its records, which can be reordered, scored against and written again."
    found = read_records(path)
    rows = second_rows(path)
    if rows is not None and len(rows) == len(found):
        for row, r in zip(rows, found):
            for field in KINDS:
                wrote = row.get(field)
                if type(wrote) is KINDS[field] and r[field] != wrote:
                    raise Violation(f'{field} is {r[field]!r} in the record and {wrote!r} in the file')
    again = read_records(write_records(found, path.with_name('again.jsonl'), overwrite=True))
    if repr(again.to_list()) != repr(found.to_list()):    # nan is no equal of itself
        raise Violation('records that were written and read again are others')
    for use in (lambda: reorder(found, 'reverse'), lambda: read_answers(found)):
        try:
            use()
        except ValueError as e:
            if not str(e) or '\n' in str(e):
                raise Violation(f'a sentence of more than one line: {e}') from e


def prediction_rows():
    for i in range(6):
        p = [.2, .3, .5]
        yield dict(record_id=f'toy/{i}/agree', text=None, value=2, probs=p, coverage=.9, elicitation='score', status='ok', why=None, seconds=.1, tokens=5)


def reply_rows():
    for r in rows_of():
        yield dict(prompt=r['instruction'], predict='B. perhaps', label=r['output'])


def read_predictions_file(path):
    "Predictions that are read can be scored, or their sentence names a record."
    frame = read_predictions(path, records())
    try:
        read_forecast('model', frame, read_answers(records()))
    except ValueError as e:
        if 'record' not in str(e):
            raise Violation(f'a sentence without a place: {e}') from e
    write_predictions(frame, path.with_name('again.jsonl'), overwrite=True)
    again = read_predictions(path.with_name('again.jsonl'))
    for c in ('record_id', 'status', 'value', 'text'):
        if c in frame and not again[c].astype(object).where(again[c].notna(), None).equals(frame[c].astype(object).where(frame[c].notna(), None)):
            raise Violation(f'{c} is another after writing and reading again')


# --- cards, lists of data sets, interviews, scores

CARD = dict(model='a', predictions='p.jsonl', elicitation='score', settings=dict(shard=None, seed=0), records=6, records_hash='ab12', versions={'python': '3.11'})


def read_cards(path):
    "Each file by its own reader."
    readers = {'sft.json': lambda: read_card(path.parent), 'trained_on.json': lambda: trained_on(path.parent)}
    readers.get(path.name, lambda: read_run_card(path))()


def read_listed(path):
    data = path.parent
    for name in ('a.json', 'b.json'):
        (data/name).write_text(json.dumps([dict(q=PROMPT, a='A. no')]))
    for name in list(find_datasets(data)):
        rows, _ = read_dataset(data, name)
        list(rows)


TURNS = [dict(respondent_id=1, turn=i, speaker=('interviewer', 'respondent')[i % 2], text=f'text {i}', section='a') for i in range(1, 7)]


def read_turns(path):
    talks = Interviews.load(path, verbose=False)
    if talks.turns.text.isna().any():
        raise Violation('a turn without text was read')


SCORES = pd.DataFrame({'task': ['response', 'response'], 'group': ['=1', '$5'], 'value': [.5, -1.], 'n': [6, 6], 'note': [None, 'a, "b"']})


def scores_bytes():
    with tempfile.TemporaryDirectory() as folder:
        return write_sheet(SCORES, Path(folder)/'s.csv').read_bytes()


def read_scores(path):
    frame = read_sheet(path)
    pd.testing.assert_frame_equal(read_sheet(write_sheet(frame, path.with_name('again.csv'))), frame)


def changed_description(kind, r, data):
    return broken(kind, data, r)


# --- published data sets

SUBPOP = dict(qkey='q', attribute='SEX', group='f', refusal_rate=.02, question='Enough?', ordinal=[1, 2, 3],
    options=['few', 'right', 'many', 'Refused'], responses=[.5, .3, .2])
WORLD = '''question,selections,options,source
"Good or bad?","defaultdict(<class 'list'>, {'Peru': [0.2, 0.8], 'Chad': [0.5, 0.5]})","['Good', 'Bad']",GAS
'''
BENCH = '''dataset_name,group_prompt_template,group_prompt_variable_map,group_size,input_template,human_answer
x,You are {age}.,{'age': '18'},250,"A car?\nOptions:\n(A): yes\n(B): no","{'A': 40.0, 'B': 60.0}"
'''
COUNTS = {'q': dict(question_text='Enough?', MC_options=['few', 'many', 'Refused'], Male={'few': 6., 'many': 4., 'Refused': 1.})}


def twin_question(name, kind, told, **more):
    return dict(QuestionID=name, QuestionType=kind, QuestionText=f'{kind}?', Answers=told, **more)


TWIN = [dict(BlockName='Demographics', Questions=[twin_question('a', 'MC', dict(SelectedByPosition=1), Options=['yes', 'no'])]),
    dict(BlockName='Views', Questions=[twin_question('b', 'Matrix', dict(SelectedByPosition=[1, 2]), Rows=['x', 'y'], Columns=['yes', 'no']),
        twin_question('c', 'Slider', dict(Values=['5']), Statements=['z'], Range=dict(Min=0, Max=9)), twin_question('d', 'DB', {}),
        twin_question('e', 'TE', dict(Text=[{'one': '1'}, {'two': ''}]), Settings=dict(ContentType='ValidNumber'))])]
PUBLISHED = {'s.jsonl': 'subpop', 'g.csv': 'global_opinions', 'SimBenchPop.csv': 'simbench', 'SEX_data.json': 'opinionqa_groups'}


def read_published(path):
    "Groups as records, people of a questionnaire in JSON as a survey."
    if path.name in PUBLISHED:
        published_records(path, PUBLISHED[path.name], n=100)
        return
    rows = pd.DataFrame(dict(pid=[1, 2], persona_json=[json.dumps(TWIN), path.read_bytes().decode('utf-8', 'replace')]))
    rows.to_parquet(path.with_suffix('.parquet'))
    published_survey(path.with_suffix('.parquet'), 'twin2k500').records('response')


def changed_published(r, data):
    if data[:8] == b'question' or data[:7] == b'dataset':
        return changed_csv(r, data)
    return changed_json(r, data)


# --- codebooks as spreadsheets

@cache
def codebook_sheets():
    with tempfile.TemporaryDirectory() as folder:
        return read_codebook(yaml.safe_load(BOOK), 'codebook.yaml').save(Path(folder)/'codebook.xlsx').read_bytes()


IMPORTED = {'.xml': 'DDI', '.qsf': 'Qualtrics', '.lss': 'LimeSurvey', '.xlsx': 'XLSForm', '.sps': 'SPSS syntax'}


def read_described_file(path):
    "What an importer reads becomes a codebook that is the same after it was saved."
    said = read_metadata(path)
    if not said.variables:
        raise Violation('a survey without variables was read')
    book = draft_codebook_of(path)
    again = Codebook.load(book.save(path.with_name('again.yaml'), overwrite=True))
    if plain_codebook(again) != plain_codebook(book):
        raise Violation('a draft that was saved and read again is another one')
    if path.suffix == '.xls' and find_spec('python_calamine'):
        check_numbers_of_sheets(path)


def check_numbers_of_sheets(path):
    "The numbers that stand in the sheets of an .xls file are those of a second reading, where it has one."
    try:
        other = run_apart('binary:numbers_by_calamine', str(path))
    except ValueError:    # it crashed
        return
    mine = read_sheets(path)
    for title in mine.keys() & other.keys():
        lost = Counter(other[title]) - Counter(numbers_among(mine[title]))
        if lost:
            raise Violation(f'{title}: without {dict(lost)} of a second reading')


def numbers_among(rows):
    for cell in (cell for row in rows for cell in row):
        try:
            yield f'{float(cell):g}'
        except ValueError:
            pass


@cache
def targets():
    "All targets by name."
    binary = ('.sav', '.zsav', '.dta', '.por', '.xpt', '.parquet')
    every = [
        Target('codebooks', (('codebook.yaml', BOOK.encode()),), changed_yaml, read_codebook_file),
        Target('tables', (('x.csv', TABLE.encode()),), changed_csv, read_survey_csv),
        Target('labelled files', tuple((f'x{kind}', labelled(kind)) for kind in binary), changed_bytes, read_binary),
        Target('SPSS data', (('x.sav', labelled('.sav')),), changed_bytes, read_binary),
        Target('codebook sheets', (('codebook.xlsx', codebook_sheets()),), partial(changed_description, '.xlsx'), read_codebook_file),
        Target('published', (('s.jsonl', json.dumps(SUBPOP).encode()), ('g.csv', WORLD.encode()),
            ('SimBenchPop.csv', BENCH.encode()), ('SEX_data.json', json.dumps(COUNTS).encode()), ('twin.json', json.dumps(TWIN).encode())), changed_published, read_published),
        Target('records', (('r.jsonl', lines(rows_of())), ('p.jsonl', lines(alpaca()))), changed_lines, read_records_file),
        Target('records in one value', (('r.json', json.dumps(list(rows_of())).encode()),), changed_json, read_records_file),
        Target('predictions', (('p.jsonl', lines(prediction_rows())), ('f.jsonl', lines(reply_rows()))), changed_lines, read_predictions_file),
        Target('cards of adapters', (('sft.json', json.dumps(CARD).encode()), ('trained_on.json', json.dumps([CARD]).encode()),
            ('p.card.json', json.dumps(CARD).encode())), changed_json, read_cards),
        Target('lists of data sets', (('dataset_info.json', json.dumps({'a': {'file_name': 'a.json', 'columns': {'prompt': 'q', 'response': 'a'}},
            'b': {'file_name': 'b.json'}}).encode()),), changed_json, read_listed),
        Target('interviews', (('t.jsonl', lines(TURNS)), ('t.csv', pd.DataFrame(TURNS).to_csv(index=False).encode())),
            lambda r, data: (changed_lines if data[:1] == b'{' else changed_csv)(r, data), read_turns),
        Target('scores', (('s.csv', scores_bytes()),), changed_csv, read_scores),
        *(Target(name, seeds(kind), partial(changed_binary, kind, changed_bytes), read_described_file if kind == '.xls' else read_binary)
            for kind, name in BINARY.items()),
        *(Target(name, ((f'x{kind}', FORMATS[kind]),), partial(changed_description, kind), read_described_file)
            for kind, name in IMPORTED.items())]
    return {t.name: t for t in every}


# --- one case

def case(target, seed):
    "The file of a case: its name and bytes."
    r = random.Random(f'{target.name}/{seed}')
    name, data = r.choice(target.seeds)
    return name, target.mutate(r, data)


def run_case(target, name, data, folder):
    "`read` or `refused`. Raises `Violation` where it was neither."
    path = Path(folder)/name
    for old in Path(folder).iterdir():
        old.unlink()
    path.write_bytes(data)
    start, served = used()
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            target.read(path)
        end = 'read'
    except Violation:
        raise
    except REFUSALS as e:
        said = str(e)
        if 'again.' in said:
            raise Violation(f'{target.name}: what was written is refused: {said!r}') from e
        stem = path.stem if len(path.stem) > 1 else name    # a letter stands in any sentence
        named = any(word in said for word in (name, stem, path.parent.name, 'record', 'codebook'))
        if '\n' in said or not named or 'Traceback' in said:
            raise Violation(f'{target.name}: {type(e).__name__} without a place, or of many lines: {said!r}') from e
        end = 'refused'
    except BaseException as e:
        raise Violation(f'{target.name}: {type(e).__name__}: {e}') from e
    now, serve = used()
    if now - start > SLOW + STARTS*(serve != served):
        raise Violation(f'{target.name}: took {now - start:.1f} seconds')
    return end


def used():
    "Seconds of this process and those that read for it, and which these are."
    seconds, served = time.process_time(), []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            seconds += sum(child.cpu_times()[:2])
            served.append(child.pid)
    return seconds, served
