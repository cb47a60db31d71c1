"Servers that score tokens: the same probabilities as the chat gives, and what is wrong costs its record and nothing else."
import http.server, json, math, threading
import numpy as np
import pytest

from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.server import connect
from test_server import prompts, stub


@pytest.mark.parametrize('scores, path, each', [('sglang', '/v1/score', 1), ('vllm', '/generative_scoring', 2)])
def test_scored_tokens_say_what_the_chat_says(scores, path, each, tmp_path):
    records, journal = prompts(40), tmp_path/'run.sqlite'
    with stub() as (url, _): chat = predict(connect('stub', base_url=url), records, journal=journal)
    with stub(scores=scores) as (url, saw):
        server = connect('stub', base_url=url)
        scored = predict(server, records, journal=journal)
        first = saw()['kinds']
        again = predict(server, records, journal=journal)
        assert saw()['kinds'] == first, 'a scored prompt was asked again'
        by_chat = predict(connect('stub', base_url=url, top_p=1.), records.select(range(3)))
    assert first == {'ok': 1, '/tokenize': 26 + 1 + 40, path: 1 + each*40}, 'the chat was only asked by the probe'
    assert server.facts['scorer'] == path and server.facts['labels']['B'] == ord('B')
    np.testing.assert_allclose(np.stack(scored.probs), np.stack(chat.probs), atol=1e-9)
    np.testing.assert_allclose(scored.coverage, chat.coverage, atol=1e-9)
    assert set(scored.status) == {'ok'} and list(scored.value) == list(chat.value) and list(again.probs) == list(scored.probs)
    np.testing.assert_allclose(np.stack(by_chat.probs), np.stack(chat.probs)[:3])
    assert [card['probe'].get('scorer') for card in Journal(journal).runs().values()][-1] == path


ODD = dict(cut=b'{"scores": [[.6,', short=dict(scores=[[.6]]), long=dict(scores=[[.6, .3, .1]]), none=dict(scores=[]), two=dict(scores=[[.6, .3]]*2),
    high=dict(scores=[[1.2, .3]]), sums=dict(scores=[[.9, .9]]), low=dict(scores=[[-.1, .3]]), text=dict(scores=[['.6', .3]]), nan=dict(scores=[[math.nan, .3]]),
    null=dict(scores=[[None, .3]]), huge=dict(scores=[[10**400, .3]]), deep=b'['*100_000, other=dict(data=[dict(score=.6)]), html=b'<html>', listed=[1],
    usage=dict(scores=[[.6, .3]], usage=dict(prompt_tokens='9')))


def test_an_odd_reply_is_an_error_of_its_record(tmp_path):
    replies = list(ODD.values())
    class Odd(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        def do_GET(self): self.give(dict(paths={'/v1/score': {}, '/tokenize': {}}))
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
            if self.path == '/tokenize': return self.give(dict(tokens=[ord(c) for c in body.get('prompt') or body['messages'][0]['content']]))
            if self.path == '/v1/score':
                asked = ''.join(map(chr, body['query']))
                n = int(asked.split('person ')[1].split('.')[0]) if 'person' in asked else 99
                return self.give(replies[n] if n < len(replies) else dict(scores=[[.6, .3][:len(body['label_token_ids'])]]))
            top = [dict(token='A', logprob=math.log(.6))]
            self.give(dict(choices=[dict(message=dict(content='A'), logprobs=dict(content=[dict(top[0], top_logprobs=top)]))]))
        def give(self, reply):
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        def log_message(self, *_): pass
    class Patient(http.server.ThreadingHTTPServer):
        request_queue_size = 128    # five by default: on a busy machine more connections than that wait
    server = Patient(('127.0.0.1', 0), Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server:
        asked = connect('m', base_url=f'http://127.0.0.1:{server.server_port}/v1', tries=1)
        got = predict(asked, prompts(len(ODD) + 5), journal=tmp_path/'run.sqlite')
        server.shutdown()
    assert list(got.status) == ['error']*len(ODD) + ['ok']*5 and set(got.why.dropna()) == {'odd_reply', 'not_json'}
    status = run_status(tmp_path/'run.sqlite')[0]
    assert (status['answered'], status['failed']) == (5, len(ODD))


@pytest.mark.parametrize('settings', [dict(scores=None), dict(scores='sglang', logprobs=False)])
def test_where_nothing_is_found_the_chat_is_asked(settings):
    with stub(**settings) as (url, saw):
        server = connect('stub', base_url=url)
        got = predict(server, prompts(4), elicitation='auto', draws=2)
        assert 'scorer' not in server.facts and '/v1/score' not in saw()['kinds'] and set(got.status) == {'ok'}
