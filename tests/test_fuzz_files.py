"""A few thousand wrong files of every kind, and an oracle for the right ones.

What is fuzzed and what must hold is in `fuzz/targets.py`; `make fuzz` does more of the same.
"""
import csv
import io
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from alignsurvey.all import Survey, read_records
from alignsurvey.files import read_table

sys.path.insert(0, str(Path(__file__).with_name('fuzz')))
from guided import run_again
from targets import case, run_case, targets

CASES = {'codebooks': 250, 'tables': 200, 'labelled files': 120, 'records': 150, 'records in one value': 120,
    'predictions': 250, 'cards of adapters': 400, 'lists of data sets': 300, 'interviews': 200, 'scores': 200, 'DDI': 60,
    'Qualtrics': 60, 'LimeSurvey': 60, 'XLSForm': 40, 'SPSS syntax': 60, 'SPSS data': 60, 'Stata data': 60, 'SPSS portable': 60, 'SPSS compressed': 60,
    'parquet': 100, 'old Excel': 60, 'codebook sheets': 60, 'published': 150}
PAST = json.loads((Path(__file__).parent/'fuzz'/'past.json').read_text())


@pytest.mark.parametrize('name', list(targets()))
def test_wrong_files_are_refused_in_one_sentence_or_read_right(name, tmp_path):
    target, ends = targets()[name], Counter()
    for i in range(CASES[name]):
        ends[run_case(target, *case(target, 10**6 + i), tmp_path)] += 1
    assert min(ends['read'], ends['refused']) > CASES[name]/50, ends    # the cases are neither all right nor all wrong


@pytest.mark.parametrize('name, file, text, end', PAST)
def test_what_once_failed(name, file, text, end, tmp_path):
    came = run_again(name, file, text.encode('latin-1'), tmp_path)
    assert came == end or end is None    # as a run that is guided by coverage leaves it


# --- an oracle: whatever loads has the counts that another reader finds

FIXED = dict(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = st.one_of(st.integers(-5, 40), st.sampled_from(['', 'NA', 'null', 'a', 'a,b', 'x;y', '"q"', ' ', "l'été", '女', '1.0', '2.50', '007', '1e3', 'True']))


def spelled(cells):
    "Codes by value where all cells of a column are numbers and none is written as 007 or 1e3 are, as they stand elsewhere; blanks are none."
    filled = [c for c in cells if c.strip()]
    try:
        if {'007', '1e3'} & set(filled):
            raise ValueError
        return Counter(f'{float(c):g}' for c in filled)
    except ValueError:
        return Counter(filled)


@settings(**FIXED)
@given(columns=st.lists(st.lists(CELLS, min_size=6, max_size=6), min_size=1, max_size=4), between=st.sampled_from(',;\t'))
def test_cells_of_a_csv_file_agree_with_another_reader(columns, between, tmp_path_factory):
    path = tmp_path_factory.mktemp('o')/'x.csv'
    out = io.StringIO()
    csv.writer(out, delimiter=between).writerows([['id', *(f'q{i}' for i in range(len(columns)))],
        *([k, *cells] for k, cells in enumerate(zip(*columns)))])
    path.write_text(out.getvalue(), encoding='utf-8', newline='')
    frame, _ = read_table(path)
    for i, cells in enumerate(columns):
        values = frame[f'q{i}']
        mine = Counter(f'{v:g}' if not isinstance(v, (str, bool, np.bool_)) else str(v) for v in values.dropna())
        assert mine == spelled([str(c) for c in cells]) and values.isna().sum() == cells.count('') + cells.count(' ')


@settings(**FIXED)
@given(answers=st.lists(st.sampled_from([1, 2, 3, 8, 9, None]), min_size=2, max_size=30), kind=st.sampled_from(['.csv', '.parquet', '.dta', '.sav']))
def test_counts_of_a_survey_agree_in_every_format(answers, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp('o')
    frame = pd.DataFrame({'id': range(len(answers)), 'q': pd.array(answers, dtype='float64')})
    if kind == '.csv':
        frame.to_csv(folder/'x.csv', index=False)
    elif kind == '.parquet':
        frame.to_parquet(folder/'x.parquet')
    elif kind == '.dta':
        frame.to_stata(folder/'x.dta', write_index=False)
    else:
        import pyreadstat
        pyreadstat.write_sav(frame, folder/'x.sav')
    q = dict(scale='ordinal', options={1: 'a', 2: 'b', 3: 'c'}, missing={8: 'dont_know', 9: 'refused'}, blank='not_asked')
    (folder/'codebook.yaml').write_text(yaml.safe_dump(dict(id='x', respondent_id='id', items=dict(q=q))))
    table = Survey.load(folder/f'x{kind}').describe()
    mine = {a if a is not None and a == a else k: n for a, k, n in zip(table.answer, table.kind, table.n) if n}
    words = {1: 'a', 2: 'b', 3: 'c', 8: 'dont_know', 9: 'refused', None: 'not_asked'}
    assert mine == Counter(words[a] for a in answers)


TEXT = st.text(st.characters(exclude_categories=('Cs', 'Cc')), min_size=1, max_size=20)


@settings(**FIXED)
@given(rows=st.lists(st.tuples(TEXT, TEXT, st.floats(0, 1e9, allow_nan=False)), min_size=1, max_size=6))
def test_rows_of_json_agree_with_another_parser(rows, tmp_path_factory):
    import pyarrow.json
    path = tmp_path_factory.mktemp('o')/'x.jsonl'
    made = [dict(record_id=str(i), instruction=f'Q {a}', output=b, weight=w) for i, (a, b, w) in enumerate(rows)]
    path.write_text('\n'.join(json.dumps(r, ensure_ascii=False) for r in made), encoding='utf-8')
    schema = pd.Series({'record_id': 'string', 'instruction': 'string', 'output': 'string', 'weight': 'float64'})
    import pyarrow as pa
    kinds = pa.schema([(k, pa.string() if v == 'string' else pa.float64()) for k, v in schema.items()])
    other = pyarrow.json.read_json(path, parse_options=pyarrow.json.ParseOptions(explicit_schema=kinds)).to_pylist()
    mine = read_records(path).select_columns(list(schema.index)).to_list()
    assert mine == other == made
