"""Is training with shared prefixes faster than what TRL does by itself? One step over the same records, three ways in one process, in turn.

Ways: shared prefixes; TRL's padded batches; TRL's packing. The model is the embedded one, with LoRA on all linear layers, and the survey the General Social Survey.
Run: make bench, or python benchmarks/prefix_training.py [--rounds 5] [--items 17 6 1] [--quick]. Writes benchmarks/prefix_training.json and .png."""
import argparse, json, re, statistics, subprocess, sys, tempfile, time, warnings
from pathlib import Path
import numpy as np, torch
from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging as hf_logging
from alignsurvey.training.recipe import Recipe
from alignsurvey.training.batches import respondents_of, tokenised
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie, shared_attention
from alignsurvey.records.orders import reorder
from alignsurvey.training.cost import lora_config
from alignsurvey.training.trainer import make_trainer, sft_config
from alignsurvey.all import Survey
from options import Options

RESPONDENTS = {17: 2, 6: 2, 1: 6}   # for so many items; others: two


def survey_records(items, respondents):
    "So many respondents with exactly so many answered items each."
    every = Survey.load('gss2018').records('response', respondents=20*respondents, answer_form='text', verbose=False)
    kept, rows = {}, []
    for i, who in enumerate(every['respondent_id']):
        if len(kept.setdefault(who, [])) < items: kept[who].append(i)
    full = [v for v in kept.values() if len(v) == items][:respondents]
    return reorder(every.select(sum(full, [])), 'shuffle')


def plain_matmul(model, tokens, seconds=1.):
    "FLOP/s of the model's own matrix shapes, multiplied by themselves."
    shapes = {tuple(m.weight.shape) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and 'lm_head' not in n and 'lora' not in n}
    pairs = [(torch.randn(tokens, i), torch.randn(o, i)) for o, i in shapes]
    best, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        for x, w in pairs: x @ w.T
        best = max(best, sum(2*x.numel()*len(w) for x, w in pairs)/(time.perf_counter() - start))
    return best


def alternate(ways, rounds):
    "Seconds of each way, one round after the other, after a round that does not count."
    for run in ways.values(): run()
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def profile(run, plain):
    "Share of the time in matrix products and in attention, and how near the whole comes to plain products."
    with torch.profiler.profile() as seen: run()
    events = seen.key_averages()
    total = sum(e.self_cpu_time_total for e in events)
    part = lambda *names: round(sum(e.self_cpu_time_total for e in events if e.key in names)/total, 3)
    with FlopCounterMode(display=False) as count: run()
    start = time.perf_counter()
    run()
    rate = count.get_total_flops()/(time.perf_counter() - start)
    return dict(matmul_share=part('aten::mm', 'aten::addmm', 'aten::bmm'), attention_share=part('aten::_scaled_dot_product_flash_attention_for_cpu', 'aten::_scaled_dot_product_flash_attention_for_cpu_backward'),
                gflops=round(rate/1e9, 1), plain_gflops=round(plain/1e9, 1), efficiency=round(rate/plain, 3))


def trainers(records, wanted=('shared', 'padded', 'packed'), load=load_model):
    "A trainer for each way, over the same records; each loads a model of its own."
    from trl import SFTConfig, SFTTrainer
    recipe, made = Recipe(batch=len(records), micro=1), {}
    for way in wanted:
        lm = load()
        rows = Dataset.from_list(list(tokenised(lm, records, 'answer')))
        with tempfile.TemporaryDirectory() as folder:
            if way == 'shared':
                made[way] = make_trainer(recipe, respondents_of(records), True, model=lm.model, args=sft_config(recipe, folder, lm, len(rows), True, {}), train_dataset=rows, processing_class=lm.tokenizer, peft_config=lora_config(recipe))
                continue
            plain = Dataset.from_list([dict(input_ids=r['prompt'] + r['options'][0], completion_mask=[0]*len(r['prompt']) + [1]*len(r['options'][0])) for r in rows])
            how = dict(packing=True, max_length=2048, per_device_train_batch_size=1) if way == 'packed' else dict(max_length=None, per_device_train_batch_size=8)
            args = SFTConfig(output_dir=folder, completion_only_loss=True, use_cpu=lm.device.type == 'cpu', bf16=lm.dtype == torch.bfloat16, gradient_checkpointing=False, report_to='none', **how)
            made[way] = SFTTrainer(model=lm.model, args=args, train_dataset=plain, processing_class=lm.tokenizer, peft_config=lora_config(recipe))
    return made


