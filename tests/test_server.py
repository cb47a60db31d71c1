"Servers: faults of every kind, secrets, budgets, throughput, against a stub in its own process."
import asyncio, contextlib, json, logging, os, signal, subprocess, sys, threading, time, traceback, urllib.request
from pathlib import Path
import pytest

from alignsurvey.prediction.cost import estimate_cost, run_status
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.reading import make_records, write_records
from alignsurvey.prediction.server import connect

STUB = Path(__file__).with_name('stub_server.py')


@contextlib.contextmanager
def stub(**settings):
    "A stub in a process of its own: its address, and a callable that tells what it saw."
    process = subprocess.Popen([sys.executable, STUB, json.dumps(settings)], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        yield f'http://127.0.0.1:{port}/v1', lambda: json.load(urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=60))
    finally:
        process.kill()
        process.wait()


def prompts(n):
    asks = [f'You are person {i}. Roads?\nA. too little\nB. too much' for i in range(n)]
    rows = [dict(record_id=f'r{i}', respondent_id=f'r{i}', instruction=p, output='A', answer_form='label') for i, p in enumerate(asks)]
    return make_records(rows, source='made')


def test_every_fault_ends_in_a_status_with_its_reason(tmp_path):
    records = prompts(600)
    with stub(latency=.02, faults=.3) as (url, saw):
        server = connect('stub', base_url=url, concurrency=32, timeout=2., tries=8)    # long enough for a busy machine: what comes later is asked again
        got = predict(server, records, journal=tmp_path/'run.sqlite')
        seen = saw()
    assert set(seen['kinds']) == {'ok', '429', '500', 'timeout', 'cut', 'html', 'empty', 'filter'} and seen['most'] <= 32 + seen['kinds']['timeout']
    assert list(got.record_id) == records['record_id'] and set(got.status) <= {'ok', 'refused', 'error'}
    assert got[got.status != 'ok'].why.notna().all() and set(got[got.status == 'refused'].why) == {'content_filter'}
    assert (got.status == 'refused').sum() == seen['kinds']['filter'] and (got.status == 'ok').sum() > 500
    assert max(seen['served'].values()) == 1, 'an answered prompt was asked again'


@pytest.mark.timing
def test_faults_cost_at_most_twice_and_a_half_the_time():
    records, seconds = prompts(1_000), {}
    for faults in (0., .3):
        with stub(latency=.1, faults=faults) as (url, _):
            server = connect('stub', base_url=url, concurrency=32, timeout=1., tries=8)
            server.probe()
            start = time.perf_counter()
            predict(server, records)
            seconds[faults] = time.perf_counter() - start
    assert seconds[.3] <= 2.5*seconds[0] + 3, seconds    # the last prompt's own retries are some seconds, however many prompts there are


def test_a_server_that_only_fails_stops_the_run_and_keeps_the_rest(tmp_path):
    with stub(latency=.01, faults=1.) as (url, _):
        server = connect('stub', base_url=url, concurrency=2, timeout=.1, tries=3, patience=0.)
        server.facts = dict(mode='score', logprobs=20)
        with pytest.raises(ConnectionError, match='no answer for 0 seconds'): predict(server, prompts(200), journal=tmp_path/'run.sqlite')
    assert run_status(tmp_path/'run.sqlite')[0]['left'] > 0


def test_failures_are_asked_again_and_answers_are_not(tmp_path):
    records, journal = prompts(80), tmp_path/'run.sqlite'
    with stub(faults=.4, latency=.01) as (url, saw):
        server = connect('stub', base_url=url, concurrency=8, timeout=.1, tries=1)
        first = predict(server, records, journal=journal)
        assert (first.status == 'error').any() and run_status(journal)[0]['failed'] == (first.status == 'error').sum()
        answered, before = (first.status != 'error').to_numpy(), saw()['served']
        server.tries, server.timeout = 20, .5
        second = predict(server, records, journal=journal)
        kept = [r['instruction'] for r, a in zip(records, answered) if a]    # a reply that came too late was an answer to the server alone
        assert not (second.status == 'error').any() and all(saw()['served'].get(p) == before.get(p) for p in kept)
    assert list(first.status[answered]) == list(second.status[answered]) and run_status(journal)[0]['failed'] == 0


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows ends a process that is sent SIGINT')
def test_a_notebook_that_is_interrupted_asks_no_more():
    async def cell(): predict(connect('stub', base_url=url, concurrency=4), prompts(2_000), elicitation='greedy')    # in the notebook's event loop
    def interrupt():
        while saw()['kinds'].get('ok', 0) < 20: time.sleep(.1)
        os.kill(os.getpid(), signal.SIGINT)
    with stub(latency=.1) as (url, saw):
        threading.Thread(target=interrupt).start()
        with contextlib.closing(asyncio.new_event_loop()) as loop, pytest.raises(KeyboardInterrupt): loop.run_until_complete(cell())
        asked = saw()['kinds']['ok']
        time.sleep(1)
        assert asked == saw()['kinds']['ok'] < 1_000


