"Drafts of files that a user brought: scales in words, missing codes in other words and languages, ends of ranges, sheets as people leave them."
import random

import openpyxl
import pandas as pd
import pyreadstat
import pytest

from alignsurvey.files.tables import FileNotes
from alignsurvey.records.orders import reorder
from alignsurvey.surveys import Codebook, Metadata, Variable, draft_codebook, known_order, label_order, unread_parts
from alignsurvey.surveys.codebook import count_decisions, read_codebook
from alignsurvey.surveys.draft import missing_kind
from alignsurvey.tasks import Survey


def drafted(values, name='q', **more):
    "Entry and doubts of one column of a file without labels."
    spec, _ = draft_codebook(pd.DataFrame({'id': range(100, 100 + len(values)), name: values, **more}))
    return {**spec['background'], **spec['items']}[name], set(spec.get('doubts', {}).get(name, [])) - {'question'}


def labelled(labels, measure="", values=None, name="q", missing=()):
    "Entry and doubts of one column of a labelled file."
    values = list(values or labels)*3
    notes = FileNotes(wording={name: "What do you think of it?"}, labels={name: {str(c): text for c, text in labels.items()}}, measure={name: measure} if measure else {},
        missing={name: [(m, m) for m in missing]} if missing else {})
    spec, _ = draft_codebook(pd.DataFrame({'id': range(len(values)), name: values}), notes)
    return {**spec['background'], **spec['items']}[name], set(spec.get('doubts', {}).get(name, []))


# --- Word scales of a .csv

ORDERS = '''Extremely dissatisfied|Somewhat dissatisfied|Neither satisfied nor dissatisfied|Somewhat satisfied|Extremely satisfied
None at all|A little|A moderate amount|A lot|A great deal
Definitely not|Probably not|Might or might not|Probably yes|Definitely yes
Extremely unlikely|Somewhat unlikely|Neither likely nor unlikely|Somewhat likely|Extremely likely
Far below average|Somewhat below average|Average|Somewhat above average|Far above average
Not at all|Several days|More than half the days|Nearly every day
Never|Yearly|Monthly|Weekly|Daily
Never|Less often|Only on special holy days|Once a month|Once a week|More than once a week
Strongly disagree|Disagree|Somewhat disagree|Neither agree nor disagree|Somewhat agree|Agree|Strongly agree
Very liberal|Liberal|Moderate|Conservative|Very conservative
None|One|Two|Three or more
Never|Occas|Regul|Heavy
lessHS|HS|somePS|college|bachelors|higher
not|notvery|somewhat|very
Terrible|Poor|Average|Good|Excellent
Definitely false|Probably false|Probably true|Definitely true
No trust|Some trust|A lot of trust
None of the time|A little of the time|Some of the time|Most of the time|All of the time
Hardly at all|Only now and then|Some of the time|Most of the time
Very low|Low|Medium|High|Very high
Not a problem|Minor problem|Major problem
Decrease|Keep the same|Increase
Against|Neither|For
Never|Hardly ever|Sometimes|Mostly|Nearly always
No|Yes, some|Yes, a lot
None|Mild|Moderate|Severe
Lower class|Working class|Middle class|Upper class
Never|Less than monthly|Monthly|Weekly|Daily or almost daily
Not at all important|Slightly important|Moderately important|Very important|Extremely important
Not at all worried|Not very worried|Fairly worried|Very worried
Much worse|Somewhat worse|About the same|Somewhat better|Much better
Disagree strongly|Disagree a little|Neither agree nor disagree|Agree a little|Agree strongly
Strongly oppose|Somewhat oppose|Somewhat favor|Strongly favor
Very difficult|Difficult|Neither|Easy|Very easy
Strong Democrat|Not very strong Democrat|Independent, near Democrat|Independent|Independent, near Republican|Not very strong Republican|Strong Republican
12 yrs or less|13-15 yrs|16 yrs|>16 yrs
<12 yrs|12 yrs|13-15 yrs|16 yrs|>16 yrs
Überhaupt nicht|An einzelnen Tagen|An mehr als der Hälfte der Tage|Beinahe jeden Tag
Sehr unwahrscheinlich|Eher unwahrscheinlich|Weder noch|Eher wahrscheinlich|Sehr wahrscheinlich
Très improbable|Plutôt improbable|Plutôt probable|Très probable
Muy improbable|Algo improbable|Algo probable|Muy probable
Svært misfornøyd|Ganske misfornøyd|Verken fornøyd eller misfornøyd|Ganske fornøyd|Svært fornøyd
Helt uenig|Litt uenig|Verken enig eller uenig|Litt enig|Helt enig
Aldri|Sjelden|Av og til|Ofte|Alltid
非常不同意|不同意|一般|同意|非常同意
从不|很少|有时|经常|总是
非常不满意|比较不满意|一般|比较满意|非常满意
(0,19]|(19,39]|(39,59]|(59,Inf]
[-Inf,18)|[18,65)|[65, Inf)
(1e+04,2e+04]|(2e+04,5e+04]|(5e+04,1e+05]
0,5|1,25|1,5|10,5
unter 1.000 €|1.000 - 2.000 €|2.000 - 3.000 €|über 3.000 €
Less than $25,000|$25,000 to $49,999|$50,000 to $99,999|$100,000 or more
<10k|10k-20k|20k-30k|>30k'''.splitlines()


