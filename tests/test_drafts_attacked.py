"Drafts of tables as people have them: with gaps, codes in words, panels, headings that someone typed anew."
import subprocess
import sys

import pandas as pd
import pytest

from alignsurvey.surveys import Codebook, Metadata, Variable, draft_codebook, from_sheets, guess_roles, to_sheets
from alignsurvey.records.splits import split_records
from alignsurvey.surveys.codebook import read_codebook
from alignsurvey.surveys.draft import missing_kind
from alignsurvey.surveys.survey import draft_codebook_of
from alignsurvey.tasks import Survey


def drafted(**columns):
    "The entries of a draft by column, and its doubts; `id` is put in front."
    n = len(next(iter(columns.values())))
    spec, _ = draft_codebook(pd.DataFrame({'id': range(100, 100 + n), **columns}))
    return {**spec['background'], **spec['items']}, spec.get('doubts', {})


def described(values, labels, name='q', **more):
    "One column's entry and doubts, where a source labels its codes."
    said = Metadata('said', {name: Variable(name, {'en': 'What do you think of it?'},
        options={str(c): {'en': text} for c, text in labels.items()}, **more)})
    spec, _ = draft_codebook(pd.DataFrame({'id': range(len(values)), name: values}), said)
    return spec['items'][name], spec.get('doubts', {}).get(name, [])


def roles_of(frame, **said):
    return guess_roles(frame, Metadata('said', {c: Variable(c, {'en': text}) for c, text in said.items()}))


@pytest.mark.parametrize('name, label', [('weight', 'Design weight'), ('pspwght', ''), ('v9', 'Weighting factor')])
def test_a_weight_with_an_empty_cell_is_still_the_weight_and_looked_at(name, label):
    frame = pd.DataFrame({'id': range(5), name: [.8, 1.2, None, .9, 1.1], 'q': [1, 2, 1, 2, 2]})
    role, why, sure = roles_of(frame, **{name: label} if label else {})[name]
    assert role == 'weight' and not sure and 'empty' in why


def test_a_survey_whose_weight_has_an_empty_cell_is_not_taken_as_unweighted(tmp_path):
    frame = pd.DataFrame({'id': range(5), 'weight': [.8, 1.2, None, .9, 1.1], 'q': [1, 2, 1, 2, 2]})
    frame.to_csv(tmp_path/'s.csv', index=False)
    book = draft_codebook_of(tmp_path/'s.csv')
    assert book.design['weight'] == 'weight' and book.doubts['weight'] == ['design']
    with pytest.raises(ValueError, match="row 4, column 'weight': an empty cell is no weight"):
        Survey.load(tmp_path/'s.csv', book)


def test_a_weight_with_words_among_its_numbers_is_looked_at(tmp_path):
    (tmp_path/'s.csv').write_text('id,weight,q\n1,0.8,1\n2,n/a,2\n3,1.2,1\n4,1.1,2\n')
    book = draft_codebook_of(tmp_path/'s.csv')
    assert book.design['weight'] == 'weight' and book.doubts['weight'] == ['design']
    with pytest.raises(ValueError, match="row 3, column 'weight': 'n/a' is not a number"):
        Survey.load(tmp_path/'s.csv', book)


def test_an_item_or_a_body_with_gaps_is_no_weight():
    frame = pd.DataFrame({'id': range(5), 'w2': [1, 2, None, 4, 2], 'weight': [61, 75, None, 80, 90], 'q': [1, 2, 1, 2, 2]})
    roles = guess_roles(frame)
    assert roles['w2'][0] == roles['weight'][0] == 'item'


def test_a_weight_without_gaps_goes_before_one_with_gaps():
    frame = pd.DataFrame({'id': range(4), 'w_wave2': [.5, None, 1.5, 1], 'w_wave1': [.5, 1, 1.5, 1], 'q': [1, 2, 1, 2]})
    roles = guess_roles(frame)
    assert (roles['w_wave1'][0], roles['w_wave2'][0]) == ('weight', 'spare_weight')


def sheets_of_a_codebook():
    options = {'1': {'en': 'not at all', 'zh': '不'}, '2': {'en': 'a lot', 'zh': '很'}}
    trust = dict(question={'en': 'Trust?', 'zh': '信任?'}, scale='ordinal', options=options, missing={'9': 'refused'})
    spec = dict(id='toy', background={}, items={'trust': trust})
    return spec, to_sheets(spec)[0]


def with_heading(sheets, title, old, new):
    header, *rows = sheets[title]
    return {**sheets, title: [[new if h == old else h for h in header], *rows]}


