"The judge: planted scores in every form, failures counted, orders, journal, a server, agreement by definition."
import http.server, itertools, json, os, random, subprocess, sys, threading, time
import numpy as np, pandas as pd, pytest

from alignsurvey import evaluation, metrics
from alignsurvey.evaluation.judging import DIMENSIONS, RUBRIC
from alignsurvey.records.reading import make_records

ZH, EN = RUBRIC['zh']['names'], RUBRIC['en']['names']


def points(s, names, comment='说得通'): return [(n, x, comment) for n, x in zip(names, s)]


FORMS = {  # three scores in scale order -> a reply
    'published': lambda s: json.dumps({n: {'评分': str(x), '评语': c} for n, x, c in points(s, ZH)}, ensure_ascii=False),
    'escaped': lambda s: json.dumps({n: {'评分': str(x), '评语': c} for n, x, c in points(s, ZH)}),
    'indented, comment first': lambda s: json.dumps({n: {'评语': '比 2 分好', '评分': x} for n, x, _ in points(s, ZH)}, ensure_ascii=False, indent=2),
    'fenced': lambda s: '以下是评分：\n```json\n' + json.dumps({n: {'评分': x} for n, x, _ in points(s, ZH)}, ensure_ascii=False) + '\n```\n以上。',
    'flat': lambda s: json.dumps(dict(zip(EN, s))),
    'English': lambda s: json.dumps({n: dict(score=f'{x}/5', comment='5 words here, not 4') for n, x, _ in points(s, EN)}),
    'under one key': lambda s: json.dumps(dict(scores=dict(zip(('dialogue_naturalness', 'style_match', 'interview_consistency'), s)))),
    'list': lambda s: json.dumps([dict(维度=n, 评分=x) for n, x, _ in points(s, ZH)], ensure_ascii=False),
    'after thinking': lambda s: f'<think>对话自然度给 1 分？不。</think>{{"对话自然度": {s[0]}, "风格匹配度": {s[1]}, "访谈一致性": {s[2]}}}',
    'channels': lambda s: 'analysis对话自然度 1assistantfinal' + json.dumps(dict(zip(ZH, s)), ensure_ascii=False),
    'truncated': lambda s: FORMS['published'](s)[:-12],
    'unescaped quotes': lambda s: ', '.join(f'"{n}": {{"评分": "{x}", "评语": "像"真人"一样"}}' for n, x, _ in points(s, ZH)).join('{}'),
    'bold': lambda s: '\n'.join(f'**{n}**: {x}/5' for n, x, _ in points(s, ZH)),
    'bold, label below': lambda s: '\n'.join(f'{i}. **{n}**：\n   - **评分**：{x}\n   - **评语**：{c}' for i, (n, x, c) in enumerate(points(s, ZH), 1)),
    'headings': lambda s: '\n'.join(f'### {i}. {n}（1-5分）\n**评分：{x}分**\n{c}，3 处不妥。' for i, (n, x, c) in enumerate(points(s, ZH), 1)),
    'table': lambda s: '| 维度 | 评分 | 评语 |\n|:---|:---:|---|\n' + '\n'.join(f'| **{n}** | {x} | {c} |' for n, x, c in points(s, ZH)),
    'full width': lambda s: '；'.join(f'{n}：{chr(ord("０") + x)}分（满分5分）' for n, x, _ in points(s, ZH)),
    'one line': lambda s: f'1. {ZH[0]} {s[0]} 2. {ZH[1]} {s[1]} 3. {ZH[2]} {s[2]}',
    'prose': lambda s: f'Naturalness: {s[0]} out of 5, as it flows. Style match is rated {s[1]}. For interview consistency, score of {s[2]}.',
    'English bold': lambda s: '\n\n'.join(f'**{i}. {n.title()}:** {x}\nComment: fine.' for i, (n, x, _) in enumerate(points(s, EN), 1)),
}
BROKEN = {
    '': 'empty', '<think>4, 4, 4': 'empty', '抱歉，我无法评分。': 'no_score', '{"对话自然度": {"评分": "4", "评语"': 'no_score',
    '{"对话自然度": {"评分": null}, "风格匹配度": {"评分": 3}, "访谈一致性": {"评分": 3}}': 'no_score', '4, 3, 5': 'no_score',
    '{"naturalness": true, "style": 3, "consistency": 3}': 'no_score', '对话自然度：4-5，风格匹配度：3，访谈一致性：3': 'no_score',
    '对话自然度：4\n风格匹配度\n3. 访谈一致性：5': 'no_score', '{"naturalness": 0, "style": 3, "consistency": 3}': 'out_of_range',
    '{"naturalness": -4, "style": 3, "consistency": 3}': 'out_of_range', '**对话自然度**: 9/10\n**风格匹配度**: 8/10\n**访谈一致性**: 9/10': 'out_of_range',
    '对话自然度：80%，风格匹配度：3，访谈一致性：3': 'out_of_range', '自然度：4；自然度：3；风格匹配度：3；一致性：3': 'two_scores',
}


