"Published files: the benchmark's own rows, forms and faults of JSON, folders, replies of other tools, and LLaMA-Factory's loader."
import ast, json, os, re, subprocess
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from alignsurvey.records.layouts import RULES, recognise
from alignsurvey.records.llamafactory import export_records
from alignsurvey.prediction.foreign import read_foreign_predictions
from alignsurvey.records.reading import make_records, read_records, write_records
from alignsurvey.records.splits import split_records
from alignsurvey.files.rows import read_rows
from alignsurvey.all import Survey

FILES = dict(role='task1_role.json', interview='task2_interview.json', stance='task3_stance.json', response='task4_chip.json')
FACTORY = os.environ.get('ALIGNSURVEY_LLAMAFACTORY')    # a Python that has llamafactory


@pytest.fixture
def reference():
    "Folder with published example files of the AlignSurvey benchmark; they are not part of this repository."
    folder = Path(os.environ.get('ALIGNSURVEY_REFERENCE') or Path(__file__).parents[2]/'shared'/'reference')
    if not folder.is_dir(): pytest.skip('the published example files are not here')
    return folder


@pytest.fixture(scope='module')
def gss(): return Survey.load('gss2018').records('response', items=['natroad', 'natsci'], respondents=60, verbose=False)


ROLE = '==访谈对话==\n采访者：您好。\n受访者：您好。\n\n请根据对话内容，预测被访者的 “{}”。\n可选值：{}。'
TURN = '\n请作答。\n\n==你的背景==\n{}\n\n==先前对话==\n{}\n\n==当前问题==\n{}\n\n请输出你的回答：\n'
STANCE = '背景信息：\n性别: 女\n\n请判断受访者对{}的倾向。\npredict字段从"积极"、"消极"或"中立"中选择。'
SURVEY = '你的个人背景：\n您的年龄: 40\n\n问卷问题：\n停车方便吗？\n选项：\nA. 一般\nB. 方便\nC. 不方便\n\n请直接输出你的答案：'
MADE_UP = dict(
    role=[dict(instruction=ROLE.format('家里人口数', '1、2、3'), input='', output='3', id=1, question_key='问题1', field='家里人口数'),
          dict(instruction=ROLE.format('家庭成员关系', '子女、父母'), input='', output="['子女', '父母']", id=1, question_key='问题1', field='家庭成员关系'),
          dict(instruction=ROLE.format('有车', '有、无'), input='', output="['有']", id=2, question_key='问题1', field='有车')],
    interview=[dict(instruction=TURN.format("{'性别': '女'}", '', '您平时怎么出门？'), input='', output='开车。', id=1, qua='问题1'),
               dict(instruction=TURN.format("{'性别': '女'}", '提问:您平时怎么出门？\n回答:开车。', '停车方便吗？'), input='', output='还行。', id=1, qua='问题1')],
    stance=[dict(instruction=STANCE.format('停车'), input=' ', output='{"predict": "中立", "reason": "还行。"}', id=i) for i in (1, 2)],
    response=[dict(instruction=SURVEY, input='', output=f'{o}', person_id=f'{i}_1', question='停车方便吗？') for i, o in enumerate(('A. 一般', 'C. 不方便'))])


# --- The benchmark's own files

@pytest.mark.parametrize('task', FILES)
def test_every_published_row(reference, task):
    rows, records = json.loads((reference/FILES[task]).read_text('utf-8')), read_records(reference/FILES[task])
    assert len(records) == len(rows) and len(set(records['record_id'])) == len(rows) and set(records['task']) == {task} and set(records['lang']) == {'zh'}
    for row, r in zip(rows, records):
        assert [r[k] for k in ('instruction', 'input', 'output')] == [row[k] for k in ('instruction', 'input', 'output')]
        assert r['respondent_id'] == str(row.get('id', row.get('person_id')))
        assert {k: r[k] for k in ('field', 'question_key', 'qua') if k in row} == {k: row[k] for k in ('field', 'question_key', 'qua') if k in row}


def test_published_attributes(reference):
    for r in read_records(reference/FILES['role']):
        assert r['question'] == r['question_id'] == r['field'] and r['rule'] == RULES[r['field']] and r['answer_form'] == 'list'
        assert [r['answer']] == ast.literal_eval(r['output']) and r['options'][r['answer_index']] == r['answer'] and len(r['options']) == 5
        assert r['instruction'].count(r['history']) == 1 and f"==访谈对话==\n{r['history']}\n\n请根据" in r['instruction']


