"""How long does it take on a GPU, and against what? One training step and one round of scoring over the same survey records, in the real shapes of models with random weights; nothing is downloaded.

Training: shared prefixes with FlexAttention and with gathered blocks; TRL's packing with the best attention that is installed (FlashAttention, else SDPA); TRL's padded batches. Scoring: shared
prefixes, padded batches of one forward, and a server (vLLM, SGLang) where --server names one. Of each way: tokens and records a second, share of the GPU's peak (MFU: 2 FLOP a weight and token
forward, 4 with LoRA's backward, over the tokens that the way computes), peak memory, and whether losses and probabilities are the same.
Run: python benchmarks/gpu.py [--rehearse]. Writes benchmarks/gpu.json and .png, as it goes; after --minutes nothing new is begun. --rehearse, or --quick, runs it on any machine in tiny sizes and writes nothing."""
import gc, json, statistics, subprocess, sys, time
from functools import lru_cache
from pathlib import Path
import numpy as np, torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config
from transformers.utils import is_flash_attn_2_available
from alignsurvey.models.chat import answer_ids, prompt_ids
from alignsurvey.models.flex import ATTENTION_FORMS, attention_form
from alignsurvey.models.loading import LM, load_model
from alignsurvey.models.prefix import grow_trie, shared_attention
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.server import connect
from prefix_scoring import ways
from prefix_training import alternate, command_line, keep, peak_gib, step, survey_records, trainers

HERE = Path(__file__).parent
LLAMA = dict(vocab_size=128256, num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192)
SHAPES = {
    'Llama-3.1-8B': LlamaConfig(**LLAMA, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32),
    'Qwen2.5-7B': Qwen2Config(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4),
    'Llama-3.2-1B': LlamaConfig(**LLAMA, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, head_dim=64, tie_word_embeddings=True)}
