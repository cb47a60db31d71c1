"Servers that send what no server should: one odd reply costs its record, and nothing else."
import contextlib, http.server, json, math, os, signal, sqlite3, subprocess, sys, threading, time
import pytest

from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import predict, read_run
from alignsurvey.prediction.journal import Journal, taking_turns
from alignsurvey.prediction.runs import read_run_card, write_run
from alignsurvey.prediction.server import connect
from alignsurvey.records.reading import write_records
from test_server import prompts, stub


@contextlib.contextmanager
def serve(reply):
    "A server in a thread: its address, and the bodies that it was sent. `reply` gives (status, headers, bytes) of a body and its number."
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version, asked, lock = 'HTTP/1.1', [], threading.Lock()
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
            with self.lock:
                n = len(self.asked)
                self.asked.append((body, self.headers['Authorization']))
            status, headers, data = reply(body, n)
            self.send_response(status)
            for k, v in {'Content-Type': 'application/json', 'Content-Length': len(data), **headers}.items(): self.send_header(k, str(v))
            self.end_headers()
            self.wfile.write(data)
        def log_message(self, *_): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}/v1', Handler.asked
    finally: server.shutdown(); server.server_close()


TOP = [dict(token=t, logprob=math.log(p)) for t, p in (('A', .6), ('B', .3))]
FINE = dict(usage=dict(prompt_tokens=50, completion_tokens=1), choices=[dict(finish_reason='stop', message=dict(content='A'), logprobs=dict(content=[dict(TOP[0], top_logprobs=TOP)]))])


def changed(*path, to):
    "A fine reply with one part changed, or taken away where `to` is ..."
    reply = json.loads(json.dumps(FINE))
    part = reply
    for key in path[:-1]: part = part[key]
    if to is ...: del part[path[-1]]
    else: part[path[-1]] = to
    return json.dumps(reply).encode()


STEP = ('choices', 0, 'logprobs', 'content', 0)
ODD = dict(
    high=changed(*STEP, 'logprob', to=1000), text=changed(*STEP, 'logprob', to='-1'), null=changed(*STEP, 'logprob', to=None), five=changed(*STEP, 'logprob', to=5),
    nan=changed(*STEP, 'logprob', to=math.nan), huge=changed(*STEP, 'logprob', to=10**400), listed=changed(*STEP, 'top_logprobs', 1, 'logprob', to=1000),
    no_token=changed(*STEP, 'token', to=...), list_token=changed(*STEP, 'token', to=['A']), sure=changed(*STEP, 'top_logprobs', to=[dict(t, logprob=0) for t in TOP]),
    usage_text=changed('usage', 'prompt_tokens', to='10'), usage_dict=changed('usage', 'prompt_tokens', to={}), usage_part=changed('usage', 'prompt_tokens', to=1.5),
    usage_huge=changed('usage', 'prompt_tokens', to=10**30), usage_true=changed('usage', 'prompt_tokens', to=True), usage_list=changed('usage', to=[1]),
    content_list=changed('choices', 0, 'message', 'content', to=['A']), message_text=changed('choices', 0, 'message', to='A'), choices_dict=changed('choices', to={'a': 1}),
    deep=b'{"choices": ' + b'['*100_000, deep_object=b'{"a":'*100_000, digits=b'{"usage": ' + b'9'*5_000 + b'}')


def odd_at(odd, at=4, fine=json.dumps(FINE).encode()):
    "Replies, one of them odd, whenever its prompt is asked."
    return lambda body, n: (200, {}, odd if f'person {at}.' in body['messages'][0]['content'] else fine)


@pytest.mark.parametrize('kind', ODD)
def test_one_odd_reply_costs_its_record_and_nothing_else(kind, tmp_path):
    with serve(odd_at(ODD[kind])) as (url, asked):
        got = predict(connect('m', base_url=url, tries=2), prompts(8), journal=tmp_path/'run.sqlite')
    assert list(got.status) == ['ok']*4 + ['error'] + ['ok']*3 and got.why[4] in ('odd_reply', 'not_json')
    again = read_run(tmp_path/'run.sqlite')
    assert again.drop(columns='seconds').equals(got.drop(columns='seconds')) and run_status(tmp_path/'run.sqlite')[0]['failed'] == 1


