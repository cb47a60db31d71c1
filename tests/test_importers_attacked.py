"Descriptions and data as platforms really export them: names, texts and codes that do not meet at first."
import json

import openpyxl
import pandas as pd
import pytest

from alignsurvey.surveys import draft_codebook, guess_role, read_metadata
from alignsurvey.surveys.importers import as_in_columns
from alignsurvey.surveys.survey import draft_codebook_of, draft_survey
from alignsurvey.tasks import Survey


def written(folder, name, text):
    "A file with this text."
    (folder/name).write_text(text, encoding='utf-8')
    return folder/name


def told(folder, description, data):
    "The draft of data.csv under a description."
    return draft_codebook_of(written(folder, 'data.csv', data), [description])


# --- LimeSurvey: two scales in one array

def table(name, *rows):
    "A table of an .lss file."
    cells = [''.join(f'<{k}>{v}</{k}>' for k, v in row.items()) for row in rows]
    return f"<{name}><rows>{''.join(f'<row>{c}</row>' for c in cells)}</rows></{name}>"


@pytest.fixture
def two_scales(tmp_path):
    answers = [dict(qid=1, code=f'AO0{i + 1}', answer=text, scale_id=scale, sortorder=i, language='en')
        for scale, texts in enumerate((['Important', 'Unimportant'], ['Satisfied', 'Dissatisfied']))
        for i, text in enumerate(texts)]
    questions = table('questions', dict(qid=1, parent_qid=0, gid=1, type='1', title='Q7', question='Rate these', language='en'))
    rows = table('subquestions', *(dict(qid=1 + i, parent_qid=1, title=f'SQ00{i}', question=f'Thing {i}', scale_id=0, language='en') for i in (1, 2)))
    text = f"<document><LimeSurveyDocType>Survey</LimeSurveyDocType>{table('answers', *answers)}{questions}{rows}</document>"
    return written(tmp_path, 'made_up.lss', text)


def first_labels(book):
    return {name: q.options['AO01'] for name, q in book.items.items() if 'AO01' in q.options}


IMPORTANT, SATISFIED = {'en': 'Important'}, {'en': 'Satisfied'}


@pytest.mark.parametrize('names, labels', [
    ('Q7[SQ001][1] Q7[SQ001][2]', [IMPORTANT, SATISFIED]), ('Q7_SQ001_0 Q7_SQ001_1', [IMPORTANT, SATISFIED]),
    ('Q7[SQ001][2] Q7[SQ001][1]', [SATISFIED, IMPORTANT]), ('Q7_SQ001_0 Q7_SQ002_1', [IMPORTANT, SATISFIED]),
    ('Q7_SQ001_1 Q7_SQ002_2', [IMPORTANT, SATISFIED]), ('Q7[SQ001][2]', [SATISFIED])])
def test_each_scale_of_an_array_has_its_own_labels(names, labels, two_scales, tmp_path):
    names = names.split()
    rows = ''.join(f"{i},{','.join(['AO01', 'AO02'][i % 2] for _ in names)}\n" for i in range(4))
    book = told(tmp_path, two_scales, f"id,{','.join(names)}\n{rows}")
    assert first_labels(book) == dict(zip(names, labels))


# --- Qualtrics: texts instead of codes, loops, previews, validation

def qsf(folder, *questions, loops=(), name='made_up.qsf'):
    "A survey of Qualtrics; questions whose tags are among loops are asked in one."
    elements = [dict(Element='SQ', Payload=dict(QuestionID=f'QID{i}', **q)) for i, q in enumerate(questions)]
    blocks = [dict(Type='Standard', Description='plain', BlockElements=[]),
        dict(Type='Standard', Description='turns', BlockElements=[], Options=dict(Looping='Static', LoopingOptions={'Static': {'1': {'1': 'x'}}}))]
    for i, q in enumerate(questions):
        blocks[q['DataExportTag'] in loops]['BlockElements'].append(dict(Type='Question', QuestionID=f'QID{i}'))
    elements.append(dict(Element='BL', Payload=blocks))
    return written(folder, name, json.dumps(dict(SurveyEntry=dict(SurveyName='Made up', SurveyLanguage='EN'), SurveyElements=elements)))


def choices(*texts):
    return dict(Choices={str(i): dict(Display=t) for i, t in enumerate(texts, 1)}, ChoiceOrder=[str(i) for i in range(1, len(texts) + 1)])