@pytest.mark.parametrize('texts', ORDERS)
def test_word_scales_stand_in_their_order_and_nothing_is_in_doubt(texts):
    texts = texts.split('|')
    mixed = random.Random(0).sample(texts, len(texts))
    entry, doubts = drafted(mixed*2)
    given = list(entry['options'])
    assert entry['scale'] == 'ordinal' and given in (texts, texts[::-1]) and not doubts


UNKNOWN = ['Meine Sehr|Oft so|Nie da|Immer hier', 'A very red one|Some blue|Often green|Rarely mauve', 'Very Alpha|Mostly Beta|Never Gamma']


@pytest.mark.parametrize('texts', UNKNOWN)
def test_an_order_that_nobody_knows_is_no_scale_until_somebody_has_ordered_it(texts, tmp_path):
    texts = texts.split('|')
    entry, doubts = drafted(texts*2)
    assert entry['scale'] == 'nominal' and 'scale' in doubts
    book = Codebook.draft(pd.DataFrame({'id': range(len(texts)), 'q': texts}))
    assert any("'q' stand in the order of the alphabet" in said for said in unread_parts(book)), unread_parts(book)
    again = Codebook.load(book.save(tmp_path/'c.yaml'))
    assert any('in the order of the alphabet' in said for said in unread_parts(again))


@pytest.mark.parametrize('texts', ['Left|Neither|Right', 'Bus|Car|Train', 'Conservative|Labour|Liberal Democrat', 'Alabama|Georgia|Ohio', 'L on R|Neither|R on L',
    'asian|black|other|white', 'no|others|Protestant|Roman Catholic', 'Daily newspaper|Monthly magazine|Weekly magazine', 'Friday|Monday|Sunday',
    '1 to 6 months|2 years|7 to 12 months', 'Bottle|Large box|Small bag', 'Man|Other|Woman', 'Green|Liberal|Conservative'])
def test_what_has_no_order_gets_none(texts):
    assert known_order(texts.split('|')) is None


# --- The measure of a file

@pytest.mark.parametrize('steps', ['Strongly disagree|Disagree|Neither agree nor disagree|Agree|Strongly agree', 'Very difficult|Difficult|Neither|Easy|Very easy',
    'Never|Once a month|2 to 3 days a week|Every day'])
def test_a_scale_that_a_file_calls_nominal_is_seen_and_looked_at(steps):
    entry, doubts = labelled(dict(enumerate(steps.split('|'), 1)), 'nominal')
    assert entry['scale'] == 'ordinal' and doubts == {'scale'}


