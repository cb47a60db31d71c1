"""How long does it take on a GPU, and against what?

One training step and one round of asking, in the real shapes of models with random weights; nothing is downloaded.
Parts, each a key of the results:
  results     records of the General Social Survey; one letter of each option is read
  interviews  made-up interviews of many turns; the respondent's next turn is learnt, and written
  qlora       survey records again, the base in 4 bits; it needs bitsandbytes
  tests       tests/test_gpu.py
  curve       benchmarks/learning_curve.py goes on to all answers to all items, and further the next time

Training: shared prefixes with FlexAttention and with gathered blocks; TRL's packing with the best attention that is
installed (FlashAttention, else SDPA); TRL's padded batches. Asking: shared prefixes, padded batches, and a server
(vLLM, SGLang) where --server names one. Of each way: tokens and records a second, share of the GPU's peak (MFU: 2 FLOP
a weight and token forward, 4 with LoRA's backward, over the tokens that the way computes), peak memory, and whether
losses, probabilities and replies are the same.
Run: python benchmarks/gpu.py [--parts …] [--rehearse]. Writes benchmarks/gpu.json and .png as it goes, and leaves there
what the same device measured of other parts; after --minutes nothing new is begun. --rehearse, or --quick, runs all of
it on any machine in tiny sizes and keeps no file."""
import copy
import dataclasses
import gc
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config
from transformers.utils import is_flash_attn_2_available
from alignsurvey.cli.benchmark import made_interviews
from alignsurvey.models.chat import answer_ids, record_ids
from alignsurvey.models.embedded import embedded_folder
from alignsurvey.models.flex import ATTENTION_FORMS, attention_form
from alignsurvey.models.loading import LM, four_bits, load_model
from alignsurvey.models.prefix import grow_trie, shared_attention, shared_option_logprobs
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.local import written_answers
from alignsurvey.prediction.server import connect
from alignsurvey.surveys.interviews import Interviews
from alignsurvey.surveys.survey import Survey
from alignsurvey.tasks.registry import task_records
from prefix_scoring import kept, score_padded, ways
from prefix_training import alternate, command_line, medians, peak_gib, step, survey_records, trainers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LLAMA = dict(vocab_size=128256, num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192)
SHAPES = {
    'embedded, 135M': None,
    'Llama-3.2-1B': LlamaConfig(**LLAMA, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        head_dim=64, tie_word_embeddings=True),
    'Qwen2.5-7B': Qwen2Config(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
        num_attention_heads=28, num_key_value_heads=4),
    'Llama-3.1-8B': LlamaConfig(**LLAMA, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32)}
TINY = LlamaConfig(vocab_size=49152, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2)
IN_32_BITS = 2048    # hidden size of the largest model that fits a GPU in 32 bits beside its activations
# FLOP/s in bfloat16 without sparsity, as their makers say
PEAK = {'H100': 989e12, 'H200': 989e12, 'A100': 312e12, 'L40S': 362e12}
# how far losses, relative to their size, and shares of options may be apart
SAME = {torch.float32: (1e-3, 1e-4), torch.bfloat16: (.05, .03)}
TURNS = 6    # of a made-up interview of the library
MANY_ANSWERS = 10**9    # more than the survey has: all of them
MEASURED = {
    'results': 'survey records',
    'interviews': 'interviews',
    'qlora': 'survey records, base in 4 bits'}


@dataclasses.dataclass(frozen=True)
class Case:
    "A model that is measured."
    name: str
    config: object        # its shape; None: the embedded model
    dtype: torch.dtype
    folder: str = None    # where its weights are read from, to be kept in 4 bits

    def __str__(self):
        return f"{self.name}, {'4 bits' if self.folder else str(self.dtype)[6:]}"


@lru_cache
def tokenizer():
    "The embedded model's; all models are asked with it."
    return load_model().tokenizer


def made(case, device, attention='sdpa'):
    "The model of a case, its weights random where there is a shape."
    if case.folder:
        model = AutoModelForCausalLM.from_pretrained(case.folder, dtype=case.dtype, device_map={'': device},
            attn_implementation=attention, quantization_config=four_bits())
        return LM(model.eval(), tokenizer(), 'random', '', quantise='4bit')
    if case.config is None:
        return load_model(dtype=case.dtype, device=device)
    torch.manual_seed(0)
    config = copy.deepcopy(case.config)    # a trainer writes into it
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=case.dtype, attn_implementation=attention)
    return LM(model.eval(), tokenizer(), 'random', '')


@contextmanager
def weights_of(case, device):
    "A folder with the weights of a case."
    if case.config is None:
        yield str(embedded_folder())
        return
    with tempfile.TemporaryDirectory() as folder:
        made(case, device).model.save_pretrained(folder)
        release()
        yield folder