@pytest.mark.parametrize('text', ['{"answer":'*3_000, '{"answer":' + '['*900 + ']'*900 + '}', '"'*1_600, '<think>'*20_000, 'A' + ' '*5_000 + '.', 'B'*1_000_000, '\ud83d', '\0'])
def test_one_odd_text_costs_its_record_and_nothing_else(text):
    with serve(odd_at(changed('choices', 0, 'message', 'content', to=text))) as (url, _):
        got = predict(connect('m', base_url=url), prompts(8), elicitation='greedy')
    assert got.status[4] in ('unparsed', 'error', 'ok') and set(got.status.drop(4)) == {'ok'}


@pytest.mark.parametrize('said', ['inf', '1000000000', 'Fri, 31 Dec 9999 23:59:59 GMT', 'nan', '-5'])
def test_no_server_can_make_a_run_wait_longer_than_its_patience(said):
    busy = lambda body, n: (429, {'Retry-After': said}, b'{}') if n in (1, 2) else (200, {}, json.dumps(FINE).encode())
    start = time.monotonic()
    with serve(busy) as (url, _): got = predict(connect('m', base_url=url, patience=.2), prompts(3))
    assert set(got.status) == {'ok'} and time.monotonic() - start < 20


def test_a_byte_now_and_then_is_not_waited_for(tmp_path):
    class Drip(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            slow = b'person 1.' in body
            self.send_response(200); self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(60*slow): self.wfile.write(b' '); time.sleep(.2)
                self.wfile.write(json.dumps(FINE).encode())
        def log_message(self, *_): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Drip)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    start = time.monotonic()
    got = predict(connect('m', base_url=f'http://127.0.0.1:{server.server_port}/v1', timeout=1., tries=2), prompts(3))
    server.shutdown(); server.server_close()
    assert list(got.status) == ['ok', 'error', 'ok'] and got.why[1] == 'timeout' and time.monotonic() - start < 10


def test_a_key_that_a_server_sends_back_is_in_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv('STUB_KEY', 'sk-xyzzy-secret')
    said = changed('choices', 0, 'message', to=dict(content='A, by sk-xyzzy-secret', reasoning_content='is sk-xyzzy-secret it?'))
    with serve(lambda body, n: (200, {}, said)) as (url, _):
        got = predict(connect('m', base_url=url, key_variable='STUB_KEY'), prompts(3), elicitation='greedy', journal=tmp_path/'j.sqlite')
    assert list(got.text) == ['A, by …']*3 and list(got.thinking) == ['is … it?']*3
    assert b'xyzzy' not in b''.join(f.read_bytes() for f in tmp_path.iterdir())


def test_what_a_terminal_would_obey_is_not_in_a_message():
    said = json.dumps(dict(error=dict(message='\x1b[31mno\x1b[0m such\n\x1b]0;title\x07model\x07\u202e'))).encode()
    with serve(lambda body, n: (401, {}, said)) as (url, _):
        with pytest.raises(ConnectionError, match='Error code: 401 - no such model: check address'): predict(connect('m', base_url=url), prompts(3))
        with pytest.raises(RuntimeError, match='^Error code: 401 - no such model$'): connect('m', base_url=url, tries=1).write(['Hello?'])


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (elsewhere, got):
        with serve(lambda body, n: (status, {'Location': elsewhere + '/chat/completions'}, b'')) as (url, asked):
            with pytest.raises(ConnectionError, match='sends requests on to 127.0.0.1, which gets none'): predict(connect('m', base_url=url), prompts(3))
            with pytest.raises(RuntimeError, match='sends requests on'): connect('m', base_url=url, tries=1).write(['Hello?'])
    assert got == [] and len(asked) == 2


@pytest.mark.parametrize('usage', [None, {}, dict(prompt_tokens=-50, completion_tokens=-1), dict(prompt_tokens=0, completion_tokens=0)])
def test_a_budget_holds_where_replies_do_not_say_what_they_cost(usage, tmp_path):
    records, price = prompts(60), 100.
    with serve(lambda body, n: (200, {}, changed('usage', to=usage))) as (url, asked):
        ask = lambda budget: predict(connect('m', base_url=url, prices=(price, 0.), budget=budget, concurrency=4), records, journal=tmp_path/'run.sqlite')
        with pytest.raises(ValueError, match='the budget of 0.05 is used up'): ask(.05)
        sent = len(asked) - 1
        true = sum(len(body['messages'][0]['content'])/4 for body, _ in asked[1:])*price/1e6
        status = run_status(tmp_path/'run.sqlite')[0]
        assert 0 < sent < 60 and true <= status['spent'] <= .05
        with pytest.raises(ValueError, match='is used up'): ask(.05)    # what was charged is remembered
        assert len(asked) - 1 <= sent + 1 + 1