def test_the_probe_chooses_and_draws_are_shared(tmp_path):
    records = prompts(20)
    with stub(logprobs=False) as (url, saw):
        server = connect('stub', base_url=url)
        assert server.elicitation() == 'sample' and server.facts == dict(mode='sample', logprobs=0)
        got = predict(server, records, elicitation='auto', draws=5, journal=tmp_path/'run.sqlite')
        more = predict(server, records, elicitation='sample', draws=8, journal=tmp_path/'run.sqlite')
        assert {n for p, n in saw()['served'].items() if p.startswith('You are')} == {8}, 'five draws of eight were there already'
        with pytest.raises(ValueError, match="gives no log probabilities, which 'score' needs"): predict(server, records)
    assert set(got.elicitation) == {'sample'} and all(json.loads(b)[:5] == json.loads(a) for a, b in zip(got.text, more.text))


@pytest.mark.parametrize('code, detail', [(400, False), (401, True), (404, False)])
def test_a_planted_key_is_nowhere(code, detail, tmp_path, monkeypatch, caplog, cli):
    monkeypatch.setenv('STUB_KEY', 'sk-xyzzy-secret')
    caplog.set_level(logging.DEBUG)
    write_records(prompts(5), tmp_path/'r.jsonl')
    ask = lambda out, url: cli('predict', tmp_path/'r.jsonl', tmp_path/out, '--model', 'stub', '--server', url, '--key-variable', 'STUB_KEY')
    with stub() as (url, _):
        keyed = dict(base_url=url, key_variable='STUB_KEY')
        good = predict(server := connect('stub', **keyed), prompts(5), journal=tmp_path/'a.sqlite')
        done = ask('good.jsonl', url)
        with pytest.raises(ValueError, match='an option holds the key of STUB_KEY'): connect('stub', **keyed, extra={'token': 'sk-xyzzy-secret'})
    with stub(faults=.6, hang=.3) as (url, _):
        hasty = connect('stub', base_url=url, key_variable='STUB_KEY', timeout=.2, tries=1)
        predict(hasty, prompts(30), elicitation='greedy', journal=tmp_path/'faults.sqlite')
    with stub(code=code, detail=detail) as (url, _):
        try: predict(connect('stub', base_url=url, key_variable='STUB_KEY', tries=1), prompts(5), elicitation='greedy', journal=tmp_path/'b.sqlite')
        except ConnectionError: said = traceback.format_exc()
        result = ask('bad.jsonl', url)
    assert done[0] == 0 and (tmp_path/'good.jsonl').exists() and any(f.name.endswith('.card.json') for f in tmp_path.iterdir())
    assert 'no such thing, said to …' in said and 'check address, model name and the key in STUB_KEY' in said
    assert result[0] == 2 and len(result[2].strip().splitlines()) == 1 and 'check address, model name' in result[2]
    kept = b''.join(f.read_bytes() for f in tmp_path.iterdir())
    assert 'xyzzy' not in said + caplog.text + repr(server) + good.to_json() + ''.join(map(str, done + result)) and b'xyzzy' not in kept


@pytest.mark.parametrize('settings, said', [(dict(logprobs=False), "gives no log probabilities, which 'score' needs: use sample, greedy or auto"),
    (dict(code=400), 'Error code: 400 - no such thing'), (dict(code=422, detail=True), 'Error code: 422 - no such thing'),
    (dict(code=500, detail=True), 'Error code: 500 - no such thing'), (None, 'gave no answer (connection): check address')])
def test_a_server_that_cannot_answer_gets_one_sentence_and_exit_code_2(settings, said, tmp_path, cli):
    write_records(prompts(3), tmp_path/'r.jsonl')
    with stub(**settings) if settings else contextlib.nullcontext(('http://127.0.0.1:9/v1', None)) as (url, _):
        code, out, err = cli('predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--server', url, '--tries', '1')
    assert code == 2 and said in err and len(err.strip().splitlines()) == 1 and not (tmp_path/'p.jsonl').exists()


def test_a_budget_is_never_overrun_and_a_raised_one_goes_on(tmp_path):
    records = prompts(200)
    with stub(latency=.005) as (url, saw):
        asks = dict(base_url=url, prices=(10., 0.), concurrency=16)
        with pytest.raises(ValueError, match='the budget of 0.01 is used up after'):
            predict(connect('stub', budget=.01, **asks), records, journal=tmp_path/'run.sqlite')
        status = run_status(tmp_path/'run.sqlite')[0]
        assert .007 < status['spent'] <= .01 and status['left'] == 200 - status['answered'] > 0
        assert (predict(connect('stub', budget=1., **asks), records, journal=tmp_path/'run.sqlite').status == 'ok').all()
        assert sum(saw()['served'].values()) == 200 + 2    # each server was probed once


def test_a_budget_sets_aside_what_a_reply_may_have_under_either_name():
    with stub(latency=.05) as (url, saw):
        asks = dict(base_url=url, prices=(0., 10.), budget=.01, max_tokens=None, max_completion_tokens=400)    # room for two replies at a time
        assert (predict(connect('stub', **asks), prompts(20), elicitation='greedy').status == 'ok').all()
        assert saw()['most'] <= 2


