"Journals, batches and budgets under attack: nobody gets another's answer, nothing is paid twice, and what is spent is counted."
import copy, http.server, json, multiprocessing, os, re, sqlite3, subprocess, sys, threading, time
from pathlib import Path
import pytest, torch

from alignsurvey.models.export import merge
from alignsurvey.models.loading import load_model, same_base, tokenizer_hash, weights_hash
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
        reply['choices'][0]['message']['content'] = 'B'
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


# --- the file itself

def ask_here(path, n=4): return predict(function_predictor(lambda r: [.9, .1], 'f'), prompts(n), journal=path)


def in_turn(path, url): predict(connect('m', base_url=url, concurrency=4), prompts(30), journal=path)


@pytest.mark.skipif(sys.platform == 'win32', reason='links need rights there')
def test_a_link_to_a_journal_is_the_journal(tmp_path):
    (tmp_path/'link.sqlite').symlink_to(tmp_path/'run.sqlite')
    def slow(body, n):
        time.sleep(.05)
        return 200, {}, ANSWER
    with serve(slow) as (url, asked):
        pair = [multiprocessing.get_context('spawn').Process(target=in_turn, args=(tmp_path/name, url)) for name in ('run.sqlite', 'link.sqlite')]
        for process in pair: process.start()
        for process in pair: process.join()
        sent = [body['messages'][0]['content'] for body, _ in asked if 'person' in body['messages'][0]['content']]
    assert [p.exitcode for p in pair] == [0, 0] and len(sent) == len(set(sent)) == 30


def open_many(folder, barrier, said):
    for i in range(20):
        barrier.wait()
        try:
            log = Journal(folder/f'{i}.sqlite')
            log.add({str(os.getpid()): dict(status='ok')})
            log.close()
        except Exception as e: said.put(f'{type(e).__name__}: {e}')
    said.put('done')


@pytest.mark.skipif(sys.platform == 'win32', reason='processes are not forked there')
def test_a_new_journal_can_be_opened_by_many_at_one_moment(tmp_path):
    ctx = multiprocessing.get_context('fork')
    barrier, said = ctx.Barrier(6), ctx.Queue()
    many = [ctx.Process(target=open_many, args=(tmp_path, barrier, said)) for _ in range(6)]
    for process in many: process.start()
    heard = []
    while heard.count('done') < 6: heard.append(said.get(timeout=200))
    for process in many: process.join()
    assert set(heard) == {'done'} and all(len(Journal(tmp_path/f'{i}.sqlite')) == 6 for i in range(20))


READ = '''
from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import read_run
for read in read_run, run_status:
    try: print(len(read('ro/j.sqlite')))
    except ValueError as e: print(e)
'''


def on_a_read_only_disk(folder):
    "What READ prints of the journal ro/j.sqlite where nothing can be written."
    mounted = 'mount --bind ro ro && mount -o remount,ro,bind ro && exec "$0" -c "$1"'
    done = subprocess.run(['unshare', '-m', 'sh', '-c', mounted, sys.executable, READ], cwd=folder, capture_output=True, text=True)
    if 'unshare' in done.stderr or 'mount' in done.stderr: pytest.skip('disks can be made read-only by root alone')
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != 'linux', reason='unshare is of Linux')
def test_a_journal_on_a_read_only_disk_is_read(tmp_path):
    (tmp_path/'ro').mkdir()
    ask_here(tmp_path/'ro'/'j.sqlite')
    before = sorted((tmp_path/'ro').iterdir())
    assert on_a_read_only_disk(tmp_path) == ['4', '1']
    assert sorted((tmp_path/'ro').iterdir()) == before
    (tmp_path/'ro'/'j.sqlite-wal').write_bytes(b'not yet in the file')
    assert all('copy both to a folder that can be written' in line for line in on_a_read_only_disk(tmp_path))


def test_reading_a_run_leaves_its_journal_as_it_is(tmp_path):
    ask_here(tmp_path/'j.sqlite')
    before = (tmp_path/'j.sqlite').read_bytes()
    assert len(read_run(tmp_path/'j.sqlite')) == 4 and (tmp_path/'j.sqlite').read_bytes() == before


