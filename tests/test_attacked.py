"Replies, runs, orders and files as somebody who means harm, or hurries, would have them."
import json
import math
import shutil

import pandas as pd
import pytest
from test_hostile_servers import FINE, serve
from test_server import make_records, prompts

from alignsurvey.all import Survey, evaluate, full_report, predict, reorder, report
from alignsurvey.evaluation import judge
from alignsurvey.files.tables import read_table
from alignsurvey.prediction import predict_partitions, write_partitions
from alignsurvey.prediction.elicitation import read_run
from alignsurvey.prediction.runs import reproduce, write_run
from alignsurvey.prediction.server import connect
from alignsurvey.records.llamafactory import export_records
from alignsurvey.records.reading import write_records
from alignsurvey.tasks import task_records


def listed(pairs, text=None):
    "A reply of one token, with what is listed beside it: pairs of token and probability."
    tops = [dict(token=t, logprob=math.log(p)) for t, p in pairs]
    place = dict(tops[0], top_logprobs=tops)
    choice = dict(finish_reason='stop', message=dict(content=text or pairs[0][0]), logprobs=dict(content=[place]))
    return json.dumps(dict(usage=dict(prompt_tokens=9, completion_tokens=1), choices=[choice])).encode()


def answered(body, records=None, **how):
    "What a server that always sends this is taken to say."
    with serve(lambda asked, n: (200, {}, body)) as (url, _):
        return predict(connect('m', base_url=url), records or prompts(1), **how).iloc[0]


@pytest.mark.parametrize('pairs', [[('B', .42), ('A', .4), ('A', .1)], [('B', .42), ('A', .1), ('A', .4)]])
def test_tokens_that_are_written_alike_are_one(pairs):
    got = answered(listed(pairs))
    assert got.value == 0 and got.probs == pytest.approx([.5/.92, .42/.92])


@pytest.mark.parametrize('half', ['\ufffd', 'bytes:\\xe8\\xb5'])
@pytest.mark.parametrize('told', [True, False])
def test_part_of_a_character_is_told_by_its_bytes_or_not_at_all(half, told):
    record = dict(record_id='r0', respondent_id='p0', instruction='?\nA. 赞成\nB. 反对', output='赞成', options=['赞成', '反对'], answer_index=0,
        answer_form='text', task='response', lang='zh')
    def place(token, raw, p, *others):
        pairs = [(token, raw, p), *others]
        tops = [dict(token=t, logprob=math.log(q), bytes=list(b) if told else None) for t, b, q in pairs]
        return dict(tops[0], top_logprobs=tops)
    whole = '赞'.encode()
    places = [place(half, whole[:2], .7, ('反对', '反对'.encode(), .2)), place(half, whole[2:], .99), place('成', '成'.encode(), .99)]
    choice = dict(finish_reason='stop', message=dict(content='赞成'), logprobs=dict(content=places))
    got = answered(json.dumps(dict(choices=[choice])).encode(), make_records([record], source='s'), elicitation='score')
    if told: assert (got.status, got.value) == ('ok', 0) and got.probs[0] == pytest.approx(.7/.9)
    else: assert got.status == 'unparsed'


def test_tokens_of_reasoning_are_no_answer():
    thought = json.loads(json.dumps(FINE))
    thought['choices'][0].update(finish_reason='length', message=dict(content=None, reasoning_content='A 45-year-old'))
    got = answered(json.dumps(thought).encode(), elicitation='score')
    assert (got.status, got.why) == ('unparsed', 'truncated')


def test_text_that_contradicts_its_tokens_is_no_answer():
    got = answered(listed([('A', .7), ('B', .2)], text='B. too much'), elicitation='score')
    assert (got.status, got.why) == ('unparsed', 'other_text')


@pytest.mark.parametrize('status, words', [(429, 'see our content moderation tier'), (408, 'moderation timed out'), (422, 'asked about content moderation')])
def test_a_filter_is_not_seen_in_other_errors(status, words):
    def once(body, n):
        return (status, {'retry-after': '0'}, json.dumps(dict(error=dict(message=words))).encode()) if n == 1 else (200, {}, json.dumps(FINE).encode())
    with serve(once) as (url, _):
        got = predict(connect('m', base_url=url, concurrency=1), prompts(3))
    assert 'refused' not in set(got.status)


def test_partitions_of_other_records_or_options_are_not_done(tmp_path):
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, _):
        lm = connect('m', base_url=url)
        write_partitions(prompts(4), tmp_path/'records')
        assert predict_partitions(lm, tmp_path/'records', tmp_path/'out')['done'] == 1
        assert predict_partitions(lm, tmp_path/'records', tmp_path/'out')['done'] == 1
        with pytest.raises(ValueError, match='options'): predict_partitions(connect('m', base_url=url, top_p=.5), tmp_path/'records', tmp_path/'out')
        shutil.rmtree(tmp_path/'records')
        write_partitions(prompts(5), tmp_path/'records')
        with pytest.raises(ValueError, match='other records'): predict_partitions(lm, tmp_path/'records', tmp_path/'out')


def shown(instruction, text):
    return make_records([dict(record_id='r', respondent_id='p', instruction=instruction, input=text, output='A. yes', options=['yes', 'no'], answer_index=0,
        scale='nominal', task='response')], source='s')


def test_only_the_own_block_of_options_is_reordered():
    block = 'A. yes\nB. no'
    got = reorder(shown(f'Roads?\n{block}', 'Asked before: Taxes?\nA. yes\nB. not sure'), 'reverse')[0]
    assert got['instruction'] == 'Roads?\nA. no\nB. yes' and got['input'] == 'Asked before: Taxes?\nA. yes\nB. not sure'
    with pytest.raises(ValueError, match='more than once'): reorder(shown(f'Roads?\n{block}', f'Before:\n{block}'), 'reverse')


