"Any survey file: one survey in many formats is one survey, a file is its own codebook, and what is broken says so in one sentence."
import contextlib, importlib.util, math, os, tracemalloc
from pathlib import Path
import numpy as np, pandas as pd, pyreadstat, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from alignsurvey.files.tables import LABELLED, guess_encoding, labelled_table, read_table
from alignsurvey.surveys.bundled import find_data
from alignsurvey.surveys.draft import draft_codebook, missing_kind
from alignsurvey.records.schema import records_hash
from alignsurvey.surveys.codebook import Codebook, labels
from alignsurvey.all import Survey
from alignsurvey.surveys.survey import coded

FIXED = dict(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TRUST = {1: 'not at all', 2: 'etwas', 3: '非常信任', 8: "don't know", 9: 'refused'}
BOOK = '''id: x
respondent_id: id
weight: w
stratum: st
background:
  age: {scale: numeric, bins: [18, 40, 99], missing: {999: refused}}
  town: {scale: open}
items:
  trust: {scale: ordinal, options: {1: not at all, 2: etwas, 3: 非常信任}, missing: {8: dont_know, 9: refused}, blank: not_asked}
  vote: {scale: nominal, options: {y: 'yes', n: 'no'}}
'''


def people(n=40):
    rng = np.random.default_rng(0)
    return pd.DataFrame({'id': np.arange(n) + 100, 'age': np.where(rng.random(n) < .1, 999, rng.integers(18, 98, n)),
        'town': rng.choice(['Tromsø', '北京', ''], n), 'st': rng.integers(1, 4, n),
        'trust': np.where(rng.random(n) < .2, np.nan, rng.choice(list(TRUST), n)), 'vote': rng.choice(['y', 'n'], n), 'w': rng.gamma(2, size=n)})


def write(frame, path, *, sav=None, **kw):
    "One frame in the format of the path's ending; `sav` are arguments that only SPSS files know."
    kind = path.suffix.lower()
    if kind == '.csv': frame.to_csv(path, index=False)
    elif kind == '.parquet': frame.to_parquet(path)
    elif kind == '.dta': pyreadstat.write_dta(frame, path, **kw)
    elif kind == '.por': pyreadstat.write_por(frame, path)
    elif kind == '.xpt': pyreadstat.write_xport(frame, path)
    else: pyreadstat.write_sav(frame, path, compress=kind == '.zsav', **kw, **(sav or {}))
    return path


def one_sentence(call, *said):
    with pytest.raises((ValueError, OSError)) as e: call()
    text = str(e.value)
    assert '\n' not in text and 'Traceback' not in text and 'readstat' not in text, text
    assert not said or any(s in text for s in said), text
    return text


# --- One survey in many formats

@pytest.mark.parametrize('ending', ['.parquet', '.sav', '.SAV', '.zsav', '.dta'])
def test_the_same_records_whatever_the_format(ending, tmp_path):
    (tmp_path/'codebook.yaml').write_text(BOOK)
    a = Survey.load(write(people(), tmp_path/'a.csv'))
    b = Survey.load(write(people(), tmp_path/f'b{ending}', column_labels={'trust': 'How much?'}, variable_value_labels={'trust': TRUST}))
    pd.testing.assert_frame_equal(a.frame, b.frame)
    a, b = (s.records(verbose=False) for s in (a, b))
    assert a.to_list() == b.to_list() and len(a) > 20 and records_hash(a) == records_hash(b)


@pytest.mark.parametrize('ending', ['.por', '.xpt'])
def test_old_transport_formats(ending, tmp_path):
    frame = people().drop(columns='town').rename(columns=str.upper)
    back, notes = read_table(write(frame, tmp_path/f'b{ending}'))
    want, _ = read_table(write(frame, tmp_path/'a.csv'))
    pd.testing.assert_frame_equal(back.drop(columns='W'), want.drop(columns='W'))
    np.testing.assert_allclose(back.W, want.W, rtol=1e-6)    # .por writes 30 base-30 digits at most, .xpt uses IBM floats
    assert notes.missing == {}


def test_only_the_columns_that_the_codebook_names(tmp_path):
    path = write(people(), tmp_path/'a.sav', column_labels={'trust': 'How much?', 'age': 'Age'})
    frame, notes = read_table(path, ['vote', 'trust'])
    assert list(frame) == ['vote', 'trust'] and notes.wording == {'trust': 'How much?'}
    assert "has no column 'gender', which the codebook names: it has id, age, town" in one_sentence(lambda: read_table(path, ['trust', 'gender']))


def test_dates_do_no_harm(tmp_path):
    days = pd.DataFrame({'day': pd.to_datetime(['2018-03-01', None]).date, 'far': [1e12, 1.4e10], 'q': [1., 2.]})
    frame, _ = read_table(write(days, tmp_path/'a.sav', sav=dict(variable_format={'far': 'DATE11'})))
    assert frame.far.tolist() == [1e12, 1.4e10] and len(frame) == 2
    frame, _ = read_table(write(days[['day', 'q']], tmp_path/'b.sav'))
    assert frame.day.tolist()[0] == '2018-03-01' and pd.isna(frame.day[1])
    survey = Survey(frame, Codebook.draft(frame), 'b.sav')
    assert Survey.load(survey.save(tmp_path/'saved')).frame.equals(frame)


# --- A file is its own codebook

WORDS = st.one_of(st.text(st.characters(exclude_categories=('Cs', 'Cc', 'Cn', 'Zl', 'Zp')), max_size=12),
    st.sampled_from(['', '👍🏽', 'ja', 'ja', '是', 'نعم', '12', 'NA', 'null', "don't know"]))


@settings(**FIXED)
@given(words=st.lists(WORDS, min_size=2, max_size=6), wording=WORDS,
    ending=st.sampled_from(['.sav', '.dta', '.zsav']), answers=st.lists(st.integers(0, 7), min_size=3, max_size=12))
def test_odd_labels_survive(words, wording, ending, answers, tmp_path_factory):
    "Values without labels, labels without values, labels twice or empty: each code keeps its own words."
    folder = tmp_path_factory.mktemp('s')
    frame = pd.DataFrame({'id': range(len(answers)), 'q': answers})
    given_ = {i: w for i, w in enumerate(words) if w.strip()}
    survey = Survey.load(write(frame, folder/f'x{ending}', column_labels={'q': wording}, variable_value_labels={'q': given_} if given_ else {}))
    q = survey.codebook.items['q']
    said = next(iter(q.question.values()))
    assert said == (wording.strip() or 'q') and q.guessed
    index, kind = coded(survey, 'q')
    if q.options:
        there, found = {*answers, *given_}, {int(c) for c in {*q.options, *q.missing}}
        steps = found - there    # of a scale, which nobody chose
        assert there <= found and all(min(there) < c < max(there) for c in steps) and len(set(labels(q))) == len(q.options)
        assert not steps or 'steps that nobody chose' in str(q.guessed)
        assert list(q.options) == sorted(q.options, key=int)
        for code, option in q.options.items():
            word = given_.get(int(code), code).strip()
            assert next(iter(option.values())) == word or next(iter(option.values())).startswith(f'{word} ({code})')
    for a, i, k in zip(answers, index, kind):
        if q.options and str(a) in q.options: assert list(q.options)[i] == str(a) and k is None
        elif str(a) in q.missing: assert i == -1 and k == missing_kind(given_[a])
    survey.codebook.save(folder/'codebook.yaml')
    again = Survey.load(folder/f'x{ending}')
    assert again.codebook.questions == survey.codebook.questions and again.frame.equals(survey.frame)
    assert again.describe().n.sum() == len(answers)


def drafted(tmp_path, frame, **kw):
    survey = Survey.load(write(pd.DataFrame(frame), tmp_path/'x.sav', **kw))
    g = survey.codebook.guesses()
    return survey, {(r.question, r.field): (r.guess, r.why) for r in g.itertuples()}


def test_what_cannot_be_known_is_listed(tmp_path, capsys):
    people = {'id': [1, 2, 3, 4], 'same': [1, 2, 3, 1], 'bare': [1, 2, 3, 6], 'kids': [0, 3, 99, 98]}
    words = {'same': {1: 'yes', 2: 'no', 3: 'yes'}, 'bare': {1: 'a', 2: 'b', 3: 'c', 4: 'd'}, 'kids': {98: "Don't know", 99: 'Refused'}}
    survey, g = drafted(tmp_path, people, column_labels={'same': 'Same?', 'bare': 'Bare?', 'kids': 'Kids?'}, variable_value_labels=words,
        sav=dict(missing_ranges={'kids': [{'lo': 97, 'hi': 99}]}))
    said = capsys.readouterr().out
    assert said.count('\n') == 1 and f"{len(survey.codebook.guesses())} things were guessed" in said and 'codebook.yaml' in said
    items = survey.codebook.items
    assert labels(items['same']) == ['yes (1)', 'no', 'yes (3)'] and g['same', 'options'][0] == 'yes (1), yes (3)'
    assert labels(items['bare']) == ['a', 'b', 'c', 'd', '6'] and g['bare', 'options'] == ('6', 'codes without a label, so the code is the label')
    assert items['kids'].scale == 'numeric' and items['kids'].missing == {'98': 'dont_know', '99': 'refused'}
    assert all(q.guessed for q in items.values()) and ('bare', 'part') in g and ('id', 'design') in g
    survey.codebook.save(tmp_path/'codebook.yaml')
    assert 'guessed: true' in (tmp_path/'codebook.yaml').read_text() and len(Survey.load(tmp_path/'x.sav').codebook.guesses())


def test_measurement_level_is_the_files(tmp_path):
    kw = dict(variable_value_labels={c: {1: 'a', 2: 'b', 3: 'c'} for c in 'onsu'}, sav=dict(variable_measure={'o': 'ordinal', 'n': 'nominal', 's': 'scale'}))
    survey, g = drafted(tmp_path, {'id': [1, 2, 3], **{c: [1, 2, 3] for c in 'onsu'}}, **kw)
    assert {c: survey.codebook.items[c].scale for c in 'onsu'} == dict(o='ordinal', n='nominal', s='ordinal', u='ordinal')
    assert ('o', 'scale') not in g and ('n', 'scale') not in g and ('s', 'scale') in g and ('u', 'scale') in g


def test_stata_keeps_its_missing_values_apart(tmp_path):
    frame = pd.DataFrame({'id': [1, 2, 3, 4, 5], 'q': [1, 2, 'a', 'b', 3]})
    words = {'q': {1: 'no', 2: 'maybe', 3: 'yes', 'a': 'Vet ikke'}}
    survey = Survey.load(write(frame, tmp_path/'x.dta', variable_value_labels=words, missing_user_values={'q': ['a', 'b']}))
    assert survey.codebook.items['q'].missing == {'.a': 'dont_know', '.b': 'unspecified'}
    assert labels(survey.codebook.items['q']) == ['no', 'maybe', 'yes']
    assert list(coded(survey, 'q')[1]) == [None, None, 'dont_know', 'unspecified', None]
    assert Survey.load(survey.save(tmp_path/'saved')).frame.equals(survey.frame)


def test_a_weight_that_is_text_is_no_weight(tmp_path):
    frame = pd.DataFrame({'id': [1, 2, 3], 'weight': ['heavy', 'light', 'heavy'], 'q': [1, 2, 2]})
    assert 'weight' not in Survey.load(write(frame, tmp_path/'x.sav')).codebook.design
    (tmp_path/'codebook.yaml').write_text('id: x\nrespondent_id: id\nweight: weight\nitems: {q: {scale: nominal, options: {1: a, 2: b}}}\n')
    assert "x.sav: row 1, column 'weight': 'heavy' is not a number" in one_sentence(lambda: Survey.load(tmp_path/'x.sav'))


def test_a_declared_missing_value_is_no_number(tmp_path):
    (tmp_path/'codebook.yaml').write_text('id: x\nitems: {hours: {scale: numeric}}\n')
    path = write(pd.DataFrame({'hours': [8, 999, 7]}), tmp_path/'x.sav', sav=dict(missing_ranges={'hours': [999]}))
    assert "x.sav: row 2, column 'hours': '999' is declared missing in the file" in one_sentence(lambda: Survey.load(path))


WHY = {
    'dont_know': ['DK', '(VOL.) Don’t know', '不知道', '说不清', 'Weiß nicht', 'Ne sait pas', 'Vet ikke'],
    'refused': ['REFUSED', '拒绝回答', 'Verweigert', 'Refus', 'Vil ikke svare'],
    'no_answer': ['No answer', 'keine Angabe', 'Sans réponse', 'Ubesvart'],
    'not_asked': ['Inapplicable', 'IAP', '不适用', 'trifft nicht zu', 'Sans objet', 'Ikke relevant', 'skipped on web'],
    'unspecified': ['DK/Refused', 'weiß nicht / keine Angabe', '(DO NOT READ) Don’t know or refused'],
    None: ['no', 'Refused the offer', 'No answer is right', 'not sure', '']}


@pytest.mark.parametrize('label, kind', [(l, k) for k, ls in WHY.items() for l in ls])
def test_why_there_is_no_answer(label, kind): assert missing_kind(label) == kind


def test_chinese_wordings_make_a_chinese_codebook(tmp_path):
    survey, _ = drafted(tmp_path, {'id': [1, 2, 3], 'a1': [1, 2, 1], 'q': [1, 2, 98]}, column_labels={'a1': '性别', 'q': '您幸福吗？'},
        variable_value_labels={'a1': {1: '男', 2: '女'}, 'q': {1: '幸福', 2: '不幸福', 98: '不知道'}})
    assert list(survey.codebook.background) == ['a1'] and survey.codebook.items['q'].missing == {'98': 'dont_know'}
    assert '您幸福吗？' in survey.records(lang='zh', verbose=False)[0]['instruction']


def test_a_sas_catalog_beside_the_data(tmp_path, monkeypatch):
    "Nothing here can write SAS files, so pyreadstat's answers are stood in for; files that others wrote are read below."
    frame = pd.DataFrame({'q': [1., 2.], 's': ['a', 'b']})
    pyreadstat.write_sav(frame, tmp_path/'x.sav')
    _, data = pyreadstat.read_sav(tmp_path/'x.sav')
    _, catalog = pyreadstat.read_sav(tmp_path/'x.sav')
    data.variable_to_label = {'q': 'YESNO', 's': '$AB'}
    catalog.value_labels = {'yesno': {1.: 'yes', 2.: 'no', 'A': 'refused'}, '$AB': {'a': 'Oslo', 'b': 'Bergen'}}
    monkeypatch.setattr(pyreadstat, 'read_sas7bdat', lambda path, **kw: (frame, data))
    monkeypatch.setattr(pyreadstat, 'read_sas7bcat', lambda path, **kw: (None, catalog))
    (tmp_path/'x.sas7bdat').write_bytes(bytes(12) + b'\xc2\xea\x81\x60')
    assert labelled_table(tmp_path/'x.sas7bdat')[1].labels == {}
    (tmp_path/'x.sas7bcat').touch()
    notes = labelled_table(tmp_path/'x.sas7bdat')[1]
    assert notes.labels == {'q': {'1': 'yes', '2': 'no', '.A': 'refused'}, 's': {'a': 'Oslo', 'b': 'Bergen'}} and notes.is_missing('q', '.A')


# --- Text from before Unicode

def old_stata(path, texts, encoding):
    "A Stata 10 file whose text is in some encoding; pandas writes the bytes as they are."
    raw = {c: t.encode(encoding).decode('latin-1') for c, t in enumerate(texts)}
    pd.DataFrame({'q': list(raw)}).to_stata(path, version=114, write_index=False, value_labels={'q': raw})
    return path


@pytest.mark.parametrize('texts, encoding', [(['男性', '女性', '不知道'], 'gb18030'), (['weiß nicht', 'müde', 'Größe'], 'cp1252'),
    (['Ærlig', 'på', 'ø'], 'cp1252'), (['très', 'français', 'œuvre €'], 'cp1252'), (['ja', 'nein'], 'cp1252'), (['是', 'oui'], 'utf-8')])
def test_old_encodings(texts, encoding, tmp_path):
    _, notes = read_table(old_stata(tmp_path/'x.dta', texts, encoding))
    assert list(notes.labels['q'].values()) == texts


def test_an_encoding_that_is_given_is_taken(tmp_path):
    path = old_stata(tmp_path/'x.dta', ['řeka', 'žena'], 'cp1250')
    assert list(read_table(path, encoding='cp1250')[1].labels['q'].values()) == ['řeka', 'žena']
    assert labels(Survey.load(path, encoding='cp1250').codebook.items['q']) == ['řeka', 'žena']
    one_sentence(lambda: read_table(path, encoding='klingon'), 'use a name that exists')
    (tmp_path/'x.csv').write_bytes('q\nžena\n'.encode('cp1250'))
    assert read_table(tmp_path/'x.csv', encoding='cp1250')[0].q[0] == 'žena'
    one_sentence(lambda: read_table(tmp_path/'x.csv', encoding='klingon'), 'use a name that exists')
    one_sentence(lambda: read_table(tmp_path/'x.csv', encoding='ascii'), "encoding='cp1250'")
    one_sentence(lambda: read_table(write(people()[['age']].rename(columns=str.upper), tmp_path/'x.por'), encoding='cp1250'), 'leave encoding out')


def test_a_file_that_lies_about_its_encoding(tmp_path):
    data = write(pd.DataFrame({'q': [1, 2]}), tmp_path/'x.sav', variable_value_labels={'q': {1: 'abc男性xyz', 2: 'no'}}).read_bytes()
    (tmp_path/'y.sav').write_bytes(data.replace('男性'.encode(), '男性男'.encode('gb18030')))
    assert read_table(tmp_path/'y.sav')[1].labels['q']['1'] == 'abc男性男xyz'


@settings(**FIXED)
@given(st.text(min_size=1))
def test_utf8_is_always_recognised(text): assert guess_encoding(text.encode()) == 'utf-8'


# --- Broken files

@pytest.mark.parametrize('ending', ['.sav', '.zsav', '.dta', '.por', '.xpt', '.parquet'])
@pytest.mark.parametrize('share', [0, .01, .1, .3, .6, .9, .99])
def test_a_file_cut_short(ending, share, tmp_path):
    frame = people().drop(columns='town').rename(columns=str.upper)
    data = write(frame, tmp_path/f'a{ending}').read_bytes()
    cut = math.floor(len(data)*share) - (1 if share else 0)
    (tmp_path/f'b{ending}').write_bytes(data[:max(cut, 0)])
    if ending == '.xpt' and share and cut % 80 == 0: pytest.skip('ends between two records')
    one_sentence(lambda: Survey.load(tmp_path/f'b{ending}', Codebook.draft(frame)), f'b{ending}')


@settings(**FIXED)
@given(at=st.integers(0, 6000), byte=st.integers(0, 255))
def test_a_damaged_byte_never_shows_a_traceback(at, byte, tmp_path_factory):
    "Stata files only: damage to the dictionary of a .sav file can end the process inside ReadStat."
    folder = tmp_path_factory.mktemp('s')
    data = bytearray(write(people(10), folder/'a.dta', variable_value_labels={'trust': TRUST}).read_bytes())
    data[at % len(data)] = byte
    (folder/'b.dta').write_bytes(data)
    try: frame, _ = read_table(folder/'b.dta')
    except (ValueError, OSError) as e: assert '\n' not in str(e) and 'b.dta' in str(e)
    else: assert len(frame)


def test_more_rows_than_a_file_can_hold_ask_for_no_memory(tmp_path):
    data = bytearray(write(people(10), tmp_path/'a.dta').read_bytes())
    data[data.index(b'<N>') + 5] = 255    # 16 million rows
    (tmp_path/'b.dta').write_bytes(data)
    tracemalloc.start()
    one_sentence(lambda: Survey.load(tmp_path/'b.dta', Codebook.draft(people())), 'b.dta: is not a readable .dta file: it is cut short')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6, peak


@pytest.mark.parametrize('ending', [*LABELLED, '.parquet'])
@pytest.mark.parametrize('content', [b'hello', b'', b'id,q\n1,2\n', b'PK\3\4' + bytes(100), bytes(1000), bytes(range(256))*10])
def test_not_what_its_ending_says(ending, content, tmp_path):
    (tmp_path/f'x{ending}').write_bytes(content)
    one_sentence(lambda: Survey.load(tmp_path/f'x{ending}', Codebook.draft(people())), f'x{ending}: is not a')


def test_a_file_under_another_name(tmp_path):
    for kind in '.sav', '.dta', '.parquet':
        data = write(people(), tmp_path/f'a{kind}').read_bytes()
        for other in {'.sav', '.dta', '.parquet', '.sas7bdat'} - {kind}:
            (tmp_path/f'b{other}').write_bytes(data)
            one_sentence(lambda: read_table(tmp_path/f'b{other}'), f'is not a {other} file, but looks like {kind}')
    one_sentence(lambda: read_table(tmp_path/'a.xlsx'), "can't read .xlsx: use .csv")


def test_no_rows_and_no_columns(tmp_path):
    for ending in '.sav', '.dta', '.csv', '.parquet': one_sentence(lambda: read_table(write(people(0), tmp_path/f'x{ending}')), f'x{ending}: has no respondents')
    one_sentence(lambda: read_table(write(pd.DataFrame(index=[1, 2]), tmp_path/'y.parquet')), 'y.parquet: has no columns')
    one_sentence(lambda: Survey.load(tmp_path/'x.sav'), 'has no respondents')


def test_the_codebook_of_another_survey(tmp_path):
    path = write(people(), tmp_path/'x.sav')
    one_sentence(lambda: Survey.load(path, find_data('gss2018').with_name('codebook.yaml')), 'x.sav: has no column')
    (tmp_path/'codebook.yaml').write_text(BOOK.replace('8: dont_know, ', ''))
    one_sentence(lambda: Survey.load(path), "column 'trust': code '8' is not in codebook.yaml: add it to options or missing")
    one_sentence(lambda: Survey.load(write(people(), tmp_path/'x.csv'), tmp_path/'nowhere.yaml'), 'no such codebook')


@contextlib.contextmanager
def nobody():
    "Root may read everything, so root becomes somebody else for a while."
    root = os.geteuid() == 0
    if root: os.seteuid(65534)
    try: yield
    finally:
        if root: os.seteuid(0)


def test_no_permission(tmp_path):
    for p in [tmp_path, *list(tmp_path.parents)[:2]]: p.chmod(0o755)
    locked = tmp_path/'locked'; locked.mkdir()
    path = write(people(), locked/'x.sav')
    path.chmod(0); os.chown(path, os.geteuid(), -1)
    with nobody(): one_sentence(lambda: Survey.load(path), 'may not be read: change its permissions')
    path.chmod(0o644); locked.chmod(0)
    try:
        with nobody():
            one_sentence(lambda: Survey.load(path), 'may not be read')
            one_sentence(lambda: Survey.load(locked), 'may not be read')
    finally: locked.chmod(0o755)


# --- Files that others wrote

def package_files(name, pattern):
    "Files that an installed package brought along."
    spec = importlib.util.find_spec(name)
    return sorted(Path(spec.origin).parent.rglob(pattern)) if spec else []


FOLDERS = [Path(f) for f in os.environ.get('ALIGNSURVEY_FILES', '').split(os.pathsep) if f]
OTHERS = package_files('statsmodels', '*.dta') + [p for f in FOLDERS for p in sorted(f.rglob('*')) if p.suffix.lower() in LABELLED]


@pytest.mark.skipif(not OTHERS, reason='no files of others are here: name their folder in ALIGNSURVEY_FILES')
@pytest.mark.parametrize('path', OTHERS, ids=lambda p: p.name)
def test_files_that_others_wrote(path, tmp_path):
    "Each loads with what it says, or says in one sentence why not; Stata and SAS files agree with pandas' own readers."
    try: survey = Survey.load(path)
    except (ValueError, OSError) as e: return one_sentence(lambda: Survey.load(path), path.name)
    frame, notes = read_table(path)
    assert len(survey) == len(frame) and set(survey.frame) == set(frame)
    for name, q in survey.codebook.questions.items():
        said = next(iter(q.question.values()))
        assert said == notes.wording.get(name, name)
        assert not q.options or {*q.options} >= {c for c in notes.labels.get(name, {}) if c not in q.missing}
    survey.codebook.save(tmp_path/'codebook.yaml')
    assert Survey.load(path, tmp_path/'codebook.yaml').codebook.questions == survey.codebook.questions
    pd.testing.assert_frame_equal(Survey.load(survey.save(tmp_path/'saved')).frame, survey.frame)
    if path.suffix.lower() in ('.dta', '.sas7bdat', '.xpt'): agrees_with_pandas(path, frame, notes)


def agrees_with_pandas(path, frame, notes):
    if path.suffix.lower() == '.dta':
        with pd.io.stata.StataReader(path, convert_categoricals=False, convert_dates=False) as reader: other, wordings = reader.read(), reader.variable_labels()
        assert {c: l.strip() for c, l in wordings.items() if l} == notes.wording
    else: other = pd.read_sas(path)
    assert list(other) == list(frame)
    for c in other.columns[other.dtypes.map(pd.api.types.is_numeric_dtype)]:
        if frame[c].dtype.kind in 'if':    # -inf is Stata's lowest number, which pandas takes for missing
            np.testing.assert_allclose(other[c].astype(float), frame[c].astype(float).replace(-np.inf, np.nan))


IDL = package_files('scipy', 'scalar_*.sav')


@pytest.mark.skipif(not IDL, reason="scipy came without its tests' files")
def test_another_programs_sav():
    "IDL also writes .sav files; they hold no survey."
    for p in IDL: one_sentence(lambda: Survey.load(p), f'{p.name}: is not a .sav file')


def test_padded_numbers_are_numbers_where_the_codebook_says_so(tmp_path):
    "01 is a code of its own elsewhere."
    (tmp_path/'x.csv').write_text('id,hours,town\n001,09,01\n1,12,02\n3,99,01\n')
    (tmp_path/'codebook.yaml').write_text("id: x\nrespondent_id: id\nitems:\n  hours: {scale: numeric, range: [0, 24], missing: {99: refused}}\n  town: {options: {'01': a, '02': b}}\n")
    survey = Survey.load(tmp_path/'x.csv')
    assert [(r['respondent_id'], r['answer']) for r in survey.records('number', items=['hours'], verbose=False)] == [('001', '9'), ('1', '12')]
    assert [r['answer'] for r in survey.records('response', items=['town'], verbose=False)] == ['a', 'b', 'a']


def test_what_was_guessed_is_shown_in_full_in_a_narrow_console(tmp_path, capsys):
    survey, g = drafted(tmp_path, {'id': [1, 2, 3, 4], 'bare': [1, 2, 3, 6]}, column_labels={'bare': 'Bare?'}, variable_value_labels={'bare': {1: 'a', 2: 'b', 3: 'c'}})
    guesses = survey.codebook.guesses()
    with pd.option_context('display.width', 80, 'display.max_columns', 0, 'display.max_colwidth', 20):
        console, page = repr(guesses), guesses._repr_html_()
    for guess, why in g.values():
        assert why in console and why in page, why
    assert '...' not in console and 'guess' in console
    assert type(guesses[guesses.sure]) is pd.DataFrame
