"""Is training with shared prefixes faster than what TRL does by itself?

One step over the same records, three ways in one process, in turn.
Ways: shared prefixes; TRL's padded batches; TRL's packing. The model is the embedded one, with LoRA on all linear layers,
and the survey the General Social Survey.
Run: make bench, or python benchmarks/prefix_training.py [--rounds 5] [--items 17 6 1] [--quick].
Writes benchmarks/prefix_training.json and .png."""
import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
import numpy as np
import torch
from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging as hf_logging
from alignsurvey.all import Survey
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie, shared_attention
from alignsurvey.records.orders import reorder
from alignsurvey.training.batches import respondents_of, tokenised
from alignsurvey.training.cost import lora_config
from alignsurvey.training.recipe import Recipe
from alignsurvey.training.trainer import make_trainer, sft_config
from options import Options

WAYS = ('shared', 'padded', 'packed')
RESPONDENTS = {17: 2, 6: 2, 1: 6}   # for so many items; others: two
PACK = 2048    # tokens of a packed row, or more where a record has more
PRODUCTS = ('aten::mm', 'aten::addmm', 'aten::bmm')
ATTENTION = '_scaled_dot_product_flash_attention_for_cpu'
ATTENTIONS = (f'aten::{ATTENTION}', f'aten::{ATTENTION}_backward')


def survey_records(items, respondents):
    "So many respondents with exactly so many answered items each."
    survey = Survey.load('gss2018')
    every = survey.records('response', respondents=20*respondents, answer_form='text', verbose=False)
    kept = {}
    for i, who in enumerate(every['respondent_id']):
        rows = kept.setdefault(who, [])
        if len(rows) < items:
            rows.append(i)
    full = [rows for rows in kept.values() if len(rows) == items][:respondents]
    return reorder(every.select(sum(full, [])), 'shuffle')


def is_plain_linear(name, module):
    "Whether a layer is one of the model's own products with a matrix, the output head apart."
    return isinstance(module, torch.nn.Linear) and 'lm_head' not in name and 'lora' not in name


def plain_matmul(model, tokens, seconds=1.):
    "FLOP/s of the model's own matrix shapes, multiplied by themselves."
    shapes = {tuple(m.weight.shape) for name, m in model.named_modules() if is_plain_linear(name, m)}
    pairs = [(torch.randn(tokens, inputs), torch.randn(outputs, inputs)) for outputs, inputs in shapes]
    flop = sum(2*x.numel()*len(w) for x, w in pairs)
    best = 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        for x, w in pairs:
            x @ w.T
        best = max(best, flop/(time.perf_counter() - start))
    return best


def alternate(ways, rounds):
    "Seconds of each way, one round after the other, after a round that does not count."
    for run in ways.values():
        run()
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def medians(times):
    "The median of each way's seconds."
    return {way: statistics.median(each) for way, each in times.items()}


def profile(run, plain):
    "Share of the time in matrix products and in attention, and how near the whole comes to plain products."
    with torch.profiler.profile() as seen:
        run()
    events = seen.key_averages()
    total = sum(e.self_cpu_time_total for e in events)

    def part(names):
        return round(sum(e.self_cpu_time_total for e in events if e.key in names)/total, 3)

    with FlopCounterMode(display=False) as count:
        run()
    start = time.perf_counter()
    run()
    rate = count.get_total_flops()/(time.perf_counter() - start)
    return dict(matmul_share=part(PRODUCTS), attention_share=part(ATTENTIONS), gflops=round(rate/1e9, 1),
        plain_gflops=round(plain/1e9, 1), efficiency=round(rate/plain, 3))


def shared_trainer(lm, records, rows, recipe, folder):
    "Ours."
    args = sft_config(recipe, folder, lm, len(rows), True, {})
    return make_trainer(recipe, respondents_of(records), True, model=lm.model, args=args,
        train_dataset=rows, processing_class=lm.tokenizer, peft_config=lora_config(recipe))


def as_trl_takes_it(row):
    "A record as token ids, the answer marked."
    prompt, answer = row['prompt'], row['options'][0]
    return dict(input_ids=prompt + answer, completion_mask=[0]*len(prompt) + [1]*len(answer))


def trl_trainer(lm, rows, recipe, folder, way):
    "TRL's, padded or packed."
    from trl import SFTConfig, SFTTrainer
    plain = Dataset.from_list([as_trl_takes_it(row) for row in rows])
    if way == 'packed':
        longest = max(map(len, plain['input_ids']))
        how = dict(packing=True, max_length=max(PACK, longest), per_device_train_batch_size=1)
    else:
        how = dict(max_length=None, per_device_train_batch_size=8)
    args = SFTConfig(output_dir=folder, completion_only_loss=True, use_cpu=lm.device.type == 'cpu',
        bf16=lm.dtype == torch.bfloat16, gradient_checkpointing=False, report_to='none', **how)
    return SFTTrainer(model=lm.model, args=args, train_dataset=plain, processing_class=lm.tokenizer,
        peft_config=lora_config(recipe))