def interviews(n=20, turns=1, lang='zh'):
    return make_records([dict(record_id=f'p{i}/q{k}', respondent_id=f'p{i}', task='interview', lang=lang, instruction='…', background=f'id {i}', history='',
        question=f'Question {k}?', output=f'My own answer {i}') for i in range(n) for k in range(turns)], source='test')


def turns_of(records, **more): return pd.DataFrame(dict(record_id=records['record_id'], text=[f'turn of {r}' for r in records['record_id']], status='ok', **more))


# reading replies

@pytest.mark.parametrize('form', FORMS)
def test_planted_scores_come_back_in_every_form(form):
    for s in itertools.product(range(1, 6), repeat=3):
        assert evaluation.parse_judgement(FORMS[form](s)) == (dict(zip(DIMENSIONS, s)), 'ok', None), FORMS[form](s)


@pytest.mark.parametrize('reply', BROKEN)
def test_broken_replies_fail_with_a_reason(reply):
    scores, status, why = evaluation.parse_judgement(reply)
    assert (scores, status) == (None, 'unparsed') and why.split(':')[0] == BROKEN[reply]


def test_half_points_are_kept():
    assert evaluation.parse_judgement('对话自然度：4.5，风格匹配度：3，访谈一致性：2.5')[0] == dict(naturalness=4.5, style=3, consistency=2.5)


def test_any_text_is_read_or_refused_without_an_error():
    rng = random.Random(3)
    parts = ['对话自然度', '风格', '一致性', 'style', '{', '}', '[', '"', ':', '评分', '4', '１', '/5', '\n', '\\u8bc4', '**', '1-5', '。', 'null', '```']
    for _ in range(3_000):
        scores, status, why = evaluation.parse_judgement(''.join(rng.choices(parts, k=rng.randint(0, 14))))
        assert (status == 'ok') == (scores is not None) == (why is None)
        if scores: assert all(1 <= x <= 5 for x in scores.values())


# asking

def test_planted_scores_are_recovered_and_failures_counted():
    rng, records = random.Random(1), interviews(60)
    planted, asked = {}, []
    def stub(prompt):
        who = prompt.split('turn of ')[1].split('\n')[0]
        asked.append(who)
        if who not in planted: planted[who] = (rng.choice([*FORMS, None]), [rng.randint(1, 5) for _ in range(3)])
        form, s = planted[who]
        return FORMS[form](s) if form else rng.choice(list(BROKEN))
    turns = turns_of(records)
    turns.loc[:4, ['text', 'status']] = [None, 'refused']
    got = evaluation.judge(records, turns, stub)
    assert len(got) == 180 and (got.status == 'no_turn').sum() == 15
    lost = [who for who, (form, _) in planted.items() if form is None]
    assert lost and sorted(got[got.status == 'unparsed'].record_id.unique()) == sorted(lost)
    assert len(asked) == 55 + len(lost) and set(got[got.status == 'unparsed'].tries) == {2}    # each broken one asked once more
    for who, (form, s) in planted.items():
        if form: assert got[got.record_id == who].set_index('dimension').score.to_dict() == dict(zip(DIMENSIONS, s))
    unrated = evaluation.judge_scores(got).set_index('metric').loc['judge_unrated']
    assert abs(unrated.value - (5 + len(lost))/60) < 1e-12 and unrated.n == 60 and unrated.ci_low < unrated.value < unrated.ci_high