def test_published_interviews(reference):
    records = read_records(reference/FILES['interview'])
    one_blank = lambda text: re.sub(r'(先前对话==\n)\n+(==当前)', r'\1\n\n\2', text)
    rebuilt = "==你的背景==\n{background}\n\n==先前对话==\n{history}\n\n==当前问题==\n{question}\n\n请输出"
    assert sum(rebuilt.format(**r) in one_blank(r['instruction']) for r in records) == len(records)
    assert all(r['background'] and r['question'] and r['answer'] == r['output'] and r['options'] is None for r in records)
    assert {bool(r['history']) for r in records} == {True, False}


def test_published_stances(reference):
    for r in read_records(reference/FILES['stance']):
        said = json.loads(r['output'])
        assert r['answer'] == said['predict'] == r['options'][r['answer_index']] and r['positions'] == [0, 1, 2] and r['scale'] == 'ordinal'
        assert r['reason'] == (None if said['reason'] == '无推理' else said['reason']) and f"对{r['question']}的倾向" in r['instruction']


def test_published_answers(reference):
    for r in read_records(reference/FILES['response']):
        assert r['options'][r['answer_index']] == r['answer'] and r['output'].endswith(r['answer']) and r['scale'] == 'unknown'


def test_people_of_all_tasks_stay_on_one_side(reference):
    kept = ['record_id', 'source', 'respondent_id', 'instruction', 'output', 'task']
    rows = [row for task in ('role', 'interview', 'stance') for row in read_records(reference/FILES[task]).select_columns(kept).to_list()]
    splits = split_records(make_records(rows), test=.3)
    sides = [set(part['respondent_id']) for part in splits.values()]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 20


@pytest.mark.parametrize('suffix', ['.json', '.jsonl'])
@pytest.mark.parametrize('task', FILES)
def test_published_round_trip(reference, tmp_path, task, suffix):
    records = read_records(reference/FILES[task])
    assert read_records(write_records(records, tmp_path/f'again{suffix}')).to_list() == records.to_list()


# --- Rows of every task, made up

@pytest.mark.parametrize('task', MADE_UP)
def test_round_trip(tmp_path, task):
    records = make_records(MADE_UP[task], source=task)
    assert set(records['task']) == {task}
    assert read_records(write_records(records, tmp_path/'a.json')).to_list() == records.to_list()


def test_group_records_round_trip(tmp_path):
    made = Survey.load('gss2018').records('response', level='group', by=['sex'], items=['natroad'], verbose=False)
    assert read_records(write_records(made, tmp_path/'a.jsonl')).to_list() == made.to_list()
    outputs = 'A.一般: 45%\nB.方便: 27%\nC.不方便: 27%', '{"方便": "60%", "一般": "40%"}', '{"方便": 0.6, "一般": 0.4}'
    published = make_records([dict(instruction=SURVEY, output=o, person_id=i) for i, o in enumerate(outputs)])
    assert published['answer_form'][:] == ['shares', 'json_percent', 'json_shares'] and set(published['level']) == {'group'}
    assert published['target'][1:] == [[.4, .6, 0], [.4, .6, 0]] and sum(published[0]['target']) == pytest.approx(1)
    assert read_records(write_records(published, tmp_path/'b.json')).to_list() == published.to_list()


def test_rules_and_answers():
    several = make_records(MADE_UP['role'])
    assert [(r['rule'], r['answer'], r['answer_index'], r['answer_form']) for r in several] == [
        ('integer', '3', None, 'text'), ('any_overlap', '子女、父母', None, 'list'), ('exact', '有', 0, 'list')]
    assert len(RULES) == 12 and sorted(set(RULES.values())) == ['any_overlap', 'exact', 'first_item', 'integer']


@given(st.lists(st.text(st.sampled_from('停车方便吗开车还行？，abc'), min_size=1, max_size=20), min_size=3, max_size=3))
@settings(max_examples=100, deadline=None)
def test_parts_are_slices(parts):
    background, history, question = parts
    found = recognise(dict(instruction=TURN.format(background, history, question), input='', output='x'))
    assert [found[k] for k in ('background', 'history', 'question')] == parts


