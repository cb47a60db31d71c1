"Training in two processes on a CPU comes to the same as in one: losses, weights, files, what is printed."
import os, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from alignsurvey.models.loading import load_model
from alignsurvey.training.processes import launch_config, place
from alignsurvey.records.reading import write_records
from alignsurvey.training.trainer import sft
from test_sft import card, groups, people, save_tiny, weights

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from test_processes import *
for name, settings in RUNS.items(): one_run(sys.argv[2], Path(sys.argv[3])/name, settings)
"""
TWENTY = dict(loss='option', lr=.01, batch=4, micro=2, rank=2, alpha=4, epochs=2, seed=3, max_tokens=60)    # 6 steps an epoch, the last with a single record
RUNS = dict(
    option=dict(),
    answer=dict(loss='answer'),
    answer_apart=dict(loss='answer', share_prefixes=False),
    option_apart=dict(share_prefixes=False),
    distribution=dict(loss='distribution', batch=3, micro=1, epochs=10, answer_share=.1),
    accumulated=dict(trainer_args=dict(gradient_accumulation_steps=2)),
    checkpointed=dict(trainer_args=dict(gradient_checkpointing=True)),
    validated=dict(validate=True),
    resumed=dict(validate=True, stop=9),
)


def one_run(base, out, settings):
    settings = {**TWENTY, **settings}
    data = groups() if settings['loss'] == 'distribution' else people(11).select(range(21))
    validate, stop = settings.pop('validate', None), settings.pop('stop', None)
    def score(lm):
        if lm.adapter == f'step {stop}': raise KeyboardInterrupt
        return float(lm.adapter.split()[1]) + place()[0]      # no two processes agree
    if validate: settings.update(validate=score, validate_every=3)
    try: sft(load_model(base), data, out, **settings)
    except KeyboardInterrupt:
        stop = None
        sft(load_model(base), data, out, **settings)


def launch(*args, ok=True):
    "Start two processes with the shipped configuration; a CPU takes the place of each GPU."
    done = subprocess.run([sys.executable, '-m', 'accelerate.commands.launch', '--config_file', str(launch_config('ddp')), '--num_processes', '2', *map(str, args)],
                          capture_output=True, text=True, timeout=900, env=dict(os.environ, ACCELERATE_USE_CPU='true', TQDM_DISABLE='1', OMP_NUM_THREADS='1', COLUMNS='200'))
    assert (done.returncode == 0) == ok, done.stderr[-3000:]
    return done.stdout, done.stderr


def losses(folder): return pd.read_csv(folder/'loss.csv').loss.to_numpy()


def distance(a, b): return torch.stack([((a[k] - b[k])**2).sum() for k in a]).sum().sqrt().item()


def same(one, two):
    "Losses and weights of two runs that began alike; how far they moved is counted from LoRA's zeros."
    a, b = weights(one), weights(two)
    moved = distance(*({k: v for k, v in w.items() if 'lora_B' in k} for w in (a, {k: torch.zeros_like(v) for k, v in a.items()})))
    print(f"losses differ by {abs(losses(one)/losses(two) - 1).max():.1e}, weights by {distance(a, b)/moved:.1e} of the way")
    return np.allclose(losses(one), losses(two), rtol=1e-4) and distance(a, b) <= 1e-3*moved


@pytest.fixture(scope='module')
def base(tmp_path_factory): return save_tiny(tmp_path_factory.mktemp('model')/'tiny')


@pytest.fixture(scope='module')
def in_two(base, tmp_path_factory):
    "All runs in two processes, one after the other."
    out = tmp_path_factory.mktemp('two')
    (out/'run.py').write_text(RUN)
    launch(out/'run.py', Path(__file__).parent, base, out)
    return out


@pytest.mark.parametrize('name', [n for n in RUNS if n != 'resumed'])
def test_two_processes_are_one(base, in_two, tmp_path, name):
    one_run(base, tmp_path/name, RUNS[name])
    assert (card(tmp_path/name)['processes'], card(in_two/name)['processes']) == (1, 2)
    assert card(tmp_path/name)['steps'] == card(in_two/name)['steps']
    assert same(tmp_path/name, in_two/name)


def test_what_one_process_writes_and_decides(in_two):
    table = pd.read_csv(in_two/'validated'/'validation.csv')
    assert table.score.tolist() == table.step.tolist()      # the first process's numbers, not the second's
    assert sorted(p.name for p in (in_two/'option').iterdir()) == ['README.md', 'adapter_config.json', 'adapter_model.safetensors', 'loss.csv', 'sft.json', 'trained_on.json']


def test_stopped_and_resumed_in_two_processes(in_two):
    a, b = weights(in_two/'validated'), weights(in_two/'resumed')
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert pd.read_csv(in_two/'validated'/'loss.csv').equals(pd.read_csv(in_two/'resumed'/'loss.csv'))


SRUN = """#!/bin/bash
for n in 0 1; do SLURM_NODEID=$n "$@" & done
wait -n && wait -n
"""


def as_slurm(folder, *args, ok=True):
    "Run the shipped script as SLURM would on two nodes with one GPU each; a CPU takes the place of each."
    for name, text in dict(srun=SRUN, scontrol='#!/bin/bash\necho 127.0.0.1\n').items():
        (folder/name).write_text(text)
        (folder/name).chmod(0o755)
    env = dict(os.environ, PATH=f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}", SLURM_NNODES='2', SLURM_JOB_ID=str(os.getpid()), SLURM_JOB_NODELIST='node[1-2]', GPUS_PER_NODE='1',
               ACCELERATE_USE_CPU='true', TQDM_DISABLE='1', OMP_NUM_THREADS='1', COLUMNS='200')
    done = subprocess.run(['bash', str(launch_config('slurm')), *map(str, args)], capture_output=True, text=True, timeout=900, env=env)
    assert (done.returncode == 0) == ok, done.stderr[-3000:]
    return done.stdout, done.stderr


def test_twenty_steps_of_the_command_on_two_nodes(base, tmp_path):
    "The shipped SLURM script and configuration against the same call in one process."
    write_records(people(20), tmp_path/'train.jsonl')
    args = [tmp_path/'train.jsonl', tmp_path/'two', '--model', base, '--loss', 'option', '--lr', .01, '--batch', 4, '--micro', 2, '--epochs', 2]
    said, _ = as_slurm(tmp_path, *args)
    plan, who_meets, out = said.splitlines()       # one of them speaks
    assert plan.startswith('20 steps of 4 records') and 'about 2.0 of 20 respondents' in who_meets and out == str(tmp_path/'two')
    sft(load_model(base), people(20), tmp_path/'one', loss='option', lr=.01, batch=4, micro=2, epochs=2)
    assert card(tmp_path/'one')['steps'] == card(tmp_path/'two')['steps'] == 20 and card(tmp_path/'two')['share_prefixes']
    assert same(tmp_path/'one', tmp_path/'two')
    assert not (tmp_path/'two'/'checkpoints').exists()
    _, said = as_slurm(tmp_path, *args, ok=False)
    assert said.count('exists already: choose another name, or give --overwrite') == 2      # once a node
