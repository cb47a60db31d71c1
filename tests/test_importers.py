"What archives and platforms hand out: read as it is, refused in a sentence, drafted without a guess that nobody sees."
import json
import math
import re
import zipfile
from collections import Counter
from datetime import datetime, time
from xml.etree import ElementTree

import openpyxl
import pandas as pd
import pytest
import xlrd
from hypothesis import Phase, given, settings, strategies as st
from conftest import REFERENCE
from importer_files import FORMATS, OLD_CELLS, mutated_file

from alignsurvey.surveys.sheets import read_sheets
from alignsurvey.surveys.spreadsheet import from_sheets
from alignsurvey.surveys import Codebook, Metadata, Variable, draft_codebook, guess_role, merged, read_metadata
from alignsurvey.surveys.codebook import count_decisions, plain_codebook, read_codebook, unread_parts
from alignsurvey.surveys.survey import draft_codebook_of
from alignsurvey.surveys.xlsform import read_xlsform
from alignsurvey.tasks import Survey

REAL = REFERENCE/'metadata'
real = pytest.mark.skipif(not REAL.exists(), reason='real metadata files are not here')


def sentence(call, *parts):
    with pytest.raises((ValueError, OSError)) as e:
        call()
    assert '\n' not in str(e.value) and all(p in str(e.value) for p in parts), str(e.value)


def found(path):
    "What a count of a file by other means would find."
    said = read_metadata(path)
    kept = said.variables.values()
    return dict(variables=len(kept), wordings=sum(bool(v.question) for v in kept), options=sum(len(v.options) for v in kept),
                missing=sum(len(v.missing) for v in kept), ranges=sum(bool(v.ranges) for v in kept))


# --- Real files, against counts of their own elements

@real
@pytest.mark.parametrize('name', ['Stebandido77__pulso__geih_2024_ddi', 'cessda__cessda.cmv.core__fsd-3271', 'ncrncornell__ced2ar__ssbv602'])
def test_ddi_against_a_count_of_its_tags(name):
    path = REAL/f'ddi-codebook/{name}.xml'
    text = re.sub(r'(?s)<!--.*?-->', '', path.read_text(encoding='utf-8'))
    first = {}
    for attributes, body in re.findall(r'(?s)<var\s([^>]*)>(.*?)</var>', text):
        first.setdefault(re.search(r'\bname="([^"]*)"', attributes)[1].strip(), body)
    bodies = first.values()
    got = found(path)
    assert got['variables'] == got['wordings'] == len(first)
    categories = [c for b in bodies for c in re.findall(r'(?s)<catgry(?:\s[^>]*)?>.*?</catgry>', b)]
    assert .98*len(categories) <= got['options'] <= len(categories)
    declared = sum(bool(re.match(r'<catgry[^>]*missing="Y"', c)) for c in categories)
    assert .95*declared <= got['missing'] <= declared


@real
@pytest.mark.parametrize('name, variables, options, ranges', [
    ('Big-Life-Lab__cchsflow-docs__cchs2022_hs_vare', 628, 0, 0), ('Big-Life-Lab__cchsflow-docs__cchs2022_hs_miss', 619, 0, 619),
    ('WFP-VAM__RAMResourcesScripts__LCS-EN-indicator', 24, 50, 0)])
def test_spss_syntax_against_counts_by_hand(name, variables, options, ranges):
    got = found(REAL/f'spss-stata/{name}.sps')
    assert (got['variables'], got['options'], got['ranges']) == (variables, options, ranges)


@real
def test_spss_missing_values_against_a_count_of_its_statements():
    path = REAL/'spss-stata/jbryer__pisa__pisa2009_INT_STQ09.sps'
    statements = re.findall(r'(?i)missing values\s+([\w\s]+)\(([^)]*)\)', path.read_text(encoding='cp1252'))
    declared = {name.lower(): len(codes.split(',')) for names, codes in statements for name in names.split()}
    got = {name.lower(): len(v.ranges) for name, v in read_metadata(path).variables.items() if v.ranges}
    assert got == declared and len(declared) == 304


