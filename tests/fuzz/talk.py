"""What comes from outside while a model is asked: replies, their texts, headers, journals and cards, mutated.

A case is made from its target's name and its number, so any of them can be run again alone by run.py. It must give a right
result, or be refused: a reply by a Fault, a file by ValueError or OSError in one line that names it. Never another
exception, never more than two seconds, and never a number that is none.
"""
import copy, json, math, os, random, sqlite3, tempfile, time, traceback
from functools import cache
from pathlib import Path
from types import SimpleNamespace

os.environ['TQDM_DISABLE'] = '1'
TESTS = Path(__file__).resolve().parents[1]

import openai
import pandas as pd

from alignsurvey.parsing import WHY, clean_reply, parse_reason, split_thinking
from alignsurvey.prediction.client import pause_after
from alignsurvey.prediction.completions import Fault, as_fault, as_prediction, read_completion, reply_json
from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import read_run
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.predictions import PREDICTION, TYPES
from alignsurvey.prediction.runs import read_run_card
from alignsurvey.prediction.server import Server
from alignsurvey.tasks.registry import parse_answer

SLOW = 2.    # seconds of this process
ODD = [None, True, False, 0, -1, 1, 1.5, 5, 1000, 1e308, math.nan, math.inf, -math.inf, '', 'A', '10', '\0', '\ud800', 'A'*5_000, [], ['A'], [[]],
    {}, {'a': 1}, 10**30, 2**31, -10**30, [None]*70, '{"answer":'*500]
BITS = [' ', '\n', '"', "'", '{', '}', '[', ']', ':', ',', '%', '50', '50%', ' not ', "don't know", 'A.', 'B', '(C)', '<think>', '</think>', '<thought>', 'assistantfinal',
    '<|channel|>analysis', '\\u79ef', '\\ud83d', '\\boxed{', '```json', '"answer": ', '"reason": "', '"predict": "', '不', '没有', '积极', '、', '，', '-', '*', '\\"', '\0', '\ud800',
    '9'*30, '1.5', 'I would choose ', 'as an AI', '抱歉', '\u3000', '½', '٣', 'ﷺ', '\u202e', '"too little": 40']


# --- changing things

def places(value, path=()):
    "Paths to all parts of a JSON value."
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def changed(r, value):
    "A JSON value with a part replaced, taken away, doubled or wrapped."
    value = json.loads(json.dumps(value))
    for _ in range(r.choice([1, 1, 2, 3])):
        inner = [path for path in places(value) if path]
        if not inner: return value
        *path, last = r.choice(inner)
        holder = value
        for key in path: holder = holder[key]
        what = r.randrange(4)
        if what == 0: del holder[last]
        elif what == 1: holder[last] = [holder[last]]*r.choice([1, 2, 100])
        else: holder[last] = copy.deepcopy(r.choice(ODD))    # a case must not change the next one
    return value


def spoiled(r, data, tokens=(b'{', b'}', b'"', b',', b'NaN', b'1e999', b'\xff', b'['*500, b'{"a":'*300, b'9'*5_000, b'\0', b'-')):
    "Bytes with some changed, cut, repeated or put in."
    data = bytearray(data)
    for _ in range(r.choice([1, 1, 2, 5])):
        at = r.randrange(len(data) + 1)
        what = r.randrange(4)
        if what == 0 and at < len(data): data[at] = r.randrange(256)
        elif what == 1: del data[at:at + r.choice([1, 3, 50])]
        elif what == 2: data[at:at] = data[at:at + r.choice([1, 20, 300])]
        else: data[at:at] = r.choice(tokens)
    return bytes(data)


# --- targets: each makes a case from random numbers, runs it, and gives 'read' or 'refused'

@cache
def corpus(): return [json.loads(line) for line in (TESTS/'replies.jsonl').read_text(encoding='utf-8').splitlines()]


TOP = [dict(token=t, logprob=math.log(p), bytes=[65]) for t, p in (('A', .6), ('B', .3), ('Sure', .05))]
FINE = dict(id='1', object='chat.completion', usage=dict(prompt_tokens=50, completion_tokens=1), choices=[dict(index=0, finish_reason='stop',
    message=dict(role='assistant', content='A', reasoning_content='Holes?', refusal=None), logprobs=dict(content=[dict(TOP[0], top_logprobs=TOP)]*2))])
RECORD = dict(record_id='r', options=['too little', 'too much'], answer_form='label', task='response', lang='en', question_id='q', rule=None)


