"Replies: a corpus of outputs written by hand, properties of any reply, and the labels of published files."
import json, re, string, time
from collections import Counter
from contextlib import suppress
from pathlib import Path
import pytest
from hypothesis import assume, given, settings, strategies as st
from alignsurvey.records.layouts import RULES, STANCES
from alignsurvey.records.schema import SHARE_FORMS, answer_texts, find_options, letters, share_text
from alignsurvey.records.reading import read_records
from alignsurvey.parsing.values import ATTRIBUTE_RULES, parse_reason
from alignsurvey.parsing.options import WHY
from alignsurvey.parsing.cleaning import LONGEST, clean_reply, split_thinking
from alignsurvey.tasks.registry import is_correct, parse_answer
from alignsurvey.parsing.shares import parse_shares
from alignsurvey.prediction.client import LARGEST
from alignsurvey.prediction.completions import MOST_LISTED, MOST_TEXT, Fault, as_prediction, read_completion, reply_json

CORPUS = [json.loads(l) for l in (Path(__file__).parent/'replies.jsonl').read_text(encoding='utf-8').splitlines()]
CORPUS.append(dict(task='response', lang='en', options=['yes', 'no'], answer_form='label', question_id='q', rule=None, reply='I would say no. '*1_000, value=None, status='unparsed', why='too_long'))


# --- the corpus

@pytest.mark.parametrize('case', CORPUS, ids=lambda c: f"{c['task']}-{c['why'] or 'ok'}")
def test_corpus(case):
    value, status, why = parse_answer(case['reply'], case)
    if isinstance(case['value'], list) and case.get('answer_form') in SHARE_FORMS: value, case = value and [round(v, 6) for v in value], case | {'value': [round(v, 6) for v in case['value']]}
    assert (value, type(value), status, why) == (case['value'], type(case['value']), case['status'], case['why'])
    if case['task'] == 'role': assert is_correct(value, case) is case['correct']


def test_corpus_is_large_and_mixed():
    assert len(CORPUS) >= 250 and sum(c['lang'] == 'zh' for c in CORPUS) >= 60 and sum(c['status'] != 'ok' for c in CORPUS) >= 80
    assert {c['task'] for c in CORPUS} == {'role', 'interview', 'stance', 'response'} and {c.get('answer_form') for c in CORPUS} >= set(SHARE_FORMS)
    of_numbers = {'no_number', 'out_of_range', 'other_text'}    # test_numbers and test_attacked have their cases
    assert {c['why'] for c in CORPUS} == {None, *WHY} - of_numbers    # every other reason has a case
    assert all(c['status'] == (WHY[c['why']][0] if c['why'] else 'ok') for c in CORPUS)
    assert not [c for c, n in Counter((c['reply'], json.dumps([c['task'], c.get('question_id'), c['options'], c['rule']])) for c in CORPUS).items() if n > 1]


def test_every_attribute_has_right_and_wrong_cases():
    of = {f: [c for c in CORPUS if c['task'] == 'role' and c['question_id'] == f] for f in RULES}
    assert len(of) == 12
    for field, cases in of.items(): assert len(cases) >= 5 and {c['correct'] for c in cases} == {True, False}, field
    assert {c['rule'] or RULES[c['question_id']] for c in CORPUS if c['task'] == 'role'} == set(ATTRIBUTE_RULES)


# --- any reply

def same(text): return re.sub(r'\W', '', text.casefold())

words = st.text(st.sampled_from(string.ascii_letters + 'éüñ北京上海工人农民教师'), min_size=2, max_size=8)
phrases = st.lists(words, min_size=1, max_size=4).map(' '.join)
option_lists = st.lists(phrases, min_size=2, max_size=30, unique_by=same)