def form_questions(path):
    "Questions of a .qsf file that are not in its trash, as JSON alone tells them."
    elements = json.loads(path.read_text(encoding='utf-8'))['SurveyElements']
    blocks = next(e['Payload'] for e in elements if e['Element'] == 'BL')
    blocks = blocks.values() if isinstance(blocks, dict) else blocks
    kept = {part.get('QuestionID') for b in blocks if b['Type'] != 'Trash' for part in b.get('BlockElements', ())}
    return [e['Payload'] for e in elements if e['Element'] == 'SQ' and e['PrimaryAttribute'] in kept]


@real
@pytest.mark.parametrize('name', ['ScottClaessens__ai-moral-decisions__survey', 'psych251__porter_2016_1_rescue__survey'])
def test_qualtrics_against_a_count_of_its_choices(name):
    variables = options = 0
    for q in form_questions(REAL/f'qsf/{name}.qsf'):
        choices = len(q.get('Choices') or ())
        variables += dict(MC=1, TE=1, Slider=choices).get(q['QuestionType'], 0)
        options += choices if q['QuestionType'] == 'MC' else 0
    got = found(REAL/f'qsf/{name}.qsf')
    assert (got['variables'], got['wordings'], got['options']) == (variables, variables, options)


@real
def test_qualtrics_questions_of_every_type_keep_their_choices():
    path = REAL/'qsf/emma-morgan__QualtricsTools__many_question_types.qsf'
    known, counted = read_metadata(path).variables, 0
    for q in form_questions(path):
        if (q['QuestionType'], q.get('Selector')) == ('MC', 'SAVR'):
            assert len(known[q['DataExportTag']].options) == len(q['Choices'])
            counted += 1
        elif q['QuestionType'] == 'TE':
            assert known[q['DataExportTag']].scale == 'open'
            counted += 1
    assert counted == 8


LSS_OPTIONS = {'Y': 2, 'G': 2, '5': 5, 'A': 5, 'B': 10, 'C': 3, 'E': 3, 'M': 2}    # of each column, whatever is declared


def counted_lss(path):
    "Columns and options of an .lss file by type of question, as its own elements tell them."
    root = ElementTree.parse(path).getroot()
    rows = {part: [{c.tag: c.text for c in row} for row in root.findall(f'./{part}/rows/row')] for part in ('questions', 'subquestions', 'answers')}
    variables = options = 0
    for q in rows['questions']:
        kind, own = q['type'], [s for s in rows['subquestions'] if s['parent_qid'] == q['qid']]
        answers = sum(a['qid'] == q['qid'] for a in rows['answers'])
        scales = Counter(s['scale_id'] for s in own).values()
        columns = math.prod(scales)*(2 if kind == '1' else 1)
        columns = dict(X=0, R=answers).get(kind, columns)
        variables += columns
        if kind == '1':
            options += len(own)*answers
        elif kind in 'L!OFR':
            options += columns*(answers + (q['other'] == 'Y'))
        else:
            options += columns*LSS_OPTIONS.get(kind, 0)
    return variables, options


@real
@pytest.mark.parametrize('name', ['softwaresaved__international-survey__uk_core_survey',
    'mayeulk__LimeSurvey-workflow__limesurvey_survey_981966', 'amaltawfik__lssdoc__demo_survey'])
def test_limesurvey_against_a_count_of_its_rows(name):
    path = REAL/f'limesurvey/{name}.lss'
    got, (variables, options) = found(path), counted_lss(path)
    assert (got['variables'], got['options']) == (variables, options)
    assert got['wordings'] >= .95*variables


def sheets_of(path):
    "Sheet -> rows of a workbook, read by nothing of ours."
    if path.read_bytes()[:2] == b'PK':
        return {s.title: list(s.iter_rows(values_only=True)) for s in openpyxl.load_workbook(path, data_only=True)}
    return {s.name: [s.row_values(i) for i in range(s.nrows)] for s in xlrd.open_workbook(path).sheets()}