def test_a_reply_that_is_read_the_second_time_counts():
    prompts = []
    def stumbles(prompt):
        prompts.append(prompt)
        return '好的。' if len(prompts) % 2 else FORMS['bold']((4, 3, 5))
    got = evaluation.judge(interviews(3), turns_of(interviews(3)), stumbles)
    assert (got.status == 'ok').all() and set(got.tries) == {2}
    assert all(b == a + '\n\n' + RUBRIC['zh']['again'] for a, b in zip(prompts[::2], prompts[1::2]))


def test_orders_are_drawn_by_record_and_turned_round_in_the_next_repeat():
    records = interviews(200)
    ask = lambda prompt: FORMS['flat']((3, 3, 3))
    got = evaluation.judge(records, turns_of(records), ask, repeats=2, seed=5)
    one = got[got.dimension == 'style']
    assert (one.groupby('record_id')['first'].nunique() == 2).all()
    assert .4 < (one[one.repeat == 0]['first'] == 'model').mean() < .6
    assert all(.25 < x < .42 for x in one.position.value_counts(normalize=True))
    few = evaluation.judge(records.select([7, 3]), turns_of(records).iloc[[7, 3]], ask, repeats=2, seed=5)
    columns = ['record_id', 'repeat', 'dimension', 'first', 'position']
    assert len(few.merge(got, on=columns)) == len(few) == 12
    assert not got[columns].equals(evaluation.judge(records, turns_of(records), ask, repeats=2, seed=6)[columns])


def test_the_prompt_shows_what_the_orders_say():
    records = interviews(40)
    prompts = []
    def ask(prompt): prompts.append(prompt); return FORMS['flat']((3, 3, 3))
    got = evaluation.judge(records, turns_of(records), ask)
    for prompt, (_, rows) in zip(prompts, got.groupby('record_id', sort=False)):
        assert (prompt.index('turn of') < prompt.index('My own answer')) == (rows['first'].iloc[0] == 'model')
        order = rows.sort_values('position').dimension
        places = [prompt.rindex(ZH[DIMENSIONS.index(d)]) for d in order]
        assert places == sorted(places)


def test_several_at_a_time_give_the_same(tmp_path):
    records = interviews(50)
    def ask(prompt): return FORMS['published']([1 + len(prompt) % 5]*3)
    one, four = (evaluation.judge(records, turns_of(records), ask, workers=w) for w in (1, 4))
    pd.testing.assert_frame_equal(one, four)


def test_a_killed_run_asks_only_what_is_left(tmp_path):
    records, calls = interviews(20), []
    def ask(prompt):
        calls.append(prompt)
        if len(calls) == 11: raise KeyboardInterrupt
        return FORMS['published']((4, 4, 4))
    with pytest.raises(KeyboardInterrupt): evaluation.judge(records, turns_of(records), ask, journal=tmp_path/'j.sqlite')
    got = evaluation.judge(records, turns_of(records), ask, journal=tmp_path/'j.sqlite')
    assert (got.score == 4).all() and len(set(calls)) == 20 and len(calls) == 21    # the one in flight, again


def test_stopping_drops_what_has_not_begun(tmp_path):
    records, calls = interviews(200), []
    def ask(prompt): calls.append(prompt); time.sleep(.01); raise OSError('down')
    with pytest.raises(ConnectionError): evaluation.judge(records, turns_of(records), ask, workers=4)
    assert len(calls) < 40


def test_errors_are_counted_and_asked_again_by_the_next_run(tmp_path):
    records, calls = interviews(20), itertools.count()
    def shaky(prompt):
        if next(calls) in (6, 7): raise TimeoutError('late')
        return FORMS['published']((2, 2, 2))
    got = evaluation.judge(records, turns_of(records), shaky, journal=tmp_path/'j.sqlite')
    assert got[got.status == 'error'][['why', 'tries']].values.tolist() == [['TimeoutError', 2]]*3 and got.score.isna().sum() == 3
    assert (evaluation.judge(records, turns_of(records), shaky, journal=tmp_path/'j.sqlite').status == 'ok').all()


def test_two_judges_one_of_them_deaf():
    def deaf(prompt): raise OSError('no route')
    with pytest.raises(ConnectionError, match=r"^second: gave no reply to 3 prompts, last OSError: no route: check its address, key and model name$"):
        evaluation.judge(interviews(), turns_of(interviews()), dict(first=lambda p: FORMS['flat']((1, 2, 3)), second=deaf))


# a server