@pytest.mark.parametrize('what', ['zeros', 'json'])
def test_a_damaged_journal_is_not_a_full_disk(what, tmp_path):
    path = tmp_path/'j.sqlite'
    ask_here(path, 400)
    if what == 'zeros':
        raw = bytearray(path.read_bytes())
        raw[4096:] = bytes(len(raw) - 4096)
        path.write_bytes(raw)
        for read in read_run, ask_here:
            with pytest.raises(ValueError, match='is damaged|be used as a journal'): read(path)
    else:
        with sqlite3.connect(path) as db: db.execute("update runs set facts = '{'")
        with pytest.raises(ValueError, match='is damaged'): ask_here(path)


# --- batches

class Provider(http.server.BaseHTTPRequestHandler):
    "A provider of batches with its own words for how far one is; its files of requests may be gone."
    protocol_version = 'HTTP/1.1'
    states, gone, lost, files, looks = ('completed',), False, (), [], {}
    def give(self, body, status=200):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def submission(self, i):
        self.looks[i] = self.looks.get(i, -1) + 1
        state = self.states[min(max(self.looks[i] - 1, 0), len(self.states) - 1)]
        over = state.casefold() in ('completed', 'success')
        return dict(id=f'b{i}', object='batch', completion_window='24h', created_at=0, endpoint='/v1/chat/completions', input_file_id=f'f{i}', output_file_id=f'out{i}' if over else None, status=state)
    def do_POST(self):
        data = self.rfile.read(int(self.headers['Content-Length']))
        if self.path.endswith('/chat/completions'): return self.give(FINE)
        if self.path.endswith('/batches'): return self.give(self.submission(int(json.loads(data)['input_file_id'][1:])))
        self.files.append([json.loads(line)['custom_id'] for line in re.findall(rb'^{"custom_id".*', data, re.M)])
        self.give(dict(id=f'f{len(self.files) - 1}', object='file', bytes=1, created_at=0, filename='r', purpose='batch', status='processed'))
    def do_GET(self):
        if found := re.search(r'/batches/b(\d+)', self.path): return self.give(self.submission(int(found[1])))
        kind, i = re.search(r'/files/(f|out)(\d+)/content', self.path).groups()
        if kind == 'f' and self.gone or kind == 'out' and int(i) in self.lost: return self.give(dict(error=dict(message='No such File object')), 404)
        self.give('\n'.join(json.dumps(dict(custom_id=key, response=dict(status_code=200, body=FINE))) for key in self.files[int(i)]))
    def log_message(self, *_): pass


@pytest.fixture
def provider():
    "A provider's class, to be set up, and its address."
    kind = type('Own', (Provider,), dict(files=[], looks={}))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kind.url = f'http://127.0.0.1:{server.server_port}/v1'
    yield kind
    server.shutdown()
    server.server_close()


def by_file(provider, journal, **given): return predict(in_batches(connect('m', base_url=provider.url, **given), every=.01), prompts(3), journal=journal)


@pytest.mark.parametrize('states', [('queued', 'pending', 'completed'), ('IN_PROGRESS', 'FINALIZING', 'COMPLETED'), ('RUNNING', 'SUCCESS'), ('thinking about it', 'Completed')])
def test_a_batch_is_over_where_its_provider_says_so_in_any_words(states, provider, tmp_path):
    provider.states = states
    for _ in range(2): assert list(by_file(provider, tmp_path/'j.sqlite').status) == ['ok']*3
    assert len(provider.files) == 1


def test_answers_are_had_where_the_file_of_requests_is_gone(provider, tmp_path):
    provider.gone = True
    assert list(by_file(provider, tmp_path/'j.sqlite').status) == ['ok']*3 and len(provider.files) == 1


def test_a_batch_whose_keys_an_earlier_version_did_not_note_is_taken_too(provider, tmp_path, monkeypatch):
    provider.gone = True
    with monkeypatch.context() as m:
        m.setattr(Journal, 'submit', lambda *_: None)
        assert list(by_file(provider, tmp_path/'j.sqlite').status) == ['ok']*3 and len(provider.files) == 1


def test_replies_that_a_provider_has_deleted_are_errors_and_are_asked_for_again(provider, tmp_path, capsys):
    provider.lost = (0,)
    assert list(by_file(provider, tmp_path/'j.sqlite').status) == ['error']*3
    assert 'keeps the replies of batch b0 no longer: what it answered there is lost' in capsys.readouterr().out
    assert list(by_file(provider, tmp_path/'j.sqlite').status) == ['ok']*3 and len(provider.files) == 2


# --- what is spent

def test_a_budget_sets_aside_the_largest_limit_that_is_sent():
    assert most_written(dict(max_tokens=64, max_completion_tokens=2000)) == 2000
    assert most_written(dict(max_tokens=64, n=20)) == 1280
    assert most_written(dict(max_tokens=64, extra_body=dict(max_tokens=3000, n=2))) == 6000
    assert most_written({}) is None is most_written(dict(extra_body=None))