def test_what_a_file_calls_nominal_and_has_no_order_is_no_doubt():
    for texts in ('Coke|Pepsi|Sprite|Fanta', 'Male|Female', 'Employed|Student|Retired|Other', 'Single|Married|Divorced|Widowed'):
        entry, doubts = labelled(dict(enumerate(texts.split('|'), 1)), 'nominal')
        assert entry['scale'] == 'nominal' and not doubts, texts


# --- Why there is no answer

@pytest.mark.parametrize('text, kind', [*dict.fromkeys([(said, 'refused') for said in ('Refuse to Answer', 'Refused to say', 'Rather not say', 'Would rather not say',
    "I'd rather not say", 'I do not want to answer', "I don't wish to say", 'Prefer not to answer', 'Odmowa odpowiedzi', 'Non risponde', 'Wil niet zeggen')]),
    ('Skipped', 'no_answer'), ('Skipped on web', 'not_asked'), ('Skipped by filter', 'not_asked'), ('Trudno powiedzieć', 'dont_know'), ('Nie dotyczy', 'not_asked'),
    ('Nie wiem', 'dont_know'), ('Non so', 'dont_know'), ('Não sabe', 'dont_know'), ('Weet niet', 'dont_know'), ('Refused the offer', None), ('Rather not', None)])
def test_refusals_in_other_words_and_other_languages(text, kind):
    assert missing_kind(text) == kind


def test_what_may_be_an_answer_or_none_is_an_option_and_looked_at():
    for said in 'Not sure', 'Unsure', 'No opinion', 'Not Eligible', 'Not eligible to vote':
        entry, doubts = drafted(['Join', 'Remain', 'Neither', said])
        assert said in entry['options'] and 'missing' in doubts, said
        entry, doubts = labelled({1: 'Join', 2: 'Remain', 3: 'Neither', 4: said})
        assert '4' in entry['options'] and 'missing' in doubts, said
    assert 'missing' not in drafted(['Join', 'Remain', 'Neither', 'Blank ballot'])[1]


def test_labelled_codes_after_a_gap_may_mean_no_answer_in_any_language():
    steps = {1: 'Täysin', 2: 'Melko', 3: 'Vähän', 4: 'Ollenkaan'}
    entry, doubts = labelled({**steps, 8: 'Jotain muuta sanottavaa', 9: 'Hiljaa'})
    assert 'missing' in doubts and set(entry['options']) == set('123489')
    entry, doubts = labelled({1: 'PO', 2: 'PiS', 3: 'Lewica', 4: 'PSL', 96: 'Cokolwiek', 97: 'Nic'})
    assert 'missing' in doubts
    for more in ({5: 'Paljon'}, {9: 'Other'}, {97: 'Other (please specify)'}, {7: 'Something else'}):
        assert 'missing' not in labelled({**steps, **more})[1], more
    assert 'missing' not in labelled({10: 'a', 20: 'b', 96: 'c', 97: 'd'})[1]


def test_one_word_that_comes_again_and_again_makes_no_order():
    assert label_order(['Tak', 'Nie', 'Nie pamiętam', 'Nie miałem prawa']) == ''
    entry, doubts = labelled({1: 'Tak', 2: 'Nie', 3: 'Nie pamiętam', 7: 'Nie miałem prawa'}, name='glos')
    assert {'scale', 'missing'} <= doubts
    assert label_order(['Never', 'Rarely', 'Often']) == 'ordered'


# --- From where to where

@pytest.mark.parametrize('name, values, given, is_sure', [('therm_dem', [0, 15, 40, 85, 97], [0, 100], True), ('q', [0, 60, 71, 104], [0, 104], False),
    ('q', [0, 15, 40, 60, 85, 100], [0, 100], True), ('score', [0, 3, 7, 9, 10], [0, 10], True), ('hours', [0, 3, 7, 13, 37], [0, 37], False), ('hours', [0, 3, 9, 24], [0, 24], True)])