def exported(names, wordings, *rows):
    "A .csv of Qualtrics, with its three rows of headings."
    ids = ','.join('"{""ImportId"":""%s""}"' % name for name in names)
    return '\n'.join([','.join(names), ','.join(f'"{w}"' for w in wordings), ids, *(','.join(row) for row in rows)]) + '\n'


TICKS = dict(DataExportTag='Q2', QuestionType='MC', Selector='MAVR', QuestionText='What did you do?')
NAMES, WORDS = ['ResponseId', 'Q2_1', 'Q2_2'], ['Response ID', 'What did you do? - Voted', 'What did you do? - Signed']


def multiple_answers(folder, description, rows):
    path = written(folder, 'data.csv', exported(NAMES, WORDS, *rows))
    data = Survey.load(path, [description]).records(task='multiple', verbose=False)
    return {(r['respondent_id'], r['question_id']): r['answer'] for r in data}


def test_a_choice_in_its_own_words_is_a_tick(tmp_path):
    description = qsf(tmp_path, dict(TICKS, **choices('<b>Voted</b>', 'Signed')))
    rows = [('R1', 'Voted', ''), ('R2', 'Voted', 'Signed'), ('R3', '', 'Signed'), ('R4', '', '')]
    got = multiple_answers(tmp_path, description, rows)
    assert got == {('R1', 'Q2_1'): 'yes', ('R1', 'Q2_2'): 'no', ('R2', 'Q2_1'): 'yes', ('R2', 'Q2_2'): 'yes',
        ('R3', 'Q2_1'): 'no', ('R3', 'Q2_2'): 'yes'}
    book = draft_codebook_of(tmp_path/'data.csv', [description])
    assert [list(q.options) for q in book.items.values()] == [['Voted', '0'], ['Signed', '0']]
    again = Survey.load(tmp_path/'data.csv', book.save(tmp_path/'codebook.yaml')).records(task='multiple', verbose=False)
    assert [r['answer'] for r in again] == list(got.values())


@pytest.mark.parametrize('rows', [[('R1', 'I voted', ''), ('R2', '', 'I signed')], [('R1', 'I voted', '1'), ('R2', '', '1')]])
def test_a_choice_in_other_words_is_refused_and_never_a_no(rows, tmp_path):
    description = qsf(tmp_path, dict(TICKS, **choices('Voted', 'Signed')))
    with pytest.raises(ValueError, match="(?s)'Q2_1'.*I voted.*say that an option was ticked"):
        multiple_answers(tmp_path, description, rows)


def test_an_option_that_nobody_chose_is_a_no(tmp_path):
    description = qsf(tmp_path, dict(TICKS, **choices('Voted', 'Signed')))
    got = multiple_answers(tmp_path, description, [('R1', '1', '0'), ('R2', '0', '0')])
    assert list(got.values()) == ['yes', 'no', 'no', 'no']


@pytest.mark.parametrize('texts, role', [(('Voted', 'Signed'), 'ignore'), (('Voted',), None)])
def test_several_choices_in_one_cell_are_set_aside(texts, role, tmp_path):
    book = told(tmp_path, qsf(tmp_path, dict(TICKS, **choices(*texts)), dict(LIKE, **choices('A lot', 'Some'))),
        answers(Q2=['1', '"1,2"', '2'], Like=[1, 2]))
    assert book.other.get('Q2') == role and 'Like' in book.items
    assert any(s.startswith('Q2: ') and 'columns of their own' in s for s in book.unread) == (role == 'ignore')


LIKE = dict(DataExportTag='Like', QuestionType='MC', Selector='SAVR', QuestionText='How much do you like ${lm://Field/1}?')


def test_what_is_asked_in_a_loop_has_labels_and_the_wording_of_each_turn(tmp_path):
    description = qsf(tmp_path, dict(LIKE, **choices('A lot', 'Some', 'Not at all')), dict(TICKS, **choices('Voted', 'Signed')), loops=('Like', 'Q2'))
    names = ['ResponseId', '1_Like', '2_Like', '1_Q2_1', '1_Q2_2']
    words = ['Response ID', 'How much do you like apples?', 'How much do you like pears?', 'Apples - Voted', 'Apples - Signed']
    book = told(tmp_path, description, exported(names, words, *([f'R{i}', str(i % 3 + 1), str(3 - i % 3), '1', str(i % 2 or '')] for i in range(6))))
    assert [book.items[c].question['en'] for c in names[1:3]] == words[1:3]
    assert [list(o.values())[0] for o in book.items['2_Like'].options.values()] == ['A lot', 'Some', 'Not at all']
    assert book.sets['1_Q2']['columns'] == ['1_Q2_1', '1_Q2_2']
    assert not any('no column' in sentence for sentence in book.unread)


