"Terms that forbid to send: said in the codebook, carried by every record, kept by whoever asks a server elsewhere."
import json

import pandas as pd
import pytest
import yaml

from alignsurvey.evaluation.judging import judge, api_judge
from alignsurvey.prediction.cost import exposure_line
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.server import connect
from alignsurvey.records import export_records, join_records, make_records, read_records, reorder, split_records, write_records
from alignsurvey.study import Study
from alignsurvey.surveys.codebook import Codebook
from alignsurvey.surveys.interviews import Interviews
from alignsurvey.tasks.registry import Survey, task_records
from test_server import prompts

WORDS = 'Data may not be passed on to third parties.'
BOOK = dict(id='kept', respondent_id='id', background=dict(sex=dict(question='your sex', options={1: 'male', 2: 'female'})),
    items=dict(q=dict(question='Roads?', scale='ordinal', options={1: 'less', 2: 'more'})))
ELSEWHERE = dict(base_url='http://else.where.invalid/v1')


@pytest.fixture
def survey(tmp_path):
    pd.DataFrame(dict(id=range(40), sex=[1, 2]*20, q=[1, 1, 2, 2]*10)).to_csv(tmp_path/'x.csv', index=False)
    (tmp_path/'codebook.yaml').write_text(yaml.safe_dump(BOOK | dict(sending_forbidden=WORDS)))
    return Survey.load(tmp_path/'x.csv')


def test_every_record_carries_the_terms_wherever_it_goes(survey, tmp_path):
    records = survey.records('response', verbose=False)
    joined = join_records(prompts(5), records)
    assert set(joined['sending_forbidden'][:5]) == {None} and set(joined['sending_forbidden'][5:]) == {WORDS}
    ways = [records, reorder(records, 'reverse'), *split_records(records, test=.3).values(), records.select(range(3)), joined,
        read_records(write_records(records, tmp_path/'r.jsonl')), read_records(write_records(records, tmp_path/'r.json')), survey.records('role', verbose=False)]
    for some in ways:
        with pytest.raises(ValueError, match=f"^kept: its terms forbid sending .* to else.where.invalid \\('{WORDS}'\\): .*--send-anyway kept"):
            predict(connect('m', **ELSEWHERE), some)


def test_without_such_terms_there_is_no_such_field(survey):
    free = Survey(survey.frame, Codebook('free', survey.codebook.items, survey.codebook.background))
    for level in dict(), dict(level='group', by='sex', min_n=5):
        assert 'sending_forbidden' not in free.records('response', verbose=False, **level).column_names


def test_records_of_groups_keep_the_terms_and_are_asked_with_a_word_on_them(survey, tmp_path):
    groups = survey.records('response', level='group', by='sex', min_n=5, verbose=False)
    server = connect('m', **ELSEWHERE)
    for some in groups, read_records(write_records(groups, tmp_path/'g.jsonl')), read_records(export_records(groups, tmp_path/'lf')):
        assert some['sending_forbidden'][:] == [WORDS]*len(groups)
        server.check_terms(some)
        assert exposure_line(some, server) == ("sent to http://else.where.invalid/v1: questions about groups, and nothing that a respondent said; "
            f"the terms of kept forbid to send that ('{WORDS}')")
    assert exposure_line(groups, connect('m', base_url='http://localhost/v1')) == ''
    with pytest.raises(ValueError, match='^kept: its terms forbid sending'):
        server.check_terms(join_records(groups, survey.records('response', verbose=False)))


def test_alpaca_files_keep_the_terms_under_any_names_of_their_columns(survey, tmp_path):
    records = survey.records('response', verbose=False)
    path = export_records(records, tmp_path/'lf', name='kept')
    bare = [dict(ask=r['instruction'], say=r['output'], sending_forbidden=WORDS) for r in records]
    (tmp_path/'lf'/'bare.json').write_text(json.dumps(bare))
    info = json.loads((tmp_path/'lf'/'dataset_info.json').read_text())
    info['bare'] = dict(file_name='bare.json', columns=dict(prompt='ask', response='say'))
    (tmp_path/'lf'/'dataset_info.json').write_text(json.dumps(info))
    for some in read_records(path), read_records(tmp_path/'lf', 'kept'), read_records(tmp_path/'lf', 'bare'):
        with pytest.raises(ValueError, match='its terms forbid sending'):
            connect('m', **ELSEWHERE).check_terms(some)
    for wrong in True, [WORDS], {'en': WORDS}:
        with pytest.raises(ValueError, match="record 1: field 'sending_forbidden' is .*: write text"):
            make_records([dict(bare[0], instruction='Roads?', sending_forbidden=wrong)])