def rows_of(sheet):
    head, *rows = [[str('' if c is None else c).strip() for c in row] for row in sheet]
    return [dict(zip([h.lower().replace(' ', '_') for h in head], row)) for row in rows]


NO_ITEMS = 'note begin end photo image audio video geopoint barcode imei uri:deviceid'.split()


def test_a_cell_of_an_old_spreadsheet_reads_as_it_does_in_a_new_one(tmp_path):
    (tmp_path/'old.xls').write_bytes(OLD_CELLS)
    book = openpyxl.Workbook()
    book.active.title = 'survey'
    for row in [True, datetime(2020, 1, 2), time(3, 4), '#N/A', 2., .5, 'é'], ['#DIV/0!']:
        book.active.append(row)
    book.save(tmp_path/'new.xlsx')
    assert read_sheets(tmp_path/'old.xls') == read_sheets(tmp_path/'new.xlsx') != {}


@real
@pytest.mark.parametrize('name', ['kobotoolbox__kpi__good_eats_multilang.xls', 'XLSForm__pyxform__xlsform_spec_test.xlsx',
    'PovertyAction__odkmeta__odkmeta_example_Form.xls'])
def test_xlsform_against_a_count_of_its_rows(name):
    book = sheets_of(REAL/f'xlsform/{name}')
    lists = Counter(row['list_name'] for row in rows_of(book['choices']))
    variables = options = 0
    for row in rows_of(book['survey']):
        words = row['type'].replace('select one from', 'select_one').split()
        if not words or (words[0] in NO_ITEMS and words != ['end']) or not row['name']:
            continue
        choices = lists[words[1]] if words[0].startswith('select') else 0
        columns = choices if words[0] == 'select_multiple' else 1
        variables += columns
        options += 2*columns if words[0] == 'select_multiple' else choices + ('or_other' in words) + (words == ['acknowledge'])
    got = found(REAL/f'xlsform/{name}')
    assert (got['variables'], got['options']) == (variables, options)


# --- Missing codes, counted by hand: code -> kind ('' where the file leaves it open), and the option lists that have it

