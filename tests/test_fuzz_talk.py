"A few thousand cases of what comes from outside while a model is asked; `make fuzz` runs more. Every case that once failed is run again."
import sys
from pathlib import Path
import pytest

sys.path.insert(0, str(Path(__file__).parent/'fuzz'))
import talk

FAILED = dict(headers=[17, 96], cards=[15, 71, 73, 98], journals=[19, 27, 52, 113, 127, 131, 226, 1016, 6000491, 6004242])    # numbers of cases that ended in a traceback once
CASES = dict(replies=800, texts=1_500, headers=600, journals=250, cards=500)


@pytest.mark.parametrize('name', talk.TARGETS)
def test_what_comes_from_outside_is_read_right_or_refused(name, tmp_path):
    for number in [*FAILED.get(name, ()), *range(CASES[name])]:
        try: talk.run_case(name, number, tmp_path)
        except Exception as e: raise AssertionError(f'{name}, case {number}: run it with python tests/fuzz/run.py --only {name} --first {number} --cases 1') from e


def test_the_checks_would_notice(tmp_path):
    fine = dict(status='ok', probs=[.5, .5], coverage=1., asked=1, written=1, tokens=2)
    talk.check_answer(fine, 2)
    for bad in dict(probs=[.5, .6]), dict(coverage=2.), dict(tokens=1.5), dict(status='fine'), dict(asked=10**30):
        with pytest.raises(AssertionError): talk.check_answer(fine | bad, 2)