def test_one_record_that_says_so_is_enough(survey):
    rows = survey.records('response', verbose=False).to_list()
    for silent in slice(1, None), slice(None, -1):
        some = [dict(r) for r in rows]
        for r in some[silent]:
            r['sending_forbidden'] = None
        with pytest.raises(ValueError, match='^kept: its terms forbid sending'):
            connect('m', **ELSEWHERE).check_terms(make_records(some))


def test_the_codebook_keeps_the_words_and_refuses_what_are_none(survey, tmp_path):
    for name in 'again.yaml', 'again.xlsx':
        assert Codebook.load(survey.codebook.save(tmp_path/name)).about == dict(sending_forbidden=WORDS)
    for wrong in True, 3, ' ', [WORDS]:
        (tmp_path/'codebook.yaml').write_text(yaml.safe_dump(BOOK | dict(sending_forbidden=wrong)))
        with pytest.raises(ValueError, match='codebook.yaml: sending_forbidden is .* quote the sentence'):
            Survey.load(tmp_path/'x.csv')


def test_only_the_name_of_the_survey_overrides_it_and_no_card(survey, tmp_path, here):
    path = write_records(survey.records('response', verbose=False), tmp_path/'r.jsonl')
    ask = ['predict', path, tmp_path/'p.jsonl', '--model', 'm', '--server', ELSEWHERE['base_url'], '--tries', '1']
    for more in [], ['--dry-run'], ['--send-anyway', 'gss2018']:
        code, _, err = here(*ask, *more)
        assert code == 2 and 'kept: its terms forbid sending' in err and len([l for l in err.strip().splitlines() if 'sent to' not in l]) == 1, err
    code, out, _ = here(*ask, '--dry-run', '--send-anyway', 'kept')
    assert code == 0 and '40 respondents' in out
    code, _, err = here(*ask, '--send-anyway', 'kept')
    # a timeout where the name server is slow
    assert code == 2 and any(f'm at else.where.invalid: gave no answer ({why})' in err for why in ('connection', 'timeout'))
    server = connect('m', send_anyway='kept', **ELSEWHERE)
    card = json.loads(json.dumps(server.card()))
    assert card['send_anyway'] == ['kept']
    assert type(server).from_card(card, **ELSEWHERE, key_variable='K').send_anyway == ()


def test_interviews_of_its_people_carry_them_too_and_a_judge_elsewhere_is_refused(survey):
    turns = [dict(respondent_id=str(i), turn=t, speaker=('interviewer', 'respondent')[t % 2], text=f'words {t}') for i in range(2) for t in range(4)]
    records = task_records(Interviews.load(pd.DataFrame(turns), survey, verbose=False), 'interview', verbose=False)
    said = pd.DataFrame(dict(record_id=records['record_id'], text='yes', status='ok'))
    with pytest.raises(ValueError, match='^kept: its terms forbid sending'):
        judge(records, said, api_judge('m', **ELSEWHERE))


def test_a_study_sends_such_a_survey_only_where_it_says_so(survey, tmp_path):
    "And where who runs it trusts the server: the file alone is not enough."
    text = 'survey: x.csv\nitems: [q]\npredictors:\n  other: {model: smollm2-135m, tokenizer: smollm2-135m, server: URL}\nbaselines: [uniform]\n'
    server = ELSEWHERE['base_url']
    trusted = {server: 'OPENAI_API_KEY'}
    (tmp_path/'study.yaml').write_text(text.replace('URL', f"'{server}'"))
    for step in 'plan', 'run':
        with pytest.raises(ValueError, match="^kept: its terms forbid sending .*send_anyway='kept'"):
            getattr(Study.load(tmp_path/'study.yaml', trusted), step)()
    (tmp_path/'study.yaml').write_text(text.replace('URL', f"'{server}', send_anyway: [kept]"))
    with pytest.raises(ValueError, match='where you trust both, name them again'):
        Study.load(tmp_path/'study.yaml').plan()
    told = Study.load(tmp_path/'study.yaml', trusted).plan()['takes']['other']['told']
    assert 'sent to http://else.where.invalid/v1' in told and 'the terms of kept forbid to send that' in told
    (tmp_path/'study.yaml').write_text(text.replace('server: URL', 'send_anyway: [kept]'))
    with pytest.raises(ValueError, match='other.send_anyway: nothing is sent without a server'):
        Study.load(tmp_path/'study.yaml')