def check_answer(answer, k):
    "A prediction whose numbers are numbers, that a journal gives back as it was."
    assert answer['status'] in ('ok', 'nonresponse', 'refused', 'unparsed'), answer
    probs = answer.get('probs')
    assert probs is None or len(probs) == k and all(0 <= p <= 1 for p in probs) and abs(sum(probs) - 1) < 1e-9, answer
    assert answer.get('coverage') is None or 0 <= answer['coverage'] <= 1, answer
    assert all(type(answer[n]) is int and 0 <= answer[n] < 2**32 for n in ('asked', 'written', 'tokens') if answer[n] is not None), answer
    log = Journal()
    log.begin('r', dict(model='m', elicitation='score', sources=['s']), [(0, 'r', 'k', k)])
    log.add({'k': answer}, 'r')
    assert log.known(['k'])['k'] == answer
    frame = log.predictions('r')
    assert list(frame.status) == [answer['status']] and frame.astype(TYPES).notna().record_id.all()
    log.close()


def replies(r, folder):
    "JSON of a chat completion, changed in its parts or in its bytes."
    if r.random() < .7: content = json.dumps(changed(r, FINE)).encode()
    else: content = spoiled(r, json.dumps(FINE).encode())
    return reply_read(content, r.choice(['score', 'greedy', 'sample']))


def reply_read(content, how):
    "A reply in bytes, to a question that was asked by one of the elicitations."
    try: answer = as_prediction(read_completion(reply_json(content)), RECORD, how)
    except Fault as fault:
        assert fault.kind in ('busy', 'silent', 'refused', 'error', 'stop') and fault.why
        return 'refused'
    check_answer(answer, 2)
    return 'read'


def texts(r, folder):
    "Replies of the corpus with bits put in, cut and repeated, read by the tasks."
    case = r.choice(corpus())
    return text_read(text_changed(r, case['reply'] or ''), case)


def text_changed(r, text):
    for _ in range(r.choice([1, 2, 4, 12])):
        at = r.randrange(len(text) + 1)
        what = r.randrange(4)
        if what == 0: text = text[:at]
        elif what == 1: text = text[:at] + r.choice(BITS) + text[at:]
        elif what == 2: text = text[:at] + r.choice(BITS)*r.choice([2, 30, 400]) + text[at:]
        else: text = text[:at] + (r.choice(corpus())['reply'] or '') + text[at:]
    return text


def text_read(text, case):
    "A text in reply to the question of a case."
    value, status, why = parse_answer(text, case)
    assert (why is None and status == 'ok' and value is not None) or WHY[why][0] == status, (value, status, why)
    assert isinstance(clean_reply(text), str) and parse_reason(text) != '' and len(split_thinking(text)) == 2
    return 'read' if why is None else 'refused'


def headers(r, folder):
    "Replies with an error's status, and how long they make anyone wait."
    numbers = ['0', '1', 'inf', '-inf', 'nan', '1e999', '1000000000', '-5', '', ' ', 'soon', 'Fri, 31 Dec 9999 23:59:59 GMT', 'Mon, 01 Jan 0001 00:00:00 +2359', '٣', '9'*400, '1_0', '0x10', str(r.random())]
    names = r.sample(['retry-after', 'retry-after-ms', 'location'], r.randrange(4))
    given = {name: r.choice(numbers + ['http://[', 'http://else.where/', '//x']) for name in names}
    status = r.choice([300, 301, 307, 308, 400, 401, 404, 408, 409, 418, 429, 451, 500, 501, 502, 503, 529, 599])
    body = r.choice(ODD + [dict(message=r.choice(ODD)), dict(detail=r.choice(ODD)), dict(code='insufficient_quota')])
    return headers_read(status, given, body, r.randrange(9))


def headers_read(status, given, body, tries=0):
    "A reply with an error's status, its headers and its body."
    response = SimpleNamespace(status_code=status, headers=given, request=None)
    fault = as_fault(openai.APIStatusError('', response=response, body=body))
    assert fault.kind in ('busy', 'silent', 'refused', 'error', 'stop') and 0 <= pause_after(fault, tries, 60.) <= 60
    return 'read'