@pytest.mark.parametrize('prices, budget', [((math.nan, 1.), None), ((-1., 1.), 1.), ((math.inf, 0.), 1.), ((1., 1.), math.nan), ((1., 1.), -1.)])
def test_prices_that_are_none_are_refused(prices, budget, tmp_path, here):
    with pytest.raises(ValueError, match='prices are|the budget is'): connect('m', base_url='http://localhost/v1', prices=prices, budget=budget)
    write_records(prompts(2), tmp_path/'r.jsonl')
    code, _, err = here('predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--server', 'http://127.0.0.1:9/v1', '--prices', ','.join(map(str, prices)), *([] if budget is None else ['--budget', str(budget)]))
    assert code == 2 and ('prices are two numbers' in err or 'the budget is' in err)


def test_a_second_server_does_not_pass_for_the_first(tmp_path):
    fine = lambda body, n: (200, {}, json.dumps(FINE).encode())
    records = prompts(10)
    with serve(fine) as (one, _), serve(fine) as (two, asked):
        got = predict(connect('m', base_url=one), records.select(range(6)), journal=tmp_path/'run.sqlite')
        with pytest.warns(UserWarning, match=f'6 answers in .*run.sqlite came from {one}, and this run asks {two}'):
            got = predict(connect('m', base_url=two), records, journal=tmp_path/'run.sqlite')
        write_run(got, tmp_path/'p.jsonl', tmp_path/'run.sqlite', 'r.jsonl')
    assert len(asked) == 1 + 4 and read_run_card(tmp_path/'p.jsonl')['answered_by'] == {one: 6, two: 4}


def test_a_card_from_somebody_else_sends_no_secret(tmp_path, cli):
    records, secret = prompts(4), 'sk-xyzzy-secret'
    write_records(records, tmp_path/'r.jsonl')
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, asked):
        write_run(predict(connect('m', base_url=url), records, journal=tmp_path/'p.sqlite'), tmp_path/'p.jsonl', tmp_path/'p.sqlite', tmp_path/'r.jsonl')
        card, path = read_run_card(tmp_path/'p.jsonl'), tmp_path/'p.card.json'
        for address in url.replace('127.0.0.1', '127.0.0.1.nip.example'), 'https://else.where/v1', None:
            path.write_text(json.dumps(card | dict(base_url=address, key_variable='AWS_SECRET_ACCESS_KEY')))
            code, _, err = cli('reproduce', tmp_path/'p.jsonl', AWS_SECRET_ACCESS_KEY=secret)
            assert code == 2 and 'name them again' in err and len(err.strip().splitlines()) == 1
        asked.clear()
        code, out, err = cli('reproduce', tmp_path/'p.jsonl', '--server', url, '--key-variable', 'MY_KEY', AWS_SECRET_ACCESS_KEY=secret, MY_KEY='mine')
        assert code == 0 and {key for _, key in asked} == {'Bearer mine'}, err
        path.write_text(json.dumps(card | dict(options=None)))
        code, _, err = cli('reproduce', tmp_path/'p.jsonl')
        assert code == 2 and 'is damaged' in err


def test_damaged_cards_are_a_sentence(tmp_path):
    path = tmp_path/'p.card.json'
    for text in '', '[]', '{', '{"model": 1}', '['*100_000, '{"model": "m", "predictions": "../x", "records_hash": []}', '\udcff':
        path.write_bytes(text.encode('utf-8', 'surrogateescape'))
        with pytest.raises(ValueError, match='p.card.json: is no whole card of a run'): read_run_card(tmp_path/'p.jsonl')


RUN = '''
import sys, time
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.runs import write_run
from alignsurvey.prediction.server import connect
sys.path.insert(0, {tests!r})
from test_server import prompts
got = predict(connect({model!r}, base_url={url!r}, concurrency=4), prompts({n}), journal={journal!r})
write_run(got, {out!r}, {journal!r}, 'r.jsonl')
'''


def start(tmp_path, name, **given):
    code = RUN.format(tests=os.path.dirname(__file__), journal=str(tmp_path/'run.sqlite'), out=str(tmp_path/f'{name}.jsonl'), **given)
    return subprocess.Popen([sys.executable, '-c', code], stderr=subprocess.PIPE, text=True, env=dict(os.environ, TQDM_DISABLE='1'))