def test_a_part_whose_card_is_of_an_earlier_run_is_unfinished(tmp_path, monkeypatch):
    from alignsurvey.prediction.runs import join_parts, part_path
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, _):
        lm = connect('m', base_url=url)
        for n in 8, 12:
            records = prompts(n)
            write_records(records, tmp_path/'r.jsonl', overwrite=True)
            for i in 1, 2:
                out = part_path(tmp_path/'p.jsonl', (i, 2))
                got = predict(lm, records, shard=(i, 2), journal=out.with_suffix('.sqlite'))
                if (n, i) != (12, 2): write_run(got, out, out.with_suffix('.sqlite'), tmp_path/'r.jsonl', overwrite=True)
    with pytest.raises(ValueError, match='2of2.*not finished'): join_parts(tmp_path/'p.jsonl')


@pytest.fixture
def asked(tmp_path):
    "A run of four records: its server, records and folder."
    write_records(prompts(4), tmp_path/'r.jsonl')
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, _):
        yield connect('m', base_url=url), prompts(4), tmp_path


def test_a_card_stays_with_its_file(asked):
    lm, records, folder = asked
    got = predict(lm, records, journal=folder/'j.sqlite')
    write_run(got, folder/'p.jsonl', folder/'j.sqlite', folder/'r.jsonl')
    with pytest.raises(FileExistsError, match='card of p.jsonl'): write_run(got, folder/'p.parquet', folder/'j.sqlite', folder/'r.jsonl')
    text = (folder/'p.jsonl').read_text().replace('"ok"', '"error"', 1)
    (folder/'p.jsonl').write_text(text)
    assert any('changed' in said for said in reproduce(folder/'p.jsonl', lm=lm, records=folder/'r.jsonl')['differences'])
    assert len(read_run(folder/'j.sqlite')) == 4


def talks():
    return make_records([dict(record_id=f'r{i}', respondent_id=f'p{i}', task='interview', instruction='Talk.', output='I like roads.', answer_form='free', lang='en',
        background='age 3', history='x', question='why?') for i in range(3)], source='made')


def test_a_judge_is_asked_once_a_prompt_and_known_by_its_name(tmp_path):
    said = pd.DataFrame(dict(record_id=['r0', 'r1', 'r2'], text='Roads are good', status='ok'))
    both = pd.concat([said.assign(predictor='a'), said.assign(predictor='b')])
    calls = []
    def rater(prompt):
        calls.append(prompt)
        return json.dumps({'naturalness': 1 + len(calls) % 5, 'style match': 2, 'consistency': 3})
    one = judge(talks(), both, rater, journal=tmp_path/'j.sqlite')
    two = judge(talks(), both, rater, journal=tmp_path/'j.sqlite')
    assert len(calls) == 3 and one.score.tolist() == two.score.tolist()
    rater.settings = dict(temperature=1.5)
    judge(talks(), both, rater, journal=tmp_path/'j.sqlite')
    assert len(calls) == 6
    with pytest.raises(ValueError, match='lambda'): judge(talks(), both, lambda prompt: '', journal=tmp_path/'j.sqlite')


def test_own_files_in_a_folder_are_no_old_report(tmp_path):
    (tmp_path/'scores.csv').write_text('mine')
    records = prompts(4)
    with pytest.raises(FileExistsError, match='scores.csv'): full_report(records, {'m': None}, tmp_path)
    assert (tmp_path/'scores.csv').read_text() == 'mine'


def export(folder, name):
    for i in range(8): export_records(prompts(2), folder, name=f'{name}{i}')


def test_exports_at_the_same_time_keep_all_entries(tmp_path):
    from multiprocessing import get_context
    jobs = [get_context('fork').Process(target=export, args=(tmp_path, name)) for name in 'ab']
    for job in jobs: job.start()
    for job in jobs: job.join()
    assert len(json.loads((tmp_path/'dataset_info.json').read_text())) == 16


def test_scores_of_another_survey_are_refused(tmp_path):
    survey = Survey.load('gss2018')
    records = task_records(survey, 'response', items=['natroad'], respondents=5)
    same = pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', value=0, probs=[[.5, .3, .2]]*len(records)))
    scores = evaluate(records, {'m': same}, n_boot=100)
    with pytest.raises(ValueError, match='ess'): report(scores, tmp_path/'r.html', records=records, survey=Survey.load('ess10no'))


def test_a_flag_that_is_given_twice_is_refused(here, tmp_path):
    code, _, said = here('convert', 'gss2018', tmp_path/'o.jsonl', '--items', 'natroad', '--items', 'natsci')
    assert code == 2 and '--items is given 2 times' in said
    code, _, said = here('convert', 'gss2018', tmp_path/'o.jsonl', '--order', 'random')
    assert code == 2 and '--order random: use' in said


def test_nobody_is_told_an_empty_background(tmp_path):
    records = task_records(Survey.load('gss2018'), 'response', items=['natroad'], variables=[], respondents=3)
    assert 'background' not in records[0]['instruction'] + records[0]['input']


def test_a_line_for_excel_alone_is_no_header(tmp_path):
    (tmp_path/'s.csv').write_text('sep=;\nid;q\n1;1\n2;2\n')
    with pytest.raises(ValueError, match='delete that line'): read_table(tmp_path/'s.csv')