TINY = LlamaConfig(vocab_size=49152, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
PEAK = {'H100': 989e12, 'H200': 989e12, 'A100': 312e12, 'L40S': 362e12}    # FLOP/s in bfloat16 without sparsity, as their makers say
SAME = {torch.float32: (1e-3, 1e-4), torch.bfloat16: (.05, .03)}           # how far losses, relative to their size, and shares of options may be apart


@lru_cache
def tokenizer(): return load_model().tokenizer


def made(config, device, dtype, attention='sdpa'):
    "A model of a shape, its weights random; the embedded one where there is no shape. All read with the embedded model's tokenizer."
    if config is None: return load_model(dtype=dtype)
    torch.manual_seed(0)
    with torch.device(device): model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    return LM(model.eval(), tokenizer(), 'random', '')


def finished(run):
    "A way that ends when the GPU has ended."
    def until():
        run()
        if torch.cuda.is_available(): torch.cuda.synchronize()
    return until


def memory(run):
    "GiB at the peak while something runs, and what it gives; of the whole process, where there is no GPU."
    on_gpu = torch.cuda.is_available()
    if on_gpu: torch.cuda.reset_peak_memory_stats()
    found = run()
    return round(torch.cuda.max_memory_allocated()/2**30 if on_gpu else peak_gib(), 2), found


def told(seconds, tokens, records, weights, flop, **more):
    "What is said of a way."
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ''
    peak = next((p for gpu, p in PEAK.items() if gpu in name), None)
    mfu = round(flop*weights*tokens/seconds/peak, 3) if peak else None
    return dict(seconds=round(seconds, 4), tokens=tokens, tokens_per_second=round(tokens/seconds), records_per_second=round(records/seconds, 2), mfu=mfu, **more)


def body_weights(model):
    "Weights that every token goes through."
    return sum(p.numel() for n, p in model.named_parameters() if 'embed' not in n and 'lm_head' not in n and 'lora' not in n)


def training(config, device, dtype, records, rounds):
    "Each way alone in memory, in turn."
    out, forms = {}, dict(ATTENTION_FORMS)
    best = 'flash_attention_2' if dtype == torch.bfloat16 and device == 'cuda' and is_flash_attn_2_available() else 'sdpa'
    for way in ['shared, flex'][:device == 'cuda'] + ['shared, blocks', 'packed', 'padded']:
        kind, _, form = way.partition(', ')
        ATTENTION_FORMS[device] = form or 'blocks'
        trainer = trainers(records, [kind], lambda: made(config, device, dtype, best if way == 'packed' else 'sdpa'))[kind]
        run = step(trainer)
        rows = trainer.train_dataset
        whole = [r['prompt'] + r['options'][0] for r in rows] if kind == 'shared' else [r['input_ids'] for r in rows]
        tokens = len(grow_trie(whole)) if kind == 'shared' else sum(map(len, whole))
        with shared_attention(trainer.model):
            gib, times = memory(lambda: alternate({way: finished(run)}, rounds))
        how = attention_form(device) if kind == 'shared' else best if way == 'packed' else 'sdpa'
        out[way] = told(statistics.median(times[way]), tokens, len(records), body_weights(trainer.model), 4, attention=how, peak_gib=gib, loss=round(run.loss, 5))
        del trainer, run; gc.collect(); torch.cuda.empty_cache()
    ATTENTION_FORMS.clear(); ATTENTION_FORMS.update(forms)
    losses = [r['loss'] for r in out.values()]
    assert np.ptp(losses) <= SAME[dtype][0]*max(losses), losses    # the same loss, or the comparison is none
    return out


def shares(logprobs, letters):
    "Probabilities of the options of each record, which sum to 1."
    return [p.float().softmax(0) for p in logprobs.split(list(map(len, letters)))]


def scoring(lm, records, rounds):
    "One letter of each option is read."
    prompts = [prompt_ids(lm, r['instruction'], r['input']) for r in records]
    letters = [[answer_ids(lm, chr(65 + k))[:1] for k in range(len(r['options']))] for r in records]
    found = ways(lm, prompts, None, letters)
    runs = {way: found[f'{way}_letter'] for way in ('shared', 'padded')}
    tokens = dict(shared=len(grow_trie(prompts)), padded=sum(map(len, prompts)))
    with torch.no_grad():
        gib = {way: memory(run)[0] for way, run in runs.items()}
        times = alternate({way: finished(run) for way, run in runs.items()}, rounds)
    apart = max(abs(a - b).max().item() for a, b in zip(*(shares(run.found, letters) for run in runs.values())))
    assert apart <= SAME[lm.dtype][1], apart
    return {way: told(statistics.median(times[way]), tokens[way], len(records), body_weights(lm.model), 2, peak_gib=gib[way], largest_difference=apart) for way in runs}, shares(runs['shared'].found, letters)


def served(url, model, records):
    "Seconds of a server for the same records, each asked once."
    server = connect(model, base_url=url, concurrency=64)
    server.probe()
    start = time.perf_counter()
    got = predict(server, records)
    seconds = time.perf_counter() - start
    assert (got.status == 'ok').all(), got.status.value_counts().to_dict()
    return dict(seconds=round(seconds, 3), records_per_second=round(len(records)/seconds, 1), scorer=server.facts.get('scorer', 'chat'))


def plot(found):
    import pandas as pd, seaborn as sns
    rows = [(r['model'], f'{what}: {way}', way_['records_per_second']) for r in found['results'] for what in ('training', 'scoring') for way, way_ in r[what].items()]
    ax = sns.barplot(pd.DataFrame(rows, columns=['model', 'way', 'records a second']), y='model', x='records a second', hue='way', palette='colorblind')
    ax.set(title=f"Records a second on {found['device']}", xscale='log', ylabel='')
    return ax


def everything(ask):
    device = 'cuda' if torch.cuda.is_available() and not ask.quick else 'cpu'
    names = {'tiny': TINY} if ask.quick else {'embedded, 135M': None, **{n: SHAPES[n] for n in reversed(SHAPES)}}
    items, people, rounds = (2, 1, 1) if ask.quick else (17, 8, ask.rounds)
    until = time.time() + 60*ask.minutes
    found = dict(device=torch.cuda.get_device_name() if device == 'cuda' else 'cpu', torch=torch.__version__, items=items, rounds=rounds, results=[])
    records = survey_records(items, people)
    if ask.server: found['server'] = served(ask.server, ask.server_model, reletter(items, people))
    for name, config in names.items():
        exact = None
        for dtype in (torch.float32, torch.bfloat16):
            small = config is None or config.hidden_size <= 2048
            if time.time() > until or dtype == torch.float32 and not small: continue    # 7B in 32 bits fits no such GPU beside its activations
            lm = made(config, device, dtype)
            asked, now = scoring(lm, records, rounds)
            half = max(abs(a - b).max().item() for a, b in zip(exact, now)) if exact else None
            exact = exact or now
            del lm; gc.collect(); torch.cuda.empty_cache()
            found['results'].append(dict(model=f'{name}, {str(dtype)[6:]}', from_float32=half, scoring=asked, training=training(config, device, dtype, records, rounds)))
            if not ask.quick: keep(ask.out, found, plot)
    return found


def reletter(items, people):
    "The same answers, their options lettered, as a server is asked."
    from alignsurvey.all import Survey
    return Survey.load('gss2018').records('response', respondents=people, answer_form='label', verbose=False).select(range(items))


def rehearsed(ask):
    "Everything, with the tests' stand-in for a server."
    stub = subprocess.Popen([sys.executable, HERE.parent/'tests'/'stub_server.py', '{"scores": "sglang"}'], stdout=subprocess.PIPE, text=True)
    try:
        ask.server, ask.server_model = f'http://127.0.0.1:{int(stub.stdout.readline())}/v1', 'stub'
        found = everything(ask)
    finally: stub.kill(); stub.wait()
    plot(found)
    return found


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, rounds=5)
    ask.add_argument('--rehearse', dest='quick', action='store_true', help='every line in tiny sizes, on any machine')
    ask.add_argument('--minutes', type=float, default=25, help='after which nothing new is begun')
    ask.add_argument('--server', help='address of a server that is running, such as http://localhost:8000/v1')
    ask.add_argument('--server-model', default='default', help="the server's name for its model")
    ask = ask.parse_args()
    if ask.quick: print(json.dumps(rehearsed(ask)))
    elif not torch.cuda.is_available(): print('skipped: there is no GPU here; --rehearse runs it in tiny sizes')
    else: keep(ask.out, everything(ask), plot)