MISSING_BY_HAND = {
    'impact-initiatives-hppu__humind.data__REACH_2024_MSNA-kobo-tool_draft_v11.xlsx': {
        'dnk': ('dont_know', """l_yn_dnk_pnta l_ind_age_under1 l_edu_barrier l_fsl_source_food l_fsl_lcsi_other l_fsl_lcsi_en_other l_cm_income_source
            l_nut_ind_under5_sick_symptoms l_nut_ind_under5_sick_location l_aap_priority_challenge l_aap_priority_support_ngo
            l_aap_preferred_modality l_aap_received_assistance_date l_snfi_shelter_type_individual l_snfi_shelter_issue l_snfi_fds_cooking
            l_snfi_fds l_wash_drinking_water_source l_wash_drinking_water_time_yn l_wash_drinking_water_time_sl l_wash_drinking_water_quantity
            l_wash_sanitation_facility l_wash_handwashing_facility_reported l_wash_soap_observed l_wash_soap_type
            l_health_ind_healthcare_needed_type l_prot_perceived_risk l_energy_lighting_source l_hlp_occupancy l_prot_child_sep_reason
            l_difficulty l_cm_expenditure_frequent l_cm_expenditure_infrequent l_etc_access_to_phone l_etc_coverage_network_type"""),
        'pnta': ('refused', """l_gender l_yn_dnk_pnta l_edu_barrier l_fsl_source_food l_fsl_lcsi_other l_fsl_lcsi_en_other l_cm_income_source
            l_nut_ind_under5_sick_symptoms l_nut_ind_under5_sick_location l_aap_priority_challenge l_aap_priority_support_ngo
            l_aap_preferred_modality l_aap_received_assistance_date l_snfi_shelter_type l_snfi_shelter_type_individual l_snfi_shelter_issue
            l_snfi_fds_cooking l_snfi_fds_cooking_issue l_snfi_fds l_snfi_fds_sleeping_issue l_snfi_fds_storing_issue
            l_snfi_fds_personal_hygiene_issue l_wash_drinking_water_source l_wash_drinking_water_time_yn l_wash_drinking_water_time_sl
            l_wash_drinking_water_quantity l_wash_sanitation_facility l_wash_handwashing_facility_reported l_wash_soap_observed
            l_wash_soap_type l_health_ind_healthcare_needed_type l_prot_perceived_risk l_energy_lighting_source l_hlp_occupancy
            l_prot_child_sep_reason l_difficulty l_cm_expenditure_frequent l_cm_expenditure_infrequent l_etc_access_to_phone
            l_etc_coverage_network_type"""),
        'not_applicable': ('not_asked', 'l_fsl_lcsi')},
    'unhcr__koboloadeR__koboloadeR_form.xls': {
        'NoAnswer': ('refused', """female_int nationality birth_docs not_working_reasons start_working typeofwork reasons_school grade
            no_school_years caregiver housing_type occupancy rent_exchange rent_services agreements eviction_issuedby accom_change_reasons
            source toilet wastewater_disposed energy_source borrowing borrow_reason borrowing_sources income_source yesnono priv_clinic
            barriers_health healthcare_access healthcare_access2 barriers_health1 types_insecurity cause_insecurity interaction_types
            key_issues host_comm_opt opinion assist_freq difficulties MedicalDifficulty priority_needs poverty_ladder Feeling not_living
            living_notreg diff_res currentStatus"""),
        'noanswer': ('refused', 'yesnona'), 'Noanswer': ('refused', 'ir_reasons'), 'Refused': ('refused', 'Feeling'),
        'PovertyLadderNoAns': ('no_answer', 'poverty_ladder'), 'NA': ('not_asked', 'income_source'), 'NADoNotHave': ('not_asked', 'yesnono'),
        'DontKnow': ('dont_know', 'grade wastewater_disposed Feeling'), 'PovertyLadderDK': ('dont_know', 'poverty_ladder'),
        'DontKnowWhatHappened': ('dont_know', 'SyrianLandStatus'), 'DontKnowWhatHappened1': ('dont_know', 'ownership'),
        'DoNotKenow': ('dont_know', 'currentStatus')},
    'CorrelAid__xlsform2lstsv__testB.xlsx': {'not_disclosed': ('refused', 'iy7os66')},
    'softwaresaved__international-survey__uk_core_survey.lss': {'4': ('refused', 'socio2'), 'A4': ('not_asked', 'ukrse2'), 'na': ('', 'ukrse1')},
    'mayeulk__LimeSurvey-workflow__limesurvey_survey_981966.lss': {}, 'amaltawfik__lssdoc__demo_survey.lss': {},
    'ScottClaessens__ai-moral-decisions__survey.qsf': {'5': ('refused', 'Gender')},
    'psych251__porter_2016_1_rescue__survey.qsf': {}, 'emma-morgan__QualtricsTools__many_question_types.qsf': {}}


def columns_of_lists(path):
    "Name -> its option list, of a form's questions; elsewhere a question is its own list."
    if path.suffix not in ('.xlsx', '.xls'):
        return {}
    rows = [(row['type'].split(), row['name']) for row in rows_of(sheets_of(path)['survey']) if row.get('name')]
    return {name: words[1] for words, name in rows if len(words) > 1 and words[0].startswith('select')}