@pytest.fixture
def server():
    "An OpenAI-compatible server in this process: what it was sent, and what it answers."
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
            self.server.sent.append((self.path, self.headers['Authorization'], body))
            code = self.server.code
            message = dict(choices=[dict(index=0, finish_reason='stop', message=dict(role='assistant', content=FORMS['fenced']((5, 4, 3))))],
                id='1', object='chat.completion', created=0, model=body['model'])
            if code != 200: message = dict(error=dict(message=f"bad key {self.headers['Authorization'].split()[-1]}"))
            data = json.dumps(message).encode()
            self.send_response(code)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        def log_message(self, *args): pass
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.sent, s.code = [], 200
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()


def test_a_server_is_asked_with_the_key_and_nothing_keeps_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv('JUDGE_KEY', 'sk-very-secret')
    monkeypatch.setenv('OPENAI_BASE_URL', f'http://127.0.0.1:{server.server_port}/v1')
    records = interviews(6)
    ask = evaluation.api_judge('some-model', key_variable='JUDGE_KEY', max_tokens=None, top_p=.5)
    got = evaluation.judge(records, turns_of(records), ask, journal=tmp_path/'j.sqlite', workers=3)
    assert set(got.judge) == {'some-model'} and got.groupby('dimension').score.unique().map(list).to_dict() == dict(naturalness=[5], style=[4], consistency=[3])
    assert {s[:2] for s in server.sent} == {('/v1/chat/completions', 'Bearer sk-very-secret')} and len(server.sent) == 6
    body = server.sent[0][2]
    assert (body['temperature'], body['top_p'], 'max_tokens' in body) == (0, .5, False)
    assert 'sk-very-secret' not in got.to_json() + repr(ask) and b'sk-very-secret' not in b''.join(f.read_bytes() for f in tmp_path.iterdir())
    server.code = 401
    with pytest.raises(ConnectionError) as error: evaluation.judge(records, turns_of(records), ask, seed=1)
    assert 'some-model: gave no reply' in str(error.value) and 'bad key …' in str(error.value) and 'sk-very' not in str(error.value)


def test_a_server_of_ones_own_needs_no_key(server, monkeypatch):
    monkeypatch.delenv('OPENAI_API_KEY', raising=False)
    monkeypatch.delenv('OPENAI_BASE_URL', raising=False)
    assert '评分' in evaluation.api_judge('m', base_url=f'http://127.0.0.1:{server.server_port}/v1')('?')
    with pytest.raises(ValueError, match='^OPENAI_API_KEY is not set: put the key there, or give base_url'): evaluation.api_judge('m')


def test_importing_the_judge_does_not_load_the_client():
    done = subprocess.run([sys.executable, '-c', "import sys, alignsurvey.evaluation.judging; print('openai' in sys.modules)"], capture_output=True, text=True, env=os.environ)
    assert done.stdout == 'False\n', done.stderr


# agreement and scores

def by_definition(ratings, distance):
    "Mean distance of pairs within units against that of all pairs, value by value (Krippendorff 2011)."
    units = [[x for x in u if not np.isnan(x)] for u in np.transpose(ratings)]
    units = [u for u in units if len(u) > 1]
    every = [x for u in units for x in u]
    if len(set(every)) < 2: return np.nan
    counts = {v: every.count(v) for v in set(every)}
    d = lambda a, b: distance(a, b, counts)
    within = sum(d(a, b)/(len(u) - 1) for u in units for a, b in itertools.permutations(u, 2))/len(every)
    overall = sum(d(a, b) for a, b in itertools.permutations(every, 2))/(len(every)*(len(every) - 1))
    return 1 - within/overall


def ordinal(a, b, counts):
    low, high = min(a, b), max(a, b)
    return (sum(n for v, n in counts.items() if low <= v <= high) - (counts[low] + counts[high])/2)**2


DISTANCES = dict(nominal=lambda a, b, _: float(a != b), ordinal=ordinal, interval=lambda a, b, _: (a - b)**2)


def random_ratings(rng):
    ratings = rng.integers(1, rng.integers(2, 6) + 1, (rng.integers(2, 5), rng.integers(2, 9))).astype(float)
    ratings[rng.random(ratings.shape) < rng.choice([0, .3])] = np.nan
    return ratings