@cache
def whole_journal(draws):
    "A journal's bytes: eight records, of which six are answered and one has failed."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'run.sqlite'
        log = Journal(path)
        card = dict(model='m', elicitation='sample' if draws else 'score', sources=['s'], total=8, before=0, prices=[1., 2.], budget=5., draws_kept=draws)
        log.begin('run', card, [(i, f'r{i}', f'k{i}', 2) for i in range(8)])
        answer = dict(text='A', value=0, probs=None if draws else [.6, .4], coverage=.9, status='ok', why=None, seconds=.1, asked=50, written=1, tokens=51)
        log.add({key: answer for i in range(6) for key in ([f'k{i}/{d}' for d in range(draws)] if draws else [f'k{i}'])}, 'run')
        log.fail({'k6/0' if draws else 'k6': 'timeout'}, 'run')
        log.charge([('k6', 50, 4)], 'run')
        log.close()
        return path.read_bytes()


def spoil_rows(r, path):
    "Change what stands in a journal's tables."
    facts = dict(answers='answer', failures='why', runs='facts', asked=r.choice(['record_id', 'key', 'options']), charges=r.choice(['asked', 'written']))
    table, column = r.choice(list(facts.items()))
    with sqlite3.connect(path) as db:
        rowid = 'place' if table == 'asked' else 'rowid'
        rows = db.execute(f'select {rowid}, {column} from {table}').fetchall()
        for number, held in r.sample(rows, min(len(rows), r.choice([1, 3]))):
            if column in ('answer', 'facts') and r.random() < .7: new = json.dumps(changed(r, json.loads(held)))
            else: new = r.choice(['', '{', '[', 'x', 5, -1, b'\xff', 2**60, '{"a":'*300, '[1]', 'null'])
            try: db.execute(f'update {table} set {column} = ? where {rowid} = ?', (new, number))
            except sqlite3.IntegrityError: pass
    db.close()


def refused(action, path):
    "What an action gives, or None where it is refused in one line that names the file."
    try: return action()
    except (ValueError, FileNotFoundError, OSError) as e:
        assert type(e) in (ValueError, FileNotFoundError, OSError, PermissionError), repr(e)
        assert path.name in str(e) and '\n' not in str(e).strip(), repr(e)


def journals(r, folder):
    "A journal with changed bytes or changed rows, read and asked how far it is."
    data = whole_journal(r.choice([None, 3]))
    rows = r.random() < .6
    path = placed(folder, 'run.sqlite', data if rows else spoiled(r, data))
    if rows: spoil_rows(r, path)
    return journal_read(path, rows)


def placed(folder, name, data):
    "A file of a case, alone in its folder."
    for other in Path(folder).iterdir(): other.unlink()
    path = Path(folder)/name
    path.write_bytes(data)
    return path


def journal_read(path, rows):
    "A journal, of which `rows` may hold anything."
    status, frame = refused(lambda: run_status(path), path), refused(lambda: read_run(path), path)
    if frame is not None and len(frame): assert set(frame.status.dropna()) <= {'ok', 'nonresponse', 'refused', 'unparsed', 'error'} or rows
    return 'refused' if frame is None or status is None else 'read'


def cards(r, folder):
    "The card of a run against a server, changed, and the server made from it again."
    card = whole_card()
    data = json.dumps(changed(r, card)).encode() if r.random() < .7 else spoiled(r, json.dumps(card).encode())
    return card_read(placed(folder, 'p.card.json', data))


def whole_card():
    server = Server('m', 'http://127.0.0.1:9/v1')
    return dict(server.card(), predictions='p.jsonl', records_hash='ab', settings=dict(elicitation='score'), versions=dict(python='3'), records_file='r.jsonl')


def card_read(path):
    made = refused(lambda: read_run_card(path), path)
    if made is None: return 'refused'
    try: again = Server.from_card(made)
    except ValueError as e:
        assert '\n' not in str(e)
        return 'refused'
    assert again is None or again.base_url is None or '127.0.0.1' in again.base_url or again.key_variable == 'OPENAI_API_KEY'
    return 'read'


TARGETS = dict(replies=replies, texts=texts, headers=headers, journals=journals, cards=cards)


def run_case(name, number, folder):
    "One case; gives 'read' or 'refused', raises AssertionError or whatever came up."
    start = time.process_time()
    came = TARGETS[name](random.Random(f'{name}-{number}'), folder)
    took = time.process_time() - start
    assert took < SLOW, f'{took:.1f} seconds'
    return came


def fuzz(name, numbers, folder):
    "Counts of one target, and its violations."
    counts, violations = dict(cases=0, read=0, refused=0), []
    for number in numbers:
        counts['cases'] += 1
        try: counts[run_case(name, number, folder)] += 1
        except Exception as e: violations.append(dict(target=name, case=number, said=str(e)[:300], trace=traceback.format_exc()))
    return counts, violations