@pytest.mark.parametrize('title, old, new', [('lists', 'kind', 'Kind'), ('lists', 'label:en', ' Label: EN '), ('lists', 'label:en', 'label'),
    ('questions', 'question:en', 'Question:en'), ('questions', 'question:en', 'question'), ('questions', 'list', 'LIST '), ('lists', 'list', 'List')])
def test_capitals_and_blanks_in_a_heading_change_nothing(title, old, new):
    spec, sheets = sheets_of_a_codebook()
    assert from_sheets(with_heading(sheets, title, old, new))['items'] == spec['items']


def test_a_heading_that_nobody_knows_is_named_with_its_cell():
    _, sheets = sheets_of_a_codebook()
    with pytest.raises(ValueError, match=r"toy.xlsx: sheet lists, cell E1: 'sort' is no heading .*kind"):
        from_sheets(with_heading(sheets, 'lists', 'kind', 'sort'), 'toy.xlsx')
    with pytest.raises(ValueError, match='toy.xlsx: sheet lists, cell E1: there is no heading'):
        from_sheets(with_heading(sheets, 'lists', 'kind', ''), 'toy.xlsx')
    with pytest.raises(ValueError, match="toy.xlsx: sheet lists, cell G1: 'label:en' is a heading before it too"):
        from_sheets(with_heading(sheets, 'lists', 'label:zh', 'Label'), 'toy.xlsx')
    with pytest.raises(ValueError, match="sheet questions, cell A1"):
        from_sheets({**sheets, 'questions': [['seen', *row] if i == 0 else ['x', *row] for i, row in enumerate(sheets['questions'])]}, 'toy.xlsx')


def test_a_column_without_cells_needs_no_heading_that_is_known():
    spec, sheets = sheets_of_a_codebook()
    header, *rows = sheets['lists']
    assert from_sheets({**sheets, 'lists': [[*header, 'my notes'], *rows]})['items'] == spec['items']


def test_a_role_is_read_in_capitals_and_with_blanks_and_a_wrong_one_is_named_with_its_row():
    spec, sheets = sheets_of_a_codebook()
    header, row = sheets['questions']
    typed = lambda role: {**sheets, 'questions': [header, [role if h == 'role' else cell for h, cell in zip(header, row)]]}
    assert from_sheets(typed('Item '))['items'] == spec['items']
    assert from_sheets(typed(' Background'))['background'] == spec['items']
    with pytest.raises(ValueError, match=r"toy.xlsx: sheet questions, row 2: role is 'itme': use one of item, background, .*weight"):
        from_sheets(typed('itme'), 'toy.xlsx')


def test_kinds_and_scales_are_read_in_capitals():
    spec, sheets = sheets_of_a_codebook()
    lists = [[cell.title() if cell in ('option', 'refused', 'ordinal') else cell for cell in row] for row in sheets['lists']]
    assert from_sheets({**sheets, 'lists': lists})['items'] == spec['items']


def test_likert_texts_with_their_code_in_front_have_missing_codes_and_labels_without_it():
    said = ['1 - A lot', '2 - Some', '3 - None at all', "8 - Don't know", '9 - Refused', '2 - Some']
    entries, doubts = drafted(trust=said, care=[text.replace(' -', '.') for text in said], hope=[text.replace(' -', ' =') for text in said])
    for name, mark in dict(trust=' -', care='.', hope=' =').items():
        assert entries[name]['missing'] == {f"8{mark} Don't know": 'dont_know', f'9{mark} Refused': 'refused'}
        assert [t['en'] for t in entries[name]['options'].values()] == ['A lot', 'Some', 'None at all']
        assert list(entries[name]['options'])[0] == f'1{mark} A lot' and entries[name]['scale'] == 'ordinal'
        assert not {'options', 'missing'} & set(doubts[name])


def test_texts_with_a_code_in_front_stand_in_the_order_of_their_codes():
    texts = [f'{i} - {word}' for i, word in enumerate('zero eins zwei drei vier funf sechs sieben acht neun zehn'.split())]
    entries, doubts = drafted(q=texts[::-1])
    assert list(entries['q']['options']) == texts


def test_a_number_that_is_not_a_code_stays_in_the_label():
    ages, homes = ['18 - 24', '25 - 34', '35 - 44'], ['1-person household', '2-person household', '3-person household']
    steps = ['2 - 3 times', '4 - 5 times', '6 - 7 times']
    entries, _ = drafted(a=ages, h=homes, s=steps)
    assert [[t['en'] for t in entries[c]['options'].values()] for c in 'ahs'] == [ages, homes, steps]