def test_a_loop_without_wordings_in_the_data_has_that_of_the_questionnaire(tmp_path):
    description = qsf(tmp_path, dict(LIKE, **choices('A lot', 'Some', 'Not at all')), loops=('Like',))
    book = told(tmp_path, description, 'id,1_Like,2_Like,9_Other\n' + ''.join(f'{i},{i % 3 + 1},1,{i % 4}\n' for i in range(6)))
    assert book.items['1_Like'].question == {'en': 'How much do you like …?'} and list(book.items['2_Like'].options) == ['1', '2', '3']


@pytest.mark.parametrize('codes', [('IP Address', 'Survey Preview', 'Spam'), ('0', '1', '8')])
def test_previews_and_spam_are_no_item_and_are_named(codes, tmp_path):
    rows = [(f'R{i}', codes[i % 3] if i < 3 else codes[0], str(i % 4 + 1)) for i in range(9)]
    path = written(tmp_path, 'data.csv', exported(['ResponseId', 'Status', 'Q1'], ['Response ID', 'Response Type', 'How?'], *rows))
    survey = draft_survey(path)
    assert survey.codebook.other['Status'] == 'paradata' and list(survey.codebook.items) == ['Q1']
    said = [s for s in survey.codebook.unread if s.startswith('Status')]
    assert len(said) == 1 and '2 rows' in said[0] and repr(codes[0]) in said[0]
    assert len(survey.where(Status=codes[0])) == 7


def test_a_status_is_the_platforms_only_where_it_says_so():
    assert guess_role('Status', pd.Series(['IP Address', 'IP Address', 'Survey Preview']))[0] == 'paradata'
    assert guess_role('status', pd.Series([1, 2, 3, 2]))[0] != 'paradata'


@pytest.mark.parametrize('limits, ends', [(dict(Min='18', Max='99', NumDecimals='0'), [18, 99]), (dict(Min='0', Max='10', NumDecimals='1'), [0, 10, .1]),
    (dict(Min='', Max='99'), [20, 47]), (dict(Min='30', Max='20'), [20, 47]), (dict(Min=True, Max='x'), [20, 47])])
def test_a_number_has_the_ends_that_were_accepted(limits, ends, tmp_path):
    settings = dict(Type='ContentType', ContentType='ValidNumber', ValidNumber=limits)
    description = qsf(tmp_path, dict(DataExportTag='hours', QuestionType='TE', Selector='SL', QuestionText='How many?', Validation=dict(Settings=settings)))
    spread = [20, 30, 47] if ends[1] > 10 else [0, 5, 9]
    book = told(tmp_path, description, 'id,hours\n' + ''.join(f'{i},{v}\n' for i, v in enumerate(spread)))
    assert list(book.items['hours'].range)[1:] == ends[1:] and book.items['hours'].range[0] in (ends[0], 0)


# --- XLSForm: the text of "other", groups in headings, answers in one cell