def trainers(records, wanted=WAYS, load=load_model):
    "A trainer for each way, over the same records; each loads a model of its own."
    recipe = Recipe(batch=len(records), micro=1)
    made = {}
    for way in wanted:
        lm = load()
        rows = Dataset.from_list(list(tokenised(lm, records, 'answer')))
        with tempfile.TemporaryDirectory() as folder:
            if way == 'shared':
                made[way] = shared_trainer(lm, records, rows, recipe, folder)
            else:
                made[way] = trl_trainer(lm, rows, recipe, folder, way)
    return made


def step(trainer):
    "Collate, forward and backward of all records once."
    trainer.current_gradient_accumulation_steps = 1

    def run():
        trainer.model.zero_grad()
        batches = list(trainer.get_train_dataloader())
        n = sum((batch['labels'][..., 1:] != -100).sum() for batch in batches)
        run.loss = sum(float(trainer.training_step(trainer.model, batch, n)) for batch in batches)

    return run


def one_size(items, rounds, respondents=None):
    "What a step over so many items a respondent takes, each way."
    records = survey_records(items, respondents or RESPONDENTS.get(items, 2))
    made = trainers(records)
    ways = {way: step(trainer) for way, trainer in made.items()}
    whole = [row['prompt'] + row['options'][0] for row in made['shared'].train_dataset]
    tokens = len(grow_trie(whole))
    with shared_attention(made['shared'].model):
        times = alternate(ways, rounds)
        losses = {way: run.loss for way, run in ways.items()}
        assert np.ptp(list(losses.values())) < 1e-3, losses    # the same loss, or the comparison is none
        detail = profile(ways['shared'], plain_matmul(made['shared'].model, min(2048, tokens)))
    mid = medians(times)
    return dict(items=items, records=len(records), tokens=sum(map(len, whole)), tokens_shared=tokens,
        losses={way: round(loss, 5) for way, loss in losses.items()},
        seconds={way: [round(x, 3) for x in each] for way, each in times.items()},
        median={way: round(m, 3) for way, m in mid.items()},
        faster=round(min(mid['padded'], mid['packed'])/mid['shared'], 2), shared_step=detail)


def peak_gib():
    "GiB of this process at its peak; ru_maxrss would count the parent process too."
    status = Path('/proc/self/status').read_text(encoding='utf-8')
    return int(re.search(r'VmHWM:\s+(\d+)', status)[1])/2**20


def peak_memory(way, items):
    "GiB of a process that does nothing but one step of one way."
    asked = [sys.executable, __file__, '--memory', way, '--items', str(items)]
    got = subprocess.run(asked, capture_output=True, text=True, check=True)
    return float(got.stdout.split()[-1])


def step_once(way, items):
    "One step of one way, for its memory."
    records = survey_records(items, RESPONDENTS.get(items, 2))
    made = trainers(records, [way])[way]
    with shared_attention(made.model):
        step(made)()


def keep(out, found, draw):
    "Results as JSON, their plot as PNG beside it, and on the screen."
    out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    draw(found).figure.savefig(out.with_suffix('.png'), dpi=120, bbox_inches='tight')
    print(json.dumps(found, indent=1))


def command_line(script, about, *, rounds=5, items=None, quick=None):
    "The command line of a script that compares."
    warnings.filterwarnings('ignore')
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    ask = Options(script, about)
    ask.size('--rounds', rounds, quick=1)
    if items:
        ask.size('--items', items, quick=quick or items[:1], help='to a respondent')
    return ask


def plot(found):
    import seaborn as sns
    results = found['results']
    faster = [r['faster'] for r in results]
    ax = sns.barplot(x=[str(r['items']) for r in results], y=faster, color='#0072B2')
    ax.axhline(1, color='#444444')
    for i, value in enumerate(faster):
        ax.text(i, value, f'{value:.1f}x', ha='center', va='bottom')
    ax.set(title='Training with shared prefixes, against the faster of padding and packing',
        xlabel='items a respondent answers', ylabel='times faster')
    return ax


def everything(ask):
    "All sizes, and what each way takes of memory."
    results = [one_size(items, ask.rounds, ask.respondents) for items in ask.items]
    items = ask.items[0]
    memory = {} if ask.quick else {way: round(peak_memory(way, items), 2) for way in WAYS}
    return dict(threads=torch.get_num_threads(), torch=torch.__version__, rounds=ask.rounds,
        results=results, peak_gib=dict(items=items, **memory))


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, items=[17, 6, 1], quick=[6])
    ask.size('--respondents', 0, quick=1, help='0: as many as make such a step')
    ask.add_argument('--memory', help=argparse.SUPPRESS)
    ask = ask.parse_args()
    if ask.memory:
        step_once(ask.memory, ask.items[0])
        print(peak_gib())
    else:
        keep(ask.out, everything(ask), plot)