@given(option_lists, st.data())
@settings(max_examples=300, deadline=None)
def test_a_rendered_option_is_read_back(options, data):
    order = data.draw(st.permutations(options))
    i = data.draw(st.integers(0, len(order) - 1))
    prompt = 'A question?\n' + '\n'.join(f'{l}. {o}' for l, o in zip(letters(len(order)), order)) + '\n\nPlease answer.'
    assert find_options(prompt) == order
    assume(not {same(o) for o in order} & {same(l + o) for l in ['', *letters(len(order))] for o in ['', *order] if l})    # no option is called "B", or "B. <another option>"
    letter = letters(len(order))[i]
    for said in (*(answer_texts(order, form)[i] for form in ('label_text', 'label', 'text')), f'({letter})', f'{letter})', f'{letter}、{order[i]}', f'<think>A or B?</think>{letter}', f'```\n{letter}. {order[i]}\n```',
            json.dumps({'answer': order[i]}), json.dumps({'answer': f'{letter}. {order[i]}'}, ensure_ascii=False)):
        value, status, why = parse_answer(said, dict(options=order))
        assert value == i and status in ('ok', 'nonresponse'), (said, order, value, why)


@given(option_lists, st.data())
@settings(max_examples=200, deadline=None)
def test_rendered_shares_are_read_back(options, data):
    counts = data.draw(st.lists(st.integers(0, 100), min_size=len(options), max_size=len(options)).filter(any))
    assume(not {same(o) for o in options} & {same(l + o) for l in letters(len(options)) for o in ['', *options]})
    shares, record = [c/sum(counts) for c in counts], dict(options=options, answer_form='shares')
    for form in SHARE_FORMS:
        value, status, why = parse_shares(share_text(options, shares, form), record)
        assert status == 'ok' and max(abs(a - b) for a, b in zip(value, shares)) < .011, (form, why)


LEVELS = ['far below average', 'below average', 'average', 'above average', 'far above average', 'no opinion']

@given(st.permutations(LEVELS), st.sampled_from(['{}', 'I am {}.', 'Our income is {} here', 'I would say {}', '{}, all in all', 'My answer: {}']))
def test_above_average_is_never_option_e(order, sentence):
    assert parse_answer(sentence.format('above average'), dict(options=order))[:2] == (order.index('above average'), 'ok')
    others = ['left', 'right', 'up', 'down', 'none']
    assert parse_answer(sentence.format('above average'), dict(options=others))[0] is None


GLUE = st.text(st.sampled_from(' \n,.;:-()"\'') , min_size=1, max_size=4).map(lambda g: g if set(g) & set(' \n,;') else g + ' ')
APART = ['red brick', 'green glass', 'blue steel', '黄色木头', '紫色石头']

@given(st.permutations(APART), st.data(), st.text(max_size=30), GLUE, st.text(max_size=30))
@settings(max_examples=500, deadline=None)
def test_two_options_are_never_one(order, data, before, glue, after):
    i, j = data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=2, unique=True))
    a, b = (data.draw(st.sampled_from([f'{letters(5)[k]}. {order[k]}', order[k]])) for k in (i, j))
    value, status, why = parse_answer(f'{before} {a}{glue}{b} {after}', dict(options=order))
    assert status != 'ok' or value not in (i, j), (before, a, glue, b, after)
    stances = data.draw(st.permutations(STANCES[data.draw(st.integers(0, 1))]))
    for said in (f'{stances[0]}{glue}{stances[1]}', json.dumps({'predict': f'{stances[0]}/{stances[1]}'}), json.dumps({'predict': list(stances[:2])}, ensure_ascii=False)):
        assert parse_answer(said, dict(task='stance', options=list(stances)))[1] != 'ok', said


RECORDS = [dict(options=APART), dict(task='stance', lang='zh', options=None), dict(task='role', question_id='家里人口数'), dict(task='role', question_id='家庭成员关系', options=APART),
    dict(task='role', question_id='x', rule='first_item', options=None), dict(task='role', question_id='性别', options=['男', '女']), dict(task='interview', options=None), dict(options=APART, answer_form='json_shares')]
noise = st.lists(st.one_of(st.text(max_size=12), st.sampled_from(['{', '}', '"predict": "', '"reason": "', '[', "']", '```json', '<think>', '</think>', 'assistantfinal', '\\u79ef', '\\ud83d', 'A.', '积极', '50%', ': 0.5', '3', '不', 'red brick', '\0'])), max_size=10).map(''.join)