def test_two_runs_at_once_share_what_they_ask_and_keep_their_own_cards(tmp_path, monkeypatch):
    "The first run is this process, which holds the journal until the second has said that it waits."
    with stub() as (url, saw):
        with taking_turns(tmp_path/'run.sqlite'):
            second = start(tmp_path, 'second', model='m', url=url, n=80)
            assert 'another run asks into this journal' in second.stderr.readline()
            monkeypatch.setattr('alignsurvey.prediction.elicitation.taking_turns', contextlib.nullcontext)
            mine = predict(connect('m', base_url=url), prompts(60), journal=tmp_path/'run.sqlite')
            write_run(mine, tmp_path/'first.jsonl', tmp_path/'run.sqlite', 'r.jsonl')
        said = second.communicate(timeout=240)[1]
        served = saw()['served']
    assert second.returncode == 0, said
    assert {n for p, n in served.items() if p.startswith('You are')} == {1}
    cards = [read_run_card(tmp_path/f'{name}.jsonl') for name in ('first', 'second')]
    assert [card['records'] for card in cards] == [60, 80] and cards[0]['run'] != cards[1]['run']


def test_predictions_get_the_card_of_their_own_run(tmp_path):
    fine = lambda body, n: (200, {}, json.dumps(FINE).encode())
    with serve(fine) as (url, _):
        frames = {m: predict(connect(m, base_url=url), prompts(5), journal=tmp_path/'run.sqlite') for m in ('one', 'two')}
    for m, frame in frames.items(): write_run(frame, tmp_path/f'{m}.parquet', tmp_path/'run.sqlite', 'r.jsonl')
    assert [read_run_card(tmp_path/f'{m}.parquet')['model'] for m in frames] == ['one', 'two']


def test_a_clock_that_is_set_back_loses_no_progress(tmp_path, monkeypatch):
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, _):
        server, journal, clock = connect('m', base_url=url), tmp_path/'run.sqlite', time.time
        begun = Journal.begin
        def back(self, *args):
            begun(self, *args)
            monkeypatch.setattr(time, 'time', lambda: clock() - 86_400)
        monkeypatch.setattr(Journal, 'begin', back)
        predict(server, prompts(40), journal=journal)
        assert run_status(journal)[0]['answered'] == 40
        monkeypatch.setattr(Journal, 'begin', begun)
        predict(server, prompts(50), journal=journal)    # begun on a day before the first one ended
        assert [s['answered'] for s in run_status(journal)] == [40, 50]


def test_status_counts_records_and_not_prompts(tmp_path):
    from datasets import concatenate_datasets
    records = prompts(48)
    twin = records.select([0]).map(lambda r: dict(record_id='twin', respondent_id='twin'), load_from_cache_file=False)
    both = concatenate_datasets([records.select(range(47)), twin])
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, asked):
        assert len(predict(connect('m', base_url=url), both, journal=tmp_path/'run.sqlite')) == 48
    status = run_status(tmp_path/'run.sqlite')[0]
    assert (status['answered'], status['total'], status['left'], len(asked)) == (48, 48, 0, 48)    # a probe, and 47 prompts


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows sends no SIGINT to another process')
def test_an_interrupted_run_says_what_it_kept_and_how_to_go_on(tmp_path):
    write_records(prompts(200), tmp_path/'r.jsonl')
    with stub(latency=.2) as (url, saw):
        run = subprocess.Popen([sys.executable, '-m', 'alignsurvey', 'predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--server', url, '--concurrency', '4'],
            stderr=subprocess.PIPE, text=True, env=dict(os.environ, TQDM_DISABLE='1'))
        while saw()['kinds'].get('ok', 0) < 20: time.sleep(.05)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=120)[1]
    n = len(Journal(tmp_path/'p.sqlite'))
    assert run.returncode == 130 and f'stopped: {n:,} of 200 are answered and kept in' in said and 'goes on from there' in said and 'Traceback' not in said


@pytest.mark.parametrize('args, said', [(['--shard', '0/0'], "shard is '0/0': give the part, from 1"), (['--shard', '-1/2'], 'give the part, from 1'), (['--server', 'http://127.0.0.1:99999/v1'], 'is no web address'), (['--server', 'http://h:0/v1'], 'is no web address')])
def test_what_cannot_be_asked_is_one_sentence(args, said, tmp_path, here):
    write_records(prompts(2), tmp_path/'r.jsonl')
    code, _, err = here('predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--server', 'http://127.0.0.1:9/v1', *args)
    assert code == 2 and said in err and len(err.strip().splitlines()) == 1