@real
@pytest.mark.parametrize('ending, counted', [('.xls', 303), ('.lss', 3), ('.qsf', 1)])
def test_missing_codes_against_counts_by_hand(ending, counted):
    "Of questions with several answers too, each with its kind; an answer is hardly ever taken for one."
    codes = found = kinds = beside = 0
    for name, by_code in MISSING_BY_HAND.items():
        if ending not in name:
            continue
        path = next(REAL.rglob(name))
        lists, book = columns_of_lists(path), draft_codebook_of(path)
        hand = {(q, code): kind for code, (kind, which) in by_code.items() for one in which.split()
                for q in ([n for n, l in lists.items() if l == one] if lists else [one])}
        got = {(n, code): kind for n, q in book.questions.items() for code, kind in q.missing.items()}
        got |= {(n, column[len(n) + 1:]): kind for n, s in book.sets.items() for column, kind in s.get('missing', {}).items()}
        codes, found, beside = codes + len(hand), found + len(hand.keys() & got.keys()), beside + len(got.keys() - hand.keys())
        kinds += sum(got.get(key) == (kind or got.get(key, '-')) for key, kind in hand.items())
    assert codes == counted and found >= .95*codes and kinds >= .95*codes and beside <= .01*codes, (codes, found, kinds, beside)


@real
def test_every_real_file_is_read_or_refused_in_a_sentence():
    read = refused = 0
    for path in sorted(p for p in REAL.rglob('*') if p.is_file() and p.suffix not in ('.md', '.csv', '.sav')):
        try:
            said = read_metadata(path)
            assert len(said.variables) > 1 and all(isinstance(s, str) for s in said.unread)
            worded = [v for v in said.variables.values() if not v.role]
            assert sum(bool(v.question) for v in worded) >= .95*len(worded) or path.suffix == '.sps'
            read += 1
        except ValueError as e:
            assert '\n' not in str(e) and path.name in str(e)
            refused += 1
    assert read == 28 and refused == 11


@real
def test_no_code_of_a_real_screen_is_left_in_a_wording():
    for path in [*REAL.glob('qsf/*'), *REAL.glob('limesurvey/*.lss'), *REAL.glob('xlsform/*.xls*')]:
        for v in read_metadata(path).variables.values():
            for text in [*v.question.values(), *v.intro.values(), *(t for said in v.options.values() for t in said.values())]:
                assert not re.search(r'</?(?:p|b|br|div|span|strong)\b|&nbsp;|\$\{[a-z]+://|INSERTANS', text), (path.name, v.name, text[:80])


# --- Drafts

NOT_BACKGROUND = 'racerare religimp sexism ageism aged_care incomeineq partytrust educspend regionalism vote party partyid'.split()


@pytest.mark.parametrize('name', NOT_BACKGROUND)
def test_an_attitude_is_no_background(name):
    assert guess_role(name, pd.Series([1, 2, 3, 1]))[0] == 'item'


@pytest.mark.parametrize('name, values, role', [
    ('yrbrn', [1950, 1980, 1990], 'background'), ('hhinc', [1, 2, 2], 'background'), ('intnum', [7, 7, 9], 'paradata'),
    ('interview_length', [31, 42, 33], 'paradata'), ('StartDate', ['2020-01-02', '2020-01-03', '2020-01-03'], 'date'),
    ('empty', [None, None, None], 'ignore'), ('trust', [1, 2, 3], 'item'), ('psu', [1, 1, 2], 'psu')])
def test_each_column_in_its_role(name, values, role):
    assert guess_role(name, pd.Series(values))[0] == role


def test_spare_weights_are_kept_and_one_choice():
    frame = pd.DataFrame({'id': [1, 2, 3], 'w_main': [.5, 1, 1.5], 'w_post': [1., 1, 1], 'q': [1, 2, 1]})
    book = Codebook.draft(frame)
    assert book.design['weight'] == 'w_main' and book.other == {'w_post': 'spare_weight'} and book.doubts['w_main'] == ['design']


@pytest.mark.parametrize('values, missing', [([1, 2, 3, -9, -8], ['-9', '-8']), ([1, 5, 3, 97, 98, 99], ['97', '98', '99']),
    ([0, 50, 100, 35, 70, 998, 999], ['998', '999']), ([-2, -1, 0, 1, 2], []), ([18, 45, 91, 97], [])])