@pytest.fixture
def form(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = 'survey'
    for row in (['type', 'name', 'label'], ['begin_group', 'demo', 'About you'], ['integer', 'age', 'How old are you?'],
            ['select_one yn', 'job', 'Have you a job?'], ['end_group'], ['begin group', 'use'], ['begin_group', 'deep'],
            ['select_multiple media or_other', 'media', 'Which media?'], ['end_group'], ['end group'],
            ['rank media', 'best', 'Which is best?'], ['begin_repeat', 'child', 'Children'], ['text', 'called', 'Name?'], ['end_repeat']):
        book.active.append(row)
    sheet = book.create_sheet('choices')
    for row in (['list_name', 'name', 'label'], ['yn', 'y', 'Yes'], ['yn', 'n', 'No'], ['media', 'tv', 'Television'], ['media', 'radio', 'Radio']):
        sheet.append(row)
    book.save(tmp_path/'form.xlsx')
    return tmp_path/'form.xlsx'


def answers(**columns):
    "Six rows of a .csv; columns repeat their values."
    lines = [','.join(['id', *columns])]
    for i in range(6):
        lines.append(','.join([str(i), *(str(v[i % len(v)]) for v in columns.values())]))
    return '\n'.join(lines) + '\n'


@pytest.mark.parametrize('tick, text', [('media/other', 'media_other'), ('use/deep/media/other', 'use/deep/media_other'),
    ('use-deep-media/other', 'use-deep-media_other'), ('media.other', 'media_other'), ('media_other', None)])
def test_other_is_a_tick_and_its_words_are_open(tick, text, form, tmp_path):
    start = tick[:-len('other')]
    columns = {f'{start}tv': [1, 0], f'{start}radio': [0, 1], tick: [0, 0, 1]}
    columns |= {text: ['', '', 'My cousin']} if text else {}
    book = told(tmp_path, form, answers(**columns))
    assert book.sets['media']['columns'] == [f'{start}tv', f'{start}radio', tick]
    assert list(book.items[tick].options) == ['1', '0']
    assert text is None or book.items[text].scale == 'open' and text not in book.sets['media']['columns']
    records = Survey.load(tmp_path/'data.csv', [form]).records(task='multiple', verbose=False)
    assert [r['answer'] for r in records if r['question_id'] == tick] == ['no', 'no', 'yes']*2


@pytest.mark.parametrize('age, job', [('demo/age', 'demo/job'), ('demo-age', 'demo-job'), ('age', 'job'), ('demo.age', 'demo.job')])
def test_groups_before_a_name_are_read(age, job, form, tmp_path):
    book = told(tmp_path, form, answers(**{age: [20, 30, 47], job: ['y', 'n'], 'x': [1, 2, 3]}))
    assert book.questions[age].question == {'en': 'How old are you?'} and book.questions[job].options['y'] == {'en': 'Yes'}


def test_several_answers_in_one_cell_are_set_aside_with_a_sentence(form, tmp_path):
    columns = {'age': [20, 30, 47], 'use/deep/media': ['tv radio', 'tv', ''], 'use/deep/media/tv': [1, 1, ''], 'use/deep/media/radio': [1, 0, ''],
        'use/deep/media/other': [0, 0, ''], 'best': ['tv radio', 'radio tv'], 'child_count': [0, 2, 1], '_index': [1, 2, 3, 4, 5, 6], 'x': [1, 2, 3]}
    book = told(tmp_path, form, answers(**columns))
    assert list(book.items) == ['use/deep/media/tv', 'use/deep/media/radio', 'use/deep/media/other', 'x']
    assert {book.other[c] for c in ('use/deep/media', 'best', 'child_count')} == {'ignore'} and book.other['_index'] in ('paradata', 'id')
    said = {s.split(':')[0]: s for s in book.unread}
    assert 'in one cell' in said['use/deep/media'] and 'columns of their own' in said['best'] and 'columns of their own' not in said['use/deep/media']
    assert 'child_count' in said


@pytest.mark.parametrize('name', '_index _parent_index _parent_table_name _submission_time _validation_status __version__ _submitted_by '
    '_submission__id meta/instanceID meta-instanceID SubmitterID SubmitterName AttachmentsPresent ReviewState'.split())
def test_what_kobo_and_odk_add_is_no_item(name):
    assert guess_role(name, pd.Series([1, 2, 3, 2]))[0] in ('paradata', 'id', 'date', 'ignore')


def test_a_name_is_found_by_its_signs_first():
    said = as_in_columns(read_metadata_of('age', 'age_'), ['age.', 'age_'])
    assert list(said.variables) == ['age.', 'age_']


def read_metadata_of(*names):
    from alignsurvey.surveys import Metadata, Variable
    return Metadata('x', {n: Variable(n, {'en': n}) for n in names})


# --- DDI: languages, words within words, groups of variables

def ddi(folder, variables, start='<codeBook xmlns="ddi:codebook:2_5" version="2.5" xml:lang="de">'):
    return written(folder, 'study.xml', f'{start}<dataDscr>{variables}</dataDscr></codeBook>')


TWO = '<catgry><catValu>1</catValu><labl>ja</labl></catgry><catgry><catValu>0</catValu><labl>nein</labl></catgry>'


@pytest.mark.parametrize('start', ['<codeBook xmlns="ddi:codebook:2_5" xml:lang="de">', '<codeBook xml:lang="de-DE">',
    '<codeBook xmlns="http://www.icpsr.umich.edu/DDI" version="1.2.2" xml-lang="de">'])
def test_the_language_of_the_whole_is_that_of_its_parts(start, tmp_path):
    said = read_metadata(ddi(tmp_path, f'<var name="v"><labl>Vertrauen</labl>{TWO}</var>', start)).variables['v']
    assert said.question == {'de': 'Vertrauen'} and said.options['1'] == {'de': 'ja'}


def test_a_lead_in_of_another_language_is_not_put_before_a_question(tmp_path):
    variables = ('<var name="v"><labl>Vertrauen</labl><qstn><preQTxt>Nun zu Einrichtungen.</preQTxt>'
        f'<qstnLit xml:lang="en">Trust in the courts?</qstnLit></qstn>{TWO}</var>')
    path = ddi(tmp_path, variables)
    assert read_metadata(path).variables['v'].intro == {}
    assert any(s.startswith('v: ') and 'de' in s for s in read_metadata(path).unread)
    both = path.read_text(encoding='utf-8').replace('<qstnLit', '<preQTxt xml:lang="en">Now to institutions.</preQTxt><qstnLit')
    assert read_metadata(written(tmp_path, 'study.xml', both)).variables['v'].intro == {'en': 'Now to institutions.'}


def test_a_lead_in_that_lacks_the_language_asked_in_is_named():
    spec = dict(id='x', items=dict(q=dict(question={'en': 'How?', 'zh': '怎样？'}, intro={'en': 'Now.'}, scale='nominal',
        options={'1': {'en': 'a', 'zh': '甲'}, '2': {'en': 'b', 'zh': '乙'}})))
    from alignsurvey.surveys.codebook import read_codebook
    survey = Survey(pd.DataFrame(dict(q=['1', '2'])), read_codebook(spec, 'x.yaml'))
    assert 'Now. How?' in survey.records(verbose=False)['question']
    with pytest.raises(ValueError, match="x.yaml.*'q'.*intro.*no wording in 'zh'"):
        survey.records(lang='zh', verbose=False)


@pytest.mark.parametrize('inner, text', [('Und der <emph>Justiz</emph>?', 'Und der Justiz?'), ('Ein <hi>Wort<sup>2</sup></hi>, ja', 'Ein Wort2, ja'),
    ('<p>Eins</p><p>Zwei</p>', 'Eins Zwei')])
def test_words_within_words_keep_their_place(inner, text, tmp_path):
    path = ddi(tmp_path, f'<var name="v"><qstn><qstnLit>{inner}</qstnLit></qstn>{TWO}</var>')
    assert read_metadata(path).variables['v'].question == {'de': text}


GROUP = '<varGrp ID="G1" type="multipleResp" name="media" var="{}"><labl>Medien</labl></varGrp>'


@pytest.mark.parametrize('named', ['V1 V2', 'm1 m2'])
def test_a_group_of_several_answers_is_a_set(named, tmp_path):
    variables = ''.join(f'<var ID="V{i}" name="m{i}"><labl>{label}</labl>{TWO}</var>' for i, label in ((1, 'TV'), (2, 'Radio')))
    said = read_metadata(ddi(tmp_path, GROUP.format(named) + variables))
    assert said.sets == {'media': dict(kind='multiple', columns=['m1', 'm2'], question={'de': 'Medien'})}
    path = written(tmp_path, 'data.csv', answers(m1=[1, 0], m2=[0, 1, 1]))
    records = Survey.load(path, [tmp_path/'study.xml']).records(task='multiple', verbose=False)
    assert [r['answer'] for r in records][:4] == ['yes', 'no', 'no', 'yes']


def test_a_group_of_first_second_and_third_mentions_is_one(tmp_path):
    options = ''.join(f'<catgry><catValu>{i}</catValu><labl>{t}</labl></catgry>' for i, t in enumerate(('TV', 'Radio', 'Zeitung')))
    variables = ''.join(f'<var ID="V{i}" name="m{i}"><labl>Nennung</labl>{options}</var>' for i in (1, 2))
    said = read_metadata(ddi(tmp_path, GROUP.format('V1 V2') + variables))
    assert said.sets['media']['kind'] == 'mentions'


def test_a_group_of_unknown_variables_is_noted(tmp_path):
    said = read_metadata(ddi(tmp_path, GROUP.format('V8 V9') + f'<var ID="V1" name="m1"><labl>TV</labl>{TWO}</var>'))
    assert said.sets == {} and any('media' in s for s in said.unread)