def test_an_answer_that_cannot_be_kept_ends_the_run(monkeypatch):
    raised = []
    def ask():
        try: predict(connect('stub', base_url=url), prompts(5))
        except TypeError as e: raised.append(e)
    def broken(*_): raise TypeError('broken')
    monkeypatch.setattr(Journal, 'add', broken)
    with stub() as (url, _):
        run = threading.Thread(target=ask, daemon=True)
        run.start()
        run.join(60)
    assert [str(e) for e in raised] == ['broken']


def test_the_dry_run_counts_what_the_server_bills():
    records = prompts(100)
    with stub(tokenizer=True) as (url, saw):
        server = connect('stub', base_url=url, prices=(2., 8.))
        cost = estimate_cost(server, records, tokenizer='smollm2-135m')
        assert saw()['billed'] == 0
        predict(server, records, elicitation='greedy')
        assert abs(cost['prompt_tokens']/saw()['billed'] - 1) < .02 and cost['requests'] == 100
    assert cost['price_from'] == pytest.approx((cost['prompt_tokens']*2 + 100*8)/1e6)


@pytest.mark.timing
def test_throughput_with_latency():
    records = prompts(1_500)
    with stub(latency=.25) as (url, saw):
        server = connect('stub', base_url=url, concurrency=64)
        server.probe()
        start = time.perf_counter()
        predict(server, records)
        seconds, most = time.perf_counter() - start, saw()['most']
    assert most == 64 and len(records)/seconds > .4*64/.25, f'{len(records)/seconds:.0f} prompts a second'    # twice that where nothing else runs


@pytest.mark.parametrize('given, said', [(dict(base_url='http://127.0.0.1:9/v1', tries=1), 'gave no answer (connection)'),
    (dict(base_url='localhost:8000'), 'is no web address'), (dict(base_url='http://h/v1?key=sk-1'), 'leave them out')])
def test_bad_addresses_get_one_sentence(given, said):
    with pytest.raises((ValueError, ConnectionError)) as e: predict(connect('m', **given), prompts(2))
    assert said in str(e.value) and '\n' not in str(e.value) and 'sk-1' not in str(e.value)


def test_the_command_line_prices_asks_and_tells_how_far_it_is(tmp_path, cli):
    write_records(prompts(30), tmp_path/'r.jsonl')
    code, out, err = cli('predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--prices', '2,8', '--dry-run', OPENAI_API_KEY='')
    assert code == 0 and out.startswith('30 requests') and 'a guess' in out and not (tmp_path/'p.jsonl').exists(), err
    with stub() as (url, _):
        code, out, err = cli('predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--server', url, '--prices', '2,8')
        assert code == 0, err
        code, out, err = cli('predict', tmp_path/'r.jsonl', tmp_path/'q.jsonl', '--model', 'm', '--server', url, '--prices', '2,8', '--budget', '0.0001')
        assert code == 2 and 'budget of 0.0001 is used up' in err and len(err.strip().splitlines()) == 1
    code, out, err = cli('status', tmp_path/'p.sqlite')
    assert code == 0 and out.startswith('m, score: 30 of 30 answered, 0 failed') and 'spent 0.00' in out, err
    assert cli('status', tmp_path/'r.jsonl')[0] == 2 and cli('status', tmp_path/'none.sqlite')[0] == 2


def test_the_command_line_asks_by_the_file(tmp_path, cli):
    write_records(prompts(6), tmp_path/'r.jsonl')
    ask = ['predict', tmp_path/'r.jsonl', tmp_path/'p.jsonl', '--model', 'm', '--batches']
    with stub() as (url, saw):
        code, out, err = cli(*ask, '--server', url)
        assert code == 0 and '1 under way' in out, err
        seen = saw()
        assert seen['files'] == 1 and sum(seen['kinds'].values()) == 1, 'a file, and the probe'
        single = predict(connect('m', base_url=url), prompts(6))
    rows = [json.loads(l) for l in (tmp_path/'p.jsonl').read_text().splitlines()]
    assert [r['probs'] for r in rows] == list(single.probs) and {r['status'] for r in rows} == {'ok'}
    code, out, err = cli(*ask, '--overwrite')
    assert code == 2 and '--batches asks a server by the file: give its address' in err
    with stub(code=404, detail=True) as (url, _): assert 'Error code: 404 - no such thing' in cli(*ask, '--overwrite', '--server', url)[2]


def test_draws_are_scored_as_counts():
    from alignsurvey.evaluation.scoring import evaluate
    records = prompts(40)
    with stub() as (url, _): got = predict(connect('stub', base_url=url), records, elicitation='sample', draws=4)
    scores = evaluate(records, {'drawn': got}, n_boot=100)
    drawn = scores[scores.predictor == 'drawn']
    assert set(drawn.q_from.dropna()) <= {'counts'} and set(drawn.elicitation) == {'sample'} and drawn.value.notna().any()
    from alignsurvey.records.answers import read_answers
    from alignsurvey.prediction.forecasts import read_forecast
    assert read_forecast('drawn', got, read_answers(records)).about['q_from'] == 'counts'