def release():
    "Give memory back that nothing holds any more."
    gc.collect()
    torch.cuda.empty_cache()


def finished(run):
    "A way that ends when the GPU has ended."
    def until():
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return until


def memory(run):
    "GiB at the peak while something runs, and what it gives; of the whole process, where there is no GPU."
    if not torch.cuda.is_available():
        found = run()
        return round(peak_gib(), 2), found
    torch.cuda.reset_peak_memory_stats()
    found = run()
    return round(torch.cuda.max_memory_allocated()/2**30, 2), found


def told(seconds, tokens, records, weights, flop, **more):
    "What is said of a way."
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ''
    peak = next((peak for gpu, peak in PEAK.items() if gpu in name), None)
    mfu = round(flop*weights*tokens/seconds/peak, 3) if peak else None
    return dict(seconds=round(seconds, 4), tokens=tokens, tokens_per_second=round(tokens/seconds),
        records_per_second=round(records/seconds, 2), mfu=mfu, **more)


def body_weights(model):
    "Weights that every token goes through; a byte holds two of 4 bits."
    total = 0
    for name, p in model.named_parameters():
        if not any(other in name for other in ('embed', 'lm_head', 'lora')):
            total += 2*p.numel() if p.dtype == torch.uint8 else p.numel()
    return total


@contextmanager
def attention_as(device, form):
    "Attention over a trie is computed in this form inside the `with` block."
    before = dict(ATTENTION_FORMS)
    ATTENTION_FORMS[device] = form
    try:
        yield
    finally:
        ATTENTION_FORMS.clear()
        ATTENTION_FORMS.update(before)


def best_attention(case, device):
    "For rows that are packed."
    flash = case.dtype == torch.bfloat16 and device == 'cuda' and is_flash_attn_2_available()
    return 'flash_attention_2' if flash else 'sdpa'


def computed_tokens(rows, shared):
    "Tokens that a training step computes, those that fill up apart."
    if not shared:
        return sum(map(len, rows['input_ids']))
    return len(grow_trie([row['prompt'] + row['options'][0] for row in rows]))


def train_one_way(case, way, device, records, rounds):
    "A way of training, alone in memory."
    kind, _, form = way.partition(', ')
    shared = kind == 'shared'
    attention = best_attention(case, device) if kind == 'packed' else 'sdpa'
    with attention_as(device, form or 'blocks'):
        trainer = trainers(records, [kind], lambda: made(case, device, attention))[kind]
        run = step(trainer)
        with shared_attention(trainer.model) if shared else nullcontext():
            gib, times = memory(lambda: alternate({way: finished(run)}, rounds))
        how = attention_form(device) if shared else attention
    tokens = computed_tokens(trainer.train_dataset, shared)
    return told(statistics.median(times[way]), tokens, len(records), body_weights(trainer.model), 4,
        attention=how, peak_gib=gib, loss=round(run.loss, 5))


def training(case, device, records, rounds):
    "All ways of training; they have the same loss, or the comparison is none."
    found = {}
    for way in ['shared, flex'][:device == 'cuda'] + ['shared, blocks', 'packed', 'padded']:
        found[way] = train_one_way(case, way, device, records, rounds)
        release()
    losses = [each['loss'] for each in found.values()]
    assert np.ptp(losses) <= SAME[case.dtype][0]*max(losses), losses
    return found


def in_turn(lm, runs, tokens, records, rounds, more):
    "Ways of asking one model, in turn; `more` is said of each."
    with torch.no_grad():
        gib = {way: memory(run)[0] for way, run in runs.items()}
        times = medians(alternate({way: finished(run) for way, run in runs.items()}, rounds))
    extra = more()
    weights = body_weights(lm.model)
    return {way: told(times[way], tokens[way], len(records), weights, 2, peak_gib=gib[way], **extra) for way in runs}


def shares(logprobs, letters):
    "Probabilities of the options of each record, which sum to 1."
    return [p.float().softmax(0) for p in logprobs.split(list(map(len, letters)))]


def furthest(some, others):
    "Largest difference between the shares of the same records."
    return max((p - q).abs().max().item() for p, q in zip(some, others))


def scoring(lm, records, rounds):
    "One letter of each option is read; with the shares that were found."
    prompts = [record_ids(lm, r) for r in records]
    letters = [[answer_ids(lm, chr(65 + k))[:1] for k in range(len(r['options']))] for r in records]
    every = ways(lm, prompts, None, letters)
    runs = {way: every[f'{way}_letter'] for way in ('shared', 'padded')}
    tokens = dict(shared=len(grow_trie(prompts)), padded=sum(map(len, prompts)))

    def apart():
        found = furthest(*(shares(run.found, letters) for run in runs.values()))
        assert found <= SAME[lm.dtype][1], found
        return dict(largest_difference=found)

    return in_turn(lm, runs, tokens, records, rounds, apart), shares(runs['shared'].found, letters)


