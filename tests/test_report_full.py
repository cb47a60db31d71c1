"What a notebook cell can't show about the full report: hostile input, designs, predictors that only choose, print, the command line."
import re
import shutil
import subprocess
import numpy as np, pandas as pd, pytest
from alignsurvey.reporting.study_report import full_report
from alignsurvey.prediction.predictions import write_predictions
from alignsurvey.records.reading import make_records, write_records

EVIL = '<script>alert(1)</script>'


def people(n, items=3, seed=0, **extra):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, (n, items))
    return make_records([dict(task='response', instruction=f'{j}?', output=f'o{v}', options=['o0', 'o1', 'o2'], answer_index=int(v), answer_form='text', scale='ordinal', positions=[0., 1., 2.], source='toy', respondent_id=f'{seed}p{i}', question_id=f'q{j}',
        groups=dict(age='old' if i % 3 else 'young', town=f'only {i}' if i < 2 else 'other'), **{k: f(i, j) for k, f in extra.items()}) for i, row in enumerate(y) for j, v in enumerate(row)])


def model(records, seed=1, **columns):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=list(map(list, rng.dirichlet([3, 3, 3], len(records)))), status='ok', elicitation='score') | columns)


def checked(page):
    "The page's text, after what every page must fulfil."
    text = page.read_text()
    tables = ' '.join(re.findall('<table.*?</table>', text, re.S))
    assert tables and not re.search(r'\b(nan|NaN|None|NaT)\b', tables)
    alts = re.findall('<img [^>]*alt="([^"]*)"', text)
    assert len(alts) == text.count('<img') and all(re.search(r'\bn (=|of|up)', a) for a in alts)
    for name in re.findall('href="(numbers/[^"]*)"', text): assert len(pd.read_csv(page.parent/name))
    return text

QUICK = dict(n_boot=100)
RECORDS = people(150)


def test_identical_predictors_a_cell_of_one_and_markup(tmp_path):
    records = make_records([{**r, 'instruction': EVIL + r['question_id']} for r in RECORDS.to_list()])
    frame = model(records)
    text = checked(full_report(records, dict(twin=frame, model=frame), tmp_path/'a', train=people(120, seed=5), **QUICK))
    assert EVIL not in text and '&lt;script&gt;' in text
    assert 'suppressed: fewer than 30 respondents' in text and 'not shown to differ from twin' in text

def test_an_item_nobody_answered(tmp_path):
    "Every prediction of one item failed; the others are scored."
    frame = model(RECORDS)
    frame['status'] = ['unparsed' if q == 'q1' else 'ok' for q in RECORDS['question_id']]
    text = checked(full_report(RECORDS, dict(model=frame), tmp_path/'a', **QUICK))
    assert '150 unparsed left out' in text and 'nothing left to score' in text

def test_everything_failed(tmp_path):
    text = checked(full_report(RECORDS, dict(model=model(RECORDS, status='error')), tmp_path/'a', **QUICK))
    assert '450 error' in text

def test_a_predictor_that_only_chose(tmp_path):
    frame = model(RECORDS).drop(columns='probs').assign(value=[i % 3 for i in range(len(RECORDS))], elicitation='greedy')
    text = checked(full_report(RECORDS, dict(model=frame), tmp_path/'a', margin=.1, **QUICK))
    assert 'calibration: model gave choices and no probabilities' in text and 'In accuracy, model is' in text

