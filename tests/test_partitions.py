"Two processes ask one folder of partitions; one of them is killed, and nothing is lost or asked by both."
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from alignsurvey.prediction import list_partitions, predict_partitions, read_partition, read_predictions, write_partitions
from alignsurvey.prediction.predictor import function_predictor
from alignsurvey.records.reading import make_records

PEOPLE, SIZE, IN_FLIGHT = 480, 60, 100    # the function's answers are kept by the hundred
WORKER = '''
import sys, time
from alignsurvey.prediction import predict_partitions
from alignsurvey.prediction.predictor import function_predictor
folder, log = sys.argv[1:]
def answer(record):
    with open(log, 'a', encoding='utf-8') as f: f.write(record['record_id'] + '\\n')
    time.sleep(.004)
    return [.5, .5]
print(predict_partitions(function_predictor(answer, 'even'), f'{folder}/records', f'{folder}/said'), flush=True)
'''


def asked(folder):
    return {log.name: log.read_text(encoding='utf-8').split() for log in folder.glob('*.log')}


def started(folder, name):
    return subprocess.Popen([sys.executable, '-c', WORKER, folder, folder/f'{name}.log'], stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, TQDM_DISABLE='1'))


@pytest.fixture
def folder(tmp_path):
    rows = [dict(instruction='?', options=['no', 'yes'], output='no', answer_index=0, answer_form='text', respondent_id=f'p{i}',
        record_id=f'r{i}', question_id='q') for i in range(PEOPLE)]
    write_partitions(make_records(rows), tmp_path/'records', size=SIZE)
    return tmp_path


def test_two_processes_share_partitions_and_one_is_killed(folder):
    first, second = started(folder, 'first'), started(folder, 'second')
    until = time.monotonic() + 120
    while len(asked(folder).get('first.log', [])) < SIZE + SIZE//2 and first.poll() is None and time.monotonic() < until:
        time.sleep(.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    told, _ = second.communicate(timeout=120)
    assert second.returncode == 0 and "'failed': 0" in told
    third = started(folder, 'third')    # finishes what nobody had when the second one came by
    told, _ = third.communicate(timeout=120)
    assert told.strip() == "{'done': 8, 'taken': 0, 'failed': 0}"
    times = Counter(i for ids in asked(folder).values() for i in ids)
    assert len(times) == PEOPLE and sum(n - 1 for n in times.values()) <= IN_FLIGHT
    assert len(asked(folder)['second.log']) > 0 and sorted(p.suffix for p in (folder/'said').glob('part*')) == ['.json']*8 + ['.lock']*8 + ['.parquet']*8
    for records, said in zip(list_partitions(folder/'records'), list_partitions(folder/'said')):
        assert read_predictions(said).record_id.tolist() == read_partition(records)['record_id'][:]


def test_a_folder_of_predictions_is_of_one_run(folder):
    predict_partitions(function_predictor(lambda r: [.5, .5], 'even'), folder/'records', folder/'said')
    with pytest.raises(ValueError, match='max_new_tokens None, and this is 8'):
        predict_partitions(function_predictor(lambda r: [.5, .5], 'even'), folder/'records', folder/'said', max_new_tokens=8)


def test_no_partition_ends_within_a_respondent(tmp_path):
    rows = [dict(instruction=f'{j}?', options=['no', 'yes'], output='no', answer_index=0, answer_form='text', respondent_id=f'p{i}',
        question_id=f'q{j}') for i in range(10) for j in range(7)]
    files = write_partitions(make_records(rows), tmp_path, size=10)
    assert [len(read_partition(f)) for f in files] == [14]*5