def step(trainer):
    "Collate, forward and backward of all records once."
    trainer.current_gradient_accumulation_steps = 1
    def run():
        trainer.model.zero_grad()
        batches = list(trainer.get_train_dataloader())
        n = sum((b['labels'][..., 1:] != -100).sum() for b in batches)
        run.loss = sum(float(trainer.training_step(trainer.model, b, n)) for b in batches)
    return run


def one_size(items, rounds, respondents=None):
    records = survey_records(items, respondents or RESPONDENTS.get(items, 2))
    made = trainers(records)
    ways = {way: step(t) for way, t in made.items()}
    rows = made['shared'].train_dataset
    with shared_attention(made['shared'].model):
        times = alternate(ways, rounds)
        assert np.ptp([r.loss for r in ways.values()]) < 1e-3, {w: r.loss for w, r in ways.items()}   # the same loss, or the comparison is none
        mid = {w: statistics.median(t) for w, t in times.items()}
        tokens = len(grow_trie([r['prompt'] + r['options'][0] for r in rows]))
        detail = profile(ways['shared'], plain_matmul(made['shared'].model, min(2048, tokens)))
    return dict(items=items, records=len(records), tokens=sum(len(r['prompt'] + r['options'][0]) for r in rows), tokens_shared=tokens, losses={w: round(r.loss, 5) for w, r in ways.items()},
                seconds={w: [round(x, 3) for x in t] for w, t in times.items()}, median={w: round(m, 3) for w, m in mid.items()},
                faster=round(min(mid['padded'], mid['packed'])/mid['shared'], 2), shared_step=detail)


def peak_gib(): return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text(encoding='utf-8'))[1])/2**20   # ru_maxrss would count the parent process too


def peak_memory(way, items):
    "GiB of a process that does nothing but one step of one way."
    got = subprocess.run([sys.executable, __file__, '--memory', way, '--items', str(items)], capture_output=True, text=True, check=True)
    return float(got.stdout.split()[-1])


def keep(out, found, draw):
    "Results as JSON, their plot as PNG beside it, and on the screen."
    out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    draw(found).figure.savefig(out.with_suffix('.png'), dpi=120, bbox_inches='tight')
    print(json.dumps(found, indent=1))


def command_line(script, about, *, rounds=5, items=None, quick=None):
    "The command line of a script that compares."
    warnings.filterwarnings('ignore'); hf_logging.set_verbosity_error(); hf_logging.disable_progress_bar()
    ask = Options(script, about)
    ask.size('--rounds', rounds, quick=1)
    if items: ask.size('--items', items, quick=quick or items[:1], help='to a respondent')
    return ask


def plot(found):
    import seaborn as sns
    results = found['results']
    x, y = [r['items'] for r in results], [r['faster'] for r in results]
    ax = sns.barplot(x=[str(i) for i in x], y=y, color='#0072B2')
    ax.axhline(1, color='#444444')
    for i, v in enumerate(y): ax.text(i, v, f'{v:.1f}x', ha='center', va='bottom')
    ax.set(title='Training with shared prefixes, against the faster of padding and packing', xlabel='items a respondent answers', ylabel='times faster')
    return ax


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, items=[17, 6, 1], quick=[6])
    ask.size('--respondents', 0, quick=1, help='0: as many as make such a step')
    ask.add_argument('--memory', help=argparse.SUPPRESS)
    ask = ask.parse_args()
    if ask.memory:
        made = trainers(survey_records(ask.items[0], RESPONDENTS.get(ask.items[0], 2)), [ask.memory])[ask.memory]
        with shared_attention(made.model): step(made)()
        print(peak_gib())
    else:
        results = [one_size(items, ask.rounds, ask.respondents) for items in ask.items]
        memory = {} if ask.quick else {way: round(peak_memory(way, ask.items[0]), 2) for way in ('shared', 'padded', 'packed')}
        keep(ask.out, dict(threads=torch.get_num_threads(), torch=torch.__version__, rounds=ask.rounds, results=results, peak_gib=dict(items=ask.items[0], **memory)), plot)
