"The benchmark rehearsed at a hundredth of its size: killed from outside and from inside, and a check that can fail."
import json, os, signal, subprocess, sys, time
import pytest
from alignsurvey.cli.benchmark import rehearse, rehearse_step
from alignsurvey.prediction.partitions import read_partition

ASK = ['benchmark', '--rehearse', '--size', '.01']


@pytest.fixture(scope='module')
def rehearsed(cli, tmp_path_factory):
    "A rehearsal whose processes were all killed when the surveys were made, and which went on."
    folder = tmp_path_factory.mktemp('rehearsal')
    run = subprocess.Popen([sys.executable, '-m', 'alignsurvey', *ASK], cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out, until = folder/'runs'/'benchmark', time.time() + 120
    while not (out/'steps'/'surveys.json').exists() and time.time() < until and run.poll() is None:
        time.sleep(.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = (out/'corpus'/'quantitative'/'s00.jsonl').stat().st_mtime_ns
    assert not (out/'rehearsal.json').exists()
    code, said, err = cli(*ASK, cwd=folder)
    assert code == 0, err
    assert (out/'corpus'/'quantitative'/'s00.jsonl').stat().st_mtime_ns == before, 'what was made is made again'
    return out, said


def test_the_whole_protocol_is_rehearsed(rehearsed):
    out, said = rehearsed
    found = json.loads((out/'rehearsal.json').read_text())
    assert found['killed'] == 1 and 0 < found['asked_again'] <= 100
    assert found['counts']['qualitative respondents'] == 440 and found['counts']['quantitative corpus'] >= 4000
    assert 'No prediction of time and price on GPUs can be made' in said
    for part in 'role', 'interview', 'stance', 'stance_groups', 'response', 'response_groups':
        assert 'A simulated respondent is not a person' in (out/part/'report.html').read_text(encoding='utf-8')
        assert 'two stages' in (out/part/'scores.csv').read_text(encoding='utf-8')


def test_no_test_respondent_is_trained_on(rehearsed):
    out, _ = rehearsed
    for kind, parts in dict(quantitative=('stance', 'response'), qualitative=('role', 'interview')).items():
        trained = {json.loads(line)['respondent_id'] for line in next((out/'corpus'/kind).glob('*.jsonl')).open(encoding='utf-8')}
        for part in parts:
            held = set(read_partition(next((out/part/'records').glob('*.parquet')))['respondent_id'])
            assert held and not held & trained


def test_an_answer_that_is_lost_is_found_out(rehearsed):
    out, _ = rehearsed
    said = next((out/'response'/'said'/'zero-shot').glob('*.parquet'))
    whole = said.read_bytes()
    read_partition(said).select(range(5)).to_parquet(said)
    try:
        with pytest.raises(ValueError, match='5 predictions of .* lost or stand twice'):
            rehearse_step(out, 'check')
    finally:
        said.write_bytes(whole)


def test_answers_that_are_asked_for_twice_are_counted(rehearsed):
    out, _ = rehearsed
    log = next((out/'asked').glob('ask-1.*.txt'))
    (out/'asked'/'ask-1.9.txt').write_text(log.read_text(encoding='utf-8'), encoding='utf-8')
    try:
        with pytest.raises(ValueError, match='were asked again after 1 kills'):
            rehearse_step(out, 'check')
    finally:
        (out/'asked'/'ask-1.9.txt').unlink()


def test_another_size_needs_another_folder(rehearsed):
    with pytest.raises(ValueError, match='give it a folder of its own'):
        rehearse(rehearsed[0], size=.5)
