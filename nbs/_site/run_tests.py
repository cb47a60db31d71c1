"""Executes notebooks as tests, each in a process of its own, two side by side.

    python nbs/_site/run_tests.py [NOTEBOOK.ipynb …]

A page may define anew what the library has, or register a task of its own: nothing of that may
reach the page that is run next. What is slow to import is imported once, before the processes part.
"""
import os
os.environ.setdefault('ALIGNSURVEY_QUICK', '1')
os.environ.setdefault('OMP_NUM_THREADS', '1')

import gc
import multiprocessing
import sys
from pathlib import Path

from nbdev.config import get_config
from nbdev.test import test_nb

from build import ROOT, notebooks

SIDE_BY_SIDE = 2
LONGEST_FIRST = 'tutorials', 'recipes', 'evaluation', 'training', 'prediction'


def import_what_is_slow():
    "Once for all processes: a forked one has it already."
    import datasets, matplotlib.pyplot, peft, seaborn, statsmodels.api, torch, transformers, trl  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401
    from trl import SFTTrainer  # noqa: F401
    gc.collect()
    gc.freeze()    # what is loaded stays: looking through it again and again takes seconds


def run_one(
    path, # of a notebook
)->tuple: # path, whether it passed, seconds
    "Runs a notebook in this process; an error is printed by nbdev."
    config = get_config()
    passed, seconds = test_nb(path, skip_flags=config.tst_flags.split(), basepath=config.config_path)
    print(f"{'passed' if passed else 'FAILED'} {seconds:5.0f} s  {path.relative_to(ROOT)}", flush=True)
    return path, passed


def by_length(path):
    "Chapters whose pages take longest come first, so that no long page is left alone at the end."
    room = path.parent.name
    place = LONGEST_FIRST.index(room) if room in LONGEST_FIRST else len(LONGEST_FIRST)
    return place, path


def main(
    paths, # of notebooks; all of them where there are none
):
    "Ends the program with the names of the notebooks that failed."
    chosen = [Path(p).resolve() for p in paths] or notebooks()
    fork = 'fork' in multiprocessing.get_all_start_methods()
    if fork:
        import_what_is_slow()
    context = multiprocessing.get_context('fork' if fork else 'spawn')
    with context.Pool(SIDE_BY_SIDE, maxtasksperchild=1) as pool:
        results = list(pool.imap_unordered(run_one, sorted(chosen, key=by_length)))
    failed = sorted(str(path.relative_to(ROOT)) for path, passed in results if not passed)
    if failed:
        sys.exit(f"{', '.join(failed)}: failed, as said above")
    print(f'{len(results)} notebooks run from top to bottom')


if __name__ == '__main__':
    os.chdir(ROOT)
    main(sys.argv[1:])