def test_a_highest_number_that_only_the_sample_says_is_looked_at(name, values, given, is_sure):
    said = Metadata('said', {name: Variable(name, {'en': 'How many?'}, scale='numeric')})
    spec, _ = draft_codebook(pd.DataFrame({'id': range(len(values)), name: values}), said)
    assert spec['items'][name]['range'] == given
    assert ('range' not in spec.get('doubts', {}).get(name, [])) == is_sure


def test_the_range_of_a_background_variable_is_no_doubt_and_one_of_many_items_one_decision():
    frame = pd.DataFrame({'id': range(6), 'age': [18, 25, 37, 44, 61, 93], **{f'spent{i}': [0, 3, 7, 13, 20, 37] for i in range(9)}})
    said = Metadata(variables={**{f'spent{i}': Variable(f'spent{i}', {'en': f'How much for {i}?'}, scale='numeric') for i in range(9)}, 'age': Variable('age', {'en': 'Age'})})
    book = Codebook.draft(frame, said)
    assert 'age' not in book.doubts and set(book.doubts) == {f'spent{i}' for i in range(9)}
    assert count_decisions(book) == 1


# --- Other, please specify

RELIG = {1: 'Catholic', 2: 'Protestant', 3: 'Jewish', 4: 'No religion', 97: 'Other (please specify)'}


def test_other_stays_last_in_any_order(tmp_path):
    for texts in RELIG, {**RELIG, 97: 'Other'}, {**RELIG, 97: 'Something else'}, {**RELIG, 97: 'Sonstiges'}, {**RELIG, 97: 'Autre (préciser)'}, {**RELIG, 97: 'None of these'}:
        entry, doubts = labelled(texts)
        assert entry['pin_last'] == ['97'] and not doubts & {'options', 'missing'}, texts[97]
    entry, _ = drafted(['Zebra', 'Other', 'Ant', 'Bee'])
    assert entry['pin_last'] == ['Other'] and list(entry['options'])[-1] == 'Other'
    assert 'pin_last' not in drafted(['Other Asian', 'Other Black', 'Other White', 'Mixed'])[0]
    pd.DataFrame({'id': range(4), 'q': ['Zebra', 'Other', 'Ant', 'Bee']}).to_csv(tmp_path/'s.csv', index=False)
    survey = Survey.load(tmp_path/'s.csv', Codebook.draft(pd.read_csv(tmp_path/'s.csv')))
    with pytest.warns(UserWarning):
        records = survey.records('response', items=['q'], verbose=False)
    for seed in range(4):
        assert {r['options'][-1] for r in reorder(records, 'shuffle', seed=seed)} == {'Other'}


def test_what_was_written_beside_other_is_open():
    said = {'Q5_OTH': 'Which paper do you read? - Other (please specify)', 'RELIG_OTH': 'Religion: please specify'}
    frame = pd.DataFrame({'id': range(6), 'Q5_OTH': ['The Sun', '', 'The Sun', 'Bild', '', 'Bild'], 'RELIG_OTH': ['Jedi', 'Sikh', 'Jedi', '', '', ''],
        'Q9_TEXT': ['x', 'y', 'z', '', '', 'x'], 'race_other': ['Yes', 'No']*3, 'tick': ['Other (please specify)', '']*3})
    frame = frame.replace('', None)
    spec, _ = draft_codebook(frame, Metadata('said', {**{c: Variable(c, {'en': text}) for c, text in said.items()},
        'tick': Variable('tick', {'en': 'Which? Other (please specify)'})}))
    entries = {**spec['items'], **spec['background']}
    assert {c: entries[c]['scale'] for c in ('Q5_OTH', 'RELIG_OTH', 'Q9_TEXT')} == dict.fromkeys(('Q5_OTH', 'RELIG_OTH', 'Q9_TEXT'), 'open')
    assert entries['race_other']['scale'] == 'nominal'


