"Surveys: what goes in comes out, whatever the labels; and the way in for odd and hostile files."
import string
import numpy as np, pandas as pd, pytest, yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from alignsurvey.surveys.codebook import Codebook, read_codebook, labels
from alignsurvey.surveys.metadata import KINDS
from alignsurvey.records.reading import read_records, write_records
from alignsurvey.all import Survey
from alignsurvey.surveys.survey import background, coded, weights

WORDS = st.text(st.characters(exclude_categories=('Cs', 'Cc')), max_size=12)
CODES = st.one_of(st.integers(-99, 999), st.text(string.ascii_letters + ' äß幸', min_size=1, max_size=4).filter(str.strip))


def plain(label): return ' '.join(label.lower().split())


def is_one_line(label): return bool(label.strip()) and label.splitlines() == [label]


FIXED = dict(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def questions(draw):
    codes = draw(st.lists(CODES, min_size=4, max_size=7, unique_by=str))
    texts = draw(st.lists(WORDS.filter(is_one_line), min_size=len(codes), max_size=len(codes), unique_by=plain))
    k = draw(st.integers(2, len(codes) - 1))
    return dict(question={'en': draw(WORDS.filter(str.strip)), 'zh': draw(WORDS.filter(str.strip))}, scale=draw(st.sampled_from(['ordinal', 'nominal'])), options=dict(zip(codes[:k], texts)),
                missing={c: draw(st.sampled_from(KINDS)) for c in codes[k:]}, blank=draw(st.sampled_from(KINDS)))


@settings(**FIXED)
@given(q=questions(), data=st.data())
def test_round_trip(q, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('s')
    answers = data.draw(st.lists(st.sampled_from([*q['options'], *q['missing'], None]), min_size=1, max_size=8))
    answers[0] = next(iter(q['options']))
    pd.DataFrame({'id': range(len(answers)), 'q': [None if a is None else str(a) for a in answers]}).to_parquet(folder/'x.parquet')
    (folder/'codebook.yaml').write_text(yaml.safe_dump({'id': 'x', 'respondent_id': 'id', 'items': {'q': q}}, allow_unicode=True, sort_keys=False))
    survey = Survey.load(folder/'x.parquet')
    index, kind = coded(survey, 'q')
    for a, i, k in zip(answers, index, kind):
        if a in q['options']: assert (list(q['options'])[i], k) == (a, None)
        else: assert (i, k) == (-1, q['blank'] if a is None else q['missing'][a])
    back = Survey.load(survey.save(folder/'saved'))
    assert back.codebook.questions == survey.codebook.questions and labels(back.codebook.items['q']) == list(q['options'].values())
    pd.testing.assert_frame_equal(back.frame, survey.frame)
    assert survey.describe().n.sum() == len(answers)


def test_words_that_look_like_something_else(tmp_path):
    "NA, None, yes, no and null are answers like any other."
    (tmp_path/'x.csv').write_text('id,q\n1,NA\n2,None\n3,no\n4,null\n5,\n')
    (tmp_path/'codebook.yaml').write_text('id: x\nrespondent_id: id\nitems:\n  q: {scale: nominal, options: {NA: Namibia, None: none at all, no: no, "null": nothing}, blank: refused}\n')
    index, kind = coded(Survey.load(tmp_path/'x.csv'), 'q')
    assert list(index) == [0, 1, 2, 3, -1] and kind[4] == 'refused'


HEAD = 'id,q,w\n'
BOOK = 'id: x\nrespondent_id: id\nweight: w\nitems: {q: {scale: ordinal, options: {1: no, 2: yes}}}\n'


@pytest.mark.parametrize('data, book, said', [
    (HEAD, BOOK, 'x.csv: has no respondents'),
    ('', BOOK, 'x.csv: is not a readable .csv file'),
    (HEAD + '1,1,-1\n', BOOK, "row 2, column 'w': '-1' is a negative weight"),
    (HEAD + '1,1,heavy\n', BOOK, "row 2, column 'w': 'heavy' is not a number"),
    (HEAD + '1,1,\n', BOOK, "row 2, column 'w': an empty cell is no weight"),
    (HEAD + '1,1,0\n', BOOK, 'all weights are 0'),
    (HEAD + '1,1,1\n2,7,1\n', BOOK, "x.csv: row 3, column 'q': code '7' is not in codebook.yaml"),
    (HEAD + '1,1,1\n1,2,1\n', BOOK, "row 3, column 'id': '1' stands twice"),
    ('id,w\n1,1\n', BOOK, "x.csv: has no column 'q'"),
    (HEAD + '1,1,1\n', 'id: x\nitems: {}', 'names no items'),
    (HEAD + '1,1,1\n', 'id: [', 'codebook.yaml: is not valid YAML'),
    (HEAD + '1,1,1\n', '- a\n', 'codebook.yaml: is not a mapping'),
    (HEAD + '1,1,1\n', BOOK.replace('ordinal', 'ordered'), "codebook.yaml: 'q': scale is 'ordered': use one of"),
    (HEAD + '1,1,1\n', BOOK.replace('2: yes', '2: no'), "codes 1 and 2 share the label 'no'"),
])
def test_one_sentence(tmp_path, data, book, said):
    (tmp_path/'x.csv').write_text(data); (tmp_path/'codebook.yaml').write_text(book)
    with pytest.raises(ValueError) as e: Survey.load(tmp_path/'x.csv')
    assert said in str(e.value) and '\n' not in str(e.value)


def test_weighted_shares_against_statsmodels():
    from statsmodels.stats.weightstats import DescrStatsW
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({'id': range(500), 'q': rng.integers(1, 6, 500), 'w': rng.gamma(2, size=500)})
    book = {'id': 'x', 'respondent_id': 'id', 'weight': 'w', 'items': {'q': dict(scale='ordinal', options={i: f'o{i}' for i in range(1, 6)})}}
    table = Survey(frame, read_codebook(book, 'x')).describe()
    for i, share in enumerate(table.share, 1): assert abs(share - DescrStatsW(frame.q == i, frame.w).mean) < 1e-9


def test_draft_loads_again(tmp_path):
    frame = pd.DataFrame({'id': [1, 2, 3], 'age': [20, 30, 44], 'vote': ['yes', 'no', 'yes'], 'weight': [1., 2., .5]})
    frame.to_csv(tmp_path/'x.csv', index=False)
    Codebook.draft(frame).save(tmp_path/'codebook.yaml')
    survey = Survey.load(tmp_path/'x.csv')
    assert survey.codebook.design == {'respondent_id': 'id', 'weight': 'weight'} and all(q.guessed for q in survey.codebook.questions.values())


def test_weighted_group_shares_against_statsmodels():
    "On a survey with very uneven weights: shares, n and effective n of every cell."
    from statsmodels.stats.weightstats import DescrStatsW
    ess = Survey.load('ess10no')
    cells = ess.records(level='group', by=[['female'], ['female', 'region']], items=['imwbcnt', 'lrscale', 'eu_vote'], verbose=False)
    who, w = background(ess, grouped=True), weights(ess)
    for cell in cells:
        index = coded(ess, cell['question_id'])[0]
        here = np.logical_and.reduce([index >= 0, *(who[b] == v for b, v in cell['groups'].items() if v)])
        design = DescrStatsW(np.eye(len(cell['options']))[index[here]], w[here])
        np.testing.assert_allclose(cell['target'], design.mean, atol=1e-9, rtol=0)
        assert cell['n'] == here.sum() and abs(cell['n_eff'] - w[here].sum()**2/(w[here]**2).sum()) < 1e-9
    assert len(cells) > 20
    table = ess.describe().query("item == 'lrscale' and kind == 'option'")
    index = coded(ess, 'lrscale')[0]
    np.testing.assert_allclose(table.share, DescrStatsW(np.eye(11)[index[index >= 0]], w[index >= 0]).mean, atol=1e-9, rtol=0)


def test_bins_are_the_response_options_of_a_number(tmp_path):
    (tmp_path/'x.csv').write_text('id,h\n1,0\n2,5.5\n3,99\n4,\n')
    book = 'id: x\nrespondent_id: id\nitems: {h: {question: Hours worked, scale: numeric, bins: [0, 1, 10], missing: {99: refused}}}\n'
    (tmp_path/'codebook.yaml').write_text(book)
    r = Survey.load(tmp_path/'x.csv').records(verbose=False)
    assert [(x['options'], x['answer_index'], x['scale'], x['positions']) for x in r] == [(['0-0', '1-9'], i, 'ordinal', [0, 1]) for i in (0, 1)]
    (tmp_path/'x.csv').write_text('id,h\n1,0\n2,10\n')
    with pytest.raises(ValueError, match="row 3, column 'h': '10' is outside the bins"): Survey.load(tmp_path/'x.csv')


LABEL = st.one_of(st.text(st.characters(exclude_categories=('Cs', 'Cc', 'Cn', 'Zl', 'Zp')), min_size=1, max_size=12), st.sampled_from(['👍🏽', '是', 'نعم', 'NA', 'no', 'null', '1.0', '- x', 'a: b', "it's", '"'])).filter(is_one_line)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options=st.lists(LABEL, min_size=2, max_size=6, unique_by=plain), wording=LABEL, answers=st.lists(st.integers(0, 7), min_size=1, max_size=9))
def test_nothing_is_lost_on_the_way_through_a_folder_or_a_file(options, wording, answers, tmp_path_factory):
    "Survey to folder to Survey, and records to Alpaca to records, over odd labels and scripts."
    folder = tmp_path_factory.mktemp('s')
    spec = dict(id='x', respondent_id='id', items=dict(q=dict(question={'en': wording, 'zh': wording}, scale='ordinal', options=dict(enumerate(options)), missing={c: 'refused' for c in range(len(options), 8)}, blank='not_asked')))
    survey = Survey(pd.DataFrame({'id': range(len(answers)), 'q': answers}), read_codebook(spec, 'x'))
    back = Survey.load(survey.save(folder/'s'))
    assert back.codebook.questions == survey.codebook.questions and back.frame.equals(survey.frame)
    if min(answers) >= len(options): return
    for form, ending in [('label_text', 'json'), ('text', 'jsonl')]:
        records = survey.records(answer_form=form, verbose=False)
        again = read_records(write_records(records, folder/f'r.{ending}'))
        assert again.to_list() == records.to_list()


def test_without_an_id_a_respondent_is_the_row_of_the_file(tmp_path):
    "However some are drawn or chosen: else two draws would call different people by one name."
    rows = [f'{i % 2},{i % 3 + 1}' for i in range(30)]
    (tmp_path/'x.csv').write_text('\n'.join(['wave,q', *rows]) + '\n', encoding='utf-8')
    book = 'id: x\nwave: wave\nitems: {q: {scale: ordinal, options: {1: no, 2: maybe, 3: yes}}}\n'
    (tmp_path/'codebook.yaml').write_text(book, encoding='utf-8')
    survey = Survey.load(tmp_path/'x.csv')
    every = survey.records('response', verbose=False)
    answers = dict(zip(every['respondent_id'], every['answer']))
    some = survey.records('response', respondents=8, seed=3, verbose=False)
    second = survey.where(wave=1).records('response', verbose=False)
    for part in some, second:
        assert {r: answers[r] for r in part['respondent_id']} == dict(zip(part['respondent_id'], part['answer']))
    assert set(second['respondent_id']) == {str(n) for n in range(2, 31, 2)}