def test_a_key_with_a_line_break_is_one_sentence(monkeypatch):
    monkeypatch.setenv('TORN', 'sk-xyzzy\n')
    with pytest.raises(ValueError, match='the key in TORN holds a blank, a line break') as e: connect('m', base_url='http://localhost/v1', key_variable='TORN')
    assert 'xyzzy' not in str(e.value)


def test_a_hosted_model_without_its_server_is_told_of_the_server(tmp_path, here, monkeypatch):
    import alignsurvey.models.loading as loading
    def gone(name, **_): raise FileNotFoundError(f"{name}: can't be loaded: no connection")
    monkeypatch.setattr(loading, 'load_model', gone)
    write_records(prompts(2), tmp_path/'r.jsonl')
    code, _, err = here('predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'gpt-4o')
    assert code == 2 and "give the server's address with --server" in err and len(err.strip().splitlines()) == 1


def test_a_journal_that_an_earlier_version_poisoned_is_read(tmp_path):
    with serve(lambda body, n: (200, {}, json.dumps(FINE).encode())) as (url, _): predict(connect('m', base_url=url), prompts(6), journal=tmp_path/'run.sqlite')
    with sqlite3.connect(tmp_path/'run.sqlite') as db:
        keys = [k for k, in db.execute('select key from asked order by place')]
        for key, text in zip(keys, ['{"status": "ok", "tokens": 1.5}', '{"status": "ok", "tokens": 1' + '0'*30 + '}', '[1]', '{']): db.execute('update answers set answer = ? where key = ?', (text, key))
    got = read_run(tmp_path/'run.sqlite')
    assert list(got.status) == ['error']*4 + ['ok']*2 and set(got.why[:4]) == {'damaged in the journal'}


def test_the_dry_run_says_who_could_be_recognised(tmp_path, here, monkeypatch):
    write_records(prompts(12), tmp_path/'r.jsonl')
    ask = ['predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--dry-run', '--server']
    code, out, err = here(*ask, 'https://models.example.org/v1')
    assert code == 0 and 'sent to https://models.example.org/v1: what 12 respondents said of themselves; 12 of them share their prompts with nobody' in out, err
    assert 'sent to' not in here(*ask, 'http://127.0.0.1:9/v1')[1]


@pytest.mark.parametrize('status', [302, 401, 403, 404])
def test_a_no_amid_answers_is_asked_again_and_one_that_stays_stops_the_run(status, tmp_path):
    said = lambda n: (status, {'Location': 'http://127.0.0.2:9/'}, b'{}')
    fine = json.dumps(FINE).encode()
    for lasting, ends in (1, True), (10**6, False):
        with serve(lambda body, n: said(n) if 4 <= n < 4 + lasting else (200, {}, fine)) as (url, asked):
            ask = lambda: predict(connect('m', base_url=url, concurrency=1), prompts(8), journal=tmp_path/f'{lasting}.sqlite')
            if ends: assert set(ask().status) == {'ok'} and len(asked) == 1 + 8 + 1
            else:
                with pytest.raises(ConnectionError, match=f'Error code: {status}'): ask()
                assert len(asked) < 20 and run_status(tmp_path/f'{lasting}.sqlite')[0]['answered'] == 3


def test_what_is_cut_off_on_its_way_is_counted_as_paid(tmp_path):
    "One request is told no for good while others wait for their replies."
    def reply(body, n):
        if n == 0: return 200, {}, json.dumps(FINE).encode()
        if 'person 0.' in body['messages'][0]['content']: return 401, {}, b'{}'
        time.sleep(1)
        return 200, {}, json.dumps(FINE).encode()
    with serve(reply) as (url, asked), pytest.raises(ConnectionError):
        predict(connect('m', base_url=url, concurrency=4, prices=(100., 100.)), prompts(8), journal=tmp_path/'run.sqlite')
    sent = 1 + sum('person 0.' not in body['messages'][0]['content'] for body, _ in asked[1:])    # the probe is paid for too
    with sqlite3.connect(tmp_path/'run.sqlite') as db: charged, answered = (db.execute(f'select count(*) from {t}').fetchone()[0] for t in ('charges', 'answers'))
    assert sent == charged + answered and charged > 1