def test_missing_codes_that_nobody_declared(values, missing):
    spec, _ = draft_codebook(pd.DataFrame({'id': range(len(values)), 'q': values}))
    q = spec['items']['q']
    assert sorted(q['missing']) == sorted(missing) and not set(missing) & set(q.get('options', {}))


def test_a_qualtrics_csv_has_no_header_among_its_respondents(tmp_path):
    (tmp_path/'q.csv').write_text('ResponseId,trust,Status\nResponse ID,"How much do you trust, the council?",Status\n'
        '"{""ImportId"":""_recordId""}","{""ImportId"":""QID1""}","{""ImportId"":""status""}"\nR_1,5,0\nR_2,4,0\nR_3,5,0\n')
    survey = Survey.load(tmp_path/'q.csv', draft_codebook_of(tmp_path/'q.csv'))
    assert len(survey) == 3 and survey.codebook.items['trust'].question == {'en': 'How much do you trust, the council?'}
    assert list(survey.codebook.items['trust'].options) == ['4', '5']


def test_the_first_source_wins_and_options_come_with_their_missing_codes():
    one = Metadata('one', {'q': Variable('q', options={'1': {'en': 'yes'}}, missing={'9': 'refused'})})
    two = Metadata('two', {'q': Variable('q', {'en': 'Yes?'}, options={'2': {'en': 'no'}}, missing={'8': 'dont_know'})})
    both = merged([one, two]).variables['q']
    assert (both.question, list(both.options), both.missing) == ({'en': 'Yes?'}, ['1'], {'9': 'refused'})


def test_a_survey_with_the_description_of_an_archive(tmp_path, capsys):
    (tmp_path/'d.csv').write_text('id,trust,age,w\n1,1,30,1\n2,2,40,.5\n3,9,50,2\n')
    (tmp_path/'d.xml').write_bytes(FORMATS['.xml'])
    survey = Survey.load(tmp_path/'d.csv', tmp_path/'d.xml')
    q = survey.codebook.items['trust']
    assert q.question['en'] == 'How much do you trust the council?' and q.missing == {'9': 'refused'}
    assert survey.codebook.design['weight'] == 'w' and list(survey.codebook.background) == ['age']
    assert 'things were guessed' in capsys.readouterr().out
    (tmp_path/'other.csv').write_text('a,b\n1,2\n')
    sentence(lambda: Survey.load(tmp_path/'other.csv', tmp_path/'d.xml'), 'd.xml: describes none of the columns')
    sentence(lambda: Survey.load(tmp_path/'d.csv'), 'alignsurvey codebook')


@pytest.mark.parametrize('ending', FORMATS)
def test_a_description_alone_makes_a_draft(ending, tmp_path):
    (tmp_path/f'made_up{ending}').write_bytes(FORMATS[ending])
    book = draft_codebook_of(tmp_path/f'made_up{ending}')
    for out in 'codebook.yaml', 'codebook.xlsx':
        again = Codebook.load(book.save(tmp_path/out))
        assert plain_codebook(again) == plain_codebook(book) and again.items


# --- YAML and spreadsheet give back what went in

TEXT = st.text(st.characters(exclude_categories=('Cs',), exclude_characters='\x85\ufeff'), min_size=1, max_size=20)
SAFE = TEXT.filter(lambda t: t.strip() == t and t)
ONE_LINE = SAFE.filter(lambda t: t.splitlines() == [t])
NAME = st.from_regex(r'[A-Za-z_][A-Za-z0-9_.#]{0,8}', fullmatch=True)
LANG = st.dictionaries(st.sampled_from(['en', 'de', 'zh']), SAFE, min_size=1, max_size=3)
CODE = st.from_regex(r'-?[0-9]{1,3}|[A-Za-z]{1,4}', fullmatch=True).filter(lambda c: c != '-0')
KIND = st.sampled_from(['not_asked', 'dont_know', 'refused', 'no_answer', 'unspecified'])