def test_readme_example_with_its_fault(tmp_path, capsys):
    row = r'''[
  {
    "instruction": "The survey is in 2024.\nYour personal background:\nyour household income: \$25,000 or more\n\nSurvey question:\nwhich class?\nA. lower class\nB. middle class\n\nPlease provide your answer directly.",
    "input": "",
    "output": "B. middle class", "respondent_id": 2, "question_index": 0, "question": "which class?", "answer": "middle class"
  },
]'''
    (tmp_path/'example.json').write_text(row)
    r = read_records(tmp_path/'example.json')[0]
    assert 'income: $25,000' in r['instruction'] and (r['record_id'], r['answer'], r['answer_index']) == ('example/2/0', 'middle class', 1)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and r'example.json: line 3: `\$` was read as `$`' in said[0] and 'example.json: line 6: a comma' in said[1]


@pytest.mark.parametrize('text, said', [
    ('[{"instruction": "a" "b"}]', r'x\.json: line 1: is not valid JSON .*: correct the line'),
    ('{"instruction": "a"}\n{"instruction": "b"\n', r'x\.json: line 2: is not valid JSON'),
    ('[{"instruction": "a\\q"}]', r'x\.json: line 1: is not valid JSON'), ('[{"a": 1},,]', r'x\.json: line 1'), ("[{'instruction': 'a'}]", r'x\.json: line 1'),
    ('', 'x.json: has no records'), ('[{"output": "a"}]', 'x.json: record 1: has no instruction'), ('3', 'x.json: record 1 is not an object'),
    ('[{"instruction": "a", "output": "yes: 60%\\nno: 80%"}]', r'x\.json: record 1: its shares sum to 1\.4'),
    (json.dumps([MADE_UP['stance'][0]]*2), "x.json: records 1 and 2 share the id 'alignsurvey_interviews/1/stance/停车': remove one")])
def test_one_sentence(tmp_path, text, said):
    (tmp_path/'x.json').write_text(text)
    with pytest.raises(ValueError, match=said): read_records(tmp_path/'x.json')


def test_layout_of_the_benchmark(tmp_path):
    for task, number in dict(role=1, interview=2, stance=3).items():
        (tmp_path/'data'/'enitre_pipeline'/f'task{number}').mkdir(parents=True)
        (tmp_path/'data'/'enitre_pipeline'/f'task{number}'/'example.json').write_text(json.dumps(MADE_UP[task]))
    info = tmp_path/'LLaMA-Factory'/'data'/'dataset_info.json'
    info.parent.mkdir(parents=True)
    info.write_text(json.dumps({'test_attitude': {'file_name': '../../data/enitre_pipeline/task3/example.json'}}))
    assert set(read_records(tmp_path/'data'/'enitre_pipeline', 'task2/example')['task']) == {'interview'}
    assert read_records(f'{info.parent}:test_attitude').to_list() == read_records(tmp_path/'data'/'enitre_pipeline'/'task3'/'example.json').to_list()
    with pytest.raises(ValueError, match='offers task1/example, task2/example, task3/example: choose one'): read_records(tmp_path/'data'/'enitre_pipeline')
    with pytest.raises(ValueError, match="offers test_attitude; 'test_性别' is not among them"): read_records(info, 'test_性别')


# --- Replies

TEMPLATES = dict(chatml='<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n',
                 stripped='system\nYou are a helpful assistant.\nuser\n{}\nassistant\n', llama='<s>[INST] {} [/INST]')


@pytest.mark.parametrize('template', TEMPLATES)
@pytest.mark.parametrize('order', [1, -1])
def test_replies_of_llama_factory(gss, tmp_path, template, order):
    rows = [dict(prompt=TEMPLATES[template].format(r['instruction'] + '\n' + r['input']), predict=r['record_id'], label=r['output']) for r in gss]
    (tmp_path/'p.jsonl').write_text('\n'.join(map(json.dumps, rows[::order])))
    frame = read_foreign_predictions(tmp_path/'p.jsonl', gss)
    right = frame.text == frame.record_id
    same = {}
    for r in gss: same.setdefault((r['instruction'], r['output']), []).append(r['record_id'])
    assert all(frame.record_id == gss['record_id'][:])
    assert all(ok or len(same[r['instruction'], r['output']]) > 1 for ok, r in zip(right, gss))     # two people alike in all that was asked and said


