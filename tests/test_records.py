"Records: orders, splits, files, and the benchmark's published form."
import json
import pytest
from hypothesis import given, settings, strategies as st
from alignsurvey.records.splits import check_leakage, split_records
from alignsurvey.records.schema import find_options
from alignsurvey.records.reading import make_records, read_records, write_records
from alignsurvey.records.orders import reorder
from alignsurvey.all import Survey
from alignsurvey.tasks.registry import parse_answer


@pytest.fixture(scope='module')
def gss(): return Survey.load('gss2018').records('response', items=['natroad', 'natsci'], respondents=200, verbose=False)


@pytest.mark.parametrize('how', ['shuffle', 'reverse'])
def test_reorder_keeps_the_answer(gss, how):
    for a, b in zip(gss, reorder(gss, how, seed=4)):
        assert b['answer'] == a['answer'] == b['options'][b['answer_index']] and sorted(a['options']) == sorted(b['options'])
        assert find_options(b['instruction']) == b['options'] and b['output'].endswith(b['answer'])
        assert dict(zip(a['options'], a['positions'])) == dict(zip(b['options'], b['positions']))


def test_shuffle_uses_all_orders(gss):
    orders = [tuple(o) for o in reorder(gss, 'shuffle', seed=1)['options']]
    assert len(set(orders)) == 6 and max(map(orders.count, set(orders))) < len(orders)/3


@pytest.mark.parametrize('suffix', ['.json', '.jsonl'])
def test_file_round_trip(gss, tmp_path, suffix):
    assert read_records(write_records(gss, tmp_path/f'r{suffix}')).to_list() == gss.to_list()


def test_item_split_holds_families_together(gss):
    two = gss.map(lambda r: {'family': 'space' if r['question_id'] == 'natsci' else 'road'}, load_from_cache_file=False)
    parts = split_records(two, 'item', test=.5)
    assert not set(parts['train']['family']) & set(parts['test']['family'])
    parts['test'] = two
    with pytest.raises(ValueError, match='is in both train and test'): check_leakage(parts, 'item')


@given(st.lists(st.text(st.characters(categories=('L', 'N')), min_size=3, max_size=9), min_size=2, max_size=6, unique_by=str.casefold), st.data())
@settings(max_examples=150, deadline=None)
def test_parse_gives_back_what_was_rendered(options, data):
    i = data.draw(st.integers(0, len(options) - 1))
    letter, text = chr(65 + i), options[i]
    for form in (letter, f'({letter})', f'{letter}.', f'{letter}. {text}', text): 
        got = parse_answer(form, dict(options=options))
        assert got == (i, 'ok', None), (form, got)


def test_published_survey_answers(reference):
    rows = json.loads((reference/'task4_chip.json').read_text())
    records = read_records(reference/'task4_chip.json')
    assert len(records) == len(rows)
    for row, r in zip(rows, records):
        assert r['options'] and r['respondent_id'] == row['person_id'] and r['question'] == row['question'] and r['scale'] == 'unknown'
    named = [r for r in records if r['answer_index'] is not None]
    assert len(named) > .95*len(records)
    for r in named: assert parse_answer(r['output'], r)[0] == r['answer_index']


@pytest.mark.parametrize('text, said', [('[1', 'is not valid JSON'), ('[1]', 'record 1 is not an object'), ('[]', 'has no records'), ('[{"output": "A"}]', 'record 1: has no instruction'),
    ('[{"instruction": "q", "weight": -1}]', 'weight -1 is negative')])
def test_one_sentence(tmp_path, text, said):
    (tmp_path/'r.json').write_text(text)
    with pytest.raises(ValueError, match=said): read_records(tmp_path/'r.json')