def test_unordered_texts_with_a_code_in_front_are_not_surely_ordered():
    entries, doubts = drafted(church=['1 - Catholic', '2 - Protestant', '3 - Jewish', '4 - Muslim'], thing=['1. Apple', '2. Pear', '3. Fig', '1. Apple'])
    assert entries['church']['scale'] == 'nominal' and 'scale' in doubts['thing']


def test_labelled_codes_below_zero_beside_a_scale_from_one_are_no_steps_of_it():
    labels = {1: 'Agree', 2: 'Neither', 3: 'Disagree', -77: 'Filter: not asked', -88: 'Interview aborted'}
    entry, doubts = described([1, 2, 3, -77, -88], labels)
    assert list(entry['options']) == ['1', '2', '3'] and 'missing' in doubts
    assert entry['missing'] == {'-77': 'not_asked', '-88': 'unspecified'}


def test_labelled_codes_below_zero_are_steps_where_the_scale_runs_through_it():
    mirrored = {-2: 'much worse', -1: 'worse', 0: 'same', 1: 'better', 2: 'much better'}
    assert not described([-2, -1, 0, 1, 2], mirrored)[0]['missing']
    assert not described([-1, 0, 1, 2], {-1: 'less', 0: 'same', 1: 'more', 2: 'much more'})[0]['missing']
    assert not described([-5, -3, 0, 2, 5], {-5: 'left', 5: 'right'})[0]['missing']
    assert not described([-3, -1, 1, 3], {-3: 'fully against', -1: 'against', 1: 'for', 3: 'fully for'})[0]['missing']


def test_codes_below_zero_that_touch_the_scale_are_missing_where_their_words_say_so():
    entry, doubts = described([-2, -1, 0, 1], {-2: 'Filter: does not apply', -1: 'Interview aborted', 0: 'no', 1: 'yes'})
    assert entry['missing'] == {'-2': 'not_asked', '-1': 'unspecified'} and 'missing' in doubts


def test_a_scale_with_labelled_ends_has_the_steps_that_nobody_chose():
    entry, doubts = described([1, 2, 5, 9], {1: 'Not at all', 10: 'Absolutely'})
    assert list(entry['options']) == [*map(str, range(1, 11))] and entry['scale'] == 'ordinal' and 'options' in doubts
    assert [t['en'] for t in entry['options'].values()] == ['Not at all', *map(str, range(2, 10)), 'Absolutely']


def test_a_scale_whose_steps_all_have_labels_gets_no_others():
    entry, _ = described([1, 2, 4], {1: 'never', 2: 'sometimes', 4: 'always'})
    assert list(entry['options']) == ['1', '2', '4']
    entry, doubts = described([0, 1, 2, 3, 4], {0: 'never', 4: 'always'})
    assert list(entry['options']) == [*'01234'] and 'options' not in doubts


MARKS = ['#NULL!', '.', 'NaN', '#N/A', 'Inf', '<NA>', '#VALUE!']


@pytest.mark.parametrize('mark', MARKS)
def test_what_a_program_writes_for_nothing_is_no_answer(tmp_path, mark):
    (tmp_path/'s.csv').write_text('id,age,trust,vote\n' + ''.join(f'{i},{a},{t},{v}\n' for i, (a, t, v) in enumerate(
        [(34, 1, 'yes'), (51, 2, 'no'), (mark, 3, mark), (62, mark, 'yes'), (29, 2, 'no'), (77, 1, 'perhaps')])))
    book = draft_codebook_of(tmp_path/'s.csv')
    age, trust, vote = (book.questions[name] for name in ('age', 'trust', 'vote'))
    assert [list(q.missing.values()) for q in (age, trust, vote)] == [['no_answer']]*3
    assert age.scale == 'numeric' and list(age.range) == [0, 77]
    assert list(trust.options) == [*'123'] and list(vote.options) == ['no', 'perhaps', 'yes']
    assert Survey.load(tmp_path/'s.csv', book).describe().n.sum() == 12


def test_such_a_mark_is_no_answer_where_a_description_labels_the_codes():
    entry, _ = described(['1', '2', '#NULL!', '.'], {1: 'no', 2: 'yes'})
    assert entry['missing'] == {'#NULL!': 'no_answer', '.': 'no_answer'} and list(entry['options']) == ['1', '2']