def test_clusters_within_strata_and_validation(tmp_path):
    records = people(160, psu=lambda i, j: str(i//10), stratum=lambda i, j: str(i//40), weight=lambda i, j: 1. + i % 2)
    other, rng = people(100, seed=7), np.random.default_rng(0)
    guess = [y if rng.random() < .6 else (y + 1) % 3 for y in other['answer_index']]
    validation = other, model(other, probs=[[.6 if k == g else .2 for k in range(3)] for g in guess])
    text = checked(full_report(records, dict(model=model(records)), tmp_path/'a', strata=True, validation=validation, margin=1., **QUICK))
    unlooked = ' '.join(re.findall('<li>(.*?)</li>', text))
    for gone in 'weights:', 'clusters:', 'strata:', 'temperature:', 'equivalence:': assert gone not in unlooked
    assert 'best temperature' in text and 'model is equivalent to uniform' in text

def test_one_nominal_item_and_no_background(tmp_path):
    records = make_records([{**r, 'scale': 'nominal', 'positions': None, 'groups': None} for r in people(60, items=1).to_list()])
    text = checked(full_report(records, dict(model=model(records)), tmp_path/'a', **QUICK))
    for said in 'subgroups: the records carry no background variables', 'correlations: 0 items have ranks', 'use: no item': assert said in text

def test_refusals(tmp_path):
    with pytest.raises(ValueError, match='records are of groups'): full_report(RECORDS.map(lambda r: dict(level='group'), load_from_cache_file=False), dict(m=model(RECORDS)), tmp_path/'a')
    with pytest.raises(ValueError, match="two predictors are named 'uniform'"): full_report(RECORDS, dict(uniform=model(RECORDS)), tmp_path/'a')
    with pytest.raises(ValueError, match='has two predictions'): full_report(RECORDS, dict(m=pd.concat([model(RECORDS)]*2)), tmp_path/'a')
    assert not (tmp_path/'a'/'report.html').exists()

def test_a_formula_that_cannot_be_read_is_said_on_the_page(tmp_path):
    text = checked(full_report(RECORDS, dict(model=model(RECORDS)), tmp_path/'a', formula='q0 ~ income', **QUICK))
    assert 'regression: formula' in text

def test_the_command_line(tmp_path, cli):
    write_records(RECORDS, tmp_path/'test.jsonl')
    write_predictions(model(RECORDS).reindex(columns=['record_id', 'text', 'value', 'probs', 'coverage', 'elicitation', 'status', 'why', 'seconds', 'tokens']), tmp_path/'m.jsonl')
    args = ('evaluate', '--records', 'test.jsonl', '--predictions', 'm=m.jsonl', '--full', '--n-boot', '100', '--margin', '.05', '--by', 'age')
    code, out, err = cli(*args, cwd=tmp_path)
    assert code == 0, err
    assert out.strip() == 'scores/report.html' and (tmp_path/'scores.csv').exists() and list((tmp_path/'scores'/'numbers').glob('*.csv'))
    checked(tmp_path/'scores'/'report.html')
    assert cli(*args, cwd=tmp_path)[0] == 2
    code, _, err = cli(*args, '--overwrite', '--validation', 'test.jsonl', cwd=tmp_path)
    assert code == 2 and 'go together' in err


BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')


def bare(text):
    "A text without white space, ligatures or signs that a line end adds."
    text = text.replace('\ufb01', 'fi').replace('\ufb02', 'fl').replace('\ufb00', 'ff')
    return re.sub(r'\s', '', text)


@pytest.mark.skipif(not BROWSER, reason='no Chromium')
def test_everything_is_on_paper(tmp_path):
    "Every metric and every row of every table is printed, and no heading is left alone at a page's foot."
    from pypdf import PdfReader
    page = full_report(RECORDS, dict(model=model(RECORDS)), tmp_path/'a', train=people(120, seed=5), **QUICK)
    ask = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path}/browser', '--no-pdf-header-footer',
        f'--print-to-pdf={tmp_path}/page.pdf', page.as_uri()]
    subprocess.run(ask, capture_output=True, timeout=120, check=True)
    sheets = [sheet.extract_text() for sheet in PdfReader(tmp_path/'page.pdf').pages]
    printed = bare(' '.join(sheets))
    for file in (page.parent/'numbers').glob('table_*.csv'):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        wanted = [*table.columns[1:], *table.to_numpy().ravel()]
        assert [cell for cell in wanted if bare(cell.removeprefix("'")) not in printed] == [], file.name
    titles = re.findall('<h2>(.*?)</h2>', page.read_text())
    assert not {sheet.strip().split('\n')[-1] for sheet in sheets} & set(titles)