@pytest.mark.parametrize('level', DISTANCES)
def test_alpha_is_its_definition(level):
    rng = np.random.default_rng(20260101)
    for _ in range(1_000):
        ratings = random_ratings(rng)
        np.testing.assert_allclose(metrics.krippendorff_alpha(ratings, level=level), by_definition(ratings, DISTANCES[level]), atol=1e-9)


def test_alpha_of_published_examples():
    _ = np.nan
    krippendorff_2011 = [[1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3], [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _]]
    wikipedia = [[_]*5 + [3, 4, 1, 2, 1, 1, 3, 3, _, 3], [1, _, 2, 1, 3, 3, 4, 3] + [_]*7, [_, _, 2, 1, 3, 4, 4, _, 2, 1, 1, 3, 3, _, 4]]
    for data, values in ((krippendorff_2011, dict(nominal=.743, ordinal=.815, interval=.849)), (wikipedia, dict(nominal=.691, interval=.811))):
        for level, value in values.items(): assert round(metrics.krippendorff_alpha(data, level=level), 3) == value


def test_alpha_of_resamples_is_alpha_of_the_drawn_units():
    rng = np.random.default_rng(1)
    ratings = rng.integers(1, 6, (3, 12)).astype(float)
    counts = rng.multinomial(12, np.full(12, 1/12), 50)
    for level in DISTANCES:
        drawn = [metrics.krippendorff_alpha(np.repeat(ratings, c, axis=1), level=level) for c in counts]
        np.testing.assert_allclose(metrics.krippendorff_alpha(ratings, level=level, weight=counts), drawn, atol=1e-9)


@pytest.mark.parametrize('call, message', [
    (lambda: metrics.krippendorff_alpha([[1, 2]], level='ratio'), "^level is 'ratio': use nominal, ordinal or interval$"),
    (lambda: metrics.krippendorff_alpha([1, 2]), r'^ratings has shape \(2,\): give one row a rater'),
    (lambda: evaluation.judge(interviews(2), turns_of(interviews(3)), None), '^p2/q0: is predicted but not among the records'),
    (lambda: evaluation.judge(interviews(2, lang='fr'), turns_of(interviews(2)), None), "^p0/q0: there is no rubric in 'fr'"),
])
def test_wrong_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message): call()


def test_intervals_resample_respondents_not_turns():
    "Turns of one respondent that are all alike carry no more information than one turn."
    def by_person(prompt): return FORMS['flat']([1 + int(prompt.split('id ')[1].split()[0]) % 5]*3)
    width = {}
    for k in (1, 8):
        records = interviews(25, k)
        row = evaluation.judge_scores(evaluation.judge(records, turns_of(records), by_person)).set_index('metric').loc['judge_style']
        width[k] = row.ci_high - row.ci_low
        assert abs(row.value - 3) < 1e-12 and row.n == 25*k
    assert .8 < width[8]/width[1] < 1.25


def test_weights_of_respondents_count():
    records = make_records([dict(record_id=str(i), respondent_id=str(i), task='interview', lang='en', instruction='?', output=f'mine {i}', weight=w) for i, w in enumerate((3., 1.))])
    got = evaluation.judge(records, turns_of(records), lambda p: FORMS['flat']((1, 2, 5) if 'mine 0' in p else (5, 2, 1)))
    assert evaluation.judge_scores(got).set_index('metric').value[['judge_naturalness', 'judge_style', 'judge_consistency']].tolist() == [2, 2, 4]


# published interviews

def test_published_interviews_can_be_judged(reference):
    rows = json.loads((reference/'task2_interview.json').read_text(encoding='utf-8'))
    records = make_records([dict(r, task='interview', lang='zh', record_id=str(i), question_id=f"{r['qua']}/{i}") for i, r in enumerate(rows)])
    prompts = []
    def ask(prompt): prompts.append(prompt); return FORMS['published']((4, 3, 2))
    got = evaluation.judge(records, turns_of(records), ask)
    silent = [str(i) for i, r in enumerate(rows) if not r['output'].strip()]
    assert silent and sorted(got[got.status == 'no_answer'].record_id.unique()) == sorted(silent)
    assert len(prompts) == len(rows) - len(silent)
    assert all('==当前问题==' in p and '真实回答' in p for p in prompts)    # no fields of their own: the whole prompt is shown
    assert evaluation.judge_scores(got).set_index('metric').value[['judge_unrated', 'judge_naturalness']].tolist() == [0, 4]