@st.composite
def questions(draw):
    scale = draw(st.sampled_from(['ordinal', 'nominal', 'numeric', 'open']))
    entry = dict(scale=scale, question=draw(LANG), guessed=draw(st.booleans()))
    if scale in ('ordinal', 'nominal'):
        codes = draw(st.lists(CODE, min_size=2, max_size=5, unique=True))
        entry['options'] = {c: {'en': f'{draw(ONE_LINE)} {i}'} for i, c in enumerate(codes)}
        entry['pin_last'] = draw(st.lists(st.sampled_from(codes), max_size=2, unique=True))
        if scale == 'ordinal' and draw(st.booleans()):
            entry['positions'] = draw(st.lists(st.floats(-9, 9).map(lambda x: round(x, 3)), min_size=len(codes), max_size=len(codes)))
    if scale == 'numeric' and draw(st.booleans()):
        entry['bins'] = sorted(draw(st.sets(st.integers(-50, 500), min_size=2, max_size=5)))
    if scale == 'numeric' and draw(st.booleans()):
        entry['range'] = draw(st.sampled_from([[0, 100], [-3, 3, 1], [0, 24, .5]]))
    entry['missing'] = {c: draw(KIND) for c in draw(st.lists(CODE, max_size=3, unique=True)) if c not in entry.get('options', {})}
    for f in 'intro', 'issue':
        entry |= {f: draw(LANG)} if draw(st.booleans()) else {}
    for f in 'family', 'routing', 'wording_note':
        entry |= {f: draw(SAFE)} if draw(st.booleans()) else {}
    return {k: v for k, v in entry.items() if v}


@st.composite
def codebooks(draw):
    names = draw(st.lists(NAME, min_size=2, max_size=7, unique=True))
    cut = draw(st.integers(0, len(names) - 1))
    spec = dict(id='x', year=draw(st.integers(1900, 2100)), notes=draw(SAFE),
                background={n: draw(questions()) for n in names[:cut]}, items={n: draw(questions()) for n in names[cut:]},
                other={'started': 'date', 'w2': 'spare_weight'}, weight='w1',
                doubts={n: draw(st.lists(st.sampled_from(['question', 'scale', 'options', 'part', 'missing']), min_size=1, unique=True)) for n in names[::2]})
    if draw(st.booleans()):
        spec['sets'] = {draw(NAME): dict(kind='multiple', columns=names, question=draw(LANG), **draw(st.sampled_from([{}, dict(ticked='1'), dict(missing={names[0]: 'refused'})])))}
    return read_codebook(spec, 'x.yaml')


@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.generate])
@given(book=codebooks())
def test_yaml_and_spreadsheet_give_back_the_codebook(book, tmp_path_factory):
    folder = tmp_path_factory.mktemp('c')
    for name in 'c.yaml', 'c.xlsx':
        again = Codebook.load(book.save(folder/name))
        assert list(again.questions) == list(book.questions)
        for f in 'id items background about design other sets doubts'.split():
            assert getattr(again, f) == getattr(book, f), (name, f)


# --- Nothing unread runs silently

def test_questions_that_nobody_read_warn_and_are_refused(tmp_path):
    frame = pd.DataFrame({'id': range(6), 'female': [0, 1]*3, 'q1': [1, 2, 3]*2})
    frame.to_csv(tmp_path/'d.csv', index=False)
    Codebook.draft(frame).save(tmp_path/'codebook.yaml')
    survey = Survey.load(tmp_path/'d.csv')
    with pytest.warns(UserWarning, match='read by nobody.*wording of'):
        survey.records(verbose=False)
    sentence(lambda: survey.records(strict=True, verbose=False), 'codebook.yaml:', 'read by nobody')
    assert len(unread_parts(survey.codebook, ['q1'])) == 3