def test_replies_about_other_records(gss, tmp_path):
    (tmp_path/'p.jsonl').write_text('\n'.join(json.dumps(dict(prompt=r['instruction'], predict='x', label=r['output'])) for r in gss))
    first, rest = gss.select(range(10)), gss.select(range(10, len(gss)))
    with pytest.raises(ValueError, match=r'p\.jsonl: row 1: its prompt is not that of any'): read_foreign_predictions(tmp_path/'p.jsonl', rest)
    with pytest.raises(ValueError, match=r'p\.jsonl: row 11: its prompt is not that of any|both answer record'): read_foreign_predictions(tmp_path/'p.jsonl', first)


def test_replies_of_the_api_scripts(gss, tmp_path, capsys):
    path = export_records(gss, tmp_path, name='gss')
    items = json.loads(path.read_text('utf-8'))
    for i, item in enumerate(items): item.update(dict(error='Rate limit') if i % 10 == 0 else dict(predict=item['output'], label=item['output']))
    (tmp_path/'replies.json').write_text('\n'.join(json.dumps(i, ensure_ascii=False) for i in items[:-1]))    # lines, called .json; one is missing
    frame = read_foreign_predictions(tmp_path/'replies.json', gss)
    errors = len(range(0, len(gss), 10))
    assert list(frame) == ['record_id', 'text', 'status', 'why'] and (frame.status == 'error').sum() == errors + 1 and frame.why.iloc[-1] == 'no row in replies.json'
    said = capsys.readouterr().out
    assert f'{errors} of {len(gss) - 1} rows are errors without a prediction; the first says: Rate limit' in said and f'1 of {len(gss)} records have no row' in said


def test_cut_prompts_are_said(gss, tmp_path, capsys):
    rows = [dict(prompt='<|user|>' + r['instruction'][:80], predict=r['record_id'], label=r['output'] + '<|im_end|>') for r in gss]
    (tmp_path/'p.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    frame = read_foreign_predictions(tmp_path/'p.jsonl', gss)
    assert (frame.text == frame.record_id).all() and f'{len(gss)} of {len(gss)} prompts do not hold' in capsys.readouterr().out


# --- LLaMA-Factory itself

LOADER = '''
import json, sys
from types import SimpleNamespace
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
folder, names = sys.argv[1], sys.argv[2:]
out = {}
for name, attr in zip(names, get_dataset_list(names, folder)):
    rows = _load_single_dataset(attr, ModelArguments(model_name_or_path='none'), DataArguments(dataset=name, dataset_dir=folder), SimpleNamespace(local_process_index=0))
    out[name] = [[[m['content'] for m in r['_prompt']], [m['content'] for m in r['_response']]] for r in rows]
print('LOADED' + json.dumps(out))
'''


def _load(folder, names, tmp_path):
    env = dict({k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}, HF_HUB_OFFLINE='1', HF_HOME=str(tmp_path/'hf'), CUDA_VISIBLE_DEVICES='', DISABLE_VERSION_CHECK='1')
    done = subprocess.run([FACTORY, '-c', LOADER, str(folder), *names], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.split('LOADED')[-1])


def _sources(request):
    "Records of all tasks, made up; of a survey, both levels; and the published ones where they are here."
    survey = Survey.load('gss2018')
    made = {f'{task}_made_up': make_records(rows, source=task) for task, rows in MADE_UP.items()}
    made |= dict(gss=request.getfixturevalue('gss'), gss_group=survey.records('response', level='group', by=['sex'], items=['natroad'], verbose=False))
    try: folder = request.getfixturevalue('reference')
    except pytest.skip.Exception: return made
    return made | {f'published_{task}': read_records(folder/file) for task, file in FILES.items()}


@pytest.mark.skipif(not FACTORY, reason='ALIGNSURVEY_LLAMAFACTORY names no Python with llamafactory')
def test_llama_factory_loads_what_is_exported(request, tmp_path):
    made = _sources(request)
    for name, records in made.items(): export_records(records, tmp_path/'data', name=name)
    loaded = _load(tmp_path/'data', list(made), tmp_path)
    assert {k: len(v) for k, v in loaded.items()} == {k: len(v) for k, v in made.items()}
    for name, records in made.items():
        for r, (prompt, response) in zip(records, loaded[name]):
            assert prompt == ['\n'.join(t for t in (r['instruction'], r['input']) if t)] and response == [r['output']]
    print({k: len(v) for k, v in loaded.items()})