def replies_apart(lm, prompts, records):
    "How far the ways are apart in what people's own turns are worth, relative to that."
    turns = [[answer_ids(lm, r['output'])] for r in records]
    with torch.no_grad():
        shared, padded = shared_option_logprobs(lm.model, prompts, turns), score_padded(lm, prompts, turns)
    found = ((shared - padded)/padded).abs().max().item()
    assert found <= SAME[lm.dtype][0], found
    return found


def asking(lm, records, rounds, words):
    "The next turn is written, so many tokens of it, as `predict` lets it be written."
    batch = records.to_list()
    prompts = [record_ids(lm, r) for r in batch]
    how = dict(do_sample=False, max_new_tokens=words, min_new_tokens=words)

    def writing(max_tokens):
        return kept(lambda: [answer['text'] for answer in written_answers(lm, batch, max_tokens, how)])

    runs = dict(shared=writing(4096), padded=writing(0))
    new = words*len(batch)
    tokens = dict(shared=len(grow_trie(prompts)) + new, padded=sum(map(len, prompts)) + new)
    apart = replies_apart(lm, prompts, batch)

    def same():
        pairs = list(zip(*(run.found for run in runs.values())))
        return dict(largest_difference=apart, same_replies=sum(one == other for one, other in pairs)/len(pairs))

    return in_turn(lm, runs, tokens, batch, rounds, same)