@pytest.mark.parametrize('options', [dict(max_completion_tokens=2000), dict(n=20), dict(extra_body=dict(max_tokens=3000))])
def test_a_budget_holds_whatever_limits_are_given(options, tmp_path):
    wrote = lambda body: max(body.get('max_completion_tokens', 0), body.get('max_tokens', 0))*body.get('n', 1)
    with serve(lambda body, n: (200, {}, with_usage(prompt_tokens=20, completion_tokens=wrote(body)))) as (url, asked):
        server = connect('m', base_url=url, prices=(0., 1000.), budget=8., concurrency=4, **options)
        with pytest.raises(ValueError, match='the budget of 8 is used up'): predict(server, prompts(40), elicitation='greedy', journal=tmp_path/'j.sqlite')
        paid = sum(wrote(body) for body, _ in asked)*1000/1e6
    assert all(('max_tokens' in body) != ('max_completion_tokens' in body) for body, _ in asked), 'one limit is sent'
    assert run_status(tmp_path/'j.sqlite')[0]['spent'] == pytest.approx(paid) and 0 < paid <= 8
    assert estimate_cost(server, prompts(2), elicitation='greedy')['written_tokens'] == 2*wrote(asked[-1][0])


@pytest.mark.parametrize('usage, asked, written', [(dict(prompt_tokens=50, completion_tokens=1), 50, 1), (dict(prompt_tokens=50), 50, None), (dict(completion_tokens=1), None, 1), (dict(total_tokens=51), None, None)])
def test_each_token_is_counted_once(usage, asked, written, tmp_path):
    "What a reply says is taken, and what it leaves out is charged at the most; the probe too."
    spent = {}
    for name, prices in dict(asked=(1e6, 0.), written=(0., 1e6)).items():
        with serve(lambda body, n: (200, {}, with_usage(**usage))) as (url, sent):
            predict(connect('m', base_url=url, prices=prices, concurrency=1), prompts(3), elicitation='greedy', max_new_tokens=7, journal=tmp_path/f'{name}.sqlite')
        spent[name] = run_status(tmp_path/f'{name}.sqlite')[0]['spent']
    assert spent['asked'] == 50*4 if asked else spent['asked'] >= 3*50/4
    assert spent['written'] == (4 if written else 3*7 + 1)


def test_every_probe_is_paid_for(tmp_path, provider):
    with serve(lambda body, n: (200, {}, ANSWER)) as (url, asked):
        for _ in range(5): predict(connect('m', base_url=url, prices=(1000., 1000.), budget=10.), prompts(2), journal=tmp_path/'j.sqlite')
    assert len(asked) == 5 + 2 and run_status(tmp_path/'j.sqlite')[0]['spent'] == pytest.approx(7*51*1000/1e6)
    by_file(provider, tmp_path/'b.sqlite', prices=(1000., 1000.))
    assert run_status(tmp_path/'b.sqlite')[0]['spent'] == pytest.approx(4*51*1000/1e6)


# --- draws

@pytest.mark.parametrize('options, said', [(dict(seed=42), 'every draw would be the same'), (dict(temperature=0), "would take the place of predict's"), (dict(n=3), 'give draws to predict'), (dict(extra_body=dict(seed=1)), 'every draw')])
def test_an_option_that_undoes_draws_is_refused_before_anything_is_asked(options, said):
    with serve(lambda body, n: (200, {}, ANSWER)) as (url, asked):
        with pytest.raises(ValueError, match=said): predict(connect('m', base_url=url, **options), prompts(2), elicitation='sample', draws=2)
        assert asked == []
        assert set(predict(connect('m', base_url=url, **options), prompts(2), elicitation='greedy').status) == {'ok'}


def test_a_model_that_takes_no_seed_is_drawn_from():
    with serve(lambda body, n: (200, {}, ANSWER)) as (url, asked):
        got = predict(connect('m', base_url=url, seed=None, temperature=None), prompts(2), elicitation='sample', draws=2)
    assert set(got.status) == {'ok'} and not any('seed' in body for body, _ in asked)


# --- servers that answer no more

