"The files that a tutorial starts from are those that their script makes, and they need no cell that builds them."
import importlib.util
import json
from pathlib import Path

from alignsurvey.all import Survey

ROOT = Path(__file__).resolve().parent.parent
ESS = ROOT/'data/ess10no'


def test_the_archive_is_what_its_script_makes(tmp_path):
    spec = importlib.util.spec_from_file_location('make_archive', ESS/'make_archive.py')
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.make(tmp_path/'archive')
    for name in 'ess10.csv', 'ess10.xml':
        assert (tmp_path/'archive'/name).read_bytes() == (ESS/'archive'/name).read_bytes()


def test_data_and_ddi_are_the_bundled_survey_in_codes():
    draft, bundled = Survey.load(ESS/'archive/ess10.csv', ESS/'archive/ess10.xml'), Survey.load('ess10no')
    assert draft.codebook.design == dict(respondent_id='idno', weight='pspwght') and not draft.codebook.doubts
    for item in 'imwbcnt', 'imueclt':
        assert draft.codebook.items[item].question == bundled.codebook.items[item].question
        assert draft.codebook.items[item].scale == 'ordinal' and draft.codebook.items[item].missing == {'88': 'dont_know'}
    ours, theirs = (s.records(items=['imwbcnt'], verbose=False) for s in (draft, bundled))
    assert ours['answer_index'][:] == theirs['answer_index'][:] and ours['weight'][:] == theirs['weight'][:]


def test_the_tutorial_builds_no_file_first():
    cells = json.loads((ROOT/'nbs/tutorials/own_survey.ipynb').read_text(encoding='utf-8'))['cells']
    code = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    loads = next(i for i, source in enumerate(code) if 'Survey.load' in source)
    assert not any(word in source for source in code[:loads] for word in ('write_sav', 'to_csv', 'write_text', 'DataFrame('))