def long_interviews(people, exchanges):
    "Records of made-up interviews, each of so many questions and answers."
    parts = [made_interviews(number, people, 0) for number in range(exchanges*2//TURNS)]
    turns = pd.concat([part.turns.assign(turn=part.turns.turn + TURNS*i) for i, part in enumerate(parts)])
    who = parts[0].people.rename_axis('respondent_id').reset_index()
    talks = Interviews.load(turns[['respondent_id', 'turn', 'speaker', 'text']], who, id='made_up', verbose=False)
    return task_records(talks, 'interview', verbose=False)


def cases(ask):
    "Models that are measured, small ones first, until time is up."
    for name, config in ({'tiny': TINY} if ask.quick else SHAPES).items():
        for dtype in (torch.float32, torch.bfloat16):
            if dtype == torch.float32 and config and config.hidden_size > IN_32_BITS:
                continue
            if time.time() < ask.until:
                yield Case(name, config, dtype)


def survey_row(case, ask, exact=None):
    "Scoring and training on survey records; with the shares that were found."
    records = survey_records(ask.items, ask.people)
    asked, now = scoring(made(case, ask.device), records, ask.rounds)
    release()
    from_float32 = furthest(exact, now) if exact else None
    row = dict(model=str(case), from_float32=from_float32, scoring=asked,
        training=training(case, ask.device, records, ask.rounds))
    return row, now


def surveys(ask):
    exact = {}    # name -> shares in 32 bits
    for case in cases(ask):
        row, now = survey_row(case, ask, exact.get(case.name))
        if case.dtype == torch.float32:
            exact[case.name] = now
        yield row


def interviews(ask):
    records = long_interviews(ask.talks, ask.exchanges)
    for case in cases(ask):
        asked = asking(made(case, ask.device), records, ask.rounds, ask.words)
        release()
        yield dict(model=str(case), asking=asked, training=training(case, ask.device, records, ask.rounds))


def qlora(ask):
    if not importlib.util.find_spec('bitsandbytes'):
        yield dict(model='4 bits', skipped='bitsandbytes is not installed: run pip install bitsandbytes')
        return
    for case in cases(ask):
        if case.dtype == torch.bfloat16:
            with weights_of(case, ask.device) as folder:
                yield survey_row(dataclasses.replace(case, folder=folder), ask)[0]


def program(ask, *command):
    "How another program ended, in the time that is left."
    start = time.time()
    try:
        done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=max(60, ask.until - start))
        passed, said = done.returncode == 0, (done.stdout.strip() or 'nothing').splitlines()[-1]
    except subprocess.TimeoutExpired:
        passed, said = False, 'its time was up'
    return dict(passed=passed, said=said, seconds=round(time.time() - start, 1))


def tests(ask):
    only_one = ['-k', 'replies'] if ask.quick else []
    yield program(ask, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', ROOT/'tests'/'test_gpu.py', *only_one)


def curve(ask):
    only_help = ['--help'] if ask.quick else []
    yield program(ask, HERE/'learning_curve.py', '--items', 'all', '--sizes', MANY_ANSWERS, *only_help)


PARTS = dict(results=surveys, interviews=interviews, qlora=qlora, tests=tests, curve=curve)


def reletter(items, people):
    "The same answers, their options lettered, as a server is asked."
    records = task_records(Survey.load('gss2018'), 'response', respondents=people, answer_form='label', verbose=False)
    return records.select(range(items))


def served(url, model, records):
    "Seconds of a server for the same records, each asked once."
    server = connect(model, base_url=url, concurrency=64)
    server.probe()
    start = time.perf_counter()
    got = predict(server, records)
    seconds = time.perf_counter() - start
    assert (got.status == 'ok').all(), got.status.value_counts().to_dict()
    return dict(seconds=round(seconds, 3), records_per_second=round(len(records)/seconds, 1),
        scorer=server.facts.get('scorer', 'chat'))


def measured_before(out, about):
    "What a file holds of the same device and sizes."
    found = json.loads(out.read_text(encoding='utf-8')) if out.exists() else {}
    same = all(found.get(name) == value for name, value in about.items())
    return found if same else {}


def everything(ask):
    "All parts that were asked for, written as they are found."
    about = dict(device=torch.cuda.get_device_name() if ask.device == 'cuda' else 'cpu',
        torch=torch.__version__, items=ask.items, rounds=ask.rounds)
    found = measured_before(ask.out, about) | about
    if ask.server:
        found['server'] = served(ask.server, ask.server_model, reletter(ask.items, ask.people))
    for part in ask.parts:
        found[part] = []
        for row in PARTS[part](ask):
            found[part].append(row)
            write(ask.out, found)
    return found


def speeds(found):
    "Records a second of every way, as a table."
    rows = []
    for part, of in MEASURED.items():
        for row in found.get(part, []):
            for what in {'training', 'scoring', 'asking'} & set(row):
                for way, how in row[what].items():
                    rows.append((of, row['model'], f'{what}: {way}', how['records_per_second']))
    return pd.DataFrame(sorted(rows), columns=['part', 'model', 'way', 'records a second'])


def plot(found):
    import seaborn as sns
    grid = sns.catplot(speeds(found), y='model', x='records a second', hue='way', row='part', kind='bar',
        palette='colorblind', sharey=False, height=4, aspect=2)
    grid.set(xscale='log', ylabel='')
    grid.set_titles('{row_name}')
    grid.figure.suptitle(f"Records a second on {found['device']}", y=1.02)
    return grid


def write(out, found):
    "Results as JSON, and their plot beside it where anything was timed."
    out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    if len(speeds(found)):
        plot(found).figure.savefig(out.with_suffix('.png'), dpi=120, bbox_inches='tight')


def rehearsed(ask):
    "Everything, with the tests' stand-in for a server."
    stub = subprocess.Popen([sys.executable, ROOT/'tests'/'stub_server.py', '{"scores": "sglang"}'],
        stdout=subprocess.PIPE, text=True)
    try:
        port = int(stub.stdout.readline())
        ask.server, ask.server_model = f'http://127.0.0.1:{port}/v1', 'stub'
        return everything(ask)
    finally:
        stub.kill()
        stub.wait()


def arguments():
    "What was asked for on the command line."
    ask = command_line(__file__, __doc__, rounds=5)
    ask.add_argument('--rehearse', dest='quick', action='store_true', help='every line in tiny sizes, on any machine')
    ask.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS), help='what is measured; default all')
    ask.size('--items', 17, quick=2, help='of the survey, to a respondent')
    ask.size('--people', 8, quick=1, help='respondents of the survey')
    ask.size('--talks', 4, quick=1, help='interviews')
    ask.size('--exchanges', 12, quick=3, help='questions of an interview, a multiple of 3')
    ask.size('--words', 64, quick=4, help='tokens of a turn that is written')
    ask.add_argument('--minutes', type=float, default=25, help='after which nothing new is begun')
    ask.add_argument('--server', help='address of a server that is running, such as http://localhost:8000/v1')
    ask.add_argument('--server-model', default='default', help="the server's name for its model")
    given = ask.parse_args()
    given.device = 'cuda' if torch.cuda.is_available() and not given.quick else 'cpu'
    given.until = time.time() + 60*given.minutes
    return given


if __name__ == '__main__':
    ask = arguments()
    if ask.quick:
        print(json.dumps(rehearsed(ask)))
    elif ask.device == 'cpu':
        print('skipped: there is no GPU here; --rehearse runs it in tiny sizes')
    else:
        print(json.dumps(everything(ask)))
