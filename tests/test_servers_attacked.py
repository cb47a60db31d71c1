"What servers, proxies and replies must not do: send prompts elsewhere, change the model unseen, give one option all of another's."
import json
import math
import socket
import threading
import warnings

import pytest

from alignsurvey.prediction.completions import Fault, Reply, score_steps
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.server import connect
from alignsurvey.records.reading import make_records
from test_hostile_servers import FINE, serve
from test_server import prompts


@pytest.fixture
def proxy(monkeypatch):
    "What a proxy is sent; the environment names it for all addresses."
    seen, listener = [], socket.create_server(('127.0.0.1', 0))

    def answer(client):
        with client:
            client.settimeout(5)
            seen.append(client.recv(65536))
            client.sendall(b'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')

    def listen():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            answer(client)

    threading.Thread(target=listen, daemon=True).start()
    for name in ('HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'):
        monkeypatch.setenv(name, f'http://127.0.0.1:{listener.getsockname()[1]}')
    for name in ('NO_PROXY', 'no_proxy'):
        monkeypatch.delenv(name, raising=False)
    yield seen
    listener.close()


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_a_server_on_this_machine_is_asked_by_no_proxy(host, proxy):
    records = make_records([dict(record_id='r', respondent_id='p', source='s', sending_forbidden='stays here', instruction='I am a nurse.\nA. yes\nB. no',
        options=['yes', 'no'], output='A', answer_form='label')], source='s')
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, asked):
        got = predict(connect('m', base_url=url.replace('127.0.0.1', host), tries=1), records)
    assert list(got.status) == ['ok'] and asked and not proxy


@pytest.mark.parametrize('name, value', [('SSL_CERT_FILE', '/nowhere/at/all.pem'), ('ALL_PROXY', 'socks9://127.0.0.1:9')])
def test_an_environment_that_no_client_takes_is_named(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    monkeypatch.setenv('OPENAI_API_KEY', 'k')
    with pytest.raises(ConnectionError, match=name):
        predict(connect('m', base_url='https://model.invalid/v1', tries=1), prompts(1))


def test_a_dead_proxy_is_among_the_remedies(monkeypatch):
    monkeypatch.setenv('HTTP_PROXY', 'http://127.0.0.1:9')
    monkeypatch.setenv('OPENAI_API_KEY', 'k')
    with pytest.raises(ConnectionError, match='and the proxy in the environment'):
        predict(connect('m', base_url='http://model.invalid/v1', tries=1, patience=1, timeout=2), prompts(1))


def test_a_server_that_changes_its_model_within_a_run_is_told(tmp_path):
    reply = lambda body, n: (200, {}, json.dumps(dict(FINE, model='big-1' if n < 4 else 'big-2')).encode())
    with serve(reply) as (url, _), pytest.warns(UserWarning, match=r'2 models gave the answers of this run \(big-1, big-2\)'):
        got = predict(connect('big', base_url=url, concurrency=1), prompts(8), journal=tmp_path/'j.sqlite')
    assert got.attrs['card']['models'] == ['big-1', 'big-2']
    with serve(lambda body, n: (200, {}, json.dumps(dict(FINE, model='big-1')).encode())) as (url, _), warnings.catch_warnings():
        warnings.simplefilter('error')
        got = predict(connect('big', base_url=url), prompts(8))
    assert got.attrs['card']['models'] == ['big-1']


def step(taken, **listed):
    return dict(token=taken, logprob=math.log(listed[taken]), top=[(token, math.log(p)) for token, p in listed.items()])


def test_an_option_that_begins_another_does_not_take_all_of_it():
    "Nothing is listed beside the end of the reply: what is left is shared, and the option that was said comes first."
    found = score_steps([step('1', **{'1': .5, **{str(k): .05 for k in range(2, 10)}})], dict(options=[str(k) for k in range(1, 11)], answer_form='text'))
    assert found['value'] == 0 and found['probs'][0] == pytest.approx(found['probs'][9]) and found['probs'][0] > .25
    many = score_steps([step('A', A=.7, B=.1, C=.1)], dict(options=[f'option {k}' for k in range(30)], answer_form='label'))
    assert many['value'] == 0 and min(many['probs'][26:]) > .1


def test_probabilities_of_another_place_are_no_reply():
    other = dict(token='A', logprob=math.log(.6), top=[('.', math.log(.9)), (' ', math.log(.05))])
    with pytest.raises(Fault):
        Reply(text='A', steps=(other,))
