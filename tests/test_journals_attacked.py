"Journals, batches and budgets under attack: nobody gets another's answer, nothing is paid twice, and what is spent is counted."
import copy, http.server, json, multiprocessing, os, re, sqlite3, subprocess, sys, threading, time
from pathlib import Path
import pytest, torch

from alignsurvey.models.export import merge
from alignsurvey.models.loading import load_model
from alignsurvey.prediction.batch_api import in_batches
from alignsurvey.prediction.cost import estimate_cost, run_status
from alignsurvey.prediction.elicitation import predict, read_run
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.predictor import function_predictor
from alignsurvey.prediction.server import connect, most_written
from alignsurvey.records.reading import make_records
from alignsurvey.training.trainer import sft
from test_hostile_servers import FINE, serve
from test_server import prompts
from test_sft import SMALL, people, save_tiny

ANSWER = json.dumps(FINE).encode()


def always(status, body, **headers):
    "The same reply to everything after the probe."
    return lambda _, n: (200, {}, ANSWER) if n == 0 else (status, headers, json.dumps(body).encode())


def with_usage(**usage):
    "A fine reply that says this of what it cost."
    return json.dumps(FINE | dict(usage=usage)).encode()


# --- whose answer it is

def named(*ids):
    "Records of the same prompts under these ids."
    asks = [f'You are person {i}. Roads?\nA. too little\nB. too much' for i in range(len(ids))]
    return make_records([dict(record_id=i, respondent_id=i, output='A', answer_form='label', instruction=p) for i, p in zip(ids, asks)], source='made')


def says(p):
    "What person p says: the first A, all others B."
    reply = copy.deepcopy(FINE)
    top = reply['choices'][0]['logprobs']['content'][0]['top_logprobs']
    if p:
        for listed, token in zip(top, 'BA'): listed['token'] = token
        reply['choices'][0]['logprobs']['content'][0]['token'] = 'B'
    return json.dumps(reply).encode()


def test_answers_keep_to_the_ids_that_were_asked(tmp_path):
    with serve(lambda body, n: (200, {}, says('person 1.' in body['messages'][0]['content']))) as (url, asked):
        ask = lambda *ids: predict(connect('m', base_url=url), named(*ids), journal=tmp_path/'j.sqlite')
        frames = [ask('r0', 'r1'), ask('r1', 'r0'), ask('x', 'y')]
        sent = [body for body, _ in asked if 'person' in body['messages'][0]['content']]
    assert [list(f.record_id) for f in frames] == [['r0', 'r1'], ['r1', 'r0'], ['x', 'y']]
    assert all(list(f.value) == [0, 1] for f in frames) and len(sent) == 2, 'answers are shared, and belong to their prompts'
    runs = [s['run'] for s in run_status(tmp_path/'j.sqlite')]
    assert len(set(runs)) == 3 and list(read_run(tmp_path/'j.sqlite', runs[1]).record_id) == ['r1', 'r0']


def test_a_run_of_an_earlier_version_goes_on_where_its_ids_are_the_same(tmp_path):
    "Its name did not hold the ids: here it is given such a name."
    from alignsurvey.prediction.elicitation import content_keys
    import hashlib
    asks = function_predictor(lambda r: [.9, .1], 'f')
    predict(asks, named('r0', 'r1'), journal=tmp_path/'j.sqlite')
    with sqlite3.connect(tmp_path/'j.sqlite') as db:
        keys = [k for k, in db.execute('select key from asked order by place')]
        old = hashlib.sha256(f"None{''.join(keys)}".encode()).hexdigest()[:16]
        for table in 'runs', 'asked': db.execute(f'update {table} set run = ?', (old,))
    assert predict(asks, named('r0', 'r1'), journal=tmp_path/'j.sqlite').attrs['run'] == old
    assert list(read_run(tmp_path/'j.sqlite', old).record_id) == ['r0', 'r1']


def test_a_journal_takes_what_a_run_asks_now():
    log = Journal()
    for ids in ('r0', 'r1'), ('r1', 'r0'):
        log.begin('a', dict(elicitation='score'), [(i, name, f'k{i}', 2) for i, name in enumerate(ids)])
    log.add({f'k{i}': dict(status='ok', value=i) for i in range(2)}, 'a')
    assert log.predictions('a').set_index('record_id').value.to_dict() == dict(r1=0, r0=1)