@pytest.mark.parametrize('name', ['gss2018', 'ess10no'])
def test_the_surveys_that_come_along_were_read(name):
    assert unread_parts(Survey.load(name).codebook) == []


def test_equal_lists_are_one_decision():
    frame = pd.DataFrame({'id': range(4), **{f'q{i}': [1, 2, 3, 2] for i in range(30)}})
    said = Metadata(variables={f'q{i}': Variable(f'q{i}', {'en': f'Question {i}?'}) for i in range(30)})
    assert count_decisions(Codebook.draft(frame, said)) == 2    # the list's scale and its labels


# --- Hostile files

def test_entities_and_zip_bombs_are_refused(tmp_path):
    laughs = '<!DOCTYPE x [<!ENTITY a "ha">' + ''.join(f'<!ENTITY a{i} "{"&a" + str(i - 1) + ";" if i else "&a;"}">' for i in range(1, 9)) + ']>'
    for kind, entity in dict(laughs=laughs, outside='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
                             far='<!DOCTYPE x SYSTEM "http://localhost:9/x.dtd">').items():
        for ending in '.xml', '.lss':
            (tmp_path/f'{kind}{ending}').write_text(f'<?xml version="1.0"?>{entity}<codeBook>&a;</codeBook>')
            sentence(lambda: read_metadata(tmp_path/f'{kind}{ending}'), f'{kind}{ending}:')
    with zipfile.ZipFile(tmp_path/'bomb.xlsx', 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('xl/worksheets/sheet1.xml', b' ' * 200_000_000)
    sentence(lambda: read_metadata(tmp_path/'bomb.xlsx'), 'would unpack to')
    with open(tmp_path/'big.xlsx', 'wb') as f:
        f.truncate(200_000_000)
    sentence(lambda: read_metadata(tmp_path/'big.xlsx'), '191 MiB')


@pytest.mark.parametrize('ending', FORMATS)
def test_broken_files_end_in_a_draft_or_a_sentence(ending, tmp_path):
    path, read = tmp_path/f'broken{ending}', 0
    for seed in range(40):
        path.write_bytes(mutated_file(ending, seed))
        try:
            read_metadata(path)
            draft_codebook_of(path)
            read += 1
        except (ValueError, OSError) as e:
            assert '\n' not in str(e) and 'Traceback' not in str(e)
    assert 0 < read < 40


def test_routing_in_a_circle_is_kept_as_words(tmp_path):
    for ending in '.lss', '.xlsx', '.qsf':
        (tmp_path/f'c{ending}').write_bytes(FORMATS[ending])
        said = read_metadata(tmp_path/f'c{ending}')
        assert sum(bool(v.routing) for v in said.variables.values()) >= 2


def test_a_key_that_stands_twice_is_refused_in_every_format(tmp_path):
    path = tmp_path/'x.qsf'
    path.write_text('{"SurveyEntry": {},\n"SurveyElements": [],\n"SurveyElements": []}')
    with pytest.raises(ValueError, match="x.qsf: the key 'SurveyElements' stands twice in one object, in lines 2 and 3"):
        read_metadata(path)
    sheets = dict(questions=[['name', 'role'], ['q', 'item']], lists=[['list', 'code', 'label']], survey=[['field', 'value'], ['notes', '{"a": 1, "a": 2}']])
    with pytest.raises(ValueError, match="b.xlsx: survey: notes: the key 'a' stands twice"):
        from_sheets(sheets, 'b.xlsx')


def test_a_slider_and_a_range_say_from_where_to_where(tmp_path):
    (tmp_path/'x.qsf').write_bytes(FORMATS['.qsf'])
    assert read_metadata(tmp_path/'x.qsf').variables['slide_1'].range == (0, 90)
    (tmp_path/'x.csv').write_text('survey,type,name,label,parameters\nsurvey,range,warm,How warm?,start=0 end=10 step=0.5\n')
    assert read_xlsform(tmp_path/'x.csv').variables['warm'].range == (0, 10, .5)