@pytest.mark.parametrize('again', [{}, {'Retry-After': '3600'}])
def test_too_many_requests_for_ever_end_the_run(again, tmp_path):
    start = time.monotonic()
    with serve(always(429, dict(error=dict(message='requests per day')), **again)) as (url, asked):
        with pytest.raises(ConnectionError, match="no answer for 1 seconds, but 'too many requests'"): predict(connect('m', base_url=url, patience=1., concurrency=2), prompts(200), journal=tmp_path/'j.sqlite')
    assert time.monotonic() - start < 30 and len(asked) < 100 and run_status(tmp_path/'j.sqlite')[0]['left'] > 150


def test_a_limit_that_ends_is_waited_for():
    "Nothing but no for a second, with a patience of five."
    begun = []
    def reply(body, n):
        if n == 0: return 200, {}, ANSWER
        begun.append(time.monotonic())
        return (429, {'Retry-After': '0.3'}, b'{}') if begun[-1] - begun[0] < 1 else (200, {}, ANSWER)
    with serve(reply) as (url, asked): got = predict(connect('m', base_url=url, patience=5., concurrency=2, tries=20), prompts(12))
    assert set(got.status) == {'ok'}


def test_log_probabilities_that_stay_away_end_the_run(tmp_path):
    bare = copy.deepcopy(FINE)
    bare['choices'][0]['logprobs'] = None
    with serve(always(200, bare)) as (url, asked):
        with pytest.raises(ConnectionError, match='log probabilities to the probe, and none to 10 requests in a row: use sample or greedy'): predict(connect('m', base_url=url, concurrency=4), prompts(300), journal=tmp_path/'j.sqlite')
    assert len(asked) < 10 + 2*4 + 2


# --- another model, another answer

@pytest.fixture(scope='module')
def tiny(tmp_path_factory): return save_tiny(tmp_path_factory.mktemp('tiny')/'m')


def test_another_chat_template_is_another_answer(tiny, tmp_path):
    lm, records = load_model(tiny), prompts(4)
    first = predict(lm, records, journal=tmp_path/'j.sqlite')
    lm.tokenizer.chat_template = lm.tokenizer.chat_template.replace('{{ m.content }}', '{{ m.content }} Answer as a respondent.')
    kept, fresh = predict(lm, records, journal=tmp_path/'j.sqlite'), predict(lm, records)
    assert list(kept.probs) == list(fresh.probs) != list(first.probs) and kept.attrs['run'] == fresh.attrs['run'] != first.attrs['run']


def test_a_tokenizer_is_known_by_how_it_cuts_up_text(tiny):
    from tokenizers import pre_tokenizers
    one, two = load_model(tiny).tokenizer, load_model(tiny).tokenizer
    assert tokenizer_hash(one) == tokenizer_hash(two)
    two.backend_tokenizer.pre_tokenizer = pre_tokenizers.Digits(individual_digits=True)
    assert tokenizer_hash(one) != tokenizer_hash(two)


@pytest.mark.parametrize('lr', [1e-3, 1e-4])
def test_a_model_with_a_slight_training_merged_is_another_model(lr, tiny, tmp_path):
    lm, some = load_model(tiny), people(4)
    predict(lm, some, journal=tmp_path/'j.sqlite')
    sft(lm, people(), tmp_path/'adapter', **dict(SMALL, lr=lr))
    merge(load_model(tiny, adapter=tmp_path/'adapter'), tmp_path/'merged')
    merged = load_model(tmp_path/'merged')
    assert merged.base_hash != load_model(tiny).base_hash and not same_base(merged.base_hash, load_model(tiny).base_hash)
    kept, fresh = predict(merged, some, journal=tmp_path/'j.sqlite', unseen=None), predict(merged, some, unseen=None)
    assert list(kept.probs) == list(fresh.probs)


def test_each_value_of_a_model_counts(tiny):
    lm = load_model(tiny)
    for name, values in lm.model.state_dict().items():
        flat = values.view(-1)
        for at in {1, len(flat)//2 + 1, len(flat) - 1}:
            with torch.no_grad():
                before = flat[at].clone()
                flat[at] = before + 1
                assert weights_hash(lm.model) != lm.base_hash, (name, at)
                flat[at] = before
    assert weights_hash(lm.model) == lm.base_hash


def test_a_fingerprint_of_an_earlier_version_still_fits(tiny):
    lm = load_model(tiny)
    assert len(lm.base_hash) == 24 and same_base(lm.base_hash[:16], lm.base_hash) and same_base(f'{lm.base_hash[:8]}-4bit', lm.base_hash)
    assert not same_base('0'*16, lm.base_hash) and not same_base(lm.base_hash[:16] + '0'*8, lm.base_hash)