@pytest.mark.parametrize('name', ['respondent_id', 'pid', 'caseid', 'person'])
def test_an_id_that_stands_several_times_is_in_doubt(name):
    n = 60
    frame = pd.DataFrame({name: [1000 + i//3 for i in range(n)], 'wave': [i % 3 for i in range(n)], 'q': [i % 2 for i in range(n)]})
    role, why, sure = guess_roles(frame)[name]
    assert role == 'id' and not sure and 'several times' in why
    spec, guesses = draft_codebook(frame)
    assert spec['other'][name] == 'id' and spec['doubts'][name] == ['design'] and 'respondent_id' not in spec
    assert any(g['question'] == name and 'wave' in g['why'] and 'psu' in g['why'] for g in guesses)


def test_a_party_id_is_no_person_and_a_household_beside_an_id_no_panel():
    frame = pd.DataFrame({'id': range(40), 'pid': [i % 7 for i in range(40)], 'hhid': [i//2 for i in range(40)], 'q': [i % 2 for i in range(40)]})
    roles = guess_roles(frame)
    assert roles['pid'][0] == 'item' and roles['hhid'] == ('id', 'its name and values', True)


def test_a_panel_is_split_by_people_where_their_column_is_the_psu(tmp_path):
    frame = pd.DataFrame({'pid': [1000 + i//3 for i in range(60)], 'wave': [i % 3 for i in range(60)], 'trust': [i % 2 + 1 for i in range(60)],
        'sex': [i//3 % 2 + 1 for i in range(60)]})
    frame.to_csv(tmp_path/'p.csv', index=False)
    spec, _ = draft_codebook(frame)
    spec = {**spec, 'psu': 'pid', 'other': {}}
    survey = Survey(frame, read_codebook(spec, 'p.yaml'))
    splits = split_records(survey.records('response'), by='psu', test=.3)
    people = [set(part['psu']) for part in splits.values()]
    assert not people[0] & people[1] and sum(map(len, splits.values())) == 60
    with pytest.raises(ValueError, match='use respondent, item, wave, psu'):
        split_records(survey.records('response'), by='person')


def test_answers_of_several_lines_are_open(tmp_path):
    (tmp_path/'why.csv').write_text('id,why\n' + ''.join(f'{i},"too dear\nand far {i}"\n' for i in range(6)))
    book = draft_codebook_of(tmp_path/'why.csv')
    assert book.items['why'].scale == 'open'
    Survey.load(tmp_path/'why.csv', book)


def test_columns_without_a_heading_are_left_out_with_a_word(tmp_path):
    (tmp_path/'r.csv').write_text('"","id","q"\n"1",11,1\n"2",12,2\n"3",13,1\n')
    (tmp_path/'t.csv').write_text('id,q,\n1,1,\n2,2,x\n3,1,\n')
    book = draft_codebook_of(tmp_path/'r.csv')
    assert book.other == {'Unnamed: 0': 'ignore'} and list(book.items) == ['q'] and not book.doubts.get('Unnamed: 0')
    assert 'no heading' in book.guesses().set_index('question').why['Unnamed: 0']
    book = draft_codebook_of(tmp_path/'t.csv')
    assert book.other == {'Unnamed: 2': 'ignore'} and book.doubts['Unnamed: 2'] == ['design']


def test_a_number_from_one_keeps_its_lowest_and_is_looked_at():
    said = lambda name: Metadata('said', {name: Variable(name, {'en': 'How many?'}, scale='numeric')})
    for name, values, expected in [('place', [1, 2, 3, 2], (1, 3)), ('mean', [1, 2.5, 7, 4], (1, 7, .5)), ('visits', [1, 30, 12, 2], (0, 30))]:
        spec, guesses = draft_codebook(pd.DataFrame({'id': range(4), name: values}), said(name))
        sure = next(g['sure'] for g in guesses if g['field'] == 'range')
        assert tuple(spec['items'][name]['range']) == expected and sure == (expected[0] == 0)
        assert ('range' in spec.get('doubts', {}).get(name, [])) == (expected[0] == 1)


SCALES = ["Pas du tout d'accord|Plutôt pas d'accord|Ni d'accord ni pas d'accord|Plutôt d'accord|Tout à fait d'accord",
    "Pas du tout d’accord|Pas d’accord|D’accord|Très d’accord", 'Jamais|Rarement|Parfois|Souvent|Toujours',
    'Pas du tout important|Peu important|Assez important|Très important', 'Très insatisfait|Plutôt insatisfait|Plutôt satisfait|Très satisfait',
    'stimme überhaupt nicht zu|stimme eher nicht zu|teils/teils|stimme eher zu|stimme voll und ganz zu',
    'trifft gar nicht zu|trifft eher nicht zu|trifft eher zu|trifft voll zu', 'nie|seltener|monatlich|wöchentlich|täglich',
    'nie|selten|manchmal|oft|immer', 'sehr unzufrieden|eher unzufrieden|teils, teils|eher zufrieden|sehr zufrieden',
    'Muy en desacuerdo|En desacuerdo|Ni de acuerdo ni en desacuerdo|De acuerdo|Muy de acuerdo', 'Nunca|Casi nunca|A veces|A menudo|Siempre',
    'Nada importante|Poco importante|Bastante importante|Muy importante']


@pytest.mark.parametrize('texts', SCALES)
def test_likert_texts_in_french_german_and_spanish_are_in_their_order(texts):
    texts = texts.split('|')
    entries, doubts = drafted(q=texts[::-1] + sorted(texts))
    assert entries['q']['scale'] == 'ordinal' and list(entries['q']['options']) == texts
    assert doubts['q'] == ['question']


def test_texts_that_share_words_may_be_a_scale_and_are_looked_at():
    entries, doubts = drafted(q=['bra dag', 'god dag', 'fin dag', 'trist dag'], colour=['red', 'blue', 'green', 'grey'])
    assert 'scale' in doubts['q'] and 'scale' not in doubts['colour']


@pytest.mark.parametrize('text, kind', [('Ne se prononce pas', 'no_answer'), ('Ne sait pas', 'dont_know'), ('Sans opinion', None)])
def test_french_for_no_answer(text, kind):
    assert missing_kind(text) == kind


def test_two_capital_letters_among_others_are_places():
    entries, _ = drafted(prov=['ON', 'QC', 'NS', 'BC', 'NB', 'AB', 'NA', 'NC'], trust=['yes', 'no', 'NS', 'perhaps', 'NA', 'yes', 'no', 'yes'])
    assert not entries['prov']['missing'] and 'NS' in entries['prov']['options']
    assert entries['trust']['missing'] == {'NS': 'dont_know', 'NA': 'no_answer'}


def test_codes_that_differ_in_capitals_get_a_number_and_not_themselves_again():
    entries, doubts = drafted(gender=['Non-Binary', 'Non-binary', 'Male', 'Female', 'Male'], q=['Yes', 'yes', 'No', 'YES', 'yes'])
    labels = {c: t['en'] for c, t in entries['gender']['options'].items()}
    assert labels['Male'] == 'Male' and labels['Non-Binary'] == 'Non-Binary (3)' and labels['Non-binary'] == 'Non-binary (4)'
    assert not any('(Yes)' in t['en'] or ') (' in t['en'] for t in entries['q']['options'].values())
    assert 'options' in doubts['gender'] and 'options' in doubts['q']


def test_the_order_of_a_categorical_is_kept(tmp_path):
    kinds = pd.CategoricalDtype(['tiny', 'mid', 'vast', 'never seen', "Don't know"], ordered=True)
    frame = pd.DataFrame({'id': range(5), 'q': pd.Series(['vast', 'tiny', 'mid', "Don't know", 'tiny'], dtype=kinds),
        'town': pd.Categorical(['b', 'a', 'c', 'a', 'b'], ['c', 'b', 'a'])})
    frame.to_parquet(tmp_path/'s.parquet')
    book = draft_codebook_of(tmp_path/'s.parquet')
    q = book.items['q']
    assert q.scale == 'ordinal' and list(q.options) == ['tiny', 'mid', 'vast', 'never seen'] and q.missing == {"Don't know": 'dont_know'}
    assert book.questions['town'].scale == 'nominal' and 'scale' not in book.doubts['q']
    survey = Survey.load(tmp_path/'s.parquet', book)
    assert survey.describe().set_index('answer').n['tiny'] == 2


def test_marks_survive_a_codebook_that_is_saved(tmp_path):
    column = pd.Series([*'123', *MARKS, 'null', *'123'])
    pd.DataFrame({'id': range(len(column)), 'q': column}).to_csv(tmp_path/'s.csv', index=False)
    book = draft_codebook_of(tmp_path/'s.csv')
    for name in 'c.yaml', 'c.xlsx':
        again = Codebook.load(book.save(tmp_path/name))
        assert again.items['q'].missing == book.items['q'].missing and len(again.items['q'].missing) == len(MARKS) + 1
        Survey.load(tmp_path/'s.csv', again)


def test_the_command_says_why_the_design_must_be_looked_at(tmp_path):
    (tmp_path/'p.csv').write_text('respondent_id,wave,weight,q\n1,1,0.8,1\n1,2,,2\n2,1,1.2,1\n2,2,1.1,2\n')
    command = [sys.executable, '-m', 'alignsurvey', 'codebook', str(tmp_path/'p.csv'), str(tmp_path/'p.yaml')]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 'to look at: respondent_id, id: stands several times: if people were asked in several waves' in said
    assert 'to look at: weight, weight: its name, but some cells are empty or no number' in said