@given(noise)
@settings(max_examples=400, deadline=None)
def test_any_text_gives_a_value_or_a_reason(text):
    for record in RECORDS:
        value, status, why = parse_answer(text, record)
        assert (why is None and status == 'ok' and value is not None) or (WHY[why][0] == status and value is None), (record, value, status, why)
    assert isinstance(clean_reply(text), str) and parse_reason(text) != ''


@given(st.sampled_from(STANCES[0] + STANCES[1]), st.text(min_size=1, max_size=60), st.integers(1, 80), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_stance_cut_anywhere(stance, reason, cut, ascii):
    assume(not re.search(r'think|reason|assistantfinal|thought|\\u', reason) and '`' not in reason and '<' not in reason)
    whole = json.dumps({'predict': stance, 'reason': reason}, ensure_ascii=ascii)
    record = dict(task='stance', options=STANCES[stance in STANCES[1]])
    assert parse_answer(whole, record) == (stance, 'ok', None)
    complete = whole.index('"', whole.index(': "') + 3) + 1
    value, status, why = parse_answer(whole[:cut], record)
    assert (value, status) == ((stance, 'ok') if cut >= complete else (None, 'unparsed')), whole[:cut]
    if cut < complete: assert why == 'truncated'


def test_a_cut_reason_is_kept():
    assert parse_reason('{"predict": "positive", "reason": "She has lived here for') == 'She has lived here for'
    assert parse_reason('<think>reason: no</think>{"predict": "中立", "reason": ["一", "二"]}') == '一\n二'


def test_many_replies_are_read_quickly():
    reason = '受访者认为生活比以前好，看病和上学都方便了，虽然房价还是高。' * 4
    record, stance = dict(options=['too little', 'about the right amount', 'too much']), dict(task='stance', lang='zh', options=STANCES[0])
    replies = ['C', 'B. about the right amount', 'I would choose C.', 'too much', 'A or B', '(A)', 'No idea, really', 'As a nurse I think it is too little.']
    start = time.process_time()
    for i in range(20_000): parse_answer(f'{{"predict": "{STANCES[0][i % 3]}", "reason": "{reason}{i}"}}', stance)
    for i in range(40_000): parse_answer(replies[i % 8], record)
    assert time.process_time() - start < 30    # about 3 seconds on one idle core


SLOW = ['"', "'", '*', '- ', ', ', '、', '{', '{"a":', '"a":', '<think>', '<think>\n<thought>', 'not ', "don't ", 'really ', '不', '没', '<|', '\\"', '\n', '(a', 'a 5 ', ': 5, "', '[', '[1,']


@pytest.mark.parametrize('unit', SLOW)
def test_a_reply_that_repeats_itself_is_read_at_once(unit):
    "As long as an answer may be, and a megabyte: each character is looked at a bounded number of times."
    text = unit*(1_000_000//len(unit))
    for said, record in (text[:LONGEST - 1], RECORDS[3]), (text[:LONGEST - 1], RECORDS[-1]), (text, RECORDS[0]):
        start = time.process_time()
        parse_answer(said, record), split_thinking(said)
        assert time.process_time() - start < 1, (unit, len(said), record)    # about a fifth of a second where nothing else runs


@pytest.mark.parametrize('reply', ['A' + ' '*400, '"'*1_600, '<think>'*20_000, '{"answer":'*3_000, '[' + '9'*5_000 + ']', '{"answer":' + '['*900 + ']'*900 + '}'])
def test_replies_that_once_held_up_a_run_or_ended_it(reply):
    start = time.process_time()
    for record in RECORDS: assert parse_answer(reply, record)[1] in ('ok', 'unparsed')
    assert time.process_time() - start < 5


# --- labels of published files answer their own prompts

def published(reference, name, n):
    records = read_records(reference/name)
    assert len(records) == n
    return [(r, *parse_answer(r['output'], r)) for r in records.to_list()]


def test_published_attributes(reference):
    for r, value, status, _ in published(reference, 'task1_role.json', 120):
        assert status == 'ok' and is_correct(value, r) and [o for o in r['options'] if is_correct(parse_answer(o, r)[0], r)] == [value]


def test_published_turns(reference):
    for r, value, status, why in published(reference, 'task2_interview.json', 323):
        assert (value, status, why) == ((r['output'].strip(), 'ok', None) if r['output'].strip() else (None, 'unparsed', 'empty'))


def test_published_stances(reference):
    for r, value, status, _ in published(reference, 'task3_stance.json', 80):
        assert status == 'ok' and value == r['answer'] and is_correct(value, r) and parse_reason(r['output']) == (r['reason'] and r['reason'].strip())


def test_published_answers(reference):
    for r, value, status, why in published(reference, 'task4_chip.json', 1535):
        assert why == 'dont_know' if status == 'nonresponse' else status == 'ok' and value == r['answer_index'] and is_correct(value, r)


# --- How long the event loop may stand still: any reply that the caps allow

UNITS = ['a', '{', '<think>', '<think>a</think>', '\\boxed{']
FORMS = [('response', 'label'), ('response', 'json_shares'), ('stance', 'json'), ('role', 'list')]
SPARE = 4    # times 50 ms, because tests share their cores


def seconds(content, record, elicitation='greedy'):
    "Processor seconds from the bytes of a reply to a prediction, or to why there is none."
    took = []
    for _ in range(2):
        start = time.process_time()
        with suppress(Fault):
            as_prediction(read_completion(reply_json(content)), record, elicitation)
        took.append(time.process_time() - start)
    return min(took)


def completion(text, places=()):
    message = dict(role='assistant', content=text)
    content = json.dumps(dict(choices=[dict(message=message, logprobs=dict(content=list(places)))])).encode()
    assert len(content) <= 1.01*LARGEST
    return content


@pytest.mark.parametrize('unit', UNITS)
def test_a_long_text_does_not_hold_up_other_requests(unit):
    text = (unit*MOST_TEXT)[:min(MOST_TEXT, LARGEST*len(unit)//(len(json.dumps(unit)) - 2))]
    content = completion(text)
    for task, form in FORMS:
        record = dict(record_id='r', task=task, answer_form=form, options=['too little', 'too much'], lang='en', question_id='q', rule=None)
        assert seconds(content, record) < .05*SPARE, (task, form)


@pytest.mark.timing
@pytest.mark.parametrize('token', ['A', 'option '])
@pytest.mark.parametrize('steps', [1, 64])
def test_many_log_probabilities_do_not_hold_up_other_requests(token, steps):
    record = dict(record_id='r', task='response', answer_form='label_text', lang='en', question_id='q', rule=None,
        options=[f'option number {i}' for i in range(26)])
    for start in token, ' ':
        n = LARGEST//(steps*(len(token) + 50))
        top = [dict(token=f'{token}{i}', logprob=-50.) for i in range(n)]
        content = completion('A', [dict(token=start, logprob=-.1, top_logprobs=top)]*steps)
        assert seconds(content, record, 'score') < .05*SPARE


@pytest.mark.timing
@pytest.mark.parametrize('unit', ['[],', '{"a":1},', '[', 'keys'])
def test_odd_json_does_not_hold_up_other_requests(unit):
    inside = ','.join(f'"{i:x}":1' for i in range(LARGEST//10)) if unit == 'keys' else '"x":[' + unit*((LARGEST - 20)//len(unit)) + '1]'
    assert seconds(b'{' + inside.encode() + b'}', {}) < .05*SPARE


def test_more_than_may_be_read_is_a_fault_and_not_a_shorter_reply():
    with pytest.raises(Fault, match='reply_too_large'):
        read_completion(reply_json(completion('a'*(MOST_TEXT + 1))))
    top = [dict(token=str(i), logprob=-50.) for i in range(MOST_LISTED//2)]
    found = read_completion(reply_json(completion('A', [dict(token='A', logprob=-.1, top_logprobs=top)]*4)))
    assert len(found.steps) == 2