# --- Words of missing codes

def test_the_words_of_missing_codes_are_kept(tmp_path):
    labels = {0: 'Very cold', 100: 'Very warm', 997: 'Never heard of', 998: "Don't know"}
    entry, _ = labelled(labels, values=[0, 15, 30, 100, 997], missing=[997, 998])
    assert entry['missing'] == {'997': 'unspecified', '998': 'dont_know'}
    assert entry['missing_labels'] == {'997': {'en': 'Never heard of'}, '998': {'en': "Don't know"}}
    book = read_codebook(dict(id='toy', items={'q': entry}), 'toy.yaml')
    for name in 'c.yaml', 'c.xlsx':
        again = Codebook.load(book.save(tmp_path/name))
        assert again.items == book.items
    sheet = openpyxl.load_workbook(tmp_path/'c.xlsx')['lists']
    header, *rows = [[cell.value for cell in row] for row in sheet.iter_rows()]
    words = {row[header.index('code')]: row[header.index('label:en')] for row in rows}
    assert words['997'] == 'Never heard of'


def test_a_label_of_what_is_not_missing_is_refused():
    entry = dict(question='Q?', scale='nominal', options={1: 'a', 2: 'b'}, missing={8: 'refused'}, missing_labels={9: 'Refused'})
    with pytest.raises(ValueError, match="'q': missing_labels: code 9 is no missing code: use 8"):
        read_codebook(dict(id='toy', items={'q': entry}), 'toy.yaml')


# --- Sheets as people leave them

def edited(tmp_path, edit):
    "A codebook that a person has edited in a spreadsheet, read again."
    trust = dict(question='Trust?', scale='ordinal', options={1: 'Always', 2: 'Often', 3: 'Never'}, missing={8: 'dont_know'})
    path = read_codebook(dict(id='toy', items={'trust': trust}), 'toy.yaml').save(tmp_path/'b.xlsx', overwrite=True)
    book = openpyxl.load_workbook(path)
    sheet = book['lists']
    at = {cell.value: cell.column for cell in sheet[1]}
    edit(lambda row, heading, value: setattr(sheet.cell(row, at[heading]), 'value', value))
    book.save(path)
    return Codebook.load(path)


@pytest.mark.parametrize('row, heading, value, says', [
    (2, 'label:en', '#REF!', r"b.xlsx: sheet lists, row 2: label:en is '#REF!', an error of the spreadsheet program: write what it should say"),
    (3, 'label:en', '#NAME?', "sheet lists, row 3: label:en is '#NAME.', an error"), (2, 'label:en', None, "sheet lists, row 2: code '1' has no label: write its words, or '1' where it has none"),
    (5, 'kind', 'dk', "b.xlsx: sheet lists, row 5: kind is 'dk': use one of option, .*dont_know"), (2, 'scale', 'ordnal', "b.xlsx: sheet lists, row 2: scale is 'ordnal': use one of ordinal")])
def test_what_is_wrong_in_a_list_is_named_with_sheet_and_row(tmp_path, row, heading, value, says):
    with pytest.raises(ValueError, match=says):
        edited(tmp_path, lambda write: write(row, heading, value))


def test_capitals_in_yaml_are_read_as_in_a_spreadsheet():
    q = read_codebook(dict(id='toy', items={'q': dict(question='Q?', scale='Ordinal', options={1: 'a', 2: 'b'}, missing={8: 'Refused'})}), 'toy.yaml').items['q']
    assert q.scale == 'ordinal' and q.missing == {'8': 'refused'}


def test_a_label_that_is_the_number_of_another_code_takes_none_away(tmp_path):
    frame = pd.DataFrame(dict(id=range(3), q=[0, 0, 1]))
    pyreadstat.write_sav(frame, tmp_path/'x.sav', variable_value_labels=dict(q={2: '0'}))
    assert set(Survey.load(tmp_path/'x.sav').codebook.items['q'].options) == {'0', '1', '2'}
